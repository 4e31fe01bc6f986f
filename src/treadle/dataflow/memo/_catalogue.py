"""Which types are digested how."""

from __future__ import annotations

import abc
import enum
import logging
import pathlib
import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from treadle.data_provider.files import File
from treadle.dataflow.memo import _arrays, _callables, _containers
from treadle.dataflow.memo._node import Node
from treadle.dataflow.memo._reduce import expand_reduced
from treadle.dataflow.memo._scalars import PLAIN, SCALARS, Scalar, blob, text
from treadle.dataflow.memo._walk import CannotDigest, Context, Expander
from treadle.errors import MemoKeyError


class Registered(Protocol):
    """A function that a user registered for a type."""

    def __call__(self, obj: Any, output_ref: bool = False) -> bytes: ...


class Catalogue:
    """The table from types to ways of digesting them; users' registrations come first.

    Args:
        registered: the function that a user registered for a type, if any.
    """

    def __init__(self, registered: Callable[[type], Registered | None]) -> None:
        self._registered = registered
        self.forget()

    def forget(self) -> None:
        """Look everything up anew: a registration has been made."""
        scalars = {t: f for t, f in SCALARS.items() if self._registered(t) is None}
        self.scalars: dict[type, Scalar] = scalars
        self.plain: frozenset[type] = PLAIN.intersection(scalars)
        self._expanders: dict[type, Expander] = {}
        self._abc_token = abc.get_cache_token()

    def refresh(self) -> None:
        """Forget if a class was registered with an abstract one since."""
        if abc.get_cache_token() != self._abc_token:
            self.forget()

    def expander(self, kind: type) -> Expander:
        """How a value of this exact type is taken apart."""
        known = self._expanders.get(kind)
        if known is None:
            known = self._expanders[kind] = self._find(kind)
        return known

    def _find(self, kind: type) -> Expander:
        user = self._registered(kind)
        if user is not None:
            return _by_user(kind, user)
        exact = _EXACT.get(kind)
        if exact is not None:
            return exact
        for base, expander in _BASES:
            if issubclass(kind, base):
                return expander
        if kind.__module__.startswith("treadle.") and "__call__" in dir(kind):
            return _callables.expand_app
        if _containers.is_set_like(kind):
            return _containers.expand_set_like
        return _arrays.expander_of(kind, sys.modules.get("numpy")) or expand_reduced


def _by_user(kind: type, user: Registered) -> Expander:
    name = f"{kind.__module__}.{kind.__qualname__}"

    def expand(obj: Any, context: Context) -> bytes:
        identity = user(obj, output_ref=context.output_ref)
        if not isinstance(identity, bytes):
            raise MemoKeyError(
                f"the function registered with id_for_memo for {name} returned "
                f"{type(identity).__name__}; it must return bytes"
            )
        return text(b"u", name) + blob(b":", identity)

    return expand


def _expand_enum(obj: Any, _: Context) -> Node:
    return Node(obj, b"enum", (type(obj), obj._name_, obj._value_))


def _expand_file(obj: File, context: Context) -> bytes:
    if context.content and not context.output_ref:
        # A staged copy may not be there yet when the key is made, or be an old one.
        content = _containers.digest_of_file(obj.path) if obj.scheme == "file" else None
        if content:
            return b"W" + content
    return text(b"w", obj.url)


def _expand_path(obj: pathlib.PurePath, _: Context) -> Node:
    return Node(obj, text(b"p", str(obj)), (type(obj),))


def _expand_logger(obj: logging.Logger, _: Context) -> bytes:
    return text(b"l", obj.name)


def _expand_future(obj: Future[Any], _: Context) -> Node:
    raise CannotDigest(
        f"a {type(obj).__name__}, whose result is not known here; pass it as an argument of its "
        "own, or let the kernel look inside lists with its deep resolver"
    )


_EXACT: dict[type, Expander] = {**_containers.EXACT, **_callables.EXACT}

#: Tried in this order.
_BASES: tuple[tuple[type, Expander], ...] = (
    (type, _callables.expand_class),
    (enum.Enum, _expand_enum),
    (File, _expand_file),
    (Future, _expand_future),
    (pathlib.PurePath, _expand_path),
    (logging.Logger, _expand_logger),
)
