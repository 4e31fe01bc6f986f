"""Locks, semaphores, events, queues, variables, topics and metadata on live processes."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration import coordination_tasks as tasks
from tests.integration.cluster_cases import until
from treadle import wire
from treadle.client import Client, Event, Lock, Queue, Semaphore, Variable
from treadle.errors import LeaseLost, NoClientError, SchedulerLost, SerializationError, TreadleError

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def client():
    with Client(slots=2) as client:
        # The links that the client will have are there before a test counts descriptors.
        assert client.scatter([1], timeout=20)[0].result(20) == 1
        yield client


@pytest.fixture
def other(client):
    """Another client of the same cluster."""
    with Client(client.connection_file, set_as_default=False) as other:
        yield other


@pytest.fixture
def name(request, client):
    return request.node.name


def in_line(client, name):
    """How many wait for the lock."""
    asked = client._ask(lambda ask: wire.Holders(ask, f"lock/{name}"))
    return client._do(asked)[2]


def held(name):
    return Lock(name).locked()


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


# --- topics and metadata -------------------------------------------------------------------------


def test_who_subscribes_hears_all_in_order(client, other, name):
    heard, threads = [], set()

    def handler(event):
        threads.add(threading.current_thread())
        heard.append(event)

    client.log_event(name, "before")
    client.subscribe_topic(name, handler)
    before = time.time()
    for n in range(200):
        other.log_event(name, n)
    until(lambda: len(heard) == 200)
    assert [what for _, what in heard] == list(range(200))
    assert all(before - 5 < when < time.time() + 5 for when, _ in heard)
    assert threading.main_thread() not in threads
    client.unsubscribe_topic(name)
    other.log_event(name, "after")
    assert [what for _, what in other.get_events(name)] == ["before", *range(200), "after"]
    assert len(heard) == 200
    with pytest.raises(ValueError, match="no handler"):
        client.unsubscribe_topic(name)


def test_tasks_say_something_to_a_topic(client, name):
    heard = []
    client.subscribe_topic(name, heard.append)
    client.submit(tasks.tell, name, 3).result(20)
    until(lambda: len(heard) == 3)
    assert [what for _, what in heard] == [0, 1, 2]
    client.unsubscribe_topic(name)


def test_a_handler_may_be_a_coroutine_function_and_may_fail(client, name, caplog):
    heard = []

    async def handler(event):
        await asyncio.sleep(0)
        heard.append(event[1])
        raise ValueError("oops")

    client.subscribe_topic(name, handler)
    client.log_event([name, name + "-other"], 1)
    client.log_event(name, 2)
    until(lambda: heard == [1, 2])
    until(lambda: "a handler of topic" in caplog.text)
    client.unsubscribe_topic(name)
    assert len(client.get_events(name + "-other")) == 1


def test_a_slow_handler_holds_nobody_up(client, name):
    go, heard = threading.Event(), []
    client.subscribe_topic(name, lambda event: (go.wait(20), heard.append(event[1])))
    for n in range(3):
        client.log_event(name, n)
    assert client.submit(sum, [1, 2], pure=False).result(20) == 3
    assert heard == []
    go.set()
    until(lambda: heard == [0, 1, 2])
    client.unsubscribe_topic(name)


def test_metadata_is_a_tree(client, other, name):
    client.set_metadata([name, "a"], {"b": 1, "c": {2: 3}})
    other.set_metadata([name, "a", "b"], (4,))
    assert client.get_metadata(name) == {"a": {"b": (4,), "c": {2: 3}}}
    assert client.get_metadata([name, "x"], 5) == 5
    with pytest.raises(KeyError):
        client.get_metadata([name, "x"])
    with pytest.raises(TreadleError, match="nothing can stand below"):
        client.set_metadata([name, "a", "b", "c"], 5)
    with pytest.raises(ValueError, match="at most"):
        client.set_metadata(name, b"x" * 2_000_000)


# --- links and leases ----------------------------------------------------------------------------


def cut(client):
    """The client's link is lost."""
    link = client._session.bond.link
    client._session.engine.call_soon(lambda: link.close("cut by a test"))
    until(lambda: client._session.bond.link is not link)


