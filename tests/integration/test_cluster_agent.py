"""A worker's agent with a real zygote and real slots; the test plays the scheduler."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import numpy as np
import pytest

from tests.integration.agent_desk import (
    Reference,
    desk,
    is_alive,
    on_a_loop,
    session_of,
    until,
    world,
)
from treadle import wire
from treadle.serialize import unpack

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")


def add(a, b):
    return a + b


def zeros(count):
    import numpy as np

    return np.arange(count, dtype=np.float64)


def total(array):
    return float(array.sum())


def pid_of():
    import os

    return os.getpid()


def die(code):
    import os

    os._exit(code)


def crash():
    import os
    import signal

    os.kill(os.getpid(), signal.SIGSEGV)


def sleep(seconds):

    time.sleep(seconds)
    return seconds


def touch_and_sleep(path, seconds):
    import os

    with open(path, "w") as file:
        file.write(str(os.getpid()))
    os.rename(path, path + ".there")
    time.sleep(seconds)


def raise_value_error(text):
    raise ValueError(text)


def test_a_task_runs_and_its_result_comes_inline():
    async def play():
        async with desk() as d:
            d.run(1, add, 2, 3)
            assert await d.value(1) == 5
            outcome = d.held(1)
            assert outcome.type == "int"
            assert outcome.nbytes == len(outcome.inline)

    on_a_loop(play)


def test_an_exception_is_an_outcome_and_the_slot_goes_on():
    async def play():
        async with desk(slots=1) as d:
            d.run(1, raise_value_error, "no")
            d.run(2, add, 1, 1)
            failed = await d.outcome(1)
            assert isinstance(failed, wire.Failed)
            assert failed.failure.kind == "exception"
            assert "no" in failed.failure.text
            assert not failed.final
            assert await d.value(2) == 2

    on_a_loop(play)


def test_many_tasks_of_one_function_run_on_both_slots_each_once():
    async def play():
        async with desk() as d:
            code = d.code(add)
            orders = [d.order(n, code, n, n, ahead=True) for n in range(1, 2001)]
            d.link.send(orders)
            await until(lambda: len(d.outcomes) == 2000)
            assert all(len(told) == 1 for told in d.outcomes.values())
            for n in (1, 1000, 2000):
                assert await d.value(n) == 2 * n
            assert d.agent.machine.refused == {}

    on_a_loop(play)


def test_a_large_result_stays_here_and_is_an_input_that_is_mapped():
    async def play():
        async with desk() as d:
            d.run(1, zeros, 1 << 18)
            made = await d.outcome(1)
            assert made.inline is None
            assert made.nbytes > 8 << 18
            d.run(2, total, Reference(1), inputs=(d.input(1),))
            assert await d.value(2) == float(np.arange(1 << 18).sum())
            d.link.send([wire.Free(1, made.attempt)])
            await until(lambda: d.agent.store.nbytes < 1 << 20)

    on_a_loop(play)


def test_a_small_result_is_an_input():
    async def play():
        async with desk() as d:
            d.run(1, add, 20, 1)
            await d.value(1)
            d.run("by key", add, Reference(1), 21, inputs=(d.input(1),))
            assert await d.value("by key") == 42

    on_a_loop(play)


def test_arguments_longer_than_a_packet_arrive():
    async def play():
        async with desk(slots=1) as d:
            text = "treadle" * 200_000
            d.link.send([d.order(n, len, text, ahead=True) for n in range(1, 9)])
            for n in range(1, 9):
                assert await d.value(n) == len(text)

    on_a_loop(play)


@pytest.mark.parametrize(("program", "code"), [((die, 7), 7), ((crash,), -signal.SIGSEGV)])
def test_a_task_that_ends_its_process_is_accused_and_the_slot_replaced(program, code):
    async def play():
        async with desk() as d:
            before = set(d.slot_pids.values())
            d.run(1, *program)
            died = await d.outcome(1)
            assert died == wire.Died(1, died.attempt, code)
            await until(lambda: set(await_slots(d)) - before)
            await d.slots_up(2)
            d.run(2, add, 1, 1)
            assert await d.value(2) == 2

    def await_slots(d):
        return d.slot_pids.values()

    on_a_loop(play)


def test_a_slot_that_is_killed_from_outside_accuses_what_it_ran_and_nothing_else():
    async def play():
        async with desk() as d:
            d.run(1, sleep, 60)
            victim = await until(lambda: runner_of(d, 1))
            bystander = next(pid for pid in d.slot_pids.values() if pid != victim)
            os.kill(victim, signal.SIGKILL)
            died = await d.outcome(1)
            assert died == wire.Died(1, died.attempt, -signal.SIGKILL)
            await d.slots_up(2)
            assert bystander in d.slot_pids.values()

    on_a_loop(play)


def test_an_idle_slot_that_is_killed_is_replaced_within_two_seconds():
    async def play():
        async with desk() as d:
            d.run(1, add, 1, 1)
            await d.value(1)
            victims = set(d.slot_pids.values())
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            await until(lambda: len(set(d.slot_pids.values()) - victims) == 2)
            d.run(2, add, 1, 1)
            assert await d.value(2) == 2
            assert not d.all(wire.Died)

    on_a_loop(play)


def test_a_dead_zygote_is_replaced_and_accuses_nobody():
    async def play():
        async with desk() as d:
            d.run(1, sleep, 60)
            await until(lambda: runner_of(d, 1))
            slots = set(d.slot_pids.values())
            os.kill(d.agent.slots.zygote_pid, signal.SIGKILL)
            returned = await d.outcome(1)
            assert returned == wire.Returned(1, returned.attempt, "slot")
            await until(lambda: len(set(d.slot_pids.values()) - slots) == 2)
            assert not any(map(is_alive, slots))
            d.run(2, add, 1, 1)
            assert await d.value(2) == 2

    on_a_loop(play)


def test_a_zygote_that_does_not_tell_of_a_death_is_replaced():
    async def play():
        async with desk() as d:
            slots = d.slot_pids
            os.kill(d.agent.slots.zygote_pid, signal.SIGSTOP)
            os.kill(slots[1], signal.SIGKILL)
            await until(lambda: len(set(d.slot_pids) - set(slots)) == 2)
            d.run(2, add, 1, 1)
            assert await d.value(2) == 2

    on_a_loop(play)


def test_the_outcome_of_a_task_does_not_wait_for_a_long_one_behind_it():
    async def play():
        async with desk(slots=1) as d:
            code = d.code(sleep)
            short = [d.order(n, code, 0, ahead=True) for n in range(1, 5)]
            d.link.send([*short, d.order(9, code, 60, ahead=True)])
            for order in short:
                assert await d.value(order.id) == 0
            assert 9 not in d.outcomes

    on_a_loop(play)


def test_an_agent_that_was_stopped_for_long_takes_what_has_ended_meanwhile_for_ended():
    """Its clock has gone on, and the time of a task that ended long ago is over."""

    async def play():
        async with desk() as d:
            for n in (1, 2):
                d.run(n, sleep, 0.3, walltime_s=1.0)
            await until(lambda: runner_of(d, 1) and runner_of(d, 2))
            time.sleep(1.5)
            for n in (1, 2):
                assert await d.value(n) == 0.3

    on_a_loop(play)


def test_what_is_stopped_is_told_at_once_and_its_process_killed_with_its_children():
    async def play():
        async with desk() as d:
            d.run(1, start_a_child_and_sleep)
            pid = await until(lambda: runner_of(d, 1))
            await until(lambda: len(list(session_of(pid))) == 2)
            family = list(session_of(pid))
            d.link.send([wire.Stop(1, 1)])
            returned = await d.outcome(1)
            assert returned == wire.Returned(1, 1, "stopped")
            await until(lambda: not any(map(is_alive, family)))
            await d.slots_up(2)

    on_a_loop(play)


def start_a_child_and_sleep():
    import subprocess

    subprocess.run(["sleep", "60"], check=False)


def test_what_stands_behind_a_task_that_is_stopped_runs_elsewhere():
    async def play():
        async with desk(slots=1) as d:
            code = d.code(sleep)
            d.link.send([d.order(1, code, 60, ahead=True)])
            d.link.send([d.order(n, code, 0, ahead=True) for n in (2, 3, 4)])
            await until(lambda: runner_of(d, 1))
            d.link.send([wire.Stop(1, 1)])
            for n in (2, 3, 4):
                assert await d.value(n) == 0

    on_a_loop(play)


def test_what_stands_behind_a_long_task_is_taken_back_and_runs_on_the_other_slot():
    async def play():
        async with desk() as d:
            code = d.code(sleep)
            quick = [d.order(n, code, 0, ahead=True) for n in range(3, 20)]
            d.link.send([d.order(1, code, 60, ahead=True), *quick])
            for order in quick:
                assert await d.value(order.id) == 0
            assert 1 not in d.outcomes

    on_a_loop(play)


def test_a_task_that_is_stopped_before_its_slot_has_read_it_does_not_run(tmp_path):
    path = str(tmp_path / "ran")

    async def play():
        async with desk(slots=1) as d:
            d.run(1, sleep, 0.3, ahead=True)
            d.run(2, touch_and_sleep, path, 0, ahead=True)
            d.link.send([wire.Stop(2, 2)])
            assert await d.outcome(2) == wire.Returned(2, 2, "stopped")
            assert await d.value(1) == 0.3
            d.run(3, add, 1, 1)
            assert await d.value(3) == 2

    on_a_loop(play)
    assert os.listdir(tmp_path) == []


def test_a_task_that_takes_longer_than_its_walltime_is_ended():
    async def play():
        async with desk() as d:
            d.run(1, sleep, 60, walltime_s=0.2)
            pid = await until(lambda: runner_of(d, 1))
            failed = await d.outcome(1)
            assert failed.failure.kind == "walltime"
            assert failed.final
            await until(lambda: not is_alive(pid))
            await d.slots_up(2)

    on_a_loop(play)


def test_what_has_begun_is_reported():
    async def play():
        async with desk() as d:
            d.run(1, sleep, 60)
            started = await d.message(wire.Started)
            assert started.attempts == (wire.Attempt(1, 1),)

    on_a_loop(play)


def take_memory(mib):
    data = bytearray(mib << 20)
    for at in range(0, len(data), 4096):
        data[at] = 1

    time.sleep(60)


@pytest.mark.parametrize("asked", [True, False])
def test_a_task_over_its_memory_is_ended_and_will_not_be_tried_again(asked):
    async def play():
        limit = 150 << 20
        settings = {"resources": {"memory": 1 << 33}} if asked else {"slot_memory_bytes": limit}
        async with desk(**settings) as d:
            needs = {"resources": (("memory", float(limit)),)} if asked else {}
            d.run(1, take_memory, 300, **needs)
            failed = await d.outcome(1)
            assert isinstance(failed, wire.Failed), failed
            assert failed.failure.kind == "memory"
            assert "150 MiB" in failed.failure.text
            assert failed.final
            await d.slots_up(2)
            d.run(2, add, 1, 1)
            assert await d.value(2) == 2

    on_a_loop(play)


def third_raises(n):
    if n == 3:
        raise ValueError("three")
    return n * 10


def third_dies(n):
    import os

    if n == 3:
        os._exit(9)
    return n * 10


def rows_of(count):
    import pickle

    return tuple(pickle.dumps((n,)) for n in range(count))


def test_rows_of_a_bundle_end_each_by_itself():
    async def play():
        async with desk() as d:
            first = 1000
            d.link.send([bundle(d, first, third_raises, 6)])
            await until(lambda: told_rows(d, first) == 6)
            assert values_of(d) == {first + n: n * 10 for n in (0, 1, 2, 4, 5)}
            failed = d.outcomes[first + 3][0]
            assert failed.failure.kind == "exception"

    on_a_loop(play)


def test_of_a_bundle_the_row_that_killed_its_slot_is_accused_and_nothing_is_lost():
    async def play():
        async with desk() as d:
            first = 1000
            d.link.send([bundle(d, first, third_dies, 6)])
            await until(lambda: told_rows(d, first) == 6)
            assert values_of(d) == {first + n: n * 10 for n in (0, 1, 2)}
            assert d.outcomes[first + 3] == [wire.Died(first + 3, 1, 9)]
            assert d.outcomes[first + 4] == [wire.Returned(first + 4, 1, "slot", (), 2)]

    on_a_loop(play)


def bundle(d, first, func, count):
    from treadle.serialize import CallSpec, dumps, encode_spec

    spec = encode_spec(CallSpec(b"", dumps((func, (), {}))))
    return wire.Run(first, next(d.attempts), spec, rows=rows_of(count))


def told_rows(d, first):
    return sum(o.rows for told in d.outcomes.values() for o in told)


def values_of(d):
    import msgspec

    values = {}
    for id, (outcome,) in d.outcomes.items():
        if isinstance(outcome, wire.Finished):
            parts = [outcome.inline]
            if outcome.rows > 1:
                parts = msgspec.msgpack.decode(outcome.inline, type=list[bytes])
            values.update({id + n: unpack(part, writable=True) for n, part in enumerate(parts)})
    return values


def test_the_same_worker_registers_again_with_all_it_has():
    async def play():
        async with desk() as d:
            d.run(1, zeros, 1 << 16)
            made = await d.outcome(1)
            d.run(2, sleep, 60)
            await until(lambda: runner_of(d, 2))
            slots = d.slot_pids
            d.link.close()
            await until(lambda: not d.agent.uplink.linked)
            d.connect()
            again = (await until(lambda: d.all(wire.Register)[1:]))[0]
            assert again.number == 2
            assert again.epoch == d.all(wire.Register)[0].epoch
            assert [(held.id, held.nbytes) for held in again.holds] == [(1, made.nbytes)]
            assert again.running == (wire.Attempt(2, 2),)
            assert d.slot_pids == slots
            d.run(3, add, 1, 1)
            assert await d.value(3) == 2

    on_a_loop(play)


def test_what_ended_without_a_link_is_told_by_the_next_registration():
    async def play():
        async with desk() as d:
            d.run(1, sleep, 0.3)
            await until(lambda: runner_of(d, 1))
            d.link.close()
            await asyncio.sleep(0)
            await until(lambda: (1, 1) in d.agent.store)
            d.connect()
            assert await d.value(1) == 0.3

    on_a_loop(play)


def test_a_worker_that_must_go_says_so_ends_what_it_has_and_departs():
    async def play():
        async with desk() as d:
            d.run(1, sleep, 0.5)
            d.run(2, sleep, 0.5)
            d.run(3, sleep, 0.5)
            await until(lambda: runner_of(d, 1) and runner_of(d, 2))
            d.agent.drain("its time is over", 30.0)
            leaving = await d.message(wire.Leaving)
            assert leaving.why == "its time is over"
            assert (await d.outcome(3)).why == "drained"
            assert await d.value(1) == 0.5
            assert await d.value(2) == 0.5
            d.link.send([wire.Depart()])
            await until(lambda: d.exit_code is not None)
            assert d.exit_code == 0

    on_a_loop(play)


def test_what_still_runs_when_the_grace_is_over_is_returned():
    async def play():
        async with desk() as d:
            d.run(1, sleep, 60)
            await until(lambda: runner_of(d, 1))
            d.agent.drain("a signal", 0.2)
            assert (await d.outcome(1)).why == "drained"

    on_a_loop(play)


def test_objects_go_to_disk_when_memory_is_short_and_come_back(tmp_path):
    async def play():
        megabyte = 1 << 20
        async with desk(store_bytes=20 * megabyte, spill_dir=str(tmp_path)) as d:
            code = d.code(zeros)
            for n in range(1, 13):
                d.run(n, code, 3 * megabyte // 8)
                assert isinstance(await d.outcome(n), wire.Finished)
            await until(lambda: d.agent.store.spilled_bytes > 0)
            sums = d.code(total)
            for n in range(1, 13):
                d.run(100 + n, sums, Reference(n), inputs=(d.input(n),))
                assert await d.value(100 + n) == float(np.arange(3 * megabyte // 8).sum())

    on_a_loop(play)


def test_a_result_larger_than_all_memory_is_a_failure_of_its_task():
    async def play():
        async with desk(store_bytes=1 << 20) as d:
            d.run(1, zeros, 1 << 18)
            failed = await d.outcome(1)
            assert isinstance(failed, wire.Failed)
            assert "budget" in failed.failure.text
            assert failed.final
            d.run(2, add, 1, 1)
            assert await d.value(2) == 2

    on_a_loop(play)


def test_surroundings_are_those_of_the_client(tmp_path):
    module = tmp_path / "only_here_module.py"
    module.write_text("VALUE = 11\n")

    async def play():
        async with desk() as d:
            paths = (*world().sys_path, str(tmp_path))
            d.link.send([wire.World(paths, str(tmp_path), 0o22)])
            d.run(1, import_it)
            assert await d.value(1) == (11, str(tmp_path))

    on_a_loop(play)


def import_it():
    import importlib
    import os

    return importlib.import_module("only_here_module").VALUE, os.getcwd()


def runner_of(d, id):
    """The process that runs a task, once it is told as begun."""
    for slot in d.agent.slots.ends.values():
        run = slot.runs()[0]
        if run is not None and run.id == id and slot.told == run.attempt:
            return slot.pid
    return 0
