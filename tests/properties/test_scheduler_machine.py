"""The scheduler's machine keeps its promises, whoever asks, dies or comes back, and whenever."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.properties.scheduler_model import CLIENTS, ClientSim, Pick, WorkerSim, World


def drawing(data: st.DataObject) -> Pick:
    def pick(options: Sequence[Any], /) -> Any:
        return data.draw(st.sampled_from(options))

    return pick


def first(options: Sequence[Any], /) -> Any:
    return options[0]


def linked(world: World) -> list[WorkerSim]:
    return [worker for worker in world.workers.values() if worker.linked]


def attached(world: World) -> list[ClientSim]:
    return [client for client in world.clients.values() if client.linked and client.attached]


#: What can happen, how often, and whether it can happen now; it is given the world and a choice.
def _submit(world: World, pick: Pick) -> None:
    world.submit(pick(attached(world)), pick)


def _scatter(world: World, pick: Pick) -> None:
    world.scatter(pick(attached(world)), pick)


def _wisher(world: World, pick: Pick) -> ClientSim | None:
    wishers = [client for client in attached(world) if client.wishes]
    return pick(wishers) if wishers else None


def _release(world: World, pick: Pick) -> None:
    client = _wisher(world, pick)
    if client is not None:
        world.release(client, pick)


def _rows(world: World, pick: Pick) -> None:
    client = _wisher(world, pick)
    if client is not None:
        world.rows(client, pick)


def _linger(world: World, pick: Pick) -> None:
    client = _wisher(world, pick)
    if client is not None:
        world.linger(client, pick)


def _restart(world: World, pick: Pick) -> None:
    if pick((False,) * 7 + (True,)):
        world.restart(pick(attached(world)))


def _cancel(world: World, pick: Pick) -> None:
    client = _wisher(world, pick)
    if client is not None:
        world.cancel(client, pick, force=pick((False, True)))


def _desire(world: World, pick: Pick) -> None:
    other = _wisher(world, pick)
    if other is not None:
        world.desire(pick(attached(world)), other, pick)


def _ask(world: World, pick: Pick) -> None:
    client = _wisher(world, pick)
    if client is not None:
        pick((world.retry, world.retry, world.fire_and_forget, world.publish))(client, pick)


def _read(world: World, pick: Pick) -> None:
    world.read(pick(attached(world)))


def _come(world: World, pick: Pick) -> None:
    away = [name for name in CLIENTS if name not in {c.name for c in attached(world)}]
    if away:
        world.attach(pick(away))


def _go(world: World, pick: Pick) -> None:
    client = pick(attached(world))
    if pick((True, True, False)):
        world.lose_client(client, pick)
    else:
        world.leave(client)


def _join(world: World, pick: Pick) -> None:
    world.join(pick)


def _deliver(world: World, pick: Pick) -> None:
    worker = pick(linked(world))
    world.obey(worker, pick((1, 2, 1000)))
    if worker.linked and not worker.gone:
        world.flush(worker, pick((1, 2, 1000)))


def _begin(world: World, pick: Pick) -> None:
    able = [w for w in linked(world) if any(key not in w.begun for key in w.given)]
    if able:
        world.begin(pick(able), pick)


def _turn(world: World, pick: Pick) -> None:
    able = [w for w in world.workers.values() if w.begun]
    if able:
        (world.move if pick((False,) * 4 + (True,)) else world.turn)(pick(able), pick)


def _end(world: World, pick: Pick) -> None:
    able = [w for w in world.workers.values() if w.given]
    if able:
        worker = pick(able)
        world.end(worker, pick)
        if worker.linked and pick((True, False)):
            world.flush(worker)


def _give_back(world: World, pick: Pick) -> None:
    able = [w for w in world.workers.values() if w.given]
    if able:
        world.give_back(pick(able), pick)


def _drop(world: World, pick: Pick) -> None:
    able = [w for w in linked(world) if w.holds]
    if able:
        world.drop(pick(able), pick)


def _kill(world: World, pick: Pick) -> None:
    world.kill(pick(list(world.workers.values())), accuses=pick((True, True, False)))


def _lose(world: World, pick: Pick) -> None:
    world.lose_worker(pick(linked(world)), pick)


def _back(world: World, pick: Pick) -> None:
    away = [w for w in world.workers.values() if not w.linked]
    if away:
        world.relink(pick(away))


def _tick(world: World, pick: Pick) -> None:
    world.tick(pick((0.1, 1.0, 4.0, 13.0, 24.0)))


def _pause(world: World, pick: Pick) -> None:
    world.status(pick(linked(world)), paused=pick((True, False)))


def _replay(world: World, pick: Pick) -> None:
    if world.old:
        world.again(pick)


CLIENT_RULES = (
    _submit,
    _submit,
    _submit,
    _scatter,
    _release,
    _rows,
    _linger,
    _restart,
    _cancel,
    _desire,
    _ask,
    _read,
    _read,
    _go,
)
WORKER_RULES = (_deliver, _deliver, _deliver, _pause, _lose)
WORK_RULES = (_begin, _turn, _end, _end, _end, _give_back, _drop, _replay, _back)


class SchedulerMachine(RuleBasedStateMachine):
    """Every message comes when it likes, twice, or never; everybody may die."""

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        self.world = World()
        self.world.attach("ann")
        self.world.join(drawing(data))

    @precondition(lambda self: attached(self.world))
    @rule(data=st.data(), do=st.sampled_from(CLIENT_RULES))
    def a_client(self, data: st.DataObject, do: Any) -> None:
        do(self.world, drawing(data))

    @precondition(lambda self: linked(self.world))
    @rule(data=st.data(), do=st.sampled_from(WORKER_RULES))
    def a_worker(self, data: st.DataObject, do: Any) -> None:
        do(self.world, drawing(data))

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data(), do=st.sampled_from(WORK_RULES))
    def work(self, data: st.DataObject, do: Any) -> None:
        do(self.world, drawing(data))

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data())
    def a_death(self, data: st.DataObject) -> None:
        _kill(self.world, drawing(data))

    @rule(data=st.data(), do=st.sampled_from((_join, _come, _tick)))
    def the_world(self, data: st.DataObject, do: Any) -> None:
        do(self.world, drawing(data))

    def teardown(self) -> None:
        world = getattr(self, "world", None)
        if world is not None:
            world.settle(first)
            world.hold_promises()
            world.empty(first)


TestSchedulerMachine = SchedulerMachine.TestCase


def live(dice: random.Random, steps: int) -> World:
    """A life of one world, thrown with dice."""
    pick = dice.choice
    world = World()
    world.attach("ann")
    world.join(pick)
    rules = (*CLIENT_RULES, *WORKER_RULES, *WORKER_RULES, *WORK_RULES, *WORK_RULES, *WORK_RULES)
    for _ in range(steps):
        do = pick((*rules, _kill, _join, _join, _come, _come, _tick))
        if do in CLIENT_RULES and not attached(world):
            continue
        if do in WORKER_RULES and not linked(world):
            continue
        if (do in WORK_RULES or do is _kill) and not world.workers:
            continue
        do(world, pick)
    world.settle(pick)
    world.hold_promises()
    world.empty(pick)
    return world


def survives(seed: int, steps: int) -> None:
    """One life; a failure names what repeats it."""
    try:
        live(random.Random(seed), steps)
    except BaseException as error:
        error.add_note(f"to repeat it: live(random.Random({seed}), {steps})")
        raise


def test_short_lives_end_well(rng: random.Random):
    for _ in range(100):
        survives(rng.randrange(2**32), 40)


@pytest.mark.soak
def test_long_lives_end_well(rng: random.Random, soak_s: float):
    end, dice = time.monotonic() + soak_s, rng if soak_s <= 1 else random.Random()
    while time.monotonic() < end:
        survives(dice.randrange(2**32), 400)
