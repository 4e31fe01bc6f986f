"""What a test has left behind: threads, descriptors, a loaded kernel."""

from __future__ import annotations

import gc
import sys
import threading
import time
from pathlib import Path

#: How long a test's threads and descriptors may take to go.
GRACE_S = 5.0
#: Threads that outlive a test by design, by the beginning of their names: the one engine thread of
#: the process with its pool, the timer of walltimes, and the loop thread that fsspec keeps.
SHARED_THREADS = ("treadle-engine", "treadle-pool", "treadle-walltime", "fsspecIO")
#: What an event loop holds open as long as it lives.
LOOP_TARGETS = ("anon_inode:", "socket:", "pipe:")


def loaded_kernel() -> list[str]:
    """Tell of a kernel that is still loaded, and unload it so that only one test is blamed."""
    dflow = sys.modules.get("treadle.dataflow.dflow")
    errors = sys.modules.get("treadle.errors")
    if dflow is None or errors is None:
        return []
    loader = dflow.DataFlowKernelLoader
    try:
        kernel = loader.dfk()
    except errors.NoDataFlowKernelError:
        return []
    kernel.cleanup()
    loader.clear()
    return ["a loaded kernel"]


def left_threads(before: set[threading.Thread], *, grace_s: float = GRACE_S) -> list[str]:
    """Names of the threads that this test started and that do not end."""
    deadline = time.monotonic() + grace_s
    left = []
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith(SHARED_THREADS):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                left.append(f"thread {thread.name!r}")
    return sorted(left)


def left_descriptors(
    threads: set[threading.Thread],
    before: dict[int, tuple[str, int]],
    *,
    grace_s: float = GRACE_S,
) -> list[str]:
    """Descriptors that this test opened and that do not close."""
    # The first test that needs the engine starts it, and it stays with its loop's descriptors.
    shared_started = any(
        thread.name.startswith(SHARED_THREADS) for thread in set(threading.enumerate()) - threads
    )
    deadline = time.monotonic() + grace_s
    while True:
        gc.collect()
        left = [
            f"descriptor {number} -> {target}"
            for number, (target, inode) in open_descriptors().items()
            if before.get(number) != (target, inode)
            and not (shared_started and target.startswith(LOOP_TARGETS))
        ]
        if not left or time.monotonic() > deadline:
            return left
        threading.Event().wait(0.02)


def open_descriptors() -> dict[int, tuple[str, int]]:
    """What this process holds open: target and inode by number; nothing where there is no /proc."""
    found = {}
    folder = Path("/proc/self/fd")
    for entry in list(folder.iterdir()) if folder.is_dir() else []:
        try:
            target, inode = str(entry.readlink()), entry.stat().st_ino
        except OSError:  # the descriptor of this very listing
            continue
        found[int(entry.name)] = (target, inode)
    return found
