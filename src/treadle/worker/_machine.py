"""The worker's machine: it decides what its slots run, and does nothing itself.

Two rules. *One door*: everything that happens is an event (of the shell, or a message), `handle`
takes it and returns what is to be done, in order. *No surprise*: whoever says what he may not say,
or what is no longer true, changes nothing and is counted.

The theory. A job is one attempt on its way through this worker: it waits until its inputs are in
memory, is ready, is fed to a slot, runs, and is gone when its outcome has been told. Handlers only
note what has happened; what can go on because of it is decided once, at the end of the step, in
`_settle`: which jobs start, which objects move, what is asked of peers. So a burst of events costs
one look at all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from treadle import wire
from treadle.worker import _disk, _fetching, _link, _orders, _running, _serving, _turns
from treadle.worker import _events as ev
from treadle.worker._books import Books
from treadle.worker._draining import leave, mind_the_end, mind_the_grace
from treadle.worker._feeding import feed_calls, staff, start, unblock
from treadle.worker._limits import Limits
from treadle.worker._outcomes import give_up_hope
from treadle.worker._room import mind_the_marks, serve_grants, takes_nothing

Event = ev.ShellEvent | wire.Message
_SEVERAL = (list, tuple)


class Worker:
    """One worker.

    Args:
        id, epoch: its name, and a number drawn higher by each new process of this name.
        host, block: where it is, and which batch job it is part of.
        slots, resources: what its tasks may take.
        memory_bytes: budget of the store; 0 is none.
        ends_in_s: how long its block has to live when the first event comes.
        limits: see there.
    """

    def __init__(
        self,
        id: str,
        epoch: int,
        *,
        host: str,
        slots: int,
        resources: Sequence[tuple[str, float]] = (),
        memory_bytes: int = 0,
        block: str = "",
        ends_in_s: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        amounts = {name: float(amount) for name, amount in resources}
        self.books = Books(
            id=id,
            epoch=epoch,
            host=host,
            block=block,
            limits=limits,
            ends_in_s=ends_in_s,
            slot_count=slots,
            free_slots=slots,
            resources=amounts,
            free=dict(amounts),
            takers=dict.fromkeys(amounts, 0),
            budget=memory_bytes,
            mark_bytes=int(memory_bytes * min(limits.spill, limits.high)),
            spill_bytes=int(memory_bytes * limits.spill),
            high_bytes=int(memory_bytes * limits.high),
            low_bytes=int(memory_bytes * limits.low),
        )

    @property
    def wake_at(self) -> float | None:
        """When a `Tick` is wanted at the latest."""
        return self.books.wake_at

    @property
    def refused(self) -> dict[str, int]:
        """What changed nothing, by reason."""
        return self.books.refused

    def handle(
        self, event: Event | Sequence[Event], *, source: str, now: float
    ) -> list[ev.Command]:
        """Take one event, or all messages of one frame; return what is to be done, in order."""
        b = self.books
        if b.exited:
            return []
        if now > b.now:
            b.now = now
        if b.ends_in_s is not None and b.ends_at is None:
            b.ends_at = now + b.ends_in_s
        if source == ev.SHELL:
            handlers = _OF_SHELL
        elif source == ev.SCHEDULER:
            handlers = _OF_SCHEDULER
        else:
            return self._from_peer(event, source)
        for each in event if isinstance(event, _SEVERAL) else (event,):
            handler = handlers.get(type(each))
            if handler is None:
                b.refuse(f"{type(each).__name__} from {source}")
            else:
                handler(b, each)
        return self._settle()

    def _from_peer(self, event: Event | Sequence[Event], source: str) -> list[ev.Command]:
        b = self.books
        for each in event if isinstance(event, _SEVERAL) else (event,):
            handler = _OF_PEERS.get(type(each))
            if handler is None or source == b.id:
                b.refuse(f"{type(each).__name__} from a worker")
            else:
                handler(b, each, source)
        return self._settle()

    def _settle(self) -> list[ev.Command]:
        """Do what has become possible; then what has been said and ordered goes out."""
        b = self.books
        if b.wake_at is not None and b.now >= b.wake_at:
            _time_passes(b)
        if b.hopeless:
            give_up_hope(b)
        if (b.paused or b.used > b.mark_bytes) and b.budget and not b.exited:
            mind_the_marks(b)
            if takes_nothing(b) is not b.status[2]:
                _link.tell_status(b)
        if b.calls_due:
            feed_calls(b)
        if b.turns:
            _turns.give_turns(b)
        if b.ready:
            start(b)
        if b.room_due and not b.exited:
            b.room_due = False
            if b.grants or b.claims or b.sought:
                _make_room(b)
                if b.ready and b.idle:  # what had reserved a slot may have lost its input
                    start(b)
            else:
                b.starved_since = None
        if b.staff_due and not b.exited:
            staff(b)
        return b.out.flush(b.now)


def _make_room(b: Books) -> None:
    """Serve all claims for room, in their order; there are some."""
    if serve_grants(b) and _fetching.bring(b):
        b.starved_since = None


def _time_passes(b: Books) -> None:
    """Whatever is due by now; each says by `arm` when it wants to be asked again."""
    b.wake_at = None
    _link.beat(b)
    unblock(b)
    _running.overtime(b)
    _fetching.mind_requests(b)
    _fetching.mind_orders(b)
    _serving.mind_transfers(b)
    mind_the_end(b)
    mind_the_grace(b)
    if b.out.begun_at is not None and b.now < b.out.begun_at:
        b.arm(b.out.begun_at)
    if b.respill_at is not None:
        if b.now < b.respill_at:
            b.arm(b.respill_at)
        else:
            b.respill_at = None
    if b.starved_since is not None:
        b.arm(max(b.starved_since + b.limits.room_s, b.now + b.limits.room_s / 100))
    b.room_due = b.staff_due = True


# --- who may say what --------------------------------------------------------------------------


def _link_down(b: Books, event: ev.LinkDown) -> None:
    if event.peer == ev.SCHEDULER:
        _link.link_down(b)
    else:
        _fetching.peer_lost(b, event.peer)
        _serving.peer_left(b, event.peer)


def _drain_asked(b: Books, event: ev.DrainAsked) -> None:
    leave(b, event.why, event.grace_s)


def _slot_down(b: Books, event: ev.SlotDown) -> None:
    _running.slot_down(b, event)
    if b.aside:
        _turns.mind_the_stuck(b)


def _nothing(b: Books, event: ev.Tick) -> None:
    """What is due is done at the end of every step."""


def _link_up(b: Books, event: ev.LinkUp) -> None:
    _link.link_up(b)


Handlers = dict[type, Callable[[Books, Any], None]]

_OF_SHELL: Handlers = {
    ev.SlotUp: _running.slot_up,
    ev.SlotDown: _slot_down,
    ev.Began: _running.began,
    ev.GrantAsked: _running.grant_asked,
    ev.Ended: _running.ended,
    ev.Raised: _running.raised,
    ev.WentAside: _turns.went_aside,
    ev.WantsTurn: _turns.wants_turn,
    ev.TakenBack: _running.taken_back,
    ev.Spilled: _disk.spilled,
    ev.NotSpilled: _disk.not_spilled,
    ev.Restored: _disk.restored,
    ev.NotRestored: _disk.not_restored,
    ev.Stored: _disk.stored,
    ev.Sent: _serving.sent,
    ev.LinkUp: _link_up,
    ev.LinkDown: _link_down,
    ev.DrainAsked: _drain_asked,
    ev.Tick: _nothing,
}
_OF_SCHEDULER: Handlers = {
    wire.Registered: _link.registered,
    wire.Run: _orders.run,
    wire.Stop: _orders.stop_order,
    wire.Free: _orders.free_order,
    wire.Fetch: _orders.fetch,
    wire.Drain: _orders.drain_order,
    wire.Depart: _orders.depart_order,
    wire.Reset: _orders.reset,
    wire.Beaten: _link.beaten,
}
_OF_PEERS: dict[type, Callable[[Books, Any, str], None]] = {
    wire.GetData: _serving.get_data,
    wire.Data: _fetching.data,
    wire.Busy: _fetching.busy,
}
