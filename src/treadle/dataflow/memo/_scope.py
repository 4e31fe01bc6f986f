"""One key in the making: the code it has met, and the parts it has so far.

A function, class or module of the project is not digested where it is met: it gets a name, the
name stands for it, and it becomes a part of its own. So functions may call each other in any
circle, and each is digested once. Names are made without the module, so that code which moved is
still the same code; two of the same name are told apart by number, in the order of discovery.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from treadle.dataflow.memo._scalars import text
from treadle.dataflow.memo._walk import Expander, LeafError, Walk

if TYPE_CHECKING:
    from treadle.dataflow.memo._catalogue import Catalogue


class Part:
    """One part of a key."""

    __slots__ = ("label", "name", "token", "value", "varies")

    def __init__(
        self, label: bytes, name: str, token: bytes, *, value: Any = None, varies: bool = False
    ) -> None:
        #: What it is called in the key.
        self.label = label
        #: What it is called where people read it.
        self.name = name
        self.token = token
        #: Its value, if that may change in place and has to be digested each time.
        self.value = value
        self.varies = varies


class Scope:
    """Names for code, tokens for values.

    Args:
        catalogue: how types are digested.
        base: names that are taken already, by what the scope is built upon.
        content: files by content.
    """

    def __init__(
        self, catalogue: Catalogue, *, base: Scope | None = None, content: bool = False
    ) -> None:
        self._catalogue = catalogue
        self.scalars = catalogue.scalars
        self.plain = catalogue.plain
        self.output_ref = False
        self.content = content
        self._base = base
        self._labels: dict[int, bytes] = {}
        self._taken: dict[str, int] = {}
        self._waiting: deque[tuple[bytes, str, Any]] = deque()
        #: Keeps what has a name alive, so that its id stays its own.
        self._kept: list[Any] = []
        self._walk = Walk(self)

    def expander(self, kind: type) -> Expander:
        """How a value of this exact type is taken apart."""
        return self._catalogue.expander(kind)

    def reference(self, obj: Any, kind: str, name: str) -> bytes:
        """The token that stands for code; it waits to be described if it is new."""
        label = self.label_of(obj)
        if label is None:
            bare = getattr(obj, "__qualname__", None) or name
            label = self.unique(f"{kind} {bare}")
            self.name(obj, label)
            self._waiting.append((label, f"{kind} {name}", obj))
        return b"@" + label

    def name(self, obj: Any, label: bytes) -> None:
        """Give code its name."""
        self._labels[id(obj)] = label
        self._kept.append(obj)

    def label_of(self, obj: Any) -> bytes | None:
        """The name that code has already."""
        label = self._labels.get(id(obj))
        return self._base.label_of(obj) if label is None and self._base else label

    def unique(self, name: str) -> bytes:
        """A label that nothing else has."""
        number = self._count(name) + 1
        self._taken[name] = number
        return text(b"@", name if number == 1 else f"{name}#{number}")

    def _count(self, name: str) -> int:
        count = self._taken.get(name)
        if count is None:
            return self._base._count(name) if self._base else 0
        return count

    def settle(self) -> None:
        """Forget the values that were walked; the names stay."""
        self._walk = Walk(self)

    def release(self, obj: Any) -> None:
        """Do not keep this alive: whoever uses the scope does."""
        self._kept = [kept for kept in self._kept if kept is not obj]

    def next_waiting(self) -> tuple[bytes, str, Any] | None:
        """Code that has a name and no digest yet."""
        return self._waiting.popleft() if self._waiting else None

    def token(self, value: Any) -> bytes:
        """The token of a value.

        Raises:
            LeafError: a part of it has no digest.
        """
        scalar = self.scalars.get(type(value))
        return scalar(value) if scalar is not None else self._walk.token(value)

    def written_token(self, value: Any) -> bytes:
        """The token of what a call will write: files stand for their names."""
        self.output_ref = True
        try:
            return Walk(self).token(value)
        finally:
            self.output_ref = False

    def lenient_token(self, value: Any) -> bytes | None:
        """The token of a value that code reaches; None if it has none."""
        waiting, kept = len(self._waiting), len(self._kept)
        try:
            return self.token(value)
        except (LeafError, Exception):  # noqa: BLE001 - a global's __reduce__ may raise anything
            # What it reached on the way is not reached through it after all.
            while len(self._waiting) > waiting:
                self._waiting.pop()
            for obj in self._kept[kept:]:
                self._labels.pop(id(obj), None)
            del self._kept[kept:]
            self._walk = Walk(self)
            return None
