"""However a program ends: soon, with what it was asked to keep, and with nobody left behind.

Each test runs a program of its own and bounds how long it may take; where a program must be hit at
a certain moment, it prints that it is there.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from treadle.dataflow.memoization import BasicMemoizer

pytestmark = pytest.mark.timeout(60)

#: More than any of these programs needs on a busy machine, and less than they would wait.
PROMPT_S = 20

HEAD = """
import os, signal, sys, threading, time, warnings
import treadle
# Python warns of a fork beside threads; what that does is what is tried here.
warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
from treadle import Config, ThreadPoolExecutor, bash_app, join_app, python_app

def config(**options):
    options.setdefault("initialize_logging", False)
    return Config(run_dir={run_dir!r}, **options)

def say(*words):
    print(*words, flush=True)

@python_app
def inc(x, *others):
    return x + 1

@python_app
def nap(seconds=60):
    time.sleep(seconds)

@python_app(cache=True)
def keep(x):
    return x * 2

@bash_app
def bash_nap(token):
    return f"exec -a {{token}} sleep 60"
"""


class Program:
    """A program that runs; at the end of the test, not any more."""

    def __init__(self, path: Path, *flags: str) -> None:
        source = str(Path(__file__).parents[2] / "src")
        self.process = subprocess.Popen(
            [sys.executable, *flags, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # what one line too many was read is lost for `communicate`
            env={**os.environ, "PYTHONPATH": source},
            start_new_session=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def interrupt(self) -> None:
        os.kill(self.process.pid, signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PROMPT_S)
        return self.process.returncode, out.decode(), err.decode()


@pytest.fixture
def start(tmp_path, run_dir):
    programs: list[Program] = []

    def start(body: str, *flags: str) -> Program:
        path = tmp_path / f"program_{len(programs)}.py"
        path.write_text(HEAD.format(run_dir=str(run_dir)) + textwrap.dedent(body))
        programs.append(Program(path, *flags))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
        program.process.communicate()
        assert _session(program.process.pid) == [], "the program left processes behind"


def _session(leader: int) -> list[str]:
    """The command lines of what still runs in a session."""
    left = []
    for entry in Path("/proc").iterdir() if Path("/proc").is_dir() else ():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if entry.name.isdigit() and int(fields[3]) == leader and fields[0] not in "ZX":
                left.append((entry / "cmdline").read_text())
        except (OSError, IndexError):
            continue
    return left


def _running(token: str) -> bool:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and token in (entry / "cmdline").read_text().split("\0")[0]:
                return True
        except OSError:
            continue
    return False


def _wait_until(condition) -> bool:
    deadline = time.monotonic() + PROMPT_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def kept(run_dir: Path) -> int:
    """How many results the checkpoints of all runs hold."""
    memoizer = BasicMemoizer()
    memoizer.start(run_dir=str(run_dir / "reader"), config_run_dir=str(run_dir))
    try:
        return len(memoizer.load_checkpoints([str(p) for p in run_dir.glob("*/checkpoint")]))
    finally:
        memoizer.close()


# --- Ctrl-C --------------------------------------------------------------------------------------


def test_one_interrupt_while_tasks_run_ends_the_program(start):
    program = start("""
        treadle.load(config())
        futures = [nap() for _ in range(10)]
        say("ready")
        futures[0].result()
    """)
    assert program.line() == "ready"
    program.interrupt()
    code, _, err = program.end()
    assert code == -signal.SIGINT
    assert err.count("KeyboardInterrupt") == 1
    assert "Exception ignored" not in err


@pytest.mark.parametrize("round_", range(4))
def test_one_interrupt_in_a_with_block_ends_the_program(start, rng, round_):
    """The library's own `wait` leaves the locks of futures taken when it is struck while taking."""
    program = start("""
        import concurrent.futures

        with treadle.load(config(exit_mode="wait")):
            futures = [nap() for _ in range(1000)]
            say("ready")
            while True:
                concurrent.futures.wait(futures, timeout=0)
    """)
    assert program.line() == "ready"
    time.sleep(rng.random() * 0.05)
    program.interrupt()
    assert program.end()[0] == -signal.SIGINT


