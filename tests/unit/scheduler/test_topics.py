"""What is announced is told once to each who listens, also over a lost link."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.talk import Talk
from treadle import wire
from treadle.scheduler import _topics
from treadle.wire import Announce, Recall, Subscribe, Unsubscribe


class Listener:
    """A client that drops what comes twice, as clients do."""

    def __init__(self, talk, name="bob"):
        self.talk, self.name = talk, name
        self.seen = 0
        self.heard = []
        self.last = None

    def listen(self):
        told = self.talk.told(f"client/{self.name}", wire.Announced)
        for message in told[self.seen :]:
            if self.last is None or message.number > self.last:
                assert self.last is None or message.number == self.last + 1
                self.last = message.number
                self.heard.append(message.data.decode())
        self.seen = len(told)
        return self.heard


def announce(talk, *words, who="ann"):
    for word in words:
        talk.client(who, Announce("t", word.encode()))


def test_who_listens_hears_what_is_announced_from_then_on():
    talk = Talk()
    announce(talk, "a")
    talk.client("bob", Subscribe("t"))
    announce(talk, "b", "c")
    talk.client("bob", Unsubscribe("t", 1))
    announce(talk, "d")
    assert talk.told("client/bob", wire.Announced) == [
        wire.Announced("t", 2, b"b"),
        wire.Announced("t", 3, b"c"),
    ]
    assert talk.get("cid", Recall, "t") == [1, [b"a", b"b", b"c", b"d"]]


def test_a_question_tells_when_it_begins():
    talk = Talk()
    announce(talk, "a", "b")
    talk.client("bob", Subscribe("t", None, 1))
    assert talk.answers("bob", 1) == [2]


def test_where_it_began_is_told_again_before_what_was_missed():
    talk = Talk()
    announce(talk, "a")
    talk.client("bob", Subscribe("t", None, 1))
    talk.lose_link("client/bob")
    announce(talk, "b")
    talk.attach("bob")
    assert talk.client("bob", Subscribe("t", None, 1)) == [
        wire.Reply(1, 1),
        wire.Announced("t", 2, b"b"),
    ]


def test_what_was_announced_while_the_link_was_lost_comes_first():
    talk = Talk()
    bob = Listener(talk)
    talk.client("bob", Subscribe("t"))
    announce(talk, "a", "b")
    bob.listen()
    talk.lose_link("client/bob")
    announce(talk, "c", "d")
    talk.attach("bob")
    announce(talk, "e")
    assert bob.listen() == ["a", "b"]
    talk.client("bob", Subscribe("t", bob.last))
    announce(talk, "f")
    assert bob.listen() == list("abcdef")


def test_what_went_down_with_the_link_comes_again():
    talk = Talk()
    bob = Listener(talk)
    talk.client("bob", Subscribe("t"))
    announce(talk, "a", "b")
    bob.listen()
    announce(talk, "c")
    bob.seen += 1  # it was sent, and did not arrive
    talk.lose_link("client/bob")
    talk.attach("bob")
    talk.client("bob", Subscribe("t", bob.last))
    assert bob.listen() == list("abc")


def test_a_subscription_that_was_said_and_unsaid_again_misses_nothing():
    talk = Talk()
    bob = Listener(talk)
    said = [Subscribe("t", None, 1), Unsubscribe("t", 2), Subscribe("t", None, 3)]
    talk.client("bob", *said)
    announce(talk, "a", "b")
    bob.listen()
    talk.lose_link("client/bob")
    announce(talk, "c")
    talk.attach("bob")
    for message in (*said, Subscribe("t", bob.last)):
        talk.client("bob", message)
        announce(talk, "d")
    assert bob.listen() == list("abcdddd")


def test_what_is_announced_twice_under_a_number_is_announced_once():
    talk = Talk()
    for serial in (1, 2, 1, 2, 3):
        talk.client("ann", Announce("t", b"x", serial))
    assert len(talk.get("bob", Recall, "t")[1]) == 3


def test_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(_topics, "MAX_MESSAGES", 3)
    talk = Talk()
    talk.client("bob", Subscribe("t"))
    talk.lose_link("client/bob")
    announce(talk, *"abcdef")
    assert talk.get("cid", Recall, "t") == [4, [b"d", b"e", b"f"]]
    talk.attach("bob")
    talk.client("bob", Subscribe("t", 1))
    assert [m.number for m in talk.told("client/bob", wire.Announced)] == [4, 5, 6]


def test_large_messages_push_out_more(monkeypatch):
    monkeypatch.setattr(_topics, "MAX_BYTES", 10)
    talk = Talk()
    announce(talk, "aaaa", "bbbb", "cccc")
    assert talk.get("bob", Recall, "t") == [2, [b"bbbb", b"cccc"]]


def test_topics_that_nobody_reads_are_forgotten_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(_topics, "MAX_TOPICS", 2)
    talk = Talk()
    talk.client("bob", Subscribe("1"))
    for name in ("2", "3"):
        talk.client("ann", Announce(name, b"x"))
    assert list(talk.books.shared.topics) == ["1", "3"]


@pytest.mark.parametrize("how", ["leaves", "unsubscribes"])
def test_a_topic_that_never_said_anything_is_forgotten(how):
    talk = Talk()
    talk.client("bob", Subscribe("t"))
    talk.client("bob", wire.Leave() if how == "leaves" else Unsubscribe("t", 1))
    talk.client("cid", Unsubscribe("t", 1))
    assert not talk.books.shared.topics
    assert talk.client("cid", Recall(2, "t")) == [wire.Reply(2, [1, []])]
