"""Where a client's scheduler is: in a node that the client starts, or at an address."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from treadle.cluster._dial import adopt, dial
from treadle.cluster._rundir import RunDirectory
from treadle.cluster._spawn import NodeProcess, spawn_node
from treadle.errors import SchedulerLost
from treadle.log import logger

if TYPE_CHECKING:
    from treadle.cluster._connection import Connection
    from treadle.cluster._link import Ear, Link
    from treadle.cluster._security import Identity
    from treadle.cluster._settings import NodeSettings
    from treadle.wire import Party

_log = logger("cluster")

#: How long a node that has closed its link may take to be gone, before it is killed.
_GONE_S: Final = 2.0
#: How long a node may take to end its slots, once the client has said goodbye.
_END_S: Final = 5.0


class Home(Protocol):
    """Where a scheduler is. What blocks is called on no loop's thread."""

    #: The run it belongs to.
    run: str
    #: Nobody else is its client before this one: there is nothing to wait for.
    boldly: bool
    #: All workers are on this machine.
    is_local: bool
    #: A lost link may be opened again.
    comes_back: bool

    def start(self) -> None:
        """Have a scheduler, if there is none. May block for some milliseconds."""

    async def connect(self, me: Party, ear: Ear) -> Link:
        """A link to it.

        Raises:
            HandshakeRefused, ConnectionError: there is none.
        """

    def is_gone(self) -> bool:
        """Whether it has surely ended."""

    def bury(self, why: str) -> SchedulerLost:
        """It is lost: clear up, and say how it ended. May block for seconds."""

    def end(self) -> None:
        """It was told goodbye: see to it that nothing is left. May block for seconds."""


class NodeHome:
    """A scheduler in a process of this one's own, that ends with it, and clears up after it.

    Args:
        settings: makes the settings of a node; the directory is its own.
        is_local: there is a worker in it, and none elsewhere.
    """

    boldly = True
    comes_back = False

    def __init__(self, run: str, settings: Callable[[str], NodeSettings], *, is_local: bool):
        self.run = run
        self.is_local = is_local
        self._settings = settings
        self._directory: RunDirectory | None = None
        self._process: NodeProcess | None = None

    @property
    def process(self) -> NodeProcess | None:
        """The node; None if there is none."""
        return self._process

    @property
    def directory(self) -> str:
        """Where its sockets are; empty if there is no node."""
        return "" if self._directory is None else self._directory.path

    def start(self) -> None:
        if self._process is not None:
            return
        directory = self._directory = RunDirectory.create("run")
        try:
            self._process = spawn_node(self._settings(directory.path))
        except BaseException:
            self._clear()
            raise

    async def connect(self, me: Party, ear: Ear) -> Link:
        process = self._process
        assert process is not None
        loop = asyncio.get_running_loop()
        expect = f"scheduler/{self.run}"
        return await adopt(
            process.sock, me=me, opens=True, expect=expect, ear_for=lambda link: ear, loop=loop
        )

    def is_gone(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def bury(self, why: str) -> SchedulerLost:
        process = self._process
        if process is None:
            return SchedulerLost(why)
        code = process.end(_GONE_S)
        tail = process.log_tail()
        reason = f"the scheduler's process (pid {process.pid}) has ended"
        self._clear()
        return SchedulerLost(reason if code is not None else f"{reason}: {why}", code, tail)

    def end(self) -> None:
        process = self._process
        if process is not None:
            # The link is closed; if there never was one, its socket still stands open.
            process.sock.close()
            code = process.end(_END_S)
            if code:
                _log.info("the node (pid %d) ended with code %s", process.pid, code)
        self._clear()

    def _clear(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()
        directory, self._directory = self._directory, None
        if directory is not None:
            directory.remove()


class DialledHome:
    """A scheduler of somebody else's, at an address."""

    boldly = False
    comes_back = True

    def __init__(self, connection: Connection, identity: Identity | None = None) -> None:
        self.run = connection.run
        self.connection = connection
        self.is_local = False
        self._identity = identity
        self._here = connection.host == socket.gethostname()

    def start(self) -> None:
        """It is there, or it is not."""

    async def connect(self, me: Party, ear: Ear) -> Link:
        return await dial(
            self.connection.addresses,
            me=me,
            expect=f"scheduler/{self.run}",
            ear=ear,
            identity=self._identity,
        )

    def is_gone(self) -> bool:
        if not self._here or not self.connection.pid:
            return False
        try:
            os.kill(self.connection.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

    def bury(self, why: str) -> SchedulerLost:
        where = ", ".join(self.connection.addresses)
        return SchedulerLost(f"the scheduler at {where} cannot be reached: {why}")

    def end(self) -> None:
        """Others may still use it."""


def moved(settings: NodeSettings, directory: str) -> NodeSettings:
    """The settings with this directory, for all that has none of its own."""
    scheduler = replace(
        settings.scheduler,
        run_dir=directory,
        log_dir=settings.scheduler.log_dir or directory,
    )
    return replace(settings, scheduler=scheduler)
