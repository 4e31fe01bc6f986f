"""A world round the kernel's machine: a shell that answers when it likes, and who holds promises.

`World` keeps books of its own, from what it told the machine and what the machine ordered, and
never looks at the machine's to decide what is right. What it does next is picked by the caller:
by Hypothesis, which shrinks, or by dice, which are fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from treadle.dataflow import _events as ev
from treadle.dataflow._invariants import check
from treadle.dataflow._machine import Machine
from treadle.dataflow._node import Node
from treadle.dataflow.states import FINAL_FAILURE_STATES, FINAL_STATES, States
from treadle.errors import IllegalTransition


class Pick(Protocol):
    """Choose one of several."""

    def __call__(self, options: Sequence[Any], /) -> Any: ...


KEYS = ("key a", "key a", "key b", None)
COSTS = (1, 1, 1, 0, 0.5, 2, float("inf"), float("nan"), -1, 10**400)
ENDS = (*[ev.Ended.succeeded] * 12, *[ev.Ended.failed] * 4, *ev.Ended)
GOOD = (ev.Verdict.result, ev.Verdict.from_memo, ev.Verdict.twin)


@dataclass
class Life:
    """What we know of one task."""

    node: Node
    deps: list[Life] = field(default_factory=list)
    #: Futures of others that have not ended; whether one of them failed.
    foreign: int = 0
    foreign_failed: bool = False
    broken: bool = False
    key: str | None = None
    prepared: bool = False
    unprepared: bool = False
    #: What the memo table said: None before it was asked.
    miss: bool | None = None
    stored_failure: bool = False
    #: Number of launches; the attempt that runs; how it ended, told in time.
    launches: int = 0
    ended: ev.Ended | None = None
    hopeless: bool = False
    spent: float = 0
    cancel_asked: bool = False
    #: States that were asked for by hand and given.
    by_hand: list[States] = field(default_factory=list)
    inner: int | None = None
    inner_failed: bool = False
    recorded: bool = False
    verdict: ev.Verdict | None = None
    #: It was handed over early; it was told to lack something while it waited for others.
    early: bool = False
    blamed: bool = False
    #: Attempts that the executor says have failed; rows that have not ended, and where others are.
    failures: int = 0
    rows: int = 1
    rows_ended: list[States] = field(default_factory=list)
    #: Commands that have not been answered; of a launch, until its attempt has ended.
    orders: list[ev.Command] = field(default_factory=list)

    @property
    def dependencies_ended(self) -> bool:
        return self.foreign == 0 and all(dep.verdict is not None for dep in self.deps)

    @property
    def dependencies_failed(self) -> bool:
        return self.foreign_failed or any(dep.verdict not in GOOD for dep in self.deps)

    @property
    def holds_key(self) -> bool:
        """Is the one that runs for its key."""
        return self.miss is not None or any(type(o) is ev.LookUp for o in self.orders)


class World:
    """One machine, its shell and its users."""

    def __init__(self, *, retries: float, judged: bool) -> None:
        self.machine = Machine(retries=retries, judged=judged)
        self.retries = retries
        self.judged = judged
        self.lives: list[Life] = []
        self.closed: ev.Closed | None = None
        #: Events that may be said again, at any time.
        self.said: list[ev.Event] = []
        #: False while a step is being taken: it has failed, and the rest says nothing.
        self.sound = True

    # --- one step ------------------------------------------------------------------------------

    def feed(self, event: ev.Event) -> None:
        """Tell the machine something, and hold what it orders against the promises."""
        self.sound = False
        for command in self.machine.handle(event):
            life = self.lives[command.node.id]
            assert life.verdict is None, "nothing happens to a task that has ended"
            if isinstance(command, ev.Settle):
                self.settled(life, command)
            else:
                self.ordered(life, command)
        check(self.machine)
        self.balance()
        self.sound = True

    def settled(self, life: Life, command: ev.Settle) -> None:
        verdict = command.verdict
        assert life.node.status in FINAL_STATES
        assert (verdict in GOOD) == (life.node.status not in FINAL_FAILURE_STATES)
        assert (command.leader is not None) == (verdict is ev.Verdict.twin)
        leader = None if command.leader is None else self.lives[command.leader.id]
        assert WHY[verdict](self, life, leader), f"{life} must not end by {verdict.name}"
        life.verdict = verdict

    def ordered(self, life: Life, command: ev.Command) -> None:
        assert self.closed is None or not isinstance(command, ev.Prepare | ev.LookUp | ev.Launch)
        assert self.closed is None or not self.closed.all
        if isinstance(command, ev.Prepare | ev.LookUp | ev.Launch):
            assert life.dependencies_ended
            assert not life.dependencies_failed
            assert not life.broken
        if isinstance(command, ev.LookUp):
            assert life.prepared
            assert life.miss is None, "the memo table is asked once"
            same = [x for x in self.lives if x.key == life.key and x.verdict is None]
            assert life.key is None or not any(x.holds_key for x in same), "equal calls run once"
        if isinstance(command, ev.Admit):
            assert not life.broken
            assert not life.node.memoize
            assert not life.node.join
            assert not self.judged
            assert all(d.verdict in GOOD or (d.verdict is None and d.early) for d in life.deps)
            assert not life.early, "it is handed over once"
            life.early = True
        if isinstance(command, ev.Launch):
            assert not life.early, "its executor has it"
            assert command.attempt == life.launches
            by_hand = life.by_hand.count(States.fail_retryable)
            assert life.launches == 0 or life.spent <= self.retries or by_hand
            assert life.miss is True or not life.node.memoize
            life.launches += 1
            life.ended = None
        if isinstance(command, ev.Judge):
            assert self.judged
            assert command.attempt == life.launches - 1
        if isinstance(command, ev.Record):
            assert life.node.memoize
        life.orders.append(command)

    def balance(self) -> None:
        """Every task is counted where it is, and none is forgotten."""
        counts = dict.fromkeys(States, 0)
        for life in self.lives:
            counts[life.node.status] += life.rows
            for state in life.rows_ended:
                counts[state] += 1
            assert (life.node.id in self.machine.open) == (life.verdict is None)
            assert life.verdict is not None or self.cause_to_wait(life), f"{life} is forgotten"
        assert counts == self.machine.counts

    def cause_to_wait(self, life: Life) -> bool:
        """Something is still to come that moves the task."""
        held = not life.dependencies_ended or life.inner
        assert (
            not life.early
            or life.by_hand
            or life.node.status is (States.pending if held else States.launched)
        ), "it is pending until its dependencies have ended"
        if not life.dependencies_ended or life.inner:
            return True
        if any(not isinstance(o, ev.Launch) or o.attempt == life.launches - 1 for o in life.orders):
            return True
        if life.key is None or not life.prepared:
            return False
        return any(x.key == life.key and x.holds_key and x.verdict is None for x in self.lives)

    # --- what may happen -----------------------------------------------------------------------

    @property
    def orders(self) -> list[tuple[Life, ev.Command]]:
        return [(life, order) for life in self.lives for order in life.orders]

    def submit(self, pick: Pick) -> None:
        """Somebody calls an app."""
        node = Node(len(self.lives), memoize=pick([True, False]), join=pick([False, False, True]))
        life = Life(node)
        hopeful = [x for x in self.lives if x.verdict is None or x.verdict in GOOD]
        known = (hopeful if pick([True] * 9 + [False]) else self.lives)[-6:]
        if known:
            life.deps = [pick(known) for _ in range(pick([0, 0, 0, 0, 1, 1, 2, 3]))]
            if pick([True, False]):
                life.deps = [dep for dep in life.deps if dep.early or dep.verdict in GOOD]
        self.lives.append(life)
        node.early = pick([False, True])
        life.foreign = pick([0, 0, 0, 1, 2])
        failed = pick([0] * 29 + [1])
        life.foreign_failed = bool(failed)
        life.broken = pick([False] * 29 + [True])
        if life.broken:
            life.deps, life.foreign, life.foreign_failed, failed = [], 0, False, 0
        plain = not (self.judged or node.memoize or node.join or life.foreign or failed)
        if node.early and plain and all(d.early and d.verdict in (None, *GOOD) for d in life.deps):
            node.rows = life.rows = pick([1, 1, 1, 4])  # only what is surely early has rows
        dependencies = [dep.node for dep in life.deps]
        self.feed(ev.Submitted(node, dependencies, life.foreign, failed, life.broken))

    def foreign_ends(self, pick: Pick) -> None:
        """A future that somebody waits for, and that is no task of ours, ends."""
        waiting = [life for life in self.lives if life.foreign]
        if waiting:
            life, ok = pick(waiting), pick([True] * 9 + [False])
            life.foreign -= 1
            life.foreign_failed |= not ok
            self.feed(ev.DependencyEnded(life.node, ok))

    def inner_ends(self, pick: Pick) -> None:
        """One of the futures that a join app returned ends."""
        waiting = [life for life in self.lives if life.inner]
        if waiting:
            life, ok = pick(waiting), pick([True] * 9 + [False])
            assert life.inner is not None
            life.inner -= 1
            life.inner_failed |= not ok
            self.feed(ev.InnerEnded(life.node, ok))

    def answer(self, pick: Pick) -> None:
        """The shell answers one of its orders, not always the oldest."""
        orders = self.orders
        if orders:
            life, order = pick(orders)
            ANSWERS[type(order)](self, life, order, pick)

    def say(self, event: ev.Event) -> None:
        self.said.append(event)
        self.feed(event)

    def repeat(self, pick: Pick) -> None:
        """Something is said again, as late as it likes."""
        if self.said:
            self.feed(pick(self.said[-30:]))

    def cancel(self, pick: Pick) -> None:
        """Somebody cancels a task; its attempt is stopped if it can be."""
        if not self.lives:
            return
        life = pick(self.lives)
        runs = any(isinstance(order, ev.Launch) for order in life.orders)
        stopped = runs and pick([True, False])
        life.cancel_asked = True
        self.say(ev.CancelAsked(life.node, stopped))

    def ask_state(self, pick: Pick) -> None:
        """Somebody sets a task to a state, or fails to."""
        if not self.lives:
            return
        life, state = pick(self.lives), pick([*States, States.launched, States.fail_retryable])
        life.by_hand.append(state)
        try:
            self.feed(ev.StateAsked(life.node, state))
        except IllegalTransition:
            life.by_hand.pop()
            self.sound = True
            check(self.machine)
            self.balance()

    def ask_in_vain(self, pick: Pick) -> None:
        """Somebody asks by hand for what happens by itself."""
        if not self.lives:
            return
        node = pick(self.lives).node
        self.feed(ev.LaunchAsked(node))
        for event in (ev.LaunchAsked(node, must=True), ev.InnerEnded(node, ok=True, must=True)):
            try:
                self.feed(event)
            except IllegalTransition:
                self.sound = True

    def close(self, *, all_: bool) -> None:
        """The kernel ends."""
        self.closed = ev.Closed(all_ or (self.closed is not None and self.closed.all))
        self.feed(ev.Closed(all_))
        if all_:
            assert self.machine.open == {}
            assert all(life.verdict is not None for life in self.lives)

    def quiet_down(self, pick: Pick) -> None:
        """All that is owed is answered; then everything has ended."""
        for _ in range(100_000):
            if self.orders:
                self.answer(pick)
            elif any(life.foreign for life in self.lives):
                self.foreign_ends(pick)
            elif any(life.inner for life in self.lives):
                self.inner_ends(pick)
            else:
                break
        assert [life for life in self.lives if life.verdict is None] == []
        assert (self.machine.open, self.machine.leaders, self.machine.led_keys) == ({}, {}, {})
        assert all(life.node.dependents is None for life in self.lives)
        assert all(life.node.twins is None for life in self.lives)


# --- how a task may end, and what must have happened before ------------------------------------


def _result(world: World, life: Life, leader: Life | None) -> bool:
    assert life.node.fail_count == life.failures or not life.early
    # Where the kernel ends, a result does not wait until it has been recorded.
    recorded = life.recorded or not life.node.memoize or world.closed == ev.Closed(all=True)
    joined = not life.node.join or (life.inner == 0 and not life.inner_failed)
    return life.ended is ev.Ended.succeeded and joined and recorded


def _error(world: World, life: Life, leader: Life | None) -> bool:
    if life.broken or life.unprepared or life.stored_failure:
        return True
    assert life.node.fail_count == life.failures or not life.early
    return life.ended in (ev.Ended.failed, ev.Ended.hopeless) or life.hopeless


def _dependency(world: World, life: Life, leader: Life | None) -> bool:
    if States.dep_fail in life.by_hand or life.ended is ev.Ended.dependency:
        return True
    return life.dependencies_ended and (life.dependencies_failed or life.blamed)


def _inner(world: World, life: Life, leader: Life | None) -> bool:
    return life.ended is ev.Ended.succeeded and life.inner == 0 and life.inner_failed


def _twin(world: World, life: Life, leader: Life | None) -> bool:
    assert leader is not None
    good = leader.verdict in (ev.Verdict.result, ev.Verdict.from_memo)
    return good and leader.key == life.key and life.key is not None and life.launches == 0


#: Whether a task may end so: what must be true of it.
WHY: dict[ev.Verdict, Callable[[World, Life, Life | None], bool]] = {
    ev.Verdict.result: _result,
    ev.Verdict.error: _error,
    ev.Verdict.from_memo: lambda w, life, _: life.miss is False and life.launches == 0,
    ev.Verdict.dependency: _dependency,
    ev.Verdict.inner: _inner,
    ev.Verdict.cancelled: lambda w, life, _: life.cancel_asked or life.ended is ev.Ended.cancelled,
    ev.Verdict.abandoned: lambda w, life, _: w.closed is not None or States.failed in life.by_hand,
    ev.Verdict.twin: _twin,
}


# --- how an order may be answered ---------------------------------------------------------------


def _prepare(world: World, life: Life, order: ev.Prepare, pick: Pick) -> None:
    life.orders.remove(order)
    if pick([True] * 19 + [False]):
        key = pick(KEYS)
        if life.verdict is None:
            life.key, life.prepared = key, True
        world.say(ev.Prepared(life.node, key))
    else:
        life.unprepared = True
        world.say(ev.Unprepared(life.node))


def _look_up(world: World, life: Life, order: ev.LookUp, pick: Pick) -> None:
    life.orders.remove(order)
    said = pick(["miss", "miss", "miss", "miss", "miss", "hit", "hit", "failure", "raised"])
    life.miss = said == "miss"
    life.stored_failure = said == "failure"
    if said == "raised":
        life.unprepared = True
        world.say(ev.Unprepared(life.node))
    else:
        world.say(ev.LookedUp(life.node, said != "miss", said != "failure"))


def _launch(world: World, life: Life, order: ev.Launch, pick: Pick) -> None:
    node, attempt = order.node, order.attempt
    launched = ev.Launched(node, attempt)
    if launched not in world.said and pick([True, True, False]):
        world.say(launched)
        return
    life.orders.remove(order)
    how = pick(ENDS)
    if life.verdict is None and attempt == life.launches - 1:
        life.ended = how
        if how in (ev.Ended.failed, ev.Ended.hopeless, ev.Ended.dependency) and not world.judged:
            life.spent += 1
    world.say(ev.AttemptEnded(node, attempt, how))
    if launched not in world.said:
        world.said.append(launched)  # it was overtaken, and may come yet


def _admit(world: World, life: Life, order: ev.Admit, pick: Pick) -> None:
    """The executor's scheduler tells how a task ended, or some rows of it."""
    if not life.dependencies_ended and pick([True] * 9 + [False]):
        return  # it comes after those of its dependencies, as a rule
    rows = pick([1, life.rows])
    if rows == life.rows:
        life.orders.remove(order)
    how, failed, blamed = pick(ENDS), pick([0, 0, 0, 1, 2]), False
    if how is not ev.Ended.succeeded and rows == life.rows:
        blamed = pick([True, False])
    event = ev.OutcomeTold(order.node, how, failed, blamed, rows)
    if life.verdict is None:
        doomed = not life.dependencies_ended and (
            blamed or life.blamed or any(dep.verdict not in (None, *GOOD) for dep in life.deps)
        )
        life.blamed |= blamed and doomed
        if not doomed and rows == life.rows:
            life.ended = how
            life.failures = failed + (how not in (ev.Ended.succeeded, ev.Ended.cancelled))
        elif not doomed:
            life.rows -= rows
            life.rows_ended += [STATE_OF_ROW.get(how, States.failed)] * rows
    if rows == life.rows:
        world.say(event)
    else:
        world.feed(event)


