"""Real zygotes and slots: what rude tasks do to them, and who outlives whom."""

# Tasks are functions inside tests: they travel by value, and import what they need.

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.integration.slot_agent import Agent, SlotEnd, agent, is_gone, kill, wait_gone
from treadle.cluster._packets import Bye, Returned, Task, Worn, decode_for_slot, encode
from treadle.errors import RemoteError, SerializationError
from treadle.wire import World


def run(log_dir: Path, scene: Callable[[Agent], Awaitable[None]], **settings: Any) -> None:
    async def play() -> None:
        async with agent(log_dir, **settings) as it:
            await scene(it)

    asyncio.run(play())


def with_slot(
    log_dir: Path,
    scene: Callable[[SlotEnd], Awaitable[None]],
    *,
    is_worn: bool = False,
    **settings: Any,
) -> None:
    """Play a scene with one slot; it must be well at the end, if it is not worn."""

    async def play(it: Agent) -> None:
        slot = await it.slot()
        await scene(slot)
        assert is_worn or await slot.is_well()

    run(log_dir, play, **settings)


# --- outcomes ----------------------------------------------------------------------------------


def test_a_slot_runs_tasks(tmp_path: Path) -> None:
    async def scene(slot: SlotEnd) -> None:
        assert await slot.value(pow, 2, 10) == 1024
        assert await slot.value(bytes, 3_000_000) == bytes(3_000_000)

    with_slot(tmp_path, scene)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, RecursionError])
def test_what_a_task_raises_is_its_outcome(tmp_path: Path, kind: type[BaseException]) -> None:
    def leave() -> None:
        raise kind("so")

    async def scene(slot: SlotEnd) -> None:
        assert type(await slot.error(leave)) is kind

    with_slot(tmp_path, scene)


def test_sys_exit_and_endless_recursion_end_the_task_alone(tmp_path: Path) -> None:
    def recurse(n: int) -> int:
        return recurse(n + 1)

    async def scene(slot: SlotEnd) -> None:
        assert type(await slot.error(sys.exit, 3)) is SystemExit
        assert type(await slot.error(recurse, 0)) is RecursionError

    with_slot(tmp_path, scene)


def test_ctrl_c_is_for_the_task_and_means_nothing_between_tasks(tmp_path: Path) -> None:
    def interrupt_itself() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    async def scene(slot: SlotEnd) -> None:
        assert type(await slot.error(interrupt_itself)) is KeyboardInterrupt
        os.kill(slot.pid, signal.SIGINT)
        os.kill(slot.pid, signal.SIGTERM)  # as a batch system sends it to all
        assert await slot.is_well()

    with_slot(tmp_path, scene)


def test_an_exception_that_cannot_be_pickled_arrives_in_words(tmp_path: Path) -> None:
    def fail() -> None:
        class Rude(Exception):
            def __reduce__(self) -> str:
                raise RuntimeError("never")

        raise Rude("I am here")

    async def scene(slot: SlotEnd) -> None:
        error = await slot.error(fail)
        assert "I am here" in str(error)
        assert "Rude" in type(error).__name__ or isinstance(error, RemoteError)

    with_slot(tmp_path, scene)


def test_an_exception_that_wants_other_arguments_arrives(tmp_path: Path) -> None:
    def fail() -> None:
        class Needs(Exception):
            def __init__(self, one: int, two: int) -> None:
                super().__init__(f"{one} and {two}")

        raise Needs(1, 2)

    async def scene(slot: SlotEnd) -> None:
        assert str(await slot.error(fail)) == "1 and 2"

    with_slot(tmp_path, scene)


def test_a_result_that_cannot_be_pickled_says_where(tmp_path: Path) -> None:
    def locked() -> Any:
        import threading

        return {"a": threading.Lock()}

    async def scene(slot: SlotEnd) -> None:
        error = await slot.error(locked)
        assert isinstance(error, SerializationError)
        assert "['a']" in str(error)

    with_slot(tmp_path, scene)


