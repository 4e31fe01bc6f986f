"""The wire under anything: what was sent arrives, and whatever else arrives is a `WireError`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.wire_messages import LINKS, TEXT, kinds, message, messages
from treadle.errors import WireError
from treadle.wire import (
    Agreed,
    Frame,
    FrameReader,
    Handshake,
    Kind,
    Message,
    Party,
    Rejected,
    Release,
    Role,
    Submit,
    TaskSpec,
    decoder,
    encode,
    frame,
    frames_of,
    split,
)

T = TypeVar("T")

EACH_KIND = [
    pytest.param(link, cls, id=f"{link[0]} to {link[1]}: {cls.__name__}")
    for link in LINKS
    for cls in kinds(link)
]
EACH_LINK = pytest.mark.parametrize("link", LINKS, ids=str)


@pytest.mark.parametrize(("link", "cls"), EACH_KIND)
def test_any_message_arrives_as_it_was(link, cls):
    @given(message(cls))
    def check(said):
        assert decoder(*link).decode(encode([said])) == [said]

    check()


@EACH_LINK
@given(data=st.data(), cuts=st.lists(st.integers(0, 2_000), max_size=8))
def test_any_frames_arrive_however_they_are_chopped(link, data, cuts):
    sent = data.draw(st.lists(messages(link), max_size=4))
    stream = b"".join(frame(encode(each)) for each in sent)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = FrameReader(len(stream))
    frames = [
        each
        for start, stop in zip(places, [*places[1:], len(stream)], strict=True)
        for each in reader.feed(stream[start:stop])
    ]
    assert [decoder(*link).decode(each.payload) for each in frames] == sent
    assert not reader.within_a_frame


# --- damage --------------------------------------------------------------------------------------


def outcome(act: Callable[[], T]) -> T | WireError:
    """What it gives, or a `WireError` that is fit to be shown; all else is a failure."""
    try:
        return act()
    except WireError as raised:
        error = raised
    assert len(error.reason) <= 300
    assert error.__context__ is None
    return error


def survives(payload: bytes) -> None:
    """No decoder gives anything but messages or a `WireError` in few words."""
    for link in LINKS:
        said = outcome(partial(decoder(*link).decode, payload))
        if not isinstance(said, WireError):
            assert all(isinstance(each, kinds(link)) for each in said)
            assert decoder(*link).decode(encode(said)) == said or "nan" in repr(said)


def read_all(stream: bytes, limit: int | None) -> list[Frame]:
    reader = FrameReader(limit)
    frames = reader.feed(stream)
    return frames if limit is not None else frames + reader.raise_limit(10_000)


@st.composite
def damaged(draw, valid: st.SearchStrategy[bytes]) -> bytes:
    """What was valid, with some bytes changed, cut off, put in, doubled or taken from another."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        to = draw(st.integers(at, min(len(data), at + 20)))
        match draw(st.sampled_from(["flip", "cut", "drop", "insert", "double", "splice", "head"])):
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at:]
            case "drop":
                del data[at:to]
            case "insert":
                data[at:at] = draw(st.binary(max_size=12))
            case "double":
                data[at:at] = data[at:to]
            case "splice":
                data[at:] = draw(valid)[at:]
            case "head" if at < len(data):  # any type and any length in the place of another
                data[at] = draw(st.sampled_from(range(0x80, 0x100)))
    return bytes(data)


@EACH_LINK
@given(data=st.data())
def test_a_damaged_payload_is_messages_or_an_error(link, data):
    survives(data.draw(damaged(messages(link).map(encode))))


@given(st.binary(max_size=200))
def test_random_bytes_are_an_error_or_messages(payload):
    survives(payload)


@given(st.lists(st.sampled_from(range(0x80, 0x100)), max_size=60).map(bytes))
def test_random_headers_are_an_error_or_messages(payload):
    survives(payload)


@given(
    damaged(messages(LINKS[0]).map(lambda said: frame(encode(said)) * 2)), st.none() | st.just(500)
)
def test_a_damaged_stream_is_frames_or_an_error(stream, limit):
    frames = outcome(partial(read_all, stream, limit))
    if not isinstance(frames, WireError):
        for each in frames:
            survives(bytes(each.payload))


# --- the handshake -------------------------------------------------------------------------------

WORDS = st.text(TEXT, max_size=8)
RANGE = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda two: (min(two), max(two)))
PARTIES = st.builds(
    Party,
    role=st.sampled_from([*Role, "monitor", ""]),
    id=WORDS,
    run=st.sampled_from(["a", "a", "a", "b"]),
    version=WORDS,
    python=st.sampled_from([(3, 11), (3, 11), (3, 12)]),
    protocols=RANGE,
    capabilities=st.lists(st.sampled_from(["one", "two", "three", "é"]), max_size=4).map(tuple),
)


def end_of(side: Handshake, sent: bytes) -> tuple[bytes | None, Agreed | Rejected]:
    ((received),) = FrameReader().feed(sent)
    step = side.handle(received)
    return step.answer, step.ended


