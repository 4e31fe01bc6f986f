"""A client as the scheduler sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from treadle.wire import Message

if TYPE_CHECKING:
    from treadle.scheduler._shared import Desk
    from treadle.scheduler._task import TaskState


class ClientState(Struct, eq=False):
    """One who wants results.

    Two kinds have no process behind them, are never told anything and never leave: the one that
    wants what was fired and forgotten, and one for each published name.
    """

    #: Its name among all peers: `client/NAME`; `fire-and-forget` and `published/NAME` for the rest.
    peer: str
    #: The session whose numbers its tasks have; -1 for those without a process.
    session: int = -1
    #: What it is called, for people.
    name: str = ""
    #: Results it wants: the reverse of `TaskState.who_wants`.
    wants_what: dict[TaskState, None] = field(default_factory=dict)
    #: How long it may be without a link before it is forgotten.
    lease_s: float = 30.0
    linked: bool = True
    lost_at: float = 0.0
    last_seen: float = 0.0
    #: How tasks ended that it wanted and that are forgotten, while it had no link: the last word of
    #: each. Told when it is back; empty while it is linked.
    untold: dict[object, Message] = field(default_factory=dict)
    #: What it has of what clients coordinate by; None until it first asks for such a thing.
    desk: Desk | None = None
    #: What the publisher wrote about it.
    note: bytes = b""

    @property
    def real(self) -> bool:
        """Whether there is a process behind it."""
        return self.session >= 0

    def __repr__(self) -> str:
        return f"<ClientState {self.peer!r} wants {len(self.wants_what)}>"
