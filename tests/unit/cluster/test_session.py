"""A session on the engine thread: links come and go, the scheduler too."""

from __future__ import annotations

import threading
import time

import pytest

from tests.unit.cluster.session_bench import FakeHome
from treadle import wire
from treadle.cluster._ledger import CALLS
from treadle.cluster._session import Session
from treadle.dataflow._sink import SinkTask
from treadle.errors import ResultLost, SchedulerLost


class Heard:
    """What a kernel is told."""

    def __init__(self, session):
        self.outcomes = {}
        self._changed = threading.Condition()
        session.listener = session.call_listener = self

    def __call__(self, outcomes):
        with self._changed:
            self.outcomes.update({outcome.id: outcome for outcome in outcomes})
            self._changed.notify_all()

    def wait(self, number):
        with self._changed:
            assert self._changed.wait_for(lambda: number in self.outcomes, 5), "not told"
        return self.outcomes[number]


@pytest.fixture
def make():
    sessions = []

    def make(home, **more):
        session = Session(home, name="me", echo=False, **more)
        sessions.append(session)
        session.start()
        return session, Heard(session)

    yield make
    for session in sessions:
        session.close(bring=False)


def task(number, *needs):
    return SinkTask(number, "f", b"call", needs)


def until(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


def on_engine(session, fn):
    """Have this done on the engine thread, and wait for it."""
    session.inbox.call(fn)


def test_tasks_go_and_outcomes_come(make):
    home = FakeHome()
    session, heard = make(home)
    session.admit([task(0), task(1, 0)])
    assert heard.wait(1).value.load() == 42
    first = [type(message) for message in home.scheduler.heard_all][:2]
    assert first == [wire.Attach, wire.Submit]


def test_surroundings_and_functions_go_before_the_tasks_that_need_them(make):
    home = FakeHome()
    session, heard = make(home, world=wire.World(("/x",), "/", 0))
    session.depot.keep_code(b"d" * 16, "f", b"pickle")
    session.admit([task(0)])
    heard.wait(0)
    kinds = [type(message) for message in home.scheduler.heard_all]
    assert kinds == [wire.World, wire.Attach, wire.Code, wire.Submit]


def test_what_is_said_in_one_turn_goes_in_one_message(make):
    home = FakeHome()
    session, heard = make(home)

    def burst():
        for number in range(50):
            session.admit([task(number)])

    on_engine(session, burst)
    heard.wait(49)
    submits = [m for m in home.scheduler.heard_all if type(m) is wire.Submit]
    assert [len(submit.tasks) for submit in submits] == [50]


def test_calls_and_a_kernels_tasks_have_listeners_of_their_own(make):
    session, heard = make(FakeHome())
    calls = {}
    session.call_listener = lambda outcomes: calls.update({o.id: o for o in outcomes})
    session.admit_one(task(CALLS))
    session.admit([task(0)])
    heard.wait(0)
    until(lambda: CALLS in calls)
    assert list(heard.outcomes) == [0]


def test_when_the_scheduler_is_lost_all_ends_and_the_next_task_starts_another(make):
    home = FakeHome()
    home.hold = True
    session, heard = make(home)
    session.admit([task(0)])
    until(lambda: home.scheduler.held)
    on_engine(session, lambda: home.scheduler.link.close())
    error = heard.wait(0).error()
    assert (type(error), error.exit_code, error.log_tail) == (SchedulerLost, -9, "last words")
    home.hold = False
    session.admit([task(1)])
    assert heard.wait(1).value.load() == 42
    assert (home.starts, home.buried) == (2, 1)


def test_what_comes_while_it_is_found_out_how_the_scheduler_ended_goes_to_the_next(make):
    home = FakeHome()
    session, heard = make(home)
    session.admit([task(0)])
    heard.wait(0)
    home.may_bury.clear()
    on_engine(session, lambda: home.scheduler.link.close())
    on_engine(session, lambda: None)
    session.admit([task(1)])
    home.may_bury.set()
    assert heard.wait(1).value.load() == 42


def test_a_scheduler_that_cannot_be_started_again_ends_what_waits_for_it(make):
    home = FakeHome(refuses=OSError("no more processes"))
    session, heard = make(home)
    session.admit([task(0)])
    heard.wait(0)
    on_engine(session, lambda: home.scheduler.link.close())
    until(lambda: home.buried)
    session.admit([task(1)])
    assert "no more processes" in str(heard.wait(1).error())


def test_what_depends_on_what_was_lost_says_so(make):
    home = FakeHome()
    session, heard = make(home)
    session.admit([task(0)])
    heard.wait(0)
    on_engine(session, lambda: home.scheduler.link.close())
    until(lambda: session.ledger.past)
    session.admit([task(1, 0)])
    assert type(heard.wait(1).error()) is ResultLost
    assert session.depot.kept(0).load() == 42


def test_a_lost_link_is_dialled_again_and_nothing_is_lost(make):
    home = FakeHome(boldly=False, comes_back=True)
    home.hold = True
    session, heard = make(home)
    session.wait_until_welcome(5)
    session.admit([task(0)])
    until(lambda: home.scheduler.held)
    on_engine(session, lambda: home.scheduler.link.close())
    scheduler = home.scheduler
    until(lambda: sum(type(m) is wire.Attach for m in scheduler.heard_all) == 2)
    on_engine(session, scheduler.answer)
    assert heard.wait(0).value.load() == 42
    assert (home.starts, home.buried) == (1, 0)


def test_a_number_that_another_client_has_is_drawn_again(make):
    home = FakeHome(boldly=False)
    home.start()
    scheduler = home.scheduler
    home.start = lambda: None
    asked = []

    def refuse(messages):
        asked.extend(m.session for m in messages if type(m) is wire.Attach)
        scheduler.instead = None
        scheduler.link.send([wire.Refused("attach", "taken")])

    scheduler.instead = refuse
    session, heard = make(home)
    session.wait_until_welcome(5)
    assert session.ledger.session != asked[0]
    session.admit([task(0)])
    assert heard.wait(0).value.load() == 42


def test_who_is_forgotten_ends_what_was_open_and_goes_on(make):
    home = FakeHome(boldly=False)
    home.hold = True
    session, heard = make(home)
    session.wait_until_welcome(5)
    session.admit([task(0)])
    until(lambda: home.scheduler.held)

    def forget():
        session.ledger.known = True
        home.scheduler.link.send([wire.Refused("client", "you were silent for too long")])
        home.scheduler.machine = type(home.scheduler.machine)()
        home.scheduler._step(wire.Register("w", 1, "host", 2), "worker/w")

    on_engine(session, forget)
    assert "silent for too long" in str(heard.wait(0).error())
    home.scheduler.hold = False
    session.admit([task(1)])
    assert heard.wait(1).value.load() == 42


def test_questions_are_answered_also_when_there_is_nobody_to_ask(make):
    home = FakeHome()
    session, _ = make(home)
    answers = []
    session.request(lambda ask: wire.HasWhat(ask), answers.append)
    until(lambda: answers)
    assert answers[0].value == {"w": []}
    on_engine(session, lambda: home.scheduler.link.close())
    until(lambda: home.buried and session.ledger.past is not None)
    on_engine(session, lambda: None)
    session.request(lambda ask: wire.HasWhat(ask), answers.append)
    until(lambda: len(answers) == 2)
    assert answers[1] is None


def test_its_end_says_goodbye_and_ends_what_is_open(make):
    home = FakeHome()
    home.hold = True
    session, heard = make(home)
    session.admit([task(0)])
    until(lambda: home.scheduler.held)
    session.close()
    assert "has been shut down" in str(heard.wait(0).error())
    assert type(home.scheduler.heard_all[-1]) is wire.Leave
    assert home.ended
    session.admit([task(1)])
    assert "has been shut down" in str(heard.wait(1).error())


def test_given_up_it_fails_all_with_the_reason(make):
    home = FakeHome()
    home.hold = True
    session, heard = make(home)
    session.admit([task(0)])
    until(lambda: home.scheduler.held)
    reason = ValueError("no blocks")
    session.give_up(reason)
    assert heard.wait(0).error() is reason
    session.admit([task(1)])
    assert heard.wait(1).error() is reason


def test_a_message_that_is_too_large_ends_its_task_alone(make):
    session, heard = make(FakeHome())
    submit = wire.Submit((wire.TaskSpec(session.base + 5, "f", b"x"),))
    session.admit([task(0)])
    heard.wait(0)

    def too_large():
        session.ledger.wants[session.base + 5] = "f"
        session._unsent(submit, "70 MB is over the limit")

    on_engine(session, too_large)
    assert "70 MB" in str(heard.wait(5).error())
