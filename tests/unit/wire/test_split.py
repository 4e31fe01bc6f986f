"""Frames of messages that are too much for one: several, which mean the same."""

from __future__ import annotations

import pytest

from treadle.errors import WireError
from treadle.wire import (
    MAX_ITEMS,
    Attempt,
    Beat,
    Cancel,
    Desire,
    Finished,
    FrameReader,
    Held,
    Holding,
    Leave,
    Options,
    Refused,
    Register,
    Release,
    Role,
    Run,
    Started,
    Submit,
    TaskSpec,
    decoder,
    encode,
    frame,
    frames_of,
    split,
)


def said(frames, sender=Role.client, receiver=Role.scheduler, limit=1_000):
    """What a reader with this limit gets, frame by frame."""
    reader = FrameReader(limit)
    read = decoder(sender, receiver).decode
    return [read(each.payload) for data in frames for each in reader.feed(bytes(data))]


def task(id, *dependencies, **more):
    return TaskSpec(id, "app", b"x" * 20, dependencies, **more)


def chain(count):
    return tuple(task(n, *([n - 1] if n else [])) for n in range(count))


def test_what_fits_is_one_frame_as_it_stands():
    messages = [Desire((1, 2)), Leave()]
    assert frames_of(messages) == [frame(encode(messages))]


def test_a_list_of_messages_is_spread_over_frames_in_order():
    messages = [Cancel((n,), reason="x" * 100) for n in range(50)]
    frames = frames_of(messages, limit=1_000)
    assert len(frames) > 5
    assert [each for part in said(frames) for each in part] == messages
    assert all(len(part) > 1 for part in said(frames))


def test_a_message_is_cut_by_its_bytes():
    ids = tuple(f"key-{n}" for n in range(1_000))
    frames = frames_of([Leave(), Cancel(ids, True, "why"), Leave()], limit=1_000)
    messages = [each for part in said(frames) for each in part]
    assert (messages[0], messages[-1]) == (Leave(), Leave())
    assert {(each.force, each.reason) for each in messages[1:-1]} == {(True, "why")}
    assert tuple(id for each in messages[1:-1] for id in each.ids) == ids


def test_a_message_is_cut_by_its_items():
    ids = tuple(range(2 * MAX_ITEMS + 1))
    frames = frames_of([Desire(ids)])
    assert len(frames) == 1
    (messages,) = said(frames, limit=10_000_000)
    assert [len(each.ids) for each in messages] == [MAX_ITEMS, MAX_ITEMS, 1]


def test_more_messages_than_a_frame_holds_are_two_frames():
    frames = frames_of([Leave()] * (MAX_ITEMS + 1))
    assert [len(part) for part in said(frames, limit=10_000_000)] == [MAX_ITEMS, 1]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (Started(tuple(Attempt(n, 1) for n in range(500))), "attempts"),
        (Holding(tuple(Held(n, 1, 100, "int") for n in range(500))), "objects"),
        (Refused("submit", "no", tuple(range(500))), "ids"),
    ],
)
def test_parts_hold_each_item_once_and_repeat_the_rest(message, field):
    parts = split(message, limit=1_000)
    assert len(parts) > 1
    assert tuple(item for part in parts for item in getattr(part, field)) == getattr(message, field)
    assert getattr(parts[-1], "what", "submit") == "submit"


# --- tasks ---------------------------------------------------------------------------------------


def test_tasks_are_cut_in_order_and_keep_their_options():
    table = (Options(), Options(retries=3))
    message = Submit(tuple(task(n, options=n % 2) for n in range(100)), table, graph=True)
    parts = split(message, limit=1_000)
    assert len(parts) > 3
    assert tuple(each for part in parts for each in part.tasks) == message.tasks
    assert all((part.options, part.wants, part.graph) == (table, None, True) for part in parts)


def test_tasks_go_behind_what_they_depend_on():
    message = Submit(tuple(reversed(chain(100))), graph=True)
    parts = split(message, limit=1_000)
    assert [each.id for part in parts for each in part.tasks] == list(range(100))


