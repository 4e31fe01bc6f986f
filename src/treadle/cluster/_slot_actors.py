"""The actor of a slot: an object that stays, and a loop of its own for its coroutines.

The process is the actor's for life: what its methods change of it (working directory, environment,
threads) stays. Calls run one at a time, in the order in which they come; a coroutine method has
ended before the next call begins. But tasks that a coroutine has left on the loop go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from treadle.errors import InternalError

if TYPE_CHECKING:
    import asyncio

    from treadle.wire import TaskId


#: Actors that live in this process, for those who would wait for their own.
here: Final[set[TaskId]] = set()


class Actors:
    """What lives in this process: nothing, or an actor."""

    __slots__ = ("_by_id", "_loop")

    def __init__(self) -> None:
        self._by_id: dict[TaskId, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def __bool__(self) -> bool:
        return bool(self._by_id)

    def keep(self, id: TaskId, value: Any) -> None:
        """This is the actor from now on."""
        self._by_id[id] = value
        here.add(id)

    def method(self, id: TaskId, target: str | Callable[..., Any]) -> Callable[..., Any]:
        """What a call of this actor calls: its method of this name, or a function of it."""
        try:
            actor = self._by_id[id]
        except KeyError:
            raise InternalError(f"the actor {id!r} is not in this process") from None
        return getattr(actor, target) if isinstance(target, str) else partial(target, actor)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What the coroutine returns; it runs on the actor's loop, which goes on after it."""
        import asyncio  # noqa: PLC0415 - 20 ms that each slot would pay at its start

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_go_on, args=(self._loop,), name="treadle-actor")
            thread.daemon = True
            thread.start()
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # a signal has struck the thread that waits
            raise


def _go_on(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop for good: a coroutine that raises SystemExit ends by it, and it alone."""
    while True:
        try:
            loop.run_forever()
        except BaseException:  # noqa: BLE001 - it is that coroutine's outcome
            continue
