"""Tasks that wait for others, on a real worker: their slots are others' meanwhile."""

from __future__ import annotations

import os

import pytest

from tests.integration.agent_desk import Desk, desk, is_alive, on_a_loop, until
from treadle import wire, worker
from treadle.worker._job import Stage

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")


def pid_of():
    import os

    return os.getpid()


def wait_for(path):
    """Wait for a file, aside."""
    import os
    import time

    from treadle.cluster import _task_here

    with _task_here.aside():
        while not os.path.exists(path):
            time.sleep(0.002)
    return os.getpid()


def wait_in_slot(path):
    """Wait for a file, in the way of others."""
    import os
    import time

    while not os.path.exists(path):
        time.sleep(0.002)
    return os.getpid()


def secede_and_wait(path):
    import os
    import time

    from treadle.cluster import _task_here

    _task_here.secede()
    while not os.path.exists(path):
        time.sleep(0.002)
    return os.getpid()


def go_elsewhere():
    from treadle import Reschedule

    raise Reschedule


def touch(path):
    with open(path, "w"):
        pass


async def goes_aside(d: Desk, id: int) -> None:
    await until(lambda: any(a.attempts[0].id == id for a in d.all(wire.Aside)), f"{id} goes aside")


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_another_task_runs_in_the_slot_of_one_that_waits(tmp_path):
    async def play():
        async with desk(slots=1) as d:
            d.run(1, wait_for, str(tmp_path / "go"))
            d.run(2, pid_of)
            other = await d.value(2)
            d.run(3, touch, str(tmp_path / "go"))
            assert await d.value(1) != other
            said = [m for m in d.messages if isinstance(m, wire.Started | wire.Aside | wire.Back)]
            about_1 = [type(m) for m in said if m.attempts[0].id == 1]
            assert about_1 == [wire.Started, wire.Aside, wire.Back]
            assert d.agent.machine.refused == {}

    on_a_loop(play)


def test_who_waited_goes_on_before_anything_new_begins(tmp_path):
    async def play():
        async with desk(slots=1) as d:
            d.run(1, wait_for, str(tmp_path / "one"))
            await goes_aside(d, 1)
            d.run(2, wait_in_slot, str(tmp_path / "two"))
            d.run(3, pid_of)
            jobs = d.agent.machine.books.jobs
            await until(lambda: 2 in jobs and jobs[2].stage is Stage.running, "2 runs")
            (tmp_path / "one").touch()
            await until(lambda: d.agent.machine.books.turns, "it wants a turn")
            assert jobs[3].stage is Stage.ready
            (tmp_path / "two").touch()
            await d.value(3)
            assert list(d.outcomes) == [2, 1, 3]

    on_a_loop(play)


def test_forty_tasks_wait_in_one_slot_and_leave_nothing_behind(tmp_path):
    async def play():
        before = open_descriptors()
        async with desk(slots=1) as d:
            for id in range(1, 41):
                d.run(id, wait_for, str(tmp_path / str(id)))
            for id in range(1, 41):
                await goes_aside(d, id)
            for id in range(40, 0, -1):
                (tmp_path / str(id)).touch()
            pids = {await d.value(id) for id in range(1, 41)}
            assert len(pids) == 40
            assert d.agent.machine.books.free_slots == 1
        assert open_descriptors() <= before

    on_a_loop(play)


@pytest.mark.timeout(60)
def test_spare_processes_serve_the_next_and_end_after_a_while(tmp_path):
    async def play():
        limits = worker.Limits(spare_s=0.5)
        async with desk(slots=1, limits=limits) as d:
            for round in (1, 2):
                go = tmp_path / str(round)
                d.run(10 * round, wait_for, str(go))
                await goes_aside(d, 10 * round)
                d.run(10 * round + 1, touch, str(go))
                await d.value(10 * round)
            assert len(d.agent.slots.ends) == 2
            await until(lambda: len(d.agent.slots.ends) == 1, "the spare one ends")
            d.run(99, pid_of)
            assert await d.value(99) in d.slot_pids.values()

    on_a_loop(play)


