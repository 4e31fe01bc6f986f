"""What a client asks of a worker itself: where its tasks are just now, its log, its versions.

None of it is the machine's, and all of it takes time: it is found out on a helper thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from treadle import wire
from treadle.cluster import _log_tail, _slot_stack
from treadle.cluster._versions import versions_here

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from treadle.cluster._agent_slot import SlotEnd

_log = logging.getLogger(__name__)

#: More are not worked on at once.
_MOST: Final = 32


class Inquiries:
    """Answers inquiries, one after the other.

    Args:
        slots: the slots there are, by number.
        threads: where what takes time is done.
        send: says something to the scheduler.
        settle: waits until what tasks have printed was sent.
    """

    def __init__(
        self,
        slots: Mapping[int, SlotEnd],
        loop: asyncio.AbstractEventLoop,
        threads: Executor,
        send: Callable[[Sequence[wire.Message]], None],
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        self._slots = slots
        self._loop = loop
        self._threads = threads
        self._send = send
        self._settle = settle
        self._tasks: set[asyncio.Task[None]] = set()
        # A slot writes one answer at a time.
        self._turn = asyncio.Lock()

    def hear(self, message: wire.Inquiry) -> None:
        """A client asks something."""
        if len(self._tasks) >= _MOST:
            self._send([wire.Answer(message.ask, error="it is asked too much at once")])
            return
        task = self._loop.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Answer nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, message: wire.Inquiry) -> None:
        try:
            async with self._turn:
                answer = wire.Answer(message.ask, await self._value(message))
        except Exception as error:  # noqa: BLE001 - who has asked hears of it, and nobody else
            _log.warning("inquiry %r failed", message.what, exc_info=error)
            text = f"{type(error).__name__}: {error}"
            answer = wire.Answer(message.ask, error=text[:1_000])
        self._send([answer])

    async def _value(self, message: wire.Inquiry) -> Any:
        if message.what == "call_stack":
            return await self._stacks(message.ids)
        if message.what == "logs":
            return _log_tail.newest(message.most, of_worker=True)
        if message.what == "output":
            return await self._settle()
        if message.what == "versions":
            packages = [name for name in message.ids if isinstance(name, str)]
            return await self._loop.run_in_executor(self._threads, versions_here, packages)
        raise ValueError(f"a worker knows nothing of {message.what!r}")

    async def _stacks(self, ids: Sequence[wire.TaskId]) -> list[list[Any]]:
        """[task, frames] of each that runs."""
        if not _slot_stack.HAS_STACKS:
            raise OSError("this system cannot tell where a process is")
        wanted = dict.fromkeys(ids)
        running = {}
        for slot in self._slots.values():
            run, id, _ = slot.runs()
            if run is None or slot.doomed or not slot.pid:
                continue
            if not wanted or id in wanted or run.id in wanted:
                running[slot.pid] = (slot, run.attempt, id)
        stacks = await self._loop.run_in_executor(
            self._threads, _slot_stack.stacks_of, list(running)
        )
        found: list[list[Any]] = []
        for pid, (slot, attempt, id) in running.items():
            now, row, _ = slot.runs()
            if now is None or now.attempt != attempt or row != id:
                continue  # it has ended meanwhile
            frames = stacks[pid]
            found.append([id, [f"({frames})"] if isinstance(frames, str) else frames])
        return found
