"""The key of a call.

A key is the digest of its parts: the function's code, the project's code and the values that it
reaches, the arguments by value, Python's minor version. Whatever may change the result changes a
part, and whatever cannot does not: comments, line numbers, docstrings, how arguments are passed,
the order of dicts and sets, the process and its hash seed.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from treadle.dataflow.memo._callables import EXTRA, TARGET
from treadle.dataflow.memo._guard import Guard
from treadle.dataflow.memo._plan import PYTHON, Plan, Plans
from treadle.dataflow.memo._reach import Reach
from treadle.dataflow.memo._scalars import blob, digest, short, text
from treadle.dataflow.memo._scope import Scope
from treadle.dataflow.memo._walk import LeafError
from treadle.errors import MemoKeyError

if TYPE_CHECKING:
    from treadle.dataflow.futures import PutFuture
    from treadle.dataflow.memo._catalogue import Catalogue

    Puts = Mapping[int, PutFuture[Any]]

#: How a task is run, not what it computes; left out unless the function itself looks at them.
_SCHEDULING = frozenset({"parsl_resource_specification", "walltime", "label"})
_OWN_PREFIX = "treadle_"
_STREAMS = frozenset({"stdout", "stderr"})
#: Taken from the call even if the function does not declare them.
_SPECIAL = _SCHEDULING | _STREAMS | {"inputs", "outputs"}
#: The value that asks for an automatic name.
_AUTOMATIC = -1
_MAX_UNWRAPPED = 100

_LRU_CACHE = type(functools.lru_cache(lambda: None))


class MemoKey:
    """A key and what it was made of."""

    __slots__ = ("_own", "app", "digest", "fixed", "fixed_id")

    def __init__(
        self,
        digest: str,
        app: str,
        *,
        own: Sequence[tuple[str, bytes]] = (),
        fixed: Mapping[str, bytes] | None = None,
        fixed_id: str = "",
    ) -> None:
        #: 64 hexadecimal digits.
        self.digest = digest
        #: Name of the app.
        self.app = app
        self._own = own
        #: Parts that all calls of the app share, while its code stays the same.
        self.fixed: Mapping[str, bytes] = fixed or {}
        self.fixed_id = fixed_id

    @property
    def own(self) -> dict[str, bytes]:
        """The parts of this call alone, each as eight bytes."""
        return {name: short(token) for name, token in self._own}

    @property
    def parts(self) -> dict[str, bytes]:
        """All parts, each as eight bytes: equal bytes, equal part."""
        return {**self.fixed, **self.own}

    def __str__(self) -> str:
        return self.digest

    def __repr__(self) -> str:
        return f"MemoKey({self.digest[:12]}... of {self.app}: {', '.join(sorted(self.parts))})"


class KeyMaker:
    """Makes keys. Thread-safe.

    Args:
        catalogue: how types are digested.
        plans: what is remembered of functions.
        content: files stand for their content, where that is on this machine.
    """

    def __init__(self, catalogue: Catalogue, plans: Plans, *, content: bool = False) -> None:
        self._catalogue = catalogue
        self._plans = plans
        self._content = content
        #: Where automatic names for stdout and stderr lead.
        self.log_dir = ""

    def make(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        ignore: Collection[str] = (),
        puts: Puts | None = None,
    ) -> MemoKey:
        """The key of `func(*args, **kwargs)`.

        Args:
            func: the function, or what stands for it.
            args: its positional arguments.
            kwargs: its keyword arguments.
            ignore: names of arguments that do not count.
            puts: values that were named once, by id: their tokens are made once.

        Raises:
            MemoKeyError: an argument has no digest.
        """
        self._catalogue.refresh()
        target, args, kwargs, tag = _unwrap(func, args, kwargs)
        if type(target) is not FunctionType:
            return self._of_other(target, args, kwargs, tag, ignore)
        plan = self._plans.get(target, tag)
        hasher = plan.hasher()
        draft = _Draft(self._catalogue, plan.name, plan.scope, content=self._content)
        for part in plan.varying:
            draft.add_reached(part.label, part.name, part.value)
        for label, name, value in self._arguments(plan, args, kwargs, ignore):
            put = None if puts is None else puts.get(id(value))
            token = None if put is None else self._token_of_put(put)
            draft.add_argument(label, name, value, token)
        draft.add_discovered()
        hasher.update(b"".join(draft.pieces))
        return MemoKey(
            hasher.hexdigest(), plan.name, own=draft.own, fixed=plan.fixed, fixed_id=plan.fixed_id
        )

    def _token_of_put(self, put: PutFuture[Any]) -> bytes | None:
        """The token of a value that was put; None if code that it holds must be described too."""
        if put.digest is None or put.digest[0] is not self._content:
            scope = Scope(self._catalogue, content=self._content)
            try:
                token = scope.token(put.result())
            except LeafError:
                return None  # it is met again as an argument, whose name the error needs
            if scope.next_waiting() is not None:
                return None
            put.digest = (self._content, token)
        return put.digest[1]

    def _of_other(
        self,
        target: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        tag: bytes,
        ignore: Collection[str],
    ) -> MemoKey:
        """The key of a call of a class, or of something written in C."""
        name = getattr(target, "__name__", type(target).__name__)
        draft = _Draft(self._catalogue, name, None, content=self._content)
        draft.add_argument("", "code", target)
        for label, shown, value in _raw(args, kwargs):
            bare = label.lstrip("#")
            if bare not in ignore and not self._is_left_out(bare, value, None):
                draft.add_argument(label, shown, value)
        draft.add_discovered()
        pieces = text(b"other", PYTHON) + tag + b"".join(draft.pieces)
        return MemoKey(digest(pieces).hex(), name, own=draft.own)

    def _arguments(
        self,
        plan: Plan,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        ignore: Collection[str],
    ) -> Iterator[tuple[str, str, Any]]:
        """Label, shown name and value of each argument that counts."""
        declared = plan.signature.declared
        aside: dict[str, Any] = {}
        if kwargs:
            aside = {
                name: value
                for name, value in kwargs.items()
                if name not in declared and (name in _SPECIAL or name.startswith(_OWN_PREFIX))
            }
            if aside:
                kwargs = {name: value for name, value in kwargs.items() if name not in aside}
        found = plan.signature.bind(args, kwargs)
        if found is None:
            for label, shown, value in _raw(args, kwargs):
                if label not in ignore and not self._is_left_out(label, value, plan):
                    yield label, shown, value
        else:
            bound, left_out = found
            for name, value in bound.items():
                bare = name.lstrip("*")
                if bare not in ignore and not self._is_left_out(bare, value, plan):
                    yield name, f"{'default' if name in left_out else 'arg'} {name}", value
        for name in sorted(aside):
            if name not in ignore and not self._is_left_out(name, aside[name], plan):
                yield f"**{name}", f"arg {name}", aside[name]

    def _is_left_out(self, name: str, value: Any, plan: Plan | None) -> bool:
        if name in _SCHEDULING:
            # Unless the function looks at it: then its result may depend on it.
            return plan is None or not (name in plan.signature.declared and name in plan.reads)
        if name in _STREAMS:
            return value is None or value is _AUTOMATIC or self.is_automatic(value)
        return name.startswith(_OWN_PREFIX)

    def is_automatic(self, value: Any) -> bool:
        """Whether a file for a stream has a name that the kernel made."""
        if isinstance(value, tuple) and value:
            value = value[0]
        if not self.log_dir or not isinstance(value, (str, os.PathLike)):
            return False
        try:
            return os.path.abspath(os.fspath(value)).startswith(self.log_dir)
        except (TypeError, ValueError):
            return False


class _Draft:
    """A key while its parts come in."""

    __slots__ = ("_app", "_base", "_catalogue", "_content", "_scope", "own", "pieces")

    def __init__(
        self, catalogue: Catalogue, app: str, base: Scope | None, *, content: bool
    ) -> None:
        self._catalogue = catalogue
        self._app = app
        self._base = base
        self._content = content
        self._scope: Scope | None = None
        self.own: list[tuple[str, bytes]] = []
        self.pieces: list[bytes] = []

    def add_argument(self, label: str, name: str, value: Any, token: bytes | None = None) -> None:
        scalar = self._catalogue.scalars.get(type(value))
        if scalar is not None:
            token = scalar(value)
        elif token is None:
            try:
                scope = self._values()
                written = name == "arg outputs" or name == "default outputs"
                token = scope.written_token(value) if written else scope.token(value)
            except LeafError as error:
                raise self._explain(name, error) from error.__cause__
        self.own.append((name, token))
        self.pieces.append(text(b"=", label) + token)

    def add_reached(self, label: bytes, name: str, value: Any) -> None:
        """A value that the code reaches, and that may have changed in place."""
        token = self._values().lenient_token(value)
        if token is None:
            token = text(b"?", f"{type(value).__module__}.{type(value).__qualname__} {name}")
        self.own.append((name, token))
        self.pieces.append(label + token)

    def add_discovered(self) -> None:
        """The project's code that came with the values."""
        if self._scope is None:
            return
        reach = Reach(self._scope, Guard())
        reach.describe_waiting()
        for part in sorted(reach.parts, key=lambda part: part.label):
            self.own.append((part.name, part.token))
            self.pieces.append(part.label + part.token)

    def _values(self) -> Scope:
        if self._scope is None:
            self._scope = Scope(self._catalogue, base=self._base, content=self._content)
        return self._scope

    def _explain(self, name: str, error: LeafError) -> MemoKeyError:
        kind, _, bare = name.partition(" ")
        what = {"arg": "argument", "default": "the default of"}.get(kind, kind)
        where = f"{what} {bare.lstrip('*')!r}" if bare else "the function"
        path = f"{where} -> {error.path} is" if error.path else f"{where} is"
        return MemoKeyError(
            f"the memo key of {self._app!r} cannot be computed: {path} {error.what}; register "
            f"its type with id_for_memo.register, or name the argument in ignore_for_cache"
        )