def test_a_lost_link_costs_nothing(client, other, name):
    lock = Lock(name, client=other)
    lock.acquire()
    heard = []
    other.subscribe_topic(name, heard.append)
    queue = Queue(name, client=other)
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(queue.get)
        for n in range(30):
            client.log_event(name, n)
            if n % 10 == 5:
                cut(other)
        Queue(name).put("item")
        assert wait.result(20) == "item"
    until(lambda: len(heard) >= 30)
    assert [what for _, what in heard] == list(range(30))
    assert not Lock(name).acquire(timeout=0)
    assert lock.release()
    assert Queue(name).qsize() == 0


def test_what_is_said_while_links_are_lost_is_done_once(client, other, name):
    queue = Queue(name, client=other)
    for n in range(40):
        if n % 10 == 5:
            cut(other)
        queue.put(n)
        other.log_event(name, n)
    assert Queue(name).get(batch=True) == list(range(40))
    assert [what for _, what in client.get_events(name)] == list(range(40))


def test_who_was_forgotten_has_lost_its_place(client, name):
    with Client(client.connection_file, set_as_default=False, _lease_s=0.3) as stale:
        lock = Lock(name, client=stale)
        lock.acquire()
        token = lock.token
        connect = stale._session.home.connect

        async def refused(me, ear):
            raise ConnectionRefusedError("by a test")

        stale._session.home.connect = refused
        cut(stale)
        with Lock(name) as mine:
            assert mine.token > token
            stale._session.home.connect = connect
            with pytest.raises((LeaseLost, SchedulerLost)):
                lock.release()
            assert held(name)


def test_without_a_client_it_is_told(name):
    lock = pickle.loads(pickle.dumps(Lock(name)))
    assert lock.name == name
    code = "from treadle.client import Lock\nLock('x').acquire()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert NoClientError.__name__ in done.stderr


def test_what_waits_ends_with_the_client(client, name):
    other = Client(client.connection_file, set_as_default=False)
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(Event(name, client=other).wait)
        until(lambda: other._session.ledger.asks)
        other.close()
        with pytest.raises(SchedulerLost):
            wait.result(20)
    with pytest.raises(RuntimeError, match="closed"):
        Event(name, client=other).set()


def test_a_task_that_holds_the_interpreters_lock_keeps_its_place(client, name):
    future = client.submit(tasks.hold_the_interpreter, name, 1.5, pure=False)
    assert Event(name).wait(20)
    with Lock(name) as lock:
        assert future.result(20) < lock.token


def test_tasks_that_wait_for_each_other_need_one_slot(name):
    with Client(slots=1, set_as_default=False) as client:
        holds = client.submit(tasks.hold_until, name, name)
        assert Event(name + "-begun", client=client).wait(20)
        waits = client.submit(tasks.take_lock, name)
        until(lambda: in_line(client, name) == 1)
        client.submit(tasks.set_event, name).result(20)
        assert waits.result(20) == "taken"
        holds.result(20)


def test_what_waits_ends_with_the_scheduler_and_topics_go_on_with_the_next(name):
    with Client(slots=1, set_as_default=False) as client, ThreadPoolExecutor(1) as pool:
        heard = []
        client.subscribe_topic(name, heard.append)
        client.log_event(name, 1)
        until(lambda: len(heard) == 1)
        lock = Lock(name, client=client)
        lock.acquire()
        wait = pool.submit(Event(name, client=client).wait)
        until(lambda: client._session.ledger.asks)
        client._session.home.process.kill()
        with pytest.raises(SchedulerLost):
            wait.result(20)
        assert client.submit(sum, [1, 2]).result(20) == 3
        with pytest.raises(LeaseLost):
            lock.release()
        client.log_event(name, 2)
        until(lambda: [what for _, what in heard] == [1, 2])


