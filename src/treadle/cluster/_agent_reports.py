"""What slots say, as what the machine is told; and what they say of results, done in the store.

What is said of a task that the slot was not given is nobody's: the machine refuses it, and has a
result of it forgotten.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from treadle import worker
from treadle.cluster._packets import (
    Asked,
    FromSlot,
    Logged,
    Raised,
    Ready,
    Returned,
    Waits,
    Wants,
    Worn,
)

if TYPE_CHECKING:
    from treadle.cluster._agent_slot import SlotEnd
    from treadle.wire import Run, Spot, TaskId
    from treadle.worker import ShellEvent

    Key = tuple[TaskId, int]


class Results(Protocol):
    """Where results go."""

    def keep(self, key: Key, data: bytes) -> None:
        """A small object; one that is here already stays."""

    def commit(self, key: Key, spot: Spot, nbytes: int) -> None:
        """What stands there now is the object; one that is here already stays. Raises ValueError
        if it cannot be."""

    def abandon(self, spot: Spot) -> None:
        """Nothing is there."""


class Reports:
    """Turns reports into events.

    Args:
        results: the store.
        rows: is told which objects hold the results of several rows.
        warn: told of what the user should know.
        printed: told that a slot's files have grown: slot, task, its identifier, its bytes of
            standard output and standard error.
    """

    def __init__(
        self,
        results: Results,
        rows: dict[Key, int],
        warn: Warn,
        printed: Printed,
    ) -> None:
        self._results = results
        self._rows = rows
        self._warn = warn
        self._printed = printed
        #: A task has waited for others, as clients do.
        self.has_clients = False

    def events(self, slot: SlotEnd, packets: Sequence[FromSlot]) -> list[ShellEvent]:
        """What the machine is to be told of these packets, in order."""
        events: list[ShellEvent] = []
        for packet in packets:
            kind = type(packet)
            if kind is Returned:
                self._returned(slot, packet, events)  # type: ignore[arg-type]
            elif isinstance(packet, Raised):
                self._raised(slot, packet, events)
            elif isinstance(packet, Asked):
                number, id, attempt = slot.number, packet.id, packet.attempt
                events.append(worker.GrantAsked(number, id, attempt, packet.nbytes))
            elif isinstance(packet, Waits):
                self.has_clients = True
                events.append(worker.WentAside(slot.number, packet.id, packet.attempt))
            elif isinstance(packet, Wants):
                events.append(worker.WantsTurn(slot.number, packet.id, packet.attempt))
            elif isinstance(packet, Ready):
                if not slot.ready:
                    slot.ready = True
                    events.append(worker.SlotUp(slot.number))
                if packet.warning:
                    self._warn(packet.warning)
            elif isinstance(packet, Logged):
                _log_of(packet)
            elif isinstance(packet, Worn):
                slot.kill(ours=True)
        return events

    def _returned(self, slot: SlotEnd, packet: Returned, events: list[ShellEvent]) -> None:
        id, attempt, data = packet.id, packet.attempt, packet.data
        run = slot.fed.get(attempt)
        if run is None or not run.actor:  # an actor stays in its slot
            if data is not None:
                self._results.keep((id, attempt), data)
            elif not self._commit(slot, packet):
                slot.kill(ours=False)  # it has written where nobody let it
                return
        if slot.spot is not None:
            self._abandon(slot)
        if packet.rows != 1:
            self._rows[id, attempt] = packet.rows
        events.append(
            worker.Ended(
                slot.number, id, attempt, packet.nbytes, packet.type, packet.duration_s,
                packet.memory_bytes, data, packet.rows, packet.last,
            )
        )  # fmt: skip
        if run is not None:
            self._told(slot, run, packet)

    def _raised(self, slot: SlotEnd, packet: Raised, events: list[ShellEvent]) -> None:
        if slot.spot is not None:
            self._abandon(slot)
        events.append(
            worker.Raised(
                slot.number,
                packet.id,
                packet.attempt,
                packet.failure,
                packet.duration_s,
                packet.final,
                1,
                packet.last,
            )
        )
        run = slot.fed.get(packet.attempt)
        if run is not None:
            self._told(slot, run, packet)

    def _commit(self, slot: SlotEnd, packet: Returned) -> bool:
        spot, slot.spot = slot.spot, None
        if spot is None:
            return False
        try:
            self._results.commit((packet.id, packet.attempt), spot, packet.nbytes)
        except ValueError:
            return False
        return True

    def _abandon(self, slot: SlotEnd) -> None:
        spot, slot.spot = slot.spot, None
        if spot is not None:
            self._results.abandon(spot)

    def _told(self, slot: SlotEnd, run: Run, packet: Returned | Raised) -> None:
        if packet.last:
            del slot.fed[run.attempt]
        out, error = packet.printed
        if out or error:
            self._printed(slot, run, packet.id, (out, error))


class Warn(Protocol):
    """Says something to people."""

    def __call__(self, text: str, /) -> None: ...


def _log_of(packet: Logged) -> None:
    """What a task has logged, as if it had been logged here."""
    record = logging.makeLogRecord(
        {
            "name": packet.name,
            "levelno": packet.level,
            "levelname": logging.getLevelName(packet.level),
            "msg": packet.text,
            "created": packet.created,
            "msecs": packet.created % 1 * 1_000,
        }
    )
    logging.getLogger().handle(record)


class Printed(Protocol):
    """Takes note of output."""

    def __call__(self, slot: SlotEnd, run: Run, id: TaskId, grown: tuple[int, int], /) -> None: ...
