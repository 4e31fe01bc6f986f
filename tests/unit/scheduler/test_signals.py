"""Events are waited for, and variables have values."""

from __future__ import annotations

from tests.unit.scheduler.harness import task
from tests.unit.scheduler.talk import Talk, item, texts
from treadle import wire
from treadle.wire import Assign, AwaitEvent, Look, SetEvent


def test_all_who_wait_go_on_when_an_event_is_set():
    talk = Talk()
    waits = {name: talk.ask(name, AwaitEvent, "e") for name in ("ann", "bob")}
    assert talk.get("cid", AwaitEvent, "e", 0.0) is False
    talk.get("cid", SetEvent, "e", True)
    assert [talk.answers(name, ask) for name, ask in waits.items()] == [[True], [True]]
    assert talk.get("cid", AwaitEvent, "e", 0.0) is True


def test_an_event_that_is_cleared_is_waited_for_again():
    talk = Talk()
    talk.get("ann", SetEvent, "e", True)
    talk.get("ann", SetEvent, "e", False)
    assert talk.nothing_is_kept()
    waits = talk.ask("bob", AwaitEvent, "e", 3.0)
    talk.tick(3.0)
    assert talk.answers("bob", waits) == [False]
    assert talk.nothing_is_kept()


def test_an_event_stays_set_when_its_setter_leaves():
    talk = Talk()
    talk.get("ann", SetEvent, "e", True)
    talk.gone("ann")
    assert talk.get("bob", AwaitEvent, "e") is True


def test_who_was_away_while_it_was_set_for_a_moment_is_told():
    talk = Talk()
    waits = talk.ask("ann", AwaitEvent, "e")
    talk.lose_link("client/ann")
    talk.get("bob", SetEvent, "e", True)
    talk.get("bob", SetEvent, "e", False)
    talk.attach("ann")
    talk.again("ann", waits)
    assert talk.answers("ann", waits) == [True]


def test_what_was_set_before_is_not_set_again_by_a_word_that_comes_twice():
    talk = Talk()
    old = talk.ask("ann", SetEvent, "e", True)
    talk.get("bob", SetEvent, "e", False)
    talk.again("ann", old)
    assert talk.get("bob", AwaitEvent, "e", 0.0) is False
    assert talk.answers("ann", old) == [None, None]


def test_a_variable_is_read_when_it_has_a_value():
    talk = Talk()
    waits = talk.ask("ann", Look, "v")
    assert talk.get("bob", Look, "v", 0.0) is None
    talk.get("bob", Assign, "v", item("one"))
    assert texts(talk.answers("ann", waits)) == ["one"]
    talk.get("ann", Assign, "v", item("two"))
    assert texts([talk.get("bob", Look, "v")]) == ["two"]
    assert texts([talk.get("bob", Look, "v")]) == ["two"]
    talk.get("bob", Assign, "v", None)
    assert talk.nothing_is_kept()


def test_the_read_of_a_variable_ends_when_its_time_is_up():
    talk = Talk()
    waits = talk.ask("ann", Look, "v", 1.0)
    talk.tick(1.0)
    assert talk.answers("ann", waits) == [None]
    assert talk.nothing_is_kept()


def test_a_future_in_a_variable_keeps_its_result():
    talk = Talk(workers={"w": 1})
    talk.submit("ann", task("t"))
    talk.finish("t")
    talk.get("ann", Assign, "v", item("x", "t"))
    talk.release("ann", "t")
    assert talk.state("t") == "memory"
    talk.get("bob", Assign, "v", item("y"))
    talk.tick(talk.scheduler.books.policy.linger_s + 1)
    assert talk.state("t") == "forgotten"


def test_a_future_that_was_read_lingers():
    talk = Talk(workers={"w": 1})
    talk.submit("ann", task("t"))
    talk.finish("t")
    talk.get("ann", Assign, "v", item("x", "t"))
    talk.release("ann", "t")
    assert talk.get("bob", Look, "v") == [b"x", ("t",)]
    talk.get("ann", Assign, "v", None)
    assert talk.state("t") == "memory"
    talk.client("bob", wire.Desire(("t",)))
    talk.client("bob", wire.ClientBeat(1))
    talk.now += 50
    talk.client("bob", wire.ClientBeat(1))
    talk.tick(20)
    assert talk.state("t") == "memory"


def test_a_future_of_nothing_that_is_known_is_refused():
    talk = Talk()
    assert "not known" in talk.get("ann", Assign, "v", item("x", "t"))
    assert talk.nothing_is_kept()


def test_a_variable_may_be_assigned_the_future_that_it_has():
    talk = Talk(workers={"w": 1})
    talk.submit("ann", task("t"))
    talk.finish("t")
    for _ in range(3):
        talk.get("ann", Assign, "v", item("x", "t"))
    talk.release("ann", "t")
    assert talk.state("t") == "memory"
