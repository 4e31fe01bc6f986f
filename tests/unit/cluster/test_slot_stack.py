"""What `faulthandler` writes, read; and a process that is asked where it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from treadle.cluster import _slot_stack
from treadle.cluster._slot_stack import frames_of, stacks_of

_OURS = _slot_stack._OURS


def written(*frames: str) -> str:
    """Newest first, as it stands there."""
    return "".join(f"  File {frame}\n" for frame in frames)


ENGINE = (
    f'"{_OURS}cluster/_slot.py", line 181 in _result_of',
    f'"{_OURS}cluster/_slot.py", line 120 in serve',
    f'"{_OURS}__main__.py", line 5 in <module>',
    '"<frozen runpy>", line 88 in _run_code',
    '"<frozen runpy>", line 198 in _run_module_as_main',
)


def test_frames_of_the_main_thread_without_the_engine():
    text = (
        "Thread 0x00007f01 (most recent call first):\n"
        + written('"/lib/threading.py", line 320 in wait')
        + "\nCurrent thread 0x00007f02 (most recent call first):\n"
        + written('"/srv/my/a b, c.py", line 7 in inner', '"/srv/my/x.py", line 3 in outer')
        + written(*ENGINE)
    )
    assert frames_of(text) == ["/srv/my/x.py:3 in outer", "/srv/my/a b, c.py:7 in inner"]


def test_a_task_that_is_in_the_engine_is_shown_to_be_there():
    text = "Current thread 0x1 (most recent call first):\n" + written(
        f'"{_OURS}client/_flows.py", line 40 in wait_for',
        '"/srv/my/x.py", line 3 in task',
        *ENGINE,
    )
    assert frames_of(text) == [
        "/srv/my/x.py:3 in task",
        f"{_OURS}client/_flows.py:40 in wait_for",
    ]


def test_a_slot_that_runs_nothing_of_the_users_has_no_frames():
    assert frames_of("Current thread 0x1 (most recent call first):\n" + written(*ENGINE)) == []
    assert frames_of("") == []


def test_what_was_cut_says_so():
    text = (
        "Current thread 0x1 (most recent call first):\n"
        + written('"x.py", line 2 in b', '"x.py", line 1 in a')
        + "  ...\n"
    )
    assert frames_of(text) == ["...", "x.py:1 in a", "x.py:2 in b"]


def test_names_of_threads_and_unknown_lines_are_read_too():
    text = "Thread 0x1 [MainThread] (most recent call first):\n" + written('"x.py", line ??? in a')
    assert frames_of(text) == ["x.py:??? in a"]


PROGRAM = """
import sys, time
from treadle.cluster import _slot_stack
_slot_stack.arm()
_slot_stack.arm()
def sleep():
    print("ready", flush=True)
    sys.stdin.read()
sleep()
"""


def test_a_process_tells_where_it_is_as_often_as_it_is_asked():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        for _ in range(3):
            frames = stacks_of([process.pid])[process.pid]
            assert [frame.rpartition(" ")[2] for frame in frames] == ["<module>", "sleep"]
        process.send_signal(signal.SIGSTOP)
        assert "does not answer" in stacks_of([process.pid])[process.pid]
        process.send_signal(signal.SIGCONT)
        process.stdin.close()
        assert process.wait(10) == 0


def test_who_is_no_slot_is_not_signalled():
    with subprocess.Popen(["sleep", "60"]) as process:
        assert "closed the file" in stacks_of([process.pid])[process.pid]
        assert process.poll() is None
        process.kill()
    assert isinstance(stacks_of([process.pid])[process.pid], str)
    assert stacks_of([]) == {}


def test_nothing_is_left_open():
    before = os.listdir("/proc/self/fd")
    stacks_of([os.getpid(), 2**22 - 1])
    assert os.listdir("/proc/self/fd") == before
