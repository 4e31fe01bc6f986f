"""Results by key, within a budget of bytes, least recently used first out."""

from __future__ import annotations

import sys
from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

#: What an entry costs besides its value: key, entry, place in the table.
_ENTRY_BYTES = 400
_SAMPLE = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """The outcome of one call."""

    #: As bytes, unless the value never changes or cannot be pickled: then as it is.
    payload: bytes | None
    value: Any
    failed: bool
    #: The log has it, too.
    logged: bool
    size: int


class ResultTable:
    """A bounded table of outcomes. Thread-safe; runs no user code under its lock.

    Args:
        budget: bytes that all entries together may take.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        #: Evicted, but to be found in the log of this run.
        self._elsewhere: set[str] = set()
        self._size = 0
        self._evicted = 0
        self._lock = Lock()

    def get(self, key: str) -> Entry | None:
        """The entry of a key, which is now the most recently used."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def is_elsewhere(self, key: str) -> bool:
        """Whether the entry had to go and the log of this run has it."""
        return key in self._elsewhere

    def put(self, key: str, entry: Entry) -> None:
        """Add or replace an entry; others may have to go, or this one if it is too large."""
        dropped: list[Entry] = []  # let go outside the lock: a value's __del__ is user code
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._size -= old.size
                dropped.append(old)
            self._entries[key] = entry
            self._size += entry.size
            self._elsewhere.discard(key)
            while self._size > self.budget:
                name, oldest = self._entries.popitem(last=False)
                self._size -= oldest.size
                self._evicted += 1
                if oldest.logged:
                    self._elsewhere.add(name)
                dropped.append(oldest)
        dropped.clear()

    def note_logged(self, key: str) -> None:
        """The log of this run has it now."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and not entry.logged:
                self._entries[key] = replace(entry, logged=True)

    def drop(self, key: str) -> None:
        """Forget a key."""
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is not None:
                self._size -= entry.size

    def items(self) -> list[tuple[str, Entry]]:
        """A copy of what is there, least recently used first."""
        with self._lock:
            return list(self._entries.items())

    def statistics(self) -> tuple[int, int, int]:
        """Entries, their bytes, and how many had to go so far."""
        with self._lock:
            return len(self._entries), self._size, self._evicted


def entry_size(payload: bytes | None, value: Any) -> int:
    """About how many bytes an entry takes."""
    return _ENTRY_BYTES + (len(payload) if payload is not None else size_of(value))


def size_of(value: Any, depth: int = 3) -> int:
    """A cheap estimate of an object's size: containers by a sample, objects by their attributes."""
    try:
        size = sys.getsizeof(value, 64)
    except Exception:  # noqa: BLE001 - __sizeof__ may be the user's
        return 64
    if not depth:
        return size
    kind = type(value)
    if kind in (list, tuple, set, frozenset) and value:
        sample = [item for item, _ in zip(value, range(_SAMPLE), strict=False)]
        return size + sum(size_of(item, depth - 1) for item in sample) * len(value) // len(sample)
    if kind is dict and value:
        pairs = [pair for pair, _ in zip(value.items(), range(_SAMPLE), strict=False)]
        inner = sum(size_of(k, depth - 1) + size_of(v, depth - 1) for k, v in pairs)
        return size + inner * len(value) // len(pairs)
    nbytes = getattr(kind, "nbytes", None) and getattr(value, "nbytes", 0)
    if isinstance(nbytes, int):
        size = max(size, nbytes)
    attributes = getattr(value, "__dict__", None)
    return size + (size_of(attributes, depth - 1) if type(attributes) is dict else 0)
