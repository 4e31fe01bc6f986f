"""What a client is given, checked before it goes on a wire that would not take it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")

__all__ = [
    "MOST_IDS",
    "checked_count",
    "checked_name",
    "checked_names",
    "checked_seconds",
    "runs_of",
]

#: Longest name, and most identifiers, that one message may hold.
_MOST_NAME: Final = 1_000
MOST_IDS: Final = 100_000
_MOST_SECONDS: Final = 1e9
_MOST_COUNT: Final = 2**31 - 1


def checked_name(what: str, name: Any) -> str:
    """The name of something, if it can be one.

    Raises:
        ValueError: it cannot.
    """
    if not isinstance(name, str) or not 0 < len(name) <= _MOST_NAME:
        shown = repr(name) if len(repr(name)) < 100 else f"{repr(name)[:100]}..."
        raise ValueError(f"{what}: give a text of 1 to {_MOST_NAME} characters, not {shown}")
    return name


def checked_names(workers: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of workers, however they were given; none for all.

    Raises:
        ValueError: they are none.
    """
    if workers is None:
        return ()
    names = (workers,) if isinstance(workers, str) else tuple(workers)
    if not names:
        raise ValueError("workers=[]: name one at least, or give None for all")
    if len(names) > MOST_IDS:
        raise ValueError(f"workers: {len(names):,} are too many; {MOST_IDS:,} can be named")
    return tuple([checked_name("workers", name) for name in names])


def checked_seconds(what: str, seconds: Any) -> float | None:
    """A time to wait; None for any.

    Raises:
        ValueError: it is no such time.
    """
    if seconds is None:
        return None
    if not isinstance(seconds, int | float) or math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{what}={seconds!r}: give seconds, at least 0, or None for any time")
    return min(float(seconds), _MOST_SECONDS)


def checked_count(what: str, count: Any, *, least: int = 0) -> int:
    """A whole number of at least so much.

    Raises:
        ValueError: it is none.
    """
    if type(count) is not int or not least <= count <= _MOST_COUNT:
        raise ValueError(f"{what}={count!r}: give a whole number of at least {least}")
    return count


def runs_of(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """The items in runs, each of which goes in one message."""
    for start in range(0, len(items), MOST_IDS):
        yield tuple(items[start : start + MOST_IDS])
