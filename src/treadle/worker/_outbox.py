"""What one step orders and says: commands in order, then at most one frame for each peer.

While there is no link to the scheduler, what is said to it goes nowhere: outcomes are kept in the
ledger and told at the next registration, which tells all else anew.
"""

from __future__ import annotations

from treadle.wire import MAX_ITEMS, Attempt, Held, Holding, Message, Started
from treadle.worker._events import SCHEDULER, Command, Send
from treadle.worker._job import BEGUN, Job


class Outbox:
    """Commands and messages of the step that is being taken."""

    __slots__ = ("begun", "begun_at", "commands", "holding", "linked", "peers", "scheduler")

    def __init__(self) -> None:
        self.commands: list[Command] = []
        #: There is a link to the scheduler, and it has been told who we are.
        self.linked = False
        self.scheduler: list[Message] = []
        self.peers: dict[str, list[Message]] = {}
        #: Objects to be reported, not yet in a message.
        self.holding: list[Held] = []
        #: Jobs whose start has not been reported, and since when the oldest may wait.
        self.begun: list[Job] = []
        self.begun_at: float | None = None

    def tell(self, message: Message) -> None:
        """Say something to the scheduler."""
        if self.linked:
            if self.holding:
                self._close_holding()
            self.scheduler.append(message)

    def hold(self, held: Held) -> None:
        """Report an object; several are one message."""
        if self.linked:
            self.holding.append(held)

    def send(self, peer: str, message: Message) -> None:
        """Say something to another worker."""
        self.peers.setdefault(peer, []).append(message)

    def hush(self) -> None:
        """Forget what was to be said to the scheduler."""
        self.scheduler.clear()
        self.holding.clear()
        self.begun.clear()
        self.begun_at = None

    def flush(self, now: float) -> list[Command]:
        """All that the step has come to; the outbox is empty again."""
        commands = self.commands
        if self.begun_at is not None and now >= self.begun_at:
            self._report_starts()
        if self.holding:
            self._close_holding()
        if self.scheduler:
            commands.append(Send(SCHEDULER, self.scheduler))
            self.scheduler = []
        if self.peers:
            for peer, messages in self.peers.items():
                commands.append(Send(peer, messages))
            self.peers = {}
        self.commands = []
        return commands

    def _report_starts(self) -> None:
        """Starts go first in the frame: whatever has ended in this step is left out."""
        started = [Attempt(j.run.id, j.run.attempt) for j in self.begun if j.stage in BEGUN]
        self.begun.clear()
        self.begun_at = None
        if started and self.linked:
            self.scheduler[:0] = [
                Started(tuple(started[at : at + MAX_ITEMS]))
                for at in range(0, len(started), MAX_ITEMS)
            ]

    def _close_holding(self) -> None:
        held, self.holding = self.holding, []
        for at in range(0, len(held), MAX_ITEMS):
            self.scheduler.append(Holding(tuple(held[at : at + MAX_ITEMS])))
