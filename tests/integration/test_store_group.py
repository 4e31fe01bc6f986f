from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from treadle.store._group import GroupCommit, GroupFailed, Ticket

WAIT_S = 10


class Writer:
    """Records groups; holds each write until it is let go."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.error: BaseException | None = None

    def __call__(self, group: Sequence[int]) -> None:
        self.entered.release()
        assert self.go.acquire(timeout=WAIT_S)
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.groups.append(list(group))


@pytest.fixture
def writer() -> Writer:
    return Writer()


def new_group(writer: Writer, group_bytes: int = 1000) -> GroupCommit[int]:
    return GroupCommit[int](writer, size_of=lambda item: 10, group_bytes=group_bytes)


def test_what_is_added_during_a_write_shares_the_next_one(writer: Writer) -> None:
    group = new_group(writer)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(group.wait, group.add([0]))
        assert writer.entered.acquire(timeout=WAIT_S)
        others = [pool.submit(group.wait, group.add([n])) for n in range(1, 20)]
        writer.go.release(2)
        for future in (first, *others):
            future.result(timeout=WAIT_S)
    assert writer.groups == [[0], list(range(1, 20))]


def test_a_group_is_closed_at_its_limit(writer: Writer) -> None:
    group = new_group(writer, group_bytes=30)
    writer.go.release(4)
    group.wait(group.add(range(10)))
    assert writer.groups == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert group.pending_bytes == 0


def test_a_leader_writes_no_more_than_it_waits_for(writer: Writer) -> None:
    group = new_group(writer, group_bytes=10)
    early = group.add([0])
    group.add([1])
    writer.go.release()
    group.wait(early)
    assert writer.groups == [[0]]
    assert group.pending_bytes == 10


def test_a_failed_write_fails_all_who_wait_now_and_later(writer: Writer) -> None:
    group = new_group(writer)
    cause = OSError("broken")
    writer.error = GroupFailed()
    writer.error.__cause__ = cause
    with ThreadPoolExecutor(5) as pool:
        tickets = [group.add([n]) for n in range(5)]
        futures = [pool.submit(group.wait, ticket) for ticket in tickets]
        assert writer.entered.acquire(timeout=WAIT_S)
        writer.go.release()
        for future in futures:
            error = future.exception(timeout=WAIT_S)
            assert isinstance(error, GroupFailed)
            assert error.__cause__ is cause
    with pytest.raises(GroupFailed):
        group.add([9])
    with pytest.raises(GroupFailed):
        group.wait()


def test_a_leader_that_is_interrupted_leaves_its_group_to_the_next(writer: Writer) -> None:
    group = new_group(writer)
    writer.error = KeyboardInterrupt()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(group.wait, group.add([0, 1]))
        assert writer.entered.acquire(timeout=WAIT_S)
        second = pool.submit(group.wait, group.add([2]))
        writer.go.release(2)
        assert isinstance(first.exception(timeout=WAIT_S), KeyboardInterrupt)
        second.result(timeout=WAIT_S)
    assert writer.groups == [[0, 1, 2]]


def test_a_ticket_that_was_never_given_stands_for_all_that_was_added(writer: Writer) -> None:
    group = new_group(writer)
    writer.go.release()
    group.wait(Ticket(group.add([0]) + 7))
    assert writer.groups == [[0]]


def test_waiting_for_idle_waits_for_the_write_under_way(writer: Writer) -> None:
    group = new_group(writer)
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(group.wait, group.add([0]))
        assert writer.entered.acquire(timeout=WAIT_S)
        group.fail(ValueError("closed"))
        idle = pool.submit(group.wait_idle)
        assert not idle.done()
        writer.go.release()
        idle.result(timeout=WAIT_S)
        leader.result(timeout=WAIT_S)
    assert writer.groups == [[0]]
