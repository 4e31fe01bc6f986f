"""A call as bytes: pickled once, run as often as its task is tried.

`PackedCall` is what an executor in another process is handed in place of function and arguments.
It returns an `Outcome` and never raises, so no pool ever has to move an exception itself;
`unwrap_outcome` opens it in the process that waits.
"""

from __future__ import annotations

from typing import Any

from treadle.serialize._failure import (
    PackedException,
    pack_exception,
    unpack_exception,
)
from treadle.serialize._pickling import load_call, loads
from treadle.serialize._unpicklable import dumps_result

#: What every pickler moves as it is, at no cost worth a second pickle.
_PLAIN_TYPES = frozenset({type(None), bool, int, float, str, bytes})


class Outcome:
    """How a `PackedCall` ended: a plain value, a pickled value, or an exception in words."""

    __slots__ = ("failure", "pickled", "value")

    def __init__(
        self,
        value: Any = None,
        pickled: bytes | None = None,
        failure: PackedException | None = None,
    ) -> None:
        self.value = value
        self.pickled = pickled
        self.failure = failure

    def __reduce__(self) -> tuple[type[Outcome], tuple[Any, ...]]:
        return Outcome, (self.value, self.pickled, self.failure)

    def __repr__(self) -> str:
        if self.failure is not None:
            return f"<Outcome failed: {self.failure.type_name}: {self.failure.text}>"
        if self.pickled is not None:
            return f"<Outcome of {len(self.pickled)} bytes>"
        return f"<Outcome {self.value!r}>"


class PackedCall:
    """A picklable callable that holds the bytes of a call; see `dumps_call`."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    def __reduce__(self) -> tuple[type[PackedCall], tuple[bytes]]:
        return PackedCall, (self.payload,)

    def __repr__(self) -> str:
        return f"<PackedCall of {len(self.payload)} bytes>"

    def __call__(self) -> Outcome:
        """Unpickle the call and run it; never raises."""
        try:
            func, args, kwargs = load_call(self.payload)
        except BaseException as error:  # noqa: BLE001 - loading runs user code
            return Outcome(failure=pack_exception(error))
        try:
            result = func(*args, **kwargs)
            if type(result) in _PLAIN_TYPES:
                return Outcome(result)
        except BaseException as error:  # noqa: BLE001 - it is the task's outcome, whatever it is
            # The first frame is this one; the user's begin below it.
            return Outcome(failure=pack_exception(error, skip_frames=1))
        try:
            return Outcome(pickled=dumps_result(result, func))
        except BaseException as error:  # noqa: BLE001 - pickling runs user code
            return Outcome(failure=pack_exception(error))


def unwrap_outcome(outcome: object) -> Any:
    """The value of an outcome; what is no `Outcome` is returned as it is.

    Raises:
        BaseException: what the call raised, or a `RemoteError` in its place; its cause is a
            `RemoteTraceback`.
        DeserializationError: the result cannot be loaded in this process.
    """
    if not isinstance(outcome, Outcome):
        return outcome
    if outcome.failure is not None:
        raise unpack_exception(outcome.failure)
    if outcome.pickled is not None:
        return loads(outcome.pickled)
    return outcome.value
