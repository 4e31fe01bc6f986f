"""Where a task is just now, also while it computes or holds the interpreter in foreign code.

A slot has a file in memory into which the system writes the stacks of its threads when a signal
comes: `faulthandler` does that within the signal, whatever the interpreter is about. The agent
finds the file among the slot's descriptors, sends the signal, and reads.

A task may do with signals what it likes. One that has taken this one for itself is not signalled:
nothing would be learnt, and a signal that nobody has caught would end the process.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from treadle.cluster._slot_channel import out_of_reach

#: A signal that hardly any program uses: one of real time, from the middle.
_SIGNAL: Final = int(getattr(signal, "SIGRTMIN", 0)) + 21
HAS_STACKS: Final = hasattr(signal, "SIGRTMIN") and hasattr(os, "memfd_create")
_NAME: Final = "treadle-stack"
#: By which name the system shows that memory.
_LINK: Final = f"/memfd:{_NAME}"
#: So long a process may take to answer a signal; it does not while the system holds it.
_ANSWER_S: Final = 1.0
#: What has not grown for so long is complete, if it does not say so itself.
_STILL_S: Final = 0.03
_NAP_S: Final = 0.001
#: How the outermost frame of a slot looks: it is the last that is written.
_OUTERMOST: Final = b"in _run_module_as_main\n"
_FRAME: Final = re.compile(r'  File "(.*)", line (\d+|\?\?\?) in (.*)')
#: Where the engine's own code stands.
_OURS: Final = str(Path(__file__).parents[1]) + os.sep

# --- in the slot -----------------------------------------------------------------------------------

_file: int = -1


def arm() -> None:
    """From now on this process tells where it is; again after a task has changed its signals."""
    global _file
    if not HAS_STACKS:
        return
    if _file < 0:
        made = os.memfd_create(_NAME, os.MFD_CLOEXEC)
        fcntl.fcntl(made, fcntl.F_SETFL, os.O_APPEND)
        _file = out_of_reach(made)
    faulthandler.unregister(_SIGNAL)
    try:
        faulthandler.register(_SIGNAL, _file, all_threads=True)
    except OSError:  # a task has closed it: there is nothing to be read
        pass


# --- in the agent, on a helper thread --------------------------------------------------------------


def stacks_of(pids: list[int]) -> Mapping[int, list[str] | str]:
    """The frames of these processes' main threads, outermost first, or why there are none."""
    found: dict[int, list[str] | str] = {}
    files: dict[int, int] = {}
    try:
        for pid in pids:
            try:
                files[pid] = _ask(pid)
            except OSError as error:
                found[pid] = error.strerror or str(error)
        until = time.monotonic() + _ANSWER_S
        for pid, file in files.items():
            text = _read(file, until)
            found[pid] = frames_of(text) if text else "it does not answer: the system holds it"
    finally:
        for file in files.values():
            os.close(file)
    return found


def _ask(pid: int) -> int:
    """Have a process write down where it is; the descriptor of what it writes to.

    Raises:
        OSError: it cannot be asked.
    """
    process = os.pidfd_open(pid)  # from here on the number cannot become another's
    try:
        file = _file_of(pid)
        try:
            if not _catches(pid):
                raise OSError(0, "the task has taken the signal for itself that asks for it")
            os.ftruncate(file, 0)
            signal.pidfd_send_signal(process, _SIGNAL)
        except BaseException:
            os.close(file)
            raise
    finally:
        os.close(process)
    return file


def _file_of(pid: int) -> int:
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        try:
            if os.readlink(f"{folder}/{name}").startswith(_LINK):
                return os.open(f"{folder}/{name}", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # closed meanwhile
            continue
    raise OSError(0, "the task has closed the file that it would be written to")


def _catches(pid: int) -> bool:
    """Whether the process has an answer to the signal; else it would end by it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (_SIGNAL - 1) & 1)
    return False


def _read(file: int, until: float) -> str:
    """What has been written, once that is all; nothing if nothing comes."""
    size = 0
    changed = time.monotonic()
    while True:
        now = time.monotonic()
        grown = os.fstat(file).st_size
        if grown != size:
            size, changed = grown, now
        data = os.pread(file, len(_OUTERMOST), max(0, size - len(_OUTERMOST)))
        if data == _OUTERMOST or (size and now - changed > _STILL_S) or now > until:
            return os.pread(file, size, 0).decode("utf-8", "replace")
        # Nobody tells when a signal has been handled.
        time.sleep(_NAP_S)


def frames_of(text: str) -> list[str]:
    """The main thread's frames in what `faulthandler` wrote, outermost first, without ours."""
    frames: list[tuple[str, str]] = []
    cut = False
    for line in text.splitlines():
        match = _FRAME.fullmatch(line)
        if match is not None:
            path, number, name = match.groups()
            frames.append((path, f"{path}:{number} in {name}"))
        elif line.startswith("  ..."):
            cut = True
        elif line:  # the head of a thread; the main thread's is the last
            frames, cut = [], False
    frames.reverse()
    ours = 0
    if not cut:
        ours = max(
            (n for n, (path, _) in enumerate(frames, 1) if path.startswith(_OURS)), default=0
        )
        # A task that is in the engine's code itself, as one that waits, is shown all the same.
        first = next((n for n, (path, _) in enumerate(frames) if not _is_engine(path)), ours)
        ours = min(ours, first)
    lines = [line for _, line in frames[ours:]]
    return ["...", *lines] if cut else lines


def _is_engine(path: str) -> bool:
    """Whether a frame of this file is below any task's."""
    return path.startswith((_OURS, "<frozen runpy>"))
