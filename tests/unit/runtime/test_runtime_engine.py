"""One engine for all kernels of a process, and doors that lose nothing."""

from __future__ import annotations

import threading

import pytest

from treadle.errors import EngineCrashed, IllegalTransition, NoDataFlowKernelError
from treadle.runtime.engine import Engine
from treadle.runtime.threads import Marked, is_ours


@pytest.fixture
def engine():
    engine = Engine.acquire()
    yield engine
    engine.release()


class Tenant:
    def __init__(self, engine, handle=None):
        self.handled: list = []
        self.refused: list = []
        self.crashes: list = []
        self.inbox = engine.admit(
            handle or self.handled.append, self.crashes.append, self.refused.append
        )


def test_the_engine_is_shared_and_ends_with_its_last_user():
    one, two = Engine.acquire(), Engine.acquire()
    assert one is two
    thread = one._thread
    one.release()
    assert thread.is_alive()
    two.release()
    assert not thread.is_alive()
    assert one._loop.is_closed()
    three = Engine.acquire()
    assert three is not one
    three.release()


def test_items_are_handled_in_order_on_the_engine_thread(engine):
    where: set = set()
    tenant = Tenant(engine)
    tenant.inbox._handle = lambda item: (
        where.add(threading.get_ident()),
        tenant.handled.append(item),
    )
    for i in range(5_000):
        tenant.inbox.post(i)
    tenant.inbox.flush()
    assert tenant.handled == list(range(5_000))
    assert where == {engine._thread.ident}
    engine.dismiss(tenant.inbox)


def test_posts_of_many_threads_all_arrive(engine):
    tenant = Tenant(engine)

    def post(number):
        for i in range(500):
            tenant.inbox.post((number, i))

    threads = [threading.Thread(target=post, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tenant.inbox.flush()
    assert len(tenant.handled) == 4_000
    for n in range(8):
        assert [i for m, i in tenant.handled if m == n] == list(range(500))
    engine.dismiss(tenant.inbox)


def test_what_is_posted_after_the_end_is_refused_not_lost(engine):
    tenant = Tenant(engine)
    engine.dismiss(tenant.inbox)
    tenant.inbox.post("late")
    assert tenant.refused == ["late"]
    with pytest.raises(NoDataFlowKernelError):
        tenant.inbox.call("late")
    tenant.inbox.flush()


def test_while_a_tenant_leaves_every_item_is_handled_or_refused(engine):
    for _ in range(50):
        tenant = Tenant(engine)

        def post(tenant=tenant):
            for i in range(100):
                tenant.inbox.post(i)

        threads = [threading.Thread(target=post) for _ in range(3)]
        for thread in threads:
            thread.start()
        engine.dismiss(tenant.inbox)
        for thread in threads:
            thread.join()
        other = Tenant(engine)
        other.inbox.flush()  # the engine has done what it was at
        engine.dismiss(other.inbox)
        assert len(tenant.handled) + len(tenant.refused) == 300


def test_an_illegal_step_is_its_askers_affair_alone(engine):
    def handle(item):
        raise IllegalTransition(1, "pending", "launch", [], "a story")

    tenant = Tenant(engine, handle)
    with pytest.raises(IllegalTransition, match="a story"):
        tenant.inbox.call("x")
    assert tenant.crashes == []
    engine.dismiss(tenant.inbox)


@pytest.mark.parametrize("asked", [True, False])
def test_any_other_error_is_a_crash_told_once(engine, asked):
    error = ZeroDivisionError("ours")

    def handle(item):
        raise error

    tenant = Tenant(engine, handle)
    if asked:
        with pytest.raises(ZeroDivisionError):
            tenant.inbox.call("x")
    else:
        tenant.inbox.post("x")
    tenant.inbox.post("y")
    tenant.inbox.flush()
    other = Tenant(engine)
    other.inbox.flush()
    assert [type(crash) for crash in tenant.crashes] == [EngineCrashed]
    assert tenant.crashes[0].__cause__ is error
    assert tenant.refused == ["y"]
    with pytest.raises(EngineCrashed, match="ours"):
        tenant.inbox.call("z")
    engine.dismiss(tenant.inbox)
    engine.dismiss(other.inbox)


def test_a_dead_engine_tells_all_tenants_and_is_replaced():
    engine = Engine.acquire()
    tenants = [Tenant(engine) for _ in range(3)]
    error = SystemExit("dead")

    def die():
        raise error

    engine.call_soon(die)
    engine._thread.join(10)
    assert [[crash.__cause__ for crash in t.crashes] for t in tenants] == [[error]] * 3
    assert engine._loop.is_closed()
    other = Engine.acquire()
    assert other is not engine
    other.release()
    engine.release()
    assert not other._thread.is_alive()


def test_release_from_the_pool_and_from_the_engine_itself():
    engine, done = Engine.acquire(), threading.Event()
    engine.pool.submit(lambda: (engine.release(), done.set()))
    assert done.wait(10)
    engine._thread.join(10)
    assert not engine._thread.is_alive()
    engine = Engine.acquire()
    engine.call_soon(engine.release)
    engine._thread.join(10)
    assert not engine._thread.is_alive()


def test_engines_come_and_go_in_many_threads():
    errors: list[BaseException] = []

    def live():
        try:
            for _ in range(30):
                engine = Engine.acquire()
                tenant = Tenant(engine)
                tenant.inbox.post(1)
                tenant.inbox.flush()
                assert tenant.handled == [1]
                engine.dismiss(tenant.inbox)
                engine.release()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=live) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Engine._shared is None


def test_a_marked_function_is_ours_while_it_runs():
    def look(x, *, y):
        """Look."""
        return is_ours(), x, y

    marked = Marked(look)
    assert marked(1, y=2) == (True, 1, 2)
    assert not is_ours()
    assert (marked.__name__, marked.__doc__, marked.__wrapped__) == ("look", "Look.", look)
    assert Marked(len).__reduce__() == (Marked, (len,))
