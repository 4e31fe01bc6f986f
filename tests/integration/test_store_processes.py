"""The store on real processes, real kills and a real full disk."""

from __future__ import annotations

import errno
import logging
import os
import random
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.store.places import checkpoint, contents, key
from treadle.errors import CheckpointWriteError
from treadle.store import CheckpointIndex, CheckpointLog, compact, load_or_create_secret
from treadle.store.log import Durability

ROUNDS = int(os.environ.get("TREADLE_KILL_ROUNDS", "20"))
WAIT_S = 15
HERE = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE / "src"), str(HERE)])}

#: Prints each key after its commit has returned.
WRITER = """
import os, sys, threading
from treadle.store import CheckpointLog, load_or_create_secret, new_checkpoint_directory
root, run, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
log = CheckpointLog(
    new_checkpoint_directory(root + "/" + run),
    load_or_create_secret(root), run_id=run, segment_bytes=20_000,
)
def work(me):
    n = 0
    while True:
        name = f"{run}-{me}-{n}"
        # Every fiftieth payload is a file of its own.
        size = 1_100_000 if n % 50 == 49 else n % 700
        log.commit(log.append(name, name.encode() + bytes(size)))
        os.write(1, (name + "\\n").encode())
        n += 1
for me in range(threads):
    threading.Thread(target=work, args=(me,)).start()
"""


def start(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", *command], stdout=subprocess.PIPE, env=ENVIRONMENT
    )


def size_of(name: str) -> int:
    number = int(name.rsplit("-")[-1])
    return len(name) + (1_100_000 if number % 50 == 49 else number % 700)


@pytest.mark.timeout(20 + 5 * ROUNDS)
def test_whatever_was_acknowledged_survives_a_kill_at_any_instant(
    tmp_path: Path, rng: random.Random
) -> None:
    acknowledged: list[str] = []
    for number in range(ROUNDS):
        process = start(WRITER, str(tmp_path), f"{number:03}", str(rng.choice([1, 4])))
        assert process.stdout is not None
        for _ in range(rng.randrange(1, 200)):
            acknowledged.append(process.stdout.readline().decode().strip())
        process.kill()
        rest = process.stdout.read()
        process.stdout.close()
        process.wait(WAIT_S)
        acknowledged += [line.decode() for line in rest.splitlines(True) if line.endswith(b"\n")]
    acknowledged = [line.strip() for line in acknowledged]
    directories = sorted(tmp_path.glob("*/checkpoint"))
    assert len(directories) == ROUNDS
    with CheckpointIndex.open(directories) as index:
        assert index.report().damaged == 0
        for name in acknowledged:
            payload = index.get(name)
            assert payload is not None, name
            assert payload.startswith(name.encode())
            assert len(payload) == size_of(name)


def test_twenty_processes_at_once_make_one_secret(tmp_path: Path) -> None:
    script = """
import sys
from treadle.store import load_or_create_secret
sys.stdout.write("ready\\n"); sys.stdout.flush()
open(sys.argv[2]).close()  # a pipe: opens for all when the test opens it
print(load_or_create_secret(sys.argv[1]).hex())
"""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    root = tmp_path / "runinfo"
    processes = [start(script, str(root), str(gate)) for _ in range(20)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    with open(gate, "w"):
        answers = [process.communicate(timeout=WAIT_S)[0] for process in processes]
    assert set(answers) == {load_or_create_secret(root).hex().encode() + b"\n"}
    assert [path.name for path in root.iterdir()] == [".key"]


def test_two_processes_write_to_one_directory_at_once(tmp_path: Path) -> None:
    script = """
import sys
from treadle.store import CheckpointLog, load_or_create_secret, new_checkpoint_directory
root, me = sys.argv[1:]
directory = new_checkpoint_directory(root + "/000")
with CheckpointLog(directory, load_or_create_secret(root), run_id=me, segment_bytes=2000) as log:
    for n in range(300):
        log.commit(log.append(f"{me}-{n}", f"{me}-{n}".encode()))
"""
    processes = [start(script, str(tmp_path), me) for me in ("a", "b")]
    assert [process.wait(WAIT_S) for process in processes] == [0, 0]
    for process in processes:
        process.communicate()
    directory = tmp_path / "000" / "checkpoint"
    names = [f"{me}-{n}" for me in ("a", "b") for n in range(300)]
    assert contents(directory) == {name: name.encode() for name in names}
    with CheckpointIndex.open([directory], strict=True) as index:
        assert {file.run_id for file in index.report().files} == {"a", "b"}
    compact(directory, load_or_create_secret(tmp_path))
    assert contents(directory) == {name: name.encode() for name in names}


@pytest.mark.parametrize("durability", ["process", "power"])
def test_many_threads_share_one_log(tmp_path: Path, durability: Durability) -> None:
    directory, secret = checkpoint(tmp_path)
    with (
        CheckpointLog(
            directory, secret, run_id="000", durability=durability, segment_bytes=10_000
        ) as log,
        ThreadPoolExecutor(32) as pool,
    ):

        def work(me: int) -> None:
            for n in range(20):
                log.commit(log.append(f"{me}-{n}", b"%d" % me))

        list(pool.map(work, range(32)))
        assert log.statistics().records == 640
    found = contents(directory)
    assert found == {f"{me}-{n}": b"%d" % me for me in range(32) for n in range(20)}


def test_many_threads_read_one_index_while_it_is_closed(tmp_path: Path) -> None:
    directory, secret = checkpoint(tmp_path)
    items = {key(n): b"%d" % n * 10 for n in range(200)}
    with CheckpointLog(directory, secret, run_id="000", segment_bytes=1000) as log:
        for item in items.items():
            log.commit(log.append(*item))
    index = CheckpointIndex.open([directory])
    halfway = threading.Event()

    def work(me: int) -> None:
        for n, (name, payload) in enumerate(items.items()):
            assert index.get(name) in ((payload,) if not halfway.is_set() else (payload, None))
            if n == 150:
                halfway.set()

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(work, me) for me in range(8)]
        assert halfway.wait(WAIT_S)
        index.close()
        for future in futures:
            future.result(WAIT_S)


