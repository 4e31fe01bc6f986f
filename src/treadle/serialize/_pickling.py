"""Turning calls into bytes and back.

Two rules. What a worker can import goes by reference; what it cannot (`__main__`, lambdas,
closures, the modules that lie beside the script) goes by value. And plain pickle is tried first,
since it is several times faster than cloudpickle and most calls need nothing more.

The plain pickler is told of every class and function it is about to name, so it can stop at the
first one that has to travel by value, instead of writing a reference that fails in the worker.
cloudpickle is imported when it is first needed: programs that stay on threads never do.
"""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, TypeVar

from treadle.errors import DeserializationError, SerializationError
from treadle.serialize._modules import PROTOCOL, module_of, reference_through_app, travels_by_value

T = TypeVar("T")


class _NeedsValue(Exception):
    """The plain pickler met something that must travel by value."""


def dumps(obj: object) -> bytes:
    """Pickle by the two rules above.

    Raises:
        Whatever the pickling raises; `dumps_call` is the one that explains.
    """
    try:
        return _plain(obj)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a __reduce__ may raise anything
        # Whatever went wrong, cloudpickle may still manage, and if not, its error is the one
        # that tells why: the plain pickler's may only have been about a lambda.
        from treadle.serialize._by_value import dump_by_value  # noqa: PLC0415 - cloudpickle

        return dump_by_value(obj)


def dumps_home(obj: object) -> bytes:
    """Pickle what goes back to where the call came from: it has all its modules, so names do.

    A class that came here by value goes back by value, and is recognised there.
    """
    try:
        return _plain(obj, home=True)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a __reduce__ may raise anything
        from treadle.serialize._by_value import dump_by_name  # noqa: PLC0415 - cloudpickle

        return dump_by_name(obj)


def loads(payload: bytes) -> Any:
    """Unpickle what `dumps` made.

    Raises:
        DeserializationError: the bytes, or something they name, cannot be loaded; chained.
    """
    try:
        return pickle.loads(payload)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise DeserializationError(
            f"the {len(payload)} bytes of a pickle cannot be loaded here "
            f"({type(error).__name__}: {text_of(error)})"
        ) from error


def guarded(
    pickle_it: Callable[[object], T],
    obj: object,
    explain: Callable[[BaseException], SerializationError],
) -> T:
    """`pickle_it(obj)`, where everything but the user's own Ctrl-C ends as `explain(error)`."""
    try:
        return pickle_it(obj)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and _in_main_thread():
            raise
        raise explain(error) from error


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def text_of(error: BaseException) -> str:
    """What an exception says, if it can."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - the text of a user's exception is user code
        return "(its text cannot be shown)"


# --- the plain pickler -------------------------------------------------------------------------


def _plain(obj: object, *, home: bool = False) -> bytes:
    buffer = io.BytesIO()
    pickler = PlainHome if home else PlainValue
    pickler(buffer, PROTOCOL).dump(obj)
    return buffer.getvalue()


class PlainValue(pickle.Pickler):
    """Stops at what has to travel by value."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (FunctionType, type)):
            module = module_of(obj)
            if module == "__main__" or travels_by_value(module):
                raise _NeedsValue(module)
            return reference_through_app(obj)
        return NotImplemented


class PlainHome(pickle.Pickler):
    """Stops at what has to travel by value even to where it came from."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (FunctionType, type)) and module_of(obj) == "__main__":
            raise _NeedsValue("__main__")
        return NotImplemented


# --- calls -------------------------------------------------------------------------------------

Call = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]


def load_call(payload: bytes) -> Call:
    """The function, its arguments and its keyword arguments, as `dumps_call` was given them."""
    func, args, kwargs = loads(payload)
    return func, args, kwargs
