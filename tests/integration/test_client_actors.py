"""Actors of a client: one home, ordered calls, futures like any other; live processes."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import re
import signal
import threading
import time
from concurrent.futures import CancelledError, as_completed, wait

import numpy as np
import psutil
import pytest

import treadle
from tests.integration.several_workers import Workers, wait_for
from treadle.client import Client
from treadle.client._actors import Actor
from treadle.errors import ActorLost, NoClientError, TaskDied, TreadleError

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def client():
    with Client(slots=2, resources={"gpu": 1}, validate=True) as client:
        yield client


class Counter:
    """Counts."""

    kind = "counter"

    def __init__(self, count=0):
        self.count = count
        self.seen = []

    def add(self, amount=1):
        self.count += amount
        return self.count

    def note(self, value):
        self.seen.append(value)

    @property
    def doubled(self):
        return 2 * self.count

    @staticmethod
    def double(x):
        return 2 * x

    @classmethod
    def name(cls):
        return cls.__name__

    def fail(self, text):
        raise ValueError(text)

    def pid(self):
        return os.getpid()

    def hold(self, path):
        path.with_suffix(".runs").touch()
        while not path.exists():
            time.sleep(0.005)
        return self.count

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def ones(self, count):
        return np.ones(count)

    def total(self, *values):
        return sum(values)


def twice(x):
    return 2 * x


def pid():
    return os.getpid()


def runs(path):
    return path.with_suffix(".runs").exists()


# --- calls and attributes ------------------------------------------------------------------------


def test_an_actor_keeps_its_state_between_calls(client):
    counter = client.submit(Counter, 5, actor=True).result(20)
    futures = [counter.add(n) for n in range(100)]
    assert [f.result(20) for f in futures][-1] == 5 + sum(range(100))
    assert counter.count == 5 + sum(range(100))
    assert counter.doubled == 2 * counter.count
    assert (counter.kind, counter.seen) == ("counter", [])
    assert counter.double(4).result(20) == 8
    assert counter.name().result(20) == "Counter"


def test_a_call_is_made_though_nobody_keeps_its_future(client, tmp_path):
    counter = client.submit(Counter, actor=True).result(20)
    counter.hold(tmp_path / "go")
    for n in range(10):
        counter.note(client.submit(twice, n))
    gc.collect()
    (tmp_path / "go").touch()
    assert counter.seen == [2 * n for n in range(10)]
    held = client._heard_of
    wait_for(lambda: not held)


def test_calls_are_made_in_order_whatever_their_inputs_are(client, tmp_path):
    counter = client.submit(Counter, actor=True).result(20)
    counter.hold(tmp_path / "go")
    late = client.submit(twice, 21)
    for value in (0, late, 1, [late, 2], "x" * 300_000):
        counter.note(value)
    (tmp_path / "go").touch()
    assert counter.seen == [0, 42, 1, [42, 2], "x" * 300_000]


def test_an_attribute_is_as_the_calls_before_have_left_it(client, tmp_path):
    counter = client.submit(Counter, actor=True).result(20)
    held = counter.hold(tmp_path / "go")
    counter.add(7)
    threading.Timer(0.1, (tmp_path / "go").touch).start()
    assert counter.count == 7
    assert held.done()


def test_what_a_method_raises_is_the_calls_and_the_actor_lives(client):
    counter = client.submit(Counter, actor=True).result(20)
    assert repr(counter.fail("no").exception(20)) == "ValueError('no')"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        counter.nothing  # noqa: B018 - that it is asked for
    assert not hasattr(counter, "nothing")
    assert isinstance(counter.add("x").exception(20), TypeError)
    assert counter.add(1).result(20) == 1


def test_a_proxy_says_what_cannot_be_done_with_it(client):
    counter = client.submit(Counter, actor=True).result(20)
    with pytest.raises(AttributeError, match="give its class a method"):
        counter.count = 3
    with pytest.raises(AttributeError, match="underscore"):
        counter._secret  # noqa: B018 - that it is asked for
    assert {"add", "pid", "name", "double"} < set(dir(counter))
    assert "count" not in dir(counter)
    assert "Counter" in repr(counter)
    assert "alive" in repr(counter)
    assert "add" in repr(counter.add)


def test_an_actor_may_be_made_by_a_function(client):
    def make(count):
        return Counter(count)

    counter = client.submit(make, 3, actor=True).result(20)
    assert counter.add(1).result(20) == 4
    assert counter.count == 4
    assert client.submit(list, (1, 2), actor=True).result(20).pop().result(20) == 2


def test_coroutine_methods_share_the_actors_loop(client):
    class Clock:
        def __init__(self):
            self.ticks = 0

        async def start(self):
            self.task = asyncio.create_task(self._tick())
            self.change = asyncio.Condition()

        async def _tick(self):
            while True:
                await asyncio.sleep(0.01)
                async with self.change:
                    self.ticks += 1
                    self.change.notify_all()

        async def wait_for(self, ticks):
            async with self.change:
                await self.change.wait_for(lambda: self.ticks >= ticks)
            return self.ticks

        async def fail(self):
            raise ValueError("late")

    clock = client.submit(Clock, actor=True).result(20)
    clock.start()
    wait_for(lambda: clock.ticks > 3)  # it goes on between calls
    assert clock.wait_for(8).result(20) >= 8
    assert repr(clock.fail().exception(20)) == "ValueError('late')"
    assert clock.wait_for(1).result(20) >= 8


def test_one_that_cannot_be_made_is_an_error(client):
    class Broken:
        def __init__(self):
            raise ValueError("broken")

        def die(self):
            """Never called."""

    future = client.submit(Broken, actor=True)
    with pytest.raises(ValueError, match="broken"):
        future.result(20)
    assert future.status == "error"

    class Deadly:
        def __init__(self):
            os.kill(os.getpid(), signal.SIGKILL)

    assert isinstance(client.submit(Deadly, actor=True).exception(30), TaskDied)


# --- futures of calls ----------------------------------------------------------------------------


def test_futures_of_calls_are_like_any_other(client):
    counter = client.submit(Counter, actor=True).result(20)
    first, second, third = (counter.add(1) for _ in range(3))
    assert client.submit(twice, second).result(20) == 4
    assert client.gather({"a": [first, third]}) == {"a": [1, 3]}
    assert wait([first, second], timeout=20).not_done == set()
    assert sorted(f.result() for f in as_completed([first, second, third], timeout=20)) == [1, 2, 3]
    assert counter.total(first, client.submit(twice, 4)).result(20) == 9
    assert client.submit(sum, [first, second, third]).result(20) == 6
    assert first.key.startswith("add-")


def test_actors_and_calls_are_waited_for_like_any_other(client):
    actors = [client.submit(Counter, n, actor=True) for n in range(3)]
    made = list(treadle.as_completed(actors, with_results=True, timeout=20))
    assert sorted(counter.count for _, counter in made) == [0, 1, 2]
    assert client.gather(actors)[2].count == 2
    calls = [future.result().add(10) for future in actors]
    assert treadle.wait(calls, timeout=20).not_done == set()
    assert sorted(value for _, value in treadle.as_completed(calls, with_results=True)) == [
        10,
        11,
        12,
    ]
    assert [future.type for future in actors] == ["Counter"] * 3


def test_large_results_and_arguments_of_calls(client):
    counter = client.submit(Counter, actor=True).result(20)
    big = counter.ones(1_000_000)
    assert client.submit(np.sum, big).result(20) == 1_000_000
    assert big.result(20).sum() == 1_000_000
    counter.note(np.arange(1_000_000))
    assert counter.seen[0][-1] == 999_999


def test_a_call_that_waits_can_be_cancelled(client, tmp_path):
    counter = client.submit(Counter, actor=True).result(20)
    held = counter.hold(tmp_path / "go")
    wait_for(lambda: runs(tmp_path / "go"))
    waiting, behind = counter.add(100), counter.add(1)
    assert waiting.cancel()
    held.cancel()
    with pytest.raises(CancelledError):
        waiting.result(20)
    (tmp_path / "go").touch()
    assert behind.result(20) == 1
    assert counter.pid().result(20)  # to stop the one that ran would have ended the actor


def test_a_call_is_explained(client, tmp_path):
    counter = client.submit(Counter, actor=True).result(20)
    first = counter.hold(tmp_path / "go")
    second = counter.add(client.submit(twice, first))
    third = counter.add(1)
    assert re.search(r"earlier calls? before it", client.explain(third))
    (tmp_path / "go").touch()
    assert third.result(20) == 1
    assert "memory" in client.story(second)[0]


# --- its process ---------------------------------------------------------------------------------


def test_an_actor_has_a_process_of_its_own_beside_the_slots(client, tmp_path):
    counters = [client.submit(Counter, n, actor=True).result(20) for n in range(3)]
    held = [counter.hold(tmp_path / "go") for counter in counters]
    futures = client.map(pid, range(0)) + [client.submit(pid, pure=False) for _ in range(20)]
    slots = {future.result(20) for future in futures}  # two slots run, though three actors do
    (tmp_path / "go").touch()
    assert client.gather(held) == [0, 1, 2]
    actors = {counter.pid().result(20) for counter in counters}
    assert len(actors) == 3
    assert not actors & slots


def test_it_has_its_resources_for_life(client):
    first = client.submit(Counter, 1, actor=True, resources={"gpu": 1})
    counter = first.result(20)
    waiting = client.submit(twice, 4, resources={"gpu": 1})
    assert counter.add(1).result(20) == 2
    assert client.submit(twice, 3).result(20) == 6
    assert not waiting.done()
    assert "gpu" in client.explain(waiting)
    del first, counter
    gc.collect()
    assert waiting.result(20) == 8


def test_it_ends_with_its_last_future_or_proxy(client):
    future = client.submit(Counter, actor=True)
    counter = future.result(20)
    process = psutil.Process(counter.pid().result(20))
    del future
    gc.collect()
    assert counter.add(1).result(20) == 1
    last = counter.add(1)
    del counter
    gc.collect()
    assert last.result(20) == 2
    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_actors_go_where_fewest_live(tmp_path):
    workers = Workers(tmp_path)
    try:
        for id in ("a", "b", "c"):
            workers.worker(id)
        client = workers.client()
        wait_for(lambda: len(client.has_what()) == 3)
        futures = [client.submit(Counter, n, actor=True) for n in range(6)]
        wait(futures, timeout=20)
        assert sorted(len(keys) for keys in client.has_what().values()) == [2, 2, 2]
    finally:
        workers.end()


def test_what_it_changes_of_its_process_stays(client, tmp_path):
    class Settled:
        def __init__(self, path):
            os.chdir(path)
            os.environ["TREADLE_TEST_ACTOR"] = "here"
            self.thread = threading.Thread(target=threading.Event().wait, daemon=True)
            self.thread.start()

        def where(self):
            return os.getcwd(), os.environ["TREADLE_TEST_ACTOR"], self.thread.is_alive()

    settled = client.submit(Settled, tmp_path, actor=True).result(20)
    for _ in range(3):
        assert settled.where().result(20) == (str(tmp_path), "here", True)


def test_a_walltime_is_for_making_it(client):
    counter = client.submit(Counter, actor=True, walltime=3.0).result(20)
    time.sleep(3.5)  # it lives on
    assert counter.add(1).result(20) == 1


def test_it_may_grow_beyond_what_a_slot_may():
    with Client(slots=1, recycle_bytes=1 << 20) as client:
        held = client.submit(list, actor=True).result(20)
        for n in range(4):
            held.append(np.ones(1_000_000) * n).result(20)
            time.sleep(0.3)  # so often a slot looks at itself
        assert held.pop().result(20)[0] == 3


# --- proxies elsewhere ---------------------------------------------------------------------------


def use(counter, amount):
    return counter.add(amount).result(20)


def read(nest):
    return nest["counters"][0].count


def test_a_proxy_is_an_argument_of_tasks(client):
    future = client.submit(Counter, actor=True)
    counter = future.result(20)
    results = [client.submit(use, counter, 1, pure=False).result(20) for _ in range(3)]
    assert results == [1, 2, 3]
    assert client.submit(use, future, 10).result(20) == 13  # its future stands for it
    assert client.submit(read, {"counters": [future]}).result(20) == 13
    assert client.submit(read, {"counters": [counter, future]}).result(20) == 13


def test_a_map_may_make_actors(client):
    counters = client.gather(client.map(Counter, range(3), actor=True))
    assert [counter.add(10).result(20) for counter in counters] == [10, 11, 12]
    assert len({counter.pid().result(20) for counter in counters}) == 3


def test_tasks_may_name_an_actor_that_is_not_made_yet(client):
    future = client.submit(Counter, 1, actor=True)
    used = client.submit(use, future, 1)
    del future
    gc.collect()
    assert used.result(20) == 2


def test_actors_stand_in_maps_and_graphs(client):
    future = client.submit(Counter, actor=True)  # it may not be made yet
    counts = client.map(use, [future] * 3, [1, 1, 1], pure=False)
    nests = client.map(read, [{"counters": [future]}], pure=False)
    assert sorted(client.gather(counts)) == [1, 2, 3]
    assert client.gather(nests)[0] <= 3
    counter = future.result(20)
    assert sorted(client.gather(client.map(use, [counter] * 3, [1] * 3, pure=False))) == [4, 5, 6]
    assert client.get({"a": (use, counter, 1), "b": (use, future, "a")}, "b") == 14


def test_a_map_keeps_the_actors_that_it_names(client):
    counters = [client.submit(Counter, n, actor=True) for n in range(3)]
    futures = client.map(use, counters, [1, 1, 1], pure=False)
    del counters
    gc.collect()
    assert client.gather(futures) == [1, 2, 3]


def tell(counter, path):
    wait_for(path.exists)
    client = treadle.get_client()
    for n in range(10):
        counter.note(client.submit(twice, n))


def test_calls_of_a_task_are_made_though_it_does_not_wait_for_them(client, tmp_path):
    counter = client.submit(Counter, actor=True).result(20)
    told = client.submit(tell, counter, tmp_path / "go")
    held = counter.hold(tmp_path / "go")
    (tmp_path / "go").touch()
    told.result(20)
    held.result(20)
    wait_for(lambda: counter.seen == [2 * n for n in range(10)])


def test_many_tasks_may_call_one_actor(client):
    counter = client.submit(Counter, actor=True).result(20)
    futures = client.map(use, [counter] * 20, [1] * 20, pure=False)
    assert sorted(client.gather(futures)) == list(range(1, 21))


class Relay:
    def __init__(self, other=None):
        self.other = other

    def pass_on(self, amount):
        return self.other.add(amount).result(20)

    def keep(self, other):
        self.other = other


def test_actors_call_actors(client):
    counter = client.submit(Counter, actor=True).result(20)
    relay = client.submit(Relay, counter, actor=True).result(20)
    assert [relay.pass_on(2).result(20) for _ in range(3)] == [2, 4, 6]
    other = client.submit(Counter, 100, actor=True)
    relay.keep(other).result(20)
    del other  # the one that keeps a proxy keeps the actor
    gc.collect()
    assert [relay.pass_on(1).result(20) for _ in range(3)] == [101, 102, 103]
    assert counter.count == 6


class Looped:
    def meet(self, me):
        self.me = me

    def wait(self):
        return self.me.answer().result(20)

    def answer(self):
        return 42

    def tell(self):
        self.me.answer()
        return "told"


def test_an_actor_that_would_wait_for_itself_is_told_so(client):
    looped = client.submit(Looped, actor=True).result(20)
    looped.meet(looped).result(20)
    with pytest.raises(RuntimeError, match="would never end"):
        looped.wait().result(20)
    assert looped.tell().result(20) == "told"
    assert looped.answer().result(20) == 42


def make_one(count):
    counter = treadle.get_client().submit(Counter, count, actor=True).result(20)
    counter.add(1).result(20)
    return counter


def test_a_task_may_make_an_actor_and_return_it(client):
    counter = client.submit(make_one, 5).result(20)
    assert isinstance(counter, Actor)
    assert counter.add(1).result(20) == 7


def test_other_clients_are_given_pickled_proxies(client):
    counter = client.submit(Counter, actor=True).result(20)
    counter.add(1).result(20)
    data = pickle.dumps(counter)
    with Client(client.connection_file, set_as_default=False) as other, other.as_current():
        copy = pickle.loads(data)
        assert copy == counter
        assert len({copy, counter}) == 1
        assert copy.add(1).result(20) == 2
        assert counter.add(1).result(20) == 3
        assert copy.count == 3
        with other.as_current():
            future = pickle.loads(pickle.dumps(copy._future))
            assert future.result(20) == counter


def test_a_proxy_without_a_client_says_so():
    with Client(slots=1, set_as_default=False) as client:
        data = pickle.dumps(client.submit(Counter, actor=True).result(20))
        copy = pickle.loads(data)
        assert "not used yet" in repr(copy)
        with pytest.raises(NoClientError):
            copy.add(1)
        with client.as_current():
            assert copy.add(1).result(20) == 1


def test_an_actor_may_be_published_and_be_named_so(client):
    future = client.submit(Counter, 3, actor=True)
    assert future.result(20).add(1).result(20) == 4
    client.publish_dataset(future, name="the counter")
    client.publish_dataset(proxies=[future.result()])
    del future
    gc.collect()
    with Client(client.connection_file) as other:
        counter = other.get_dataset("the counter").result(20)
        assert counter.add(1).result(20) == 5
        (same,) = other.get_dataset("proxies")
        assert same == counter
        assert same.count == 5


def test_a_proxy_may_be_an_item_of_a_queue_or_a_variables_value(client):
    counter = client.submit(Counter, actor=True).result(20)
    treadle.Queue("counters", client=client).put(counter)
    treadle.Variable("counter", client=client).set(counter)
    counter.add(1).result(20)
    del counter
    gc.collect()
    with Client(client.connection_file) as other:
        first = treadle.Variable("counter", client=other).get(timeout=20)
        second = treadle.Queue("counters", client=other).get(timeout=20)
        assert first.add(1).result(20) == 2
        assert second.add(1).result(20) == 3
        assert first == second


# --- loss ----------------------------------------------------------------------------------------


def test_with_its_process_an_actor_is_lost_and_says_so(client):
    future = client.submit(Counter, actor=True)
    counter = future.result(20)
    before = counter.add(1)
    assert before.result(20) == 1
    death, behind = counter.die(), counter.add(1)
    for lost in (death, behind):
        with pytest.raises(ActorLost, match="SIGKILL"):
            lost.result(20)
    with pytest.raises(ActorLost, match="its state with it"):
        counter.add(1).result(20)
    with pytest.raises(ActorLost):
        counter.count  # noqa: B018 - that it is asked for
    assert before.result(20) == 1
    assert future.status == "error"
    with pytest.raises(ActorLost):
        future.result(20)
    with pytest.raises(ActorLost):
        client.submit(use, counter, 1).result(20)
    assert "error" in repr(counter)
    assert client.submit(twice, 3).result(20) == 6


def test_a_lost_actor_is_made_anew_if_that_is_asked_for(client):
    future = client.submit(Counter, 10, actor=True)
    counter = future.result(20)
    old = counter.pid().result(20)
    counter.add(5).result(20)
    with pytest.raises(ActorLost):
        counter.die().result(20)
    client.retry([future])
    assert counter.add(1).result(20) == 11
    assert counter.pid().result(20) != old
    assert future.result(20) == counter


def test_an_actor_that_dies_idle_is_lost(client):
    counter = client.submit(Counter, actor=True).result(20)
    os.kill(counter.pid().result(20), signal.SIGKILL)
    wait_for(lambda: isinstance(counter.add(1).exception(20), ActorLost))


def test_with_its_worker_an_actor_is_lost(tmp_path):
    workers = Workers(tmp_path)
    try:
        workers.worker("a")
        workers.worker("b")
        client = workers.client()
        future = client.submit(Counter, actor=True, workers="a")
        counter = future.result(20)
        done, big = counter.add(1), counter.ones(100_000)
        assert done.result(20) == 1
        copy = client.submit(np.sum, big, workers="b")
        assert copy.result(20) == 100_000
        held = counter.hold(tmp_path / "never")
        wait_for(lambda: runs(tmp_path / "never"))
        workers.kill("a")
        with pytest.raises(ActorLost, match="worker a"):
            held.result(20)
        with pytest.raises(ActorLost):
            counter.add(1).result(20)
        assert done.result(20) == 1
        assert client.submit(twice, 1).result(20) == 2
    finally:
        workers.end()


# --- control -------------------------------------------------------------------------------------


def test_a_worker_with_actors_is_not_retired(client):
    counter = client.submit(Counter, actor=True).result(20)
    (worker,) = client.has_what()
    with pytest.raises(TreadleError, match="actors cannot move") as caught:
        client.retire_workers([worker])
    assert worker in str(caught.value)
    assert counter.add(1).result(20) == 1


def test_actors_and_their_calls_are_watched(client, tmp_path):
    future = client.submit(Counter, actor=True)
    counter = future.result(20)
    held = counter.hold(tmp_path / "go")
    wait_for(lambda: runs(tmp_path / "go"))
    (worker,) = client.has_what()
    assert client.who_has([future]) == {future.key: [worker]}
    assert held.key in client.processing()[worker]
    assert "in hold" in str(client.call_stack([held]))
    assert "lives on" in client.explain(future)
    with pytest.raises(TreadleError, match="actor"):
        client.replicate([future], 2)
    beside = client.run(os.getpid)[worker]
    (tmp_path / "go").touch()
    assert held.result(20) == 0
    assert counter.pid().result(20) != beside


def test_a_restart_ends_actors():
    with Client(slots=1) as client:
        counter = client.submit(Counter, actor=True).result(20)
        counter.add(1).result(20)
        client.restart()
        with pytest.raises(ActorLost, match="not known"):
            counter.add(1).result(20)
        again = client.submit(Counter, 1, actor=True).result(20)
        assert again.add(1).result(20) == 2


# --- event loops ---------------------------------------------------------------------------------


def test_an_asynchronous_client_awaits_calls_and_attributes():
    async def main():
        async with Client(slots=1, asynchronous=True) as client:
            counter = await client.submit(Counter, actor=True)
            assert await counter.add(2) == 2
            assert await asyncio.gather(*[_await(counter.add(1)) for _ in range(3)]) == [3, 4, 5]
            assert await counter.count == 5
            with pytest.raises(ValueError, match="no"):
                await counter.fail("no")
            made = await client.submit(lambda: Counter(8), actor=True)  # of what class is not known
            assert await made.add(1) == 9
            assert await made.count == 9
            calls = [counter.add(1), made.add(1)]
            async for future in treadle.as_completed(calls):
                assert (await future) in (6, 10)
            (same,) = await client.gather([counter._future])
            assert same == counter
            return await client.gather(calls)

    async def _await(future):
        return await future

    assert asyncio.run(main()) == [6, 10]
