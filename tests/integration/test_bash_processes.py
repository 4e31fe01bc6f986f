"""Commands that are ended early: by walltime, by cancelling, by the end of the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from treadle.app import _command, _watcher
from treadle.app._processes import Process, family, is_alive, signal_group, signal_one
from treadle.app._watcher import Watcher
from treadle.app.bash import BashRunner, cancel_running, kill_running
from treadle.errors import AppTimeout, BashExitFailure

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


def line(command: str) -> str:
    return command


def runner(command: str, **kwargs: Any) -> int:
    return BashRunner(line, frozenset())(command, **kwargs)


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 10) -> Any:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        threading.Event().wait(0.005)
    pytest.fail(f"did not happen within {timeout_s} s: {what}")


def pids_in(path: Path, number: int) -> list[int]:
    """The numbers that a command has written, once all are there."""

    def read() -> list[int]:
        words = path.read_text().split() if path.exists() else []
        return [int(word) for word in words] if len(words) >= number else []

    return wait_until(read, f"{number} numbers in {path}")


def is_gone(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] in "ZX"


class InThread:
    """A command run by a thread of its own."""

    def __init__(self, command: str, **kwargs: Any) -> None:
        self.outcome: Any = None
        self.thread = threading.Thread(target=self._run, args=(command,), kwargs=kwargs)
        self.thread.start()

    def _run(self, command: str, **kwargs: Any) -> None:
        try:
            self.outcome = runner(command, **kwargs)
        except BaseException as error:
            self.outcome = error

    def join(self) -> Any:
        self.thread.join(15)
        assert not self.thread.is_alive()
        return self.outcome


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    return tmp_path / "pids"


#: A shell, its child, and a grandchild that nobody waits for.
FAMILY = "echo $$ >> {0}; bash -c 'echo $$ >> {0}; sleep 600 & echo $! >> {0}; sleep 600'; true"


class Deadline:
    """The walltime of a command, reached when the test says so."""

    SECONDS = 12345

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real = _command.call_later
        self._act: Callable[[], object] | None = None
        monkeypatch.setattr(_command, "call_later", self._call_later)

    def _call_later(self, delay_s: float, act: Callable[[], object]) -> Any:
        if delay_s == self.SECONDS:
            self._act = act
        return self._real(delay_s, act)

    def reach(self) -> None:
        wait_until(lambda: self._act, "a command with a walltime runs")()


@pytest.fixture
def deadline(monkeypatch: pytest.MonkeyPatch) -> Deadline:
    return Deadline(monkeypatch)


def test_a_command_has_its_walltime_and_no_more() -> None:
    with pytest.raises(AppTimeout, match=r"bash_app line ran longer than its walltime of 0\.05 s"):
        runner("sleep 600", walltime=0.05)


def test_a_walltime_ends_a_command_with_all_it_started(pids: Path, deadline: Deadline) -> None:
    running = InThread(FAMILY.format(pids), walltime=deadline.SECONDS)
    members = pids_in(pids, 3)
    deadline.reach()
    assert isinstance(running.join(), AppTimeout)
    assert [pid for pid in members if not is_gone(pid)] == []


def test_what_left_the_process_group_is_ended_too(pids: Path, deadline: Deadline) -> None:
    command = f"setsid bash -c 'echo $$ >> {pids}; sleep 600; true'; true"
    running = InThread(command, walltime=deadline.SECONDS)
    [stray] = pids_in(pids, 1)
    deadline.reach()
    assert isinstance(running.join(), AppTimeout)
    assert is_gone(stray)


def test_what_ignores_the_polite_signal_is_killed(
    pids: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_command, "GRACE_S", 0.1)
    command = f"trap '' TERM; echo $$ > {pids}; while true; do sleep 0.05; done"
    running = InThread(command, walltime=deadline.SECONDS)
    [stubborn] = pids_in(pids, 1)
    deadline.reach()
    assert isinstance(running.join(), AppTimeout)
    assert is_gone(stubborn)


def test_a_command_may_tidy_up_when_it_is_told_to_end(
    tmp_path: Path, pids: Path, deadline: Deadline
) -> None:
    command = f"trap 'echo tidy > {tmp_path}/tidy; exit' TERM; sleep 600 & echo $$ > {pids}; wait"
    running = InThread(command, walltime=deadline.SECONDS)
    pids_in(pids, 1)
    deadline.reach()
    assert isinstance(running.join(), AppTimeout)
    assert (tmp_path / "tidy").read_text() == "tidy\n"


def test_a_command_in_time_is_left_alone(tmp_path: Path) -> None:
    assert runner("true", walltime=30) == 0
    with pytest.raises(BashExitFailure):
        runner("false", walltime=30)


def test_a_background_process_of_a_command_that_ended_well_goes_on(pids: Path) -> None:
    assert runner(f"sleep 600 > /dev/null & echo $! > {pids}", walltime=30) == 0
    [left] = pids_in(pids, 1)
    try:
        assert not is_gone(left)
    finally:
        os.kill(left, signal.SIGKILL)


def test_a_running_command_is_cancelled_through_its_thread(pids: Path) -> None:
    running = InThread(FAMILY.format(pids))
    members = pids_in(pids, 3)
    thread_id = running.thread.ident
    assert thread_id is not None
    assert BashRunner(line, frozenset()).cancel_running(thread_id)
    assert isinstance(running.join(), CancelledError)
    assert all(is_gone(pid) for pid in members)
    assert not cancel_running(thread_id)


def test_a_command_cancelled_before_it_runs_does_not_start(tmp_path: Path) -> None:
    inside, go = threading.Event(), threading.Event()
    outcome: list[BaseException] = []

    def body() -> str:
        inside.set()
        assert go.wait(10)
        return f"touch {tmp_path}/ran"

    def run() -> None:
        try:
            BashRunner(body, frozenset())()
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert inside.wait(10)
    assert thread.ident is not None
    assert cancel_running(thread.ident)
    go.set()
    thread.join(10)
    assert [type(error) for error in outcome] == [CancelledError]
    assert not (tmp_path / "ran").exists()


def test_all_running_commands_can_be_ended_at_once(tmp_path: Path) -> None:
    files = [tmp_path / str(i) for i in range(4)]
    running = [InThread(FAMILY.format(file)) for file in files]
    members = [pid for file in files for pid in pids_in(file, 3)]
    assert kill_running() == 4
    assert all(is_gone(pid) for pid in members)
    assert [type(r.join()) for r in running] == [CancelledError] * 4
    assert kill_running() == 0


PROGRAM = """
import os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from treadle.app._watcher import Watcher
from treadle.app.bash import BashRunner

