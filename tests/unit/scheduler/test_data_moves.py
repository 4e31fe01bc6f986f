"""Results are copied, moved from full workers to empty ones, and away from those that leave."""

from __future__ import annotations

from typing import Any

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.test_data import holding, replies, scatter
from treadle import wire


def holders(cluster: Cluster, id: wire.TaskId) -> set[str]:
    return {ws.id for ws in cluster.ts(id).who_has}


def fetches(cluster: Cluster) -> list[tuple[str, wire.TaskId, tuple[str, ...]]]:
    """Who was told in the last step to fetch what from whom."""
    return [(to[7:], m.id, m.holders) for to, m in cluster.last if type(m) is wire.Fetch]


def given(*ids: wire.TaskId, others: str = "bcd", nbytes: int = 100) -> Cluster:
    """Data on worker `a`, and empty workers."""
    cluster = Cluster({"a": 1})
    scatter(cluster, *ids, nbytes=nbytes)
    holding(cluster, "a", *ids, nbytes=nbytes)
    for name in others:
        cluster.join(name)
    return cluster


def not_fetched(cluster: Cluster, worker: str, id: wire.TaskId, *holders: str) -> list[Any]:
    return cluster.worker(worker, wire.NotFetched(id, cluster.ts(id).attempt, holders))


def quiet(cluster: Cluster) -> bool:
    moves = cluster.books.moves
    return not (moves.of or moves.to or moves.jobs or moves.incoming)


# --- replicate ---------------------------------------------------------------------------------


def replicate(cluster: Cluster, *ids: wire.TaskId, copies: int = 2, **more: Any) -> list[Any]:
    return cluster.client("ann", wire.Replicate(3, ids, copies, **more))


def test_a_result_is_copied_to_as_many_workers_as_asked_for() -> None:
    cluster = given("x")
    assert replies(replicate(cluster, "x", copies=3)) == []
    assert fetches(cluster) == [("b", "x", ("a",)), ("c", "x", ("a",))]
    assert replies(holding(cluster, "b", "x")) == []
    assert replies(holding(cluster, "c", "x")) == [wire.Reply(3, 2)]
    assert holders(cluster, "x") == {"a", "b", "c"}
    assert quiet(cluster)


def test_copies_that_are_there_count() -> None:
    cluster = given("x")
    assert replicate(cluster, "x", copies=1) == [wire.Reply(3, 0)]


def test_zero_copies_means_everywhere() -> None:
    cluster = given("x")
    replicate(cluster, "x", copies=0)
    assert {to for to, _, _ in fetches(cluster)} == {"b", "c", "d"}


def test_copies_go_to_the_chosen_workers() -> None:
    cluster = given("x")
    replicate(cluster, "x", copies=1, workers=("d",))
    assert fetches(cluster) == [("d", "x", ("a",))]
    assert replies(holding(cluster, "d", "x")) == [wire.Reply(3, 1)]


def test_copies_are_spread() -> None:
    cluster = given("x", "y", "z")
    replicate(cluster, "x", "y", "z")
    assert {to for to, _, _ in fetches(cluster)} == {"b", "c", "d"}


def test_more_copies_than_workers_is_an_error_when_all_have_it() -> None:
    cluster = given("x", others="b")
    replicate(cluster, "x", copies=5)
    (reply,) = replies(holding(cluster, "b", "x"))
    assert "on 2 of 5 workers" in reply.error


def test_a_copy_that_fails_is_made_elsewhere() -> None:
    cluster = given("x")
    replicate(cluster, "x")
    assert replies(not_fetched(cluster, "b", "x", "a")) == []
    assert fetches(cluster) == [("c", "x", ("a",))]
    assert replies(holding(cluster, "c", "x")) == [wire.Reply(3, 1)]
    assert holders(cluster, "x") == {"a", "c"}


def test_a_copy_that_fails_everywhere_is_told_once() -> None:
    cluster = given("x", others="bc")
    replicate(cluster, "x")
    not_fetched(cluster, "b", "x", "a")
    (reply,) = replies(not_fetched(cluster, "c", "x", "a"))
    assert "x is on 1 of 2 workers" in reply.error
    assert not_fetched(cluster, "c", "x", "a") == []
    assert cluster.state("x") == "memory"
    assert quiet(cluster)