def test_one_interrupt_during_cleanup_ends_the_program(start):
    program = start("""
        kernel = treadle.load(config())
        futures = [nap() for _ in range(2)]
        while not all(f.task_status() == "launched" for f in futures):
            time.sleep(0.001)
        say("ready")
        kernel.cleanup()
    """)
    assert program.line() == "ready"
    time.sleep(0.05)  # into the wait; a little earlier is fine as well
    program.interrupt()
    assert program.end()[0] == -signal.SIGINT


def test_an_interrupt_ends_bash_commands_with_everything_they_started(start, tmp_path):
    token = f"nap-{os.getpid()}-{random.randrange(10**9)}"
    program = start(f"""
        treadle.load(config())
        future = bash_nap({token!r})
        say("ready")
        future.result()
    """)
    assert program.line() == "ready"
    assert _wait_until(lambda: _running(token))
    program.interrupt()
    assert program.end()[0] == -signal.SIGINT
    assert _wait_until(lambda: not _running(token))


@pytest.mark.parametrize("round_", range(6))
def test_an_interrupt_at_any_moment_of_a_submit_loop_ends_the_program(start, run_dir, rng, round_):
    program = start("""
        treadle.load(config(checkpoint_mode="task_exit"))
        futures = []
        say("ready")
        try:
            while True:
                futures.append(keep(len(futures)))
                futures.append(inc(futures[-1]))
                if len(futures) > 2000:
                    futures[-1].result()
                    futures.clear()
        except KeyboardInterrupt:
            treadle.wait_for_current_tasks()
            assert all(f.done() for f in futures)
            say("all done", inc(1).result())
            raise
    """)
    assert program.line() == "ready"
    time.sleep(rng.random() * 0.3)
    program.interrupt()
    code, out, err = program.end()
    assert (code, out.strip()) == (-signal.SIGINT, "all done 2"), err
    assert kept(run_dir) > 0


@pytest.mark.parametrize("round_", range(3))
def test_many_interrupts_do_no_more_than_one(start, rng, round_):
    program = start("""
        kernel = treadle.load(config())
        say("ready")
        count = 0
        while count < 30:
            try:
                for _ in range(100):
                    inc(inc(1)).result()
            except KeyboardInterrupt:
                count += 1
                say("again")
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        treadle.wait_for_current_tasks()
        say("works", inc(1).result())
        kernel.cleanup()
    """)
    assert program.line() == "ready"
    for _ in range(30):
        time.sleep(rng.random() * 0.01)
        program.interrupt()
        assert program.line() == "again"
    code, out, err = program.end()
    assert (code, out.strip()) == (0, "works 2"), err


# --- other ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError('main')", 1),
        ("treadle.clear()", 0),
        ("del kernel; import gc; gc.collect()", 0),
        ("threading.Thread(target=lambda: time.sleep(0.05)).start()", 0),
    ],
)
@pytest.mark.parametrize("executor", ["ThreadPoolExecutor()", "Foreign()"])
def test_a_program_ends_without_cleanup(start, run_dir, ending, code, executor):
    program = start(
        f"""
        import concurrent.futures

        class Foreign:
            label = "foreign"
            def start(self):
                self.pool = concurrent.futures.ThreadPoolExecutor(2)
            def submit(self, func, *args, **kwargs):
                return self.pool.submit(func, *args, **kwargs)
            def shutdown(self, block=True):
                self.pool.shutdown(wait=block, cancel_futures=not block)

        kernel = treadle.load(config(executors=[{executor}], checkpoint_mode="dfk_exit"))
        results = [keep(i) for i in range(10)]
        [f.result() for f in results]
        gate = concurrent.futures.Future()
        waiting = [inc(gate) for _ in range(5)]
        running = [nap(0.2) for _ in range(2)]
        callback = []
        waiting[0].add_done_callback(callback.append)
        {ending}
    """,
        "-X",
        "dev",
        "-W",
        "error::ResourceWarning",
    )
    got, _, err = program.end()
    assert got == code, err
    assert "ResourceWarning" not in err
    assert "Exception ignored" not in err
    assert err.count("Traceback") == (code == 1), err
    assert kept(run_dir) == 10


