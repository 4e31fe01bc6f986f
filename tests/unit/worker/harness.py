"""A worker whose books are checked after every step, brought to any state in a few words."""

from __future__ import annotations

from typing import Any

from treadle import wire
from treadle import worker as w
from treadle.worker import SCHEDULER, SHELL, Limits, Worker, check
from treadle.worker._books import Books
from treadle.worker._job import Stage
from treadle.worker._replica import Place

FAILURE = wire.Failure("exception", "ValueError", "no")


class Bench:
    """One machine under test. Everything it does passes through `tell`."""

    def __init__(self, *, slots: int = 1, link: bool = True, **options: Any) -> None:
        limits = options.pop("limits", {})
        self.worker = Worker("me", 7, host="here", slots=slots, limits=Limits(**limits), **options)
        self.now = 100.0
        self.slots = 0
        self.last: list[w.Command] = []
        if link:
            self.tell(w.LinkUp())
            self.order(wire.Registered(1.0, 10.0))
            for _ in range(slots):
                self.slot_up()

    @property
    def books(self) -> Books:
        return self.worker.books

    def tell(self, event: Any, source: str = SHELL) -> list[w.Command]:
        """Give the machine an event; return its commands when what holds for all has been seen."""
        self.last = self.worker.handle(event, source=source, now=self.now)
        check(self.worker)
        receivers = [c.to for c in self.last if isinstance(c, w.Send)]
        assert len(receivers) == len(set(receivers)), "one frame for each peer"
        return self.last

    def order(self, *messages: wire.Message) -> list[w.Command]:
        """The scheduler says something."""
        return self.tell(list(messages), SCHEDULER)

    def wait(self, seconds: float) -> list[w.Command]:
        """Time passes, and the shell says so whenever it is to; return all commands."""
        end, done = self.now + seconds, []
        for _ in range(1000):
            wake = self.worker.wake_at
            if wake is None or wake > end:
                break
            self.now = max(self.now, wake)
            done += self.tell(w.Tick())
        self.now = end
        done += self.tell(w.Tick())
        self.last = done
        return done

    # --- in a few words ------------------------------------------------------------------------

    def slot_up(self) -> int:
        self.slots += 1
        self.tell(w.SlotUp(self.slots))
        return self.slots

    def run(self, id: Any, attempt: int = 1, **options: Any) -> list[w.Command]:
        """The scheduler orders an attempt."""
        return self.order(wire.Run(id, attempt, b"", **options))

    def begin(self, id: Any, attempt: int = 1, **options: Any) -> int:
        """An attempt that runs, on a slot that is free; the slot."""
        self.run(id, attempt, **options)
        slot = self.slot_of(id)
        self.tell(w.Began(slot, id, attempt))
        return slot

    def slot_of(self, id: Any) -> int:
        slot = self.books.jobs[id].slot
        assert slot is not None
        return slot.number

    def end(self, id: Any, attempt: int = 1, nbytes: int = 10, **options: Any) -> list[w.Command]:
        """A slot ends an attempt with a result."""
        slot = options.pop("slot", None) or self.slot_of(id)
        return self.tell(w.Ended(slot, id, attempt, nbytes, "int", 0.5, **options))

    def wait_aside(self, id: Any, attempt: int = 1) -> list[w.Command]:
        """What a slot runs waits for others."""
        return self.tell(w.WentAside(self.slot_of(id), id, attempt))

    def want_turn(self, id: Any, attempt: int = 1) -> list[w.Command]:
        """What was aside would go on."""
        return self.tell(w.WantsTurn(self.slot_of(id), id, attempt))

    def raises(self, id: Any, attempt: int = 1, **options: Any) -> list[w.Command]:
        return self.tell(w.Raised(self.slot_of(id), id, attempt, FAILURE, 0.5, **options))

    def hold(self, id: Any, nbytes: int = 10) -> None:
        """An object that a client has given."""
        self.tell(w.Stored(id, 0, nbytes))

    def stage(self, id: Any) -> Stage | None:
        job = self.books.jobs.get(id)
        return job.stage if job is not None else None

    def place(self, id: Any, attempt: int = 1) -> Place | None:
        replica = self.books.store.get((id, attempt))
        return replica.place if replica is not None else None

    # --- what it did last ----------------------------------------------------------------------

    def said(self, kind: type | None = None, to: str = SCHEDULER) -> list[Any]:
        """Messages of the last step, in order."""
        messages = [
            m for c in self.last if isinstance(c, w.Send) and c.to == to for m in c.messages
        ]
        return [m for m in messages if kind is None or isinstance(m, kind)]

    def did(self, *kinds: type) -> list[Any]:
        """Commands of the last step that are no messages."""
        return [
            c for c in self.last if isinstance(c, kinds or object) and not isinstance(c, w.Send)
        ]


def returned(
    id: Any, why: str, attempt: int = 1, rows: int = 1, missing: Any = ()
) -> wire.Returned:
    return wire.Returned(id, attempt, why, missing, rows)


def needs(*ids: Any, holders: tuple[str, ...] = ("p1",), nbytes: int = 10) -> Any:
    """Inputs that peers have (attempt 1)."""
    return tuple(wire.Input(id, 1, nbytes, holders) for id in ids)


def has(*ids: Any) -> Any:
    """Inputs that a client has given to this worker."""
    return tuple(wire.Input(id, 0, 10, ("me",)) for id in ids)


def held(*ids: Any, attempt: int = 1, nbytes: int = 10) -> tuple[wire.Held, ...]:
    return tuple(wire.Held(id, attempt, nbytes) for id in ids)


def asked(bench: Bench, peer: str) -> tuple[int, list[Any]]:
    """The one request that was just sent to a peer: its number, and what it is for."""
    (message,) = bench.said(wire.GetData, peer)
    return message.ask, [each.id for each in message.objects]