def test_a_copy_is_fetched_from_another_holder_if_the_first_fails() -> None:
    cluster = given("x")
    holding(cluster, "d", "x")
    replicate(cluster, "x", copies=3)
    assert fetches(cluster) == [("b", "x", ("a", "d"))]
    holding(cluster, "c", "x")
    not_fetched(cluster, "b", "x", "a", "d")
    assert fetches(cluster) == [("b", "x", ("c",))]


def test_a_worker_that_dies_while_it_fetches_is_replaced() -> None:
    cluster = given("x")
    replicate(cluster, "x")
    cluster.kill("b")
    assert fetches(cluster) == [("c", "x", ("a",))]
    assert len(replies(holding(cluster, "c", "x"))) == 1
    assert quiet(cluster)


def test_a_request_ends_when_the_result_is_lost() -> None:
    cluster = given("x")
    replicate(cluster, "x", copies=3)
    cluster.kill("a")
    assert cluster.state("x") == "forgotten"
    attempt = cluster.ts("x").attempt
    (reply,) = replies(cluster.worker("b", wire.NotFetched("x", attempt, ("a",))))
    assert "the result of x is gone" in reply.error
    assert replies(cluster.worker("c", wire.NotFetched("x", attempt, ("a",)))) == []
    assert quiet(cluster)


def test_the_same_copy_is_ordered_once_for_two_requests() -> None:
    cluster = given("x", others="b")
    replicate(cluster, "x")
    assert cluster.client("ann", wire.Replicate(4, ("x",), 2)) == []
    told = replies(holding(cluster, "b", "x"))
    assert sorted(reply.ask for reply in told) == [3, 4]


def test_a_request_sent_again_while_it_is_under_way_is_answered_once() -> None:
    cluster = given("x", others="b")
    replicate(cluster, "x")
    replicate(cluster, "x")
    assert fetches(cluster) == []
    assert replies(holding(cluster, "b", "x")) == [wire.Reply(3, 1)]


def test_what_cannot_be_copied_is_named() -> None:
    cluster = given("x")
    cluster.submit("ann", task("t", "u"), task("u"), graph=True)
    (reply,) = replies(replicate(cluster, "t", "nobody", copies=1))
    assert "t has no result that could be copied (waiting)" in reply.error
    assert "'nobody' is not known" in reply.error


def test_no_copy_is_sent_to_a_worker_that_is_full_leaving_or_away() -> None:
    cluster = given("x")
    cluster.worker("b", wire.Status(10, paused=True))
    cluster.client("ann", wire.Retire(1, ("c",)))
    cluster.lose_link("worker/d")
    (reply,) = replies(replicate(cluster, "x"))
    assert "no other can take it" in reply.error


def test_an_order_that_was_lost_with_the_link_is_given_again() -> None:
    cluster = given("x", others="b")
    replicate(cluster, "x")
    cluster.lose_link("worker/b")
    cluster.worker("b", wire.Register("b", 1, "host", 1))
    assert fetches(cluster) == [("b", "x", ("a",))]


def test_an_arrival_that_was_lost_with_the_link_is_seen_at_the_register() -> None:
    cluster = given("x", others="b")
    replicate(cluster, "x")
    cluster.lose_link("worker/b")
    held = (wire.Held("x", cluster.ts("x").attempt, 100, "bytes"),)
    told = cluster.worker("b", wire.Register("b", 1, "host", 1, holds=held))
    assert replies(told) == [wire.Reply(3, 1)]


def test_a_request_of_a_client_that_has_left_is_not_answered() -> None:
    cluster = given("x", others="b")
    cluster.attach("bob")
    cluster.client("bob", wire.Desire(("x",)))
    replicate(cluster, "x")
    cluster.client("ann", wire.Leave())
    assert replies(holding(cluster, "b", "x")) == []
    assert quiet(cluster)


# --- rebalance ---------------------------------------------------------------------------------


