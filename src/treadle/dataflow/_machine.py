"""The kernel's machine: it decides what happens to every task, and does nothing itself.

Two rules. *One door*: everything that happens is an event, `handle` takes it and returns the
commands to carry out, in order. *No act*: no clock, dice, lock, thread, logging or user code; what
user code must answer (arguments, memo keys, retry costs) is asked for by a command and comes back
as an event.

The theory. A task is handed through phases; an answer counts only in the phase that asked for it
and for the attempt it was given, so late, doubled or reordered answers change nothing. A task
ends once: it settles its own future first and then releases its dependents, so that a dependent
always finds its inputs. Work that spreads (a failure down a chain of any length) is a list that
is worked off, never a recursion.

Equal calls: the first to ask for a memo key leads, and the others wait as its twins. If it
succeeds they get its result; if it fails, the first of them runs itself: failures are not
replayed as if they had run.

Early: where an executor takes tasks whose dependencies have not ended (all handed to it early, too),
a task is with it from the first, and tries again there. It is pending all the same until its
dependencies have ended, and their failure is its own: whether a task may run is decided here.

Order: all that ends by one event is settled before anything is started that had waited for it.
So whoever is started finds every future in its place, and a twin finds its leader's result even
where what is started drops what has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from treadle.dataflow import _events as ev
from treadle.dataflow._graph import connect, release
from treadle.dataflow._node import Node, Phase
from treadle.dataflow._retry import charge
from treadle.dataflow._transitions import Step, advance, illegal, steps_to
from treadle.dataflow.states import FINAL_FAILURE_STATES, States

Commands = list[ev.Command]

#: A task that is to end, how, and whose result it gets if it is a twin.
Ending = tuple[Node, ev.Verdict, Node | None]

_BY_EVENT_ONLY = (States.pending, States.exec_done, States.memo_done, States.joining)
_OUTCOME_KNOWN = (Phase.judging, Phase.watching, Phase.recording)

_VERDICTS = {
    ev.Ended.succeeded: ev.Verdict.result,
    ev.Ended.failed: ev.Verdict.error,
    ev.Ended.hopeless: ev.Verdict.error,
    ev.Ended.dependency: ev.Verdict.dependency,
    ev.Ended.cancelled: ev.Verdict.cancelled,
}

#: Where rows of a bundle are that have ended before the others.
_STATE_OF_ROWS = {
    ev.Ended.succeeded: States.exec_done,
    ev.Ended.failed: States.failed,
    ev.Ended.hopeless: States.failed,
    ev.Ended.dependency: States.dep_fail,
    ev.Ended.cancelled: States.failed,
}

_STEP_OF_VERDICT = {
    ev.Verdict.result: Step.succeed,
    ev.Verdict.error: Step.fail,
    ev.Verdict.from_memo: Step.memo_hit,
    ev.Verdict.twin: Step.memo_hit,
    ev.Verdict.dependency: Step.dep_failed,
    ev.Verdict.inner: Step.fail,
    ev.Verdict.cancelled: Step.cancel,
    ev.Verdict.abandoned: Step.fail,
}


class Machine:
    """All tasks of one kernel.

    Args:
        retries: what the failures of one task may cost in all.
        judged: the user has a retry handler, which says what each failure costs.
    """

    def __init__(self, *, retries: float = 0, judged: bool = False) -> None:
        self.retries = retries
        self.judged = judged
        #: Tasks that have not ended, by number.
        self.open: dict[int, Node] = {}
        #: How many tasks are in each state.
        self.counts: dict[States, int] = dict.fromkeys(States, 0)
        #: Memo key -> the task that runs for all its equals.
        self.leaders: dict[str, Node] = {}
        #: Number of a task that leads -> its memo key.
        self.led_keys: dict[int, str] = {}
        self.closed = False
        self._handlers: dict[type, Callable[..., Commands]] = {
            ev.Submitted: self._submitted,
            ev.DependencyEnded: self._dependency_ended,
            ev.Prepared: self._prepared,
            ev.Unprepared: self._unprepared,
            ev.LookedUp: self._looked_up,
            ev.Launched: self._launched,
            ev.AttemptEnded: self._attempt_ended,
            ev.OutcomeTold: self._outcome_told,
            ev.Judged: self._judged,
            ev.Recorded: self._recorded,
            ev.Joined: self._joined,
            ev.InnerEnded: self._inner_ended,
            ev.CancelAsked: self._cancel_asked,
            ev.LaunchAsked: self._launch_asked,
            ev.StateAsked: self._state_asked,
            ev.Closed: self._close,
        }

    def handle(self, event: ev.Event) -> Commands:
        """Take one event; return what is to be done, in order.

        Raises:
            IllegalTransition: the event asks for a step that the task's state does not allow;
                nothing has changed.
        """
        return self._handlers[type(event)](event)

    # --- a task begins -----------------------------------------------------------------------

    def _submitted(self, event: ev.Submitted) -> Commands:
        node = event.node
        self._step(node, Step.submit)
        self.open[node.id] = node
        if self.closed:
            return self._end([(node, ev.Verdict.abandoned, None)])
        if event.broken:
            return self._end([(node, ev.Verdict.error, None)])
        node.waiting_on += event.others
        node.failed_on += event.others_failed
        if node.early:
            node.early = self._may_be_early(node, event.dependencies)
        if event.dependencies:
            connect(node, event.dependencies)
        if not node.early:
            return self._go_on(node)
        if not node.waiting_on:
            self._run_early(node)
        return [ev.Admit(node)]

    def _may_be_early(self, node: Node, dependencies: Sequence[Node]) -> bool:
        """Whether the executor needs nothing of us to run it: no value, no memo, no judgement."""
        if node.memoize or node.join or self.judged or node.waiting_on or node.failed_on:
            return False
        for source in dependencies:
            if source.phase is Phase.ended:
                if source.status in FINAL_FAILURE_STATES:
                    return False
            elif not source.early:
                return False
        return True

    def _run_early(self, node: Node) -> None:
        """What an early task waited for is there: it runs, or will as soon as there is room."""
        if node.status is States.pending:  # else it was marked as launched by hand
            self._step(node, Step.launch)
        node.phase = Phase.running

    def _dependency_ended(self, event: ev.DependencyEnded) -> Commands:
        node = event.node
        if node.phase is not Phase.waiting:
            return []
        node.waiting_on -= 1
        node.failed_on += not event.ok
        return self._go_on(node)

    def _go_on(self, node: Node) -> Commands:
        """Take a waiting task one step further, if nothing holds it."""
        if node.waiting_on:
            return []
        if node.failed_on:
            return self._end([(node, ev.Verdict.dependency, None)])
        return [self._order(node)]

    def _order(self, node: Node) -> ev.Command:
        if node.memoize:
            node.phase = Phase.preparing
            return ev.Prepare(node)
        node.phase = Phase.launching
        return ev.Launch(node, node.try_id)

    # --- the memo table ----------------------------------------------------------------------

    def _prepared(self, event: ev.Prepared) -> Commands:
        node = event.node
        if node.phase is not Phase.preparing:
            return []
        node.hashsum = key = event.key
        if type(key) is str:  # a plug-in's key may be anything; its hash would be user code
            leader = self.leaders.setdefault(key, node)
            if leader is not node:
                node.phase = Phase.twin
                if leader.twins is None:
                    leader.twins = deque()
                leader.twins.append(node)
                return []
            self.led_keys[node.id] = key
        node.phase = Phase.looking_up
        return [ev.LookUp(node)]

    def _unprepared(self, event: ev.Unprepared) -> Commands:
        if event.node.phase in (Phase.preparing, Phase.looking_up):
            return self._end([(event.node, ev.Verdict.error, None)])
        return []

    def _looked_up(self, event: ev.LookedUp) -> Commands:
        node = event.node
        if node.phase is not Phase.looking_up:
            return []
        if not event.hit:
            node.phase = Phase.launching
            return [ev.Launch(node, node.try_id)]
        verdict = ev.Verdict.from_memo if event.ok else ev.Verdict.error
        return self._end([(node, verdict, None)])

    # --- attempts ----------------------------------------------------------------------------

    def _launched(self, event: ev.Launched) -> Commands:
        node = event.node
        if node.phase is Phase.launching and event.attempt == node.try_id:
            if node.status is States.pending:  # else it was marked as launched by hand
                self._step(node, Step.launch)
            node.phase = Phase.running
        return []

    def _attempt_ended(self, event: ev.AttemptEnded) -> Commands:
        node, how = event.node, event.how
        runs = node.phase is Phase.launching or node.phase is Phase.running
        if event.attempt != node.try_id or not runs or node.early:
            if event.must:
                raise illegal(node, "handle_exec_update")
            return []
        if how is ev.Ended.succeeded:
            if node.phase is Phase.launching:  # it overtook the word that it was taken
                self._launched(ev.Launched(node, event.attempt))
            if node.join:
                node.phase = Phase.watching
                return [ev.Watch(node)]
            return self._finish(node, ev.Verdict.result)
        if how is ev.Ended.cancelled:
            return self._end([(node, ev.Verdict.cancelled, None)])
        if self.judged:
            # The handler sees every failure, even one that its answer cannot change.
            node.phase = Phase.judging
            node.verdict = how
            return [ev.Judge(node, node.try_id)]
        return self._failed(node, 1, how)

    def _outcome_told(self, event: ev.OutcomeTold) -> Commands:
        node, how = event.node, event.how
        if not node.early or node.phase is Phase.ended:
            return []
        if node.phase is Phase.waiting:
            if event.blamed or node.failed_on:
                node.failed_on += event.blamed
                return []  # our own verdict comes when all that it waits for has ended
            node.waiting_on = 0  # it overtook the word that they have ended
            self._run_early(node)
        if event.rows < node.rows:
            return self._rows_told(node, how, event.rows)
        for number in range(event.failed):
            self._charge(node, 0 if number < event.free else 1)
            self._next_attempt(node)
            self._run_early(node)
        if how is not ev.Ended.succeeded and how is not ev.Ended.cancelled:
            self._charge(node, 1)
        return self._end([(node, _verdict_of(how), None)])

    def _rows_told(self, node: Node, how: ev.Ended, rows: int) -> Commands:
        """Some rows of a bundle have ended; it goes on with the others."""
        node.rows -= rows
        self.counts[node.status] -= rows
        self.counts[_STATE_OF_ROWS[how]] += rows
        return []

    def _judged(self, event: ev.Judged) -> Commands:
        node = event.node
        if node.phase is not Phase.judging or event.attempt != node.try_id:
            return []
        how = ev.Ended(node.verdict)
        return self._failed(node, event.cost, ev.Ended.hopeless if event.hopeless else how)

    def _failed(self, node: Node, cost: float, how: ev.Ended) -> Commands:
        allowed = self._charge(node, cost)
        if how is not ev.Ended.failed or not allowed or self.closed:
            return self._finish(node, _verdict_of(how))
        return [self._try_again(node)]

    def _charge(self, node: Node, cost: float) -> bool:
        node.fail_count += 1
        node.fail_cost, allowed = charge(node.fail_cost, cost, self.retries)
        return allowed

    def _next_attempt(self, node: Node) -> None:
        self._step(node, Step.retry)
        self._step(node, Step.again)
        node.try_id += 1

    def _try_again(self, node: Node) -> ev.Command:
        self._next_attempt(node)
        node.phase = Phase.launching
        return ev.Launch(node, node.try_id)

    def _finish(self, node: Node, verdict: ev.Verdict) -> Commands:
        """End a task whose own code has run: first its outcome goes into the memo table."""
        if not node.memoize:
            return self._end([(node, verdict, None)])
        node.phase = Phase.recording
        node.verdict = verdict
        return [ev.Record(node, ok=verdict is ev.Verdict.result)]

    def _recorded(self, event: ev.Recorded) -> Commands:
        if event.node.phase is not Phase.recording:
            return []
        return self._end([(event.node, ev.Verdict(event.node.verdict), None)])

    # --- joins -------------------------------------------------------------------------------

    def _joined(self, event: ev.Joined) -> Commands:
        node = event.node
        if node.phase is not Phase.watching:
            return []
        self._step(node, Step.join_on)
        node.phase = Phase.joining
        node.waiting_on = event.inner
        node.failed_on = event.failed
        return self._join_on(node)

    def _inner_ended(self, event: ev.InnerEnded) -> Commands:
        node = event.node
        if event.must:
            # Said by hand. All inner tasks are watched: counting it again would end the join early.
            if node.phase is not Phase.joining:
                raise illegal(node, "handle_join_update")
            return []
        if node.phase is not Phase.joining:
            return []
        node.waiting_on -= 1
        node.failed_on += not event.ok
        return self._join_on(node)

    def _join_on(self, node: Node) -> Commands:
        if node.waiting_on:
            return []
        return self._finish(node, ev.Verdict.inner if node.failed_on else ev.Verdict.result)

    # --- what people ask for -----------------------------------------------------------------

    def _cancel_asked(self, event: ev.CancelAsked) -> Commands:
        node = event.node
        if node.status is States.unsched:  # so early that the kernel does not know of it
            return []
        if node.phase is Phase.ended or node.phase is Phase.recording:
            return []
        if node.phase is Phase.running and not event.stopped and not node.early:
            return []
        return self._end([(node, ev.Verdict.cancelled, None)])

    def _launch_asked(self, event: ev.LaunchAsked) -> Commands:
        # A task that is ready is on its way in the same step, so there is never one to launch.
        if event.must:
            raise illegal(event.node, Step.launch.name)
        return []

    def _state_asked(self, event: ev.StateAsked) -> Commands:
        node, state = event.node, event.state
        if not steps_to(node.status, state) or not self._may_be_set(node, state):
            raise illegal(node, f"update_task_state({state.name}) in phase {node.phase.name}")
        if state is States.failed:
            return self._end([(node, ev.Verdict.abandoned, None)])
        if state is States.dep_fail:
            return self._end([(node, ev.Verdict.dependency, None)])
        if state is States.launched:
            # A mark: what holds the task up still does, and what is ordered is carried out.
            self._step(node, Step.launch)
            return []
        if node.phase is Phase.launching or node.phase is Phase.running:
            return [self._try_again(node)]
        self._step(node, Step.retry)  # a mark too: there was no attempt yet
        self._step(node, Step.again)
        return []

    def _may_be_set(self, node: Node, state: States) -> bool:
        """Whether what a state promises would be true: a result, inner tasks, an attempt."""
        if state in FINAL_FAILURE_STATES:
            return True
        if state in _BY_EVENT_ONLY or node.phase in _OUTCOME_KNOWN or self.closed:
            return False
        if node.early:  # its executor counts the attempts
            return state is States.launched
        # While the memo table may still have it, it may end without being launched.
        return state is not States.launched or not node.memoize or node.phase is Phase.launching

    def _close(self, event: ev.Closed) -> Commands:
        self.closed = True
        ending: list[Ending] = []
        for node in self.open.values():
            if node.phase is Phase.recording:  # its code has run: it ends as it would have
                verdict = ev.Verdict(node.verdict)
            elif node.phase is Phase.judging:
                verdict = _verdict_of(ev.Ended(node.verdict))
            else:
                verdict = ev.Verdict.abandoned
            if event.all or (node.phase < Phase.running and not node.early):
                ending.append((node, verdict, None))
        return self._end(ending)

    # --- a task ends -------------------------------------------------------------------------

    def _end(self, ending: list[Ending]) -> Commands:
        """End tasks, and all that must end with them; then order what they had held up."""
        commands: Commands = []
        orders: Commands | None = None
        for node, verdict, leader in ending:  # the list grows while it is worked off
            if node.phase is Phase.ended:
                continue
            self._step(node, _STEP_OF_VERDICT[verdict])
            node.phase = Phase.ended
            del self.open[node.id]
            commands.append(ev.Settle(node, verdict, leader))
            if node.dependents is not None or node.id in self.led_keys:
                if orders is None:
                    orders = []
                ending += self._pass_on(node, orders)
                ending += self._release(node, orders)
        if orders:
            commands += orders
        return commands

    def _release(self, node: Node, orders: Commands) -> list[Ending]:
        """Order what only waited for this task; return what must fail with it."""
        bad = node.status in FINAL_FAILURE_STATES
        failing: list[Ending] = []
        for dependent in release(node):
            if dependent.phase is not Phase.waiting:
                continue
            dependent.waiting_on -= 1
            dependent.failed_on += bad
            if dependent.waiting_on:
                continue
            if dependent.failed_on:
                failing.append((dependent, ev.Verdict.dependency, None))
            elif dependent.early:
                self._run_early(dependent)
            elif not self.closed:
                orders.append(self._order(dependent))
        return failing

    def _pass_on(self, leader: Node, orders: Commands) -> list[Ending]:
        """Give the twins of a task that has ended its result, or let the first of them lead."""
        key = self.led_keys.pop(leader.id, None)
        if key is None:
            return []
        del self.leaders[key]
        twins, leader.twins = leader.twins, None
        if twins is None:
            return []
        if leader.status not in FINAL_FAILURE_STATES:
            return [(twin, ev.Verdict.twin, leader) for twin in twins]
        while twins and not self.closed:  # when closing, they end without another try
            heir = twins.popleft()
            if heir.phase is Phase.twin:
                heir.twins = twins or None
                self.leaders[key] = heir
                self.led_keys[heir.id] = key
                heir.phase = Phase.looking_up
                orders.append(ev.LookUp(heir))
                break
        return []

    def _step(self, node: Node, step: Step) -> None:
        old, rows = advance(node, step), node.rows
        if old is not States.unsched:
            self.counts[old] -= rows
        self.counts[node.status] += rows


def _verdict_of(how: ev.Ended) -> ev.Verdict:
    return _VERDICTS[how]
