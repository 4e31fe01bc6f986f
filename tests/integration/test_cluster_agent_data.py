"""Data between an agent, other agents and clients; links are Unix sockets."""

from __future__ import annotations

import asyncio
import os

import numpy as np
import pytest

from tests.integration.agent_desk import RUN, Customer, Reference, desk, on_a_loop, until
from tests.integration.test_cluster_agent import add, total, zeros
from treadle import wire
from treadle.cluster._rundir import RunDirectory
from treadle.errors import StoreDamaged
from treadle.serialize import pack, unpack
from treadle.store.mapping import Shared

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")


@pytest.fixture
def folder(tmp_path):
    with RunDirectory.create("test") as directory:
        yield directory


def test_a_client_of_this_machine_is_told_where_an_object_stands(folder):
    async def play():
        async with desk(folder) as d:
            d.run(1, zeros, 1 << 18)
            await d.outcome(1)
            customer = Customer()
            await customer.dial(d)
            value = await customer.value(1, d, 1)
            assert value.shape == (1 << 18,)
            assert value[-1] == (1 << 18) - 1
            # Until it said that it had opened it, it was in use.
            await until(lambda: not d.agent.machine.books.transfers)
            del value
            customer.close()
            await until(lambda: customer.why)

    on_a_loop(play)


def test_small_objects_come_as_they_are(folder):
    async def play():
        async with desk(folder) as d:
            d.run(1, add, 1, 2)
            await d.value(1)
            customer = Customer()
            await customer.dial(d)
            assert await customer.value(7, d, 1) == 3
            customer.close()
            await until(lambda: customer.why)

    on_a_loop(play)


def test_what_a_client_has_not_opened_when_it_goes_is_in_use_no_longer(folder):
    async def play():
        async with desk(folder) as d:
            d.run(1, zeros, 1 << 18)
            made = await d.outcome(1)
            customer = Customer()
            await customer.dial(d)
            customer.link.send([wire.GetData(1, (wire.Attempt(1, made.attempt),))])
            await until(lambda: customer.all(wire.Spots))
            assert d.agent.machine.books.transfers
            customer.close()
            await until(lambda: not d.agent.machine.books.transfers)
            d.link.send([wire.Free(1, made.attempt)])
            await until(lambda: (1, made.attempt) not in d.agent.store)

    on_a_loop(play)


def test_what_is_not_here_is_said_to_be_missing(folder):
    async def play():
        async with desk(folder) as d:
            customer = Customer()
            await customer.dial(d)
            customer.link.send([wire.GetData(1, (wire.Attempt(5, 1),))])
            (data,) = await until(lambda: customer.all(wire.Data))
            assert data == wire.Data(1, (), (5,))
            customer.close()
            await until(lambda: customer.why)

    on_a_loop(play)


@pytest.mark.parametrize("way", ["memory", "chunks"])
def test_a_client_gives_data_that_tasks_then_use(folder, way):
    async def play():
        async with desk(folder) as d:
            customer = Customer()
            await customer.dial(d)
            packed = pack(np.arange(1 << 18, dtype=np.float64), home=False)
            held = wire.Held(9, 4, packed.nbytes, "ndarray")
            if way == "memory":
                shared = Shared(packed)
                customer.link.send([wire.Give(1, held, shared.spot)])
            else:
                customer.link.send([wire.Give(1, held)])
                frames = wire.chunks(1, 0, memoryview(packed.to_bytes()))
                customer.link.send_chunks(frames, lambda: None)
            (given,) = await until(lambda: customer.all(wire.Given))
            assert given == wire.Given(1)
            if way == "memory":
                shared.close()
            holding = await d.message(wire.Holding)
            assert holding.objects == (held,)
            d.run(1, total, Reference(9), inputs=(wire.Input(9, 4, packed.nbytes, ("w",)),))
            assert await d.value(1) == float(np.arange(1 << 18).sum())
            customer.close()
            await until(lambda: customer.why)

    on_a_loop(play)


def test_a_gift_that_is_not_there_is_refused_in_words(folder):
    async def play():
        async with desk(folder) as d:
            customer = Customer()
            await customer.dial(d)
            nowhere = wire.Spot(os.getpid(), 999_999, 0, 100)
            customer.link.send([wire.Give(1, wire.Held(9, 4, 100), nowhere)])
            customer.link.send([wire.Give(2, wire.Held(9, 4, 200), nowhere)])
            answers = await until(lambda: len(customer.all(wire.Given)) == 2)
            answers = customer.all(wire.Given)
            assert all(answer.error for answer in answers)
            assert "200 bytes were given as 100" in answers[1].error
            assert d.agent.store.nbytes == 0
            customer.close()
            await until(lambda: customer.why)

    on_a_loop(play)


