"""The worker's machine keeps its promises, whatever is ordered and whoever dies."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.properties.worker_model import BUDGET, Pick, World


def drawing(data: st.DataObject) -> Pick:
    def pick(options: Sequence[Any], /) -> Any:
        return data.draw(st.sampled_from(options))

    return pick


class WorkerMachine(RuleBasedStateMachine):
    """Every command is answered in any order, late, twice, or never."""

    world: World | None = None

    @initialize(slots=st.integers(1, 3), budget=st.sampled_from([0, BUDGET]))
    def begin(self, slots: int, budget: int) -> None:
        self.world = World(slots=slots, budget=budget)
        first = random.Random(0).choice
        self.world.link(first)
        for _ in range(slots):
            self.world.slot_comes_up(lambda options: options[0])

    @property
    def there(self) -> World:
        assert self.world is not None
        return self.world

    @rule(data=st.data(), number=st.integers(1, 3))
    def run(self, data: st.DataObject, number: int) -> None:
        for _ in range(number):
            self.there.run(drawing(data))

    @rule(data=st.data(), number=st.integers(1, 6))
    def slots_go_on(self, data: st.DataObject, number: int) -> None:
        for _ in range(number):
            self.there.slot_comes_up(drawing(data))
            self.there.slot_acts(drawing(data))
            self.there.hear_slot(drawing(data))

    @rule(data=st.data(), number=st.integers(1, 3))
    def others_answer(self, data: st.DataObject, number: int) -> None:
        for _ in range(number):
            self.there.disk_answers(drawing(data))
            self.there.peer_answers(drawing(data))
            self.there.transfer_ends(drawing(data))

    @rule(data=st.data())
    def a_slot_dies(self, data: st.DataObject) -> None:
        self.there.slot_dies(drawing(data))

    @precondition(lambda self: self.there.orders)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        self.there.stop(drawing(data))

    @precondition(lambda self: self.there.said)
    @rule(data=st.data())
    def say_again(self, data: st.DataObject) -> None:
        self.there.repeat(drawing(data))

    @rule(data=st.data(), deed=st.sampled_from(["free", "fetch", "give", "peer_asks", "rubbish"]))
    def the_scheduler_or_somebody_wants_something(self, data: st.DataObject, deed: str) -> None:
        getattr(self.there, deed)(drawing(data))

    @rule(data=st.data(), deed=st.sampled_from(["link", "answer_beat", "time_passes"]))
    def the_link_or_the_time(self, data: st.DataObject, deed: str) -> None:
        getattr(self.there, deed)(drawing(data))

    @precondition(lambda self: len(self.there.orders) > 4)
    @rule(data=st.data(), deed=st.sampled_from(["drain", "reset"]))
    def end(self, data: st.DataObject, deed: str) -> None:
        getattr(self.there, deed)(drawing(data))

    def teardown(self) -> None:
        if self.world is not None and self.world.sound:
            self.world.quiet_down(random.Random(0).choice)


TestWorkerMachine = pytest.mark.timeout(300)(WorkerMachine.TestCase)
TestWorkerMachine.settings = settings(stateful_step_count=40)


# --- the same by dice, which are fast ---------------------------------------------------------


def walk(seed: int, steps: int = 150) -> None:
    """One random life of a worker."""
    dice = random.Random(seed)
    pick = dice.choice
    world = World(
        slots=pick([1, 2, 3]),
        budget=pick([0, BUDGET, BUDGET]),
        depth=pick([1, 3]),
        beside=pick([2, 1000]),
    )
    deeds = [
        *[world.run] * pick([3, 6]),
        *[world.slot_comes_up] * 3,
        *[world.slot_acts] * 8,
        *[world.hear_slot] * 8,
        *[world.disk_answers] * 4,
        *[world.peer_answers] * 3,
        *[world.transfer_ends] * 2,
        *[world.time_passes] * 3,
        *[world.slot_dies] * pick([0, 1]),
        *[world.stop] * pick([0, 0, 1, 2]),
        *[world.repeat] * pick([0, 1]),
        *[world.free] * pick([0, 1, 3]),
        *[world.fetch] * pick([0, 1]),
        *[world.peer_asks] * pick([0, 2]),
        *[world.link] * pick([0, 1]),
        world.answer_beat,
        world.give,
        world.rubbish,
    ]
    last = pick([world.drain, world.reset, None, None])
    last_at = dice.randrange(steps)
    world.link(pick)
    for step in range(steps):
        if step == last_at and last is not None:
            last(pick)
        pick(deeds)(pick)
    world.quiet_down(pick)


def test_three_hundred_random_walks(rng: random.Random):
    for _ in range(300):
        seed = rng.getrandbits(32)
        try:
            walk(seed)
        except BaseException as error:
            error.add_note(f"walk({seed})")
            raise


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_random_walks_for_as_long_as_the_soak_lasts(rng: random.Random, soak_s: float):
    end, dice = time.monotonic() + soak_s, rng if soak_s <= 1 else random.Random()
    while time.monotonic() < end:
        seed = dice.getrandbits(32)
        try:
            walk(seed, steps=400)
        except BaseException as error:
            error.add_note(f"walk({seed}, steps=400)")
            raise