def test_a_class_of_the_users_program_goes_there_and_back(tmp_path: Path) -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    Point.__module__ = "__main__"
    Point.__qualname__ = "Point"

    async def scene(slot: SlotEnd) -> None:
        point = await slot.value(lambda p: type(p)(p.x + 1), Point(1))
        assert point.x == 2

    with_slot(tmp_path, scene)


# --- deaths ------------------------------------------------------------------------------------


def exit_hard() -> None:
    os._exit(7)


def crash() -> None:
    import ctypes

    ctypes.string_at(0)


def terminate_itself() -> None:
    os.kill(os.getpid(), 15)


def close_all() -> None:
    os.closerange(0, 100_000)


def exec_other() -> None:
    os.execvp("true", ["true"])


@pytest.mark.parametrize(
    ("func", "code"),
    [
        (exit_hard, 7),
        (crash, -signal.SIGSEGV),
        (os.abort, -signal.SIGABRT),
        (terminate_itself, -signal.SIGTERM),
        (close_all, 76),
        (exec_other, 0),
    ],
)
def test_a_task_that_ends_its_process_is_accused(
    tmp_path: Path, func: Callable[[], None], code: int
) -> None:
    async def scene(it: Agent) -> None:
        slot, other = await it.slot(), await it.slot()
        assert await slot.is_well()
        slot.put(_by_value(func))
        assert await slot.end() == code
        assert slot.accused() == 2
        assert await slot.report() is None
        assert await other.is_well()

    run(tmp_path, scene)


def _by_value(func: Callable[..., Any]) -> Callable[..., Any]:
    import types

    if not isinstance(func, types.FunctionType):
        return func
    made = types.FunctionType(func.__code__, {"os": os, "__name__": "__main__"}, func.__name__)
    made.__module__ = "__main__"
    return made


def test_a_segfault_leaves_a_trace_in_the_log(tmp_path: Path) -> None:
    async def scene(it: Agent) -> None:
        slot = await it.slot()
        slot.put(_by_value(crash))
        assert await slot.end() == -signal.SIGSEGV
        assert "in crash" in slot.err.read_text()

    run(tmp_path, scene)


def test_a_slot_that_is_killed_takes_its_tasks_children_along(tmp_path: Path) -> None:
    def spawn() -> list[int]:
        import subprocess

        sleepers = [
            subprocess.Popen(["sleep", "600"]),
            subprocess.Popen(["sleep", "600"], start_new_session=True),
        ]
        pid = os.fork()
        if pid == 0:
            import time

            time.sleep(600)
        return [pid, *(sleeper.pid for sleeper in sleepers)]

    async def scene(it: Agent) -> None:
        slot = await it.slot()
        pids = await slot.value(spawn)
        assert not any(map(is_gone, pids))
        kill(slot.pid)
        assert await slot.end() == -signal.SIGKILL
        await wait_gone(*pids)

    run(tmp_path, scene)


def test_slots_end_with_their_zygote_and_accuse_nobody(tmp_path: Path) -> None:
    def sleep() -> None:
        import time

        time.sleep(600)

    def spawn() -> int:
        import subprocess

        return subprocess.Popen(["sleep", "600"]).pid

    async def scene(it: Agent) -> None:
        slots = [await it.slot(), await it.slot()]
        child = await slots[0].value(spawn)
        slots[1].put(sleep)
        kill(it.zygote.pid)
        assert await asyncio.wait_for(it.lost, 10) == -signal.SIGKILL
        assert [await slot.ended for slot in slots] == [(-signal.SIGKILL, True)] * 2
        await wait_gone(child, *(slot.pid for slot in slots))
        # Another one takes its place.
        it.lost = it.loop.create_future()
        it.zygote = it.start_zygote()
        assert await (await it.slot()).is_well()

    run(tmp_path, scene)


