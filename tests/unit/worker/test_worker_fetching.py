"""Objects come from other workers, and go to them."""

from __future__ import annotations

from tests.unit.worker.harness import Bench, asked, held, needs, returned
from treadle import wire
from treadle import worker as w
from treadle.worker._job import Stage
from treadle.worker._replica import Place


def test_an_input_is_fetched_reported_and_used():
    bench = Bench()
    bench.run(1, inputs=needs(8))
    ask, ids = asked(bench, "p1")
    assert ids == [8]
    assert bench.stage(1) is Stage.waiting
    bench.tell(wire.Data(ask, held(8)), "p1")
    assert bench.stage(1) is Stage.fed
    assert bench.said() == [wire.Holding(held(8))]


def test_an_input_of_several_jobs_is_fetched_once():
    bench = Bench(slots=2)
    bench.run(1, inputs=needs(8))
    ask, _ = asked(bench, "p1")
    bench.run(2, inputs=needs(8))
    assert bench.said(to="p1") == []
    bench.tell(wire.Data(ask, held(8)), "p1")
    assert [bench.stage(1), bench.stage(2)] == [Stage.fed, Stage.fed]


def test_one_request_brings_a_batch_and_one_is_in_flight_for_each_peer():
    bench = Bench(limits={"batch_bytes": 25})
    bench.run(1, inputs=needs(11, 12, 13))
    ask, ids = asked(bench, "p1")
    assert ids == [11, 12]
    bench.run(2, inputs=needs(14))
    assert bench.said(to="p1") == []
    bench.tell(wire.Data(ask, held(11, 12)), "p1")
    assert asked(bench, "p1")[1] == [13, 14]


def test_an_object_larger_than_a_batch_goes_alone():
    bench = Bench(limits={"batch_bytes": 25})
    bench.run(1, inputs=needs(11, nbytes=90) + needs(12))
    assert asked(bench, "p1")[1] == [11]


def test_requests_and_what_they_bring_are_bounded():
    bench = Bench(limits={"asks": 2})
    bench.order(*(wire.Run(i, 1, b"", needs(10 + i, holders=(f"p{i}",))) for i in (1, 2, 3)))
    assert [len(bench.said(to=f"p{i}")) for i in (1, 2, 3)] == [1, 1, 0]
    bench = Bench(limits={"incoming_bytes": 25})
    bench.order(*(wire.Run(i, 1, b"", needs(10 + i, holders=(f"p{i}",))) for i in (1, 2, 3)))
    assert [len(bench.said(to=f"p{i}")) for i in (1, 2, 3)] == [1, 1, 0]
    bench.tell(wire.Data(bench.books.peers["p1"].request.ask, held(11)), "p1")
    assert asked(bench, "p3")[1] == [13]


def test_what_is_better_ranked_is_fetched_first():
    bench = Bench(limits={"batch_bytes": 1})
    bench.run(1, inputs=needs(11), rank=(1.0, 0))
    ask, _ = asked(bench, "p1")
    bench.run(2, inputs=needs(12), rank=(2.0, 0))
    bench.run(3, inputs=needs(13), rank=(0.0, 0))
    bench.tell(wire.Data(ask, held(11)), "p1")
    assert asked(bench, "p1")[1] == [13]


def test_who_has_been_asked_least_is_asked_first():
    bench = Bench()
    bench.run(1, inputs=needs(11, holders=("p1",)))
    bench.tell(wire.Data(asked(bench, "p1")[0], held(11)), "p1")
    bench.run(2, inputs=needs(12, holders=("p1", "p2")))
    assert asked(bench, "p2")[1] == [12]


def test_workers_do_not_all_ask_the_same_peer():
    peers = tuple(f"p{i}" for i in range(5))
    chosen = set()
    for name in range(20):
        bench = Bench()
        bench.books.id = f"worker {name}"
        bench.run(1, inputs=needs(11, holders=peers))
        chosen.update(peer for peer in peers if bench.said(to=peer))
    assert len(chosen) >= 3


def test_who_is_busy_is_left_alone_and_another_is_asked():
    bench = Bench()
    bench.run(1, inputs=needs(11, holders=("p1", "p2")))
    first = "p1" if bench.said(to="p1") else "p2"
    other = "p2" if first == "p1" else "p1"
    bench.tell(wire.Busy(asked(bench, first)[0]), first)
    ask, _ = asked(bench, other)
    bench.tell(wire.Busy(ask), other)
    assert bench.did() == []
    assert bench.worker.wake_at == bench.now + 0.1
    bench.wait(0.11)
    assert bench.said(to=first) + bench.said(to=other) != []


