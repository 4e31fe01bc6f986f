"""A slot's sockets and page, without a slot: what is fed, taken back, heard and looked at."""

from __future__ import annotations

import os
import socket
import time
from types import SimpleNamespace

import pytest

from tests.unit.cluster.agent_fakes import DIGEST, Loop, Store, run
from treadle import wire, worker
from treadle.cluster._agent_feeding import Pantry
from treadle.cluster._agent_reports import Reports
from treadle.cluster._agent_slot import SlotEnd, content
from treadle.cluster._agent_slots import Slots
from treadle.cluster._packets import (
    BLAME_ATTEMPT,
    BLAME_ROW,
    BLAME_SINCE,
    Granted,
    Returned,
    Task,
    decode_for_slot,
    encode,
)
from treadle.cluster._slot_page import Page


class Output:
    """Keeps nothing."""

    def __init__(self):
        self.died_in = []

    def died(self, slot, run, id):
        self.died_in.append(id)

    def close(self, slot):
        pass


class Bench:
    """Slots whose processes the test plays."""

    def __init__(self):
        self.loop, self.store, self.output = Loop(), Store(), Output()
        self.told, self.looks, self.lasted = [], [], []
        pantry = Pantry(self.store)
        pantry.learn(wire.Code(DIGEST, "f", b"payload"))
        reports = Reports(self.store, pantry.rows, lambda text: None, lambda *args: None)
        self.slots = Slots(
            SimpleNamespace(),
            self.loop,
            tell=self.tell,
            look=self.looks.append,
            lasts=lambda: self.lasted.append(1),
            store=self.store,
            pantry=pantry,
            reports=reports,
            output=self.output,
        )
        self.hands = {}

    def tell(self, event):
        self.told += event if isinstance(event, list) else [event]

    def add(self, number=1):
        end = SlotEnd(number)
        inherited = end.open()
        page = Page(inherited.blame)
        self.hands[number] = Hand(end, socket.socket(fileno=os.dup(inherited.talk)), page)
        inherited.close()
        end.ready = True
        self.slots.ends[number] = end
        self.loop.add_reader(end.talk.fileno(), self.slots._hear, end)
        return self.hands[number]

    def feed(self, number, order):
        self.slots.feed(worker.Feed(number, order))

    def take_back(self, number, *orders):
        commands = [worker.TakeBack(number, order.id, order.attempt) for order in orders]
        self.slots.take_back(number, commands)

    def close(self):
        for hand in self.hands.values():
            hand.close()
        self.slots.close()


class Hand:
    """The slot's side."""

    def __init__(self, end, talk, page):
        self.end, self.talk, self.page = end, talk, page
        self.feed = socket.socket(fileno=os.dup(end.feed_out.fileno()))

    def read(self):
        """The next task; the blame word tells of it."""
        packet, fds, _, _ = socket.recv_fds(self.feed, 1 << 17, 1)
        task = decode_for_slot(content((packet, fds[0]) if fds else (packet, -1)))
        for fd in fds:
            os.close(fd)
        return task

    def begin(self, age_s=0.0):
        task = self.read()
        self.page.words[BLAME_ROW] = 0
        self.page.words[BLAME_SINCE] = time.monotonic_ns() - int(age_s * 1e9)
        self.page.words[BLAME_ATTEMPT] = task.attempt
        return task

    def say(self, *reports):
        self.talk.send(encode(list(reports)))
        self.page.let_go(len(reports))

    def end_task(self, task):
        self.say(returned(task))
        self.page.words[BLAME_ATTEMPT] = 0

    def close(self):
        self.talk.close()
        self.feed.close()
        self.page.words.release()
        self.page.memory.close()


def returned(task, **options):
    return Returned(task.id, task.attempt, 1, "int", 0.001, 0, b"x", **options)


def seen(events):
    return [(type(e).__name__, getattr(e, "id", None)) for e in events]


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.close()


# --- feeding -----------------------------------------------------------------------------------


def test_tasks_are_read_in_the_order_they_were_fed(bench):
    hand = bench.add()
    for n in range(1, 5):
        bench.feed(1, run(n))
    assert [hand.read().id for _ in range(4)] == [1, 2, 3, 4]


def test_a_long_packet_goes_by_memory_of_its_own(bench):
    hand = bench.add()
    long = wire.Run(7, 7, os.urandom(1 << 20))
    bench.feed(1, long)
    task = hand.read()
    assert isinstance(task, Task)
    assert task.spec == long.run_spec


def test_what_the_socket_has_no_room_for_follows_in_order(bench):
    hand = bench.add()
    orders = [wire.Run(n, n, bytes(50_000)) for n in range(1, 30)]
    for order in orders:
        bench.feed(1, order)
    assert bench.loop.writers
    got = []
    while len(got) < len(orders):
        got.append(hand.read().id)
        for fn, args in list(bench.loop.writers.values()):
            fn(*args)
    assert got == list(range(1, 30))
    assert not bench.loop.writers


