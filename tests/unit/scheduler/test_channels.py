"""Items of a queue go to one taker each, in order, and come back from who will not have them."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.harness import task
from tests.unit.scheduler.talk import Talk, item, texts
from treadle import wire
from treadle.scheduler import _channels
from treadle.wire import Put, QueueSize, Take


def put(talk, *words, who="ann", **more):
    for word in words:
        assert talk.get(who, Put, "q", item(word), **more) is True


def take(talk, least=1, most=1, who="bob", **more):
    return texts(talk.get(who, Take, "q", least, most, **more))


def test_items_come_in_the_order_in_which_they_were_put():
    talk = Talk()
    put(talk, "a", "b", "c")
    assert talk.get("bob", QueueSize, "q") == 3
    assert [take(talk), take(talk, 2, 5), take(talk, 0, 5)] == [["a"], ["b", "c"], []]
    assert talk.nothing_is_kept()


def test_takers_are_served_in_turn():
    talk = Talk()
    first = talk.ask("bob", Take, "q")
    second = talk.ask("cid", Take, "q")
    put(talk, "a", "b")
    assert texts(talk.answers("bob", first)[0]) == ["a"]
    assert texts(talk.answers("cid", second)[0]) == ["b"]


def test_who_takes_many_is_not_passed_by_who_takes_one():
    talk = Talk()
    many = talk.ask("bob", Take, "q", 2, 2)
    one = talk.ask("cid", Take, "q")
    put(talk, "a")
    assert talk.answers("bob", many) == talk.answers("cid", one) == []
    assert take(talk, 0, 1) == []
    put(talk, "b", "c")
    assert texts(talk.answers("bob", many)[0]) == ["a", "b"]
    assert texts(talk.answers("cid", one)[0]) == ["c"]


def test_when_who_takes_many_gives_up_the_next_is_served():
    talk = Talk()
    many = talk.ask("bob", Take, "q", 2, 2, timeout_s=1.0)
    one = talk.ask("cid", Take, "q")
    put(talk, "a")
    talk.tick(1.0)
    assert talk.answers("bob", many) == [None]
    assert texts(talk.answers("cid", one)[0]) == ["a"]


def test_who_puts_into_a_full_queue_waits():
    talk = Talk()
    put(talk, "a", "b", maxsize=2)
    waits = talk.ask("ann", Put, "q", item("c"), 2)
    behind = talk.ask("cid", Put, "q", item("d"), 2, 1.0)
    assert talk.get("cid", Put, "q", item("e"), 2, 0.0) is False
    assert take(talk) == ["a"]
    assert talk.answers("ann", waits) == [True]
    talk.tick(1.0)
    assert talk.answers("cid", behind) == [False]
    assert take(talk, 0, 9) == ["b", "c"]
    assert talk.nothing_is_kept()


def test_how_many_items_it_holds_is_said_by_the_first():
    talk = Talk()
    put(talk, "a")
    put(talk, "b", maxsize=2)
    assert talk.get("cid", Put, "q", item("c"), 0, 0.0) is False
    assert "holds 2 items" in talk.get("cid", Put, "q", item("c"), 3)
    assert "never there" in talk.get("cid", Take, "q", 3, 3)
    assert "cannot be taken" in talk.get("cid", Take, "q", 2, 1)


@pytest.mark.parametrize("how", ["withdraws", "dies"])
def test_items_that_have_not_arrived_go_back_to_where_they_were(how):
    talk = Talk()
    put(talk, "a", "b", "c", "d")
    first = talk.ask("bob", Take, "q", 2, 2)
    second = talk.ask("bob", Take, "q")
    if how == "dies":
        talk.gone("bob")
    else:
        talk.client("bob", wire.Withdraw(second), wire.Withdraw(first))
    assert take(talk, 0, 9, who="cid") == ["a", "b", "c", "d"]


def test_items_that_have_arrived_do_not_go_back():
    talk = Talk()
    put(talk, "a", "b")
    assert take(talk) == ["a"]
    talk.gone("bob")
    assert take(talk, 0, 9, who="cid") == ["b"]
    assert talk.nothing_is_kept()


def test_items_that_go_back_are_for_who_waits():
    talk = Talk()
    put(talk, "a")
    talk.ask("bob", Take, "q")
    waits = talk.ask("cid", Take, "q")
    talk.lose_link("client/bob")
    talk.gone("bob")
    assert texts(talk.answers("cid", waits)[0]) == ["a"]


def test_items_that_were_given_to_who_was_away_are_told_when_it_is_back():
    talk = Talk()
    waits = talk.ask("bob", Take, "q")
    talk.lose_link("client/bob")
    put(talk, "a", "b")
    talk.attach("bob")
    talk.again("bob", waits)
    talk.again("bob", waits)
    assert [texts(rows) for rows in talk.answers("bob", waits)] == [["a"], ["a"]]
    talk.client("bob", wire.Heard((waits,)))
    talk.again("bob", waits)
    assert talk.answers("bob", waits)[2:] == [None]
    assert take(talk) == ["b"]


def test_an_item_that_is_put_again_is_there_once():
    talk = Talk()
    ask = talk.ask("ann", Put, "q", item("a"))
    talk.again("ann", ask)
    talk.client("ann", wire.Heard((ask,)))
    talk.again("ann", ask)
    assert take(talk, 0, 9) == ["a"]


def test_items_stay_when_who_put_them_leaves():
    talk = Talk()
    put(talk, "a", maxsize=1)
    talk.ask("ann", Put, "q", item("b"), 1)
    talk.gone("ann")
    assert take(talk, 0, 9) == ["a"]


def test_what_is_too_much_for_an_answer_is_given_in_parts(monkeypatch):
    monkeypatch.setattr(_channels, "MAX_TAKEN", 10)
    talk = Talk()
    put(talk, "aaaa", "bbbb", "cccc")
    assert "at most 2" in talk.get("bob", Take, "q", 3, 3)
    assert take(talk, 0, 9) == ["aaaa", "bbbb"]
    assert take(talk, 0, 9) == ["cccc"]


def test_so_many_are_given_at_once(monkeypatch):
    monkeypatch.setattr(_channels, "MAX_COUNT", 2)
    talk = Talk()
    put(talk, *"abcdef")
    assert [take(talk, 0, 9), take(talk, 3, 9), take(talk, 1, 1)] == [
        ["a", "b"],
        ["c", "d", "e"],
        ["f"],
    ]


# --- futures in items --------------------------------------------------------------------------


def with_future(talk, name="t"):
    talk.submit("ann", task(name))
    talk.finish(name)
    ask = talk.ask("ann", Put, "q", item("x", name))
    talk.release("ann", name)
    return ask


def test_a_future_in_a_queue_keeps_its_result():
    talk = Talk(workers={"w": 1})
    with_future(talk)
    assert talk.state("t") == "memory"
    assert talk.get("bob", Take, "q") == [[b"x", ("t",)]]
    assert talk.state("t") == "memory"
    talk.client("bob", wire.Desire(("t",)))
    talk.now += talk.books.policy.linger_s
    talk.client("bob", wire.Release(("t",)))
    talk.tick()
    assert talk.state("t") == "forgotten"
    assert talk.nothing_is_kept()


def test_a_future_under_way_keeps_its_result():
    talk = Talk(workers={"w": 1})
    with_future(talk)
    talk.ask("bob", Take, "q")
    talk.now += 2 * talk.books.policy.linger_s
    talk.client("bob", wire.ClientBeat(1))
    assert talk.state("t") == "memory"
    talk.client("bob", wire.Leave())
    assert talk.get("cid", Take, "q") == [[b"x", ("t",)]]


def test_a_future_whose_put_waits_keeps_its_result():
    talk = Talk(workers={"w": 1})
    put(talk, "a", maxsize=1)
    ask = with_future(talk)
    assert talk.answers("ann", ask) == []
    assert talk.state("t") == "memory"
    talk.client("ann", wire.Withdraw(ask))
    talk.tick(talk.books.policy.linger_s + 1)
    assert talk.state("t") == "forgotten"


def test_a_row_of_a_map_in_a_queue_is_let_go_of_with_its_bundle():
    talk = Talk("ann", "bob", workers={"w": 1})
    base = wire.task_id(1, 0)
    talk.submit("ann", task(base, rows=(b"0", b"1", b"2")))
    talk.get("ann", Put, "q", item("x", base + 1))
    talk.release("ann", *talk.books.tasks)
    talk.drive()
    assert talk.get("bob", Take, "q") == [[b"x", (base + 1,)]]
    talk.tick(talk.books.policy.linger_s + 1)
    assert not talk.books.tasks


def test_a_future_of_nothing_that_is_known_is_refused():
    talk = Talk()
    assert "not known" in talk.get("ann", Put, "q", item("x", "t"))
    assert talk.nothing_is_kept()
