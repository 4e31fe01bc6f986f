"""Calls as they travel: which function, by its digest, and its arguments in bytes.

Two rules. A function is pickled once, for as long as what it names stays what it is: for each
function object its digest is kept, with the globals, cells and defaults that it was pickled with;
if one of them is another object now, it is pickled anew. And what is large goes once: an argument
over `HOIST_BYTES` becomes an object of its own, which the call names.

All of this happens in the caller's thread, since it runs code of the user's.
"""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Protocol

from treadle.cluster._call_names import MISSING, TooMuch, identity, look, named_by
from treadle.dataflow.futures import PutFuture
from treadle.errors import SerializationError
from treadle.serialize import CallSpec, dumps, dumps_call, encode_spec, pack
from treadle.serialize._modules import PROTOCOL
from treadle.wire import DIGEST_BYTES

if TYPE_CHECKING:
    from treadle.serialize import Packed

#: An argument above this goes as an object of its own.
HOIST_BYTES: Final = 256 * 1024
#: Code above this goes as an object, too: it has data in it.
_MOST_CODE: Final = 1024 * 1024
#: Most functions whose digests are remembered.
_FUNCTIONS: Final = 4096

_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, complex})

#: Gives the number of the task that an argument stands for, or a key that a user chose.
NumberOf = Callable[[Any], int | str | None]


class _Here(threading.local):
    """What this thread does."""

    #: Arguments are pickled as if there were no futures in them: who finds himself pickled so, and
    #: stands for a result, raises TypeError, and is named by his number at the next attempt.
    arguments = False


HERE: Final = _Here()


class Depot(Protocol):
    """Where a packer leaves what does not go with the call."""

    @property
    def base(self) -> int:
        """The identifier of task 0."""

    def keep_code(self, digest: bytes, name: str, payload: bytes) -> None:
        """A function that calls name from now on."""

    def keep_data(self, value: Any, *, constant: object | None) -> int:
        """An object that a call names; its identifier. It stays until `drop_data`.

        Args:
            constant: what the value is recognised by the next time; None: by its bytes.
        """

    def known_data(self, constant: object) -> int | None:
        """The identifier of what was kept for this constant; None if nothing is."""

    def drop_data(self, ids: tuple[int, ...]) -> None:
        """The call that named these is gone."""

    def kept(self, number: int | str) -> Any:
        """The result of a task of a scheduler that is gone, if it is here; else None."""


class Call:
    """A call that is more than its bytes. The objects that it names are kept while it lives."""

    __slots__ = ("_depot", "embedded", "spec", "uses")

    def __init__(
        self, spec: bytes, uses: tuple[int, ...], depot: Depot, embedded: tuple[int | str, ...] = ()
    ) -> None:
        self.spec = spec
        self.uses = uses
        #: Tasks whose results are in it as values, for their scheduler is gone.
        self.embedded = embedded
        self._depot = depot

    def __del__(self) -> None:
        self._depot.drop_data(self.uses)


class Ref:
    """Stands in the arguments of a call for what has this identifier: an object, or a result."""

    __slots__ = ("id", "value")

    def __init__(self, id: int) -> None:
        #: 0: it stands for a value.
        self.id = id
        self.value: Any = None

    def __reduce__(self) -> Any:
        return itself, (self.value,)


def itself(value: Any) -> Any:
    """The value."""
    return value


#: What a pickler writes by itself, and what it asks a name for.
_NAMED: Final = frozenset({*_PLAIN, Ref})


def _id_of(obj: object) -> int | None:
    return (obj.id or None) if type(obj) is Ref else None


class _Known:
    """A function that has been pickled."""

    __slots__ = ("digest", "func", "named")

    def __init__(self, func: Callable[[], Any], digest: bytes, named: Sequence[tuple[Any, ...]]):
        #: Gives the function, while it lives.
        self.func = func
        self.digest = digest
        #: What it names: where it stands, its name there, and what that was.
        self.named = named

    def is_true(self) -> bool:
        """Whether all that it names is what it was."""
        for where, name, what in self.named:
            if type(where) is dict:
                if where.get(name, MISSING) is not what:
                    return False
            elif look(where, name) is not what:
                return False
        return True


