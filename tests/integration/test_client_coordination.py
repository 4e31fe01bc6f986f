"""Locks, semaphores, events, queues and variables on live processes."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration import coordination_tasks as tasks
from tests.integration.cluster_cases import until
from tests.integration.coordination_cases import (  # noqa: F401 - fixtures
    a_client,
    another,
    held,
    its_name,
)
from treadle.client import Client, Event, Lock, Queue, Semaphore, Variable
from treadle.errors import SerializationError, TreadleError

pytestmark = pytest.mark.timeout(60)


# --- locks and semaphores ------------------------------------------------------------------------


def test_a_lock_is_held_by_one_object_at_a_time(client, name):
    mine, yours = Lock(name), Lock(name)
    assert mine.acquire()
    assert mine.locked()
    assert yours.locked()
    assert not yours.acquire(blocking=False)
    assert not yours.acquire(timeout=0.05)
    assert mine.release()
    assert yours.acquire()
    assert not mine.acquire(timeout=0)
    yours.release()
    assert not mine.locked()


def test_a_lock_is_not_taken_twice_by_its_holder(client, name):
    with Lock(name) as lock:
        assert not lock.acquire(timeout=0.05)
        assert lock.locked()
    assert not lock.locked()


def test_what_is_not_held_cannot_be_released(client, name):
    with pytest.raises(RuntimeError, match="is not held"):
        Lock(name).release()


def test_tokens_go_up(client, name):
    tokens = []
    for _ in range(3):
        with Lock(name) as lock:
            tokens.append(lock.token)
        assert lock.token is None
    assert tokens == sorted(set(tokens))


def test_a_lock_excludes_tasks(client, name, tmp_path):
    path = tmp_path / "count"
    path.write_text("0")
    lock = Lock(name)
    tokens = client.gather(
        [client.submit(tasks.count_up, lock, str(path), pure=False) for _ in range(20)]
    )
    assert path.read_text() == "20"
    assert len(set(tokens)) == 20


def test_threads_may_share_a_lock(client, name):
    lock, inside, most = Lock(name), [], []

    def enter():
        with lock:
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(enter) for _ in range(20)]:
            done.result(20)
    assert set(most) == {1}


def test_a_semaphore_lets_so_many_in(client, name):
    semaphore, inside = Semaphore(2, name), Queue(name)
    found = client.gather(
        [client.submit(tasks.enter, semaphore, inside, pure=False) for _ in range(8)]
    )
    assert 1 <= max(found) <= 2
    assert semaphore.get_value() == 0


def test_a_semaphore_tells_who_holds_it(client, name):
    semaphore = Semaphore(2, name)
    assert semaphore.acquire()
    assert semaphore.acquire()
    assert not semaphore.acquire(timeout=0)
    (first, who), (second, _) = semaphore.holders()
    assert first < second == semaphore.token
    assert "client/" in who
    with pytest.raises(TreadleError, match="has 2 places"):
        Semaphore(3, name).acquire()
    semaphore.release()
    assert semaphore.get_value() == 1
    semaphore.release()


@pytest.mark.parametrize("how", [tasks.keep, tasks.keep_and_fail])
def test_what_a_task_holds_is_free_when_it_ends(client, name, how):
    client.submit(how, name, pure=False).exception(20)
    assert not held(name)


def test_what_a_task_holds_is_free_when_it_is_killed(client, name):
    future = client.submit(tasks.hold_and_die, name, name, pure=False)
    Event(name).wait(20)
    with Lock(name) as lock:
        assert lock.token > 0
    future.cancel()


def test_what_a_task_holds_is_free_when_it_is_cancelled(client, name):
    future = client.submit(tasks.hold_until, name, name, pure=False)
    assert Event(name + "-begun").wait(20)
    assert held(name)
    future.cancel()
    assert Lock(name).acquire(timeout=20)


HOLDER = """
import sys
from treadle.client import Client, Lock
client = Client(sys.argv[1])
lock = Lock(sys.argv[2])
lock.acquire()
print(lock.token, flush=True)
sys.stdin.read()
"""


def test_what_a_client_holds_is_free_when_its_process_is_killed(client, name):
    command = [sys.executable, "-c", HOLDER, client.connection_file, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        token = int(process.stdout.readline())
        assert not Lock(name).acquire(timeout=0)
        process.send_signal(signal.SIGKILL)
    with Lock(name) as lock:
        assert lock.token > token


def test_what_a_client_holds_is_free_when_it_is_closed(client, name):
    with Client(client.connection_file, set_as_default=False) as other:
        Lock(name, client=other).acquire()
        assert held(name)
    until(lambda: not held(name))


def test_who_is_interrupted_does_not_hold_it(client, name):
    lock = Lock(name)
    lock.acquire()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        Lock(name).acquire()
    timer.join()
    lock.release()
    assert not lock.locked()


def test_bad_arguments_are_told_at_once(client):
    with pytest.raises(ValueError, match="max_leases=0"):
        Semaphore(0)
    with pytest.raises(ValueError, match="max_leases='x'"):
        Semaphore("x")
    with pytest.raises(TypeError, match="a name is text, not 5"):
        Lock(5)
    with pytest.raises(ValueError, match="has 2000"):
        Event("x" * 2000)
    with pytest.raises(ValueError, match="timeout=-1"):
        Lock().acquire(timeout=-1)
    with pytest.raises(TypeError, match="timeout='1s'"):
        Event().wait("1s")
    with pytest.raises(ValueError, match="give no timeout"):
        Lock().acquire(blocking=False, timeout=1)
    with pytest.raises(ValueError, match="maxsize=-1"):
        Queue(maxsize=-1)


def test_objects_are_pickled_as_their_names(client):
    for made in (Lock("a"), Semaphore(3, "b"), Event("c"), Queue("d", 4), Variable("e")):
        copy = pickle.loads(pickle.dumps(made))
        assert (type(copy), copy.name, repr(copy)) == (type(made), made.name, repr(made))
        assert copy.client is client
    assert pickle.loads(pickle.dumps(Semaphore(3, "b"))).max_leases == 3
    assert pickle.loads(pickle.dumps(Queue("d", 4))).maxsize == 4


# --- events --------------------------------------------------------------------------------------


def test_an_event_is_waited_for(client, name):
    event = Event(name)
    assert not event.is_set()
    assert not event.wait(0.05)
    with ThreadPoolExecutor(3) as pool:
        waits = [pool.submit(Event(name).wait, 20) for _ in range(3)]
        event.set()
        assert all(wait.result(20) for wait in waits)
    assert event.is_set()
    event.clear()
    assert not event.is_set()


def test_coroutine_tasks_wait_for_events_of_each_other(client, name):
    a, b = name + "a", name + "b"
    futures = [client.submit(tasks.alternate, *pair, 5) for pair in ((a, b), (b, a))]
    Event(a).set()
    assert len(set(client.gather(futures))) == 2


# --- queues and variables ------------------------------------------------------------------------


def test_a_queue_passes_values_in_order(client, name):
    queue = Queue(name)
    for value in (1, "two", [3], None):
        queue.put(value)
    assert queue.qsize() == 4
    assert queue.get() == 1
    assert queue.get(batch=2) == ["two", [3]]
    assert queue.get(batch=True) == [None]
    assert queue.get(batch=True) == []
    with pytest.raises(TimeoutError, match="no item in <Queue"):
        queue.get(timeout=0.05)


def test_a_full_queue_makes_wait(client, name):
    queue = Queue(name, maxsize=2)
    queue.put(1)
    queue.put(2)
    with pytest.raises(TimeoutError, match="is full"):
        queue.put(3, timeout=0.05)
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(queue.put, 3)
        assert queue.get() == 1
        wait.result(20)
    assert queue.get(batch=2) == [2, 3]


def test_tasks_pass_on_what_is_in_queues(client, name):
    source, target = Queue(name + "-a", maxsize=3), Queue(name + "-b")
    future = client.submit(tasks.pass_on, source, target, 50)
    for n in range(50):
        source.put(n)
    assert [target.get(timeout=20) for _ in range(50)] == list(range(50))
    assert future.result(20) == 50


def test_a_future_in_a_queue_keeps_its_result(client, other, name):
    queue = Queue(name)
    queue.put({"sum": client.submit(sum, [1, 2])})
    with other.as_current():
        found = Queue(name).get()["sum"]
    assert found.client is other
    assert found.result(20) == 3


def test_a_future_that_a_task_has_put_outlives_the_task(client, name):
    client.submit(tasks.put_future, name, 5, pure=False).result(20)
    assert Queue(name).get(timeout=20).result(20) == "5"
    assert Variable(name).get() > 0


def test_what_is_no_small_value_is_not_put(client, name):
    queue = Queue(name)
    with pytest.raises(ValueError, match=r"takes 2,000,\d+ bytes.*scatter"):
        queue.put(b"x" * 2_000_000)
    with pytest.raises(SerializationError):
        queue.put(threading.Lock())
    assert queue.qsize() == 0
    values = [str(n) * 900_000 for n in range(9)] * 3
    for value in values:
        queue.put(value)
    with pytest.raises(TreadleError, match="take at most"):
        queue.get(batch=27)
    assert queue.get(batch=True) == values


class Nasty:
    def __reduce__(self):
        return explode, ()


def explode():
    raise OSError("cannot be loaded")


def test_an_item_that_cannot_be_loaded_is_not_in_the_way(client, name):
    queue = Queue(name)
    queue.put(Nasty())
    queue.put(1)
    with pytest.raises(TreadleError, match="cannot be loaded"):
        queue.get()
    assert queue.get() == 1


TAKER = """
import sys
from treadle.client import Client, Event, Queue
client = Client(sys.argv[1])
Event(sys.argv[2]).set()
Queue(sys.argv[2]).get()
print("taken", flush=True)
"""


def test_items_of_a_taker_that_has_died_go_to_the_next(client, name):
    """It is stopped while it waits: what is put then is under way to it when it is killed."""
    command = [sys.executable, "-c", TAKER, client.connection_file, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert Event(name).wait(20)
        process.send_signal(signal.SIGSTOP)
        Queue(name).put(1)
        process.send_signal(signal.SIGKILL)
        assert process.stdout.read() == b""
    assert Queue(name).get(timeout=20) == 1


def test_a_variable_is_read_by_all(client, other, name):
    variable = Variable(name)
    with pytest.raises(TimeoutError, match="had no value"):
        variable.get(timeout=0.05)
    future = client.submit(tasks.read, variable)
    variable.set(client.submit(sum, [1, 2]))
    assert future.result(20) == 3
    with other.as_current():
        assert Variable(name).get().result(20) == 3
    variable.set(5)
    assert [variable.get(), variable.get()] == [5, 5]
    variable.delete()
    with pytest.raises(TimeoutError):
        variable.get(timeout=0)
