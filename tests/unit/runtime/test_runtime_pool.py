"""The pool for user code grows when jobs wait, and ends when it is told to."""

from __future__ import annotations

import threading

import pytest

from treadle.runtime import pool as pool_module
from treadle.runtime.pool import Pool
from treadle.runtime.threads import is_ours


class StillEngine:
    """An engine whose time stands still until the test lets it go on."""

    def __init__(self) -> None:
        self.due: list = []

    def call_later(self, delay_s, fn):
        self.due.append(fn)

    def tick(self) -> None:
        due, self.due = self.due, []
        for fn in due:
            fn()


@pytest.fixture
def engine():
    return StillEngine()


@pytest.fixture
def pool(engine, monkeypatch):
    monkeypatch.setattr(pool_module, "PATIENCE_S", 0.0)
    pool = Pool(engine)
    yield pool
    pool.close()
    pool.join(10)
    assert pool.statistics()["threads"] == 0


def test_jobs_run_on_threads_of_ours(pool):
    ours: list[bool] = []
    done = threading.Event()
    pool.submit(lambda: (ours.append(is_ours()), done.set()))
    assert done.wait(10)
    assert ours == [True]
    assert not is_ours()


def test_jobs_that_wait_for_each_other_all_get_a_thread(pool, engine):
    barrier = threading.Barrier(30)
    done = threading.Semaphore(0)
    for _ in range(30):
        pool.submit(lambda: (barrier.wait(10), done.release()))
    while pool.statistics()["waiting"]:
        engine.tick()
    for _ in range(30):
        assert done.acquire(timeout=10)


def test_one_thread_serves_jobs_that_do_not_wait(pool):
    done = threading.Semaphore(0)
    for _ in range(100):
        pool.submit(done.release)
        assert done.acquire(timeout=10)
    assert pool.statistics()["threads"] <= 2


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_job_may_raise_anything(pool, kind):
    def throw():
        raise kind

    done = threading.Event()
    pool.submit(throw)
    pool.submit(done.set)
    assert done.wait(10)


def test_what_a_job_held_is_let_go(pool):
    import gc
    import weakref

    class Thing:
        pass

    thing, done = Thing(), threading.Event()
    reference = weakref.ref(thing)
    pool.submit(lambda thing=thing: done.set())
    del thing
    assert done.wait(10)
    for _ in range(500):
        gc.collect()
        if reference() is None:
            break
        threading.Event().wait(0.01)
    assert reference() is None


def test_without_an_engine_every_job_gets_its_thread(pool):
    barrier = threading.Barrier(10)
    done = threading.Semaphore(0)
    pool.lose_engine()
    for _ in range(10):
        pool.submit(lambda: (barrier.wait(10), done.release()))
    for _ in range(10):
        assert done.acquire(timeout=10)


def test_no_thread_to_be_had_only_delays(pool, engine, monkeypatch):
    start = pool_module.start_daemon

    def refuse(name, run):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pool_module, "start_daemon", refuse)
    done = threading.Event()
    pool.submit(done.set)
    engine.tick()
    assert pool.statistics() == {"threads": 0, "idle": 0, "waiting": 1}
    monkeypatch.setattr(pool_module, "start_daemon", start)
    engine.tick()
    assert done.wait(10)


def test_jobs_given_before_and_after_the_end_are_done(pool):
    done = threading.Semaphore(0)
    for _ in range(20):
        pool.submit(done.release)
    pool.close()
    pool.submit(done.release)
    for _ in range(21):
        assert done.acquire(timeout=10)


def test_closing_from_a_job_does_not_wait_for_itself(pool):
    done = threading.Event()

    def end():
        pool.close()
        pool.join(10)
        done.set()

    pool.submit(end)
    assert done.wait(5)