_AGENT = """
import asyncio, os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.integration.slot_agent import agent

async def main():
    async with agent(Path({log_dir!r})) as it:
        slots = [await it.slot(), await it.slot()]
        def spawn():
            import subprocess
            return [subprocess.Popen(["sleep", "600"]).pid,
                    subprocess.Popen(["sleep", "600"], start_new_session=True).pid]
        children = await slots[0].value(spawn)
        def hang():
            import time
            while True:
                time.sleep(1)
        slots[1].put(hang)
        await asyncio.sleep(0.05)
        print(it.zygote.pid, *children, *(slot.pid for slot in slots), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_an_agent_that_ends(tmp_path: Path, number: signal.Signals) -> None:
    root = str(Path(__file__).parents[2])
    program = _AGENT.format(root=root, log_dir=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/"
    ) as process:
        assert process.stdout is not None
        pids = list(map(int, process.stdout.readline().split()))
        assert len(pids) == 5
        process.send_signal(number)
        process.wait(10)
    asyncio.run(wait_gone(*pids))


def test_a_stopped_zygote_ends_with_its_agent(tmp_path: Path) -> None:
    async def scene(it: Agent) -> None:
        slot = await it.slot()
        os.kill(it.zygote.pid, signal.SIGSTOP)
        it.zygote.close()
        await wait_gone(it.zygote.pid, slot.pid)

    run(tmp_path, scene)


def test_a_slot_ends_when_there_is_no_more_work(tmp_path: Path) -> None:
    def say_goodbye(path: str) -> None:
        import atexit

        atexit.register(lambda: open(path, "w").close())

    async def scene(it: Agent) -> None:
        slot = await it.slot()
        await slot.value(say_goodbye, str(tmp_path / "goodbye"))
        slot.feed.send(encode(Bye()))
        assert await slot.end() == 0
        assert (tmp_path / "goodbye").exists()

    run(tmp_path, scene)


# --- what a task changes -----------------------------------------------------------------------


def look() -> Any:
    import os
    import signal
    import sys

    umask = os.umask(0)
    os.umask(umask)
    return {
        "directory": os.getcwd(),
        "umask": umask,
        "environ": dict(os.environ),
        "path": list(sys.path),
        "recursion": sys.getrecursionlimit(),
        "handlers": [str(signal.getsignal(n)) for n in sorted(signal.valid_signals())],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "fds": [(os.fstat(fd).st_dev, os.fstat(fd).st_ino) for fd in range(3)],
        "streams": [sys.stdout.fileno(), sys.stderr.fileno(), sys.stdin.fileno()],
        "cores": sorted(os.sched_getaffinity(0)),
    }


def abuse_directory() -> None:
    os.chdir("/")


def abuse_umask() -> None:
    os.umask(0o777)


def abuse_environment() -> None:
    os.environ["NEW"] = "1"
    os.environ["HOME"] = "/nowhere"
    del os.environ["PATH"]


def abuse_signals() -> None:
    import signal

    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def abuse_path() -> None:
    import sys

    sys.path = ["/nowhere"]
    sys.setrecursionlimit(5000)


def abuse_streams() -> None:
    import io
    import sys

    sys.stdout = io.StringIO()
    print("nobody reads this")
    sys.stderr = None  # type: ignore[assignment]


def close_streams() -> None:
    import sys

    sys.stdout.close()
    sys.stderr.close()
    sys.stdin.close()


def close_descriptors() -> None:
    for fd in range(3):
        os.close(fd)


def replace_descriptors() -> None:
    null = os.open("/dev/null", os.O_RDWR)
    zero = os.open("/dev/zero", os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(zero, 2)
    os.close(0)
    os.open("/dev/zero", os.O_RDONLY)
    os.close(null)
    os.close(zero)


def abuse_cores() -> None:
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])


ABUSES = [
    abuse_directory,
    abuse_umask,
    abuse_environment,
    abuse_signals,
    abuse_path,
    abuse_streams,
    close_descriptors,
    replace_descriptors,
    abuse_cores,
]


@pytest.mark.parametrize("abuse", ABUSES, ids=lambda func: func.__name__)
def test_the_next_task_finds_all_as_it_was(tmp_path: Path, abuse: Callable[[], None]) -> None:
    def print_both() -> None:
        import sys

        print("out")
        print("err", file=sys.stderr)

    async def scene(slot: SlotEnd) -> None:
        before = await slot.value(_by_value(look))
        await slot.value(_by_value(abuse))
        assert await slot.value(_by_value(look)) == before
        report = await slot.tell(print_both)
        assert report.printed == (4, 4)
        assert slot.printed().endswith("out\n")

    with_slot(tmp_path, scene)


@pytest.mark.parametrize(
    ("func", "args"),
    [(os.chdir, ("/",)), (os.umask, (0o777,)), (os.putenv, ("A", "b")), (signal.alarm, (1,))],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_builtin_that_is_a_task_itself_is_put_back(
    tmp_path: Path, func: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    async def scene(slot: SlotEnd) -> None:
        before = await slot.value(_by_value(look))
        await slot.value(func, *args)
        assert await slot.value(_by_value(look)) == before

    with_slot(tmp_path, scene)


def test_functions_that_are_watched_can_be_returned(tmp_path: Path) -> None:
    async def scene(slot: SlotEnd) -> None:
        assert await slot.value(lambda: os.chdir) is os.chdir

    with_slot(tmp_path, scene)


def test_closed_streams_are_opened_again(tmp_path: Path) -> None:
    async def scene(slot: SlotEnd) -> None:
        await slot.value(_by_value(close_streams))
        report = await slot.tell(print, "here")
        assert report.printed == (5, 0)
        assert await slot.value(lambda: __import__("sys").stdin.read()) == ""

    with_slot(tmp_path, scene)


async def does_nothing_more(slot: SlotEnd) -> None:
    slot.put(abs, -1)
    await asyncio.sleep(0.05)
    assert slot.reports.empty()
    task = decode_for_slot(slot.feed_out.recv(1 << 20, socket.MSG_DONTWAIT))
    assert isinstance(task, Task)
    assert task.attempt == slot.attempt


def be_nice() -> None:
    os.nice(1)


def be_less_important() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + 1)


@pytest.mark.parametrize("func", [be_nice, be_less_important], ids=lambda func: func.__name__)
def test_what_cannot_be_put_back_makes_a_slot_worn(
    tmp_path: Path, func: Callable[[], None]
) -> None:
    async def scene(slot: SlotEnd) -> None:
        assert isinstance(await slot.tell(_by_value(func)), Returned)
        worn = await slot.report()
        assert isinstance(worn, Worn)
        assert "cannot be undone" in worn.why
        await does_nothing_more(slot)

    with_slot(tmp_path, scene, is_worn=True)


def test_a_limit_that_was_lowered_is_raised_again(tmp_path: Path) -> None:
    def lower() -> int:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft // 2, hard))
        return soft

    def now() -> int:
        import resource

        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    async def scene(slot: SlotEnd) -> None:
        assert await slot.value(lower) == await slot.value(now)

    with_slot(tmp_path, scene)


def test_a_thread_that_is_left_running_is_told_in_the_log(tmp_path: Path) -> None:
    def leave_thread() -> None:
        import threading
        import time

        threading.Thread(target=time.sleep, args=(600,), name="sleeper", daemon=True).start()

    async def scene(slot: SlotEnd) -> None:
        await slot.value(leave_thread)
        assert "left threads running: sleeper" in slot.err.read_text()

    with_slot(tmp_path, scene)


def test_a_slot_that_has_grown_is_worn(tmp_path: Path) -> None:
    def grow() -> None:
        import builtins
        import time

        builtins.hoard = bytearray(b"x") * (40 << 20)  # type: ignore[attr-defined]
        time.sleep(0.3)

    async def scene(slot: SlotEnd) -> None:
        report = await slot.tell(grow)
        assert isinstance(report, Returned)
        assert report.memory_bytes > 40 << 20
        worn = await slot.report()
        assert isinstance(worn, Worn)
        assert "MiB" in worn.why

    with_slot(tmp_path, scene, is_worn=True, recycle_bytes=20 << 20)


def test_a_slot_that_runs_out_of_descriptors_is_worn(tmp_path: Path) -> None:
    def leak() -> None:
        import time

        soft = __import__("resource").getrlimit(7)[0]
        for _ in range(min(soft, 4096) // 2):
            os.open("/dev/null", os.O_RDONLY)
        time.sleep(0.3)

    async def scene(slot: SlotEnd) -> None:
        await slot.value(leak)
        worn = await slot.report()
        assert isinstance(worn, Worn)
        assert "descriptors" in worn.why

    run_limited(tmp_path, scene)


def run_limited(tmp_path: Path, scene: Callable[[SlotEnd], Awaitable[None]]) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    try:
        with_slot(tmp_path, scene, is_worn=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- forks -------------------------------------------------------------------------------------


def test_a_child_that_returns_from_the_task_does_not_speak_as_the_slot(tmp_path: Path) -> None:
    def fork() -> str:
        return "child" if os.fork() == 0 else "parent"

    def fork_and_wait() -> int:
        pid = os.fork()
        if pid == 0:
            raise ValueError("in the child")
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    async def scene(slot: SlotEnd) -> None:
        assert await slot.value(fork) == "parent"
        assert await slot.value(fork_and_wait) == 1
        assert "in the child" in slot.err.read_text()
        assert slot.reports.empty()

    with_slot(tmp_path, scene)


def test_a_task_can_use_multiprocessing(tmp_path: Path) -> None:
    def pool() -> list[int]:
        import multiprocessing

        context = multiprocessing.get_context("fork")
        with context.Pool(2) as pool:
            squares = pool.map(abs, [-1, -2, -3])
        sleeper = context.Process(target=__import__("time").sleep, args=(600,))
        sleeper.start()
        sleeper.terminate()
        sleeper.join(5)
        assert sleeper.exitcode == -15
        return squares

    async def scene(slot: SlotEnd) -> None:
        assert await slot.value(pool) == [1, 2, 3]

    with_slot(tmp_path, scene)


def test_what_a_task_starts_has_none_of_our_descriptors(tmp_path: Path) -> None:
    def list_fds() -> list[str]:
        import subprocess

        return subprocess.check_output(
            ["sh", "-c", "ls /proc/self/fd"], text=True, close_fds=False
        ).split()

    def own_fds() -> list[int]:
        return sorted(map(int, os.listdir("/proc/self/fd")))

    async def scene(slot: SlotEnd) -> None:
        assert [int(fd) for fd in await slot.value(list_fds)] <= [0, 1, 2, 3, 4]
        fds = await slot.value(own_fds)
        # One is that of the listing, one may be that of the page.
        assert [fd for fd in fds if fd < 700] <= [0, 1, 2, 3, 4]

    with_slot(tmp_path, scene)


# --- output ------------------------------------------------------------------------------------


def test_much_output_is_counted_and_blocks_nobody(tmp_path: Path) -> None:
    def shout() -> None:
        for _ in range(10_000):
            print("x" * 999)
        os.write(2, b"direct\n")

    async def scene(slot: SlotEnd) -> None:
        report = await slot.tell(shout)
        assert report.printed == (10_000_000, 7)
        assert slot.out.stat().st_size == 10_000_000
        assert (await slot.tell(print, "more")).printed == (5, 0)

    with_slot(tmp_path, scene)


def test_what_was_not_flushed_belongs_to_its_task(tmp_path: Path) -> None:
    def mumble() -> None:
        print("no newline", end="")

    async def scene(slot: SlotEnd) -> None:
        assert (await slot.tell(mumble)).printed == (10, 0)
        assert slot.printed() == "no newline"

    with_slot(tmp_path, scene)


# --- surroundings ------------------------------------------------------------------------------


def test_tasks_run_in_the_world_of_their_client(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def answer():\n    return 42\n")
    world = World((str(tmp_path),), str(tmp_path), 0o027, str(tmp_path / "program.py"))

    def ask() -> Any:
        import beside  # type: ignore[import-not-found]

        main = __import__("__main__").__file__
        umask = os.umask(0)
        return beside.answer(), os.getcwd(), umask, main, sys.argv

    async def scene(slot: SlotEnd) -> None:
        found = await slot.value(ask, world=msgspec.msgpack.encode(world))
        main = str(tmp_path / "program.py")
        assert found == (42, str(tmp_path), 0o027, main, [main])
        found = await slot.value(lambda: (os.getcwd(), os.umask(0)))
        assert found == (str(tmp_path), 0o027)

    with_slot(tmp_path, scene)


def test_a_world_that_is_not_there_is_told_in_the_log(tmp_path: Path) -> None:
    world = World((), "/no/such/place", 0o022)

    async def scene(slot: SlotEnd) -> None:
        assert await slot.value(abs, -1, world=msgspec.msgpack.encode(world)) == 1
        assert "/no/such/place" in slot.err.read_text()

    with_slot(tmp_path, scene)


def test_a_slot_knows_its_place(tmp_path: Path) -> None:
    def variables() -> dict[str, str]:
        return dict(os.environ)

    async def scene(it: Agent) -> None:
        slots = [await it.slot(), await it.slot()]
        found = [await slot.value(variables) for slot in slots]
        assert [each["TREADLE_WORKER_RANK"] for each in found] == ["0", "1"]
        assert [each["CUDA_VISIBLE_DEVICES"] for each in found] == ["4", "5"]
        assert [each["OMP_NUM_THREADS"] for each in found] == ["3", "3"]
        assert [each["ROCR_VISIBLE_DEVICES"] for each in found] == ["mine", "mine"]
        assert found[0]["PARSL_WORKER_BLOCK_ID"] == "9"
        kill(slots[0].pid)
        await slots[0].end()
        again = await it.slot()
        assert (await again.value(variables))["TREADLE_WORKER_RANK"] == "0"

    run(
        tmp_path,
        scene,
        accelerators=("4", "5"),
        threads_per_slot=3,
        block="9",
        environment={"ROCR_VISIBLE_DEVICES": "mine"},
    )


def test_a_slot_is_bound_to_its_cores(tmp_path: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("there is one core only")

    async def scene(it: Agent) -> None:
        slots = [await it.slot(), await it.slot()]
        found = [sorted(await slot.value(os.sched_getaffinity, 0)) for slot in slots]
        assert found == [[cores[1]], [cores[0]]]

    run(tmp_path, scene, cpu_affinity=f"list:{cores[1]}:{cores[0]}")


def test_slots_are_the_first_to_go_when_memory_runs_out(tmp_path: Path) -> None:
    async def scene(slot: SlotEnd) -> None:
        score = await slot.value(lambda: Path("/proc/self/oom_score_adj").read_text())
        assert int(score) == 500

    with_slot(tmp_path, scene)


# --- preload -----------------------------------------------------------------------------------


def preload(tmp_path: Path, text: str) -> dict[str, Any]:
    (tmp_path / "preloaded.py").write_text(textwrap.dedent(text))
    return {"preload": ("preloaded",), "environment": {"PYTHONPATH": str(tmp_path)}}


def has_preloaded() -> Any:
    import os
    import sys

    return getattr(sys.modules.get("preloaded"), "PID", None), os.getppid(), os.getpid()


def test_slots_have_what_was_preloaded(tmp_path: Path) -> None:
    async def scene(it: Agent) -> None:
        slot = await it.slot()
        imported_in, parent, _ = await slot.value(_by_value(has_preloaded))
        assert imported_in == parent == it.zygote.pid

    run(tmp_path, scene, **preload(tmp_path, "import os\nPID = os.getpid()\n"))


def test_a_preload_that_fails_is_a_warning(tmp_path: Path) -> None:
    async def scene(it: Agent) -> None:
        slot, second = await it.slot(), await it.slot()
        assert "the preload of 'preloaded' failed (ValueError: no)" in slot.warning  # type: ignore[attr-defined]
        assert second.warning == ""  # type: ignore[attr-defined]
        assert await slot.is_well()

    run(tmp_path, scene, **preload(tmp_path, "raise ValueError('no')"))


def test_a_preload_that_leaves_a_thread_makes_slots_start_by_themselves(tmp_path: Path) -> None:
    text = """
        import os, threading, time
        PID = os.getpid()
        threading.Thread(target=time.sleep, args=(600,), name="busy", daemon=True).start()
    """

    async def scene(it: Agent) -> None:
        slot = await it.slot()
        assert "threads running (busy)" in slot.warning  # type: ignore[attr-defined]
        imported_in, parent, own = await slot.value(_by_value(has_preloaded))
        assert parent == it.zygote.pid
        assert imported_in == own
        kill(slot.pid)
        assert await slot.end() == -signal.SIGKILL
        other = await it.slot()
        kill(it.zygote.pid)
        await wait_gone(other.pid)

    run(tmp_path, scene, **preload(tmp_path, text))


def test_slots_do_not_draw_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("numpy")

    def draw() -> Any:
        import random

        import numpy

        return random.random(), float(numpy.random.random())

    async def scene(it: Agent) -> None:
        slots = [await it.slot(), await it.slot()]
        one, two = [await slot.value(draw) for slot in slots]
        assert one[0] != two[0]
        assert one[1] != two[1]

    run(tmp_path, scene, preload=("numpy",))


def test_a_slot_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    async def scene(it: Agent) -> None:
        slot = it.fork()
        assert await slot.end() == 71
        assert "cpu_affinity" in slot.err.read_text()

    run(tmp_path, scene, cpu_affinity="list:0:1:2")


# --- what is fed ahead -------------------------------------------------------------------------


def wait_for(path: str) -> None:
    import time

    while not os.path.exists(path):
        time.sleep(0.001)


def test_a_task_that_is_taken_back_does_not_run(tmp_path: Path) -> None:
    async def scene(slot: SlotEnd) -> None:
        slot.put(_by_value(wait_for), str(tmp_path / "go"))
        await slot.begun(1)
        slot.put(abs, -1)
        slot.put(abs, -2)
        taken = [decode_for_slot(slot.feed_out.recv(1 << 20)) for _ in range(2)]
        assert [task.attempt for task in taken if isinstance(task, Task)] == [2, 3]
        (tmp_path / "go").touch()
        report = await slot.report()
        assert isinstance(report, Returned)
        assert report.attempt == 1
        assert slot.reports.empty()

    with_slot(tmp_path, scene)


def test_outcomes_are_seen_though_the_next_task_blocks(tmp_path: Path) -> None:
    async def scene(slot: SlotEnd) -> None:
        for _ in range(10):
            slot.put(abs, -1)
        slot.put(_by_value(wait_for), str(tmp_path / "go"))
        seen: list[Any] = []
        deadline = asyncio.get_running_loop().time() + 10
        while len(seen) < 10 and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
            while not slot.reports.empty():
                seen.append(slot.reports.get_nowait())
            seen += slot.listener.look()
        assert [report.attempt for report in seen] == list(range(1, 11))
        (tmp_path / "go").touch()
        last = await slot.report()
        assert isinstance(last, Returned)
        assert last.attempt == 11

    with_slot(tmp_path, scene)
