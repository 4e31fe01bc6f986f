"""A tree of names and values that clients share. A value is opaque bytes."""

from __future__ import annotations

from typing import Any

from treadle import wire
from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._desks import answer, tell
from treadle.scheduler._shared import Desk
from treadle.wire import MAX_DEPTH, MAX_ITEM

#: Longest name that is shown.
_SHOWN = 60


def set_metadata(books: Books, client: ClientState, desk: Desk, message: wire.SetMetadata) -> None:
    """Set what stands at a path; mappings on the way are made."""
    wrong = _fault(message.value, len(message.path))
    if wrong is None:
        wrong = _set(books, message.path, message.value)
    answer(books, client, message.ask, error=wrong or "")


def get_metadata(books: Books, client: ClientState, desk: Desk, message: wire.GetMetadata) -> None:
    """Tell what stands at a path."""
    here: Any = books.shared.metadata
    for name in message.path:
        if type(here) is not dict or name not in here:
            tell(books, client, message.ask)
            return
        here = here[name]
    tell(books, client, message.ask, here)


def _set(books: Books, path: tuple[str, ...], value: Any) -> str | None:
    if not path:
        if type(value) is not dict:
            return "the whole of the metadata is a mapping: name a path, or give a mapping"
        books.shared.metadata = value
        return None
    here = books.shared.metadata
    for n, name in enumerate(path[:-1]):
        below = here.get(name)
        if below is not None and type(below) is not dict:
            return f"the metadata {_way(path[: n + 1])} is a value: nothing can stand below it"
        if below is None:
            below = here[name] = {}
        here = below
    here[path[-1]] = value
    return None


def _fault(value: Any, depth: int) -> str | None:
    """Why this can be no part of the tree; None if it can."""
    level = [value]
    while level:
        if depth >= MAX_DEPTH:
            return f"metadata is nested deeper than {MAX_DEPTH - 1}"
        depth += 1
        below: list[Any] = []
        for each in level:
            if type(each) is dict:
                if not all(type(name) is str for name in each):
                    return "a name in metadata is no text"
                below += each.values()
            elif type(each) is not bytes:
                return f"metadata has a {type(each).__name__[:_SHOWN]} in it, not bytes"
            elif len(each) > MAX_ITEM:
                return f"a value in metadata has {len(each):,} bytes; at most {MAX_ITEM:,} fit"
        level = below
    return None


def _way(path: tuple[str, ...]) -> str:
    return " / ".join(repr(name[:_SHOWN]) for name in path)
