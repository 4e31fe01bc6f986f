"""Failures on the wire and the exceptions they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from treadle.errors import (
    ActorLost,
    AppTimeout,
    InternalError,
    KeyConflict,
    RemoteError,
    ResultLost,
    TaskDied,
    TaskMemoryExceeded,
    TaskUnfit,
)
from treadle.serialize import PackedException, unpack_exception
from treadle.wire import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a message may hold of a text; the rest is cut.
_MOST_TEXT = 16 * 1024
_MOST_PICKLED = 1 << 20

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(PackedException)


def failure_of(packed: PackedException) -> Failure:
    """The failure that says what an exception said, within the bounds of a message."""
    pickled = packed.pickled
    if pickled is not None and len(pickled) > _MOST_PICKLED:
        pickled = None
    short = PackedException(
        type_name=_clip(packed.type_name, 512),
        text=_clip(packed.text),
        notes=tuple(_clip(note, 1024) for note in packed.notes[:16]),
        traceback=_clip(packed.traceback),
        pickled=pickled,
    )
    return Failure("exception", short.type_name, short.text, _ENCODER.encode(short))


def error_of(failure: Failure, task: str) -> BaseException:
    """The exception that a failure stands for. Runs code of the user's.

    Args:
        task: what the task is called, for errors that are not its own.
    """
    if failure.kind == "exception" and failure.pickled is not None:
        try:
            packed = _DECODER.decode(failure.pickled)
        except msgspec.ValidationError:
            return RemoteError(failure.type, failure.text)
        return unpack_exception(packed)
    make = _ERRORS.get(failure.kind)
    if make is None:
        return RemoteError(failure.type, failure.text)
    return make(failure, task)


def _died(failure: Failure, task: str) -> BaseException:
    return TaskDied(task, failure.exit_code, f"{task}: {failure.text}")


_ERRORS: dict[str, Callable[[Failure, str], BaseException]] = {
    "killed": _died,
    "lost": lambda failure, task: ResultLost(f"{task}: {failure.text}"),
    "memory": lambda failure, task: TaskMemoryExceeded(f"{task}: {failure.text}"),
    "walltime": lambda failure, task: AppTimeout(f"{task}: {failure.text}"),
    "actor": lambda failure, task: ActorLost(f"{task}: {failure.text}"),
    "key": lambda failure, task: KeyConflict(f"{task}: {failure.text}"),
    "unfit": lambda failure, task: TaskUnfit(f"{task}: {failure.text}"),
    "internal": lambda failure, task: InternalError(f"{task}: {failure.text}"),
}


def _clip(text: str, most: int = _MOST_TEXT) -> str:
    if len(text.encode("utf-8", "surrogatepass")) <= most:
        return text.encode("utf-8", "replace").decode()
    data = text.encode("utf-8", "replace")
    return (
        data[: most // 2].decode("utf-8", "ignore")
        + " [...] "
        + data[len(data) - most // 2 :].decode("utf-8", "ignore")
    )
