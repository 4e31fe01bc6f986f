"""From a value to its digest, however deep it is and whatever it contains.

One pass, without recursion: a stack of nodes, Tarjan's numbers to find the rings. Each object is
looked at once, so that an object used a million times costs one look.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from treadle.dataflow.memo._node import Node
from treadle.dataflow.memo._rings import close_ring

if TYPE_CHECKING:
    from treadle.dataflow.memo._scalars import Scalar


class Context(Protocol):
    """What a walk stands in: the table of types, and what code it has met."""

    #: Tokens of values without parts, by exact type.
    scalars: dict[type, Scalar]
    #: Exact types of which `repr` is canonical.
    plain: frozenset[type]
    #: Values stand for what will be written: files by their name.
    output_ref: bool
    #: Files by their content where it is at hand.
    content: bool

    def expander(self, kind: type) -> Expander:
        """How a value of this exact type is taken apart."""

    def reference(self, obj: Any, kind: str, name: str) -> bytes:
        """The token of a function, class or module of the project; it becomes a part."""


#: Gives the node of a value with parts, or the token of one without.
Expander = Callable[[Any, Context], "Node | bytes"]


class CannotDigest(Exception):
    """A value has no digest; the walk adds the path to it and raises `LeafError`."""

    def __init__(self, what: str, cause: BaseException | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.cause = cause


class LeafError(Exception):
    """A value has no digest because of one of its parts."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(path, what)
        #: From the value down, as `.session._lock`; empty for the value itself.
        self.path = path
        self.what = what


class Walk:
    """One walk over any number of values; what it has seen it does not look at again."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seen: dict[int, Node] = {}
        self._open: list[Node] = []
        self._count = 0

    def token(self, root: Any) -> bytes:
        """The token of a value.

        Raises:
            LeafError: a part of it has no digest.
            Exception: what the user's own code raised on the way, unchanged.
        """
        scalar = self._context.scalars.get(type(root))
        if scalar is not None:
            return scalar(root)
        stack: list[Node] = []
        try:
            return self._walk(root, stack)
        except CannotDigest as bad:
            path = "".join(node.name_of_child() for node in stack)
            raise LeafError(path, bad.what) from bad.cause
        finally:
            if stack:  # it ended early: what was open is forgotten
                for node in self._open:
                    self._seen.pop(id(node.obj), None)
                self._open.clear()

    def _walk(self, root: Any, stack: list[Node]) -> bytes:
        first = self._enter(root)
        if isinstance(first, bytes):
            return first
        stack.append(first)
        while True:
            node = stack[-1]
            child = self._advance(node)
            if child is not None:
                stack.append(child)
                continue
            token = self._finish(node)
            stack.pop()
            if not stack:
                assert isinstance(token, bytes)
                return token
            parent = stack[-1]
            parent.tokens.append(token)
            parent.low = min(parent.low, node.low)

    def _enter(self, obj: Any) -> Node | bytes:
        """A node to be walked, or a token if there is nothing to walk."""
        known = self._seen.get(id(obj))
        if known is not None and known.digest is not None:
            return known.digest
        node = self._context.expander(type(obj))(obj, self._context)
        if isinstance(node, bytes):
            return node
        node.index = node.low = self._count = self._count + 1
        self._seen[id(obj)] = node
        self._open.append(node)
        return node

    def _advance(self, node: Node) -> Node | None:
        """Take the tokens of the node's next parts, up to one that must be walked first."""
        scalars, seen, tokens, children = (
            self._context.scalars,
            self._seen,
            node.tokens,
            node.children,
        )
        for i in range(len(tokens), len(children)):
            child = children[i]
            scalar = scalars.get(type(child))
            if scalar is not None:
                tokens.append(scalar(child))
                continue
            known = seen.get(id(child))
            if known is None:
                entered = self._enter(child)
                if isinstance(entered, Node):
                    return entered
                tokens.append(entered)
            elif known.digest is not None:
                tokens.append(known.digest)
            else:
                node.ring = True
                node.low = min(node.low, known.index)
                tokens.append(known)
        return None

    def _finish(self, node: Node) -> bytes | Node:
        """Close the node, and with it its ring if it is the first of one."""
        if node.low < node.index:
            return node
        members = [self._open.pop()]
        while members[-1] is not node:
            members.append(self._open.pop())
        if len(members) == 1 and not node.ring:
            return node.close()
        close_ring(members)
        assert node.digest is not None
        return node.digest
