"""A scheduler's shell without sockets: links that are lists, a clock that is told, a loop of calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from treadle import wire
from treadle.cluster._server import SchedulerServer
from treadle.cluster._server_peers import Peer
from treadle.cluster._settings import SchedulerSettings
from treadle.serialize import CallSpec, encode_spec
from treadle.wire import Party, TaskSpec, task_id

DIGEST = bytes(range(16))


class Timer:
    """A call that is due at some time."""

    def __init__(self, at: float, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.at = at
        self.call = call
        self.args = args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """What the server uses of a loop, in time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []
        self.readers: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = {}

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[..., None], *args: Any) -> Timer:
        timer = Timer(self.now + delay, call, args)
        self.timers.append(timer)
        return timer

    def call_soon(self, call: Callable[..., None], *args: Any) -> Timer:
        return self.call_later(0.0, call, *args)

    def run_in_executor(self, _: None, call: Callable[..., Any], *args: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(call(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def add_reader(self, descriptor: int, call: Callable[..., None], *args: Any) -> None:
        self.readers[descriptor] = (call, args)

    def remove_reader(self, descriptor: int) -> None:
        self.readers.pop(descriptor, None)

    def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.now + seconds
        while due := [t for t in self.timers if not t.cancelled and t.at <= end]:
            timer = min(due, key=lambda t: t.at)
            self.timers.remove(timer)
            self.now = max(self.now, timer.at)
            timer.call(*timer.args)
        self.now = end


class FakeLink:
    """A link whose other side is the test."""

    def __init__(self, peer: str, *, same_machine: bool = False, pid: int = 0) -> None:
        self.peer = peer
        role, _, id = peer.partition("/")
        self.party = Party(role, id, "run", "0", (3, 11))
        self.same_machine = same_machine
        self.pid = pid
        self.said: list[wire.Message] = []
        self.backlog = 0
        self.closed: str | None = None
        self.waiting: list[Callable[[], None]] = []
        self.ear: Any = None

    def send(self, messages: Sequence[wire.Message]) -> None:
        if self.closed is None:
            self.said += messages

    def send_chunks(self, frames: Iterator[Any], then: Callable[[], None]) -> None:
        assert list(frames) == []
        self.waiting.append(then)

    def close(self, why: str = "") -> None:
        self.closed = why

    # --- the test's side ---------------------------------------------------------------------

    def say(self, *messages: wire.Message) -> list[wire.Message]:
        """The peer sends a frame; what it is answered on this link."""
        before = len(self.said)
        self.ear.heard(self, list(messages))
        return self.said[before:]

    def lose(self, why: str = "the end") -> None:
        self.closed = why
        self.ear.lost(self, why)

    def drain(self) -> None:
        """The other side reads all."""
        self.backlog = 0
        waiting, self.waiting = self.waiting, []
        for then in waiting:
            then()

    def heard(self, kind: type) -> list[Any]:
        """What it was told of one kind."""
        return [message for message in self.said if type(message) is kind]


class ServerWorld:
    """A server, and peers as a test needs them."""

    def __init__(self, **settings: Any) -> None:
        self.loop = Loop()
        self.crashes: list[BaseException] = []
        self.server = SchedulerServer(
            SchedulerSettings(run="run", run_dir="", validate=True, **settings),
            loop=self.loop,  # type: ignore[arg-type]
            crashed=self.crashes.append,
            clock=self.loop.time,
        )

    def link(self, peer: str, *, same_machine: bool = False, pid: int = 0) -> FakeLink:
        """A link whose handshake has ended."""
        link = FakeLink(peer, same_machine=same_machine, pid=pid)
        ear = self.server.attach(link)
        assert isinstance(ear, Peer)
        link.ear = ear
        return link

    def client(
        self, name: str = "c", session: int = 1, *, same_machine: bool = True, pid: int = 0
    ) -> FakeLink:
        """A client that has attached."""
        link = self.link(f"client/{name}", same_machine=same_machine, pid=pid)
        link.say(wire.Attach(session, name))
        return link

    def worker(
        self, id: str = "w", *, epoch: int = 1, slots: int = 1, number: int = 1, pid: int = 0
    ) -> FakeLink:
        """A worker that has registered."""
        link = self.link(f"worker/{id}", pid=pid)
        link.say(registration(id, epoch=epoch, slots=slots, number=number))
        return link


def registration(
    id: str = "w", *, epoch: int = 1, slots: int = 1, number: int = 1
) -> wire.Register:
    """What a worker says first."""
    address = f"unix:/{id}"
    return wire.Register(id, epoch, "host", slots, number=number, addresses=(address,))


def spec(digest: bytes = DIGEST, payload: bytes = b"call") -> bytes:
    """A call of the function with this digest."""
    return encode_spec(CallSpec(digest, payload))


def submit(*numbers: int, session: int = 1, digest: bytes = DIGEST) -> wire.Submit:
    """Tasks of a session that call one function."""
    tasks = [TaskSpec(task_id(session, n), "f", spec(digest)) for n in numbers]
    return wire.Submit(tuple(tasks))


def finished(run: wire.Run, inline: bytes | None = b"4") -> wire.Finished:
    """A good end of an attempt."""
    return wire.Finished(run.id, run.attempt, 1, "int", 0.001, inline=inline)
