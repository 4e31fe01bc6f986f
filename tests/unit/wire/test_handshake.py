"""The handshake: both sides come to the same end, and say why it is a bad one."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from treadle.errors import WireError
from treadle.wire import (
    HANDSHAKE_BYTES,
    Agreed,
    Frame,
    FrameReader,
    Handshake,
    Kind,
    Party,
    Rejected,
    Role,
    Step,
    frame,
)

WORKER = Party("worker", "w-1", "run-a", "0.3", (3, 11))
SCHEDULER = Party("scheduler", "main", "run-a", "0.3", (3, 11))
CLIENT = Party("client", "c-1", "run-a", "0.3", (3, 11))


def frame_of(data: bytes) -> Frame:
    (only,) = FrameReader().feed(data)
    return only


def raw(*said: object, kind: Kind = Kind.handshake) -> Frame:
    return frame_of(frame(msgspec.msgpack.encode(said), kind))


def meet(opener: Party, listener: Party) -> tuple[Agreed | Rejected, Agreed | Rejected]:
    """How it ends for each."""
    one, other = Handshake(opener, opens=True), Handshake(listener, opens=False)
    theirs = other.handle(frame_of(one.hello()))
    assert theirs.answer is not None
    ours = one.handle(frame_of(theirs.answer))
    assert ours.answer is None
    assert (one.ended, other.ended) == (ours.ended, theirs.ended)
    return ours.ended, theirs.ended


def refusal(opener: Party, listener: Party) -> str:
    ours, theirs = meet(opener, listener)
    assert isinstance(ours, Rejected)
    assert ours == theirs
    return ours.reason


@pytest.mark.parametrize(
    ("opener", "listener"),
    [(WORKER, SCHEDULER), (CLIENT, SCHEDULER), (WORKER, replace(WORKER, id="w-2"))],
)
def test_two_of_a_kind_agree(opener, listener):
    ours, theirs = meet(opener, listener)
    assert ours == Agreed(listener, Role(listener.role), 1, ())
    assert theirs == Agreed(opener, Role(opener.role), 1, ())


@pytest.mark.parametrize(
    ("mine", "theirs", "spoken"),
    [
        ((1, 1), (1, 1), 1),
        ((1, 3), (2, 5), 3),
        ((2, 5), (1, 3), 3),
        ((1, 9), (4, 4), 4),
        ((3, 3), (1, 3), 3),
        ((1, 2), (3, 4), None),
        ((3, 4), (1, 2), None),
        ((5, 5), (4, 4), None),
    ],
)
def test_the_highest_protocol_that_both_speak_is_spoken(mine, theirs, spoken):
    ours, others = meet(replace(WORKER, protocols=mine), replace(SCHEDULER, protocols=theirs))
    assert getattr(ours, "protocol", None) == getattr(others, "protocol", None) == spoken


def test_without_a_common_protocol_both_versions_are_named():
    old = replace(WORKER, version="0.3", protocols=(1, 2))
    new = replace(SCHEDULER, version="0.9", protocols=(3, 3))
    assert refusal(old, new) == (
        "this worker (Treadle 0.3) speaks protocols 1 to 2, the scheduler (Treadle 0.9) "
        "protocol 3: install the same Treadle on both sides"
    )


def test_capabilities_that_both_have_are_used_and_others_mean_nothing():
    mine = replace(WORKER, capabilities=("b", "a", "only mine", "a"))
    theirs = replace(SCHEDULER, capabilities=("from the future", "a", "b"))
    ours, others = meet(mine, theirs)
    assert ours.capabilities == others.capabilities == ("a", "b")


def test_a_worker_needs_the_python_of_its_peer():
    assert refusal(replace(WORKER, python=(3, 12)), SCHEDULER) == (
        "this worker runs Python 3.12, the scheduler 3.11: "
        "start both with the same minor version of Python"
    )
    assert "the other worker 3.13" in refusal(WORKER, replace(WORKER, python=(3, 13)))
    ours, _ = meet(replace(CLIENT, python=(3, 12)), SCHEDULER)
    assert isinstance(ours, Agreed)


def test_links_lead_to_no_other_run():
    reason = refusal(replace(CLIENT, run="run-b"), SCHEDULER)
    assert reason == "this client belongs to run run-b, the scheduler to run run-a"


@pytest.mark.parametrize(
    ("opener", "listener", "reason"),
    [
        (CLIENT, CLIENT, "this client has nothing to say to the other client"),
        (SCHEDULER, SCHEDULER, "this scheduler has nothing to say to the other scheduler"),
        (replace(CLIENT, role="monitor"), SCHEDULER, "this monitor has nothing to say"),
        (replace(CLIENT, role="\x1b[31m"), SCHEDULER, r"this '\x1b[31m' has nothing"),
        (replace(CLIENT, role="x" * 200), SCHEDULER, f"this {'x' * 57}... has nothing"),
    ],
)
def test_roles_without_a_link_are_refused(opener, listener, reason):
    assert refusal(opener, listener).startswith(reason)


def test_who_is_known_by_a_certificate_may_not_say_another_name():
    hello = frame_of(Handshake(WORKER, opens=True).hello())
    known = Handshake(SCHEDULER, opens=False, peer="worker/w-1")
    assert isinstance(known.handle(hello).ended, Agreed)
    other = Handshake(SCHEDULER, opens=False, peer="worker/w-2").handle(hello)
    assert other.ended == Rejected("worker/w-2 is expected here, and not worker/w-1")


def test_who_wanted_another_peer_does_not_stay():
    one = Handshake(WORKER, opens=True, peer="worker/w-7")
    answer = Handshake(replace(WORKER, id="w-2"), opens=False).handle(frame_of(one.hello())).answer
    assert one.handle(frame_of(answer)).ended == Rejected(
        "worker/w-7 is expected here, and not worker/w-2"
    )


def test_the_side_that_opened_judges_by_itself():
    one = Handshake(WORKER, opens=True)
    fields = msgspec.to_builtins(replace(SCHEDULER, python=(3, 12)))
    assert isinstance(one.handle(raw("welcome", fields, 1, [])).ended, Rejected)
    other = Handshake(WORKER, opens=True)
    with pytest.raises(WireError, match="protocol 2, which was not offered"):
        other.handle(raw("welcome", msgspec.to_builtins(SCHEDULER), 2, []))


def test_fields_of_a_newer_handshake_are_skipped():
    party = [*msgspec.to_builtins(WORKER), "new", {"x": 1}]
    step = Handshake(SCHEDULER, opens=False).handle(raw("hello", party, "more", [1, 2]))
    assert step.ended == Agreed(WORKER, Role.worker, 1, ())


# --- what is no handshake ------------------------------------------------------------------------

HELLO = ["hello", msgspec.to_builtins(WORKER)]


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (raw("leave", kind=Kind.messages), "sends messages before the handshake"),
        (raw(kind=Kind.data), "sends data before the handshake"),
        (raw("leave"), "cannot be read"),
        (raw(), "cannot be read"),
        (raw("hello"), "cannot be read"),
        (raw("hello", [*HELLO[1][:6], 5]), "cannot be read"),
        (raw("hello", ["x" * 257, *HELLO[1][1:]]), "cannot be read"),
        (raw("hello", [*HELLO[1][:6], ["x"] * 65]), "cannot be read"),
        (Frame(Kind.handshake, memoryview(b"\x92\xa5hello" + b"\x91" * 9_000)), "cannot be read"),
        (Frame(Kind.handshake, memoryview(b"\x92\xa5hello\x91\xa1\xff")), "cannot be read"),
        (raw("sorry", "no"), "says sorry instead of a hello"),
        (raw("welcome", HELLO[1], 1, []), "says welcome instead of a hello"),
    ],
)
def test_who_does_not_begin_with_a_hello_is_dropped(received, reason):
    listener = Handshake(SCHEDULER, opens=False)
    with pytest.raises(WireError, match=reason) as caught:
        listener.handle(received)
    assert caught.value.__context__ is None
    assert listener.ended is None


def test_a_hello_is_no_answer_to_a_hello():
    with pytest.raises(WireError, match="says hello instead of a welcome"):
        Handshake(WORKER, opens=True).handle(raw(*HELLO))


def test_a_second_hello_is_an_error():
    listener = Handshake(SCHEDULER, opens=False)
    listener.handle(raw(*HELLO))
    with pytest.raises(WireError, match="second handshake"):
        listener.handle(raw(*HELLO))
    assert isinstance(listener.ended, Agreed)


def test_an_answer_after_a_refusal_changes_nothing():
    opener = Handshake(WORKER, opens=True)
    assert opener.handle(raw("sorry", "full")) == Step(None, Rejected("full"))
    with pytest.raises(WireError, match="second handshake"):
        opener.handle(raw("welcome", msgspec.to_builtins(SCHEDULER), 1, []))


def test_the_longest_handshake_passes_and_a_longer_one_is_never_sent():
    long = replace(WORKER, capabilities=tuple(f"{n:03}" + "x" * 200 for n in range(64)))
    assert len(Handshake(long, opens=True).hello()) <= HANDSHAKE_BYTES
    ours, _ = meet(long, replace(SCHEDULER, capabilities=long.capabilities[:1]))
    assert isinstance(ours, Agreed)
    huge = replace(long, capabilities=tuple("é" * 250 for _ in range(64)))
    with pytest.raises(WireError, match="a handshake of"):
        Handshake(huge, opens=True).hello()
