"""All that one scheduler knows.

The rooms of the machine are functions over these books. Only `Scheduler.handle` begins a step and
ends it: within one, what may be released is gathered in `slack`, what is to be told in `outbox`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from treadle.scheduler._client import ClientState
from treadle.scheduler._events import Send
from treadle.scheduler._groups import TaskGroup, TaskPrefix
from treadle.scheduler._moves import Moves
from treadle.scheduler._policy import Policy
from treadle.scheduler._shared import Shared
from treadle.scheduler._spans import Spans
from treadle.scheduler._task import TaskState
from treadle.scheduler._watch import Watch
from treadle.scheduler._worker import WorkerState
from treadle.wire import Cancelled, Erred, Message, Options, Refused, TaskId, WorkerId

if TYPE_CHECKING:
    from treadle.scheduler._queues import Queues

#: The client that wants what was fired and forgotten.
FORGETFUL = "fire-and-forget"
#: The client that wants, for a while, what somebody else may be about to want.
LINGERING = "lingering"
#: What is told of tasks that may be forgotten then.
_ENDS = (Erred, Cancelled, Refused)
#: Notes kept of one task.
_NOTES = 50


def _about(end: Any) -> object:
    """What a later end of the same task has in common with an earlier one."""
    return end.ids if type(end) is Refused else end.id


class Books:
    """The tables, and what one step gathers."""

    def __init__(self, policy: Policy, queues: Queues) -> None:
        self.policy = policy
        #: The time of this step, in seconds.
        self.now = 0.0
        #: Every task that is not forgotten.
        self.tasks: dict[TaskId, TaskState] = {}
        #: Every worker that is not given up.
        self.workers: dict[WorkerId, WorkerState] = {}
        #: Every client, by peer; also those without a process.
        self.clients: dict[str, ClientState] = {
            peer: ClientState(peer) for peer in (FORGETFUL, LINGERING)
        }
        self.prefixes: dict[str, TaskPrefix] = {}
        self.groups: dict[tuple[str, int], TaskGroup] = {}
        #: Tasks that are ready, by what they ask for.
        self.queues = queues
        #: One object for all equal options.
        self.options: dict[Options, Options] = {}
        #: Submissions so far, and attempts handed out so far.
        self.submissions = 0
        self.attempts = 0
        #: Data under way.
        self.moves = Moves()
        #: Where bundles begin.
        self.spans = Spans()
        #: Leases and departures under way.
        self.watch = Watch()
        #: Who lingers, and until when at the least; they go in this order. Some are forgotten since.
        self.lingering: dict[TaskState, float] = {}
        #: What clients coordinate by.
        self.shared = Shared()
        #: Messages refused, by reason.
        self.refused: dict[str, int] = {}
        #: Tasks that may no longer be needed.
        self.slack: list[TaskState] = []
        #: What is to be sent at the end of this step, in order.
        self.outbox: dict[WorkerState | ClientState, list[Message]] = {}

    def send(self, to: WorkerState | ClientState, message: Message) -> None:
        """Tell a peer something at the end of this step."""
        messages = self.outbox.get(to)
        if messages is None:
            self.outbox[to] = [message]
        else:
            messages.append(message)

    def flush(self) -> list[Send]:
        """What is to be sent; nothing of it is kept.

        Who has no link is told when it is back: what is known then, from the books; and how tasks
        ended that are no longer there, which is kept for it.
        """
        if not self.outbox:
            return []
        sends = []
        for to, messages in self.outbox.items():
            if to.linked:
                sends.append(Send(to.peer, messages))
            elif type(to) is ClientState:
                to.untold.update((_about(m), m) for m in messages if type(m) in _ENDS)
        self.outbox = {}
        return sends

    def refuse(self, reason: str) -> None:
        """Count a message that changes nothing, and why."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def note(self, ts: TaskState, text: str) -> None:
        """Remember for the task's story that something uncommon happened."""
        rare = ts.rarely()
        if rare.notes is None:
            rare.notes = []
        elif len(rare.notes) >= _NOTES:
            del rare.notes[1]  # the first tells how it began
        rare.notes.append((self.now, text))

    def group_of(self, name: str, number: int) -> TaskGroup:
        """The group of this name and session or submission, made if there is none."""
        key = (name, number)
        group = self.groups.get(key)
        if group is None:
            prefix = self.prefixes.get(name)
            if prefix is None:
                prefix = self.prefixes[name] = TaskPrefix(name)
            group = self.groups[key] = prefix.groups[key] = TaskGroup(key, prefix)
        return group

    def drop_group(self, group: TaskGroup) -> None:
        """Forget a group whose last task is forgotten; what was learned stays for a while."""
        del self.groups[group.key]
        del group.prefix.groups[group.key]
        if len(self.prefixes) > self.policy.max_prefixes:
            idle = next((p for p in self.prefixes.values() if not p.groups), None)
            if idle is not None:
                del self.prefixes[idle.name]
