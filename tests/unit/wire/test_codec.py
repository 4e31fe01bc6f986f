"""The codec: what may be said arrives as it was, all else is refused in few words."""

from __future__ import annotations

import struct
import tracemalloc

import msgspec
import pytest

from tests.properties.wire_messages import (
    LINKS,
    every_kind,
    kinds,
    on_the_wire,
    smallest,
    tag_of,
    wrong,
)
from treadle.errors import WireError
from treadle.wire import (
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_METADATA,
    Cancel,
    Desire,
    Failed,
    Failure,
    Leave,
    Message,
    Register,
    Reply,
    Returned,
    Role,
    Run,
    Submit,
    TaskSpec,
    decoder,
    encode,
    verify,
)

EACH_KIND = pytest.mark.parametrize(("cls", "link"), every_kind().items(), ids=str)
FROM_CLIENT = (Role.client, Role.scheduler)
FROM_WORKER = (Role.worker, Role.scheduler)


def refusal(payload: bytes, link=FROM_CLIENT) -> str:
    with pytest.raises(WireError) as caught:
        decoder(*link).decode(payload)
    assert len(caught.value.reason) <= 300
    return caught.value.reason


def test_every_message_stands_on_some_link():
    assert dict.fromkeys(Message.__subclasses__()).keys() == every_kind().keys()


@EACH_KIND
def test_a_message_arrives_as_it_was(cls, link):
    (said,) = decoder(*link).decode(on_the_wire(smallest(cls)))
    assert type(said) is cls
    assert decoder(*link).decode(encode([said, said])) == [said, said]
    verify([said], *link)


@EACH_KIND
def test_a_value_beyond_its_bound_is_refused(cls, link):
    cases = list(wrong(cls))
    assert cases or not cls.__struct_fields__
    for how, said in cases:
        reason = refusal(on_the_wire(said), link)
        assert reason.startswith(f"message 0 ({tag_of(cls)}): "), how


@EACH_KIND
def test_what_stands_on_another_link_is_refused_by_name(cls, link):
    for other in LINKS:
        if cls not in kinds(other):
            reason = refusal(on_the_wire(smallest(cls)), other)
            assert reason.startswith(f"message 0 is '{tag_of(cls)}': ")
            assert other[0].value in reason
            assert other[1].value in reason


@EACH_KIND
def test_fields_that_a_newer_peer_adds_are_skipped(cls, link):
    said = smallest(cls)
    known = decoder(*link).decode(on_the_wire(said))
    assert decoder(*link).decode(on_the_wire([*said, "new", {"and": [1]}])) == known


def test_fields_with_a_default_may_be_missing_and_others_not():
    assert decoder(*FROM_CLIENT).decode(on_the_wire(["submit", []])) == [Submit(())]
    assert "length" in refusal(on_the_wire(["submit"]))


def test_messages_keep_their_order():
    said = [Desire((n,)) for n in range(100)]
    assert decoder(*FROM_CLIENT).decode(encode(said)) == said


def test_the_reason_names_the_message_that_is_wrong():
    payload = on_the_wire(["leave"], ["desire", [1, -1]], ["what"])
    assert refusal(payload) == "message 1 (desire): Expected `int` >= 0 - at `$[1][1]`"
    assert "message 2 is unknown: a client may not" in refusal(
        on_the_wire(["leave"], ["leave"], ["x"])
    )


def test_two_roles_without_a_link_have_no_decoder():
    with pytest.raises(ValueError, match="no link from a client to a client"):
        decoder(Role.client, Role.client)


SECRET = "correct horse battery staple"


@pytest.mark.parametrize(
    ("said", "link"),
    [
        ([SECRET], FROM_CLIENT),
        (["register", SECRET], FROM_WORKER),
        (["register", "w", 0, "h", 1, [], 0, "", None, True, [], [], [], [[SECRET]]], FROM_WORKER),
        (["submit", [[1, "n", SECRET, 5]]], FROM_CLIENT),
        (["submit", [[1, "n", b"", [], 0, False, None, [], {SECRET: {1.5: SECRET}}]]], FROM_CLIENT),
        ({SECRET: SECRET}, FROM_CLIENT),
        (["cancel", [SECRET], SECRET, SECRET], FROM_CLIENT),
    ],
)
def test_what_was_in_a_message_is_neither_told_nor_kept(said, link):
    with pytest.raises(WireError) as caught:
        decoder(*link).decode(on_the_wire(said))
    assert "horse" not in caught.value.reason
    assert caught.value.__context__ is None


# --- hostile bytes -----------------------------------------------------------------------------