def test_a_part_wants_what_later_parts_need_until_they_are_there():
    message = Submit(chain(100), wants=(99, 50))
    *parts, release = split(message, limit=1_000)
    there: dict = {}
    for part in parts:
        for each in part.tasks:
            there[each.id] = None
        assert there.keys() >= dict.fromkeys(part.wants).keys()
    ends = [part.tasks[-1].id for part in parts[:-1]]
    assert release == Release(tuple(id for id in ends if id != 50))
    wanted = [id for part in parts for id in part.wants]
    assert sorted(wanted) == sorted([*release.ids, 50, 99])


def test_rows_of_a_bundle_that_later_parts_need_are_wanted_by_row():
    bundle = TaskSpec(1_000, "row", b"x" * 900, rows=(b"a", b"b", b"c"))
    message = Submit((bundle, task(1, 1_002, 7), TaskSpec(2, "y", b"x" * 800)), wants=(2,))
    first, second, release = split(message, limit=1_000)
    assert (first.wants, second.wants) == ((1_002,), (2,))
    assert release == Release((1_002,))


def test_a_ring_is_the_schedulers_to_refuse():
    message = Submit((task(1, 2), task(2, 1), *(task(n) for n in range(3, 60))))
    parts = split(message, limit=1_000)
    assert sorted(each.id for part in parts for each in part.tasks) == list(range(1, 60))


def test_the_same_task_twice_stays_twice():
    parts = split(Submit((task(1),) * 50), limit=1_000)
    assert [each.id for part in parts for each in part.tasks] == [1] * 50


def test_a_chain_of_any_length_is_ordered():
    message = Submit(tuple(reversed(chain(20_000))))
    parts = split(message, most=15_000)
    assert [len(part.tasks) for part in parts] == [15_000, 5_000]
    assert parts[0].tasks[0].id == 0


# --- a worker that comes back --------------------------------------------------------------------


def test_a_register_is_followed_by_the_objects_it_has_no_room_for():
    held = tuple(Held(n, 1, 100, "int") for n in range(500))
    message = Register("w", 1, "host", 2, holds=held, running=(Attempt(1, 1),))
    first, *rest = split(message, limit=1_000)
    assert isinstance(first, Register)
    assert first.running == message.running
    assert first.holds
    assert all(isinstance(part, Holding) for part in rest)
    assert first.holds + tuple(item for part in rest for item in part.objects) == held


def test_a_register_has_outcomes_before_objects():
    ended = tuple(Finished(n, 1, 10, "int", 0.1, inline=b"x" * 50) for n in range(30))
    message = Register("w", 1, "host", 2, holds=(Held(1, 1, 1),), ended=ended)
    first, *rest = split(message, limit=1_000)
    assert len(first.ended) > 5
    assert first.ended + tuple(part for part in rest if isinstance(part, Finished)) == ended
    frames = frames_of([message], limit=1_000)
    assert said(frames, Role.worker, Role.scheduler)[0][0] == first


def test_a_register_within_the_limits_stays_as_it_is():
    message = Register("w", 1, "host", 2, holds=(Held(1, 1, 1),) * 10)
    assert split(message) == [message]
    assert len(split(message, most=5)) == 2


# --- what cannot be cut --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Run(7, 1, b"x" * 1_000), "a Run of task 7 of 1,0.. bytes is over the limit of 1,000"),
        (Beat(1, tuple(Attempt(n, 1) for n in range(500))), "a Beat of"),
        (Submit((task(1), TaskSpec("big", "n", b"x" * 1_000))), "a Submit of task big of"),
        (Submit((), tuple(Options(n) for n in range(500))), "a Submit of"),
        (Register("w", 1, "h", 1, running=tuple(Attempt(n, 1) for n in range(500))), "a Register"),
    ],
)
def test_what_cannot_be_cut_is_an_error_of_its_sender(message, reason):
    with pytest.raises(WireError, match=reason):
        frames_of([Leave(), message], limit=1_000)


def test_a_list_that_is_not_cut_must_not_be_too_long():
    with pytest.raises(WireError, match="a Submit has a list of more than 10 items"):
        split(Submit((task(1),), tuple(Options(n) for n in range(11))), most=10)