STATE_OF_ROW = {ev.Ended.succeeded: States.exec_done, ev.Ended.dependency: States.dep_fail}


def _judge(world: World, life: Life, order: ev.Judge, pick: Pick) -> None:
    life.orders.remove(order)
    cost, hopeless = pick(COSTS), pick([False] * 6 + [True])
    if order.attempt == life.launches - 1:
        try:
            life.spent += float(cost)
        except OverflowError:
            life.spent = float("inf")
        life.hopeless = hopeless
    world.say(ev.Judged(order.node, order.attempt, cost, hopeless))


def _record(world: World, life: Life, order: ev.Record, pick: Pick) -> None:
    life.orders.remove(order)
    good = life.ended is ev.Ended.succeeded and not life.inner_failed
    assert life.verdict is not None or order.ok == good
    life.recorded = True
    world.say(ev.Recorded(order.node))


def _watch(world: World, life: Life, order: ev.Watch, pick: Pick) -> None:
    life.orders.remove(order)
    life.inner = pick([0, 1, 2, 3])
    world.say(ev.Joined(order.node, life.inner))


ANSWERS: dict[type, Callable[[World, Life, Any, Pick], None]] = {
    ev.Prepare: _prepare,
    ev.LookUp: _look_up,
    ev.Launch: _launch,
    ev.Admit: _admit,
    ev.Judge: _judge,
    ev.Record: _record,
    ev.Watch: _watch,
}
