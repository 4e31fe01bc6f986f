"""A scheduler that can be reached: its server, where it listens, and the file that says so."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

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

#: Whom the credentials beside a connection file name: who uses them may add to it.
CLIENT: Final = "client"
WORKER: Final = "worker"


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
        #: Of clients that read the connection file.
        self._credential = ""

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
        if self.settings.listen_tls:
            self._listen_tls()
        if self.settings.connection_file:
            write_connection(
                self.settings.connection_file, self.connection(credential=self._credential)
            )

    def connection(self, *, credential: str = "") -> Connection:
        """How it is reached.

        Args:
            credential: where that of the reader stands, for networks.
        """
        return Connection(
            run=self.settings.run,
            addresses=self.addresses,
            pid=os.getpid(),
            host=socket.gethostname(),
            version=self.me.version,
            credential=credential,
        )

    def _listen_tls(self) -> None:
        """Take links from other machines, of who has a credential of this run's."""
        from treadle.cluster._authority import Authority  # noqa: PLC0415 - heavy, and rarely needed

        settings = self.settings
        authority = Authority(settings.run)
        identity = authority.issue(
            Role.scheduler, settings.run, os.path.join(self.directory.path, "credential")
        )
        self._listener.listen_tls(
            identity,
            interface=settings.interface,
            hosts=settings.addresses,
            ports=settings.ports,
        )
        self.server.issue = partial(authority.credential, Role.worker)
        if settings.connection_file:
            self._credential = credential_beside(settings.connection_file, Role.client)
            authority.issue(Role.client, CLIENT, self._credential)
            worker = credential_beside(settings.connection_file, Role.worker)
            authority.issue(Role.worker, WORKER, worker)

    def close(self, why: str) -> None:
        """End all links, and take away what says that there is a scheduler."""
        self._listener.close()
        self.server.close(why)
        if self.settings.connection_file and _is_own(self.settings.connection_file):
            for path in (
                self.settings.connection_file,
                credential_beside(self.settings.connection_file, Role.client),
                credential_beside(self.settings.connection_file, Role.worker),
            ):
                with suppress(OSError):
                    os.unlink(path)
        self.directory.remove()


def credential_beside(connection_file: str, role: Role) -> str:
    """Where the credential stands that clients, or workers, of a connection file use."""
    return f"{connection_file}.{role}.pem"


def _is_own(path: str) -> bool:
    """Whether the connection file is this process's, and no other scheduler's that came later."""
    try:
        return read_connection(path).pid == os.getpid()
    except ConfigurationError:
        return False
