"""Digests of values that contain themselves.

The members of a ring (a strongly connected set of values) have no first one to begin with. So
each gets a colour from its label and from the colours of its parts, again and again until no
more members can be told apart. Then the ring is written down once, from the least colour on, one
line for each colour, in which parts are named by the number of their line. Equal rings give equal
text, wherever one enters them. Rings that differ never do, since the text is all there is to know.

Members of one colour are equal, whatever their number: as everywhere here, what counts is what
one finds by following parts, not how many copies there are of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from treadle.dataflow.memo._node import Node, join
from treadle.dataflow.memo._scalars import digest

#: The longest way round most rings. In longer ones each member has a line of its own: exact, too,
#: but of two equal rings that are symmetric one may be taken for another, and run again.
_MAX_ROUNDS = 64


def close_ring(members: Sequence[Node]) -> None:
    """Set the digest of each member."""
    colours, settled = _colours(members)
    lines = {id(node): colours[id(node)] if settled else id(node) for node in members}
    first = min(members, key=lambda node: colours[id(node)])
    numbers: dict[bytes | int, int] = {lines[id(first)]: 0}
    order = [first]
    written = []
    for node in order:  # grows while it is read
        tokens = []
        for token in _parts(node, colours):
            if isinstance(token, Node) and token.digest is None:
                line = lines[id(token)]
                if line not in numbers:
                    numbers[line] = len(order)
                    order.append(token)
                tokens.append(b"^%x;" % numbers[line])
            else:
                tokens.append(_done(token))
        written.append(join(node.label, tokens, ordered=True))
    whole = digest(b"".join(written))
    for node in members:
        node.digest = b"#" + digest(b"ring%x;%b" % (numbers[lines[id(node)]], whole))
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


def _colours(members: Sequence[Node]) -> tuple[dict[int, bytes], bool]:
    """A colour for each member, and whether members of one colour are equal."""
    colours = {id(node): b"?" for node in members}
    told_apart = 0
    for _ in range(_MAX_ROUNDS):
        colours = {id(node): _colour(node, colours) for node in members}
        now = len(set(colours.values()))
        if now == told_apart:
            return colours, True
        told_apart = now
    return colours, False


def _colour(node: Node, colours: dict[int, bytes]) -> bytes:
    tokens = [
        b"^" + colours[id(token)] if isinstance(token, Node) and token.digest is None
        else _done(token)
        for token in node.tokens
    ]  # fmt: skip
    return digest(join(node.label, tokens, ordered=node.ordered))