def test_a_gift_that_breaks_off_leaves_nothing(folder):
    async def play():
        async with desk(folder) as d:
            customer = Customer()
            await customer.dial(d)
            data = bytes(3 << 20)
            customer.link.send([wire.Give(1, wire.Held(9, 4, len(data)))])
            frames = iter(list(wire.chunks(1, 0, memoryview(data)))[:2])
            customer.link.send_chunks(frames, lambda: None)
            await until(lambda: d.agent.peers.arrivals.by_key)
            customer.close()
            await until(lambda: not d.agent.peers.arrivals.by_key)
            assert (9, 4) not in d.agent.store
            assert d.agent.store.nbytes == 0

    on_a_loop(play)


def test_chunks_that_do_not_come_in_order_end_the_link(folder):
    async def play():
        async with desk(folder) as d:
            customer = Customer()
            await customer.dial(d)
            data = bytes(3 << 20)
            customer.link.send([wire.Give(1, wire.Held(9, 4, len(data)))])
            frames = list(wire.chunks(1, 0, memoryview(data)))
            customer.link.send_chunks(iter([frames[1]]), lambda: None)
            await until(lambda: customer.why is not None)
            assert (9, 4) not in d.agent.store

    on_a_loop(play)


@pytest.fixture
def identities(tmp_path):
    from treadle.cluster._authority import Authority

    authority = Authority(RUN)

    def issue(role, id):
        return authority.issue(role, id, str(tmp_path / f"{role}-{id}.pem"))

    return issue


def test_to_a_client_of_another_machine_the_bytes_are_sent(identities):
    async def play():
        async with desk(identity=identities("worker", "w")) as d:
            d.run(1, zeros, 1 << 19)
            made = await d.outcome(1)
            customer = Customer()
            await customer.dial(d, identities("client", "user"))
            customer.link.send([wire.GetData(1, (wire.Attempt(1, made.attempt),))])
            await until(lambda: sum(len(c[3]) for c in customer.chunks) == made.nbytes)
            assert not customer.all(wire.Spots)
            data = b"".join(piece for _, _, _, piece in customer.chunks)
            assert unpack(data, writable=True)[-1] == (1 << 19) - 1
            await until(lambda: not d.agent.machine.books.transfers)
            # A place in memory is of no use from there.
            nowhere = wire.Spot(os.getpid(), 5, 0, 100)
            customer.link.send([wire.Give(2, wire.Held(9, 4, 100), nowhere)])
            (given,) = await until(lambda: customer.all(wire.Given))
            assert "elsewhere" in given.error
            customer.close()
            await until(lambda: customer.why)

    on_a_loop(play)


def test_workers_of_different_machines_fetch_from_each_other(identities):
    async def play():
        one_is, two_is = identities("worker", "one"), identities("worker", "two")
        async with (
            desk(id="one", host="here", identity=one_is) as one,
            desk(id="two", host="there", identity=two_is) as two,
        ):
            two.places["one"] = one.place()
            one.run(1, zeros, 1 << 19)
            await one.outcome(1)
            two.run(3, total, Reference(1), inputs=(one.input(1),), attempt=103)
            assert await two.value(3) == float(np.arange(1 << 19).sum())

    on_a_loop(play)


def test_workers_fetch_from_each_other(folder):
    async def play():
        with RunDirectory.create("other") as second:
            async with desk(folder, id="one") as one, desk(second, id="two") as two:
                one.places["two"] = two.place()
                two.places["one"] = one.place()
                one.run(1, zeros, 1 << 19)
                two.run(2, zeros, 1 << 17)
                await one.outcome(1)
                await two.outcome(2)
                # Both at once, so that both may dial.
                a, b = one.input(1), two.input(2)
                two.run(3, total, Reference(1), inputs=(a,), attempt=103)
                one.run(4, total, Reference(2), inputs=(b,), attempt=104)
                assert await two.value(3) == float(np.arange(1 << 19).sum())
                assert await one.value(4) == float(np.arange(1 << 17).sum())
                held = [h.id for m in two.all(wire.Holding) for h in m.objects]
                assert held == [1]
                for each in (one, two):
                    await until(lambda each=each: not each.agent.machine.books.transfers)

    on_a_loop(play)