def test_a_clean_program_is_clean(start):
    program = start(
        """
        with treadle.load(config()):
            say(inc(inc(1)).result(), join_app(lambda: [inc(1), inc(2)])().result())
        with treadle.load(config()):
            say(inc(1).result())
        say([t.name for t in threading.enumerate()])
    """,
        "-X",
        "dev",
        "-W",
        "error",
    )
    code, out, err = program.end()
    assert (code, err) == (0, "")
    assert out.splitlines() == ["3 [2, 3]", "2", "['MainThread']"]


def test_the_death_of_the_engine_does_not_keep_the_program(start):
    program = start("""
        kernel = treadle.load(config())
        running = nap()
        def die():
            raise SystemExit("engine")
        kernel._engine.call_soon(die)
        say(type(running.exception()).__name__)
    """)
    code, out, err = program.end()
    assert (code, out.strip()) == (0, "EngineCrashed"), err


def test_a_killed_program_has_kept_what_it_acknowledged(start, run_dir):
    program = start("""
        treadle.load(config(checkpoint_mode="task_exit"))
        for i in range(100_000):
            say(keep(i).result())
    """)
    acknowledged = [program.line() for _ in range(50)]
    program.process.kill()
    program.process.communicate()
    assert acknowledged == [str(2 * i) for i in range(50)]
    assert kept(run_dir) >= 50


# --- forks ---------------------------------------------------------------------------------------


def test_every_open_future_of_a_forked_child_says_so_at_once(start):
    program = start("""
        from treadle.errors import KernelForked, NoDataFlowKernelError

        kernel = treadle.load(config(max_pending=100))
        gate = threading.Event()

        @python_app
        def wait():
            gate.wait(60)
            return "parent's"

        called = []
        done = inc(1)
        done.result()
        futures = [wait() for _ in range(20)]
        futures.append(inc(futures[0]))
        futures[0].add_done_callback(called.append)
        part, of_done = futures[0]["part"], done.real
        child = os.fork()
        if not child:
            assert done.result() == 2
            for future in [*futures, part]:
                assert isinstance(future.exception(timeout=0), KernelForked), future
            assert of_done.result() == 2
            assert called == []
            assert not futures[0].cancel()
            for attempt in (lambda: inc(1), lambda: kernel.add_executors([ThreadPoolExecutor("x")])):
                try:
                    attempt()
                except KernelForked as error:
                    assert str(os.getpid()) in str(error)
                else:
                    raise AssertionError("not refused")
            kernel.wait_for_current_tasks()
            with treadle.load(config()):
                assert inc(1).result() == 2
            say("child")
            sys.exit(7)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7, status
        gate.set()
        results = [f.result() for f in futures[:20]]
        kernel.cleanup()
        say(results == ["parent's"] * 20, len(called))
    """)
    code, out, err = program.end()
    assert (code, out.splitlines(), err) == (0, ["child", "True 1"], "")


def test_a_child_that_leaves_the_block_leaves_the_kernel_to_its_parent(start):
    program = start("""
        with treadle.load(config(exit_mode="wait")) as kernel:
            futures = [nap(0.3) for _ in range(4)]
            child = os.fork()
            if child:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        if child:
            say([f.result() for f in futures])
    """)
    assert program.end() == (0, "[None, None, None, None]\n", "")


def test_multiprocessing_may_fork_while_tasks_run(start):
    program = start("""
        import multiprocessing

        def square(x):
            return x * x

        kernel = treadle.load(config())
        stop = threading.Event()

        def submit():
            while not stop.is_set():
                inc(inc(1)).result()

        threads = [threading.Thread(target=submit) for _ in range(3)]
        for thread in threads:
            thread.start()
        context = multiprocessing.get_context("fork")
        for _ in range(5):
            with context.Pool(2) as pool:
                assert pool.map(square, range(10)) == [x * x for x in range(10)]
            process = context.Process(target=square, args=(1,))
            process.start()
            process.join(20)
            assert process.exitcode == 0
        stop.set()
        for thread in threads:
            thread.join()
        say(inc(1).result())
        kernel.cleanup()
    """)
    code, out, err = program.end()
    assert (code, out, err) == (0, "2\n", "")
