"""What a client wants of single rows and of others' results: its books against the real machine."""

from __future__ import annotations

import pytest

from tests.unit.cluster.ledger_bench import Bench, fail, finish, in_parts
from treadle import wire
from treadle.cluster import _wanting as wanting
from treadle.cluster._graphs import submit_graph
from treadle.cluster._ledger import CALLS

OTHER = wire.task_id(77, CALLS)


@pytest.fixture(params=[False, True], ids=["once", "each frame twice"])
def bench(request):
    bench = Bench(twice=request.param)
    bench.connect()
    return bench


def submit(bench, number, *needs, rows=0, name="f"):
    """A call of the client's."""
    id = bench.id(CALLS + number)
    packed = tuple(b"%d" % row for row in range(rows))
    bench.ledger.submit(wire.TaskSpec(id, name, b"call", needs, rows=packed), wire.Options(), ())
    bench.settle()
    return id


def called(bench):
    """What was told of calls: number, how many rows, and what."""
    told, bench.ledger.called = bench.ledger.called, []
    return [
        (o.id - CALLS, o.rows, "value" if o.value else "cancelled" if o.cancelled else "error")
        for o in told
    ]


def let_go(bench, *ids, pickled=()):
    wanting.forget(bench.ledger, ids, frozenset(pickled))
    bench.settle()


def stop(bench, *ids):
    wanting.cancel(bench.ledger, ids, force=False, reason="enough")
    bench.settle()


# --- rows ----------------------------------------------------------------------------------------


def test_a_part_is_let_go_of_with_the_last_of_its_rows(bench):
    first = submit(bench, 0, rows=10)
    bench.work(in_parts(4, 6))
    assert sum(rows for _, rows, _ in called(bench)) == 10
    let_go(bench, *range(first, first + 9))
    assert bench.known
    let_go(bench, first + 9)
    assert not bench.known
    assert not len(bench.ledger.bundles)


def test_rows_that_wait_are_not_run_when_nobody_wants_them(bench):
    blocker = submit(bench, 100)
    first = submit(bench, 0, rows=50)
    let_go(bench, *range(first + 10, first + 50))
    bench.work()
    told = [row for row in called(bench) if row[0] != 100]
    assert sum(rows for _, rows, _ in told) == 10
    let_go(bench, *range(first, first + 10), blocker)
    assert not bench.known


def test_some_rows_are_stopped_and_the_others_go_on(bench):
    first = submit(bench, 0, rows=10)
    stop(bench, first + 3, first + 4)
    bench.work()
    told = called(bench)
    assert sum(rows for _, rows, what in told if what == "value") == 8
    assert not any(what == "cancelled" for _, _, what in told)  # who stopped them knows it
    let_go(bench, *range(first, first + 10))
    assert not bench.known


def test_what_is_let_go_of_before_it_is_told_is_released_when_it_is(bench):
    first = submit(bench, 0, rows=6)
    runs = list(bench.runs.values())
    bench.ledger.attached = False  # nothing can be said for the moment
    wanting.forget(bench.ledger, range(first, first + 6), frozenset())
    for run in runs:
        bench.worker(*finish(run))
    bench.read()
    bench.ledger.attached = True
    bench.work()
    assert called(bench) == []
    assert not bench.known


def test_a_row_lingers_if_a_future_of_it_was_pickled(bench):
    first = submit(bench, 0, rows=4)
    let_go(bench, *range(first, first + 4), pickled=[first + 2])
    bench.work()
    assert called(bench) == []
    assert any(type(message) is wire.Linger for message in bench.said)
    assert bench.known
    wanting.want(bench.ledger, first + 2, "f")
    bench.work()
    ((row, rows, what),) = called(bench)
    assert row <= 2 < row + rows
    assert what == "value"


def test_a_row_that_failed_is_tried_again(bench):
    first = submit(bench, 0, rows=3)
    bench.work(fail)
    assert sum(rows for _, rows, what in called(bench) if what == "error") == 3
    wanting.retry(bench.ledger, [first + 1])
    bench.work()
    assert called(bench) == [(1, 1, "value")]
    let_go(bench, *range(first, first + 3))
    assert not bench.known


# --- others' results -----------------------------------------------------------------------------