def rebalance(cluster: Cluster, *ids: wire.TaskId, **more: Any) -> list[Any]:
    return cluster.client("ann", wire.Rebalance(5, ids, **more))


def sizes(cluster: Cluster) -> dict[str, int]:
    return {ws.id: ws.nbytes for ws in cluster.books.workers.values()}


def obey(cluster: Cluster) -> list[Any]:
    """Every worker fetches what it was told to; what that leads to."""
    told = []
    for worker, id, _ in fetches(cluster):
        told += holding(cluster, worker, id, nbytes=cluster.ts(id).nbytes or 0)
    return told


def test_results_move_from_the_full_worker_to_the_empty_ones() -> None:
    ids = tuple(f"x{i}" for i in range(8))
    cluster = given(*ids)
    assert replies(rebalance(cluster)) == []
    assert replies(obey(cluster)) == [wire.Reply(5, 6)]
    assert sizes(cluster) == {"a": 200, "b": 200, "c": 200, "d": 200}
    assert all(len(holders(cluster, id)) == 1 for id in ids)
    assert quiet(cluster)


def test_the_sender_keeps_it_until_it_has_arrived() -> None:
    cluster = given("x", "y", others="b")
    rebalance(cluster)
    ((worker, id, _),) = fetches(cluster)
    assert holders(cluster, id) == {"a"}
    assert wire.Free(id, cluster.ts(id).attempt) in holding(cluster, worker, id)
    assert holders(cluster, id) == {"b"}


def test_balanced_workers_are_left_alone() -> None:
    cluster = given("x", others="")
    cluster.join("b")
    assert rebalance(cluster) == [wire.Reply(5, 0)]


def test_memory_counts_in_relation_to_what_a_worker_has() -> None:
    cluster = Cluster()
    cluster.join("small", memory_bytes=1_000)
    ids = [f"x{i}" for i in range(8)]
    scatter(cluster, *ids)
    holding(cluster, "small", *ids)
    cluster.join("large", memory_bytes=3_000)
    rebalance(cluster)
    obey(cluster)
    assert sizes(cluster) == {"small": 200, "large": 600}


def test_only_the_named_results_move() -> None:
    cluster = given("x", "y", "z", others="b")
    rebalance(cluster, "y")
    assert [id for _, id, _ in fetches(cluster)] == ["y"]


def test_results_move_between_the_named_workers_only() -> None:
    cluster = given("x", "y", "z")
    rebalance(cluster, workers=("a", "d"))
    assert {to for to, _, _ in fetches(cluster)} == {"d"}


def test_what_a_task_is_about_to_read_is_copied_and_not_taken_away() -> None:
    cluster = given("x", "y", others="")
    cluster.submit("ann", task("t", "x"), task("u", "y"))
    cluster.join("b")
    cluster.drive(most=0) if not cluster.runs["a"] else None
    rebalance(cluster, "x")
    ((worker, id, _),) = fetches(cluster)
    told = holding(cluster, worker, id)
    assert replies(told) == [wire.Reply(5, 1)]
    assert holders(cluster, "x") == {"a", "b"}


def test_a_move_that_fails_moves_nothing() -> None:
    cluster = given("x", "y", others="b")
    rebalance(cluster)
    ((_, id, _),) = fetches(cluster)
    assert replies(not_fetched(cluster, "b", id, "a")) == [wire.Reply(5, 0)]
    assert holders(cluster, id) == {"a"}


def test_the_last_copy_is_never_taken_away() -> None:
    cluster = given("x", "y", others="b")
    rebalance(cluster)
    ((_, id, _),) = fetches(cluster)
    cluster.kill("b")
    assert holders(cluster, id) == {"a"}
    assert quiet(cluster)


def test_a_rebalance_names_what_is_not_known() -> None:
    cluster = given("x")
    (reply,) = rebalance(cluster, "nobody")
    assert "'nobody' is not known" in reply.error


def test_a_rebalance_twice_moves_nothing_more() -> None:
    cluster = given(*(f"x{i}" for i in range(9)), nbytes=70)
    rebalance(cluster)
    obey(cluster)
    assert rebalance(cluster) == [wire.Reply(5, 0)]


