"""The kernel's machine keeps its promises, whatever is asked and whenever it is answered."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.properties.kernel_model import Pick, World

RETRIES = (0, 1, 2, 0.5, float("inf"))


def drawing(data: st.DataObject) -> Pick:
    def pick(options: Sequence[Any], /) -> Any:
        return data.draw(st.sampled_from(options))

    return pick


class KernelMachine(RuleBasedStateMachine):
    """Every command is answered in any order, late, twice, or never."""

    world: World | None = None

    @initialize(retries=st.sampled_from(RETRIES), judged=st.booleans(), answered=st.booleans())
    def begin(self, retries: float, judged: bool, answered: bool) -> None:
        self.world = World(retries=retries, judged=judged)
        self.answered = answered

    @property
    def there(self) -> World:
        assert self.world is not None
        return self.world

    @rule(data=st.data())
    def submit(self, data: st.DataObject) -> None:
        self.there.submit(drawing(data))

    @precondition(lambda self: self.there.orders)
    @rule(data=st.data(), number=st.integers(1, 4))
    def answer(self, data: st.DataObject, number: int) -> None:
        for _ in range(number):
            self.there.answer(drawing(data))

    @precondition(lambda self: any(life.foreign for life in self.there.lives))
    @rule(data=st.data())
    def end_a_foreign_future(self, data: st.DataObject) -> None:
        self.there.foreign_ends(drawing(data))

    @precondition(lambda self: any(life.inner for life in self.there.lives))
    @rule(data=st.data())
    def end_an_inner_future(self, data: st.DataObject) -> None:
        self.there.inner_ends(drawing(data))

    @precondition(lambda self: self.there.said)
    @rule(data=st.data())
    def say_again(self, data: st.DataObject) -> None:
        self.there.repeat(drawing(data))

    @precondition(lambda self: self.there.lives)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.there.cancel(drawing(data))

    @precondition(lambda self: self.there.lives)
    @rule(data=st.data())
    def ask_for_a_state(self, data: st.DataObject) -> None:
        self.there.ask_state(drawing(data))

    @precondition(lambda self: self.there.lives)
    @rule(data=st.data())
    def ask_in_vain(self, data: st.DataObject) -> None:
        self.there.ask_in_vain(drawing(data))

    @precondition(lambda self: len(self.there.lives) > 4)
    @rule(all_=st.sampled_from([False, False, True]))
    def close(self, all_: bool) -> None:
        self.there.close(all_=all_)

    def teardown(self) -> None:
        if self.world is None or not self.world.sound:
            return
        if self.answered:
            self.world.quiet_down(random.Random(0).choice)
        else:
            self.world.close(all_=True)


TestKernelMachine = pytest.mark.timeout(300)(KernelMachine.TestCase)
TestKernelMachine.settings = settings(stateful_step_count=60)


# --- the same by dice, which are fast ---------------------------------------------------------


def walk(seed: int, steps: int = 120) -> None:
    """One random life of a kernel."""
    dice = random.Random(seed)
    pick = dice.choice
    world = World(retries=pick(RETRIES), judged=pick([True, False]))
    deeds = [
        *[world.submit] * 6,
        *[world.answer] * 14,
        *[world.foreign_ends] * 3,
        *[world.inner_ends] * 3,
        *[world.repeat] * 3,
        *[world.cancel] * pick([0, 1]),
        *[world.ask_state] * pick([0, 0, 1]),
        world.ask_in_vain,
    ]
    closes_at = pick([None, None, None, dice.randrange(steps)])
    for step in range(steps):
        if step == closes_at:
            world.close(all_=pick([True, False]))
        pick(deeds)(pick)
    if pick([True, True, False]):
        world.quiet_down(pick)
    else:
        world.close(all_=True)


def test_four_hundred_random_walks(rng: random.Random):
    for _ in range(400):
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
