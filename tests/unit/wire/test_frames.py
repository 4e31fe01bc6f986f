"""Frames: the same however a link chops them, and refused before they cost anything."""

from __future__ import annotations

import tracemalloc

import pytest

from treadle.errors import WireError
from treadle.wire import HANDSHAKE_BYTES, MAX_FRAME, FrameReader, Kind, frame, header

SENT = [
    (Kind.messages, b""),
    (Kind.data, b"x"),
    (Kind.messages, b"hello"),
    (Kind.handshake, b""),
    (Kind.data, bytes(range(256))),
]
STREAM = b"".join(frame(payload, kind) for kind, payload in SENT)


def read(reader: FrameReader, pieces) -> list[tuple[Kind, bytes]]:
    frames = [each for piece in pieces for each in reader.feed(piece)]
    return [(kind, bytes(payload)) for kind, payload in frames]


def test_a_frame_is_its_size_its_kind_and_its_payload():
    assert frame(b"abc", Kind.data) == b"\x00\x00\x00\x03\x03abc"
    assert header(258, Kind.messages) == b"\x00\x00\x01\x02\x02"


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 7, 11, len(STREAM)])
def test_pieces_of_any_length_give_the_same_frames(length):
    pieces = [STREAM[at : at + length] for at in range(0, len(STREAM), length)]
    assert read(FrameReader(1_000), pieces) == SENT


def test_a_cut_at_any_place_gives_the_same_frames():
    for cut in range(len(STREAM) + 1):
        assert read(FrameReader(1_000), [STREAM[:cut], STREAM[cut:]]) == SENT


@pytest.mark.parametrize("buffer", [bytearray, lambda data: memoryview(bytearray(data))])
def test_a_buffer_may_be_used_again(buffer):
    reader = FrameReader(1_000)
    again = bytearray(STREAM)
    frames = reader.feed(memoryview(again))
    again[:] = bytes(len(again))
    assert [(kind, bytes(payload)) for kind, payload in frames] == SENT
    assert read(reader, [buffer(STREAM)]) == SENT


def test_payloads_are_read_only():
    for pieces in ([STREAM], [STREAM[:-1], STREAM[-1:]]):
        reader = FrameReader(1_000)
        for piece in pieces:
            assert all(each.payload.readonly for each in reader.feed(piece))


def test_a_link_must_not_end_within_a_frame():
    reader = FrameReader(1_000)
    seen = []
    for at in range(len(STREAM)):
        reader.feed(STREAM[at : at + 1])
        seen.append(reader.within_a_frame)
    assert seen.count(False) == len(SENT)
    assert not reader.within_a_frame


@pytest.mark.parametrize("size", [1_001, 2**31, 2**32 - 1])
def test_a_frame_over_the_limit_is_refused_at_its_header(size):
    for cut in range(5):
        reader = FrameReader(1_000)
        head = size.to_bytes(4, "big") + b"\x02"
        assert reader.feed(head[:cut]) == []
        with pytest.raises(WireError, match=r"over the limit of 1,000"):
            reader.feed(head[cut:])
        with pytest.raises(WireError, match=r"over the limit of 1,000"):
            reader.feed(STREAM)


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01", b"\x00" * 5])
def test_who_speaks_something_else_is_told_apart_at_once(noise):
    with pytest.raises(WireError, match="no peer of ours"):
        FrameReader().feed(noise)


def test_a_promised_size_costs_nothing():
    reader = FrameReader(MAX_FRAME)
    tracemalloc.start()
    reader.feed(MAX_FRAME.to_bytes(4, "big") + b"\x02" + b"x" * 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000


def test_a_frame_in_many_pieces_is_not_copied_for_each():
    # A copy of all for each piece would be 2 GB here, and take seconds.
    payload = b"x" * 2_000_000
    reader = FrameReader(MAX_FRAME)
    sent = memoryview(frame(payload))
    frames = [
        each for at in range(0, len(sent), 1_000) for each in reader.feed(sent[at : at + 1_000])
    ]
    assert [bytes(each.payload) for each in frames] == [payload]


def test_the_sender_refuses_a_frame_that_no_reader_takes():
    with pytest.raises(WireError, match="over the limit"):
        header(MAX_FRAME + 1, Kind.data)


# --- before the handshake has ended --------------------------------------------------------------


def test_until_the_handshake_has_ended_one_frame_is_read():
    reader = FrameReader()
    large = frame(bytes(HANDSHAKE_BYTES + 1))
    (first,) = reader.feed(frame(b"hello", Kind.handshake) + large + large[:100])
    assert first == (Kind.handshake, b"hello")
    (second,) = reader.raise_limit()
    assert bytes(second.payload) == large[5:]
    (third,) = reader.feed(large[100:])
    assert bytes(third.payload) == large[5:]


def test_what_comes_in_pieces_behind_the_handshake_is_kept():
    reader = FrameReader()
    stream = frame(b"hello", Kind.handshake) + STREAM
    frames = read(reader, [stream[at : at + 1] for at in range(len(stream))])
    assert frames == [(Kind.handshake, b"hello")]
    assert [(kind, bytes(payload)) for kind, payload in reader.raise_limit()] == SENT


def test_a_peer_may_not_go_on_and_on_before_it_is_answered():
    reader = FrameReader()
    reader.feed(frame(b"hello", Kind.handshake))
    reader.feed(bytes(HANDSHAKE_BYTES))
    with pytest.raises(WireError, match="before the handshake has ended"):
        reader.feed(b"x")
    with pytest.raises(WireError, match="before the handshake has ended"):
        reader.raise_limit()


def test_the_limit_before_the_handshake_is_small():
    FrameReader().feed(frame(bytes(HANDSHAKE_BYTES), Kind.handshake))
    with pytest.raises(WireError, match="over the limit"):
        FrameReader().feed(frame(bytes(HANDSHAKE_BYTES + 1), Kind.handshake))


def test_what_stood_behind_the_handshake_is_held_to_the_new_limit():
    reader = FrameReader()
    reader.feed(frame(b"", Kind.handshake) + frame(bytes(1_001)))
    with pytest.raises(WireError, match=r"over the limit of 1,000"):
        reader.raise_limit(1_000)
