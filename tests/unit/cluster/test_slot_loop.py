"""The loop of a slot: what it says of each task that it is fed."""

import asyncio
import os
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from tests.unit.cluster.slot_desk import DIGEST, Desk, Ref, bundle, call, coded, dumps, memory
from treadle.cluster._failures import error_of
from treadle.cluster._packets import (
    BLAME_ATTEMPT,
    BLAME_ROW,
    BLAME_SINCE,
    Asked,
    Big,
    Bye,
    Denied,
    Granted,
    Raised,
    Ready,
    Returned,
    Supply,
    Worn,
    decode_from_slot,
    encode,
)
from treadle.cluster._slot_channel import memory_of
from treadle.cluster._slot_surroundings import CannotMend
from treadle.errors import DeserializationError, InternalError, SerializationError
from treadle.serialize import pack, unpack
from treadle.wire import Spot, World


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()


def value_of(report: Any) -> Any:
    assert isinstance(report, Returned), report
    assert report.data is not None
    return unpack(report.data, writable=False)


def error_in(report: Any) -> BaseException:
    assert isinstance(report, Raised), report
    return error_of(report.failure, "task")


def add(a: int, b: int) -> int:
    return a + b


def fail(text: str) -> None:
    raise ValueError(text)


def same(value: Any) -> Any:
    return value


def big(n: int) -> bytes:
    return b"x" * n


# --- one task ----------------------------------------------------------------------------------


def test_it_says_first_of_all_that_it_is_ready(desk: Desk) -> None:
    desk.feed_in.send(encode(Bye()))
    desk.slot.serve(41, "look out")
    assert decode_from_slot(desk.talk.recv(1000)) == [Ready(41, "look out")]


def test_a_result_says_what_it_is(desk: Desk) -> None:
    [report] = desk.serve(call(add, 1, 2))
    assert value_of(report) == 3
    assert (report.id, report.attempt, report.type, report.rows, report.last) == (
        7,
        1,
        "int",
        1,
        True,
    )
    assert report.nbytes == len(report.data)
    assert report.duration_s > 0


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "text", b"bytes", [1, {2: 3}], ("a",)])
def test_small_values_come_back_in_the_packet(desk: Desk, value: Any) -> None:
    [report] = desk.serve(call(same, value))
    assert value_of(report) == value


def test_a_huge_number_is_not_part_of_the_packet(desk: Desk) -> None:
    desk.talk.send(encode(Denied(1, "no room")))
    asked, raised = desk.serve(call(pow, 7, 100_000))
    assert isinstance(asked, Asked)
    assert isinstance(error_in(raised), MemoryError)


def test_an_exception_is_an_outcome(desk: Desk) -> None:
    raised, returned = desk.serve(call(fail, "no"), call(add, 1, 2, id=8, attempt=2))
    error = error_in(raised)
    assert isinstance(error, ValueError)
    assert str(error) == "no"
    assert raised.final is False
    assert raised.last is True
    assert value_of(returned) == 3


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_ends_a_program_ends_a_task(desk: Desk, kind: type[BaseException]) -> None:
    def leave() -> None:
        raise kind(3)

    desk.slot.functions.loaded[DIGEST] = leave
    raised, returned = desk.serve(coded(), call(add, 1, 2, attempt=2))
    assert type(error_in(raised)) is kind
    assert value_of(returned) == 3


def test_the_traceback_begins_with_the_users_function(desk: Desk) -> None:
    [raised] = desk.serve(call(fail, "no"))
    trace = str(error_in(raised).__cause__)
    assert "in fail" in trace
    assert "treadle/cluster" not in trace


def test_the_first_outcome_that_is_no_exception_does_not_hold_the_last_one(desk: Desk) -> None:
    # What a task has raised must not keep its arguments alive in the slot.
    class Held:
        pass

    import weakref

    seen: list[Any] = []

    def keep() -> None:
        held = Held()
        seen.append(weakref.ref(held))
        raise ValueError("no")

    desk.slot.functions.loaded[DIGEST] = keep
    desk.serve(coded())
    assert seen[0]() is None


