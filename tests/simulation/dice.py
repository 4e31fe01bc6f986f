"""Random numbers by name: one stream for each subsystem, so a new draw in one moves no other.

A stream depends on the seed and its name alone, uses exact arithmetic alone (no logarithm, whose
last bit differs between machines), and of the library only `random()`, whose numbers are promised
to stay the same between versions.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import sqrt
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """One stream of random numbers."""

    __slots__ = ("roll",)

    def __init__(self, seed: int, name: str) -> None:
        #: The next number from 0 to below 1.
        self.roll = random.Random(f"{seed}/{name}").random

    def chance(self, probability: float) -> bool:
        return self.roll() < probability

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.roll()

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int((high - low + 1) * self.roll())

    def pick(self, items: Sequence[T]) -> T:
        return items[int(len(items) * self.roll())]

    def some(self, items: Sequence[T], probability: float) -> list[T]:
        """Each item with this probability, in order."""
        return [item for item in items if self.roll() < probability]

    def spread(self, low: float, high: float) -> float:
        """A number between these whose magnitude is as likely as any other."""
        doublings = 0
        while low * (2 << doublings) < high:
            doublings += 1
        return min(high, low * (1 << self.whole(0, doublings)) * (1.0 + self.roll()))

    def heavy(self, scale: float, cap: float) -> float:
        """Most often below `scale`, seldom much above: a Lomax law of shape two, cut off."""
        return min(cap, scale / sqrt(1.0 - self.roll()) - scale)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        rest = list(items)
        mixed = []
        while rest:
            mixed.append(rest.pop(int(len(rest) * self.roll())))
        return mixed
