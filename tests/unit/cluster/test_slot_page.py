"""The page that a slot and its agent share."""

import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from treadle.cluster._packets import BLAME_ATTEMPT, Asked, Raised, Ready, Returned, encode
from treadle.cluster._slot_page import DATA_BYTES, SENT, Listener, Page, make_page
from treadle.wire import Failure

READY = Ready(1)


@pytest.fixture
def both() -> Iterator[tuple[Page, Listener]]:
    fd = make_page()
    page, listener = Page(fd), Listener(fd)
    os.close(fd)
    yield page, listener
    listener.close()


def result(n: int) -> Returned:
    return Returned(n, n, 1, "int", 0.5, 0, b"%d" % n)


def say(page: Page, listener: Listener, *reports: Any) -> list[Any]:
    """As the slot does: the socket first, then the page."""
    new = listener.hear(encode(list(reports)))
    page.let_go(len(reports))
    return new


def test_a_listener_hears_what_is_said(both: tuple[Page, Listener]) -> None:
    page, listener = both
    assert say(page, listener, READY, result(1)) == [READY, result(1)]
    assert listener.look() == []


def test_it_sees_what_is_held_back_once(both: tuple[Page, Listener]) -> None:
    page, listener = both
    say(page, listener, READY)
    page.hold(encode(result(1)))
    page.hold(encode(result(2)))
    assert listener.look() == [result(1), result(2)]
    assert listener.look() == []
    page.hold(encode(result(3)))
    assert listener.look() == [result(3)]
    assert listener.hear(page.held()) == []


def test_it_hears_what_it_has_not_seen(both: tuple[Page, Listener]) -> None:
    page, listener = both
    page.hold(encode(result(1)))
    assert listener.look() == [result(1)]
    page.hold(encode(result(2)))
    packet = page.held()
    page.let_go(2)
    assert listener.hear(packet) == [result(2)]
    assert say(page, listener, result(3)) == [result(3)]


def test_it_does_not_look_while_something_is_on_its_way(both: tuple[Page, Listener]) -> None:
    page, listener = both
    page.hold(encode(result(1)))
    packet = page.held()
    page.let_go(1)
    page.hold(encode(result(2)))
    assert listener.look() == []
    assert listener.hear(packet) == [result(1)]
    assert listener.look() == [result(2)]


def test_a_slot_that_died_between_socket_and_page_is_not_heard_twice(
    both: tuple[Page, Listener],
) -> None:
    page, listener = both
    page.hold(encode(result(1)))
    assert listener.hear(page.held()) == [result(1)]
    assert listener.look() == []


def test_reports_that_do_not_fit_are_refused(both: tuple[Page, Listener]) -> None:
    page, listener = both
    big = encode(Returned(1, 1, 1, "x", 0.5, 0, bytes(20_000)))
    assert page.hold(big)
    assert not page.hold(big)
    assert len(listener.look()) == 1


def test_garbage_in_the_page_is_nothing(both: tuple[Page, Listener]) -> None:
    page, listener = both
    page.hold(b"\xff\xff\xff")
    assert listener.look() == []


def test_rows_are_seen_and_what_follows_is_heard(both: tuple[Page, Listener]) -> None:
    page, listener = both
    page.words[BLAME_ATTEMPT] = 9
    page.open_rows(2, 0)
    for row in range(3):
        page.add_row(b"row%d" % row)
    [seen] = listener.look(100)
    assert (seen.id, seen.attempt, seen.rows, seen.last) == (102, 9, 3, False)
    assert msgspec.msgpack.decode(seen.data) == [b"row0", b"row1", b"row2"]
    assert listener.look(100) == []
    page.add_row(b"row3")
    [seen] = listener.look(100)
    assert (seen.id, seen.rows, seen.data) == (105, 1, b"row3")
    page.add_row(b"row4")
    count, data = page.rows()
    whole = Returned(102, 9, len(data), "str", 1.0, 0, data, count, True)
    [rest] = say(page, listener, whole)
    assert (rest.id, rest.rows, rest.data, rest.last) == (106, 1, b"row4", True)
    assert page.words[SENT] == 1


def test_rows_that_were_all_seen_are_not_heard(both: tuple[Page, Listener]) -> None:
    page, listener = both
    page.words[BLAME_ATTEMPT] = 9
    page.open_rows(0, 0)
    page.add_row(b"x" * 300)
    assert listener.look(100)[0].data == b"x" * 300
    count, data = page.rows()
    assert say(page, listener, Returned(100, 9, len(data), "", 1.0, 0, data, count, False)) == []
    failed = Raised(101, 9, Failure("exception", "ValueError", "no"), 0.1)
    assert say(page, listener, failed) == [failed]
    page.open_rows(2, 0)
    page.add_row(b"y")
    [seen] = listener.look(100)
    assert (seen.id, seen.rows) == (102, 1)


def test_what_belongs_to_another_row_is_heard_whole(both: tuple[Page, Listener]) -> None:
    page, listener = both
    page.words[BLAME_ATTEMPT] = 9
    page.open_rows(0, 0)
    page.add_row(b"a")
    listener.look(100)
    asked = Asked(101, 9, 10_000)
    count, data = page.rows()
    first = Returned(100, 9, len(data), "", 1.0, 0, data, count, False)
    assert say(page, listener, first, asked) == [asked]


def test_rows_that_do_not_fit_are_refused(both: tuple[Page, Listener]) -> None:
    page, _ = both
    assert page.add_row(bytes(20_000)) > 20_000
    assert page.add_row(bytes(20_000)) == 0
    assert page.add_row(bytes(DATA_BYTES)) == 0


def test_who_looks_sees_whole_rows_however_fast_they_come(both: tuple[Page, Listener]) -> None:
    page, listener = both
    page.words[BLAME_ATTEMPT] = 9
    for start in range(0, 40_000, 4000):
        page.open_rows(start, 0)
        writer = os.fork()
        if writer == 0:
            for _ in range(4000):
                page.add_row(b"12345")
            os._exit(0)
        seen = 0
        while seen < 4000:
            for report in listener.look(0):
                items = [report.data] if report.rows == 1 else msgspec.msgpack.decode(report.data)
                assert items == [b"12345"] * report.rows
                assert report.id == start + seen
                seen += report.rows
        os.waitpid(writer, 0)
        count, data = page.rows()
        whole = Returned(start, 9, len(data), "", 1.0, 0, data, count, False)
        assert say(page, listener, whole) == []