def test_nothing_is_fed_to_a_slot_that_is_being_ended(bench):
    hand = bench.add()
    hand.end.kill(ours=True)
    bench.feed(1, run(1))
    assert hand.end.fed == {}


# --- taking back -------------------------------------------------------------------------------


def test_what_is_taken_back_is_told_and_the_rest_stays_in_order(bench):
    hand = bench.add()
    orders = [run(n) for n in range(1, 6)]
    for order in orders:
        bench.feed(1, order)
    bench.take_back(1, orders[1], orders[3])
    assert seen(bench.told) == [("TakenBack", 2), ("TakenBack", 4)]
    assert list(hand.end.fed) == [1, 3, 5]
    assert [hand.read().id for _ in range(3)] == [1, 3, 5]


def test_of_long_packets_too(bench):
    hand = bench.add()
    orders = [wire.Run(n, n, bytes(200_000)) for n in range(1, 4)]
    for order in orders:
        bench.feed(1, order)
    bench.take_back(1, orders[0])
    assert seen(bench.told) == [("TakenBack", 1)]
    assert [hand.read().id for _ in range(2)] == [2, 3]


def test_what_waits_for_room_can_be_taken_back(bench):
    hand = bench.add()
    orders = [wire.Run(n, n, bytes(50_000)) for n in range(1, 30)]
    for order in orders:
        bench.feed(1, order)
    bench.take_back(1, *orders[1:])
    assert len(bench.told) == 28
    assert hand.read().id == 1
    with pytest.raises(BlockingIOError):
        hand.feed.recv(10, socket.MSG_DONTWAIT)


def test_code_that_is_taken_back_with_its_task_goes_with_the_next(bench):
    hand = bench.add()
    first, second = run(1), run(2)
    bench.feed(1, first)
    bench.take_back(1, first)
    bench.feed(1, second)
    assert hand.read().code == ((DIGEST, "f", b"payload"),)


def test_what_the_slot_has_read_first_is_told_as_begun_in_a_moment(bench):
    hand = bench.add()
    order = run(1)
    bench.feed(1, order)
    hand.begin()
    bench.take_back(1, order)
    assert bench.told == []
    events, again = bench.slots.begun(all=False)
    assert seen(events) == [("Began", 1)]
    assert again is None


# --- what has begun ------------------------------------------------------------------------------


def test_what_began_just_now_is_not_worth_a_word_yet(bench):
    hand = bench.add()
    bench.feed(1, run(1))
    hand.begin()
    events, again = bench.slots.begun(all=False)
    assert events == []
    assert 0 < again <= 0.004
    assert seen(bench.slots.begun(all=True)[0]) == [("Began", 1)]


def test_what_has_run_for_a_while_is_told_once(bench):
    hand = bench.add()
    bench.feed(1, run(1))
    hand.begin(age_s=1.0)
    assert seen(bench.slots.begun(all=False)[0]) == [("Began", 1)]
    assert bench.lasted == [1]
    assert bench.slots.begun(all=False) == ([], None)
    assert bench.slots.begun(all=True) == ([], None)


def test_what_has_not_been_read_is_looked_for_later(bench):
    bench.add()
    bench.feed(1, run(1))
    events, again = bench.slots.begun(all=True)
    assert events == []
    assert again > 0


def test_an_idle_slot_is_not_looked_at(bench):
    bench.add()
    assert bench.slots.begun(all=True) == ([], None)


def test_outcomes_come_before_what_began_after_them(bench):
    """Both in the socket and held back in the page; told in any other order they would be lost."""
    hand = bench.add()
    for n in range(1, 4):
        bench.feed(1, run(n))
    first = hand.begin()
    hand.say(returned(first))
    second = hand.begin()
    hand.page.hold(encode(returned(second)))
    hand.begin(age_s=1.0)
    events, _ = bench.slots.begun(all=False)
    assert seen(events) == [("Ended", 1), ("Ended", 2), ("Began", 3)]
    # What was held back is said in the end, and is known by then.
    hand.talk.send(hand.page.held())
    hand.page.let_go(1)
    bench.slots._hear(hand.end)
    assert bench.told == []


def test_feeding_has_somebody_look_once(bench):
    hand = bench.add()
    for n in range(1, 4):
        bench.feed(1, run(n))
    assert len(bench.looks) == 1
    hand.begin(age_s=1.0)
    _, again = bench.slots.begun(all=False)
    assert again is not None  # two stand behind it
    assert len(bench.looks) == 1


# --- what they say -----------------------------------------------------------------------------


def test_all_that_was_said_is_told_in_one_go(bench):
    hand = bench.add()
    for n in range(1, 4):
        bench.feed(1, run(n))
    for _ in range(3):
        hand.end_task(hand.begin())
    bench.slots._hear(hand.end)
    assert seen(bench.told) == [("Ended", 1), ("Ended", 2), ("Ended", 3)]
    assert hand.end.fed == {}


