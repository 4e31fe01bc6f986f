"""Questions of clients that workers' shells answer: passed on, gathered, never left open."""

from __future__ import annotations

import pytest

from tests.unit.cluster.server_world import ServerWorld, submit
from treadle import wire
from treadle.cluster import _server_relay
from treadle.cluster._server_relay import PATIENCE_S
from treadle.wire import task_id

T1 = task_id(1, 1)


@pytest.fixture
def world():
    world = ServerWorld()
    yield world
    assert world.crashes == []


def ask(world, client, what, *workers, ask=5, **fields):
    """Ask; what the client was told at once."""
    before = len(client.heard(wire.Reply))
    client.say(wire.Inquire(ask, what, workers, **fields))
    world.loop.advance(0)
    return client.heard(wire.Reply)[before:]


def inquiry(worker):
    """What a worker was asked last."""
    return worker.heard(wire.Inquiry)[-1]


def test_a_question_goes_to_all_workers_and_comes_back_as_one_answer(world):
    client, a, b = world.client(), world.worker("a"), world.worker("b")
    assert ask(world, client, "logs", most=7) == []
    for worker in (a, b):
        assert (inquiry(worker).what, inquiry(worker).most) == ("logs", 7)
    a.say(wire.Answer(inquiry(a).ask, [["INFO", "of a"]]))
    assert client.heard(wire.Reply) == []
    b.say(wire.Answer(inquiry(b).ask, error="it cannot"))
    (reply,) = client.heard(wire.Reply)
    assert reply.ask == 5
    assert reply.value == [{"a": [["INFO", "of a"]]}, {"b": "it cannot"}]


def test_only_those_are_asked_who_are_meant(world):
    client, a, b = world.client(), world.worker("a"), world.worker("b")
    ask(world, client, "logs", "b", "b")
    assert a.heard(wire.Inquiry) == []
    assert len(b.heard(wire.Inquiry)) == 1


def test_who_is_not_known_is_an_error_that_names_who_is(world):
    client = world.client()
    world.worker("a")
    (reply,) = ask(world, client, "logs", "z")
    assert reply.error == "no such worker: z; there are: a"
    (reply,) = ask(world, client, "rumours")
    assert "'rumours'" in reply.error
    assert "call_stack" in reply.error


def test_without_workers_the_answer_is_empty(world):
    (reply,) = ask(world, world.client(), "logs")
    assert reply.value == [{}, {}]


def test_who_does_not_answer_is_waited_for_no_longer_than_that(world):
    client, a = world.client(), world.worker("a")
    ask(world, client, "versions")
    world.loop.advance(PATIENCE_S - 0.1)
    assert client.heard(wire.Reply) == []
    world.loop.advance(0.2)
    (reply,) = client.heard(wire.Reply)
    assert reply.value == [{}, {"a": f"it has not answered in {PATIENCE_S:g} s"}]
    a.say(wire.Answer(inquiry(a).ask, {}))
    assert len(client.heard(wire.Reply)) == 1


def test_a_lost_link_is_an_answer(world):
    client, a, b = world.client(), world.worker("a"), world.worker("b")
    ask(world, client, "logs")
    a.lose()
    b.say(wire.Answer(inquiry(b).ask, []))
    (reply,) = client.heard(wire.Reply)
    assert reply.value == [{"b": []}, {"a": "the link to it was lost"}]
    (reply,) = ask(world, client, "logs", "a")
    assert reply.value == [{}, {"a": "there is no link to it just now"}]


def test_an_answer_counts_once_and_only_from_who_was_asked(world):
    client, a, b = world.client(), world.worker("a"), world.worker("b")
    ask(world, client, "logs", "a")
    number = inquiry(a).ask
    b.say(wire.Answer(number, [["INFO", "not mine to tell"]]))
    b.say(wire.Answer(12345, []))
    assert client.heard(wire.Reply) == []
    a.say(wire.Answer(number, []), wire.Answer(number, []))
    assert len(client.heard(wire.Reply)) == 1