# --- away from those that leave ----------------------------------------------------------------


def retire(cluster: Cluster, *workers: str) -> list[Any]:
    return cluster.client("ann", wire.Retire(9, workers)) + look(cluster)


def look(cluster: Cluster, after_s: float = 0.0) -> list[Any]:
    """Time passes, and everybody is alive."""
    cluster.now += after_s
    for number, worker in enumerate(tuple(cluster.books.workers)):
        cluster.worker(worker, wire.Beat(int(cluster.now) * 10 + number))
    cluster.client("ann", wire.ClientBeat(int(cluster.now)))
    return cluster.tick()


def test_what_only_a_leaving_worker_has_moves_away_and_then_it_may_go() -> None:
    cluster = given("x", "y", others="bc")
    told = retire(cluster, "a")
    assert wire.Drain() in told
    assert {id for _, id, _ in fetches(cluster)} == {"x", "y"}
    obey(cluster)
    assert wire.Depart() in look(cluster)
    assert "a" not in cluster.books.workers
    assert [len(holders(cluster, id)) for id in "xy"] == [1, 1]
    assert quiet(cluster)


def test_what_is_elsewhere_too_does_not_move() -> None:
    cluster = given("x", others="b")
    holding(cluster, "b", "x")
    assert wire.Depart() in retire(cluster, "a")
    assert cluster.told("worker/b", wire.Fetch) == []


def test_two_that_leave_do_not_save_each_other() -> None:
    cluster = given("x", others="bc")
    holding(cluster, "b", "x")
    retire(cluster, "a", "b")
    assert {(to, id) for to, id, _ in fetches(cluster)} == {("c", "x")}
    holding(cluster, "c", "x")
    assert holders(cluster, "x") == {"c"}


def test_a_worker_waits_for_somebody_to_take_its_data() -> None:
    cluster = given("x", others="")
    assert wire.Depart() not in retire(cluster, "a")
    cluster.join("b")
    look(cluster, 5)
    assert fetches(cluster) == [("b", "x", ("a",))]
    holding(cluster, "b", "x")
    assert wire.Depart() in look(cluster)


def test_a_failed_evacuation_goes_to_another_worker() -> None:
    cluster = given("x", others="bc")
    retire(cluster, "a")
    not_fetched(cluster, "b", "x", "a")
    look(cluster, 5)
    assert fetches(cluster) == [("c", "x", ("a",))]


def test_a_result_that_nobody_can_fetch_is_computed_again() -> None:
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    for name in "bcd":
        cluster.join(name)
    retire(cluster, "a")
    for _ in range(3):
        look(cluster, 5)
        ((ts, there),) = cluster.books.moves.of.items()
        (target,) = there
        not_fetched(cluster, target.id, ts.id, "a")
    assert cluster.run_of("x")[0] in "bcd"


def test_data_that_nobody_can_fetch_is_never_given_up() -> None:
    cluster = given("x", others="bcd")
    retire(cluster, "a")
    for _ in range(8):
        for ts, there in list(cluster.books.moves.of.items()):
            for target in list(there):
                not_fetched(cluster, target.id, ts.id, "a")
        look(cluster, 5)
    assert cluster.state("x") == "memory"
    assert holders(cluster, "x") == {"a"}


def test_who_has_no_room_for_a_copy_is_not_asked_again() -> None:
    cluster = given("x", others="b")
    replicate(cluster, "x")
    (reply,) = replies(not_fetched(cluster, "b", "x"))
    assert fetches(cluster) == []
    assert reply.error == "x is on 1 of 2 workers: no other can take it"
    assert quiet(cluster)


def test_data_is_asked_for_again_if_its_worker_comes_back_without_it() -> None:
    cluster = Cluster({"a": 1})
    scatter(cluster, "x")
    told = cluster.worker("a", wire.Register("a", 1, "a", 1, number=2))
    (upload,) = [m for m in told if type(m) is wire.Upload]
    assert [(id, workers) for id, _, workers in upload.items] == [("x", ("a",))]
