"""Notices what a task changes about its process, at no cost to tasks that change nothing.

Functions that change it are wrapped: they note that they were called, and do what they did. What
a library changes behind Python's back is not seen here.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed does not have it
import functools
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import ModuleType

#: Modules and what of them is watched: environment, signals, and what cannot be put back.
_ENVIRONMENT: Final = (os, ("putenv", "unsetenv"))
_SIGNALS: Final = (
    (_signal, ("signal", "pthread_sigmask", "siginterrupt")),
    (signal, ("setitimer", "alarm", "set_wakeup_fd")),
)
_PLACE: Final = (os, ("chdir", "fchdir", "umask"))
_AFFINITY: Final = (os, ("sched_setaffinity",))
_LIMITS: Final = (resource, ("setrlimit", "prlimit"))
_FOR_GOOD: Final = (
    os,
    (
        "chroot",
        "nice",
        "sched_setparam",
        "sched_setscheduler",
        "setegid",
        "seteuid",
        "setgid",
        "setgroups",
        "setns",
        "setpriority",
        "setregid",
        "setresgid",
        "setresuid",
        "setreuid",
        "setuid",
        "unshare",
    ),
)


class Watch:
    """Which kinds of change were made since they were last put back."""

    __slots__ = ("affinity", "any", "environment", "for_good", "limits", "place", "signals")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing was changed."""
        self.any = False
        self.environment = False
        self.signals = False
        self.place = False
        self.affinity = False
        self.limits = False
        #: What was called that cannot be undone.
        self.for_good = ""

    def start(self) -> None:
        """Wrap what is watched, in this process, for good."""
        self._wrap(*_ENVIRONMENT, self._on_environment)
        for module, names in _SIGNALS:
            self._wrap(module, names, self._on_signals)
        self._wrap(*_PLACE, self._on_place)
        self._wrap(*_AFFINITY, self._on_affinity)
        self._wrap(*_LIMITS, self._on_limits)
        for name in _FOR_GOOD[1]:
            self._wrap(os, (name,), functools.partial(self._on_for_good, name))

    def _wrap(self, module: ModuleType, names: tuple[str, ...], note: Callable[[], None]) -> None:
        def before(*args: Any, **kwargs: Any) -> None:
            note()

        for name in names:
            wrap(module, name, before)

    def _on_environment(self) -> None:
        self.any = self.environment = True

    def _on_signals(self) -> None:
        self.any = self.signals = True

    def _on_place(self) -> None:
        self.any = self.place = True

    def _on_affinity(self) -> None:
        self.any = self.affinity = True

    def _on_limits(self) -> None:
        self.any = self.limits = True

    def _on_for_good(self, name: str) -> None:
        self.any = True
        self.for_good = name


def wrap(module: ModuleType, name: str, before: Callable[..., None]) -> None:
    """Have `before` called, with the same arguments, before a function of a module is."""
    func = getattr(module, name, None)
    if func is None:
        return

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        before(*args, **kwargs)
        return func(*args, **kwargs)

    # `os.chdir` says of itself that it is `posix.chdir`, and so it is found when it is pickled.
    home = sys.modules.get(func.__module__ or "", module)
    for place in {module, home}:
        if getattr(place, name, None) is func:
            setattr(place, name, wrapped)