def test_stacks_are_asked_of_those_who_run_the_tasks_and_have_keys(world):
    client, a, b = world.client(), world.worker("a"), world.worker("b")
    client.say(submit(1))
    runner, other = (a, b) if a.heard(wire.Run) else (b, a)
    ask(world, client, "call_stack", ids=(T1,))
    assert other.heard(wire.Inquiry) == []
    assert inquiry(runner).ids == (T1,)
    runner.say(wire.Answer(inquiry(runner).ask, [[T1, ["x.py:1 in f"]], ["mine", []]]))
    (reply,) = client.heard(wire.Reply)
    name = runner.peer.partition("/")[2]
    assert reply.value == [{name: [[T1, "f-1-1", ["x.py:1 in f"]], ["mine", "mine", []]]}, {}]
    (reply,) = ask(world, client, "call_stack", ids=("unknown",))
    assert reply.value == [{}, {}]


@pytest.mark.parametrize("value", [5, [5], [["a"]], [[{}, []]], [[1.5, []]], None])
def test_garbage_of_a_worker_is_an_error_of_its_own(world, value):
    client, a = world.client(), world.worker("a")
    ask(world, client, "call_stack")
    a.say(wire.Answer(inquiry(a).ask, value))
    (reply,) = client.heard(wire.Reply)
    assert reply.value == [{}, {"a": "it says what cannot be read"}]


def test_the_scheduler_answers_for_itself(world):
    client, a = world.client(), world.worker("a")
    (reply,) = ask(world, client, "logs", scheduler=True)
    assert reply.value == [{"scheduler": []}, {}]
    ask(world, client, "versions", ask=6, ids=("pytest",), scheduler=True)
    a.say(wire.Answer(inquiry(a).ask, {"packages": {}}))
    answers, errors = client.heard(wire.Reply)[-1].value
    assert answers["scheduler"]["packages"]["pytest"] == pytest.__version__
    assert (answers["a"], errors) == ({"packages": {}}, {})


def test_workers_and_bytes_stand_in_the_books(world):
    client = world.client()
    a = world.worker("a", slots=3)
    (reply,) = ask(world, client, "info")
    assert (reply.value["a"]["nthreads"], reply.value["a"]["status"]) == (3, "running")
    client.say(submit(1))
    (run,) = a.heard(wire.Run)
    a.say(wire.Finished(run.id, run.attempt, 1234, "int", 0.001))
    (reply,) = ask(world, client, "nbytes")
    assert reply.value == {"f-1-1": 1234}
    (reply,) = ask(world, client, "nbytes_by_name", ids=(T1, T1, "unknown"))
    assert reply.value == {"f": 1234}
    a.lose()
    (reply,) = ask(world, client, "info")
    assert reply.value["a"]["status"] == "absent"


def test_who_has_gone_is_told_nothing(world):
    client, a = world.client(), world.worker("a")
    ask(world, client, "logs")
    client.lose()
    a.say(wire.Answer(inquiry(a).ask, []))
    again = world.client()
    (reply,) = ask(world, again, "info")
    assert reply.ask == 5
    assert client.heard(wire.Reply) == []


def test_a_question_waits_for_what_was_said_before_it(world):
    link = world.link("client/new")
    link.say(wire.Attach(9, "new"), wire.Inquire(1, "info"))
    world.loop.advance(0)
    assert [type(message) for message in link.said] == [wire.Attached, wire.Reply]


def test_questions_are_bounded(world, monkeypatch):
    monkeypatch.setattr(_server_relay, "_MOST", 2)
    client = world.client()
    world.worker("a")
    assert ask(world, client, "logs", ask=1) == ask(world, client, "logs", ask=2) == []
    (reply,) = ask(world, client, "logs", ask=3)
    assert "too many" in reply.error


def test_the_end_leaves_no_timer(world):
    client = world.client()
    world.worker("a")
    ask(world, client, "logs")
    world.server.close("the end")
    assert [timer for timer in world.loop.timers if not timer.cancelled] == []
