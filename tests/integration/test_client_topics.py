"""Topics and metadata; and what clients coordinate by over lost links, leases and event loops."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration import coordination_tasks as tasks
from tests.integration.cluster_cases import until
from tests.integration.coordination_cases import (  # noqa: F401 - fixtures
    a_client,
    another,
    held,
    in_line,
    its_name,
)
from treadle import wire
from treadle.client import Client, Event, Lock, Queue, Semaphore, Variable
from treadle.errors import LeaseLost, NoClientError, SchedulerLost, TreadleError

pytestmark = pytest.mark.timeout(60)


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
