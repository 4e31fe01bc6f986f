"""Turns: what is due when a callback has ended is done in order, and a fault keeps nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from treadle.cluster._turns import Turns, turns_of


class Due:
    """A link that notes what it does."""

    def __init__(self, done: list[str], name: str, then: Callable[[], None] = lambda: None) -> None:
        self.done, self.name, self.then = done, name, then

    def flush(self) -> None:
        self.done.append(f"{self.name} flushed")
        self.then()

    def deliver(self) -> None:
        self.done.append(f"{self.name} delivered")
        self.then()


def fail() -> None:
    raise RuntimeError("a bug")


def test_all_deliveries_come_before_anything_is_flushed():
    async def main() -> None:
        turns, done = turns_of(asyncio.get_running_loop()), []
        late = Due(done, "late")
        turns.flush_later(Due(done, "a"))
        turns.deliver_later(Due(done, "b", lambda: turns.deliver_later(late)))
        turns.flush_later(late)
        assert done == []
        await asyncio.sleep(0)
        assert done[:2] == ["b delivered", "late delivered"]
        assert sorted(done[2:]) == ["a flushed", "late flushed"]

    asyncio.run(main())


def test_what_comes_up_while_others_are_flushed_is_flushed_too():
    async def main() -> None:
        turns, done = turns_of(asyncio.get_running_loop()), []
        turns.flush_later(Due(done, "a", lambda: turns.flush_later(Due(done, "b"))))
        await asyncio.sleep(0)
        assert done == ["a flushed", "b flushed"]

    asyncio.run(main())


def test_a_fault_keeps_nothing_from_the_others():
    async def main() -> None:
        loop, done = asyncio.get_running_loop(), []
        faults: list[object] = []
        loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))
        turns = turns_of(loop)
        turns.deliver_later(Due(done, "a", fail))
        turns.deliver_later(Due(done, "b"))
        turns.flush_later(Due(done, "c", fail))
        turns.flush_later(Due(done, "d", fail))
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(faults) == 3
        turns.flush_later(Due(done, "e"))
        await asyncio.sleep(0)
        assert sorted(done) == [
            "a delivered",
            "b delivered",
            "c flushed",
            "d flushed",
            "e flushed",
        ]

    asyncio.run(main())


def test_each_loop_has_turns_of_its_own():
    async def turns_here() -> Turns:
        loop = asyncio.get_running_loop()
        assert turns_of(loop) is turns_of(loop)
        return turns_of(loop)

    one = asyncio.run(turns_here())
    assert asyncio.run(turns_here()) is not one
