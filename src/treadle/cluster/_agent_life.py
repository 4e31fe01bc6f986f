"""A worker's life as a process of its own: it finds its scheduler, and finds it again.

Without a link it goes on with what it has; if none can be had for `orphan_s`, its scheduler is
gone, and it ends.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from treadle.cluster._agent import Agent
from treadle.cluster._dial import dial
from treadle.cluster._link import this_party
from treadle.cluster._process import TERMINATED, Process
from treadle.cluster._rundir import RunDirectory
from treadle.cluster._security import Identity
from treadle.errors import HandshakeRefused

if TYPE_CHECKING:
    from treadle.cluster._connection import Connection
    from treadle.cluster._settings import WorkerSettings
    from treadle.cluster._zygote_start import Launched

_log = logging.getLogger("treadle.cluster")

#: How long what runs may go on when a signal has asked for the end; batch systems wait longer.
GRACE_S: Final = 25.0
#: How long the scheduler may take then to let us go.
_PARTING_S: Final = 3.0
#: Between two attempts to reach the scheduler, at first and at most.
_AGAIN_S: Final = (0.1, 2.0)
#: Garbage in cycles is rare here; to look for it costs more the more objects there are.
_GC: Final = (50_000, 20, 20)
#: Exit codes: no scheduler was there, or it did not want us.
ORPHANED: Final = 75
REFUSED: Final = 77


def run_worker(
    settings: WorkerSettings, connection: Connection, zygote: Launched | None = None
) -> int:
    """Be a worker until its end; the exit code.

    Raises:
        ConfigurationError: the credential cannot be used, or there is no safe place for sockets.
        OSError: the folder of its logs cannot be made.
    """
    process = Process()
    if settings.log_dir:  # it may be shared by all workers
        folder = os.path.join(settings.log_dir, re.sub(r"[^\w.-]", "-", settings.id))
        os.makedirs(folder, mode=0o700, exist_ok=True)
        settings = replace(settings, log_dir=folder)
    life = WorkerLife(settings, connection, process, zygote)
    process.on_terminate = life.terminate
    return process.run(life.start, life.stop)


class WorkerLife:
    """One worker and its link to the scheduler.

    Args:
        process: is told when it is over.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        connection: Connection,
        process: Process,
        zygote: Launched | None = None,
    ) -> None:
        settings = replace(settings, scheduler=connection)
        self._settings = settings
        self._connection = connection
        self._process = process
        self._loop = process.loop
        self._identity = Identity.read(connection.credential) if connection.credential else None
        self._directory = RunDirectory.create("worker")
        self._me = this_party("worker", settings.id, connection.run)
        self._told_to_end = False
        self._linking: asyncio.Task[None] | None = None
        self.agent = Agent(
            settings,
            run=connection.run,
            loop=self._loop,
            # A later process of this name is a later worker, also after a step of the clock.
            epoch=time.time_ns() // 1000,
            directory=self._directory,
            identity=self._identity,
            zygote=zygote,
        )
        self.agent.on_exit = lambda code: process.end(code, "there is nothing left to do here")
        self.agent.uplink.on_lost = self._lost

    async def start(self) -> None:
        """Start slots, and link to the scheduler."""
        await self.agent.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC)
        self._link("")

    async def stop(self, why: str) -> None:
        """End all of it."""
        if self._linking is not None:
            self._linking.cancel()
        await self.agent.stop()
        self._directory.remove()

    def terminate(self) -> None:
        """A signal asks for the end: what runs may end, what has not begun goes elsewhere."""
        if self._told_to_end or not self.agent.uplink.linked:
            self._process.end(TERMINATED, "it was told to end")
            return
        self._told_to_end = True
        self.agent.drain("a signal asked for the end", GRACE_S)
        self._loop.call_later(
            GRACE_S + _PARTING_S, self._process.end, TERMINATED, "its time is over"
        )

    # --- the link --------------------------------------------------------------------------------

    def _lost(self, why: str) -> None:
        if not self._process.is_ending:
            _log.warning("the link to the scheduler is lost: %s", why)
            self._link(why)

    def _link(self, why: str) -> None:
        self._linking = self._loop.create_task(self._find(why))

    async def _find(self, why: str) -> None:
        """Reach the scheduler, or end."""
        patience_s = self._settings.orphan_s
        until = time.monotonic() + patience_s
        wait_s, most_s = _AGAIN_S
        while True:
            try:
                link = await dial(
                    self._connection.addresses,
                    me=self._me,
                    expect=f"scheduler/{self._connection.run}",
                    ear=self.agent.uplink,
                    identity=self._identity,
                    timeout_s=max(1.0, min(5.0, until - time.monotonic())),
                )
            except HandshakeRefused as error:
                self._process.end(REFUSED, f"the scheduler refuses it: {error}")
                return
            except OSError as error:
                why = str(error)
            else:
                self.agent.connect(link)
                return
            left_s = until - time.monotonic()
            if left_s <= 0:
                text = f"there has been no scheduler for {patience_s:g} s: {why}"
                self._process.end(ORPHANED, text)
                return
            await asyncio.sleep(min(wait_s, left_s))
            wait_s = min(wait_s * 2, most_s)
