"""The commands that run in this process now, and their end when it ends.

No command outlives the program that waits for it: when the interpreter exits, what still runs is
told to end. That happens before Python waits for its threads, since those wait for the commands.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

from treadle.app import _watcher
from treadle.app._command import GRACE_S, Command
from treadle.log import logger

_lock = threading.Lock()
_changed = threading.Condition(_lock)
#: By thread: a thread runs one command at a time, or a command's body that runs another.
_running: dict[int, list[Command]] = {}
_exit_is_hooked = False


@contextmanager
def registered(command: Command) -> Iterator[None]:
    """Make the command of this thread known to `cancel_running` and `kill_running`."""
    thread_id = threading.get_ident()
    with _lock:
        _hook_exit()
        _running.setdefault(thread_id, []).append(command)
    try:
        yield
    finally:
        with _lock:
            commands = _running[thread_id]
            commands.remove(command)
            if not commands:
                del _running[thread_id]
            _changed.notify_all()


def cancel_running(thread_id: int) -> bool:
    """End the command that a thread is running; does not wait.

    Also from the moment its body is called: then it does not start.

    Args:
        thread_id: the thread's identity, from `threading.get_ident()`.

    Returns:
        Whether there was one. Its call raises `concurrent.futures.CancelledError` when all its
        processes are gone.
    """
    with _lock:
        commands = list(_running.get(thread_id, ()))
    ended = [command.end(CancelledError("cancelled while it ran")) for command in commands]
    return any(ended)


def kill_running() -> int:
    """End all commands that run in this process, and wait until their processes are gone.

    Returns:
        How many there were.
    """
    with _lock:
        commands = [command for mine in _running.values() for command in mine]
    for command in commands:
        command.end(CancelledError("the program that ran it is ending"))
    with _lock:
        gone = _changed.wait_for(lambda: not _still(commands), timeout=2 * GRACE_S)
    if not gone:  # its thread cannot look after it any more
        for command in commands:
            command.kill()
    if commands:
        logger("app").info("%d commands that still ran were ended", len(commands))
    return len(commands)


def _still(commands: list[Command]) -> bool:
    return any(command in mine for mine in _running.values() for command in commands)


def _at_exit() -> None:
    kill_running()
    _watcher.watcher.close_if_idle()


def _hook_exit() -> None:
    global _exit_is_hooked
    if not _exit_is_hooked:
        _exit_is_hooked = True
        # `atexit` comes after the threads of concurrent.futures have been waited for, which is
        # too late; the hook that concurrent.futures itself uses for that has no public name.
        before_threads: Callable[..., object] = getattr(
            threading, "_register_atexit", atexit.register
        )
        try:
            before_threads(_at_exit)
        except RuntimeError:  # the interpreter is shutting down already
            atexit.register(_at_exit)


def _forget_parent() -> None:
    """In a forked child: the commands are the parent's, and so is their end."""
    global _changed, _lock
    _lock = threading.Lock()
    _changed = threading.Condition(_lock)
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
