"""Apps on a real kernel: commands, files between them, walltimes, map, joins."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from treadle.app.app import bash_app, join_app, python_app
from treadle.app.bash import kill_running
from treadle.config import Config
from treadle.data_provider.files import File
from treadle.dataflow.dflow import DataFlowKernel, DataFlowKernelLoader
from treadle.errors import AppTimeout, BashExitFailure, DependencyError, TaskCallError

AUTO_LOGNAME = -1


@pytest.fixture(autouse=True)
def kernel(run_dir: Path) -> Iterator[DataFlowKernel]:
    loaded = DataFlowKernelLoader.load(Config(run_dir=str(run_dir)))
    yield loaded
    loaded.cleanup()
    DataFlowKernelLoader.clear()


@bash_app
def write(text: str, outputs: Any = (), stdout: Any = None, stderr: Any = None) -> str:
    return f"echo {text} > {outputs[0]}" if outputs else f"echo {text}"


@bash_app
def join_files(inputs: Any = (), outputs: Any = ()) -> str:
    return f"cat {' '.join(str(i) for i in inputs)} > {outputs[0]}"


@python_app
def double(x: int) -> int:
    return 2 * x


@join_app
def doubles(n: int) -> Any:
    return [double(i) for i in range(n)]


def test_files_flow_between_commands(tmp_path: Path) -> None:
    parts = [write(word, outputs=[File(tmp_path / word)]) for word in ("a", "b", "c")]
    whole = join_files(
        inputs=tuple(part.outputs[0] for part in parts), outputs=[File(tmp_path / "all")]
    )
    assert whole.result() == 0
    assert (tmp_path / "all").read_text() == "a\nb\nc\n"
    assert whole.outputs[0].result().filepath == str(tmp_path / "all")


def test_automatic_log_names_are_told_by_the_future() -> None:
    call: Any = write
    future = call("hello", stdout=AUTO_LOGNAME, stderr=AUTO_LOGNAME, label="first")
    assert future.result() == 0
    assert "write" in Path(future.stdout).name
    assert "first" in Path(future.stdout).name
    assert Path(future.stdout).read_text() == "hello\n"
    assert "echo hello" in Path(future.stderr).read_text()


def test_the_stream_with_a_mode_is_opened_in_it(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    for word in ("one", "two"):
        write(word, stdout=(str(out), "w")).result()
    assert out.read_text() == "two\n"


def test_a_failing_command_fails_what_depends_on_it() -> None:
    fails: Any = bash_app(lambda: "exit 4")
    first = fails()
    second: Any = double(first)
    with pytest.raises(DependencyError) as info:
        second.result()
    assert isinstance(info.value.__cause__, BashExitFailure)
    assert info.value.__cause__.exitcode == 4


def test_walltimes_end_commands_and_functions() -> None:
    hangs: Any = bash_app(lambda: "sleep 600")

    @python_app
    def spins(walltime: float = 0.05) -> None:
        while True:
            pass

    for future in (hangs(walltime=0.05), spins()):
        with pytest.raises(AppTimeout):
            future.result()


def test_a_walltime_may_be_another_apps_result() -> None:
    call: Any = double
    assert call(4, walltime=double(30)).result() == 8
    with pytest.raises(TaskCallError, match="not -2"):
        call(4, walltime=double(-1)).result()


def test_a_special_keyword_is_no_business_of_a_function_that_does_not_take_it(
    tmp_path: Path,
) -> None:
    call: Any = double
    out = File(tmp_path / "out")
    future = call(4, label="x", walltime=60, inputs=[], outputs=[out], stdout="unused")
    assert future.result() == 8
    assert [data.file_obj for data in future.outputs] == [out]


def test_map_goes_through_the_kernel() -> None:
    assert list(double.map(range(50), window=4)) == [2 * i for i in range(50)]


def test_map_cancels_what_has_not_started_when_it_is_closed() -> None:
    results = write.map(["x"] * 50, window=50)
    futures = list(results._pending)
    assert next(results) == 0
    results.close()
    outcomes = [future.cancelled() or future.result() == 0 for future in futures]
    assert all(outcomes)


def test_a_join_app_gives_the_results_of_what_it_called() -> None:
    assert doubles(4).result() == [0, 2, 4, 6]
    assert doubles(0).result() == []


def test_a_command_that_is_ended_while_it_runs_has_been_cancelled(tmp_path: Path) -> None:
    started = tmp_path / "started"
    hangs: Any = bash_app(lambda: f"touch {started}; sleep 600")
    future = hangs()
    while not started.exists():
        assert not future.done()
    # Executors that cannot stop what runs say no; then the end of the program does.
    assert future.cancel() or kill_running() == 1
    with pytest.raises(CancelledError):
        future.result()