def test_several_objects_come_in_one_answer_and_a_few_of_them_may_be_missing(folder):
    async def play():
        with RunDirectory.create("other") as second:
            async with desk(folder, id="one") as one, desk(second, id="two") as two:
                two.places["one"] = one.place()
                code = one.code(zeros)
                for n in range(1, 6):
                    one.run(n, code, n * 1000)
                for n in range(1, 6):
                    await one.outcome(n)
                one.link.send([wire.Free(3, one.held(3).attempt)])
                await until(lambda: (3, one.held(3).attempt) not in one.agent.store)
                two.run(100, add_up, *map(Reference, (1, 2, 4, 5)), inputs=inputs(one, 1, 2, 4, 5))
                two.run(200, add_up, *map(Reference, (2, 3)), inputs=inputs(one, 2, 3))
                expected = sum(float(np.arange(n * 1000).sum()) for n in (1, 2, 4, 5))
                assert await two.value(100) == expected
                returned = await two.outcome(200)
                assert returned.why == "inputs"
                assert returned.missing == ((3, "one"),)

    def inputs(d, *ids):
        return tuple(d.input(n) for n in ids)

    on_a_loop(play)


def add_up(*arrays):
    return sum(float(array.sum()) for array in arrays)


def test_a_worker_that_is_not_to_be_reached_is_named():
    async def play():
        async with desk() as d:
            d.places["gone"] = wire.Place("gone", "here", ("unix:/nowhere/at/all",))
            d.run(1, total, Reference(7), inputs=(wire.Input(7, 1, 100, ("gone",)),))
            returned = await d.outcome(1)
            assert returned.why == "inputs"
            assert returned.missing == ((7, "gone"),)
            d.run(2, total, Reference(7), inputs=(wire.Input(7, 1, 100, ("stranger",)),))
            assert (await d.outcome(2)).missing == ((7, "stranger"),)

    on_a_loop(play)


def test_a_worker_that_ends_while_it_sends_is_struck_off(folder):
    async def play():
        with RunDirectory.create("other") as second:
            async with desk(folder, id="two") as two:
                async with desk(second, id="one") as one:
                    two.places["one"] = one.place()
                    one.run(1, zeros, 1 << 24)
                    await one.outcome(1)
                    two.run(3, total, Reference(1), inputs=(one.input(1),), attempt=103)
                    await until(lambda: two.agent.peers.arrivals.by_key)
                returned = await two.outcome(3)
                assert returned.missing == ((1, "one"),)
                assert two.agent.store.nbytes == 0

    on_a_loop(play)


def test_what_comes_twice_at_once_is_here_once(folder):
    async def play():
        async with desk(folder) as d:
            first, second = Customer("first"), Customer("second")
            await first.dial(d)
            await second.dial(d)
            value = os.urandom(3 << 20)
            data = pack(value, home=False).to_bytes()
            held = wire.Held(9, 4, len(data), "bytes")
            frames = list(wire.chunks(1, 0, memoryview(data)))
            first.link.send([wire.Give(1, held)])
            first.link.send_chunks(iter(frames[:2]), lambda: None)
            await until(lambda: d.agent.peers.arrivals.by_key)
            second.link.send([wire.Give(1, held)])
            second.link.send_chunks(iter(frames), lambda: None)
            await until(lambda: second.all(wire.Given))
            first.link.send_chunks(iter(frames[2:]), lambda: None)
            await until(lambda: first.all(wire.Given))
            assert unpack(d.agent.store.view((9, 4)), writable=False) == value
            assert not d.agent.peers.arrivals.by_key
            for customer in (first, second):
                customer.close()
                await until(lambda customer=customer: customer.why)

    on_a_loop(play)


def test_an_object_that_rots_on_disk_is_told_as_lost(tmp_path, monkeypatch):
    async def play():
        async with desk(store_bytes=10 << 20, spill_dir=str(tmp_path)) as d:

            def rotten(place, write):
                raise StoreDamaged("the checksum is wrong")

            monkeypatch.setattr(d.agent.store._files, "read", rotten)
            code = d.code(zeros)
            for n in range(1, 5):
                d.run(n, code, 3 << 17)
                await d.outcome(n)
            await until(lambda: d.agent.machine.books.disk_bytes)
            books = d.agent.machine.books
            gone = next(r.id for r in books.store.values() if r.place.name == "disk")
            d.run(9, total, Reference(gone), inputs=(d.input(gone),))
            returned = await d.outcome(9)
            assert returned.missing == ((gone, "w"),)
            dropped = await d.message(wire.Dropped)
            assert "damaged" in dropped.why

    on_a_loop(play)


def test_strangers_of_other_roles_are_refused(folder):
    async def play():
        async with desk(folder) as d:
            from treadle.cluster._dial import dial
            from treadle.cluster._link import this_party
            from treadle.errors import HandshakeRefused

            with pytest.raises(HandshakeRefused):
                await dial(
                    d.place().addresses,
                    me=this_party("scheduler", "x", "test-run"),
                    expect="worker/w",
                    ear=d,
                )
            await asyncio.sleep(0)

    on_a_loop(play)
