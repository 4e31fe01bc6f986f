"""The link to the scheduler: registering, beating, and what is true again after a loss.

Without a link the worker goes on. A registration tells all that it holds, runs and has queued, and
each outcome of which it is not sure that it has arrived.
"""

from __future__ import annotations

from treadle.wire import (
    MAX_ITEMS,
    Aside,
    Attempt,
    Beat,
    Beaten,
    Holding,
    Leaving,
    Register,
    Registered,
    Status,
)
from treadle.worker._books import Books
from treadle.worker._job import BEGUN, Stage
from treadle.worker._outcomes import acknowledged
from treadle.worker._replica import HERE
from treadle.worker._room import takes_nothing

#: A grace that is none.
_NO_END_S = 1e9


def link_up(b: Books) -> None:
    b.out.hush()
    b.out.linked = True
    register(b)


def link_down(b: Books) -> None:
    b.out.hush()
    b.out.linked = False
    b.beat_s = b.beat_at = None


def register(b: Books) -> None:
    """Say who the worker is, and all that the scheduler must know."""
    holds = tuple(r.held() for r in b.store.values() if r.place in HERE and not r.doomed)
    running: list[Attempt] = []
    queued: list[Attempt] = []
    for job in b.jobs.values():
        list_ = running if job.stage in BEGUN else queued
        list_.append(Attempt(job.run.id, job.run.attempt))
    ended = tuple(outcome for _, outcome in b.told.values())
    b.beat_s = b.beat_at = None
    b.registrations += 1
    b.out.tell(
        Register(
            b.id,
            b.epoch,
            b.host,
            b.slot_count,
            tuple(b.resources.items()),
            b.budget,
            b.block,
            None if b.ends_at is None else max(0.0, b.ends_at - b.now),
            True,
            holds[:MAX_ITEMS],
            tuple(running[:MAX_ITEMS]),
            tuple(queued[:MAX_ITEMS]),
            ended[:MAX_ITEMS],
            b.registrations,
        )
    )
    for at in range(MAX_ITEMS, len(holds), MAX_ITEMS):
        b.out.tell(Holding(holds[at : at + MAX_ITEMS]))
    for outcome in ended[MAX_ITEMS:]:
        b.out.tell(outcome)
    _tell_aside(b)
    b.status = (0, 0, False)
    tell_status(b)
    if b.leaving is not None:
        left_s = max(0.0, b.grace_at - b.now) if b.grace_at is not None else 0.0
        b.out.tell(Leaving(b.leaving, left_s))
    elif b.draining:  # the scheduler may have given it up since it said so
        b.out.tell(Leaving("it was told to drain", _NO_END_S))


def _tell_aside(b: Books) -> None:
    """Say again what is aside: whoever registers counts as having all that it runs in its slots."""
    aside = [
        Attempt(job.run.id, job.run.attempt)
        for slot in b.aside.values()
        if (job := slot.running) is not None and job.stage is not Stage.gone
    ]
    for at in range(0, len(aside), MAX_ITEMS):
        b.out.tell(Aside(tuple(aside[at : at + MAX_ITEMS])))


def registered(b: Books, message: Registered) -> None:
    b.beat_s = message.beat_s
    b.beat_at = b.now + message.beat_s
    b.arm(b.beat_at)


def beat(b: Books) -> None:
    """Say that the worker lives, if it is time to."""
    if b.beat_at is None or b.beat_s is None:
        return
    if b.now >= b.beat_at:
        if b.out.begun:  # what runs by the beat has begun by the same frame
            b.out.begun_at = b.now
        tell_status(b)
        b.beats += 1
        attempts = [Attempt(job.run.id, job.run.attempt) for job in b.jobs.values()]
        b.out.tell(Beat(b.beats, tuple(attempts[:MAX_ITEMS])))
        # Not less often than asked, and not in a burst after a sleep.
        b.beat_at = b.now + max(b.beat_s, 1e-3)
    b.arm(b.beat_at)


def beaten(b: Books, message: Beaten) -> None:
    if message.number > b.beats:
        return b.refuse("beat not sent")
    return acknowledged(b, message.number)


def tell_status(b: Books) -> None:
    """Tell how the memory is, if that has changed."""
    status = (b.used, b.disk_bytes, takes_nothing(b))
    if status != b.status:
        b.status = status
        b.out.tell(Status(*status))
