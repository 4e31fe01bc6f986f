"""The process that slots are forked from: single-threaded, without a loop of its own.

It imports what slots are to have from the start, then waits for the agent's orders. It ends with
the agent (a signal, and the end of their socket), and takes with it all that its slots have
started.
"""

from __future__ import annotations

import _thread
import gc
import importlib
import os
import resource
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from treadle.cluster._prctl import adopt_orphans, die_with_parent
from treadle.cluster._python import python_command
from treadle.cluster._slot_channel import memory_of, read_memory
from treadle.cluster._slot_start import Start, become_slot, decode_start, encode_start
from treadle.cluster._zygote_orphans import end_family, end_orphans_of, kill_group
from treadle.cluster._zygote_packets import (
    Begin,
    Ended,
    Expect,
    Fork,
    Forked,
    FromZygote,
    SlotFds,
    decode_order,
    encode,
)

if TYPE_CHECKING:
    from types import FrameType

    from treadle.cluster._settings import WorkerSettings
from treadle.store.mapping import warm_up

#: Exit code of what could not be started.
EX_OSERR = 71
_MOST_ORDER = 1 << 20
#: What a task's client takes; the second is used where it is there.
_CLIENTS = ("treadle.client", "uvloop")


class _Over(BaseException):
    """The agent has ended."""


def main(argv: Sequence[str]) -> NoReturn:
    """Be the zygote of the agent at the other end of a socket.

    Args:
        argv: the number of the socket's descriptor; or '--slot' and descriptors, for a slot that
            is not forked: the one of its `Start`, and its own.
    """
    if argv[0] == "--slot":
        _be_slot(*map(int, argv[1:]))
    control = socket.socket(fileno=int(argv[0]))
    control.set_inheritable(False)
    parent = os.getppid()
    if not die_with_parent(parent, signal.SIGKILL):
        os._exit(0)
    data = control.recv(_MOST_ORDER)
    if not data:
        os._exit(0)
    order = decode_order(data)
    assert isinstance(order, Begin)
    if order.descriptors:
        _limit_descriptors(order.descriptors)
    zygote = Zygote(control, order.settings, parent)
    zygote.prepare()
    zygote.serve()


def _be_slot(start_fd: int, *fds: int) -> NoReturn:
    start = decode_start(read_memory(start_fd, os.fstat(start_fd).st_size))
    os.close(start_fd)
    preload(start.settings.preload)
    become_slot(start, SlotFds(*fds))


def preload(modules: Sequence[str]) -> list[str]:
    """Import modules. What went wrong, in words."""
    failed = []
    for name in modules:
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - an import runs code of the user's
            traceback.print_exc()
            failed.append(f"the preload of {name!r} failed ({type(error).__name__}: {error})")
    return failed


def _limit_descriptors(most: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):  # it has more open than that
        traceback.print_exc()


class Zygote:
    """Forks slots and tells of their ends."""

    def __init__(self, control: socket.socket, settings: WorkerSettings, parent: int) -> None:
        self._control = control
        self._settings = settings
        self._parent = parent
        self._slots: dict[int, int] = {}
        self._warning = ""
        #: The agent has ended. Nothing is raised for it, which could strike anywhere.
        self._is_over = False
        #: Whether a forked slot would lack threads that the preload needs.
        self._by_exec = False

    def prepare(self) -> None:
        """Import what slots are to have, and leave it to the garbage collector no more."""
        # Most programs' functions travel by value, and each slot would have to import this.
        importlib.import_module("cloudpickle")
        warm_up()
        failed = preload(self._settings.preload)
        left = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
        if left or _thread._count():
            self._by_exec = True
            failed.append(
                f"the preload left threads running ({', '.join(left) or 'without a name'}), so "
                "each slot is started by itself and imports the preload again"
            )
        self._warning = "; ".join(failed)
        gc.collect()
        gc.freeze()

    def serve(self) -> NoReturn:
        """Do as the agent says until it has ended."""
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.signal(signal.SIGINT, _ignore)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        adopt_orphans()
        try:
            if not die_with_parent(self._parent, signal.SIGTERM):
                raise _Over
            self._serve()
        except _Over:
            pass
        except BaseException:  # noqa: BLE001 - whatever it is, no slot may be left behind
            traceback.print_exc()
        end_family(self._slots)
        os._exit(0)

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._is_over:
            for fd, _ in poll.poll():
                if fd == self._control.fileno():
                    self._obey()
                else:
                    self._wake.recv(4096)
                    self._reap()

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        # A batch system may send it to all processes of a job: what that means the agent decides.
        if os.getppid() != self._parent:
            self._is_over = True

    # --- slots ---------------------------------------------------------------------------------

    def _obey(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, _MOST_ORDER, 8)
        except OSError:
            raise _Over from None
        if not data:
            raise _Over
        try:
            order = decode_order(data)
            if isinstance(order, Fork):
                self._fork(order, SlotFds(*fds))
            elif isinstance(order, Expect):
                _load_clients()
        finally:
            for fd in fds:
                os.close(fd)

    def _fork(self, order: Fork, fds: SlotFds) -> None:
        zygote = os.getpid()
        warning, self._warning = self._warning, ""  # said once
        try:
            pid = os.fork()
        except OSError:
            traceback.print_exc()
            return self._tell(Ended(order.slot, 0, EX_OSERR))
        if pid == 0:
            self._in_child(Start(order.slot, order.rank, zygote, self._settings, warning), fds)
        self._slots[pid] = order.slot
        return self._tell(Forked(order.slot, pid))

    def _in_child(self, start: Start, fds: SlotFds) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            for end in (self._control, self._wake, self._woken):
                end.close()
            if self._by_exec:
                _exec_slot(start, fds)
            become_slot(start, fds)
        except BaseException:  # noqa: BLE001 - this is another process: it never returns
            traceback.print_exc()
        finally:
            _flush_and_exit(EX_OSERR)

    def _reap(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            # While it is a zombie its number belongs to nobody else.
            slot = self._slots.pop(found.si_pid, None)
            if slot is not None:
                kill_group(found.si_pid)
            _, status = os.waitpid(found.si_pid, 0)
            if slot is not None:
                code = os.waitstatus_to_exitcode(status)
                if code:
                    end_orphans_of(slot, self._slots)
                self._tell(Ended(slot, found.si_pid, code))

    def _tell(self, news: FromZygote) -> None:
        try:
            self._control.send(encode(news))
        except OSError:
            raise _Over from None


def _load_clients() -> None:
    """To import these takes a slot a tenth of a second."""
    for name in _CLIENTS:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    gc.collect()
    gc.freeze()


def _exec_slot(start: Start, fds: SlotFds) -> NoReturn:
    start_fd = memory_of(encode_start(start))
    for fd in (start_fd, *fds):
        os.set_inheritable(fd, True)
    command = [
        *python_command(),
        "-m",
        "treadle",
        "zygote",
        "--slot",
        str(start_fd),
        *map(str, fds),
    ]
    os.execv(sys.executable, command)


def _flush_and_exit(code: int) -> NoReturn:
    try:
        sys.stderr.flush()
    finally:
        os._exit(code)


def _ignore(number: int, frame: FrameType | None) -> None:
    """For signals whose default would end the process; an ignored one would stay so in children."""
