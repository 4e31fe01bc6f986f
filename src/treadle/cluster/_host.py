"""A scheduler that can be reached: its server, where it listens, and the file that says so."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

from treadle.cluster._connection import Connection, read_connection, write_connection
from treadle.cluster._link import this_party
from treadle.cluster._listener import Listener
from treadle.cluster._rundir import RunDirectory
from treadle.cluster._server import SchedulerServer
from treadle.errors import ConfigurationError
from treadle.wire import Role, World

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from treadle.cluster._link import Link
    from treadle.cluster._server_peers import Peer
    from treadle.cluster._settings import SchedulerSettings

_log = logging.getLogger(__name__)


class Host:
    """One scheduler of this process.

    Args:
        settings: what it is told.
        loop: where it lives.
        crashed: called when the scheduler has failed.
        world: the surroundings of tasks, if they are known already.

    Raises:
        ConfigurationError: there is no safe place for its sockets.
    """

    def __init__(
        self,
        settings: SchedulerSettings,
        *,
        loop: asyncio.AbstractEventLoop,
        crashed: Callable[[BaseException], None],
        world: World | None = None,
    ) -> None:
        self.settings = settings
        self.me = this_party(Role.scheduler, settings.run, settings.run)
        self.server = SchedulerServer(settings, loop=loop, crashed=crashed, world=world)
        #: Where its sockets are: its own, or one that its owner holds.
        self.directory = (
            RunDirectory(settings.run_dir) if settings.run_dir else RunDirectory.create("node")
        )
        self._listener = Listener(me=self.me, accept=self.admit, loop=loop)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it is reached."""
        return tuple(self._listener.addresses)

    def admit(self, link: Link) -> Peer | str:
        """Whoever has proved who it is may come."""
        return self.server.attach(link)

    async def open(self) -> None:
        """Listen, and say where.

        Raises:
            ConfigurationError: it cannot listen.
        """
        self._listener.listen_unix(self.directory.socket_path("scheduler"))
        if self.settings.connection_file:
            connection = Connection(
                run=self.settings.run,
                addresses=self.addresses,
                pid=os.getpid(),
                host=socket.gethostname(),
                version=self.me.version,
            )
            write_connection(self.settings.connection_file, connection)

    def close(self, why: str) -> None:
        """End all links, and take away what says that there is a scheduler."""
        self._listener.close()
        self.server.close(why)
        if self.settings.connection_file:
            _remove_own(self.settings.connection_file)
        self.directory.remove()


def _remove_own(path: str) -> None:
    """Take the connection file away, unless another scheduler has written its own there."""
    try:
        if read_connection(path).pid == os.getpid():
            os.unlink(path)
    except (ConfigurationError, OSError):
        pass
