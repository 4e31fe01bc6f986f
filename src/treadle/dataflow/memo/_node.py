"""A value with parts, while its digest is being made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from treadle.dataflow.memo._scalars import digest

#: Names the i-th part of a value as a program would: `[3]`, `['key']`, `.attribute`.
Namer = Callable[[int], str]


class Node:
    """One value: what it is, its parts, and whether their order matters.

    Nodes are compared by their label and the tokens of their parts; a node that is its own part,
    by whatever way, is a node among the tokens until its ring is closed.
    """

    __slots__ = (
        "children",
        "digest",
        "index",
        "label",
        "low",
        "namer",
        "obj",
        "ordered",
        "ring",
        "tokens",
    )

    def __init__(
        self,
        obj: object,
        label: bytes,
        children: Sequence[Any],
        *,
        ordered: bool = True,
        namer: Namer | None = None,
    ) -> None:
        #: Kept alive, so that no other object gets its id while the walk lasts.
        self.obj = obj
        self.label = label
        self.children = children
        self.ordered = ordered
        self.namer = namer
        #: One for each child that is done; a node stands for a child in the same ring.
        self.tokens: list[bytes | Node] = []
        #: Set once its ring is closed.
        self.digest: bytes | None = None
        # Tarjan's numbers.
        self.index = 0
        self.low = 0
        self.ring = False

    def name_of_child(self) -> str:
        """The part that is being looked at."""
        return self.namer(len(self.tokens)) if self.namer else ""

    def close(self) -> bytes:
        """The digest of a node that is in no ring."""
        tokens: list[bytes] = self.tokens  # type: ignore[assignment]  # no ring, so no nodes
        self.digest = b"#" + digest(join(self.label, tokens, ordered=self.ordered))
        self.tokens = []
        return self.digest


def join(label: bytes, tokens: list[bytes], *, ordered: bool) -> bytes:
    """Label and tokens as bytes that no other label and tokens give."""
    if not ordered:
        tokens = sorted(tokens)
    return b"%x:%b%x:%b" % (len(label), label, len(tokens), b"".join(tokens))
