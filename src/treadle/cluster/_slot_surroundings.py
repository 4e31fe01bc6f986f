"""A task finds its process as the first one found it, and leaves it so.

Working directory, umask, environment, signal handlers and timers, sys.path, recursion limit,
cores, limits, standard streams: they are put back after each task. What cannot be put back makes
the slot *worn*: it is replaced. But a process in which an actor lives is the actor's.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed does not have it
import _thread
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from treadle.cluster import _slot_stack
from treadle.cluster._slot_channel import out_of_reach
from treadle.cluster._slot_watch import Watch

if TYPE_CHECKING:
    from treadle.cluster._slot_streams import Streams
    from treadle.wire import World

_PATH_ONLY: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
#: A task that took longer is worth a thorough look at what it left.
_THOROUGH_NS: Final = 500_000
#: As they are before they are watched.
_umask = os.umask
_fchdir = os.fchdir
_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_LIMITS: Final = tuple(
    getattr(resource, f"RLIMIT_{name}")
    for name in ("AS", "CORE", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "STACK")
    if hasattr(resource, f"RLIMIT_{name}")
)


class Surroundings:
    """What tasks of this process find."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._watch = Watch()
        self._watch.start()
        self._directory = out_of_reach(os.open("/", _PATH_ONLY))
        self._umask = _umask(0o077)
        _umask(self._umask)
        self._threads = _thread._count()
        #: Of these, those that are not ours.
        self._strangers = self._threads
        #: What the task has to have done at its end.
        self._ends: dict[Callable[[], None], None] = {}
        #: Nothing is put back.
        self._given_up = False
        self._keep()
        self._enter_directory(os.getcwd())

    def _keep(self) -> None:
        """What is now is what tasks shall find."""
        self._environ = os.environ
        self._variables = dict(os.environ)
        self._path_list = sys.path
        self._path = list(sys.path)
        self._recursion = sys.getrecursionlimit()
        self._handlers = {n: _signal.getsignal(n) for n in signal.valid_signals()}
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        self._limits = {number: resource.getrlimit(number) for number in _LIMITS}
        self._watch.clear()

    def enter(self, world: World) -> None:
        """Be where a client's tasks run: as in its own process."""
        own = [entry for entry in self._path if entry not in world.sys_path]
        sys.path[:] = [*world.sys_path, *own]
        self._path = list(sys.path)
        if world.main:
            sys.argv = [world.main]
            sys.modules["__main__"].__file__ = world.main
        self._umask = world.umask
        _umask(world.umask)
        try:
            self._enter_directory(world.directory)
        except OSError as error:
            self._streams.warn(
                f"the working directory of the client cannot be entered here ({error}); "
                f"tasks run in {os.getcwd()}"
            )

    def _enter_directory(self, path: str) -> None:
        directory = os.open(path, _PATH_ONLY)
        try:
            _fchdir(directory)
        except OSError:
            os.close(directory)
            raise
        os.close(self._directory)
        self._directory = out_of_reach(directory)

    def give_up(self) -> None:
        """An actor lives here: the process is its own, and stays as it makes it."""
        self._given_up = True
        self._ends.clear()

    def at_end(self, fn: Callable[[], None], *, of_actors: bool = False) -> None:
        """Have this called, once, when the task has ended. From any thread.

        Args:
            of_actors: also at the end of a call of an actor, which takes nothing back.
        """
        if self._given_up and not of_actors:
            return
        self._ends[fn] = None
        self._watch.any = True

    # --- after each task -----------------------------------------------------------------------

    def mend(self, spent_ns: int) -> tuple[int, int]:
        """Put all back. Returns by how many bytes standard output and error have grown.

        Raises:
            CannotMend: something cannot be put back.
        """
        thoroughly = spent_ns > _THOROUGH_NS
        if self._given_up:
            self._run_ends()
            return self._streams.settle(thoroughly=thoroughly)
        if thoroughly or self._watch.place:
            self._go_back()
        if self.is_touched():
            self._put_back()
        if _thread._count() != self._threads:
            self._count_threads()
        return self._streams.settle(thoroughly=thoroughly)

    def _run_ends(self) -> None:
        ends = self._ends
        while ends:
            ends.popitem()[0]()

    def _go_back(self) -> None:
        _umask(self._umask)
        try:
            _fchdir(self._directory)
        except OSError as error:
            raise CannotMend(f"its working directory is gone: {error}") from None

    def is_touched(self) -> bool:
        """Whether a task has changed what a look without system calls can see."""
        return (
            self._watch.any
            or sys.path is not self._path_list
            or sys.path != self._path
            or os.environ is not self._environ
            or sys.stdout is not self._streams.out
            or sys.getrecursionlimit() != self._recursion
        )

    def _put_back(self) -> None:
        watch = self._watch
        self._run_ends()
        sys.path = self._path_list
        sys.path[:] = self._path
        sys.setrecursionlimit(self._recursion)
        os.environ = self._environ  # noqa: B003 - it is the very object
        if watch.signals:
            self._put_back_signals()
        if watch.environment:
            self._put_back_variables()
        if watch.limits:
            self._put_back_limits()
        if watch.affinity and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self._cores)
        done = watch.for_good
        watch.clear()
        if done:
            raise CannotMend(f"it called os.{done}(), which cannot be undone")

    def _put_back_variables(self) -> None:
        environ, kept = self._environ, self._variables
        for name in [name for name in environ if name not in kept]:
            del environ[name]
        for name, value in kept.items():
            if environ.get(name) != value:
                environ[name] = value

    def _put_back_signals(self) -> None:
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            if handler is not None and _signal.getsignal(number) is not handler:
                _signal.signal(number, handler)
        _slot_stack.arm()  # it is not Python's own, which has no handler of that to put back
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _count_threads(self) -> None:
        """Threads cannot be ended; who reads the output shall know of them."""
        self._threads = _thread._count()
        known = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
        names = [name for name in known if not name.startswith("treadle-")]  # ours stay
        before, self._strangers = self._strangers, self._threads - len(known) + len(names)
        if self._strangers > before:
            self._streams.warn(f"a task has left threads running: {', '.join(names) or 'unnamed'}")

    def _put_back_limits(self) -> None:
        for number, kept in self._limits.items():
            if resource.getrlimit(number) != kept:
                try:
                    resource.setrlimit(number, kept)
                except (OSError, ValueError):
                    raise CannotMend("it lowered a resource limit for good") from None


class CannotMend(Exception):
    """The process is not what it was; the text says why."""
