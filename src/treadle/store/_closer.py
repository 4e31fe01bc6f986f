"""A thread that lets go of memory: to free 100 MB takes ten milliseconds, too long for a loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mmap

Chore = Callable[[], object]


class Closer:
    """Does chores in order, on a thread that is started with the first of them."""

    def __init__(self) -> None:
        self._chores: SimpleQueue[Chore | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, chore: Chore) -> None:
        """Have this done soon. It must not raise."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="treadle-store", daemon=True)
            self._thread.start()
        self._chores.put(chore)

    def close(self) -> None:
        """Wait until all is done, and end the thread."""
        if self._thread is not None:
            self._chores.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (chore := self._chores.get()) is not None:
            chore()


def unmap(memory: mmap.mmap) -> bool:
    """Let go of a map; False if somebody still looks at it: then it goes with the last of them."""
    try:
        memory.close()
    except BufferError:
        return False
    return True
