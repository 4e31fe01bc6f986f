"""Faults of tasks: rows 17 to 40 of the catalogue; each leaves twenty innocents finished."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from tests.integration.cluster_cases import announce, cluster, my_pid, twice, until
from treadle.dataflow.states import States
from treadle.errors import (
    AppTimeout,
    DeserializationError,
    RemoteError,
    SerializationError,
    TaskDied,
    TaskMemoryExceeded,
)

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def c(run_dir):
    with cluster(run_dir, deaths=1) as started:
        yield started
        started.innocents()


def segfault() -> None:
    ctypes.string_at(0)


def leave() -> None:
    os._exit(3)


def abort() -> None:
    os.abort()


@pytest.mark.parametrize(
    ("crash", "code"), [(leave, 3), (segfault, -signal.SIGSEGV), (abort, -signal.SIGABRT)]
)
def test_fault_17_a_task_that_ends_its_process_fails_alone_within_a_second(c, crash, code):
    c.innocents(4)
    began = time.monotonic()
    future = c.call(crash)
    error = future.exception(timeout=10)
    assert isinstance(error, TaskDied)
    assert error.exit_code == code
    assert crash.__name__ in str(error)
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_fault_18_an_exception_that_ends_programs_is_an_outcome_like_others(c, kind):
    def stop() -> int:
        raise kind("enough")

    pid = c.call(my_pid).result(timeout=10)
    assert isinstance(c.call(stop).exception(timeout=10), kind)
    assert pid in {c.call(my_pid).result(timeout=10) for _ in range(20)}, "the slot lives on"


def test_fault_19_a_task_over_its_memory_fails_with_a_typed_error(c):
    def hoard() -> int:
        hoarded = [bytearray(b"x" * 20_000_000) for _ in range(50)]
        time.sleep(10)
        return len(hoarded)

    future = c.call(hoard, parsl_resource_specification={"memory": 200})
    error = future.exception(timeout=15)
    assert isinstance(error, TaskMemoryExceeded)
    assert isinstance(error, MemoryError)


def test_fault_21_a_task_that_never_ends_in_c_is_ended_by_its_walltime(c):
    def backtrack() -> bool:
        import re

        return re.match(r"(a+)+$", "a" * 60 + "b") is not None

    future = c.call(backtrack, parsl_resource_specification={"walltime": 0.5})
    assert isinstance(future.exception(timeout=10), AppTimeout)


def test_fault_21_while_one_task_holds_its_interpreter_others_go_on(c):
    def hold() -> bool:
        import re

        return re.match(r"(a+)+$", "a" * 26 + "b") is not None

    held = c.call(hold)
    c.innocents()
    assert held.result(timeout=40) is False


def test_fault_22_an_argument_that_cannot_be_pickled_is_named(c):
    error = c.call(twice, {"deep": [threading.Lock()]}).exception(timeout=10)
    assert isinstance(error, SerializationError)
    assert "deep" in str(error)


def test_fault_23_a_result_that_cannot_be_pickled_is_named(c):
    def lock() -> object:
        import threading

        return {"deep": [threading.Lock()]}

    error = c.call(lock).exception(timeout=10)
    assert isinstance(error, SerializationError)
    assert "lock" in str(error)


def test_fault_24_an_exception_that_cannot_be_pickled_comes_whole_or_in_words(c):
    def fail() -> None:
        class Rude(Exception):
            def __reduce__(self) -> str:
                raise RuntimeError("no")

        raise Rude("these are my words")

    error = c.call(fail).exception(timeout=10)
    assert "these are my words" in str(error)
    assert "Rude" in (error.type_name if isinstance(error, RemoteError) else type(error).__name__)


def test_fault_25_an_exception_whose_constructor_is_odd_comes_whole_or_in_words(c):
    class Odd(Exception):
        def __init__(self, left: int, right: int) -> None:
            super().__init__(f"{left} and {right}")

    def fail() -> None:
        raise Odd(1, 2)

    error = c.call(fail).exception(timeout=10)
    assert "1 and 2" in str(error)
    assert type(error).__name__ in ("Odd", "RemoteError")


def test_fault_26_a_result_of_a_class_that_is_only_there_is_a_typed_error(c):
    def foreign() -> object:
        import sys
        import types

        module = types.ModuleType("only_there")
        exec("class Thing: pass", module.__dict__)
        module.Thing.__module__ = "only_there"
        sys.modules["only_there"] = module
        return module.Thing()

    future = c.call(foreign)
    assert future.exception(timeout=10) is None or isinstance(
        future.exception(), DeserializationError
    )
    with pytest.raises((DeserializationError, SerializationError)):
        future.result(timeout=10)
    assert "only_there" not in sys.modules


def test_fault_27_a_result_that_sleeps_when_it_is_loaded_holds_up_its_reader_alone(c, tmp_path):
    class Sleeper:
        def __init__(self, path: str) -> None:
            self.path = path

        def __setstate__(self, state: dict[str, str]) -> None:
            self.__dict__.update(state)
            until_s = time.monotonic() + 10
            while not os.path.exists(self.path) and time.monotonic() < until_s:
                time.sleep(0.01)

    path = tmp_path / "go"
    future = c.call(lambda: Sleeper(str(path)))
    got: list[object] = []
    reader = threading.Thread(target=lambda: got.append(future.result(timeout=20)))
    reader.start()
    c.innocents()
    assert got == []
    path.touch()
    reader.join(15)
    assert len(got) == 1


@pytest.mark.parametrize("nbytes", [0, 1, 4_095, 4_097, 1_048_577, 60_000_000])
def test_fault_28_results_of_any_size_arrive_whole(c, nbytes):
    result = c.call(lambda n: b"\xa5" * n, nbytes).result(timeout=20)
    assert len(result) == nbytes
    assert result == b"\xa5" * nbytes


def test_fault_28_many_small_results_arrive(c):
    futures = [c.call(twice, n) for n in range(3_000)]
    assert [f.result(timeout=30) for f in futures] == [2 * n for n in range(3_000)]


def test_fault_29_a_result_nested_too_deep_is_a_recursion_error(c):
    def nest() -> list[object]:
        inner: list[object] = []
        for _ in range(100_000):
            inner = [inner]
        return inner

    error = c.call(nest).exception(timeout=20)
    assert error is not None
    assert "ecursion" in f"{type(error).__name__} {error} {error.__cause__}"


def test_fault_30_what_a_task_forked_dies_with_a_cancelled_task(c, tmp_path):
    def fork(path: str) -> None:
        if os.fork() == 0:
            Path(path).write_text(str(os.getpid()))
            time.sleep(60)
            os._exit(0)
        time.sleep(60)

    future = c.call(fork, str(tmp_path / "child"))
    until((tmp_path / "child").exists)
    until(lambda: (tmp_path / "child").read_text() != "")
    child = int((tmp_path / "child").read_text())
    assert future.cancel()
    until(lambda: not _lives(child), timeout_s=5)


def test_fault_30_a_child_of_a_task_that_raises_is_no_second_outcome(c):
    def fork() -> int:
        child = os.fork()
        if child == 0:
            raise RuntimeError("in the child")
        os.waitpid(child, 0)
        return 5

    assert c.call(fork).result(timeout=10) == 5


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_fault_31_surroundings_that_a_task_changed_are_as_before_for_the_next(c, tmp_path):
    def spoil(path: str) -> int:
        os.chdir(path)
        os.umask(0o077)
        os.environ["SPOILED"] = "yes"
        os.environ.pop("PATH", None)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        sys.path.insert(0, "/nowhere")
        sys.stdout = None
        os.close(0)
        return os.getpid()

    def look() -> tuple[object, ...]:
        umask = os.umask(0)
        os.umask(umask)
        return (
            os.getpid(),
            os.getcwd(),
            umask,
            os.environ.get("SPOILED"),
            "PATH" in os.environ,
            signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL,
            "/nowhere" in sys.path,
            sys.stdout is not None,
        )

    umask = os.umask(0)
    os.umask(umask)
    spoiled = {c.call(spoil, str(tmp_path)).result(timeout=10) for _ in range(4)}
    assert spoiled
    for _ in range(10):
        pid, *rest = c.call(look).result(timeout=10)
        assert rest == [os.getcwd(), umask, None, True, True, False, True], pid


def test_fault_32_a_flood_of_output_is_capped_and_holds_nobody_up(c):
    def flood() -> str:
        line = "x" * 1023 + "\n"
        for _ in range(64 * 1024):
            sys.stdout.write(line)
        return "done"

    assert c.call(flood).result(timeout=40) == "done"


def test_fault_33_tasks_come_from_many_threads_and_callbacks_may_raise(c):
    results: list[int] = []

    def submit(start: int) -> None:
        for n in range(start, start + 10):
            future = c.call(twice, n)
            future.add_done_callback(lambda f: 1 / 0)
            results.append(future.result(timeout=20))

    threads = [threading.Thread(target=submit, args=(10 * n,)) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert sorted(results) == [2 * n for n in range(320)]


def test_fault_34_an_argument_is_taken_as_it_was_at_the_call(c):
    values = [1, 2, 3]
    big = bytearray(b"\x01" * 2_000_000)
    first, second = c.call(sum, values), c.call(lambda b: b[0] + b[-1], big)
    values.append(1000)
    big[0] = big[-1] = 100
    assert first.result(timeout=10) == 6
    assert second.result(timeout=10) == 2


def test_fault_35_long_chains_and_wide_fans_need_no_recursion(c):
    last = c.call(twice, 0)
    for _ in range(3_000):
        last = c.call(twice, last)
    assert last.result(timeout=40) == 0
    leaves = [c.call(twice, 1) for _ in range(5_000)]
    assert c.call(lambda inputs: sum(inputs), inputs=leaves).result(timeout=40) == 10_000


def test_fault_38_a_task_can_be_cancelled_wherever_it_is(c, tmp_path):
    running = [c.call(announce, str(tmp_path / str(n)), 60) for n in range(2)]
    waiting = c.call(twice, running[0])
    queued = [c.call(twice, n) for n in range(50)]
    until(lambda: all((tmp_path / str(n)).exists() for n in range(2)))
    storm = [waiting, *queued, *running]
    threads = [threading.Thread(target=future.cancel) for future in storm]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert all(future.cancelled() for future in storm)
    assert all(future.task_record.status is States.failed for future in storm)
    done = c.call(twice, 2)
    assert done.result(timeout=10) == 4
    assert not done.cancel()


def test_fault_40_a_reader_that_stops_reading_holds_up_nobody_else(c):
    # Results that nobody takes stay where they were made; others come and go beside them.
    large = [c.call(lambda n: b"x" * n, 5_000_000) for _ in range(10)]
    c.innocents()
    assert all(len(f.result(timeout=20)) == 5_000_000 for f in large)


def test_fault_20_a_process_that_grows_is_replaced_between_tasks(run_dir):
    def leak() -> int:
        kept = sys.modules.setdefault("kept_by_a_leak", types.ModuleType("kept_by_a_leak"))
        kept.__dict__.setdefault("all", []).append(b"x" * 40_000_000)
        return os.getpid()

    with cluster(run_dir, slots=1, recycle_bytes=200_000_000) as c:
        pids = [c.call(leak).result(timeout=10) for _ in range(20)]
        assert len(set(pids)) >= 2
        c.innocents()