def test_a_call_that_cannot_be_loaded_is_an_outcome(desk: Desk) -> None:
    task = call(add)
    [raised] = desk.serve(msgspec.structs.replace(task, spec=b"\x94\xc4\x00\xc4\x01\x80\xa0\xc2"))
    assert isinstance(error_in(raised), DeserializationError)


def test_a_spec_that_is_none_is_an_outcome(desk: Desk) -> None:
    [raised] = desk.serve(msgspec.structs.replace(call(add), spec=b"garbage"))
    assert "ValidationError" in raised.failure.type


def test_a_result_that_cannot_be_pickled_says_where(desk: Desk) -> None:
    import threading

    def locked() -> Any:
        return {"a": [threading.Lock()]}

    desk.slot.functions.loaded[DIGEST] = locked
    [raised] = desk.serve(coded())
    error = error_in(raised)
    assert isinstance(error, SerializationError)
    assert "['a'][0]" in str(error)
    assert "locked" in str(error)


def test_a_result_that_is_nested_too_deeply_is_an_outcome(desk: Desk) -> None:
    def deep() -> Any:
        value: Any = []
        for _ in range(100_000):
            value = [value]
        return value

    desk.slot.functions.loaded[DIGEST] = deep
    [raised] = desk.serve(coded())
    assert "nested too deeply" in str(error_in(raised))


def test_the_name_of_a_type_is_cut(desk: Desk) -> None:
    kind = type("ü" * 5000, (int,), {"__reduce__": lambda self: (int, (3,))})
    desk.slot.functions.loaded[DIGEST] = kind
    [report] = desk.serve(coded())
    assert report.type == "ü" * 200
    assert value_of(report) == 3


def test_a_type_may_lie_about_its_name(desk: Desk) -> None:
    class Liar(type):
        @property
        def __name__(cls) -> Any:
            raise RuntimeError("I have none")

    class Odd(metaclass=Liar):
        def __reduce__(self) -> Any:
            return int, (3,)

    desk.slot.functions.loaded[DIGEST] = Odd
    [raised, after] = desk.serve(coded(), call(add, 1, 2, attempt=2))
    assert "I have none" in str(error_in(raised))
    assert value_of(after) == 3


def test_a_failure_that_is_too_long_for_a_packet_goes_in_memory_of_its_own(desk: Desk) -> None:
    def fail_at_length() -> None:
        raise ValueError("x" * 300_000)

    desk.slot.functions.loaded[DIGEST] = fail_at_length
    [raised] = desk.serve(coded())
    assert error_in(raised).args == ("x" * 300_000,)


def test_a_task_that_is_too_long_for_a_packet_comes_in_memory_of_its_own(desk: Desk) -> None:
    import socket

    task = encode(call(len, b"x" * 300_000))
    fd = memory_of(task)
    socket.send_fds(desk.feed_in, [encode(Big(len(task)))], [fd])
    os.close(fd)
    before = len(os.listdir("/proc/self/fd"))
    [report] = desk.serve()
    assert value_of(report) == 300_000
    assert len(os.listdir("/proc/self/fd")) <= before


# --- the blame word ----------------------------------------------------------------------------


def test_the_blame_word_names_what_runs_and_nothing_after(desk: Desk) -> None:
    seen: list[Any] = []

    def look() -> None:
        words = desk.page.words
        seen.append((words[BLAME_ATTEMPT], words[BLAME_ROW], words[BLAME_SINCE]))

    desk.slot.functions.loaded[DIGEST] = look
    before = time.monotonic_ns()
    desk.serve(coded(attempt=9))
    [(attempt, row, since)] = seen
    assert (attempt, row) == (9, 0)
    assert before < since < time.monotonic_ns()
    assert desk.page.words[BLAME_ATTEMPT] == 0


# --- code --------------------------------------------------------------------------------------


def test_a_function_is_loaded_once(desk: Desk) -> None:
    code = ((DIGEST, "add", dumps(add)),)
    first, second = desk.serve(coded(1, 2, code=code), coded(3, 4, attempt=2))
    assert (value_of(first), value_of(second)) == (3, 7)


