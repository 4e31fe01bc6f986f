"""Bundles: one task for many rows, until something happens to some of them alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.scheduler.harness import OOPS, Cluster, finished, task
from treadle import wire
from treadle.scheduler import TaskState
from treadle.scheduler._bundles import find, owner, parts_of
from treadle.scheduler._parts import cut

#: The first row's identifier in session 1.
FIRST = wire.task_id(1, 10)


def rows(n: int) -> tuple[bytes, ...]:
    return tuple(b"row %d" % i for i in range(n))


def bundle(n: int, *deps: wire.TaskId, first: int = FIRST, **more: Any) -> dict[str, Any]:
    return task(first, *deps, rows=rows(n), **more)


def sent_whole(n: int = 10, **options: Any) -> tuple[Cluster, wire.Run]:
    """A cluster whose worker was given a bundle of `n` rows, known to be short."""
    cluster = Cluster({"w": 1})
    warm = wire.task_id(1, 1)
    cluster.submit("ann", task(warm))
    cluster.finish(warm)
    prefix = cluster.ts(warm).prefix
    prefix.duration_s, prefix.finished = 1e-7, 1_000_000
    cluster.submit("ann", bundle(n, **options))
    _, run = cluster.run_of(FIRST)
    assert len(run.rows) == n
    return cluster, run


def shape(cluster: Cluster) -> list[tuple[int, int, str]]:
    """Each live part: its first row, how many, its state."""
    found = [ts for ts in cluster.books.tasks.values() if ts.id >= FIRST]  # type: ignore[operator]
    found.sort(key=lambda ts: ts.id)
    return [(ts.id - FIRST, ts.rows, ts.state) for ts in found]  # type: ignore[operator]


def report(cluster: Cluster, run: wire.Run, place: int, n: int) -> list[Any]:
    return cluster.worker("w", wire.Finished(FIRST + place, run.attempt, n, "int", 1e-5, rows=n))


# --- reports of parts --------------------------------------------------------------------------


def test_a_bundle_is_one_task_and_one_answer() -> None:
    cluster, run = sent_whole()
    assert run.rows == rows(10)
    assert [m for m in report(cluster, run, 0, 10) if type(m) is wire.Done] == [
        wire.Done(FIRST, 10, "int", ("w",), None, 10)
    ]
    assert shape(cluster) == [(0, 10, "memory")]


def test_rows_that_end_together_are_one_result() -> None:
    cluster, run = sent_whole()
    told = report(cluster, run, 0, 4)
    assert told == [wire.Done(FIRST, 4, "int", ("w",), None, 4)]
    assert shape(cluster) == [(0, 4, "memory"), (4, 6, "processing")]
    assert report(cluster, run, 4, 6) == [wire.Done(FIRST + 4, 6, "int", ("w",), None, 6)]


def test_rows_in_the_middle_may_end_first() -> None:
    cluster, run = sent_whole()
    report(cluster, run, 3, 2)
    assert shape(cluster) == [(0, 3, "processing"), (3, 2, "memory"), (5, 5, "processing")]
    report(cluster, run, 5, 5)
    report(cluster, run, 0, 3)
    assert shape(cluster) == [(0, 3, "memory"), (3, 2, "memory"), (5, 5, "memory")]


def test_a_row_that_raises_is_erred_alone() -> None:
    cluster, run = sent_whole()
    told = cluster.worker("w", wire.Failed(FIRST + 3, run.attempt, OOPS, 1e-5))
    assert [(m.id, m.rows, m.blame) for m in told if type(m) is wire.Erred] == [
        (FIRST + 3, 1, FIRST + 3)
    ]
    assert shape(cluster) == [(0, 3, "processing"), (3, 1, "erred"), (4, 6, "processing")]


def test_a_row_that_raises_is_tried_again_alone() -> None:
    cluster, run = sent_whole(retries=1)
    cluster.worker("w", wire.Failed(FIRST + 9, run.attempt, OOPS, 1e-5))
    report(cluster, run, 0, 9)
    _, second = cluster.run_of(FIRST + 9)
    assert second.rows == (b"row 9",)
    assert second.attempt > run.attempt
    cluster.fail(FIRST + 9)
    assert shape(cluster) == [(0, 9, "memory"), (9, 1, "erred")]
    assert [row.failure for row in cluster.ts(FIRST + 9).rarely().earlier] == [OOPS, OOPS]


def test_the_rest_goes_back_and_is_given_out_again() -> None:
    cluster, run = sent_whole()
    report(cluster, run, 0, 2)
    cluster.worker("w", wire.Returned(FIRST + 2, run.attempt, "slot", rows=8))
    cluster.drive()
    assert {(row, state) for row, _, state in shape(cluster)} >= {(0, "memory"), (2, "memory")}
    assert sum(n for _, n, state in shape(cluster) if state == "memory") == 10
    again = [m for m in cluster.told("worker/w", wire.Run) if m.attempt > run.attempt]
    assert b"".join(row for r in again for row in r.rows) == b"".join(rows(10)[2:])


@pytest.mark.parametrize(("place", "n"), [(0, 11), (3, 8), (0, 2**30), (9, 2)])
def test_rows_that_the_bundle_has_not_are_refused(place: int, n: int) -> None:
    cluster, run = sent_whole()
    told = report(cluster, run, place, n)
    assert told == [wire.Free(FIRST + place, run.attempt)]
    assert shape(cluster) == [(0, 10, "processing")]


def test_rows_of_an_old_attempt_change_nothing() -> None:
    cluster, run = sent_whole()
    cluster.worker("w", wire.Returned(FIRST, run.attempt, "slot", rows=10))
    before = shape(cluster)
    assert report(cluster, run, 0, 4) == [wire.Free(FIRST, run.attempt)]
    assert report(cluster, run, 4, 6) == [wire.Free(FIRST + 4, run.attempt)]
    assert shape(cluster) == before


def test_a_report_twice_counts_once() -> None:
    cluster, run = sent_whole()
    report(cluster, run, 2, 3)
    assert report(cluster, run, 2, 3) == []
    assert cluster.ts(FIRST).group.prefix.finished == 1_000_003


def test_the_rest_of_a_bundle_is_stopped_when_nobody_wants_it() -> None:
    cluster, run = sent_whole()
    report(cluster, run, 0, 4)
    assert cluster.release("ann", FIRST + 4) == [wire.Stop(FIRST + 4, run.attempt)]
    assert shape(cluster) == [(0, 4, "memory")]


# --- deaths ------------------------------------------------------------------------------------


def test_a_row_whose_slot_died_is_accused_alone() -> None:
    cluster, run = sent_whole()
    cluster.worker("w", wire.Died(FIRST + 3, run.attempt, -11))
    assert cluster.ts(FIRST + 3).suspicious == 1
    assert cluster.ts(FIRST).suspicious == 0
    assert cluster.ts(FIRST + 4).suspicious == 0


def test_a_death_of_the_worker_splits_the_bundle() -> None:
    cluster, _ = sent_whole()
    cluster.kill("w")
    assert [n for _, n, _ in shape(cluster)] == [1] * 10


@pytest.mark.parametrize("n", [2, 33, 300])
def test_a_poisonous_row_errs_alone_and_no_other_row_does(n: int) -> None:
    cluster, _ = sent_whole(n)
    poison = rows(n)[n // 2]
    deaths = 0
    for _ in range(10_000):
        given = [run for runs in cluster.runs.values() for run in runs.values()]
        if not given:
            break
        run = given[0]
        if poison in run.rows:
            deaths += 1
            worker = cluster.run_of(run.id)[0]
            cluster.kill(worker)
            cluster.join(f"w{deaths}", 1)
        else:
            cluster.answer(run.id, finished)
    states = {row: state for row, _, state in shape(cluster)}
    assert [row for row, state in states.items() if state == "erred"] == [n // 2]
    assert sum(k for _, k, state in shape(cluster) if state == "memory") == n - 1
    assert cluster.ts(FIRST + n // 2).failure.kind == "killed"  # type: ignore[union-attr]
    assert deaths <= 2 + cluster.books.policy.deaths


def test_a_death_that_accuses_nobody_leaves_the_bundle_whole() -> None:
    cluster, _ = sent_whole()
    cluster.kill("w", accuses=False)
    assert [n for _, n, _ in shape(cluster)] == [10]


# --- who asks for a row ------------------------------------------------------------------------


def asleep(n: int = 10) -> Cluster:
    """A cluster without workers, where a bundle waits."""
    cluster = Cluster(clients=("ann", "bob"))
    cluster.submit("ann", bundle(n))
    return cluster


def test_a_row_that_is_asked_for_gets_a_task_of_its_own() -> None:
    cluster = asleep()
    cluster.client("bob", wire.Desire((FIRST + 3,)))
    assert [(row, n) for row, n, _ in shape(cluster)] == [(0, 3), (3, 1), (4, 6)]
    assert {c.name for c in cluster.ts(FIRST + 3).who_wants} == {"ann", "bob"}
    assert {c.name for c in cluster.ts(FIRST).who_wants} == {"ann"}
    cluster.join("w", 1)
    cluster.drive()
    assert FIRST + 3 in [m.id for m in cluster.told("client/bob", wire.Done)]
    assert all(state == "memory" for _, _, state in shape(cluster))


def test_a_row_of_what_is_sent_is_the_part_that_has_it() -> None:
    cluster, run = sent_whole()
    assert find(cluster.books, FIRST + 3) is cluster.ts(FIRST)
    report(cluster, run, 0, 4)
    assert find(cluster.books, FIRST + 3) is cluster.ts(FIRST)
    assert find(cluster.books, FIRST + 5) is cluster.ts(FIRST + 4)
    assert find(cluster.books, FIRST + 10) is None
    assert find(cluster.books, FIRST - 1) is None
    assert find(cluster.books, "FIRST") is None


def test_a_task_that_needs_a_row_waits_for_its_part_alone() -> None:
    cluster, run = sent_whole()
    after = wire.task_id(1, 100)
    cluster.submit("ann", task(after, FIRST + 6))
    assert cluster.state(after) == "waiting"
    report(cluster, run, 0, 4)
    assert cluster.ts(after).dependencies == {cluster.ts(FIRST + 4)}
    cluster.worker("w", wire.Failed(FIRST + 4, run.attempt, OOPS, 1e-5))
    assert cluster.ts(after).dependencies == {cluster.ts(FIRST + 5)}
    told = report(cluster, run, 5, 5)
    given = [m for m in told if type(m) is wire.Run]
    assert [(m.id, [i.id for i in m.inputs]) for m in given] == [(after, [FIRST + 5])]


def test_a_task_that_needs_the_first_row_is_not_kept_by_the_others() -> None:
    cluster, run = sent_whole()
    after = wire.task_id(1, 100)
    cluster.submit("ann", task(after, FIRST))
    report(cluster, run, 0, 1)
    assert cluster.ts(after).dependencies == {cluster.ts(FIRST)}
    assert cluster.state(after) == "processing"


def test_a_task_that_needs_two_rows_waits_for_both() -> None:
    cluster, run = sent_whole()
    after = wire.task_id(1, 100)
    cluster.submit("ann", task(after, FIRST + 1, FIRST + 8))
    report(cluster, run, 0, 4)
    assert cluster.state(after) == "waiting"
    report(cluster, run, 4, 4)
    assert cluster.state(after) == "waiting"
    report(cluster, run, 8, 2)
    _, given = cluster.run_of(after)
    assert [i.id for i in given.inputs] == [FIRST, FIRST + 8]


def test_a_row_that_fails_fails_who_needs_it_and_nobody_else() -> None:
    cluster, run = sent_whole()
    bad, good = wire.task_id(1, 100), wire.task_id(1, 101)
    cluster.submit("ann", task(bad, FIRST + 6), task(good, FIRST + 7))
    cluster.worker("w", wire.Failed(FIRST + 6, run.attempt, OOPS, 1e-5))
    assert (cluster.state(bad), cluster.state(good)) == ("erred", "waiting")


def test_rows_that_only_dependents_need_go_with_them() -> None:
    cluster, run = sent_whole()
    after = wire.task_id(1, 100)
    cluster.submit("ann", task(after, FIRST + 6))
    cluster.release("ann", FIRST)
    assert shape(cluster)[0] == (0, 10, "processing")
    told = report(cluster, run, 0, 4)
    assert wire.Free(FIRST, run.attempt) in told
    assert owner(cluster.books, FIRST) is None
    report(cluster, run, 4, 6)
    cluster.finish(after)
    assert shape(cluster)[0] == (4, 6, "released")
    cluster.release("ann", after)
    assert owner(cluster.books, FIRST + 6) is None


def test_a_lost_part_is_computed_again_as_a_bundle() -> None:
    cluster, run = sent_whole()
    report(cluster, run, 0, 4)
    report(cluster, run, 4, 6)
    cluster.kill("w", accuses=False)
    assert [m.rows for m in cluster.told("client/ann", wire.Lost) if m.id >= FIRST] == [6, 4]
    cluster.join("w", 1)
    cluster.drive()
    assert sum(n for _, n, state in shape(cluster) if state == "memory") == 10


# --- what is admitted --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "n"), [(FIRST + 3, 1), (FIRST + 3, 10), (FIRST - 3, 5), (FIRST - 1, 100)]
)
def test_rows_that_are_known_cannot_be_given_again(first: int, n: int) -> None:
    cluster = asleep()
    spec = bundle(n, first=first) if n > 1 else task(first)
    (told,) = cluster.submit("ann", spec)
    assert type(told) is wire.Refused
    assert "known already" in told.reason
    assert len(cluster.books.tasks) == 1


def test_two_bundles_of_one_message_share_no_row() -> None:
    cluster = Cluster()
    (told,) = cluster.submit("ann", bundle(10), bundle(10, first=FIRST + 9))
    assert "is a row of bundle" in told.reason


def test_a_bundle_under_a_chosen_key_is_refused() -> None:
    cluster = Cluster()
    (told,) = cluster.submit("ann", task("x", rows=rows(3)))
    assert "must be a number" in told.reason


def test_a_bundle_given_twice_is_one() -> None:
    cluster, run = sent_whole()
    report(cluster, run, 0, 4)
    cluster.submit("ann", bundle(10))
    assert shape(cluster) == [(0, 4, "memory"), (4, 6, "processing")]
    assert cluster.told("client/ann", wire.Refused) == []


def test_a_bundle_has_its_inputs_when_it_is_cut() -> None:
    cluster = Cluster({"w": 1})
    one = wire.task_id(1, 1)
    cluster.submit("ann", task(one), bundle(10, one))
    assert shape(cluster) == [(0, 10, "waiting")]
    cluster.client("ann", wire.Desire((FIRST + 5,)))
    assert [ts.n_waiting_on for ts in parts_of(cluster.books, FIRST, 10)] == [1, 1, 1]
    assert cluster.ts(one).n_waiters == 3
    cluster.release("ann", one)
    cluster.drive()
    assert all(state == "memory" for _, _, state in shape(cluster))
    assert cluster.state(one) == "released"


# --- what it costs -----------------------------------------------------------------------------


def test_cutting_a_long_bundle_row_by_row_copies_no_rows() -> None:
    cluster = Cluster()
    n = 20_000
    cluster.submit("ann", bundle(n))
    books = cluster.books
    ts: TaskState = cluster.ts(FIRST)
    shared = ts.rarely().rows
    for _ in range(1_000):
        ts = cut(books, ts, 1)
    assert ts.rarely().rows is shared
    assert ts.own_rows == rows(n)[1_000:]
    assert owner(books, FIRST + n - 1) is ts
    assert len(books.spans.starts[1]) < 200


def test_a_bundle_is_found_among_many() -> None:
    cluster = Cluster()
    firsts = [wire.task_id(1, 100 * i) for i in range(1, 300)]
    for first in firsts[::-1]:
        cluster.submit("ann", bundle(10, first=first))
    for first in firsts:
        assert owner(cluster.books, first + 9) is cluster.ts(first)
        assert owner(cluster.books, first + 10) is None
    cluster.release("ann", *firsts[::2])
    assert owner(cluster.books, firsts[0] + 1) is None
    assert owner(cluster.books, firsts[1] + 1) is cluster.ts(firsts[1])


def test_sessions_that_have_no_bundles_left_are_not_listed() -> None:
    cluster = Cluster(clients=())
    for session in range(1, 20):
        cluster.attach(f"c{session}", session)
        first = wire.task_id(session, 5)
        cluster.submit(f"c{session}", bundle(10, first=first))
        cluster.release(f"c{session}", first)
    assert len(cluster.books.spans.starts) <= 2
