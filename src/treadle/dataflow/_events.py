"""What the kernel's machine is told, and what it orders.

Events are facts, in the past tense; commands are orders, in the imperative. Both are values: the
shell turns what happens into events and carries the commands out, and decides nothing.
Answers to an order carry the attempt it was given for, so that a late one changes nothing.

Nothing refers to them but the queue they are in, so they can be in no circle (`gc=False`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from msgspec import Struct

from treadle.dataflow._node import Node
from treadle.dataflow.states import States


class Ended(IntEnum):
    """How an attempt ended."""

    succeeded = 0
    #: May be tried again, within the budget.
    failed = 1
    #: Another attempt would end the same way: it is not retried.
    hopeless = 2
    #: The app itself raised a dependency error: not retried, state `dep_fail`.
    dependency = 3
    #: The executor's future was cancelled.
    cancelled = 4


class Verdict(IntEnum):
    """How a task ends; tells the shell what to put into its future."""

    result = 0
    error = 1
    from_memo = 2
    dependency = 3
    inner = 4
    cancelled = 5
    abandoned = 6
    #: The result of a twin, an equal call that ran for this one too.
    twin = 7


# --- events ------------------------------------------------------------------------------------


class Submitted(Struct, frozen=True, gc=False):
    """A new task; its dependencies in this kernel, and how many futures of others it waits for.

    `broken`: the call cannot be run; the shell holds the error. If the node is marked as `early`,
    its executor can take it now, and all dependencies that were handed to that one early.
    """

    node: Node
    dependencies: Sequence[Node] = ()
    others: int = 0
    others_failed: int = 0
    broken: bool = False


class DependencyEnded(Struct, frozen=True, gc=False):
    """A future that is no task of this kernel has ended."""

    node: Node
    ok: bool


class Prepared(Struct, frozen=True, gc=False):
    """Arguments are bound and the memo key is known (None: not to be deduplicated)."""

    node: Node
    key: str | None


class Unprepared(Struct, frozen=True, gc=False):
    """Arguments could not be bound, or the key not computed; the shell holds the error."""

    node: Node


class LookedUp(Struct, frozen=True, gc=False):
    """The memo table was asked."""

    node: Node
    hit: bool
    ok: bool = True


class Launched(Struct, frozen=True, gc=False):
    """An executor has taken the attempt."""

    node: Node
    attempt: int


class AttemptEnded(Struct, frozen=True, gc=False):
    """An attempt has ended, or could not be launched. `must`: it is an error if none runs."""

    node: Node
    attempt: int
    how: Ended
    must: bool = False


class OutcomeTold(Struct, frozen=True, gc=False):
    """An executor that was handed a task early tells how it ended.

    `failed`: its attempts before, which failed; `free`: so many of them cost nothing. `blamed`: it did not run, since something that it
    needs is missing. `rows`: of a bundle, how many of its rows ended so.
    """

    node: Node
    how: Ended
    failed: int = 0
    blamed: bool = False
    rows: int = 1
    free: int = 0


class Judged(Struct, frozen=True, gc=False):
    """The retry handler has said what a failure costs (hopeless: it raised)."""

    node: Node
    attempt: int
    cost: float
    hopeless: bool = False


class Recorded(Struct, frozen=True, gc=False):
    """The outcome is in the memo table, and in the checkpoint where its mode says so."""

    node: Node


class Joined(Struct, frozen=True, gc=False):
    """The shell has begun to watch the tasks that a join app returned."""

    node: Node
    inner: int
    failed: int = 0


class InnerEnded(Struct, frozen=True, gc=False):
    """One of the tasks that a join app waits for has ended. `must`: an error if it waits not."""

    node: Node
    ok: bool
    must: bool = False


class CancelAsked(Struct, frozen=True, gc=False):
    """Somebody wants the task cancelled; `stopped`: its running attempt has been stopped."""

    node: Node
    stopped: bool = False


class LaunchAsked(Struct, frozen=True, gc=False):
    """Somebody thinks the task may be ready; `must`: it is an error if it is not."""

    node: Node
    must: bool = False


class StateAsked(Struct, frozen=True, gc=False):
    """Somebody wants the task in another state."""

    node: Node
    state: States


class Closed(Struct, frozen=True, gc=False):
    """The kernel takes no more tasks; `all`: even those at the executors are abandoned."""

    all: bool = False


Event = (
    Submitted
    | DependencyEnded
    | Prepared
    | Unprepared
    | LookedUp
    | Launched
    | AttemptEnded
    | OutcomeTold
    | Judged
    | Recorded
    | Joined
    | InnerEnded
    | CancelAsked
    | LaunchAsked
    | StateAsked
    | Closed
)


# --- commands ----------------------------------------------------------------------------------


class Prepare(Struct, frozen=True, gc=False):
    """Bind the arguments and compute the memo key; answer `Prepared` or `Unprepared`."""

    node: Node


class LookUp(Struct, frozen=True, gc=False):
    """Ask the memo table; answer `LookedUp`, or `Unprepared` if it raises."""

    node: Node


class Launch(Struct, frozen=True, gc=False):
    """Hand the attempt to its executor; answer `Launched`, then `AttemptEnded`."""

    node: Node
    attempt: int


class Admit(Struct, frozen=True, gc=False):
    """Hand the task to its executor, dependencies or no; answer `OutcomeTold`."""

    node: Node


class Judge(Struct, frozen=True, gc=False):
    """Ask the user's retry handler what the failure costs; answer `Judged`."""

    node: Node
    attempt: int


class Record(Struct, frozen=True, gc=False):
    """Write the outcome to the memo table; answer `Recorded`."""

    node: Node
    ok: bool


class Watch(Struct, frozen=True, gc=False):
    """Watch the futures that the join app returned; answer `Joined`, then `InnerEnded` for each."""

    node: Node


class Settle(Struct, frozen=True, gc=False):
    """The task is over: put the outcome into its future. `leader`: whose result a twin gets."""

    node: Node
    verdict: Verdict
    leader: Node | None = None


Command = Prepare | LookUp | Launch | Admit | Judge | Record | Watch | Settle
