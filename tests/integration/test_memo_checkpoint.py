"""Results outlive their process: real logs, real processes, real kills."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.memo.memoizers import Record, call
from treadle.dataflow.memoization import BasicMemoizer
from treadle.errors import BadCheckpoint
from treadle.utils import get_all_checkpoints

HERE = Path(__file__).parents[2]
WAIT_S = 15

HELPERS = """
SCALE = {"a": 2, "b": 3}

def norm(x):
    return x - 1
"""

#: One run: calls an app with what is on its command line, and says what was found.
PROGRAM = """
import json, os, sys
import helpers
from tests.unit.memo.memoizers import call
from treadle.dataflow.memoization import BasicMemoizer

class Point:
    def __init__(self, x, tags):
        self.x, self.tags = x, tags

def app(x, tags, point=None):
    return [helpers.norm(x), helpers.SCALE["a"], sorted(tags), point and point.x]

run, mode = sys.argv[1:3]
memoizer = BasicMemoizer(checkpoint_mode=mode)
memoizer.start(run_dir=run, config_run_dir=os.path.dirname(run))
for x in json.loads(sys.argv[3]):
    tags = {f"tag{n}" for n in range(x)}
    result, hit, record = call(memoizer, app, x, tags, point=Point(x, {"of": tags}))
    report = memoizer.explain_miss(record)
    print(json.dumps([result, hit, report and str(report)]), flush=True)
if "kill" not in sys.argv:
    memoizer.close()
else:
    os.kill(os.getpid(), 9)
"""

#: Calls an app for ever, and prints the argument of each call that was acknowledged.
WRITER = """
import os, sys, threading
from tests.unit.memo.memoizers import call
from treadle.dataflow.memoization import BasicMemoizer

def app(x):
    return [x, "r" * (x % 700)]

run = sys.argv[1]
memoizer = BasicMemoizer(checkpoint_mode="task_exit")
memoizer.start(run_dir=run, config_run_dir=os.path.dirname(run))
def work(me):
    x = me
    while True:
        call(memoizer, app, x)
        os.write(1, f"{x}\\n".encode())
        x += 3
for me in range(3):
    threading.Thread(target=work, args=(me,)).start()
"""


def app(x):
    return [x, "r" * (x % 700)]


def run_program(
    folder: Path, run: str, xs: list[int], *more: str, mode: str = "task_exit", seed: str = "0"
) -> list[Any]:
    script = folder / "main.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(script), str(folder / "runinfo" / run), mode, json.dumps(xs), *more],
        env=environment() | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    expected = -signal.SIGKILL if "kill" in more else 0
    assert done.returncode == expected, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE / "src"), str(HERE)])}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "runinfo").mkdir(mode=0o700)
    (tmp_path / "helpers.py").write_text(HELPERS)
    return tmp_path


def test_a_restart_with_another_hash_seed_finds_everything(folder: Path) -> None:
    first = run_program(folder, "000", [1, 5, 9], seed="1")
    assert [hit for _, hit, _ in first] == [False] * 3
    again = run_program(folder, "001", [9, 5, 1], seed="2")
    assert [hit for _, hit, _ in again] == [True] * 3
    assert [result for result, _, _ in again] == [result for result, _, _ in first[::-1]]
    # The third run finds what the first wrote, though the second wrote nothing.
    assert run_program(folder, "002", [5], seed="3")[0][1]


def test_an_edited_helper_is_a_miss_that_says_so(folder: Path) -> None:
    run_program(folder, "000", [3])
    (folder / "helpers.py").write_text(HELPERS.replace("x - 1", "x + 1"))
    assert run_program(folder, "001", [3]) == [
        [[4, 2, ["tag0", "tag1", "tag2"], 3], False, "no earlier result: helper 'norm' changed"]
    ]
    (folder / "helpers.py").write_text(HELPERS.replace('"a": 2', '"a": 5'))
    assert run_program(folder, "002", [3])[0][1:] == [
        False,
        "no earlier result: global 'helpers.SCALE' changed",
    ]
    (folder / "helpers.py").write_text("# Back again, with a comment.\n\n" + HELPERS)
    assert run_program(folder, "003", [3])[0][1]


@pytest.mark.parametrize("mode", ["manual", "dfk_exit", "periodic"])
def test_the_other_modes_write_at_the_end(folder: Path, mode: str) -> None:
    run_program(folder, "000", [3], mode=mode)
    assert run_program(folder, "001", [3])[0][1]


def test_a_process_that_kills_itself_has_kept_every_result(folder: Path) -> None:
    run_program(folder, "000", [1, 2, 3], "kill")
    assert [hit for _, hit, _ in run_program(folder, "001", [1, 2, 3, 4])] == [True] * 3 + [False]


@pytest.mark.timeout(120)
def test_a_kill_at_any_instant_loses_no_acknowledged_result(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    script = folder / "writer.py"
    script.write_text(WRITER)
    for round_number in range(4):
        run = folder / "runinfo" / f"{round_number:03}"
        writer = subprocess.Popen(
            [sys.executable, str(script), str(run)], stdout=subprocess.PIPE, env=environment()
        )
        acknowledged = read_until_killed(writer, rng.uniform(0.0, 0.5))
        assert acknowledged, "the writer never began"
        # A call that an earlier run has acknowledged is only there.
        memoizer = BasicMemoizer(checkpoint_files=get_all_checkpoints(run.parent))
        memoizer.start(run_dir=str(folder / "runinfo" / "999"), config_run_dir=str(run.parent))
        for x in acknowledged:
            record = Record(app, x)
            assert memoizer.check_memo(record) is not None, f"the result of {x} is lost"
        assert call(memoizer, app, acknowledged[-1])[0] == app(acknowledged[-1])
        memoizer.close()


def read_until_killed(writer: subprocess.Popen[bytes], after_s: float) -> list[int]:
    """What the writer printed; it is killed this long after its first line."""
    assert writer.stdout is not None
    try:
        assert select.select([writer.stdout], [], [], WAIT_S)[0]
        time.sleep(after_s)  # the instant is what the test draws
    finally:
        writer.kill()
    printed = writer.stdout.read()
    writer.stdout.close()
    writer.wait(WAIT_S)
    return [int(line) for line in printed.split(b"\n")[:-1]]


def test_a_planted_checkpoint_is_refused_by_name_and_left_out_if_it_was_only_found(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_program(folder, "000", [1])
    checkpoint = folder / "runinfo" / "000" / "checkpoint"
    checkpoint.chmod(0o777)
    where = {"run_dir": str(folder / "runinfo" / "001"), "config_run_dir": str(folder / "runinfo")}
    with pytest.raises(BadCheckpoint):
        BasicMemoizer(checkpoint_files=[str(checkpoint)]).start(**where)
    lenient = BasicMemoizer(checkpoint_mode="manual")
    lenient.start(**where)
    assert "not used" in caplog.text
    lenient.close()


def test_what_memory_let_go_comes_back_from_the_log_of_the_same_run(folder: Path) -> None:
    memoizer = BasicMemoizer(checkpoint_mode="task_exit", cache_bytes=20_000)
    memoizer.start(run_dir=str(folder / "runinfo" / "000"), config_run_dir=str(folder / "runinfo"))
    for x in range(300):
        call(memoizer, app, x)
    assert memoizer.statistics().evicted > 100
    assert all(call(memoizer, app, x)[1] for x in range(300))
    memoizer.close()
