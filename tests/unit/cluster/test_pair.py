"""Links within a process: the same manners as those over sockets, without the bytes."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.unit.cluster.link_world import RUN, Listening, run_on, until
from treadle.cluster._link import Link
from treadle.cluster._pair import pair
from treadle.errors import InternalError, WireError
from treadle.wire import Beaten, Code, Depart, Drain, Holding, Message, chunks

pytestmark = pytest.mark.parametrize("kind", ["uvloop", "asyncio"])


def ends(*, checked: bool = False) -> tuple[Link, Link, Listening, Listening]:
    loop = asyncio.get_running_loop()
    to_worker, to_scheduler = pair(loop, f"scheduler/{RUN}", "worker/w", run=RUN, checked=checked)
    ears = Listening(), Listening()
    to_worker.ear, to_scheduler.ear = ears
    return to_worker, to_scheduler, *ears


def test_each_end_knows_the_other(kind):
    async def main() -> None:
        to_worker, to_scheduler, _, _ = ends()
        assert (to_worker.peer, to_scheduler.peer) == ("worker/w", f"scheduler/{RUN}")
        assert (to_worker.party.role, to_worker.party.id, to_worker.party.run) == (
            "worker",
            "w",
            RUN,
        )
        assert to_worker.same_machine
        assert to_worker.pid == to_scheduler.pid == os.getpid()
        assert (to_worker.backlog, to_worker.closed) == (0, False)

    run_on(kind, main())


def test_messages_arrive_as_they_are_together_and_not_from_within_the_call(kind):
    async def main() -> None:
        to_worker, _, _, worker_ear = ends()
        message = Drain()
        to_worker.send([message])
        to_worker.send([Depart()])
        assert worker_ear.frames == []
        await asyncio.sleep(0)
        assert worker_ear.frames == [[message, Depart()]]
        assert worker_ear.frames[0][0] is message

    run_on(kind, main())


def test_an_answer_of_an_answer_comes_in_the_same_turn(kind):
    class Answering(Listening):
        def __init__(self) -> None:
            super().__init__()
            self.depth = 0

        def heard(self, link: Link, messages: list[Message]) -> None:
            assert self.depth == 0, "called back from within its own call"
            self.depth += 1
            super().heard(link, messages)
            if len(self.frames) < 10:
                link.send(messages)
            self.depth -= 1

    async def main() -> None:
        to_worker, to_scheduler, *_ = ends()
        one, other = Answering(), Answering()
        to_worker.ear, to_scheduler.ear = one, other
        to_worker.send([Drain()])
        await asyncio.sleep(0)
        assert len(one.frames) + len(other.frames) == 19

    run_on(kind, main())


def test_two_that_never_stop_talking_do_not_keep_the_loop_from_others(kind):
    class Endless(Listening):
        def heard(self, link: Link, messages: list[Message]) -> None:
            link.send(messages)

    async def main() -> None:
        to_worker, to_scheduler, *_ = ends()
        to_worker.ear = to_scheduler.ear = Endless()
        to_worker.send([Drain()])
        await asyncio.sleep(0.01)
        to_worker.close()
        await asyncio.sleep(0)

    run_on(kind, main())


def test_what_is_sent_before_anybody_listens_is_kept(kind):
    async def main() -> None:
        loop = asyncio.get_running_loop()
        to_worker, to_scheduler = pair(loop, f"scheduler/{RUN}", "worker/w")
        gone: list[int] = []
        to_worker.send([Drain()])
        to_worker.send_chunks(chunks(1, 0, memoryview(b"abc")), lambda: gone.append(1))
        await asyncio.sleep(0)
        to_scheduler.ear = ear = Listening()
        await until(lambda: gone)
        assert ear.messages == [Drain()]
        assert ear.pieces == [(1, 0, 0, b"abc")]

    run_on(kind, main())


def test_an_object_comes_behind_what_was_said_before_it(kind):
    class InOrder(Listening):
        def chunk(self, link, chunk):
            assert self.messages == [Drain()]
            super().chunk(link, chunk)

    async def main() -> None:
        to_worker, to_scheduler, *_ = ends()
        to_scheduler.ear = ear = InOrder()
        gone: list[str] = []
        data = os.urandom(3_000_000)
        to_worker.send([Drain()])
        to_worker.send_chunks(chunks(1, 0, memoryview(data)), lambda: gone.append("one"))
        to_worker.send_chunks(iter(()), lambda: gone.append("other"))
        await until(lambda: len(gone) == 2)
        assert gone == ["one", "other"]
        assert b"".join(piece[3] for piece in ear.pieces) == data

    run_on(kind, main())


def test_an_object_waits_for_what_was_said_before_it_though_another_is_under_way(kind):
    seen: list[object] = []

    class Noting(Listening):
        def heard(self, link, messages):
            seen.extend(messages)

        def chunk(self, link, chunk):
            seen.append(chunk.ask)

    async def main() -> None:
        to_worker, to_scheduler, *_ = ends()
        to_scheduler.ear = Noting()
        to_worker.send_chunks(chunks(1, 0, memoryview(b"abc")), lambda: None)
        to_worker.send([Drain()])
        to_worker.send_chunks(chunks(2, 0, memoryview(b"abc")), lambda: None)
        await until(lambda: len(seen) == 3)
        assert seen.index(Drain()) < seen.index(2)

    run_on(kind, main())


def test_a_close_is_told_to_both_once_and_behind_what_was_sent(kind):
    async def main() -> None:
        to_worker, to_scheduler, scheduler_ear, worker_ear = ends()
        gone: list[int] = []
        to_scheduler.send([Beaten(0)])
        to_worker.send([Drain()])
        to_worker.send_chunks(chunks(1, 0, memoryview(b"abc")), lambda: gone.append(1))
        to_worker.close("enough")
        to_worker.close("twice")
        to_scheduler.close("thrice")
        assert scheduler_ear.ends == worker_ear.ends == []
        to_worker.send([Drain()])
        to_scheduler.send([Drain()])
        await until(lambda: scheduler_ear.ends and worker_ear.ends)
        assert scheduler_ear.ends == ["enough"]
        assert worker_ear.ends == ["the other side has closed the link"]
        assert worker_ear.messages == [Drain()]
        assert scheduler_ear.messages == []  # nothing is heard after one's own close
        assert gone == [1]
        to_worker.send_chunks(iter(()), lambda: gone.append(2))
        await until(lambda: gone == [1, 2])

    run_on(kind, main())


def test_a_fault_of_an_ear_ends_the_link(kind):
    class Faulty(Listening):
        def heard(self, link, messages):
            raise InternalError("a bug")

    async def main() -> None:
        to_worker, to_scheduler, scheduler_ear, _ = ends()
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: faults.append(context["exception"])
        )
        to_scheduler.ear = ear = Faulty()
        to_worker.send([Drain()])
        await until(lambda: ear.ends and scheduler_ear.ends)
        assert "a bug" in ear.ends[0]
        assert len(faults) == 1

    run_on(kind, main())


def test_with_a_check_what_a_socket_would_refuse_is_refused(kind):
    async def main() -> None:
        to_worker, to_scheduler, _, worker_ear = ends(checked=True)
        with pytest.raises(WireError, match="unknown kind|not"):
            to_scheduler.send([Drain()])  # only a scheduler may say it
        with pytest.raises(WireError, match="Unicode"):
            to_worker.send([Code(b"", "\ud800", b"")])
        to_worker.send([Drain()])
        to_scheduler.send([Holding(())])
        await until(lambda: worker_ear.messages == [Drain()])

    run_on(kind, main())
