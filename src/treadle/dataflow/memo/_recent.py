"""Keys of calls in flight, and of the last misses, for explanations."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treadle.dataflow.memo.key import MemoKey

_IN_FLIGHT = 1 << 16
_MISSES = 1 << 12


class RecentKeys:
    """Remembers the parts of keys for a while. Thread-safe, bounded."""

    def __init__(self) -> None:
        self._in_flight: OrderedDict[str, MemoKey] = OrderedDict()
        self._misses: OrderedDict[str, tuple[MemoKey, int]] = OrderedDict()
        self._lock = Lock()

    def made(self, key: MemoKey) -> None:
        """A key has been made; its call may be looked up, run and stored."""
        with self._lock:
            self._in_flight[key.digest] = key
            if len(self._in_flight) > _IN_FLIGHT:
                self._in_flight.popitem(last=False)

    def hit(self, digest: str) -> None:
        """Its call was found."""
        with self._lock:
            self._in_flight.pop(digest, None)
            self._misses.pop(digest, None)

    def missed(self, digest: str, mark: int) -> None:
        """Its call was not found, when the history stood at this mark."""
        with self._lock:
            key = self._in_flight.get(digest)
            if key is None:
                return
            self._misses[digest] = (key, mark)
            self._misses.move_to_end(digest)
            if len(self._misses) > _MISSES:
                self._misses.popitem(last=False)

    def ended(self, digest: str) -> MemoKey | None:
        """Its call has an outcome; the key if it is still known."""
        with self._lock:
            return self._in_flight.pop(digest, None)

    def miss(self, digest: str) -> tuple[MemoKey, int] | None:
        """The key of a miss, and the mark."""
        with self._lock:
            return self._misses.get(digest)
