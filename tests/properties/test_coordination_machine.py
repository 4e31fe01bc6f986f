"""Locks, queues and topics keep their promises, whichever links are lost, and whenever."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties.coordination_model import World, act, die


@settings(max_examples=60)
@given(st.data(), st.integers(5, 60))
def test_what_programs_see_is_what_was_promised(data, steps):
    world = World()
    for _ in range(steps):
        act(world, lambda options: data.draw(st.sampled_from(options)))
    world.finish()


def test_over_many_steps_with_links_that_are_lost(rng: random.Random):
    for _ in range(40):
        world = World()
        for _ in range(rng.choice((50, 400))):
            act(world, rng.choice)
        world.finish()


def test_over_many_steps_with_clients_that_die(rng: random.Random):
    for _ in range(40):
        world = World()
        for _ in range(rng.choice((50, 400))):
            if rng.random() < 0.01:
                die(world, rng.choice)
            else:
                act(world, rng.choice)
        world.finish()