def body():
    return {command!r}

def wait_for_pids():
    while not os.path.exists({pids!r}) or len(open({pids!r}).read().split()) < 3:
        time.sleep(0.01)

pool = ThreadPoolExecutor()
future = pool.submit(BashRunner(body, frozenset()))
wait_for_pids()
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(7)", 7),
        ("raise RuntimeError('the program fails')", 1),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -signal.SIGINT),
    ],
)
def test_the_end_of_the_program_is_the_end_of_its_commands(pids: Path, end: str, code: int) -> None:
    program = PROGRAM.format(command=FAMILY.format(pids), pids=str(pids), end=end)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=15)
    members = pids_in(pids, 3)
    assert [pid for pid in members if not is_gone(pid)] == []
    assert done.returncode == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_is_killed_leaves_no_command(pids: Path, number: signal.Signals) -> None:
    end = f"os.kill(os.getpid(), {int(number)})"
    program = PROGRAM.format(command=FAMILY.format(pids), pids=str(pids), end=end)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=15)
    assert done.returncode == -number
    wait_until(lambda: all(is_gone(pid) for pid in pids_in(pids, 3)), "its commands are gone")


def test_a_command_whose_program_is_killed_before_it_is_watched_never_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        process.stdin.close()  # what the system does when the program is killed

    monkeypatch.setattr(_command, "_let_run", die)
    with pytest.raises(BashExitFailure):
        runner(f"touch {tmp_path}/ran")
    assert not (tmp_path / "ran").exists()


def test_the_watcher_ends_only_what_is_on_its_list() -> None:
    mine = Watcher()
    done, left = (subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in "ab")
    try:
        for group in (done.pid, left.pid):
            mine.add(group)
        mine.forget(done.pid)
        shell = mine._shell
        assert shell is not None
        assert shell.stdin is not None
        shell.stdin.close()  # as if this process were killed
        shell.wait()
        assert left.wait() == -signal.SIGTERM
        assert done.poll() is None
    finally:
        for process in (done, left):
            process.kill()
            process.wait()


def test_a_watcher_that_was_killed_is_replaced(pids: Path) -> None:
    first = InThread(FAMILY.format(pids))
    pids_in(pids, 3)
    try:
        shell = wait_until(lambda: _watcher.watcher._shell, "the watcher is there")
        shell.kill()
        shell.wait()
        assert runner("true") == 0
        assert _watcher.watcher._shell is not shell
    finally:
        assert kill_running() == 1
        first.join()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_that_ends_does_not_end_its_parents_commands(pids: Path) -> None:
    running = InThread(FAMILY.format(pids))
    members = pids_in(pids, 3)
    child = os.fork()
    if child == 0:
        os._exit(kill_running())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not any(is_gone(pid) for pid in members)
    assert kill_running() == 1
    running.join()


def test_a_number_used_again_is_another_process() -> None:
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        [found] = family(child.pid)
        assert is_alive(found)
        other = Process(found.pid, "0")
        assert not is_alive(other)
        signal_one(other, signal.SIGKILL)
        assert is_alive(found)
    finally:
        signal_group(child.pid, signal.SIGKILL)
        child.wait()
    assert not is_alive(found)
    signal_group(child.pid, signal.SIGKILL)
