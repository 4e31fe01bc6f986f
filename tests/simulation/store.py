"""What objects a simulated worker process has, with which values, in memory or on disk."""

from __future__ import annotations

from treadle.wire import Held, TaskId

Key = tuple[TaskId, int]


class Thing:
    """One object: the values of its rows (one, but for a bundle)."""

    __slots__ = ("nbytes", "on_disk", "type", "values")

    def __init__(self, values: tuple[int, ...], nbytes: int, type: str = "int") -> None:
        self.values = values
        self.nbytes = nbytes
        self.type = type
        self.on_disk = False


class Store:
    """Objects by identifier and attempt."""

    def __init__(self) -> None:
        self.things: dict[Key, Thing] = {}
        #: Row of a bundle -> the object that it is in, for rows that are not the first.
        self._rows: dict[Key, Key] = {}

    def put(self, key: Key, thing: Thing) -> None:
        """Keep an object, unless it is there."""
        if key in self.things:
            return
        self.things[key] = thing
        if len(thing.values) > 1:
            id, attempt = key
            assert isinstance(id, int)
            for place in range(1, len(thing.values)):
                self._rows[id + place, attempt] = key

    def discard(self, key: Key) -> None:
        thing = self.things.pop(key, None)
        if thing is not None and len(thing.values) > 1:
            id, attempt = key
            assert isinstance(id, int)
            for place in range(1, len(thing.values)):
                self._rows.pop((id + place, attempt), None)

    def get(self, key: Key) -> Thing | None:
        return self.things.get(self._rows.get(key, key))

    def value(self, key: Key) -> int | None:
        """The value of a task or a row, wherever it is; None if it is not here."""
        home = self._rows.get(key, key)
        thing = self.things.get(home)
        if thing is None:
            return None
        place = key[0] - home[0] if home is not key and home != key else 0  # type: ignore[operator]
        return thing.values[place]

    def has_id(self, id: TaskId) -> Key | None:
        """An object or row of this name, of the newest attempt."""
        found = [key for key in (*self.things, *self._rows) if key[0] == id]
        return max(found, key=lambda key: key[1]) if found else None

    def told(self, held: Held) -> Thing | None:
        return self.things.get((held.id, held.attempt))

    def memory_bytes(self) -> int:
        return sum(thing.nbytes for thing in self.things.values() if not thing.on_disk)