HUGE = b"\xff\xff\xff\xff"
HOSTILE = {
    "nothing": b"",
    "one value": b"\x01",
    "a map": b"\x80",
    "no such byte": b"\xc1",
    "a list of 2**32 messages": b"\xdd" + HUGE,
    "a list longer than allowed": b"\xdd" + (MAX_ITEMS + 1).to_bytes(4, "big") + b"\x91\xa5leave",
    "a message of 2**32 fields": b"\x91\xdd" + HUGE + b"\xa6desire",
    "2**32 identifiers": b"\x91\x92\xa6desire\xdd" + HUGE,
    "as many identifiers as allowed, and none there": b"\x91\x92\xa6desire\xdd\x00\x01\x86\xa0",
    "a name of 2**32 bytes": b"\x91\x92\xa6desire\x91\xdb" + HUGE,
    "a run_spec of 2**32 bytes": b"\x91\x92\xa6submit\x91\x93\x01\xa0\xc6" + HUGE,
    "a map of 2**32 keys": b"\x91\x92\xa6submit\x91\x99\x01\xa0\xc4\x00\x90\x00\xc2\xc0\x90\xdf"
    + HUGE,
    "an extension of 2**32 bytes": b"\x91\x92\xa6submit\x91\x99\x01\xa0\xc4\x00\x90\x00\xc2\xc0\x90\xc9"
    + HUGE,
    "a tag that is no text": b"\x91\x92\xa6\xff\xff\xff\xff\xff\xff\x90",
    "a name that is no text": b"\x91\x92\xa6desire\x91\xa2\xff\xfe",
    "lists in lists, as a tag": b"\x91" * 100_000,
    "lists in lists, skipped": b"\x91\x93\xa6desire\x90" + b"\x91" * 100_000,
    "maps in maps": b"\x91\x92\xa6submit\x91\x99\x01\xa0\xc4\x00\x90\x00\xc2\xc0\x90"
    + b"\x81\xa1k" * 50_000,
    "keys that are maps": b"\x91\x92\xa6submit\x91\x99\x01\xa0\xc4\x00\x90\x00\xc2\xc0\x90\x81\xa1k\x81\x80\x01",
    "long lists in long lists": b"\x91\x92\xa6submit\x91\x99\x01\xa0\xc4\x00\x90\x00\xc2\xc0\x90\x81\xa1k"
    + b"\xdc\xff\xff" * 20_000,
    "bytes behind the end": b"\x90\x90",
    "an integer of 64 bits": b"\x91\x92\xa6desire\x91\xcf" + HUGE + HUGE,
    "a float for an identifier": b"\x91\x92\xa6desire\x91\xcb" + struct.pack(">d", 1.0),
}


@pytest.mark.parametrize("link", LINKS, ids=str)
@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bytes_are_refused_and_cost_no_more_than_they_are(payload, link):
    decoder(*link)
    tracemalloc.start()
    refusal(payload, link)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000


def test_a_frame_of_nothing_but_messages_is_limited_in_number():
    assert len(decoder(*FROM_CLIENT).decode(encode([Leave()] * MAX_ITEMS))) == MAX_ITEMS
    refusal(encode([Leave()] * (MAX_ITEMS + 1)))


# --- plain values ------------------------------------------------------------------------------


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def submit(metadata) -> list:
    return ["submit", [[1, "n", b"", [], 0, False, None, [], metadata]]]


def test_plain_values_are_taken_as_they_are():
    value = {"a": [None, True, 1, 1.5, "text", b"bytes", {"b": nested(MAX_DEPTH - 4)}], 5: []}
    verify([Reply(1, value)], Role.scheduler, Role.client)
    (task,) = (
        decoder(*FROM_CLIENT)
        .decode(encode([Submit((TaskSpec(1, "n", b"", metadata={"k": value}),))]))[0]
        .tasks
    )
    assert task.metadata == {"k": value}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (nested(MAX_DEPTH), "nested deeper than 16"),
        (nested(300), "nested deeper than 16"),
        ({"k": {1.5: 2}}, "a key in it is neither text nor a whole number"),
        ({"k": msgspec.msgpack.Ext(5, b"")}, "it has a Ext in it"),
    ],
)
def test_a_value_that_is_not_plain_is_refused_on_both_sides(value, fault):
    metadata = {"k": value}
    for said, link in (
        (["reply", 1, metadata], (Role.scheduler, Role.client)),
        (submit(metadata), FROM_CLIENT),
    ):
        assert fault in refusal(on_the_wire(said), link)
    for message in (Reply(1, metadata), Submit((TaskSpec(1, "n", b"", metadata=metadata),))):
        with pytest.raises(WireError, match=fault):
            encode([message])


def test_metadata_is_small_and_replies_need_not_be():
    value = list(range(MAX_METADATA - 2))
    decoder(*FROM_CLIENT).decode(on_the_wire(submit({"k": value})))
    assert "more than 1000 values" in refusal(on_the_wire(submit({"k": [*value, 1]})))
    verify([Reply(1, [*value, 1] * 10)], Role.scheduler, Role.client)


# --- what cannot be sent -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        Desire(("\ud800",)),
        Desire((2**64,)),
        Failed(1, 1, Failure("exception", object(), "text"), 1.0),  # type: ignore[arg-type]
        Cancel((1,), reason=nested(5_000)),  # type: ignore[arg-type]
    ],
    ids=["half a character", "a huge number", "an object", "a deep list"],
)
def test_what_no_message_can_hold_is_refused_where_it_is_sent(message):
    with pytest.raises(WireError, match="cannot be sent"):
        encode([message])


def test_verify_finds_what_the_other_side_would_refuse():
    with pytest.raises(WireError, match="run"):
        verify([Run(1, 1, b"")], Role.worker, Role.scheduler)
    with pytest.raises(WireError, match="length <= 1024"):
        verify([Returned(1, 1, "x" * 1025)], *FROM_WORKER)
    verify([Register("w", 1, "host", 2)], *FROM_WORKER)
