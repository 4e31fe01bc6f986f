"""`id_for_memo`: what a value is, for the memo table, and how users say so for their types."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any

from treadle.dataflow.memo._catalogue import Catalogue, Registered
from treadle.dataflow.memo._guard import Guard
from treadle.dataflow.memo._plan import Plans
from treadle.dataflow.memo._reach import Reach
from treadle.dataflow.memo._scalars import digest
from treadle.dataflow.memo._scope import Scope
from treadle.dataflow.memo._walk import LeafError
from treadle.errors import MemoKeyError


@singledispatch
def id_for_memo(obj: Any, output_ref: bool = False) -> bytes:
    """Bytes that are equal for equal values and differ for any others.

    All picklable types work without registration. A type that cannot be pickled, or whose
    identity is another than its state, is taught like this; it then holds at any depth of an
    argument:

        @id_for_memo.register(Model)
        def id_of_model(model: Model, output_ref: bool = False) -> bytes:
            return model.checksum

    Args:
        output_ref: the value says where something will be written; its name counts, not what
            is there now.

    Raises:
        MemoKeyError: a part of the value has no identity; the text names the path to it.
    """
    scope = Scope(CATALOGUE)
    try:
        token = scope.written_token(obj) if output_ref else scope.token(obj)
    except LeafError as error:
        path = f"value -> {error.path}" if error.path else "value"
        raise MemoKeyError(
            f"{path} is {error.what}; register its type with id_for_memo.register"
        ) from error.__cause__
    reach = Reach(scope, Guard())
    reach.describe_waiting()
    parts = sorted(part.label + part.token for part in reach.parts)
    return digest(token + b"".join(parts))


_default = id_for_memo.dispatch(object)
_register = id_for_memo.register


def _registered(kind: type) -> Registered | None:
    found = id_for_memo.dispatch(kind)
    return None if found is _default else found


def _register_and_forget(cls: Any, func: Callable[..., bytes] | None = None) -> Any:
    """As `singledispatch` does it, and what was remembered of the type is forgotten."""
    if func is None and isinstance(cls, type):
        return lambda registered: _register_and_forget(cls, registered)
    result: Any = _register(cls, func) if func is not None else _register(cls)
    CATALOGUE.forget()
    return result


#: The one table of types, and of functions, of this process.
CATALOGUE = Catalogue(_registered)
PLANS = Plans(CATALOGUE)

# The attribute is how users know it.
setattr(id_for_memo, "register", _register_and_forget)  # noqa: B010 - mypy sees no such attribute
