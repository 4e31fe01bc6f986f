"""Signals to a slot, and what becomes of a process that a task has forked.

SIGINT is a task's `KeyboardInterrupt`, and means nothing between tasks. SIGTERM means nothing when
it comes from outside: a batch system sends it to all processes of a job, and it is the agent that
ends slots. Who sends it to himself ends. Both mean what they mean anywhere in what a task starts;
an ignored signal would stay ignored there.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed does not have it
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, NoReturn

from treadle.cluster import _task_here
from treadle.cluster._slot_watch import wrap

if TYPE_CHECKING:
    from types import FrameType

    from treadle.cluster._slot import Slot

#: As it is before it is watched.
_sigmask: Final = _signal.pthread_sigmask


class Signals:
    """What a slot's process does when it is signalled, or forks."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._mask: set[Any] = set()

    def install(self) -> None:
        """From now on."""
        signal.signal(signal.SIGINT, self._on_interrupt)
        signal.signal(signal.SIGTERM, _ignore)
        wrap(os, "kill", _before_kill)
        wrap(os, "killpg", _before_killpg)
        wrap(signal, "raise_signal", _before_raise)
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._after_fork_in_parent,
            after_in_child=self._after_fork_in_child,
        )

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._slot.in_task:
            raise KeyboardInterrupt

    def _before_fork(self) -> None:
        # SIGTERM waits until the child has its own answer to it.
        self._mask = _sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))

    def _after_fork_in_parent(self) -> None:
        _sigmask(signal.SIG_SETMASK, self._mask)

    def _after_fork_in_child(self) -> None:
        """The child goes on with the task's code, and is no slot."""
        self._slot.is_child = True
        self._slot.channel.close()
        _task_here.leave()
        if signal.getsignal(signal.SIGINT) == self._on_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if signal.getsignal(signal.SIGTERM) is _ignore:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _sigmask(signal.SIG_SETMASK, self._mask)


def leave_child(error: BaseException | None) -> NoReturn:
    """End a process that a task has forked, as Python would."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if code and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)  # noqa: T201 - what Python does
    elif error is not None:
        traceback.print_exception(error)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed
            pass
    os._exit(code & 0xFF)


def _before_kill(pid: int, number: int) -> None:
    if pid in (os.getpid(), 0, -os.getpgrp()):
        _before_raise(number)


def _before_killpg(group: int, number: int) -> None:
    if group in (os.getpgrp(), 0):
        _before_raise(number)


def _before_raise(number: int) -> None:
    if number == signal.SIGTERM and signal.getsignal(signal.SIGTERM) is _ignore:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _ignore(number: int, frame: FrameType | None) -> None:
    """For SIGTERM, see the head."""
