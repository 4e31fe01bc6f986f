"""A node's life: it starts what it hosts, and ends it."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from treadle.cluster._agent import Agent
from treadle.cluster._dial import adopt
from treadle.cluster._host import Host
from treadle.cluster._pair import pair
from treadle.cluster._process import FAULT, TERMINATED, Process, leave
from treadle.cluster._security import peer_user
from treadle.cluster._settings import node_settings
from treadle.errors import HandshakeRefused

if TYPE_CHECKING:
    from treadle.cluster._link import Link
    from treadle.cluster._server_peers import Peer
    from treadle.cluster._settings import NodeSettings, WorkerSettings
    from treadle.cluster._zygote_start import Launched

#: How long tasks that run may go on when a signal has asked for the end.
GRACE_S: Final = 5.0
#: Nothing here makes cycles for each task; what is made for each is soon gone.
_GC: Final = (50_000, 20, 20)
#: How long the agent may take to end its slots.
_STOP_S: Final = 1.0
#: How long those at the other ends of links may take to read what was said last.
_LAST_WORDS_S: Final = 0.5


def live(line: bytes, link: int, zygote: Launched | None) -> int:
    """Be a node until its end."""
    process = Process()
    node = Node(node_settings(line), socket.socket(fileno=link), process, zygote)
    process.on_terminate = node.drain
    return leave(process.run(node.start, node.stop))


class Node:
    """What this process hosts."""

    def __init__(
        self,
        settings: NodeSettings,
        sock: socket.socket,
        process: Process,
        zygote: Launched | None,
    ) -> None:
        self._settings = settings
        self._process = process
        self._loop = process.loop
        self._sock = sock
        self._zygote = zygote
        self._agent: Agent | None = None
        self._owner: Peer | None = None
        self._owner_pidfd = -1
        self._draining = False
        self.host = Host(
            settings.scheduler, loop=process.loop, crashed=process.crash, world=settings.world
        )

    async def start(self) -> None:
        """Start the worker, listen, take the owner's link."""
        self._watch_owner()
        await self.host.open()
        if self._settings.worker is not None:
            await self._start_worker(self._settings.worker)
        gc.enable()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC)
        server = self.host.server
        server.on_lost = self._lost
        owner = self._settings.owner
        try:
            await adopt(
                self._sock,
                me=self.host.me,
                opens=False,
                expect=f"client/{owner}" if owner else None,
                ear_for=self._admit_owner,
                loop=self._loop,
            )
        except (ConnectionError, HandshakeRefused) as error:
            self._process.end(0, f"there is no link to its owner: {error}")

    async def stop(self, why: str) -> None:
        """End links, slots, the worker; take away what only this run needed."""
        if self._owner_pidfd >= 0:
            self._loop.remove_reader(self._owner_pidfd)
        self.host.close(why)
        if self._agent is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._agent.stop(), _STOP_S)
        await self.host.server.wait_closed(_LAST_WORDS_S)
        if self._settings.scheduler.run_dir and self._owner is None:
            shutil.rmtree(self._settings.scheduler.run_dir, ignore_errors=True)

    def drain(self) -> None:
        """End when what runs has ended, or when the time for that is over."""
        if self._draining:
            self._process.end(TERMINATED, "it was told to end, twice")
            return
        self._draining = True
        if self._agent is not None:
            self._agent.drain("a signal asked for the end", GRACE_S)
        self.host.server.on_step = self._end_if_idle
        self._loop.call_later(GRACE_S, self._process.end, TERMINATED, "it was told to end")
        self._loop.call_soon(self._end_if_idle)

    # --- details -----------------------------------------------------------------------------

    async def _start_worker(self, settings: WorkerSettings) -> None:
        run = self._settings.scheduler.run
        agent = self._agent = Agent(
            replace(settings, scheduler=self.host.connection()),
            run=run,
            loop=self._loop,
            epoch=1,
            directory=self.host.directory,
            zygote=self._zygote,
        )
        agent.on_exit = self._agent_ended
        here, there = pair(self._loop, f"scheduler/{run}", f"worker/{settings.id}", run=run)
        ear = self.host.admit(here)
        assert not isinstance(ear, str)
        here.ear = ear
        await agent.start()
        agent.connect(there)

    def _admit_owner(self, link: Link) -> Peer:
        peer = self.host.server.attach(link)
        assert not isinstance(peer, str)
        self._owner = peer
        return peer

    def _watch_owner(self) -> None:
        """Hold on to the owner's process: a child that it forked may keep the link open."""
        user = peer_user(self._sock)
        if user is None or not user.pid or not hasattr(os, "pidfd_open"):
            return
        try:
            self._owner_pidfd = os.pidfd_open(user.pid)
        except ProcessLookupError:
            self._owner_gone()
        except OSError:
            return
        else:
            self._loop.add_reader(self._owner_pidfd, self._owner_gone)

    def _lost(self, peer: Peer) -> None:
        if peer is self._owner:
            self._owner_gone()

    def _owner_gone(self) -> None:
        self._owner = None
        self._process.end(0, "its owner has ended")

    def _end_if_idle(self) -> None:
        if not self.host.server.is_busy:
            self._process.end(TERMINATED, "it was told to end, and nothing runs")

    def _agent_ended(self, code: int | None) -> None:
        self._process.end(
            TERMINATED if self._draining else code or FAULT, "there is no worker any longer"
        )