def test_a_function_that_cannot_be_loaded_is_tried_again(desk: Desk) -> None:
    code = ((DIGEST, "gone", b"\x80\x05cno_such_module\nfunc\n."),)
    first, second = desk.serve(coded(code=code), coded(attempt=2))
    for report in (first, second):
        assert isinstance(error_in(report), DeserializationError)
        assert "no_such_module" in str(error_in(report))


def test_a_function_that_was_never_given_is_a_fault_of_the_engine(desk: Desk) -> None:
    [raised] = desk.serve(coded())
    assert isinstance(error_in(raised), InternalError)
    assert DIGEST.hex() in str(error_in(raised))


def test_surroundings_are_entered_before_code_is_loaded(desk: Desk) -> None:
    world = World(("/a",), "/", 0o22)
    desk.serve(call(add, 1, 2, world=msgspec.msgpack.encode(world)))
    assert desk.surroundings.world == world


# --- inputs ------------------------------------------------------------------------------------


def supply(id: Any, value: Any, *, rows: int = 1) -> Supply:
    if rows == 1:
        return Supply(id, 1, pack(value, home=True).to_bytes())
    items = [pack(item, home=True).to_bytes() for item in value]
    return Supply(id, 1, msgspec.msgpack.encode(items), rows)


def test_references_are_replaced_by_results(desk: Desk) -> None:
    task = call(add, Ref(3), Ref("key"), supplies=(supply(3, 30), supply("key", 4)))
    [report] = desk.serve(task)
    assert value_of(report) == 34


def test_the_same_reference_is_the_same_object(desk: Desk) -> None:
    def are_same(a: Any, b: Any) -> bool:
        return a[0] is b

    desk.slot.functions.loaded[DIGEST] = are_same
    [report] = desk.serve(coded([Ref(3)], Ref(3), supplies=(supply(3, [1, 2]),)))
    assert value_of(report) is True


def test_a_row_of_a_bundle_can_be_an_input(desk: Desk) -> None:
    supplies = (supply(10, ["a", "b", "c"], rows=3), supply(20, "z"))
    [report] = desk.serve(call(same, [Ref(12), Ref(20), Ref(10)], supplies=supplies))
    assert value_of(report) == ["c", "z", "a"]


def test_an_input_that_was_not_supplied_is_a_fault_of_the_engine(desk: Desk) -> None:
    [raised] = desk.serve(call(same, Ref(4), supplies=(supply(3, 30),)))
    assert "no result of the task 4" in str(error_in(raised))


def test_a_large_input_is_read_only_and_the_error_says_what_to_do(desk: Desk) -> None:
    numpy = pytest.importorskip("numpy")
    fd, spot = memory(pack(numpy.zeros(1 << 19), home=True).to_bytes())

    def write(array: Any) -> None:
        array[0] = 1

    desk.slot.functions.loaded[DIGEST] = write
    [raised] = desk.serve(coded(Ref(3), supplies=(Supply(3, 1, spot),)))
    os.close(fd)
    error = error_in(raised)
    assert isinstance(error, ValueError)
    assert "writable=True" in error.__notes__[0]


def test_a_large_input_can_be_private(desk: Desk) -> None:
    numpy = pytest.importorskip("numpy")
    packed = pack(numpy.zeros(1 << 19), home=True).to_bytes()
    fd, spot = memory(packed)

    def write(array: Any) -> float:
        array[0] += 1
        return float(array[0])

    desk.slot.functions.loaded[DIGEST] = write
    supplies = (Supply(3, 1, spot),)
    reports = desk.serve(
        coded(Ref(3), writable=True, supplies=supplies),
        coded(Ref(3), writable=True, supplies=supplies, attempt=2),
    )
    assert [value_of(report) for report in reports] == [1.0, 1.0]
    assert os.pread(fd, len(packed), 0) == packed
    os.close(fd)


