"""Keys of calls in flight, and of the last misses, for explanations."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from treadle.dataflow.memo.key import MemoKey

_IN_FLIGHT = 1 << 16
_MISSES = 1 << 12


class Miss(NamedTuple):
    """A call that was not found."""

    key: MemoKey
    #: What was known then.
    mark: int
    #: It was found, but these files of its outcome were not.
    gone: tuple[str, ...]


class RecentKeys:
    """Remembers the parts of keys for a while. Thread-safe, bounded."""

    def __init__(self) -> None:
        self._in_flight: OrderedDict[str, MemoKey] = OrderedDict()
        self._misses: OrderedDict[str, Miss] = OrderedDict()
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

    def missed(self, digest: str, mark: int, gone: Sequence[str]) -> None:
        """Its call was not found, when the history stood at this mark, or its outputs were not."""
        with self._lock:
            key = self._in_flight.get(digest)
            if key is None:
                return
            self._misses[digest] = Miss(key, mark, tuple(gone))
            self._misses.move_to_end(digest)
            if len(self._misses) > _MISSES:
                self._misses.popitem(last=False)

    def ended(self, digest: str) -> MemoKey | None:
        """Its call has an outcome; the key if it is still known."""
        with self._lock:
            return self._in_flight.pop(digest, None)

    def miss(self, digest: str) -> Miss | None:
        """What is known of a miss."""
        with self._lock:
            return self._misses.get(digest)
