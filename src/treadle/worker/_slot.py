"""A slot, a process that runs one attempt at a time; and an actor, which lives in one."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from treadle.worker._job import Job
    from treadle.worker._lane import Lane


class Slot(Struct, eq=False):
    """One slot process that has come up and has not ended."""

    number: int
    #: Whose needs it takes; None iff it is idle. Kept by an actor for life, and by a dying slot.
    lane: Lane | None = None
    #: What it has read and not ended. Of a dying slot it may be gone already.
    running: Job | None = None
    #: What is in its socket, oldest first; those that are gone are being taken back.
    fed: list[Job] = field(default_factory=list)
    #: When it was last seen to begin something (of a bundle: a row).
    since: float = 0.0
    #: Bytes granted for results that are not told yet.
    granted: int = 0
    #: Nothing more is put into its socket until it is idle: what runs has run for long, is aside,
    #: over the count, or takes no slot.
    blocked: bool = False
    #: What runs waits for other tasks, or has seceded: it takes no slot.
    aside: bool = False
    #: What was aside has ended before what stood behind it was taken back: that may run though
    #: there is no slot free for it.
    over: bool = False
    #: It has been ordered to be killed.
    dying: bool = False
    #: It has begun an attempt at least once.
    worn: bool = False
    #: The actor that lives in it, or is being made in it.
    actor: Actor | None = None


class Actor(Struct, eq=False):
    """A task that keeps its process."""

    id: int | str
    attempt: int
    #: Where it lives; None until it has been made.
    slot: Slot | None = None
    #: Its calls in the order of arrival. The first may be in the slot.
    calls: deque[Job] = field(default_factory=deque)