def test_what_has_seceded_ends_without_a_turn(tmp_path):
    async def play():
        async with desk(slots=1) as d:
            d.run(1, secede_and_wait, str(tmp_path / "one"))
            await goes_aside(d, 1)
            d.run(2, wait_in_slot, str(tmp_path / "two"))
            (tmp_path / "one").touch()
            await d.value(1)
            assert not d.all(wire.Back)
            (tmp_path / "two").touch()
            await d.value(2)
            assert d.agent.machine.refused == {}

    on_a_loop(play)


def test_a_stopped_task_that_waits_is_killed(tmp_path):
    async def play():
        async with desk(slots=1) as d:
            run = d.run(1, wait_for, str(tmp_path / "never"))
            await goes_aside(d, 1)
            pid = next(slot.pid for slot in d.agent.slots.ends.values() if slot.fed)
            d.link.send([wire.Stop(1, run.attempt)])
            assert (await d.outcome(1)).why == "stopped"
            await until(lambda: not is_alive(pid), "its process ends")
            d.run(2, pid_of)
            await d.value(2)

    on_a_loop(play)


def test_walltime_goes_on_while_a_task_waits(tmp_path):
    async def play():
        async with desk(slots=1) as d:
            d.run(1, wait_for, str(tmp_path / "never"), walltime_s=0.3)
            assert (await d.outcome(1)).failure.kind == "walltime"

    on_a_loop(play)


def test_one_more_that_waits_than_there_may_be_fails_and_says_why(tmp_path):
    async def play():
        async with desk(slots=1, limits=worker.Limits(beside=2)) as d:
            for id in (1, 2, 3):
                d.run(id, wait_for, str(tmp_path / "go"))
            failed = await d.outcome(3)
            assert isinstance(failed, wire.Failed)
            assert failed.final
            assert "tasks that wait for others" in failed.failure.text
            (tmp_path / "go").touch()
            assert await d.value(1) != await d.value(2)

    on_a_loop(play)


def test_a_new_link_is_told_what_is_aside(tmp_path):
    async def play():
        async with desk(slots=1) as d:
            d.run(1, wait_for, str(tmp_path / "go"))
            await goes_aside(d, 1)
            d.messages.clear()
            d.connect()
            await goes_aside(d, 1)
            (tmp_path / "go").touch()
            await d.value(1)

    on_a_loop(play)


def test_what_takes_no_slot_runs_at_once_though_all_slots_are_busy(tmp_path):
    async def play():
        async with desk(slots=2) as d:
            for id in (1, 2):
                d.run(id, wait_in_slot, str(tmp_path / "go"))
            d.run(3, pid_of)
            d.run(4, pid_of, slots=0)
            beside = await d.value(4)
            assert 3 not in d.outcomes
            (tmp_path / "go").touch()
            assert beside not in (await d.value(1), await d.value(2))
            await d.value(3)

    on_a_loop(play)


def test_a_task_that_wants_to_run_elsewhere_is_returned():
    async def play():
        async with desk(slots=1) as d:
            d.run(1, go_elsewhere)
            outcome = await d.outcome(1)
            assert isinstance(outcome, wire.Returned)
            assert outcome.why == "rescheduled"
            d.run(2, pid_of)
            await d.value(2)

    on_a_loop(play)


def test_a_reset_gives_new_processes():
    async def play():
        async with desk(slots=2) as d:
            before = set(d.slot_pids.values())
            d.link.send([wire.Reset("restart")])
            await until(
                lambda: len(d.slot_pids) == 2 and not before & set(d.slot_pids.values()),
                "two new processes",
            )
            d.run(1, pid_of)
            assert await d.value(1) not in before

    on_a_loop(play)
