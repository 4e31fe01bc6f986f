"""What tasks print, in the program that waits for them."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from treadle import wire

#: What waits to be written beyond this is dropped, and counted: nobody reads that fast.
_MOST: Final = 10_000


class Echo:
    """Writes what tasks printed to this process's own standard output and error.

    A terminal may be slow, and what stands in their place may be anything: so it is done on the
    pool, in order.

    Args:
        run: runs a job on the pool.
    """

    def __init__(self, run: Callable[[Callable[[], Any]], None]) -> None:
        self._run = run
        self._lines: deque[wire.Printed] = deque()
        self._lock = threading.Lock()
        self._writing = False
        self._dropped = 0

    def write(self, printed: wire.Printed) -> None:
        """Write this, soon."""
        with self._lock:
            if len(self._lines) >= _MOST:
                self._dropped += 1
                return
            self._lines.append(printed)
            if self._writing:
                return
            self._writing = True
        self._run(self._write_all)

    def _write_all(self) -> None:
        while True:
            with self._lock:
                if not self._lines:
                    self._writing = False
                    return
                printed = self._lines.popleft()
                dropped, self._dropped = self._dropped, 0
            stream = sys.stdout if printed.stream == 1 else sys.stderr
            text = _named(printed.name, printed.text)
            if printed.dropped:
                text = f"[{printed.name}: {printed.dropped} bytes were too many]\n{text}"
            if dropped:
                text = f"[{dropped} pieces of output were too many]\n{text}"
            try:
                stream.write(text)
                stream.flush()
            except (OSError, ValueError, AttributeError):
                continue  # it is closed, or there is none


def _named(name: str, text: str) -> str:
    """The text, each line with the name of the app that printed it."""
    lines = text.splitlines(keepends=True)
    return "".join([f"[{name}] {line}" for line in lines]) + ("" if text.endswith("\n") else "\n")
