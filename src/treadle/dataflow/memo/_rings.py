"""Digests of values that contain themselves.

The members of a ring (a strongly connected set of values) have no first one to begin with. So
each gets a colour from its label and from the colours of its parts, again and again until no
more members can be told apart; then the ring is written down once, from its member of the least
colour on, with members named by their number in that text. Equal rings give equal text, wherever
one enters them. Rings that differ never do, since the text is all there is to know.
"""

from __future__ import annotations

from collections.abc import Sequence

from treadle.dataflow.memo._node import Node, join
from treadle.dataflow.memo._scalars import digest

#: More rounds than the longest way round most rings; the text decides what they leave open.
_MAX_ROUNDS = 64


def close_ring(members: Sequence[Node]) -> None:
    """Set the digest of each member."""
    colours = _colours(members)
    first = min(members, key=lambda node: colours[id(node)])
    numbers = {id(first): 0}
    order = [first]
    lines = []
    for node in order:  # grows while it is read
        tokens = []
        for token in _parts(node, colours):
            if isinstance(token, Node) and token.digest is None:
                if id(token) not in numbers:
                    numbers[id(token)] = len(order)
                    order.append(token)
                tokens.append(b"^%x;" % numbers[id(token)])
            else:
                tokens.append(_done(token))
        lines.append(join(node.label, tokens, ordered=True))
    whole = digest(b"".join(lines))
    for node in order:
        node.digest = b"#" + digest(b"ring%x;%b" % (numbers[id(node)], whole))
    for node in members:
        node.tokens = []


def _done(token: bytes | Node) -> bytes:
    if isinstance(token, Node):
        assert token.digest is not None
        return token.digest
    return token


def _parts(node: Node, colours: dict[int, bytes]) -> list[bytes | Node]:
    if node.ordered:
        return node.tokens
    return sorted(
        node.tokens,
        key=lambda token: colours.get(id(token), b"") if isinstance(token, Node) else token,
    )


def _colours(members: Sequence[Node]) -> dict[int, bytes]:
    colours = {id(node): b"?" for node in members}
    told_apart = 0
    for _ in range(_MAX_ROUNDS):
        colours = {id(node): _colour(node, colours) for node in members}
        now = len(set(colours.values()))
        if now == told_apart:
            break
        told_apart = now
    return colours


def _colour(node: Node, colours: dict[int, bytes]) -> bytes:
    tokens = [
        b"^" + colours[id(token)] if isinstance(token, Node) and token.digest is None
        else _done(token)
        for token in node.tokens
    ]  # fmt: skip
    return digest(join(node.label, tokens, ordered=node.ordered))