def test_who_stays_busy_is_left_alone_for_longer():
    bench = Bench()
    bench.run(1, inputs=needs(11))
    waits = []
    for _ in range(7):
        bench.tell(wire.Busy(bench.books.peers["p1"].request.ask), "p1")
        waits.append(round(bench.books.peers["p1"].rests_until - bench.now, 3))
        bench.now += waits[-1]
        bench.tell(w.Tick())
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_who_does_not_have_it_is_struck_off_and_when_nobody_has_the_job_is_returned():
    bench = Bench()
    bench.run(1, inputs=needs(11, holders=("p1", "p2")))
    first = "p1" if bench.said(to="p1") else "p2"
    other = "p2" if first == "p1" else "p1"
    bench.tell(wire.Data(asked(bench, first)[0], (), (11,)), first)
    ask, _ = asked(bench, other)
    bench.tell(w.LinkDown(other))
    assert bench.said() == [returned(1, "inputs", missing=((11, first), (11, other)))]
    assert bench.books.store == {}
    bench.tell(wire.Data(ask, held(11)), other)
    assert bench.did() == [w.Discard(11, 1)]


def test_an_answer_without_all_that_was_asked_for_is_a_loss():
    bench = Bench()
    bench.run(1, inputs=needs(11, 12))
    bench.tell(wire.Data(asked(bench, "p1")[0], held(11)), "p1")
    assert bench.said(wire.Returned) == [returned(1, "inputs", missing=((12, "p1"),))]
    assert bench.place(11) is Place.memory


def test_who_does_not_answer_in_time_is_unreachable_for_all_it_has():
    bench = Bench(limits={"batch_bytes": 1})
    bench.run(1, inputs=needs(11))
    bench.run(2, inputs=needs(12))
    bench.wait(29.0)
    assert bench.stage(1) is Stage.waiting
    bench.wait(2.0)
    assert sorted(m.id for m in bench.said(wire.Returned)) == [1, 2]


def test_large_transfers_may_take_longer():
    bench = Bench(limits={"slowest_bytes_s": 10})
    bench.run(1, inputs=needs(11, nbytes=1000))
    bench.wait(120.0)
    assert bench.stage(1) is Stage.waiting
    bench.wait(11.0)
    assert bench.stage(1) is None


def test_an_input_without_a_holder_or_held_by_nobody_but_us_is_missing():
    bench = Bench()
    bench.run(1, inputs=needs(11, holders=()))
    assert bench.said() == [returned(1, "inputs", missing=((11, ""),))]
    bench.run(2, inputs=needs(11, holders=("me",)))
    assert bench.said() == [returned(2, "inputs", missing=((11, "me"),))]


def test_an_input_that_a_job_here_will_make_is_waited_for():
    bench = Bench()
    bench.begin(1)
    bench.run(2, inputs=needs(1, holders=()))
    assert bench.stage(2) is Stage.waiting
    bench.end(1)
    assert bench.stage(2) is Stage.fed


def test_an_input_that_a_job_here_fails_to_make_is_missing():
    bench = Bench()
    bench.begin(1)
    for id in range(2, 30):
        bench.run(id, inputs=needs(id - 1, holders=()))
    bench.raises(1)
    assert [m.id for m in bench.said(wire.Returned)] == list(range(2, 30))


def test_a_result_made_here_that_is_being_fetched_is_there():
    bench = Bench()
    slot = bench.begin(1)
    bench.run(2, inputs=needs(1))
    ask, _ = asked(bench, "p1")
    bench.end(1, slot=slot)
    assert bench.stage(2) is Stage.fed
    bench.tell(wire.Data(ask, held(1)), "p1")
    assert bench.did() == []


def test_a_run_told_again_brings_new_holders():
    bench = Bench()
    bench.run(1, inputs=needs(11, holders=("p1",)))
    ask, _ = asked(bench, "p1")
    bench.run(1, inputs=needs(11, holders=("p2",)))
    bench.tell(wire.Data(ask, (), (11,)), "p1")
    assert asked(bench, "p2")[1] == [11]