class CallPacker:
    """Packs the calls of one session."""

    def __init__(self, depot: Depot, hoist_bytes: int = HOIST_BYTES) -> None:
        self._depot = depot
        self._hoist_bytes = hoist_bytes
        self._known: dict[object, _Known] = {}

    def pack(
        self,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        number_of: NumberOf | None = None,
        writable: bool = False,
    ) -> bytes | Call:
        """The call as it travels; see `TaskSink.pack`.

        Raises:
            SerializationError: something in it cannot be pickled; the text has the path.
        """
        known = self._known.get(id(func))
        if known is not None and known.func() is func and (not known.named or known.is_true()):
            digest = known.digest
        else:
            digest = self._digest(func, args, kwargs)
        if digest:
            for value in args:
                if type(value) not in _PLAIN:
                    break
            else:
                if not kwargs or _PLAIN.issuperset(map(type, kwargs.values())):
                    payload = pickle.dumps((tuple(args), dict(kwargs)), PROTOCOL)
                    if len(payload) <= self._hoist_bytes:
                        return encode_spec(CallSpec(digest, payload, "", writable))
        return _Packing(self._depot, self._hoist_bytes, number_of).pack(
            func, digest, tuple(args), dict(kwargs), writable
        )

    def pack_refs(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        number_of: NumberOf,
    ) -> bytes | Call:
        """The same where there are `Ref`s among the arguments, or inside of them."""
        known = self._known.get(id(func))
        if known is not None and known.func() is func and (not known.named or known.is_true()):
            digest = known.digest
        else:
            digest = self._digest(func, args, kwargs)
        if digest and not kwargs and _NAMED.issuperset(map(type, args)):
            buffer = io.BytesIO()
            pickler = pickle.Pickler(buffer, PROTOCOL)
            pickler.persistent_id = _id_of  # type: ignore[method-assign]
            pickler.dump((args, {}))
            if buffer.tell() <= self._hoist_bytes:
                return encode_spec(CallSpec(digest, buffer.getvalue(), "", False))
        packing = _Packing(self._depot, self._hoist_bytes, number_of)
        packing.has_refs = True
        return packing.pack(func, digest, args, dict(kwargs), False)

    def pack_rows(self, rows: Sequence[tuple[Any, ...]]) -> list[bytes]:
        """Positional arguments of rows of a map, each on its own."""
        dump = pickle.dumps
        packed = []
        for row in rows:
            for value in row:
                if type(value) not in _PLAIN:
                    packed.append(_row(row))
                    break
            else:
                packed.append(dump(row, PROTOCOL))
        return packed

    # --- functions ---------------------------------------------------------------------------

    def _digest(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """The digest of a function that is new or has changed; empty: it goes with its call."""
        key, keep, inner = identity(func)
        if key is None:
            return b""
        known = self._known.get(key)
        if known is not None and key != id(func) and known.is_true():
            return known.digest
        try:
            # Before it is pickled: what changes meanwhile is seen the next time.
            named = list(named_by(inner))
            payload = dumps(func)
        except TooMuch:
            return b""
        except KeyboardInterrupt:
            raise
        except BaseException:
            dumps_call(func, (), {})
            raise
        if len(payload) > _MOST_CODE:
            return b""
        digest = blake2b(payload, digest_size=DIGEST_BYTES).digest()
        self._depot.keep_code(digest, _name_of(func), payload)
        if len(self._known) >= _FUNCTIONS:
            self._known.clear()
        self._known[key] = _Known(keep, digest, named)
        return digest


class _Packing:
    """One call whose arguments are not all plain."""

    def __init__(self, depot: Depot, hoist_bytes: int, number_of: NumberOf | None) -> None:
        self._depot = depot
        self._hoist_bytes = hoist_bytes
        self._number_of = number_of
        self._uses: dict[int, None] = {}
        self._embedded: dict[int | str, None] = {}
        self.has_refs = False

    def pack(
        self,
        func: Callable[..., Any],
        digest: bytes,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        writable: bool,
    ) -> bytes | Call:
        args = tuple([self._stand_in(value) for value in args])
        kwargs = {key: self._stand_in(value) for key, value in kwargs.items()}
        try:
            call = (args, kwargs) if digest else (func, args, kwargs)
            packed = self._pickled(call)
            if packed.nbytes > self._hoist_bytes:
                args = tuple([self._hoisted(value) for value in args])
                kwargs = {key: self._hoisted(value) for key, value in kwargs.items()}
                target = func if digest else self._hoisted(func)
                packed = self._pickled((args, kwargs) if digest else (target, args, kwargs))
            spec = CallSpec(digest, packed.to_bytes(), "" if digest else _name_of(func), writable)
            data = encode_spec(spec)
        except SerializationError as error:
            self._depot.drop_data(tuple(self._uses))
            self._explain(func, args, kwargs, error)
            raise
        except BaseException:
            self._depot.drop_data(tuple(self._uses))
            raise
        if self._uses or self._embedded:
            return Call(data, tuple(self._uses), self._depot, tuple(self._embedded))
        return data

    def _stand_in(self, value: Any) -> Any:
        """What goes in the place of an argument."""
        if isinstance(value, PutFuture):
            return self._constant(value, value._result)
        if isinstance(value, Future):
            self.has_refs = True
            if self._number_of is not None:
                number = self._number_of(value)
                if number is not None and (kept := self._depot.kept(number)) is not None:
                    self._embedded[number] = None
                    return kept.load()
        elif type(value) is list or type(value) is tuple:
            # Such as `inputs`: only whether there is a future among them.
            if any(isinstance(item, Future) for item in value):
                self.has_refs = True
        elif type(value) is bytes and len(value) > self._hoist_bytes:
            return self._constant(value, value)
        return value

    def _pickled(self, value: Any) -> Any:
        if self.has_refs or self._uses:
            return pack(value, home=False, persistent_id=self._persistent_id)
        try:
            return _without_futures(value)
        except SerializationError:
            if self._number_of is None:
                raise
            # There may be a future deep inside.
            self.has_refs = True
            return pack(value, home=False, persistent_id=self._persistent_id)

    def _persistent_id(self, obj: Any) -> Any:
        if type(obj) is Ref:
            return obj.id or None
        if self._number_of is not None and isinstance(obj, Future):
            number = self._number_of(obj)
            if number is not None:
                return number if isinstance(number, str) else self._depot.base + number
        return None

    def _hoisted(self, value: Any) -> Any:
        """The argument, or what stands for it if it is large."""
        if type(value) in _PLAIN and type(value) not in (str, bytes):
            return value
        if type(value) is Ref or isinstance(value, Future):
            return value
        if is_constant(value):
            return self._constant(value, value)
        try:
            packed = _without_futures(value)
        except SerializationError:
            return value  # it has a future in it, or what the second attempt will tell
        if packed.nbytes <= self._hoist_bytes:
            return value
        return self._keep(packed, None)

    def _constant(self, constant: object, value: Any) -> Any:
        """A value that never changes: recognised by what it is."""
        known = self._depot.known_data(constant)
        if known is not None:
            return self._ref(known)
        packed = pack(value, home=False)
        if packed.nbytes <= self._hoist_bytes:
            return value
        return self._keep(packed, constant)

    def _keep(self, packed: Any, constant: object | None) -> Ref:
        return self._ref(self._depot.keep_data(packed, constant=constant))

    def _ref(self, id: int) -> Ref:
        if id in self._uses:
            self._depot.drop_data((id,))  # once for each call
        self._uses[id] = None
        return Ref(id)

    def _explain(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException
    ) -> None:
        """Raise an error that names the argument, if it can be found."""

        def without(value: Any) -> Any:
            stands_for_task = isinstance(value, Future) and self._number_of is not None
            if type(value) is Ref or (stands_for_task and self._number_of(value) is not None):  # type: ignore[misc]
                return None
            return value

        try:
            dumps_call(func, [without(a) for a in args], {k: without(v) for k, v in kwargs.items()})
        except SerializationError as better:
            raise better from error


def is_constant(value: Any) -> bool:
    """Whether a value can never change: bytes, or an array that is read-only down to its base."""
    if type(value) is bytes or type(value) is str:
        return True
    while type(value).__name__ == "ndarray" and type(value).__module__ == "numpy":
        if value.flags.writeable:
            return False
        if value.base is None:
            return bool(value.flags.owndata)
        value = value.base
    return type(value) is bytes


def _without_futures(value: Any) -> Packed:
    """The value, packed; raises as `pack` if there is a future in it."""
    was = HERE.arguments
    HERE.arguments = True
    try:
        return pack(value, home=False)
    finally:
        HERE.arguments = was


def _row(row: tuple[Any, ...]) -> bytes:
    return _without_futures(row).to_bytes()


def _name_of(func: Any) -> str:
    name = getattr(func, "__name__", None)
    return (name if isinstance(name, str) else type(func).__name__)[:512]