def test_close_waits_for_commits_and_refuses_what_comes_after(tmp_path: Path) -> None:
    directory, secret = checkpoint(tmp_path)
    log = CheckpointLog(directory, secret, run_id="000")
    started = threading.Barrier(9)
    acknowledged: list[str] = []

    def work(me: int) -> None:
        started.wait(WAIT_S)
        for n in range(10_000):
            try:
                log.commit(log.append(f"{me}-{n}", b"x"))
            except CheckpointWriteError:
                return
            acknowledged.append(f"{me}-{n}")

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(work, me) for me in range(8)]
        started.wait(WAIT_S)
        log.close()
        for future in futures:
            future.result(WAIT_S)
    with CheckpointIndex.open([directory], strict=True) as index:
        assert set(acknowledged) <= set(index.keys())
        assert index.report().files[0].closed


FULL_DISK = """
import errno, os, sys
from treadle.errors import CheckpointWriteError
from treadle.store import CheckpointIndex, CheckpointLog
from treadle.store import load_or_create_secret, new_checkpoint_directory
root = sys.argv[1] + "/runinfo"
log = CheckpointLog(
    new_checkpoint_directory(root + "/000"), load_or_create_secret(root),
    run_id="000", durability=sys.argv[2], segment_bytes=300_000,
)
acknowledged = []
try:
    for n in range(100_000):
        log.commit(log.append(str(n), bytes(500)))
        acknowledged.append(str(n))
except CheckpointWriteError as error:
    assert "No space left" in str(error), error
assert log.degraded is not None and log.degraded.errno == errno.ENOSPC
log.close()
with CheckpointIndex.open([root + "/000/checkpoint"]) as index:
    assert all(index.get(name) == bytes(500) for name in acknowledged)
    print(len(acknowledged), index.report().files[-1].closed, index.report().damaged)
"""


@pytest.mark.parametrize("size_kb", [1024, 2600])
@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_disk_that_is_really_full_loses_nothing_acknowledged(
    tmp_path: Path, size_kb: int, durability: str
) -> None:
    if not may_mount(tmp_path):
        pytest.skip("needs the right to mount a tmpfs in a namespace of its own")
    mount = f"mount -t tmpfs -o size={size_kb}k,mode=700 tmpfs '{tmp_path}'"
    command = [*UNSHARE, f'{mount} && exec "$@"', "sh", sys.executable, "-c", FULL_DISK]
    done = subprocess.run(
        [*command, str(tmp_path), durability],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    count, closed, damaged = done.stdout.split()
    assert int(count) > 500
    assert damaged == "0"
    if size_kb > 2048:  # there was room for the reserve
        assert closed == "True"


UNSHARE = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]


def may_mount(place: Path) -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    script = f"mount -t tmpfs -o size=64k tmpfs '{place}'"
    return subprocess.run([*UNSHARE, script], capture_output=True, check=False).returncode == 0


def test_a_log_whose_directory_is_gone_goes_on_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory, secret = checkpoint(tmp_path)
    with (
        caplog.at_level(logging.WARNING, "treadle.store"),
        CheckpointLog(directory, secret, run_id="000", segment_bytes=10) as log,
    ):
        shutil.rmtree(directory)
        with pytest.raises(CheckpointWriteError):
            log.commit(log.append("a", b"1"))
        assert isinstance(log.degraded, OSError)
        assert log.degraded.errno == errno.ENOENT
    assert len(caplog.records) == 1
