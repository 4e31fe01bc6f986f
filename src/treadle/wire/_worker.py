"""Messages between a worker and the scheduler, and between two workers.

Every order and every report names the attempt it is about: what belongs to an older one changes
nothing. Results are not in these messages, but for small ones inline: they stay on the worker.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from treadle.wire._terms import (
    MAX_ITEMS,
    Addresses,
    Amount,
    Attempt,
    Bytes,
    Count,
    Failure,
    Held,
    Ids,
    Input,
    Message,
    Name,
    Seconds,
    Serial,
    Spot,
    TaskId,
    Text,
    WorkerId,
    WorkerIds,
)

ExitCode = Annotated[int, Meta(ge=-1024, le=2**32)]
Attempts = Annotated[tuple[Attempt, ...], Meta(max_length=MAX_ITEMS)]
Objects = Annotated[tuple[Held, ...], Meta(max_length=MAX_ITEMS)]
Missing = Annotated[tuple[tuple[TaskId, WorkerId], ...], Meta(max_length=MAX_ITEMS)]


# --- a worker reports --------------------------------------------------------------------------


class Started(Message, frozen=True, gc=False):
    """These attempts have begun to run."""

    attempts: Attempts


class Finished(Message, frozen=True, gc=False):
    """An attempt has a result, and I hold it. `rows`: of a bundle, these many from `id` on.

    `duration_s`: of the whole attempt. `memory_bytes`: the most private memory it took (0: not
    known).
    """

    id: TaskId
    attempt: Serial
    nbytes: Bytes
    type: Name
    duration_s: Seconds
    memory_bytes: Bytes = 0
    inline: bytes | None = None
    rows: Count = 1


class Failed(Message, frozen=True, gc=False):
    """An attempt raised. `final`: another attempt would end the same way."""

    id: TaskId
    attempt: Serial
    failure: Failure
    duration_s: Seconds
    final: bool = False
    rows: Count = 1


class Died(Message, frozen=True, gc=False):
    """The slot that ran this attempt is dead, and not by our hand. `exit_code`: negative for a
    signal's number."""

    id: TaskId
    attempt: Serial
    exit_code: ExitCode
    rows: Count = 1


class Returned(Message, frozen=True, gc=False):
    """An attempt has not run and will not run here; it accuses nobody.

    `why`: 'stopped', 'drained', 'inputs', 'slot', 'unknown', or 'rescheduled': it has begun, and
    asks to be run elsewhere. `missing`: inputs that could not
    be had, each with a worker that should have had it.
    """

    id: TaskId
    attempt: Serial
    why: Name
    missing: Missing = ()
    rows: Count = 1


class Holding(Message, frozen=True, gc=False):
    """I hold these now: fetched from another worker, or given by a client."""

    objects: Objects


class Dropped(Message, frozen=True, gc=False):
    """I hold these no longer, or never did. `why` is for people."""

    attempts: Attempts
    why: Name = ""


class NotFetched(Message, frozen=True, gc=False):
    """An object I was told to fetch could not be had from these workers."""

    id: TaskId
    attempt: Serial
    holders: WorkerIds


class Status(Message, frozen=True, gc=False):
    """How I am. `paused`: I start nothing new until memory is free again."""

    memory_bytes: Bytes
    spilled_bytes: Bytes = 0
    paused: bool = False


class Leaving(Message, frozen=True, gc=False):
    """I must go within `grace_s`: drain me. `why` is for people."""

    why: Name
    grace_s: Seconds


class Beat(Message, frozen=True, gc=False):
    """I am alive, and these attempts I run or have queued. Answer: `Beaten`."""

    number: Serial
    attempts: Attempts = ()


Outcome = Finished | Failed | Died | Returned