def test_a_restart_frees_what_tasks_hold(name):
    with Client(slots=1, set_as_default=False) as client:
        queue = Queue(name, client=client)
        queue.put(1)
        future = client.submit(tasks.hold_until, name, name)
        assert Event(name + "-begun", client=client).wait(20)
        client.restart()
        assert future.cancelled()
        assert Lock(name, client=client).acquire(timeout=20)
        assert queue.get() == 1


# --- event loops ---------------------------------------------------------------------------------


def run(client, main):
    async def whole():
        async with Client(client.connection_file, asynchronous=True, set_as_default=False) as mine:
            return await asyncio.wait_for(main(mine), 30)

    return asyncio.run(whole())


def test_all_of_it_can_be_awaited(client, name):
    async def main(mine):
        lock, event = Lock(name, client=mine), Event(name, client=mine)
        queue, variable = Queue(name, client=mine), Variable(name, client=mine)
        async with lock as entered:
            assert entered is lock
            assert await lock.locked()
            assert not await Lock(name, client=mine).acquire(timeout=0)
        with pytest.raises(TypeError, match="async with"):
            lock.__enter__()
        waits = asyncio.create_task(event.wait())
        await event.set()
        assert await waits
        await queue.put({"x": mine.submit(sum, [1, 2])})
        assert await queue.qsize() == 1
        assert await (await queue.get())["x"] == 3
        await variable.set(5)
        assert await variable.get() == 5
        await mine.set_metadata(name, {"a": 1})
        assert await mine.get_metadata([name, "a"]) == 1
        return True

    assert run(client, main)


def test_who_is_cancelled_while_it_waits_takes_nothing(client, name):
    async def main(mine):
        queue = Queue(name, client=mine)
        lock = Lock(name, client=mine)
        await lock.acquire()
        for _ in range(20):
            takes = asyncio.create_task(queue.get())
            waits = asyncio.create_task(Lock(name, client=mine).acquire())
            await asyncio.sleep(0)
            await queue.put(1)
            takes.cancel()
            waits.cancel()
            done = await asyncio.gather(takes, waits, return_exceptions=True)
            assert type(done[1]) is asyncio.CancelledError
            if done[0] != 1:
                assert await queue.get(timeout=10) == 1
        await lock.release()
        assert not await lock.locked()
        assert await queue.qsize() == 0
        return True

    assert run(client, main)


def test_many_wait_on_one_event_loop(client, name):
    async def main(mine):
        event, lock, order = Event(name, client=mine), Semaphore(3, name, client=mine), []

        async def one(n):
            await event.wait()
            async with lock:
                order.append(n)

        ones = [asyncio.create_task(one(n)) for n in range(200)]
        await asyncio.sleep(0)
        await event.set()
        await asyncio.gather(*ones)
        return sorted(order)

    assert run(client, main) == list(range(200))


def test_handlers_run_on_the_loop_that_subscribed(client, name):
    async def main(mine):
        loops, heard = set(), asyncio.Queue()

        async def handler(event):
            loops.add(asyncio.get_running_loop())
            await asyncio.sleep(0)
            heard.put_nowait(event[1])

        await mine.subscribe_topic(name, handler)
        for n in range(20):
            client.log_event(name, n)
        assert [await heard.get() for _ in range(20)] == list(range(20))
        assert loops == {asyncio.get_running_loop()}
        await mine.unsubscribe_topic(name)
        return len(await mine.get_events(name))

    assert run(client, main) == 20


# --- nothing is kept -----------------------------------------------------------------------------


def test_names_that_were_used_cost_nothing(client):
    for n in range(100):
        with Lock(f"name-{n}"):
            Queue(f"name-{n}").put(n)
        assert Queue(f"name-{n}").get() == n
    ledger = client._session.ledger
    assert not [m for m in ledger.asks.values() if isinstance(m, wire.Acquire | wire.Put)]
    assert len(client._asker._heard) <= 64
