"""Rows of a bundle that a client wants no longer, or wants stopped."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.harness import Cluster, finished, task
from tests.unit.scheduler.test_bundles import FIRST, bundle, sent_whole
from treadle import wire

BASE = FIRST


def waiting(**settings):
    """A bundle of ten rows that nobody runs."""
    cluster = Cluster(**settings)
    cluster.submit("ann", bundle(10))
    return cluster


def rows_of(cluster):
    """The rows that are still known, and in what state."""
    found = {}
    for ts in cluster.books.tasks.values():
        if not FIRST <= ts.id < FIRST + 10:
            continue
        for row in range(ts.rows):
            found[ts.id + row - BASE] = ts.state
    return dict(sorted(found.items()))


def test_rows_that_wait_are_let_go_of_alone():
    cluster = waiting()
    cluster.client("ann", wire.ReleaseRows(((BASE + 2, 3), (BASE + 9, 1))))
    assert list(rows_of(cluster)) == [0, 1, 5, 6, 7, 8]


def test_all_rows_are_let_go_of_also_while_they_run():
    cluster, run = sent_whole()
    sent = cluster.client("ann", wire.ReleaseRows(((BASE, 10),)))
    assert wire.Stop(run.id, run.attempt) in sent
    assert rows_of(cluster) == {}


def test_a_row_that_runs_with_others_is_not_stopped_by_a_release():
    cluster, _ = sent_whole()
    assert cluster.client("ann", wire.ReleaseRows(((BASE + 1, 1),))) == []
    assert set(rows_of(cluster).values()) == {"processing"}


def test_a_row_that_runs_with_others_is_stopped_and_they_begin_again():
    cluster, run = sent_whole()
    sent = cluster.client("ann", wire.CancelRows(((BASE + 4, 1),), reason="enough"))
    assert wire.Cancelled(BASE + 4, "enough", 1) in sent
    assert wire.Stop(run.id, run.attempt) in sent
    cluster.drive(finished)
    assert rows_of(cluster) == {row: "memory" for row in range(10) if row != 4}


def test_what_waits_for_a_row_that_is_stopped_is_stopped_too():
    cluster = waiting()
    one, other = wire.task_id(1, 100), wire.task_id(1, 101)
    cluster.submit("ann", task(one, BASE + 3))
    cluster.submit("ann", task(other, BASE + 4))
    sent = cluster.client("ann", wire.CancelRows(((BASE + 3, 1),)))
    assert {m.id for m in sent if type(m) is wire.Cancelled} == {BASE + 3, one}
    assert list(rows_of(cluster)) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert cluster.ts(other).state in ("waiting", "no-worker")


@pytest.mark.parametrize("message", [wire.ReleaseRows, wire.CancelRows])
def test_rows_of_others_are_not_touched(message):
    cluster = waiting(clients=("ann", "bob"))
    cluster.client("bob", message(((BASE, 10),)))
    assert list(rows_of(cluster)) == list(range(10))
    cluster.client("ann", message(((BASE + 50, 10), (BASE, 0))))
    assert list(rows_of(cluster)) == list(range(10))
