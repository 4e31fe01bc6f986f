"""What the worker's machine is told by its shell, and what it orders.

Events are facts, commands are orders; both are values. What comes over links is a message of
`treadle.wire` and an event as it stands. A *slot* is a process that runs one attempt at a time;
its agent, the shell, reads the slot's blame word and its packets. Slots are numbered, and a new
process gets a new number.
"""

from __future__ import annotations

from msgspec import Struct

from treadle.wire import Attempt, Failure, Message, Run, TaskId

#: The source of events that are no messages.
SHELL = "shell"
#: The peer that messages to the scheduler are sent to.
SCHEDULER = "scheduler"


# --- events: slots -----------------------------------------------------------------------------


class SlotUp(Struct, frozen=True):
    """A slot has been started and waits for work."""

    slot: int


class SlotDown(Struct, frozen=True):
    """A slot has ended. `accused`: the attempt in its blame word; None if it ran none.

    `ours`: by our own hand (`KillSlot`, or its zygote ended): it accuses nobody. All that the slot
    had said (outcomes of rows, too) comes before this; what still stood in its socket is the
    machine's again, without a `TakenBack`. A slot that ends before its `SlotUp` is told here, too.
    """

    slot: int
    accused: Attempt | None
    exit_code: int
    ours: bool = False


class Began(Struct, frozen=True):
    """A slot has taken the attempt from its socket: from here on it is the slot's."""

    slot: int
    id: TaskId
    attempt: int


class GrantAsked(Struct, frozen=True):
    """A slot wants room in the store for a result; it waits for `Grant` or `Deny`."""

    slot: int
    id: TaskId
    attempt: int
    nbytes: int


class Ended(Struct, frozen=True):
    """A slot has ended an attempt (or rows of a bundle) with a result, which is in the store.

    `last`: the slot is free for the next; of a bundle, all rows have been told.
    """

    slot: int
    id: TaskId
    attempt: int
    nbytes: int
    type: str
    duration_s: float
    memory_bytes: int = 0
    inline: bytes | None = None
    rows: int = 1
    last: bool = True


class Raised(Struct, frozen=True):
    """A slot has ended an attempt (or a row of a bundle) with a failure."""

    slot: int
    id: TaskId
    attempt: int
    failure: Failure
    duration_s: float
    final: bool = False
    rows: int = 1
    last: bool = True


class WentAside(Struct, frozen=True):
    """What a slot runs waits for other tasks, or has seceded: it takes no slot from here on."""

    slot: int
    id: TaskId
    attempt: int


class WantsTurn(Struct, frozen=True):
    """What a slot runs, and was aside, would go on: it waits for `GiveTurn`."""

    slot: int
    id: TaskId
    attempt: int


class TakenBack(Struct, frozen=True):
    """An attempt that stood behind another in a slot's socket is the machine's again.

    Answer to `TakeBack`, unless the slot has read it first: then `Began` comes.
    """

    slot: int
    id: TaskId
    attempt: int


# --- events: the store, links, time ------------------------------------------------------------


class Spilled(Struct, frozen=True):
    """An object is on disk and its memory free."""

    id: TaskId
    attempt: int


class NotSpilled(Struct, frozen=True):
    """An object could not be written to disk; it is in memory still. `why` is for people."""

    id: TaskId
    attempt: int
    why: str


class Restored(Struct, frozen=True):
    """An object is in memory again."""

    id: TaskId
    attempt: int


class NotRestored(Struct, frozen=True):
    """An object could not be read back: it is lost. `why` is for people."""

    id: TaskId
    attempt: int
    why: str


class Stored(Struct, frozen=True):
    """A client has given us data, and it is in the store."""

    id: TaskId
    attempt: int
    nbytes: int
    type: str = ""


class Sent(Struct, frozen=True):
    """The bytes of a `Data` that this worker sent have left, or never will.

    Told once for each `Data` that has objects; the end of a link (`LinkDown`) tells it for all of
    that peer's. Until then the objects stay in memory, but no longer than `Limits.transfer_s` and
    what their size adds.
    """

    peer: str
    ask: int


class LinkUp(Struct, frozen=True):
    """There is a link to the scheduler (the first, or a new one): register."""


class LinkDown(Struct, frozen=True):
    """The link to this peer is lost, or could not be had: the scheduler, or another worker."""

    peer: str


class DrainAsked(Struct, frozen=True):
    """Somebody outside wants this worker gone: a signal, a preemption, the end of its block."""

    why: str
    grace_s: float


class Tick(Struct, frozen=True):
    """Time has passed. The machine says by `wake_at` when it wants the next one at the latest."""


ShellEvent = (
    SlotUp
    | SlotDown
    | Began
    | GrantAsked
    | Ended
    | Raised
    | WentAside
    | WantsTurn
    | TakenBack
    | Spilled
    | NotSpilled
    | Restored
    | NotRestored
    | Stored
    | Sent
    | LinkUp
    | LinkDown
    | DrainAsked
    | Tick
)


# --- commands ----------------------------------------------------------------------------------
# What is ordered of a slot that has just ended means nothing: its `SlotDown` is on its way.


class Send(Struct, frozen=True):
    """Send these messages to a peer, in this order, in one frame."""

    to: str
    messages: list[Message]


class StartSlot(Struct, frozen=True):
    """Start one more slot process; answer `SlotUp` with a new number."""


class KillSlot(Struct, frozen=True):
    """End a slot's process, whatever it does; answer `SlotDown(ours=True)`."""

    slot: int


class Feed(Struct, frozen=True):
    """Put an attempt into a slot's socket: it is read when the slot has ended what it runs.

    `slot` runs nothing unless the attempt may be fed ahead.
    """

    slot: int
    run: Run


class TakeBack(Struct, frozen=True):
    """Read an attempt out of a slot's socket again, if the slot has not read it yet.

    Answer: `TakenBack`, or `Began` as usual.
    """

    slot: int
    id: TaskId
    attempt: int


class GiveTurn(Struct, frozen=True):
    """Let what a slot runs go on, which was aside. Each `WantsTurn` gets one, or `KillSlot`."""

    slot: int
    attempt: int


class Grant(Struct, frozen=True):
    """Room for a result is there; the slot may write it."""

    slot: int
    id: TaskId
    attempt: int
    nbytes: int


class Deny(Struct, frozen=True):
    """The store can never hold a result of this size; the slot raises `MemoryError` for it."""

    slot: int
    id: TaskId
    attempt: int
    why: str


class Spill(Struct, frozen=True):
    """Write an object to disk and free its memory; answer `Spilled` or `NotSpilled`."""

    id: TaskId
    attempt: int


class Restore(Struct, frozen=True):
    """Bring an object back into memory; answer `Restored` or `NotRestored`."""

    id: TaskId
    attempt: int


class Discard(Struct, frozen=True):
    """Forget an object, in memory or on disk, if it is there. No answer.

    Never while it is spilled, restored or sent. Also for a result or for data that came too late.
    """

    id: TaskId
    attempt: int


class Exit(Struct, frozen=True):
    """Nothing is left to do here: end the process."""


Command = (
    Send
    | StartSlot
    | KillSlot
    | Feed
    | TakeBack
    | GiveTurn
    | Grant
    | Deny
    | Spill
    | Restore
    | Discard
    | Exit
)