def _unwrap(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Any, Sequence[Any], Mapping[str, Any], bytes]:
    """What a call comes down to: a function, all of its arguments, and a tag of its kind."""
    tag = b""
    for _ in range(_MAX_UNWRAPPED):
        if type(func) is FunctionType and not func.__dict__:
            break
        target = getattr(func, TARGET, None)
        if target is not None:
            tag += _extra(getattr(func, EXTRA, None))
            func = target
        elif type(func) is functools.partial:
            func, args, kwargs = func.func, (*func.args, *args), {**func.keywords, **kwargs}
        elif type(func) is MethodType:
            func, args = func.__func__, (func.__self__, *args)
        elif type(func) is _LRU_CACHE:
            func = func.__wrapped__
        elif _is_app(func):
            tag += _extra(type(func).__name__)
            func = func.func
        elif type(func) is not FunctionType and type(type(func).__call__) is FunctionType:
            func, args = type(func).__call__, (func, *args)
        else:
            break
    return func, args, kwargs, tag


def _is_app(func: Any) -> bool:
    return type(func).__module__.startswith("treadle.") and hasattr(func, "func")


def _extra(extra: Any) -> bytes:
    if extra is None:
        return b""
    return text(b"+", extra) if isinstance(extra, str) else blob(b"+", bytes(extra))


def _raw(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for i, value in enumerate(args):
        yield f"#{i}", f"arg {i}", value
    for name in sorted(kwargs):
        yield name, f"arg {name}", kwargs[name]