def test_a_stopped_job_wants_its_inputs_no_longer():
    bench = Bench()
    bench.run(1, inputs=needs(11))
    ask, _ = asked(bench, "p1")
    bench.order(wire.Stop(1, 1))
    assert bench.books.used == 0
    bench.tell(wire.Data(ask, held(11)), "p1")
    assert bench.did() == [w.Discard(11, 1)]
    assert bench.said() == []


# --- ordered copies ----------------------------------------------------------------------------


def test_a_copy_is_fetched_and_reported():
    bench = Bench()
    bench.order(wire.Fetch(11, 1, 10, ("p1",)))
    bench.tell(wire.Data(asked(bench, "p1")[0], held(11)), "p1")
    assert bench.said() == [wire.Holding(held(11))]
    bench.order(wire.Fetch(11, 1, 10, ("p1",)))
    assert bench.said() == [wire.Holding(held(11))]


def test_a_copy_that_nobody_has_is_not_fetched():
    bench = Bench()
    bench.order(wire.Fetch(11, 1, 10, ("p1",)))
    bench.tell(w.LinkDown("p1"))
    assert bench.said() == [wire.NotFetched(11, 1, ("p1",))]
    assert bench.books.store == {}


def test_a_copy_is_not_looked_for_for_ever():
    bench = Bench(limits={"fetch_s": 5.0})
    bench.order(wire.Fetch(11, 1, 10, ("p1",)))
    for _ in range(6):
        bench.now += 1.0
        request = bench.books.peers["p1"].request
        if request is not None:
            bench.tell(wire.Busy(request.ask), "p1")
        bench.tell(w.Tick())
    assert bench.books.ordered == {}


def test_a_copy_that_is_freed_before_it_comes_is_not_wanted():
    bench = Bench()
    bench.order(wire.Fetch(11, 1, 10, ("p1",)))
    ask, _ = asked(bench, "p1")
    bench.order(wire.Free(11, 1))
    bench.tell(wire.Data(ask, held(11)), "p1")
    assert (bench.did(), bench.said()) == ([w.Discard(11, 1)], [])


# --- serving -----------------------------------------------------------------------------------


def ask_for(bench: Bench, *ids: int, ask: int = 1, peer: str = "p1") -> list[object]:
    bench.tell(wire.GetData(ask, tuple(wire.Attempt(id, 0) for id in ids)), peer)
    return bench.said(to=peer)


def test_a_peer_gets_what_is_here_and_is_told_what_is_not():
    bench = Bench()
    bench.hold(1)
    assert ask_for(bench, 1, 2) == [wire.Data(1, held(1, attempt=0), (2,))]
    assert ask_for(bench, 2, ask=2) == [wire.Data(2, (), (2,))]
    assert len(bench.books.transfers) == 1


def test_who_knows_no_attempt_gets_the_newest():
    bench = Bench()
    bench.tell(w.Stored(1, 3, 10))
    bench.tell(w.Stored(1, 7, 10))
    assert ask_for(bench, 1) == [wire.Data(1, held(1, attempt=7))]


def test_what_is_being_sent_stays_until_it_has_left():
    for over in (w.Sent("p1", 1), w.LinkDown("p1")):
        bench = Bench()
        bench.hold(1)
        ask_for(bench, 1)
        bench.order(wire.Free(1, 0))
        assert bench.did() == []
        bench.tell(over)
        assert bench.did() == [w.Discard(1, 0)]


def test_a_transfer_of_which_nothing_is_heard_is_over_some_day():
    bench = Bench()
    bench.hold(1)
    ask_for(bench, 1)
    bench.wait(31.0)
    assert bench.books.transfers == {}


def test_above_a_number_or_a_size_peers_are_told_that_we_are_busy():
    bench = Bench(limits={"serves": 2, "outgoing_bytes": 25})
    bench.hold(1)
    bench.hold(2, nbytes=90)
    assert isinstance(ask_for(bench, 2, ask=1)[0], wire.Data)
    assert ask_for(bench, 1, ask=2) == [wire.Busy(2)]
    bench.tell(w.Sent("p1", 1))
    for ask in (3, 4):
        assert isinstance(ask_for(bench, 1, ask=ask)[0], wire.Data)
    assert ask_for(bench, 1, ask=5) == [wire.Busy(5)]


def test_a_request_told_twice_is_answered_once():
    bench = Bench()
    bench.hold(1)
    ask_for(bench, 1)
    assert ask_for(bench, 1) == []
    assert len(ask_for(bench, 1, peer="p2")) == 1
