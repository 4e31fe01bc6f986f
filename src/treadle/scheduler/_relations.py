"""A relation of one object to others, stored as small as it is.

An empty set costs 216 bytes and most relations have no or one member. So a relation is None, the
one object, a tuple of up to eight, and a dictionary beyond. All keep the order of insertion: the
order of a set differs from run to run. The objects are compared by identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

Relation: TypeAlias = Any

_FEW = 8


def add(relation: Relation, member: object) -> Relation:
    """The relation with the member in it. Assign the answer: it may be another object."""
    if relation is None:
        return member
    kind = type(relation)
    if kind is dict:
        relation[member] = None
        return relation
    if kind is tuple:
        if member in relation:
            return relation
        if len(relation) < _FEW:
            return (*relation, member)
        many = dict.fromkeys(relation)
        many[member] = None
        return many
    return relation if relation is member else (relation, member)


def discard(relation: Relation, member: object) -> Relation:
    """The relation without the member. Assign the answer: it may be another object."""
    if relation is None or relation is member:
        return None
    kind = type(relation)
    if kind is dict:
        relation.pop(member, None)
        return relation or None
    if kind is tuple:
        rest = tuple(other for other in relation if other is not member)
        return rest if len(rest) > 1 else rest[0] if rest else None
    return relation


def each(relation: Relation) -> Iterable[Any]:
    """The members, in the order they came. Of a dictionary it is a view: copy it to change it."""
    if relation is None:
        return ()
    kind = type(relation)
    return relation if kind is tuple or kind is dict else (relation,)


def size(relation: Relation) -> int:
    """How many members there are."""
    if relation is None:
        return 0
    kind = type(relation)
    return len(relation) if kind is tuple or kind is dict else 1


def has(relation: Relation, member: object) -> bool:
    """Whether it is a member."""
    if relation is None:
        return False
    kind = type(relation)
    return member in relation if kind is tuple or kind is dict else relation is member


def first(relation: Relation) -> Any:
    """The member that came first; None if there is none."""
    if relation is None:
        return None
    kind = type(relation)
    return next(iter(relation)) if kind is tuple or kind is dict else relation
