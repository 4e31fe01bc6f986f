"""An agent in a storm: slots and zygotes die all the time, orders are taken back and given again."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from tests.integration.agent_desk import desk, on_a_loop, until
from tests.integration.test_cluster_agent import add, sleep
from treadle import wire, worker

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")


@pytest.mark.timeout(60)
def test_each_task_has_its_outcome_though_slots_die_again_and_again(rng, soak_s):
    """The test orders again what came back; in the end each task has its result, and once."""
    results, orders, returned = {}, {}, []

    async def kill(d, until_s):
        while time.monotonic() < until_s:
            await asyncio.sleep(rng.uniform(0.005, 0.08))
            pids = list(d.slot_pids.values())
            if rng.random() < 0.1 and d.agent.slots.zygote_pid:
                os.kill(d.agent.slots.zygote_pid, signal.SIGKILL)
            elif pids:
                try:
                    os.kill(rng.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def take(d, code, naps):
        """Note what has come; order again what did not run to its end."""
        for id, told in list(d.outcomes.items()):
            for outcome in told:
                if outcome.attempt != orders[id] or id in results:
                    continue
                if isinstance(outcome, wire.Finished):
                    results[id] = outcome
                else:
                    assert isinstance(outcome, wire.Died | wire.Returned), outcome
                    returned.append(outcome)
                    send(d, code, naps, id)
        d.outcomes.clear()

    def send(d, code, naps, id):
        if id % 7:
            order = d.order(id, code, id, 1, ahead=True)
        else:
            order = d.order(id, naps, 0.01, ahead=bool(id % 2))
        orders[id] = order.attempt
        d.link.send([order])

    async def play():
        limits = worker.Limits(restart_s=0.01, restart_max_s=0.1, restarts=1000)
        async with desk(slots=3, limits=limits) as d:
            end = time.monotonic() + 2 * soak_s
            storm = asyncio.ensure_future(kill(d, end))
            next_id = 1
            code, naps = d.code(add), d.code(sleep)
            while time.monotonic() < end:
                if rng.random() < 0.2:  # a new function, that no slot has
                    code = d.code(add)
                for _ in range(100):
                    send(d, code, naps, next_id)
                    next_id += 1
                batch = next_id
                await until(
                    lambda batch=batch, code=code: (
                        take(d, code, naps) or batch - 1 - len(results) < 60
                    ),
                    seconds=20.0,
                )
            await storm
            await until(lambda: take(d, code, naps) or len(results) == next_id - 1, seconds=20.0)
            worker.check(d.agent.machine)
            assert not d.agent.machine.books.jobs
            # What runs nowhere is nowhere on the books.
            assert all(not end.fed for end in d.agent.slots.ends.values())
            assert any(isinstance(outcome, wire.Died) for outcome in returned)

    on_a_loop(play)
