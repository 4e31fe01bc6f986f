"""A node without its sockets: the scheduler's shell, the agent's, both machines and their links.

Links, shells and machines are the real ones; the transport, the loop and the slots are stand-ins,
so what is measured is the node's own code with warm caches, and no system call.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable
from typing import Any

from treadle import wire, worker
from treadle.cluster._agent import Agent
from treadle.cluster._agent_slot import SlotEnd
from treadle.cluster._link import Tally, this_party
from treadle.cluster._packets import Returned, Task, decode_for_slot, encode
from treadle.cluster._pair import pair
from treadle.cluster._server import SchedulerServer
from treadle.cluster._settings import SchedulerSettings, WorkerSettings
from treadle.cluster._stream import StreamLink
from treadle.serialize import CallSpec, encode_spec
from treadle.wire import DIGEST_BYTES, NUMBER_BITS, FrameReader, Role, decoder, frames_of

_SESSION = 5
_DIGEST = b"d" * DIGEST_BYTES
_NONE = pickle.dumps(None, 5)
_FRAME_BYTES = 1 << 26


class Loop:
    """What is called of a loop; `run` does what was put off."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    def call_soon(self, call: Callable[..., None], *args: Any) -> None:
        self._calls.append((call, args))

    def call_later(self, delay: float, call: Callable[..., None], *args: Any) -> Loop:
        return self

    def cancel(self) -> None:
        """As a timer: it never rings here."""

    def add_reader(self, *args: Any) -> None:
        """Nothing comes by a descriptor here."""

    remove_reader = add_writer = remove_writer = add_reader

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        raise context["exception"]

    def run(self) -> None:
        calls = self._calls
        while calls:
            call, args = calls.popleft()
            call(*args)


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


class Socket:
    """One end of a slot's socket, at the agent's."""

    def __init__(self) -> None:
        self.sent: deque[bytes] = deque()
        self.said: deque[bytes] = deque()

    def send(self, packet: bytes) -> None:
        self.sent.append(packet)

    def recvmsg_into(self, buffers: Any, _: int) -> tuple[int, list[Any], int, None]:
        if not self.said:
            raise BlockingIOError
        packet = self.said.popleft()
        buffers[0][: len(packet)] = packet
        return len(packet), [], 0, None

    def fileno(self) -> int:
        return -1


class Node:
    """A node with so many slots, and a client at the other end of its link."""

    def __init__(self, slots: int) -> None:
        self.loop: Any = Loop()
        self.server = SchedulerServer(
            SchedulerSettings(run="r", closed=True), loop=self.loop, crashed=_raise
        )
        self._transport: Any = Transport()
        self._link = StreamLink(
            "client/c", this_party("client", "c", "r"), same_machine=True, pid=0,
            transport=self._transport, loop=self.loop, reader=FrameReader(_FRAME_BYTES),
            decoder=decoder(Role.client, Role.scheduler), secure=None, tally=Tally(),
        )  # fmt: skip
        self._link.ear = self._attached(self._link)
        settings = WorkerSettings(id="w", slots=slots, store_bytes=1 << 30)
        self.agent = Agent(settings, run="r", loop=self.loop, epoch=1)
        here, there = pair(self.loop, "scheduler/r", "worker/w", run="r")
        here.ear = self._attached(here)
        self.agent._do[worker.StartSlot] = self._start_slot
        self.agent.tell(worker.Tick())
        self.agent.uplink.begin()
        self.agent.connect(there)
        self.loop.run()
        self._numbers = _SESSION << NUMBER_BITS
        self._spec = encode_spec(CallSpec(_DIGEST, pickle.dumps(((1,), {}), 5)))
        self._read = FrameReader(_FRAME_BYTES)
        self._decode = decoder(Role.scheduler, Role.client).decode
        self.hear_frame(wire.Attach(_SESSION, "c"), wire.Code(_DIGEST, "noop", b"x"))
        self.outcomes()

    def specs(self, count: int, *, chain: bool = False) -> list[wire.TaskSpec]:
        """New tasks; `chain`: each takes the result of the one before it."""
        first = self._numbers + 1
        self._numbers += count
        return [
            wire.TaskSpec(id, "noop", self._spec, (id - 1,) if chain and id > first else ())
            for id in range(first, first + count)
        ]

    def hear_frame(self, *messages: wire.Message) -> None:
        """The client says this."""
        for frame in frames_of(messages):
            self._link.data_received(bytes(frame))
        self.loop.run()

    def frame_heard(self, frame: bytes) -> None:
        """The client has sent this frame."""
        self._link.data_received(frame)
        self.loop.run()

    def work(self, slot: SlotEnd, most: int) -> bool:
        """A slot runs so many of the tasks it has, and tells of them; False if it has none."""
        socket: Any = slot.talk
        reports = []
        while socket.sent and len(reports) < most:
            task = decode_for_slot(socket.sent.popleft())
            assert isinstance(task, Task)
            reports.append(Returned(task.id, task.attempt, len(_NONE), "NoneType", 8e-6, 0, _NONE))
        if reports:
            socket.said.append(encode(reports))  # type: ignore[arg-type]
        return bool(reports)

    def hear_slot(self, slot: SlotEnd) -> None:
        """The agent reads what a slot has said."""
        self.agent.slots._hear(slot)
        self.loop.run()

    def outcomes(self) -> list[int]:
        """Tasks that the client was told have ended."""
        written, self._transport.written = self._transport.written, []
        frames = [frame for data in written for frame in self._read.feed(data)]
        messages: list[Any] = [m for frame in frames for m in self._decode(frame.payload)]
        return [message.id for message in messages if isinstance(message, wire.Done)]

    def _attached(self, link: Any) -> Any:
        return self.server.attach(link)

    def _start_slot(self, _: worker.StartSlot) -> None:
        slots = self.agent.slots
        slots._count += 1
        slot: Any = SlotEnd(slots._count)
        slot.open().close()
        slot.feed.close()
        slot.feed_out.close()
        slot.talk.close()
        slot.feed = slot.talk = Socket()
        slot.ready = True
        slots.ends[slot.number] = slot
        self.loop.call_soon(self.agent.tell, worker.SlotUp(slot.number))


def _raise(error: BaseException) -> None:
    raise error
