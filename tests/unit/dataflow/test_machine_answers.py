"""Every phase and every event: an answer counts only where it was asked for, and once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.dataflow.harness import Bench, placed
from treadle.dataflow import _events as ev
from treadle.dataflow._node import Node, Phase
from treadle.dataflow.states import States
from treadle.errors import IllegalTransition

P = Phase

#: What may be said of a task, by name; for the current attempt where there is one.
SAID: dict[str, Callable[[Node], ev.Event]] = {
    "dependency ended": lambda n: ev.DependencyEnded(n, ok=True),
    "dependency failed": lambda n: ev.DependencyEnded(n, ok=False),
    "prepared": lambda n: ev.Prepared(n, "a key"),
    "prepared without key": lambda n: ev.Prepared(n, None),
    "unprepared": ev.Unprepared,
    "memo miss": lambda n: ev.LookedUp(n, hit=False),
    "memo hit": lambda n: ev.LookedUp(n, hit=True),
    "stored failure": lambda n: ev.LookedUp(n, hit=True, ok=False),
    "launched": lambda n: ev.Launched(n, n.try_id),
    "attempt succeeded": lambda n: ev.AttemptEnded(n, n.try_id, ev.Ended.succeeded),
    "attempt failed": lambda n: ev.AttemptEnded(n, n.try_id, ev.Ended.failed),
    "attempt hopeless": lambda n: ev.AttemptEnded(n, n.try_id, ev.Ended.hopeless),
    "attempt dependency": lambda n: ev.AttemptEnded(n, n.try_id, ev.Ended.dependency),
    "attempt cancelled": lambda n: ev.AttemptEnded(n, n.try_id, ev.Ended.cancelled),
    "judged": lambda n: ev.Judged(n, n.try_id, 1),
    "judged hopeless": lambda n: ev.Judged(n, n.try_id, 0, hopeless=True),
    "recorded": ev.Recorded,
    "joined": lambda n: ev.Joined(n, 1),
    "joined nothing": lambda n: ev.Joined(n, 0),
    "inner ended": lambda n: ev.InnerEnded(n, ok=True),
    "inner failed": lambda n: ev.InnerEnded(n, ok=False),
    "cancel": ev.CancelAsked,
    "cancel, stopped": lambda n: ev.CancelAsked(n, stopped=True),
    "launch asked": ev.LaunchAsked,
}

_ATTEMPT = {name for name in SAID if name.startswith("attempt")}
_CANCEL = {"cancel", "cancel, stopped"}

#: Where each counts. What is not here changes nothing at all.
COUNTS: dict[Phase, set[str]] = {
    P.waiting: {"dependency ended", "dependency failed"} | _CANCEL,
    P.preparing: {"prepared", "prepared without key", "unprepared"} | _CANCEL,
    P.looking_up: {"unprepared", "memo miss", "memo hit", "stored failure"} | _CANCEL,
    P.twin: _CANCEL,
    P.launching: {"launched"} | _ATTEMPT | _CANCEL,
    P.running: _ATTEMPT | {"cancel, stopped"},
    P.judging: {"judged", "judged hopeless"} | _CANCEL,
    P.watching: {"joined", "joined nothing"} | _CANCEL,
    P.joining: {"inner ended", "inner failed"} | _CANCEL,
    P.recording: {"recorded"},
    P.ended: set(),
}

PAIRS = [(phase, name) for phase in Phase for name in SAID]


def test_every_phase_is_told_of():
    assert set(COUNTS) == set(Phase)


@pytest.mark.parametrize(("phase", "name"), [p for p in PAIRS if p[1] not in COUNTS[p[0]]])
def test_what_was_not_asked_for_changes_nothing(phase, name):
    bench, node = placed(phase)
    before = bench.books()
    assert bench.feed(SAID[name](node)) == []
    assert bench.books() == before


@pytest.mark.parametrize(("phase", "name"), [p for p in PAIRS if p[1] in COUNTS[p[0]]])
def test_what_was_asked_for_is_taken(phase, name):
    bench, node = placed(phase)
    before = bench.books()
    bench.feed(SAID[name](node))
    assert bench.books() != before


#: Inner tasks and dependencies are counted and not known one by one: the shell tells each once.
_COUNTED = {"dependency ended", "dependency failed", "inner ended", "inner failed"}


@pytest.mark.parametrize(
    ("phase", "name"), [p for p in PAIRS if p[1] in COUNTS[p[0]] and p[1] not in _COUNTED]
)
def test_the_same_answer_again_changes_nothing(phase, name):
    bench, node = placed(phase)
    event = SAID[name](node)
    bench.feed(event)
    before = bench.books()
    assert bench.feed(event) == []
    assert bench.books() == before


def second_attempt(phase: Phase) -> tuple[Bench, Node]:
    """A task whose first attempt has failed, in the phase on its second."""
    bench, node = placed(Phase.judging)
    assert bench.feed(ev.Judged(node, 0, 1)) == [ev.Launch(node, 1)]
    if phase is not Phase.launching:
        bench.feed(ev.Launched(node, 1))
    if phase is Phase.judging:
        bench.end(node, ev.Ended.failed)
    assert (node.phase, node.try_id) == (phase, 1)
    return bench, node


@pytest.mark.parametrize("attempt", [0, 2])
@pytest.mark.parametrize("phase", [P.launching, P.running, P.judging])
@pytest.mark.parametrize(
    "event",
    [
        lambda n, attempt: ev.Launched(n, attempt),
        *[lambda n, attempt, how=how: ev.AttemptEnded(n, attempt, how) for how in ev.Ended],
        lambda n, attempt: ev.Judged(n, attempt, 1),
        lambda n, attempt: ev.Judged(n, attempt, 0, hopeless=True),
    ],
)
def test_an_answer_to_another_attempt_changes_nothing(phase, event, attempt):
    bench, node = second_attempt(phase)
    before = bench.books()
    assert bench.feed(event(node, attempt)) == []
    assert bench.books() == before


@pytest.mark.parametrize("phase", [p for p in Phase if p not in (P.launching, P.running)])
@pytest.mark.parametrize("how", ev.Ended)
def test_an_outcome_that_must_count_and_cannot_raises_the_story(phase, how):
    bench, node = placed(phase)
    before = bench.books()
    with pytest.raises(IllegalTransition, match=f"'handle_exec_update'.*\nstory of task {node.id}"):
        bench.feed(ev.AttemptEnded(node, node.try_id, how, must=True))
    assert bench.books() == before


@pytest.mark.parametrize("phase", [P.launching, P.running])
def test_an_outcome_that_must_count_counts(phase):
    bench, node = placed(phase)
    event = ev.AttemptEnded(node, 0, ev.Ended.succeeded, must=True)
    assert bench.feed(event) == [ev.Settle(node, ev.Verdict.result)]


def test_an_outcome_of_an_old_attempt_that_must_count_raises():
    bench, node = second_attempt(Phase.running)
    with pytest.raises(IllegalTransition, match="attempt 2, 1 failed attempts of cost 1"):
        bench.feed(ev.AttemptEnded(node, 0, ev.Ended.succeeded, must=True))


@pytest.mark.parametrize("phase", [p for p in Phase if p is not P.joining])
def test_an_inner_end_that_must_count_and_cannot_raises_the_story(phase):
    bench, node = placed(phase)
    before = bench.books()
    with pytest.raises(IllegalTransition, match="'handle_join_update'.*\nstory of task"):
        bench.feed(ev.InnerEnded(node, ok=True, must=True))
    assert bench.books() == before


def test_an_inner_end_told_by_hand_is_not_counted_twice():
    bench, node = placed(Phase.joining)
    before = bench.books()
    for _ in range(3):
        assert bench.feed(ev.InnerEnded(node, ok=True, must=True)) == []
    assert bench.books() == before


@pytest.mark.parametrize("phase", Phase)
def test_a_task_that_should_be_launched_now_raises_the_story_as_it_is_or_cannot(phase):
    bench, node = placed(phase)
    before = bench.books()
    with pytest.raises(IllegalTransition, match="'launch'.*\nstory of task"):
        bench.feed(ev.LaunchAsked(node, must=True))
    assert bench.books() == before


@pytest.mark.parametrize("phase", Phase)
def test_a_task_is_submitted_once(phase):
    bench, node = placed(phase)
    before = bench.books()
    with pytest.raises(IllegalTransition, match="'submit'"):
        bench.feed(ev.Submitted(node))
    assert bench.books() == before


@pytest.mark.parametrize("name", SAID)
def test_nothing_said_of_a_task_before_it_is_submitted_counts_but_its_future_dependencies(name):
    bench = Bench()
    node = bench.node()
    if name.startswith("dependency"):
        return  # the shell begins to watch them afterwards
    assert bench.feed(SAID[name](node)) == []
    assert (node.status, node.phase, node.story) == (States.unsched, Phase.waiting, 0)
    assert bench.feed(ev.Submitted(node)) == [ev.Launch(node, 0)]
