"""What a slot does for the code of its task: who it is, turns, what it logs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tests.unit.cluster.slot_desk import DIGEST, Desk, bundle, call, memory
from treadle.cluster import _task_here
from treadle.cluster._packets import (
    Asked,
    Granted,
    Logged,
    Raised,
    Returned,
    Task,
    Turn,
    Waits,
    Wants,
    encode,
)
from treadle.cluster._slot_aside import Asides
from treadle.cluster._slot_log import TaskLog
from treadle.errors import Reschedule
from treadle.serialize import CallSpec, encode_spec, unpack
from treadle.wire import task_id


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    before = _task_here._seat
    _task_here.take(desk.slot.asides)
    yield desk
    _task_here._seat = before
    desk.close()


def kinds(reports: list[object]) -> list[type]:
    return [type(report) for report in reports]


def value_of(report: object) -> object:
    assert isinstance(report, Returned), report
    assert report.data is not None
    return unpack(report.data, writable=False)


# --- turns ---------------------------------------------------------------------------------------


def wait_twice() -> str:
    with _task_here.aside():
        pass
    with _task_here.aside(), _task_here.aside():
        pass
    return "done"


def test_who_waits_says_so_and_goes_on_when_it_is_given_a_turn(desk: Desk) -> None:
    desk.talk.send(encode(Turn(1)))
    desk.talk.send(encode(Turn(1)))
    reports = desk.serve(call(wait_twice, attempt=1))
    assert kinds(reports) == [Waits, Wants, Waits, Wants, Returned]
    assert value_of(reports[-1]) == "done"


def test_turns_of_attempts_before_are_nobody_s(desk: Desk) -> None:
    desk.talk.send(encode(Turn(1)))  # came too late for it
    desk.talk.send(encode(Turn(2)))
    desk.talk.send(encode(Turn(2)))
    reports = desk.serve(call(_task_here.secede, attempt=1), call(wait_twice, attempt=2))
    assert kinds(reports)[-1] is Returned


def test_who_has_seceded_ends_without_a_turn(desk: Desk) -> None:
    reports = desk.serve(call(_task_here.secede, attempt=1), call(int, attempt=2))
    assert kinds(reports) == [Waits, Returned, Returned]


def secede_and_wait() -> None:
    _task_here.secede()
    with _task_here.aside():
        pass
    _task_here.secede()
    _task_here.rejoin()
    _task_here.rejoin()


def test_who_has_seceded_waits_without_a_word_until_it_rejoins(desk: Desk) -> None:
    desk.talk.send(encode(Turn(1)))
    reports = desk.serve(call(secede_and_wait, attempt=1))
    assert kinds(reports) == [Waits, Wants, Returned]


def test_a_row_that_has_seceded_takes_a_turn_for_the_next_one(desk: Desk) -> None:
    desk.slot.functions.loaded[DIGEST] = lambda x: _task_here.secede()
    desk.talk.send(encode(Turn(1)))
    desk.talk.send(encode(Turn(1)))
    reports = desk.serve(bundle([(1,), (2,), (3,)], attempt=1))
    assert kinds(reports) == [Waits, Wants, Returned] * 2 + [Waits, Returned]


def wait_in_threads() -> None:
    both, end = threading.Barrier(3), threading.Event()

    def wait() -> None:
        with _task_here.aside():
            both.wait(5)
            end.wait(5)

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    both.wait(5)
    end.set()
    for thread in threads:
        thread.join()


def test_threads_of_a_task_wait_as_one(desk: Desk) -> None:
    desk.talk.send(encode(Turn(1)))
    reports = desk.serve(call(wait_in_threads, attempt=1))
    assert kinds(reports) == [Waits, Wants, Returned]


LEFT: list[threading.Thread] = []
GO_ON = threading.Event()


def leave_a_thread() -> bytes:
    inside = threading.Event()

    def wait() -> None:
        with _task_here.aside():
            inside.set()
            GO_ON.wait(10)
        with _task_here.aside():
            pass

    GO_ON.clear()
    LEFT.append(threading.Thread(target=wait))
    LEFT[-1].start()
    inside.wait(5)
    return bytes(10_000)


def test_a_thread_that_outlives_its_task_says_nothing_more(desk: Desk) -> None:
    fd, spot = memory(bytes(20_000))
    desk.talk.send(encode(Granted(1, spot)))
    reports = desk.serve(call(leave_a_thread, attempt=1))
    GO_ON.set()
    LEFT.pop().join(5)
    os.close(fd)
    assert kinds(reports) == [Waits, Asked, Returned]
    assert desk.heard() == []


def wait_for_a_turn_that_never_comes() -> bytes:
    asides = _task_here._seat
    assert isinstance(asides, Asides)

    def wait() -> None:
        with _task_here.aside():
            pass

    LEFT.append(threading.Thread(target=wait))
    LEFT[-1].start()
    while not asides._wants:
        LEFT[-1].join(0.001)
    return bytes(10_000)


def test_a_thread_that_waits_for_a_turn_reads_what_is_for_the_task(desk: Desk) -> None:
    fd, spot = memory(bytes(20_000))
    heard: list[object] = []

    def grant() -> None:
        while Asked not in kinds(heard):
            heard.extend(desk.heard())
        desk.talk.send(encode(Granted(1, spot)))

    agent = threading.Thread(target=grant)
    agent.start()
    reports = desk.serve(call(wait_for_a_turn_that_never_comes, attempt=1))
    agent.join(5)
    desk.talk.send(encode(Turn(1)))  # has it look up: its task has ended
    LEFT.pop().join(5)
    os.close(fd)
    assert kinds(heard + reports) == [Waits, Wants, Asked, Returned]


def interrupted() -> str:
    _task_here.secede()
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        _task_here.rejoin()
    except KeyboardInterrupt:
        return "struck"
    return "not struck"


def test_ctrl_c_strikes_when_there_is_a_turn(desk: Desk) -> None:
    struck = threading.Event()

    def strike(*_: object) -> None:
        struck.set()
        raise KeyboardInterrupt

    def give() -> None:
        struck.wait(5)
        desk.talk.send(encode(Turn(1)))

    before = signal.signal(signal.SIGALRM, strike)
    agent = threading.Thread(target=give)
    agent.start()
    try:
        reports = desk.serve(call(interrupted, attempt=1))
    finally:
        signal.signal(signal.SIGALRM, before)
        agent.join()
    assert value_of(reports[-1]) == "struck"


def test_an_actor_takes_no_turn(desk: Desk) -> None:
    desk.slot.surroundings.give_up = lambda: None  # type: ignore[method-assign]
    reports = desk.serve(call(wait_twice, attempt=1, actor=True))
    assert kinds(reports) == [Returned]


# --- coroutine functions -------------------------------------------------------------------------


async def await_others() -> str:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.001)
    waiter: asyncio.Future[None] = loop.create_future()
    with _task_here.awaiting():
        loop.call_soon(waiter.set_result, None)
        await waiter
    waiter = loop.create_future()
    with _task_here.awaiting():
        loop.call_later(0.01, waiter.set_result, None)
        await waiter
    return "done"


def test_a_coroutine_gives_its_turn_away_when_its_loop_has_nothing_to_do(desk: Desk) -> None:
    desk.talk.send(encode(Turn(1)))
    reports = desk.serve(call(await_others, attempt=1))
    assert kinds(reports) == [Waits, Wants, Returned]
    assert value_of(reports[-1]) == "done"


def test_rows_may_be_coroutines(desk: Desk) -> None:
    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    desk.slot.functions.loaded[DIGEST] = later
    reports = desk.serve(bundle([(1,), (2,)]))
    assert sum(report.rows for report in reports if isinstance(report, Returned)) == 2


# --- who it is -----------------------------------------------------------------------------------


def test_a_task_knows_who_it_is(desk: Desk) -> None:
    spec = encode_spec(CallSpec(DIGEST, b"\x80\x05)}\x94\x86\x94."))
    seen = []
    desk.slot.functions.loaded[DIGEST] = lambda: seen.append(_task_here.current())
    desk.slot.functions.names[DIGEST] = "look"
    desk.serve(Task(task_id(0xAB, 5), 3, spec), Task("mine", 4, spec))
    assert [(task.key, task.attempt, task.name) for task in seen] == [
        ("look-ab-5", 3, "look"),
        ("mine", 4, "look"),
    ]
    assert _task_here.current() is None
    assert _task_here.running() is None


def test_a_row_knows_its_own_number(desk: Desk) -> None:
    seen = []
    desk.slot.functions.loaded[DIGEST] = lambda x: seen.append(_task_here.running())
    desk.serve(bundle([(1,), (2,), (3,)], id=100))
    assert seen == [100, 101, 102]


def test_what_a_task_wants_done_at_its_end_is_done_before_its_outcome_is_told(desk: Desk) -> None:
    seen = []

    def attempt(x: int) -> None:
        _task_here.at_end(lambda: seen.append((x, desk.heard())))

    desk.slot.functions.loaded[DIGEST] = attempt
    desk.surroundings.touched = True
    desk.serve(bundle([(1,), (2,)]))
    assert [x for x, _ in seen] == [1, 2]
    assert kinds(seen[0][1]) == []


def run_again() -> None:
    raise Reschedule("elsewhere, please")


def test_who_asks_to_be_run_again_has_not_failed(desk: Desk) -> None:
    (report,) = desk.serve(call(run_again))
    assert isinstance(report, Raised)
    assert (report.failure.kind, report.failure.text) == ("rescheduled", "elsewhere, please")
    assert not report.final


# --- logs ----------------------------------------------------------------------------------------


@pytest.fixture
def log(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.Logger, "callHandlers", logging.Logger.callHandlers)
    mine = logging.getLogger("mine")
    monkeypatch.setattr(mine, "handlers", [logging.NullHandler()])
    monkeypatch.setattr(mine, "propagate", False)
    TaskLog(desk.slot.asides.tell, desk.slot.asides.running_attempt).install()


def write(count: int) -> None:
    for number in range(count):
        logging.getLogger("mine").warning("number %d", number)


def test_what_a_task_logs_is_told_at_once(desk: Desk, log: None) -> None:
    reports = desk.serve(call(write, 2))
    logging.getLogger("mine").warning("between tasks")
    assert kinds(reports) == [Logged, Logged, Returned]
    said = reports[0]
    assert isinstance(said, Logged)
    assert (said.level, said.name, said.text) == (logging.WARNING, "mine", "number 0")
    assert desk.heard() == []


def test_who_logs_without_end_is_not_heard_out(desk: Desk, log: None) -> None:
    heard: list[object] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            heard.extend(desk.heard())

    agent = threading.Thread(target=read)
    agent.start()
    reports = desk.serve(call(write, 3_000, attempt=1))
    over.set()
    agent.join()
    texts = [report.text for report in heard + reports if isinstance(report, Logged)]
    assert len(texts) == 1_000
    assert max(texts, key=len).startswith("number 999 [what this task logs")


LOGS: list[TaskLog] = []


def log_nonsense() -> None:
    LOGS[0]._pass_on(logging.makeLogRecord({"levelno": 30, "msg": "%d", "args": ("x",)}))


def test_a_record_that_cannot_be_shown_harms_nobody(desk: Desk) -> None:
    LOGS[:] = [TaskLog(desk.slot.asides.tell, desk.slot.asides.running_attempt)]
    assert kinds(desk.serve(call(log_nonsense))) == [Returned]