@given(PARTIES, PARTIES)
def test_both_sides_of_any_handshake_come_to_the_same_end(mine, theirs):
    opener, listener = Handshake(mine, opens=True), Handshake(theirs, opens=False)
    answer, there = end_of(listener, opener.hello())
    assert answer is not None
    _, here = end_of(opener, answer)
    if isinstance(here, Rejected):
        assert here == there
        return
    assert isinstance(there, Agreed)
    assert (here.peer, there.peer) == (theirs, mine)
    assert (here.protocol, here.capabilities) == (there.protocol, there.capabilities)
    assert here.protocol == min(mine.protocols[1], theirs.protocols[1])
    assert dict.fromkeys(here.capabilities).keys() == {*mine.capabilities} & {*theirs.capabilities}


@given(st.data(), st.booleans())
def test_a_damaged_handshake_ends_it_or_is_an_error(data, opens):
    me = data.draw(PARTIES)
    hello = Handshake(data.draw(PARTIES), opens=True).hello()
    valid = hello[5:]
    if opens:
        answer, _ = end_of(Handshake(me, opens=False), hello)
        valid = (answer or b"")[5:]
    payload = data.draw(damaged(st.just(valid)) | st.binary(max_size=80))
    side = Handshake(me, opens=opens)
    step = outcome(partial(side.handle, Frame(Kind.handshake, memoryview(payload))))
    if isinstance(step, WireError):
        assert side.ended is None
    else:
        assert step.ended == side.ended is not None


# --- cutting -------------------------------------------------------------------------------------


#: Fields whose items are told one by one in whatever message there is room.
ITEMS = ("tasks", "items", "holds", "objects", "ended", "ids", "attempts")


def told(said: list[Message]) -> Counter[str]:
    """All that was said, item by item where a message is about items."""
    found: Counter[str] = Counter()
    for each in said:
        fields = [field for field in ITEMS if hasattr(each, field)]
        found.update(repr(item) for field in fields for item in getattr(each, field))
        if not fields:
            found[repr(each)] += 1
    return found


@EACH_LINK
@given(data=st.data(), limit=st.integers(300, 2_000), most=st.integers(1, 5))
def test_cut_messages_fit_and_say_all_that_was_to_be_said(link, data, limit, most):
    sent = data.draw(messages(link))
    frames = outcome(partial(frames_of, sent, limit=limit, most=most))
    if isinstance(frames, WireError):
        assert "over the limit" in frames.reason or "has a list of more" in frames.reason
        return
    reader = FrameReader(limit)
    said = [
        each
        for sized in frames
        for got in reader.feed(bytes(sized))
        for each in decoder(*link).decode(got.payload)
    ]
    assert told(sent) - told(said) == Counter()
    if not any(isinstance(each, Submit) for each in sent):
        assert told(said) == told(sent)


@given(
    dependencies=st.lists(st.lists(st.integers(0, 29), max_size=3), min_size=1, max_size=30),
    wants=st.none() | st.lists(st.integers(0, 29), max_size=5, unique=True).map(tuple),
    most=st.integers(1, 12),
    order=st.randoms(use_true_random=False),
)
def test_a_graph_in_parts_is_never_dropped_before_it_is_whole(dependencies, wants, most, order):
    count = len(dependencies)
    tasks = [
        TaskSpec(n, "n", b"", tuple(dep for dep in before if dep < n))
        for n, before in enumerate(dependencies)
    ]
    order.shuffle(tasks)
    if wants is not None:
        wants = tuple(id for id in wants if id < count)[:most]
    parts = split(Submit(tuple(tasks), wants=wants, graph=True), most=most)
    # What a scheduler does at its hastiest: after each message it drops all that nobody needs.
    there: dict[int, TaskSpec] = {}
    wanted: dict[int, None] = {}
    for part in parts:
        if isinstance(part, Release):
            for id in part.ids:
                del wanted[id]
        else:
            assert len(part.tasks) <= most
            there |= {each.id: each for each in part.tasks}
            assert all(dep in there for each in part.tasks for dep in each.dependencies)
            new = [each.id for each in part.tasks] if part.wants is None else part.wants
            assert all(id in there for id in new)
            wanted |= dict.fromkeys(new)
        needed = reached(there, wanted)
        there = {id: each for id, each in there.items() if id in needed}
    kept = range(count) if wants is None else wants
    assert sorted(wanted) == sorted(kept)
    assert sorted(there) == sorted(reached({each.id: each for each in tasks}, dict.fromkeys(kept)))


def reached(tasks: dict[int, TaskSpec], wanted: dict[int, None]) -> dict[int, None]:
    """What is wanted, and all it depends on."""
    found: dict[int, None] = {}
    todo = list(wanted)
    while todo:
        id = todo.pop()
        if id not in found:
            found[id] = None
            todo += tasks[id].dependencies
    return found
