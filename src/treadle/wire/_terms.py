"""Terms that all messages share: names, numbers, identifiers and their bounds.

A message is a frozen struct, encoded as an array under a short tag. What arrives is checked
against these bounds while it is decoded, so a machine never sees a value that is out of range.
Messages hold no cycles, so the garbage collector need not look at them.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

#: Bits of a numbered task's identifier that are its number within the client's session.
NUMBER_BITS = 40
SESSION_BITS = 22

#: Longest list that one message may hold. Longer ones are sent as several messages.
MAX_ITEMS = 100_000
MAX_NAME = 1_024
MAX_TEXT = 64 * 1024

Name = Annotated[str, Meta(max_length=MAX_NAME)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
#: A number that its sender counts up: requests, beats, epochs.
Serial = Annotated[int, Meta(ge=0, le=2**62)]
Bytes = Annotated[int, Meta(ge=0, le=2**60)]
Seconds = Annotated[float, Meta(ge=0, le=1e10)]
Amount = Annotated[float, Meta(ge=0, le=1e18)]
#: A number that others can be compared with: no NaN, which would upset every order it stands in.
Finite = Annotated[float, Meta(ge=-1e300, le=1e300)]

#: Of whom it is: a session's task (session << NUMBER_BITS | number), or a key that a user chose.
TaskId: TypeAlias = (
    Annotated[int, Meta(ge=0, le=2 ** (NUMBER_BITS + SESSION_BITS) - 1)]
    | Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
)
WorkerId: TypeAlias = Name
Ids = Annotated[tuple[TaskId, ...], Meta(max_length=MAX_ITEMS)]
#: Where a process listens: 'unix:PATH' or 'tls://HOST:PORT'.
Addresses = Annotated[tuple[Name, ...], Meta(max_length=64)]
WorkerIds = Annotated[tuple[WorkerId, ...], Meta(max_length=MAX_ITEMS)]


class Message(Struct, frozen=True, array_like=True, tag_field="message", tag=str.lower, gc=False):
    """What travels between two processes. Its tag is the name of its class in lower case."""


def task_id(session: int, number: int) -> int:
    """The identifier of a session's task."""
    return session << NUMBER_BITS | number


def session_of(id: TaskId) -> int | None:
    """The session that numbered the task; None if its key was chosen by a user."""
    return id >> NUMBER_BITS if type(id) is int else None


class Attempt(Struct, frozen=True, array_like=True, gc=False):
    """One try at running a task. The scheduler numbers all attempts it hands out, of whatever task,
    in one row: a key that is forgotten and comes again shares no number with its past."""

    id: TaskId
    attempt: Serial


class Held(Struct, frozen=True, array_like=True, gc=False):
    """An object that a worker has: the result of an attempt, or data that a client gave it.

    `rows`: how many rows of a bundle are in it, from `id` on.
    """

    id: TaskId
    attempt: Serial
    nbytes: Bytes
    type: Name = ""
    rows: Count = 1


class Input(Struct, frozen=True, array_like=True, gc=False):
    """An object that an attempt needs, and the workers it can be had from."""

    id: TaskId
    attempt: Serial
    nbytes: Bytes
    holders: WorkerIds


class Spot(Struct, frozen=True, array_like=True, gc=False):
    """Memory of a process of the same user on the same machine: `/proc/PID/fd/FD`, from `offset` on.

    `inode`: which memory it is, since numbers of descriptors are used again; 0: not said.
    """

    pid: Count
    fd: Count
    offset: Bytes
    nbytes: Bytes
    inode: Serial = 0


class Failure(Struct, frozen=True, array_like=True, gc=False):
    """Why a task has no result. Opaque to the scheduler but for its kind.

    `kind`: whose fault it is, see `FAILURES`. `pickled` is loaded by its reader alone. `exit_code`:
    of a process that died; negative for a signal's number.
    """

    kind: Name
    type: Name
    text: Text
    pickled: bytes | None = None
    traceback: Text = ""
    exit_code: Annotated[int, Meta(ge=-1024, le=2**32)] | None = None


#: Kinds of failures, and what each means.
FAILURES: dict[str, str] = {
    "exception": "the task raised",
    "killed": "the process that ran the task died, too often",
    "lost": "data that cannot be computed again is gone",
    "memory": "the task needs more memory than any worker has, or took more than it may",
    "walltime": "the task took longer than it may",
    "actor": "the actor that should have answered is gone",
    "key": "the key is that of another task",
    "unfit": "no worker can ever run the task",
    "internal": "a fault of the engine's own",
}
