"""Places are given in turn, end with their holder, and have tokens that never go back."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.talk import Talk
from treadle import wire
from treadle.wire import Acquire, GiveBack, Holders


def test_a_free_place_is_given_at_once():
    talk = Talk()
    token = talk.get("ann", Acquire, "x")
    assert talk.get("bob", Holders, "x") == [1, [[token, "client/ann", ""]], 0]


def test_who_waits_is_served_in_turn():
    talk = Talk()
    token = talk.get("ann", Acquire, "x")
    first = talk.ask("cid", Acquire, "x")
    second = talk.ask("bob", Acquire, "x")
    assert talk.get("ann", GiveBack, "x", token) is True
    assert talk.answers("cid", first) == [token + 1]
    assert talk.answers("bob", second) == []
    talk.get("cid", GiveBack, "x", token + 1)
    assert talk.answers("bob", second) == [token + 2]


def test_so_many_have_a_place_as_there_are():
    talk = Talk()
    tokens = [talk.get(name, Acquire, "x", 2) for name in ("ann", "bob")]
    waits = talk.ask("cid", Acquire, "x", 2)
    assert len(set(tokens)) == 2
    assert talk.answers("cid", waits) == []
    assert talk.get("bob", Holders, "x")[2] == 1


def test_another_number_of_places_is_refused():
    talk = Talk()
    talk.get("ann", Acquire, "x", 2)
    assert "has 2 places" in talk.get("bob", Acquire, "x", 3)
    assert "at least 1" in talk.get("bob", Acquire, "y", 0)


def test_one_client_can_want_a_place_twice():
    talk = Talk()
    token = talk.get("ann", Acquire, "x")
    second = talk.ask("ann", Acquire, "x")
    assert talk.answers("ann", second) == []
    talk.get("ann", GiveBack, "x", token)
    assert talk.answers("ann", second) == [token + 1]


def test_a_wait_ends_when_its_time_is_up():
    talk = Talk()
    talk.get("ann", Acquire, "x")
    waits = talk.ask("bob", Acquire, "x", timeout_s=2.0)
    assert talk.scheduler.wake_at == talk.now + 2
    talk.tick(1.9)
    assert talk.answers("bob", waits) == []
    talk.tick(0.1)
    assert talk.answers("bob", waits) == [None]
    assert talk.get("ann", Holders, "x")[2] == 0


def test_no_time_is_not_waited_for():
    talk = Talk()
    talk.get("ann", Acquire, "x")
    assert talk.get("bob", Acquire, "x", timeout_s=0.0) is None


@pytest.mark.parametrize("how", ["leaves", "dies", "is forgotten"])
def test_the_places_of_who_ends_are_free(how):
    talk = Talk()
    talk.get("ann", Acquire, "x")
    waits = talk.ask("bob", Acquire, "x")
    behind = talk.ask("ann", Acquire, "x")
    if how == "leaves":
        talk.client("ann", wire.Leave())
    elif how == "dies":
        talk.gone("ann")
    else:
        talk.lose_link("client/ann")
        for _ in range(12):
            talk.client("bob", wire.ClientBeat(1))
            talk.tick(3.0)
    assert len(talk.answers("bob", waits)) == 1
    assert talk.answers("ann", behind) == []
    assert talk.get("bob", Holders, "x")[2] == 0


def test_who_was_forgotten_holds_an_older_token_than_whoever_came_after():
    talk = Talk()
    stale = talk.get("ann", Acquire, "x")
    talk.gone("ann")
    talk.attach("ann", 9)
    token = talk.get("bob", Acquire, "x")
    assert token > stale
    assert "do not hold" in talk.get("ann", GiveBack, "x", stale)
    assert talk.get("bob", Holders, "x")[1][0][0] == token


def test_tokens_go_up_though_nobody_remembers_the_name():
    talk = Talk()
    token = talk.get("ann", Acquire, "x")
    talk.get("ann", GiveBack, "x", token)
    assert talk.nothing_is_kept()
    assert talk.get("ann", Acquire, "x") > token


def test_a_place_of_another_cannot_be_given_back():
    talk = Talk()
    token = talk.get("ann", Acquire, "x")
    assert "do not hold" in talk.get("bob", GiveBack, "x", token)
    assert "do not hold" in talk.get("ann", GiveBack, "y", token)
    assert talk.get("bob", Holders, "x")[1]


def test_a_place_whose_answer_was_lost_is_told_again():
    talk = Talk()
    token = talk.get("bob", Acquire, "x")
    waits = talk.ask("ann", Acquire, "x")
    talk.lose_link("client/ann")
    talk.get("bob", GiveBack, "x", token)
    assert talk.answers("ann", waits) == []
    talk.attach("ann")
    talk.again("ann", waits)
    assert talk.answers("ann", waits) == [token + 1]
    assert len(talk.get("bob", Holders, "x")[1]) == 1


def test_a_request_that_comes_again_while_it_waits_waits_once():
    talk = Talk()
    talk.get("bob", Acquire, "x")
    waits = talk.ask("ann", Acquire, "x")
    talk.again("ann", waits)
    assert talk.answers("ann", waits) == []
    assert talk.get("bob", Holders, "x")[2] == 1


def test_a_question_that_comes_again_is_answered_as_things_are_then():
    talk = Talk()
    asked = talk.ask("ann", Holders, "x")
    token = talk.get("bob", Acquire, "x")
    talk.again("ann", asked)
    assert talk.answers("ann", asked) == [[0, [], 0], [1, [[token, "client/bob", ""]], 0]]


def test_what_was_taken_and_given_back_is_not_taken_again():
    talk = Talk()
    taken = talk.ask("ann", Acquire, "x")
    (token,) = talk.answers("ann", taken)
    back = talk.ask("ann", GiveBack, "x", token)
    for _ in range(2):
        talk.again("ann", taken)
        talk.again("ann", back)
        talk.client("ann", wire.Heard((taken, back)))
    assert talk.get("bob", Acquire, "x") == token + 1


def test_who_withdraws_waits_no_longer():
    talk = Talk()
    token = talk.get("bob", Acquire, "x")
    waits = talk.ask("ann", Acquire, "x", timeout_s=5.0)
    talk.client("ann", wire.Withdraw(waits))
    talk.get("bob", GiveBack, "x", token)
    assert talk.nothing_is_kept()


def test_who_withdraws_too_late_does_not_keep_the_place():
    talk = Talk()
    taken = talk.ask("ann", Acquire, "x")
    waits = talk.ask("bob", Acquire, "x")
    talk.client("ann", wire.Withdraw(taken))
    assert len(talk.answers("bob", waits)) == 1


def test_who_has_heard_of_its_place_keeps_it():
    talk = Talk()
    taken = talk.ask("ann", Acquire, "x")
    talk.client("ann", wire.Heard((taken,)))
    talk.client("ann", wire.Withdraw(taken))
    assert talk.get("bob", Acquire, "x", timeout_s=0.0) is None


def test_many_waits_that_ended_in_time_leave_no_deadlines_behind():
    talk = Talk()
    talk.get("cid", Acquire, "y")
    talk.ask("cid", Acquire, "y", timeout_s=50.0)
    for _ in range(90):
        token = talk.get("ann", Acquire, "x")
        waits = talk.ask("bob", Acquire, "x", timeout_s=60.0)
        talk.get("ann", GiveBack, "x", token)
        (token,) = talk.answers("bob", waits)
        talk.get("bob", GiveBack, "x", token)
        assert len(talk.books.shared.clock.heap) <= 67
    assert list(talk.books.shared.semaphores) == ["y"]
    assert not talk.books.clients["client/ann"].desk.kept