def test_a_slot_that_says_nonsense_is_ended(bench):
    hand = bench.add()
    hand.talk.send(b"nonsense")
    bench.slots._hear(hand.end)
    assert hand.end.doomed
    assert not hand.end.ours
    assert not bench.loop.readers


def test_a_slot_that_stops_talking_is_given_a_moment_to_end(bench):
    hand = bench.add()
    hand.talk.close()
    bench.slots._hear(hand.end)
    assert not hand.end.doomed
    ((_, fn, args),) = bench.loop.later
    fn(*args)
    assert hand.end.doomed


def test_a_grant_is_answered_with_its_place(bench):
    hand = bench.add()
    bench.feed(1, run(1))
    bench.slots.grant(worker.Grant(1, 1, 1, 500))
    answer = decode_for_slot(hand.talk.recv(1000))
    assert answer == Granted(1, wire.Spot(1, 2, 0, 500))
    assert hand.end.spot == answer.spot


# --- their ends --------------------------------------------------------------------------------


def test_all_that_a_dead_slot_had_said_comes_before_its_end(bench):
    hand = bench.add()
    for n in range(1, 5):
        bench.feed(1, run(n))
    hand.say(returned(hand.begin()))
    hand.page.hold(encode(returned(hand.begin())))
    hand.begin()
    bench.slots._ended(1, 4711, -11, False)
    assert seen(bench.told[:2]) == [("Ended", 1), ("Ended", 2)]
    assert bench.told[2] == worker.SlotDown(1, wire.Attempt(3, 3), -11, False)
    assert bench.slots.ends == {}
    assert bench.output.died_in == [3]


def test_of_a_bundle_the_row_is_accused(bench):
    hand = bench.add()
    bench.feed(1, run(100, 5, rows=(b"a", b"b", b"c")))
    hand.begin()
    hand.page.words[BLAME_ROW] = 2
    bench.slots._ended(1, 4711, 9, False)
    assert bench.told == [worker.SlotDown(1, wire.Attempt(102, 5), 9, False)]


def test_who_ran_nothing_accuses_nobody(bench):
    bench.add()
    bench.feed(1, run(1))
    bench.slots._ended(1, 4711, -9, False)
    assert bench.told == [worker.SlotDown(1, None, -9, False)]


def test_what_was_granted_to_a_dead_slot_is_free_again(bench):
    hand = bench.add()
    bench.feed(1, run(1))
    hand.begin()
    bench.slots.grant(worker.Grant(1, 1, 1, 500))
    bench.slots._ended(1, 4711, -9, False)
    assert [word for word, _ in bench.store.log] == ["abandon", "gone"]


def test_the_end_of_a_zygote_is_told_as_that_of_its_slots_all_at_once(bench):
    for number in (1, 2):
        bench.add(number)
        bench.feed(number, run(number))
        bench.hands[number].begin()
    bench.slots._ended(1, 4711, -9, True)
    bench.slots._ended(2, 4712, -9, True)
    assert bench.told == []
    bench.slots._zygote_lost(-9)
    assert bench.told == [
        worker.SlotDown(1, wire.Attempt(1, 1), -9, True),
        worker.SlotDown(2, wire.Attempt(2, 2), -9, True),
    ]


def test_an_order_about_a_slot_that_has_ended_means_nothing(bench):
    bench.slots.kill(worker.KillSlot(9))
    bench.slots.grant(worker.Grant(9, 1, 1, 1))
    bench.slots.deny(worker.Deny(9, 1, 1, "no"))
    bench.feed(9, run(1))
    bench.take_back(9, run(1))
    assert bench.told == []


def test_the_machine_takes_what_the_shell_tells_of_a_death_in_the_middle(bench):
    """Shell and machine together: nothing is lost, the right one is accused."""
    machine = worker.Worker("w", 1, host="h", slots=1)
    hand = bench.add()
    now = time.monotonic()
    machine.handle([worker.Tick(), worker.SlotUp(1)], source=worker.SHELL, now=now)
    machine.handle([worker.LinkUp()], source=worker.SHELL, now=now)
    orders = [run(n, ahead=True) for n in range(1, 5)]
    for command in machine.handle(orders, source=worker.SCHEDULER, now=now):
        if isinstance(command, worker.Feed):
            bench.slots.feed(command)
    hand.say(returned(hand.begin()))
    hand.begin()
    bench.slots._ended(1, 4711, 3, False)
    commands = machine.handle(bench.told, source=worker.SHELL, now=now)
    worker.check(machine)
    said = [m for c in commands if isinstance(c, worker.Send) for m in c.messages]
    assert wire.Died(2, 2, 3) in said
    assert [m.id for m in said if isinstance(m, wire.Finished)] == [1]
    assert machine.refused == {}
    assert len(machine.books.jobs) == 2