def test_memory_stays_mapped_for_the_next_task_and_not_for_ever(desk: Desk) -> None:
    opened: list[Any] = []
    memories = desk.slot._memories

    class Maps:
        def open(self, spot: Any, *, writable: bool = False) -> memoryview:
            opened.append(spot)
            return memoryview(pack([spot.fd], home=True).to_bytes())

    memories._maps = Maps()
    spots = [Spot(1, n, 0, 1 << 20, n) for n in range(6)]
    order = [0, 0, 1, 2, 3, 4, 4, 1, 0]
    tasks = [
        call(same, Ref(3), attempt=i + 1, supplies=(Supply(3, 1, spots[n]),))
        for i, n in enumerate(order)
    ]
    desk.slot.channel.is_idle_for = lambda seconds: False  # type: ignore[method-assign]
    assert [value_of(report) for report in desk.serve(*tasks)] == [[n] for n in order]
    assert [spot.fd for spot in opened] == [0, 1, 2, 3, 4, 0]
    assert memories
    desk.slot.channel.is_idle_for = lambda seconds: True  # type: ignore[method-assign]
    desk.slot.rest()
    assert not memories


# --- large results -----------------------------------------------------------------------------


def test_a_large_result_is_written_where_it_is_granted(desk: Desk) -> None:
    fd, spot = memory(bytes(20_000))
    desk.talk.send(encode(Granted(5, spot)))  # of another attempt
    desk.talk.send(encode(Granted(1, spot)))
    asked, returned = desk.serve(call(big, 10_000))
    assert isinstance(asked, Asked)
    assert asked.nbytes == returned.nbytes > 10_000
    assert returned.data is None
    assert unpack(os.pread(fd, returned.nbytes, 0), writable=False) == b"x" * 10_000
    os.close(fd)


def test_a_result_that_has_no_room_is_a_memory_error_for_good(desk: Desk) -> None:
    desk.talk.send(encode(Denied(1, "the store has 1 MB, the result 10")))
    asked, raised, after = desk.serve(call(big, 10_000), call(add, 1, 2, attempt=2))
    assert isinstance(asked, Asked)
    error = error_in(raised)
    assert type(error) is MemoryError
    assert "the store has 1 MB" in str(error)
    assert raised.final is True
    assert value_of(after) == 3


# --- telling -----------------------------------------------------------------------------------


def test_outcomes_of_what_was_fed_ahead_leave_together(desk: Desk) -> None:
    tasks = [call(add, n, 1, id=n, attempt=n + 1) for n in range(20)]
    reports = desk.serve(*tasks)
    assert [value_of(report) for report in reports] == [n + 1 for n in range(20)]
    assert len(desk.packets) < 10


def test_an_outcome_is_held_back_for_a_millisecond_at_most(desk: Desk) -> None:
    def wait() -> None:
        time.sleep(0.0015)

    desk.slot.functions.loaded[DIGEST] = wait
    short = [call(add, 1, 1, id=n, attempt=n) for n in range(1, 6)]
    # What is told with the long one is what came after those that had waited for it.
    desk.serve(*short, coded(id=6, attempt=6), call(add, 1, 1, id=7, attempt=7))
    assert sum(desk.packets[:-1]) >= 1 + 5
    assert desk.packets[-1] <= 2


def test_what_is_held_back_can_be_seen_by_the_agent(desk: Desk) -> None:
    seen: list[Any] = []

    def look() -> None:
        desk_heard = desk.heard()
        seen.append([r.id for r in desk_heard + desk.listener.look() if isinstance(r, Returned)])

    desk.slot.functions.loaded[DIGEST] = look
    tasks = [call(add, 1, 1, id=n, attempt=n + 1) for n in range(5)]
    rest = desk.serve(*tasks, coded(id=9, attempt=10), call(add, 1, 1, id=10, attempt=11))
    assert seen == [[0, 1, 2, 3, 4]]
    assert [report.id for report in rest] in ([9, 10], [10])  # not the five again


def test_what_a_task_prints_is_counted(desk: Desk) -> None:
    desk.surroundings.printed = (5, 7)
    [report] = desk.serve(call(add, 1, 2))
    assert report.printed == (5, 7)