def others_bundle(bench, rows):
    """Another client's map, of which all has ended."""
    packed = tuple(b"%d" % row for row in range(rows))
    bench.step([wire.Attach(77, "bob")], "client/bob")
    spec = wire.TaskSpec(OTHER, "g", b"call", rows=packed)
    bench.step([wire.Submit((spec,))], "client/bob")


def test_single_rows_of_anothers_map_are_told(bench):
    others_bundle(bench, 8)
    bench.work(in_parts(3, 5))
    for row in (1, 4, 5):
        wanting.want(bench.ledger, OTHER + row, "g")
    bench.work()
    wanted = {OTHER + row - bench.ledger.base - CALLS for row in (1, 4, 5)}
    seen = {
        row for first, rows, what in called(bench) if what == "value"
        for row in range(first, first + rows)
    }  # fmt: skip
    assert wanted <= seen
    let_go(bench, OTHER + 1, OTHER + 4, OTHER + 5)
    assert not len(bench.ledger.bundles)
    assert not bench.ledger.wants
    client = bench.scheduler.books.clients["client/ann"]
    assert not client.wants_what


def test_rows_of_anothers_map_that_wait_are_told_when_they_have_ended(bench):
    others_bundle(bench, 8)
    wanting.want(bench.ledger, OTHER + 6, "g")
    bench.work()
    assert [what for _, _, what in called(bench)] == ["value"]


def test_what_nobody_knows_ends_with_an_error(bench):
    wanting.want(bench.ledger, "nothing", "nothing")
    wanting.want(bench.ledger, OTHER, "g")
    bench.settle()
    told, bench.ledger.called = bench.ledger.called, []
    assert len(told) == 2
    assert all("nobody knows it" in str(outcome.error()) for outcome in told)
    assert not bench.ledger.told


def test_a_row_that_was_let_go_of_for_good_is_an_error_when_it_is_wanted_again(bench):
    first = submit(bench, 0, rows=4)
    keep = [first, first + 1, first + 2]
    bench.work(lambda run: in_parts(*[1] * max(1, len(run.rows)))(run))
    called(bench)
    let_go(bench, first + 3)
    wanting.want(bench.ledger, first + 3, "f")
    bench.work()
    told = called(bench)
    assert [(row, what) for row, _, what in told] == [(3, "error")]
    let_go(bench, *keep, first + 3)
    assert not bench.known


# --- keys that are used again --------------------------------------------------------------------


def test_a_cancellation_that_was_asked_for_is_not_that_of_the_next_task_with_the_key():
    bench = Bench()
    bench.connect()
    spec = wire.TaskSpec("key", "f", b"call")
    bench.ledger.submit(spec, wire.Options(), ())
    bench.settle()
    wanting.cancel(bench.ledger, ["key"], force=False, reason="")
    bench.ledger.submit(spec, wire.Options(), ())
    bench.work()
    assert [(o.id, o.cancelled) for o in bench.ledger.called] == [("key", False)]
    bench.beat()
    assert not bench.ledger.stopped


def test_what_another_cancels_is_told_with_its_reason(bench):
    first = submit(bench, 0, rows=4)
    one = submit(bench, 10)
    bench.work()
    called(bench)
    restart = [wire.Cancelled(first, "a new start", 4), wire.Cancelled(one, "a new start")]
    bench.ledger.handle(restart)
    told = bench.ledger.called
    assert {(o.id - CALLS, o.rows, o.text) for o in told if o.cancelled} == {
        (0, 4, "a new start"), (10, 1, "a new start"),
    } or bench.twice  # fmt: skip


# --- graphs --------------------------------------------------------------------------------------


def test_of_a_graph_only_what_is_wanted_is_told(bench):
    ids = [bench.id(CALLS + n) for n in range(4)]
    specs = [
        wire.TaskSpec(id, "f", b"call", (ids[n - 1],) if n else ()) for n, id in enumerate(ids)
    ]
    submit_graph(bench.ledger, specs, wire.Options(), {ids[-1]: "f"}, ())
    bench.work()
    assert called(bench) == [(3, 1, "value")]
    let_go(bench, ids[-1])
    assert not bench.known


def test_spans_of_rows():
    assert wanting.spans_of([5, 3, 4, 9]) == ((3, 3), (9, 1))
    assert wanting.spans_of([]) == ()