class Register(Message, frozen=True, gc=False):
    """Here I am, or here I am again, with all I hold and all I was told to do.

    `epoch`: drawn higher by each new process of this name. `ends_in_s`: how long my block has
    still to live. `starts`: I report `Started`. `ended`: outcomes that may not have arrived.
    `number`: counted up by each registration of this process, from 1, so that a late copy is
    known for one.
    """

    worker: WorkerId
    epoch: Serial
    host: Name
    slots: Count
    resources: Annotated[tuple[tuple[Name, Amount], ...], Meta(max_length=64)] = ()
    memory_bytes: Bytes = 0
    block: Name = ""
    ends_in_s: Seconds | None = None
    starts: bool = True
    holds: Objects = ()
    running: Attempts = ()
    queued: Attempts = ()
    ended: Annotated[tuple[Outcome, ...], Meta(max_length=MAX_ITEMS)] = ()
    number: Serial = 0
    #: Where others reach this worker, best first; its shell's affair.
    addresses: Addresses = ()


# --- the scheduler orders ----------------------------------------------------------------------


class Registered(Message, frozen=True, gc=False):
    """You are known. Beat this often; after `lease_s` of silence you are lost."""

    beat_s: Seconds
    lease_s: Seconds


class Run(Message, frozen=True, gc=False):
    """Run this attempt. Answer with one outcome (for a bundle: with outcomes for all its rows).

    `rank`: lower first, among your attempts. `ahead`: a slot may be given it before its last task
    has ended. `actor`: keep the process, and what it takes, for life. `home`: a call of this
    actor.
    """

    id: TaskId
    attempt: Serial
    run_spec: bytes
    inputs: Annotated[tuple[Input, ...], Meta(max_length=MAX_ITEMS)] = ()
    rank: tuple[float, int] = (0.0, 0)
    slots: Count = 1
    resources: Annotated[tuple[tuple[Name, Amount], ...], Meta(max_length=64)] = ()
    walltime_s: Seconds | None = None
    ahead: bool = False
    actor: bool = False
    home: TaskId | None = None
    rows: Annotated[tuple[bytes, ...], Meta(max_length=MAX_ITEMS)] = ()


class Stop(Message, frozen=True, gc=False):
    """End this attempt, whatever it does. Answer: `Returned`, or the outcome it had already."""

    id: TaskId
    attempt: Serial


class Free(Message, frozen=True, gc=False):
    """Nobody needs this object any longer. No answer."""

    id: TaskId
    attempt: Serial


class Fetch(Message, frozen=True, gc=False):
    """Get a copy of this object. Answer: `Holding` or `NotFetched`."""

    id: TaskId
    attempt: Serial
    nbytes: Bytes
    holders: WorkerIds


class Drain(Message, frozen=True, gc=False):
    """Return what has not begun, begin nothing, go on serving data until `Depart`."""


class Depart(Message, frozen=True, gc=False):
    """Nothing holds you any longer: end."""


class Reset(Message, frozen=True, gc=False):
    """You were given up for lost: stop and drop everything, then register anew."""

    why: Text


# --- between workers ---------------------------------------------------------------------------


class GetData(Message, frozen=True, gc=False):
    """Send me these objects. Answer: `Data` or `Busy`.

    Attempt 0: the newest you have, for clients, who are told of no attempts.
    """

    ask: Serial
    objects: Attempts


class Data(Message, frozen=True, gc=False):
    """Here they are; their bytes follow. `missing`: what I do not have."""

    ask: Serial
    objects: Objects
    missing: Ids = ()


class Busy(Message, frozen=True, gc=False):
    """I am sending as much as I may; ask again later, or somebody else."""

    ask: Serial


# --- between a worker and a client -------------------------------------------------------------


class Give(Message, frozen=True, gc=False):
    """Take this object, as this attempt of `Upload`. Answer: `Given`.

    `spot`: on the same machine, where its bytes stand; they do not change any more. Else they
    follow as data.
    """

    ask: Serial
    object: Held
    spot: Spot | None = None


class Given(Message, frozen=True, gc=False):
    """I have it, or `error` says why not."""

    ask: Serial
    error: Text = ""


class Spots(Message, frozen=True, gc=False):
    """On the same machine, after `Data` in place of its bytes: where the objects stand, in the same
    order; small ones as they are. Answer: `Taken`, once they are opened; until then they stay."""

    ask: Serial
    spots: Annotated[tuple[Spot | bytes, ...], Meta(max_length=MAX_ITEMS)]


class Taken(Message, frozen=True, gc=False):
    """I have opened, or read, all that this `Data` named."""

    ask: Serial