@pytest.mark.parametrize(
    ("error", "why"),
    [(CannotMend("it is bent"), "it is bent"), (RuntimeError("no"), "RuntimeError")],
)
def test_a_slot_that_cannot_be_mended_says_so_and_does_no_more(
    desk: Desk, error: Exception, why: str
) -> None:
    class Ended(Exception):
        pass

    def end() -> None:
        raise Ended

    desk.surroundings.error = error
    desk.channel.wait_end = end  # type: ignore[method-assign, assignment]
    with pytest.raises(Ended):
        desk.serve(call(add, 1, 2))
    report, worn = desk.heard()
    assert value_of(report) == 3
    assert isinstance(worn, Worn)
    assert why in worn.why


# --- actors ------------------------------------------------------------------------------------


def make_list() -> list[int]:
    return [1]


def test_an_actor_stays_and_is_called(desk: Desk) -> None:
    made, appended, popped = desk.serve(
        call(make_list, id=5, actor=True),
        call("append", 4, id=6, attempt=2, home=5),  # type: ignore[arg-type]
        call("pop", id=7, attempt=3, home=5),  # type: ignore[arg-type]
    )
    assert (made.nbytes, made.data, made.type) == (0, None, "list")
    assert value_of(appended) is None
    assert value_of(popped) == 4


def test_an_actor_that_is_not_here_is_a_fault_of_the_engine(desk: Desk) -> None:
    [raised] = desk.serve(call("pop", home=5))  # type: ignore[arg-type]
    assert "the actor 5 is not in this process" in str(error_in(raised))


def test_a_function_is_called_with_the_actor(desk: Desk) -> None:
    _, looked_at = desk.serve(
        call(make_list, id=5, actor=True), call(getattr, "__doc__", id=6, attempt=2, home=5)
    )
    assert value_of(looked_at) == list.__doc__


