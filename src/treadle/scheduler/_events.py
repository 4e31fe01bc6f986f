"""What the scheduler's machine is told by its shell, and what it orders.

All else that happens to it is a message of `treadle.wire`, and an event as it stands. A peer is
named by its role and its name: `worker/ID` or `client/ID`; the shell has authenticated it.
"""

from __future__ import annotations

from msgspec import Struct

from treadle.wire import Message

#: The source of events that are no messages.
SHELL = "shell"


class Tick(Struct, frozen=True):
    """Time has passed. The machine says by `wake_at` when it wants the next one at the latest."""


class LinkLost(Struct, frozen=True):
    """The link to a peer is lost; it may come back within its lease."""

    peer: str


class PeerGone(Struct, frozen=True):
    """A peer is surely gone. `accuses`: its death may be its tasks' fault (not so when its block
    ended, it was preempted, or we ended it). `exit_code`: negative for a signal's number."""

    peer: str
    exit_code: int | None = None
    accuses: bool = True
    why: str = ""


ShellEvent = Tick | LinkLost | PeerGone


class Send(Struct, frozen=True):
    """Send these messages to a peer, in this order, in one frame."""

    to: str
    messages: list[Message]
