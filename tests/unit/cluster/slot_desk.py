"""A slot's loop without a process of its own: packets are laid out before it, and read after it."""

from __future__ import annotations

import io
import os
import pickle
import socket
from collections.abc import Callable, Sequence
from typing import Any

from treadle.cluster._packets import Big, Bye, FromSlot, Ready, Task, decode_from_slot, encode
from treadle.cluster._slot import Slot
from treadle.cluster._slot_channel import Channel, read_memory
from treadle.cluster._slot_memory import Memory
from treadle.cluster._slot_page import Listener, Page, make_page
from treadle.serialize import CallSpec, encode_spec
from treadle.store.mapping import Mapper
from treadle.wire import Spot, TaskId

DIGEST = b"d" * 16


class Calm:
    """Surroundings that nothing happens to."""

    def __init__(self) -> None:
        self.touched = False
        self.given_up = False
        self.printed = (0, 0)
        self.ends: list[Callable[[], None]] = []
        self.mended: list[int] = []
        self.error: BaseException | None = None

    def enter(self, world: object) -> None:
        self.world = world

    def give_up(self) -> None:
        self.given_up = True

    def at_end(self, fn: Callable[[], None], *, of_actors: bool = False) -> None:
        self.ends.append(fn)

    def is_touched(self) -> bool:
        return self.touched or bool(self.ends)

    def mend(self, spent_ns: int) -> tuple[int, int]:
        self.mended.append(spent_ns)
        while self.ends:
            self.ends.pop()()
        if self.error is not None:
            raise self.error
        return self.printed


class Desk:
    """The agent's ends, and a slot that serves in the caller's thread."""

    def __init__(self) -> None:
        self.feed_in, feed = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.talk, talk = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        page = make_page()
        self.page = Page(page)
        self.listener = Listener(page)
        os.close(page)
        self.channel = Channel(feed.detach(), talk.detach(), self.page)
        self.surroundings = Calm()
        self.slot = Slot(self.channel, Memory(1 << 40), Mapper())
        self.slot.surroundings = self.surroundings  # type: ignore[assignment]
        self.talk.setblocking(False)
        #: How many reports came in each packet.
        self.packets: list[int] = []

    def close(self) -> None:
        self.channel.close()
        self.feed_in.close()
        self.talk.close()

    def lay(self, *tasks: Task) -> None:
        for task in tasks:
            self.feed_in.send(encode(task))

    def serve(self, *tasks: Task) -> list[Any]:
        """What the slot says of these tasks."""
        self.lay(*tasks)
        self.feed_in.send(encode(Bye()))
        self.slot.serve(os.getpid())
        return self.heard()

    def heard(self) -> list[FromSlot]:
        reports: list[FromSlot] = []
        while True:
            try:
                packet, fds, _, _ = socket.recv_fds(self.talk, 1 << 20, 4)
            except BlockingIOError:
                return [report for report in reports if not isinstance(report, Ready)]
            if fds:
                [box] = decode_from_slot(packet)
                assert isinstance(box, Big)
                packet = read_memory(fds[0], box.nbytes)
                os.close(fds[0])
            new = self.listener.hear(packet)
            self.packets.append(len(new))
            reports += new


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.id if isinstance(obj, Ref) else None


class Ref:
    """Stands for the result of a task in the arguments of another."""

    def __init__(self, id: TaskId) -> None:
        self.id = id


def dumps(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, 5).dump(value)
    return buffer.getvalue()


def call(
    func: Callable[..., Any],
    *args: Any,
    id: TaskId = 7,
    attempt: int = 1,
    writable: bool = False,
    **options: Any,
) -> Task:
    """A task with its function in the payload."""
    return Task(
        id, attempt, encode_spec(CallSpec(b"", dumps((func, args, {})), "", writable)), **options
    )


def coded(
    *args: Any, id: TaskId = 7, attempt: int = 1, writable: bool = False, **options: Any
) -> Task:
    """A task that names its function by `DIGEST`."""
    spec = encode_spec(CallSpec(DIGEST, dumps((args, {})), "", writable))
    return Task(id, attempt, spec, **options)


def bundle(rows: Sequence[tuple[Any, ...]], *, id: int = 100, attempt: int = 1, **o: Any) -> Task:
    """A bundle whose function is known by `DIGEST`."""
    spec = encode_spec(CallSpec(DIGEST, dumps(((), {}))))
    return Task(id, attempt, spec, rows=tuple(dumps(row) for row in rows), **o)


def memory(data: bytes) -> tuple[int, Spot]:
    """Memory of this process that holds `data`, and where it is."""
    fd = os.memfd_create("treadle-test")
    os.ftruncate(fd, len(data))
    os.pwrite(fd, data, 0)
    return fd, Spot(os.getpid(), fd, 0, len(data), os.fstat(fd).st_ino)
