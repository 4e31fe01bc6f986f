"""Exceptions on their way between processes.

Words always arrive: type, text, notes and traceback go as text. The exception itself goes along
only if it comes back whole, which is tried where it was raised; so a constructor with odd
arguments harms nobody but its own future. The reader raises the original type, with the remote
traceback as its cause, or a `RemoteError` that holds the words.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from treadle.errors import RemoteError, RemoteTraceback
from treadle.serialize._pickling import dumps_home, loads

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedException:
    """An exception that any process can read; only text and bytes in it.

    `pack_exception` makes it, `unpack_exception` turns it back.
    """

    #: `module.qualname` of its class, without the module for builtins.
    type_name: str
    #: Its `str()`, or a note that there is none.
    text: str
    #: Its PEP 678 notes.
    notes: tuple[str, ...]
    #: What Python would have printed, causes and contexts included.
    traceback: str
    #: The exception, if it survives the journey; None otherwise.
    pickled: bytes | None


def pack_exception(exc: BaseException, *, skip_frames: int = 0) -> PackedException:
    """Make an exception ready to travel; never raises.

    Args:
        exc: the exception, with its traceback.
        skip_frames: how many of the outermost frames are the engine's, not the user's.
    """
    return PackedException(
        type_name=_type_name(type(exc)),
        text=_text_of(exc),
        notes=_notes_of(exc),
        traceback=_traceback_of(exc, skip_frames),
        pickled=_pickle_if_it_returns(exc),
    )


def unpack_exception(packed: PackedException) -> BaseException:
    """The original exception, or a `RemoteError` in its place; either has its remote traceback."""
    exc = None if packed.pickled is None else _load_exception(packed.pickled)
    if exc is None:
        exc = RemoteError(packed.type_name, packed.text, packed.notes)
    try:
        exc.__cause__ = RemoteTraceback(packed.traceback)
    except BaseException:  # noqa: BLE001 - a class of the user's may forbid it
        exc = RemoteError(packed.type_name, packed.text, packed.notes)
        exc.__cause__ = RemoteTraceback(packed.traceback)
    return exc


# --- words -------------------------------------------------------------------------------------


def _type_name(cls: type[BaseException]) -> str:
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )


def _text_of(exc: BaseException) -> str:
    try:
        return str(str(exc))
    except BaseException as error:  # noqa: BLE001 - the text of a user's exception is user code
        return f"(its text cannot be shown: str() raised {type(error).__name__})"


def _notes_of(exc: BaseException) -> tuple[str, ...]:
    try:
        return tuple(str(note) for note in getattr(exc, "__notes__", ()))
    except BaseException:  # noqa: BLE001 - __notes__ may be anything
        return ()


def _traceback_of(exc: BaseException, skip_frames: int) -> str:
    try:
        trace: TracebackType | None = exc.__traceback__
        for _ in range(skip_frames):
            trace = trace.tb_next if trace is not None else None
        lines = traceback.TracebackException(type(exc), exc, trace, compact=True).format()
        return "".join(lines).rstrip("\n")
    except BaseException as error:  # noqa: BLE001 - formatting runs user code
        return (
            f"{_type_name(type(exc))}: {_text_of(exc)}\n"
            f"(no traceback: formatting it raised {type(error).__name__})"
        )


# --- the exception itself ----------------------------------------------------------------------


def _pickle_if_it_returns(exc: BaseException) -> bytes | None:
    """The bytes of an exception that is the same after the journey; None if there are none."""
    from treadle.serialize._exceptions import dumps_without_constructors  # noqa: PLC0415

    for pickle_it in (dumps_home, dumps_without_constructors):
        try:
            payload = pickle_it(exc)
            if _is_same(loads(payload), exc):
                return payload
        except BaseException:  # noqa: BLE001 - user code; the next way, or text, will do
            continue
    return None


def _is_same(copy: object, exc: BaseException) -> bool:
    return (
        isinstance(copy, BaseException)
        and _type_name(type(copy)) == _type_name(type(exc))
        and _text_of(copy) == _text_of(exc)
    )


def _load_exception(payload: bytes) -> BaseException | None:
    try:
        exc = loads(payload)
    except BaseException:  # noqa: BLE001 - a constructor of the user's, in another world
        return None
    return exc if isinstance(exc, BaseException) else None
