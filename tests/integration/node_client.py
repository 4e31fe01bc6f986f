"""A client of a node, over a bare link: what the user's process does, without its rooms."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import psutil

from treadle import wire
from treadle.cluster._dial import adopt, dial
from treadle.cluster._link import this_party
from treadle.cluster._settings import NodeSettings, SchedulerSettings, WorkerSettings
from treadle.cluster._spawn import NodeProcess, spawn_node
from treadle.serialize import CallSpec, encode_spec
from treadle.wire import TaskSpec, task_id

RUN = "a-run"
SESSION = 7


class Ref:
    """The result of another task, as an argument."""

    def __init__(self, number: int) -> None:
        self.number = number


class _Pickler(cloudpickle.Pickler):
    def persistent_id(self, value: object) -> int | None:
        return task_id(SESSION, value.number) if isinstance(value, Ref) else None


def settings(
    folder: Path, *, slots: int = 2, worker: bool = True, **scheduler: Any
) -> NodeSettings:
    """A node that keeps its log, and the output of tasks, in this folder."""
    given = {"run": RUN, "log_dir": str(folder), "validate": True, **scheduler}
    return NodeSettings(
        scheduler=SchedulerSettings(**given),
        worker=WorkerSettings(id="w", slots=slots, log_dir=str(folder)) if worker else None,
        owner="owner",
    )


class NodeClient:
    """A client, and the loop that it lives on; messages are read while it waits."""

    def __init__(self, name: str = "owner", session: int = SESSION) -> None:
        self.loop = asyncio.new_event_loop()
        self.name = name
        self.session = session
        self.link: Any = None
        self.node: NodeProcess | None = None
        self.inbox: list[wire.Message] = []
        self.lost_why: str | None = None
        self._news = asyncio.Event()
        self._numbers = 0

    # --- links -------------------------------------------------------------------------------

    def spawn(self, settings: NodeSettings) -> NodeClient:
        """Start a node, and attach."""
        self.node = spawn_node(settings)
        me = this_party("client", self.name, RUN)
        self.link = self.do(
            self._adopted(self.node.sock, me=me, opens=True, expect=f"scheduler/{RUN}")
        )
        return self.attach()

    def dial(self, addresses: Any, identity: Any = None) -> NodeClient:
        """Reach a scheduler at these addresses, and attach."""
        me = this_party("client", self.name, RUN)
        expect = f"scheduler/{RUN}"
        self.link = self.do(dial(addresses, me=me, expect=expect, ear=self, identity=identity))
        return self.attach()

    def attach(self) -> NodeClient:
        """Say who is there, and in what surroundings tasks run."""
        world = wire.World(tuple(sys.path), os.getcwd(), 0o022)
        self.link.send([wire.Attach(self.session, self.name), world])
        self.wait(lambda: self.got(wire.Attached))
        return self

    async def _adopted(self, sock: Any, **options: Any) -> Any:
        return await adopt(sock, ear_for=lambda link: self, loop=self.loop, **options)

    # --- the link's ear ----------------------------------------------------------------------

    def heard(self, link: Any, messages: list[wire.Message]) -> None:
        self.inbox += messages
        self._news.set()

    def chunk(self, link: Any, chunk: Any) -> None:
        raise AssertionError("a scheduler sends no data")

    def lost(self, link: Any, why: str) -> None:
        self.lost_why = why
        self._news.set()

    # --- tasks -------------------------------------------------------------------------------

    def submit(self, func: Callable[..., Any], *args: Any, **options: Any) -> int:
        """Have it called; the number of the task. A `Ref` among the arguments is a dependency."""
        self._numbers += 1
        number = self._numbers
        file = io.BytesIO()
        _Pickler(file, 5).dump((func, args, {}))
        spec = encode_spec(CallSpec(b"", file.getvalue(), func.__name__))
        needs = tuple(task_id(self.session, a.number) for a in args if isinstance(a, Ref))
        task = TaskSpec(task_id(self.session, number), func.__name__, spec, needs)
        self.link.send([wire.Submit((task,), (wire.Options(**options),))])
        return number

    def say(self, *messages: wire.Message) -> None:
        """Send these now."""
        self.link.send(list(messages))
        self.do(asyncio.sleep(0.01))

    def end_of(self, number: int, timeout_s: float = 15.0) -> Any:
        """How a task ended: `Done`, `Erred` or `Cancelled`."""
        id = task_id(self.session, number)
        ends = wire.Done | wire.Erred | wire.Cancelled

        def ended() -> Any:
            return next((m for m in self.inbox if isinstance(m, ends) and m.id == id), None)

        return self.wait(ended, timeout_s)

    def value_of(self, number: int, timeout_s: float = 15.0) -> Any:
        """The result of a task, which is a small one."""
        end = self.end_of(number, timeout_s)
        assert isinstance(end, wire.Done), end
        assert end.inline is not None
        return pickle.loads(end.inline)

    def got(self, kind: type) -> list[Any]:
        """What has come of one kind."""
        return [message for message in self.inbox if type(message) is kind]

    # --- time --------------------------------------------------------------------------------

    def do(self, what: Any, timeout_s: float = 15.0) -> Any:
        """Await something."""
        return self.loop.run_until_complete(asyncio.wait_for(what, timeout_s))

    def wait(self, condition: Callable[[], Any], timeout_s: float = 15.0) -> Any:
        """Read messages until something is true; what that is."""

        async def until() -> Any:
            while not (found := condition()):
                if self.lost_why is not None:
                    raise ConnectionError(self.lost_why)
                self._news.clear()
                await self._news.wait()
            return found

        return self.do(until(), timeout_s)

    def wait_lost(self, timeout_s: float = 10.0) -> str:
        """Read messages until the link is lost; why it was."""

        async def until() -> str:
            while self.lost_why is None:
                self._news.clear()
                await self._news.wait()
            return self.lost_why

        return str(self.do(until(), timeout_s))

    def close(self, timeout_s: float = 10.0) -> int | None:
        """Say goodbye; the exit code of the node, if this started one."""
        if self.loop.is_closed():
            return None
        if self.link is not None and self.lost_why is None:
            self.link.send([wire.Leave()])
            self.link.close("goodbye")
            self.wait_lost()
        code = None
        if self.node is not None:
            code = self.node.end(timeout_s)
            self.node.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        return code


def family_of(pid: int) -> list[psutil.Process]:
    """A process and all that it has started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def wait_gone(processes: list[psutil.Process], timeout_s: float = 5.0) -> list[psutil.Process]:
    """Those that are still there after so long."""
    deadline = time.monotonic() + timeout_s
    left = processes
    while left and time.monotonic() < deadline:
        left = [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        time.sleep(0.02)
    return left
