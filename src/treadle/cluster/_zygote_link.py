"""The agent's side of its zygote: starts it, orders slots, hears of their ends.

All methods are called on the agent's loop, and so are those it calls. When the zygote is lost, its
slots are ended, each end is told, and last of all the loss.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from treadle.cluster._zygote_packets import (
    Begin,
    Expect,
    Fork,
    Forked,
    SlotFds,
    decode_news,
    encode,
)
from treadle.cluster._zygote_start import Launched, launch_zygote

if TYPE_CHECKING:
    import asyncio

    from treadle.cluster._settings import WorkerSettings

_MOST_NEWS: Final = 4096

#: slot, its process
OnStarted = Callable[[int, int], None]
#: slot, its process (0: none could be started), exit code (negative: a signal's number), whether
#: it was ended because its zygote was lost
OnEnded = Callable[[int, int, int, bool], None]
#: the zygote's exit code
OnLost = Callable[[int], None]


class Zygote:
    """A zygote process. It is started by exec, at once.

    Args:
        descriptors: how many a task may have open, if it is not as many as this process.
        launched: it, if it has been started already.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        loop: asyncio.AbstractEventLoop,
        *,
        on_started: OnStarted,
        on_ended: OnEnded,
        on_lost: OnLost,
        descriptors: int = 0,
        launched: Launched | None = None,
    ) -> None:
        self._loop = loop
        self._on_started = on_started
        self._on_ended = on_ended
        self._on_lost = on_lost
        #: Processes of slots that have not been told as ended.
        self._pids: dict[int, int] = {}
        self._ranks: dict[int, int] = {}
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._closing = False
        self._expects = False
        self._process, self._control = launched or launch_zygote(
            settings.threads_per_slot, settings.environment
        )
        self._control.setblocking(False)
        self._send(encode(Begin(settings, descriptors)), [])
        loop.add_reader(self._control.fileno(), self._hear)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def fork(self, slot: int, fds: SlotFds) -> None:
        """Have a slot started. The descriptors may be closed when this returns."""
        taken = set(self._ranks.values())
        rank = next(i for i in range(len(taken) + 1) if i not in taken)
        self._ranks[slot] = rank
        self._send(encode(Fork(slot, rank)), list(fds))

    def expect_clients(self) -> None:
        """Have slots that are started from now on find loaded what a task's client takes."""
        if not self._expects:
            self._expects = True
            self._send(encode(Expect()), [])

    def close(self) -> None:
        """End it and all its slots; nothing more is told. Waits for its end, a moment."""
        if self._closing:
            return
        self._closing = True
        self._loop.remove_reader(self._control.fileno())
        self._loop.remove_writer(self._control.fileno())
        for _, fds in self._unsent:
            _close_all(fds)
        self._unsent.clear()
        self._kill_slots()
        self._control.close()  # it ends by itself: it may have more to end than we know of
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # --- the socket ----------------------------------------------------------------------------

    def _send(self, data: bytes, fds: list[int]) -> None:
        if not self._unsent and self._send_now(data, fds):
            return
        self._unsent.append((data, [os.dup(fd) for fd in fds]))
        self._loop.add_writer(self._control.fileno(), self._go_on)

    def _send_now(self, data: bytes, fds: list[int]) -> bool:
        try:
            socket.send_fds(self._control, [data], fds)
        except BlockingIOError:
            return False
        except OSError:  # it is dead: its end of the socket tells
            pass
        return True

    def _go_on(self) -> None:
        while self._unsent and self._send_now(*self._unsent[0]):
            _close_all(self._unsent.popleft()[1])
        if not self._unsent:
            self._loop.remove_writer(self._control.fileno())

    def _hear(self) -> None:
        while not self._closing:
            try:
                data = self._control.recv(_MOST_NEWS)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                return self._lose()
            news = decode_news(data)
            if isinstance(news, Forked):
                self._pids[news.slot] = news.pid
                self._on_started(news.slot, news.pid)
            else:
                self._pids.pop(news.slot, None)
                self._ranks.pop(news.slot, None)
                self._on_ended(news.slot, news.pid, news.exit_code, False)

    # --- its end -------------------------------------------------------------------------------

    def _lose(self) -> None:
        slots, pids = list(self._ranks), dict(self._pids)
        self.close()
        for slot in slots:
            self._on_ended(slot, pids.get(slot, 0), -signal.SIGKILL, True)
        self._on_lost(self._process.returncode)

    def _kill_slots(self) -> None:
        for pid in self._pids.values():
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                pass


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
