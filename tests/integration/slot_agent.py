"""A small agent for tests: a real zygote, real slots, and nobody above them."""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cloudpickle

from treadle.cluster._failures import error_of
from treadle.cluster._packets import (
    BLAME_ATTEMPT,
    Asked,
    Big,
    FromSlot,
    Granted,
    Raised,
    Ready,
    Returned,
    Task,
    decode_from_slot,
    encode,
)
from treadle.cluster._settings import WorkerSettings
from treadle.cluster._slot_channel import read_memory
from treadle.cluster._slot_page import Listener, make_page
from treadle.cluster._zygote_link import Zygote
from treadle.cluster._zygote_packets import SlotFds
from treadle.serialize import CallSpec, encode_spec, unpack
from treadle.wire import Spot

PATIENCE_S = 10.0


class SlotEnd:
    """The agent's end of a slot."""

    def __init__(self, agent: Agent, number: int) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.pid = 0
        self.reports: asyncio.Queue[FromSlot | None] = asyncio.Queue()
        self.ended: asyncio.Future[tuple[int, bool]] = loop.create_future()
        self.blame = make_page()
        self.listener = Listener(self.blame)
        self.granted: dict[int, int] = {}
        self.attempt = 0
        self._agent = agent
        self._loop = loop
        self.feed, feed = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.talk, talk = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.out, self.err = (agent.log_dir / f"slot-{number}.{end}" for end in ("out", "err"))
        files = [
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for path in (self.out, self.err)
        ]
        agent.zygote.fork(number, SlotFds(feed.fileno(), talk.fileno(), self.blame, *files))
        #: The agent reads from here what it wants back.
        self.feed_out = feed
        talk.close()
        for file in files:
            os.close(file)
        self.talk.setblocking(False)
        loop.add_reader(self.talk.fileno(), self._hear)

    def _hear(self) -> None:
        try:
            packet, fds, _, _ = socket.recv_fds(self.talk, 1 << 20, 4)
        except OSError:
            packet, fds = b"", []
        if not packet:
            self._loop.remove_reader(self.talk.fileno())
            return self.reports.put_nowait(None)
        if fds:
            [box] = decode_from_slot(packet)
            assert isinstance(box, Big)
            packet = read_memory(fds[0], box.nbytes)
            os.close(fds[0])
        for report in self.listener.hear(packet):
            if isinstance(report, Asked):
                self._grant(report)
            else:
                self.reports.put_nowait(report)
        return None

    def _grant(self, asked: Asked) -> None:
        fd = os.memfd_create("treadle-test")
        os.ftruncate(fd, asked.nbytes)
        self.granted[asked.attempt] = fd
        spot = Spot(os.getpid(), fd, 0, asked.nbytes, os.fstat(fd).st_ino)
        self.talk.send(encode(Granted(asked.attempt, spot)))

    def accused(self) -> int:
        with mmap.mmap(self.blame, 64, mmap.MAP_SHARED, mmap.PROT_READ) as page:
            return int.from_bytes(page[8 * BLAME_ATTEMPT : 8 * BLAME_ATTEMPT + 8], "little")

    async def begun(self, attempt: int) -> None:
        """Wait until it runs this attempt."""
        deadline = self._loop.time() + PATIENCE_S
        while self.accused() != attempt:
            assert self._loop.time() < deadline, "it has not begun"
            await asyncio.sleep(0.001)

    def put(self, func: Callable[..., Any] | str, *args: Any, **options: Any) -> None:
        """Feed a call."""
        self.attempt += 1
        spec = CallSpec(b"", cloudpickle.dumps((func, args, {})))
        self.feed.send(encode(Task(100 + self.attempt, self.attempt, encode_spec(spec), **options)))

    async def report(self) -> FromSlot | None:
        """The next thing that it says; None if it will say nothing more."""
        return await asyncio.wait_for(self.reports.get(), PATIENCE_S)

    async def tell(self, func: Callable[..., Any] | str, *args: Any, **options: Any) -> Any:
        """What it says of a call."""
        self.put(func, *args, **options)
        return await self.report()

    async def value(self, func: Callable[..., Any] | str, *args: Any, **options: Any) -> Any:
        """The result of a call."""
        report = await self.tell(func, *args, **options)
        if isinstance(report, Raised):
            raise error_of(report.failure, "task")
        assert isinstance(report, Returned), report
        if report.data is not None:
            return unpack(report.data, writable=False)
        fd = self.granted.pop(report.attempt)
        data = os.pread(fd, report.nbytes, 0)
        os.close(fd)
        return unpack(data, writable=False)

    async def error(self, func: Callable[..., Any], *args: Any) -> BaseException:
        """What a call raises."""
        report = await self.tell(func, *args)
        assert isinstance(report, Raised), report
        return error_of(report.failure, "task")

    async def end(self) -> int:
        """Its exit code."""
        code, _ = await asyncio.wait_for(asyncio.shield(self.ended), PATIENCE_S)
        return code

    async def is_well(self) -> bool:
        """Whether it still runs tasks."""
        return await self.value(abs, -3) == 3

    def printed(self) -> str:
        return self.out.read_text()

    def close(self) -> None:
        self._loop.remove_reader(self.talk.fileno())
        self.feed.close()
        self.feed_out.close()
        self.talk.close()
        self.listener.close()
        os.close(self.blame)
        for fd in self.granted.values():
            os.close(fd)


class Agent:
    """Who starts them."""

    def __init__(self, log_dir: Path, **settings: Any) -> None:
        self.log_dir = log_dir
        self.loop = asyncio.get_running_loop()
        self.slots: dict[int, SlotEnd] = {}
        self.lost: asyncio.Future[int] = self.loop.create_future()
        self.settings = WorkerSettings(
            id="w1", slots=settings.pop("slots", 2), log_dir=str(log_dir), **settings
        )
        self.zygote = self.start_zygote()

    def start_zygote(self) -> Zygote:
        return Zygote(
            self.settings,
            self.loop,
            on_started=self._on_started,
            on_ended=self._on_ended,
            on_lost=self.lost.set_result,
        )

    def _on_started(self, number: int, pid: int) -> None:
        self.slots[number].pid = pid

    def _on_ended(self, number: int, pid: int, exit_code: int, ours: bool) -> None:
        self.slots[number].ended.set_result((exit_code, ours))

    def fork(self) -> SlotEnd:
        number = len(self.slots) + 1
        end = self.slots[number] = SlotEnd(self, number)
        return end

    async def slot(self) -> SlotEnd:
        """A slot that is ready."""
        end = self.fork()
        ready = await end.report()
        assert isinstance(ready, Ready), ready
        end.warning = ready.warning  # type: ignore[attr-defined]
        return end

    def zygote_log(self) -> str:
        return (self.log_dir / "zygote.log").read_text()

    def close(self) -> None:
        self.zygote.close()
        for end in self.slots.values():
            end.close()


@asynccontextmanager
async def agent(log_dir: Path, **settings: Any) -> AsyncIterator[Agent]:
    """An agent whose zygote is started."""
    it = Agent(log_dir, **settings)
    try:
        yield it
    finally:
        it.close()


def is_gone(pid: int) -> bool:
    """Whether a process has ended (what waits for its parent to take notice has)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] in "ZX"


async def wait_gone(*pids: int) -> None:
    """Wait until these processes have ended."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while left := [pid for pid in pids if not is_gone(pid)]:
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"these live on: {left}")
        await asyncio.sleep(0.01)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