class Waiter:
    async def note(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.seen = asyncio.Event()
        self.task = asyncio.create_task(self.seen.wait())
        self.seen.set()

    async def is_the_same(self) -> bool:
        return await self.task and self.loop is asyncio.get_running_loop()

    async def leave(self) -> None:
        raise SystemExit(3)


def test_coroutine_methods_share_a_loop_that_nothing_ends(desk: Desk) -> None:
    _, _, left, same = desk.serve(
        call(Waiter, id=5, actor=True),
        call("note", id=6, attempt=2, home=5),  # type: ignore[arg-type]
        call("leave", id=7, attempt=3, home=5),  # type: ignore[arg-type]
        call("is_the_same", id=8, attempt=4, home=5),  # type: ignore[arg-type]
    )
    assert repr(error_in(left)) == "SystemExit(3)"
    assert value_of(same) is True


def test_the_process_of_an_actor_is_its_own(desk: Desk) -> None:
    desk.slot._memory._recycle_bytes = 1  # whoever grows is replaced
    desk.slot._memory._start = -(1 << 30)
    reports = desk.serve(
        call(make_list, id=5, actor=True),
        call("append", 4, id=6, attempt=2, home=5),  # type: ignore[arg-type]
    )
    assert [type(report) for report in reports] == [Returned, Returned]
    assert desk.surroundings.given_up


# --- bundles -----------------------------------------------------------------------------------


def serve_rows(desk: Desk, func: Callable[..., Any], rows: Any, **options: Any) -> list[Any]:
    desk.slot.functions.loaded[DIGEST] = func
    return desk.serve(bundle(rows, **options))


def rows_of(reports: list[Any]) -> dict[int, Any]:
    """What is told of each row."""
    told: dict[int, Any] = {}
    for report in reports:
        if isinstance(report, Raised):
            told[report.id] = error_in(report)
        elif isinstance(report, Returned) and report.rows == 1:
            told[report.id] = value_of(report)
        elif isinstance(report, Returned):
            for i, data in enumerate(msgspec.msgpack.decode(report.data)):
                told[report.id + i] = pickle.loads(data)
    return told


def test_rows_leave_together(desk: Desk) -> None:
    reports = serve_rows(desk, add, [(n, n) for n in range(100)])
    assert rows_of(reports) == {100 + n: 2 * n for n in range(100)}
    assert [report.last for report in reports] == [False] * (len(reports) - 1) + [True]
    assert sum(report.rows for report in reports) == 100
    assert desk.page.words[BLAME_ATTEMPT] == 0


def test_a_single_row_is_told_as_a_task_is(desk: Desk) -> None:
    [report] = serve_rows(desk, add, [(1, 2)])
    assert (value_of(report), report.rows, report.last) == (3, 1, True)


def test_a_row_that_raises_is_told_by_itself(desk: Desk) -> None:
    def halve(n: int) -> float:
        return 6 / n

    reports = serve_rows(desk, halve, [(1,), (2,), (0,), (3,)])
    told = rows_of(reports)
    assert isinstance(told.pop(102), ZeroDivisionError)
    assert told == {100: 6.0, 101: 3.0, 103: 2.0}
    assert [type(report) for report in reports] == [Returned, Raised, Returned]
    assert [report.last for report in reports] == [False, False, True]


def test_the_last_row_can_raise(desk: Desk) -> None:
    reports = serve_rows(desk, fail, [("a",), ("b",)])
    assert [str(error) for error in rows_of(reports).values()] == ["a", "b"]
    assert [report.last for report in reports] == [False, True]


def test_a_row_with_a_large_result_is_an_object_of_its_own(desk: Desk) -> None:
    fd, spot = memory(bytes(20_000))
    desk.talk.send(encode(Granted(1, spot)))
    reports = serve_rows(desk, big, [(1,), (10_000,), (2,), (3,)])
    assert [type(report) for report in reports] == [Returned, Asked, Returned, Returned]
    assert (reports[1].id, reports[2].id, reports[2].data) == (101, 101, None)
    assert (reports[3].id, reports[3].rows, reports[3].last) == (102, 2, True)
    os.close(fd)


def test_a_row_with_no_room_for_its_result_fails_alone(desk: Desk) -> None:
    desk.talk.send(encode(Denied(1, "no room")))
    told = rows_of(serve_rows(desk, big, [(1,), (10_000,), (2,)]))
    assert isinstance(told.pop(101), MemoryError)
    assert told == {100: b"x", 102: b"xx"}


def test_results_of_medium_size_leave_before_the_page_is_full(desk: Desk) -> None:
    reports = serve_rows(desk, big, [(3000,)] * 40)
    assert rows_of(reports) == {100 + n: b"x" * 3000 for n in range(40)}
    assert max(report.rows for report in reports) <= 9


def test_a_bundle_whose_function_cannot_be_loaded_fails_row_by_row(desk: Desk) -> None:
    reports = desk.serve(bundle([()] * 250))
    assert [report.id for report in reports] == list(range(100, 350))
    assert [report.last for report in reports] == [False] * 249 + [True]


def test_the_blame_word_names_the_row(desk: Desk) -> None:
    seen = []

    def look() -> None:
        seen.append((desk.page.words[BLAME_ATTEMPT], desk.page.words[BLAME_ROW]))

    serve_rows(desk, look, [()] * 3, attempt=4)
    assert seen == [(4, 0), (4, 1), (4, 2)]


def test_rows_that_are_held_back_can_be_seen_and_are_not_told_twice(desk: Desk) -> None:
    seen: list[Any] = []

    def look(n: int) -> int:
        if n == 5:
            desk.heard()
            seen.extend(desk.listener.look(100))
            assert desk.listener.look(100) == []
        return n

    reports = serve_rows(desk, look, [(n,) for n in range(10)])
    [early] = seen
    assert early.last is False
    assert rows_of(seen) | rows_of(reports) == {100 + n: n for n in range(10)}
    assert early.rows + sum(report.rows for report in reports) == 10
    assert reports[-1].last is True


def test_rows_can_have_inputs(desk: Desk) -> None:
    reports = serve_rows(desk, add, [(Ref(3), 1), (2, Ref(3))], supplies=(supply(3, 30),))
    assert rows_of(reports) == {100: 31, 101: 32}


def test_rows_that_change_their_process_are_mended_one_by_one(desk: Desk) -> None:
    def touch() -> None:
        desk.surroundings.touched = True

    serve_rows(desk, touch, [()] * 5)
    assert len(desk.surroundings.mended) >= 5
