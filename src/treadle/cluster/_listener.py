"""Taking links. Who comes is a stranger until its handshake has ended well.

Strangers have so many seconds, so many bytes, and so many places. When all places are taken, who
has held one for a second without a word that counts gives it up; those that come meanwhile wait
in the system's queue. However many there are, the loop is not kept from its peers.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from treadle.cluster._addresses import bind, candidates, keep_alive, tls_address
from treadle.cluster._dial import connect
from treadle.cluster._greeting import Greeting
from treadle.cluster._link import Ear, Link, Tally
from treadle.cluster._security import own_process
from treadle.cluster._stream import words
from treadle.errors import ConfigurationError
from treadle.wire import HANDSHAKE_S, Party

if TYPE_CHECKING:
    import ssl

    from treadle.cluster._security import Identity

#: Most strangers at once.
STRANGERS: Final = 1_000
#: A stranger that has been here for so long makes room for another.
_PATIENCE_S = 1.0
#: Connections taken in one go.
_BATCH = 16
#: Without descriptors or memory for more, we look again so soon.
_SHORT_S = 0.5
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: What a queue of the system's may hold; it takes less if it must.
_QUEUE = 4_096


class Listener:
    """Where links to this process are opened.

    Args:
        me: this process.
        accept: given each link whose other side has proved who it is: its ear, or why it may not
            be, for people. The other side is told either, after this.
        handshake_s, strangers: limits for those who have not shaken hands.
    """

    def __init__(
        self,
        *,
        me: Party,
        accept: Callable[[Link], Ear | str],
        loop: asyncio.AbstractEventLoop | None = None,
        handshake_s: float = HANDSHAKE_S,
        strangers: int = STRANGERS,
        tally: Tally | None = None,
    ) -> None:
        self._me = me
        self._accept = accept
        self._loop = loop or asyncio.get_running_loop()
        self._handshake_s = handshake_s
        self._most = strangers
        self.tally = tally or Tally()
        #: 'unix:PATH' and 'tls://HOST:PORT' where this process is to be reached, best first.
        self.addresses: list[str] = []
        self._doors: list[_Door] = []
        #: Since when each is here, oldest first.
        self._strangers: dict[Greeting, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        #: Nobody is let in before it ends.
        self._timer: asyncio.TimerHandle | None = None
        #: Because all places are taken.
        self._full = False

    def listen_unix(self, path: str) -> str:
        """Take links of this user's processes at this path; return the address.

        Raises:
            ConfigurationError: that cannot be; the text has what to do.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.bind(path)
            os.chmod(path, 0o600)
            sock.listen(_QUEUE)
        except OSError as error:
            sock.close()
            raise ConfigurationError(
                f"no socket can be made at {path!r} ({words(error)}); it is {len(os.fsencode(path))} "
                f"bytes long, and most systems allow 107"
            ) from error
        self._open(_Door(sock, None, path))
        address = f"unix:{path}"
        self.addresses.insert(0, address)
        return address

    def listen_tls(
        self,
        identity: Identity,
        *,
        interface: str = "",
        hosts: Sequence[str] = (),
        ports: tuple[int, int] = (0, 0),
    ) -> list[str]:
        """Take links from other machines; return the addresses.

        Args:
            interface: listen on this one alone, such as 'eth0'.
            hosts: names or numbers under which others reach this machine; found if not given.
            ports: the first and the last that may be taken; (0, 0): any.

        Raises:
            ConfigurationError: that cannot be; the text has what to do.
        """
        reachable = candidates(interface, hosts)
        context = identity.context(listens=True)
        port, socks = bind(interface, ports)
        for sock in socks:
            sock.listen(_QUEUE)
            self._open(_Door(sock, context))
        addresses = [tls_address(host, port) for host in reachable]
        self.addresses += addresses
        return addresses

    @property
    def strangers(self) -> int:
        """How many are here that have not shaken hands."""
        return len(self._strangers)

    def close(self) -> None:
        """Take no more links; those that there are stay."""
        doors, self._doors = self._doors, []
        for door in doors:
            self._loop.remove_reader(door.sock.fileno())
            door.close()
        self.addresses = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._full = False
        for task in self._tasks:
            task.cancel()
        for greeting in list(self._strangers):
            greeting.give_up(ConnectionError("this side has ended"))

    # --- details -----------------------------------------------------------------------------

    def _open(self, door: _Door) -> None:
        self._doors.append(door)
        self._loop.add_reader(door.sock.fileno(), self._come, door)

    def _come(self, door: _Door) -> None:
        """Somebody is at the door."""
        for _ in range(_BATCH):
            if len(self._strangers) >= self._most and not self._make_room():
                return
            try:
                sock, where = door.sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _SHORT:
                    self.tally.stranger("a connection", words(error))
                    self._pause(_SHORT_S)
                    return
                continue  # it has gone again
            self._admit(door, sock, _shown(where))

    def _admit(self, door: _Door, sock: socket.socket, where: str) -> None:
        local = door.context is None
        try:
            pid = own_process(sock) if local else 0
            if not local:
                keep_alive(sock)
        except OSError as error:
            self.tally.stranger(where, words(error))
            sock.close()
            return

        def ended(outcome: Link | Exception) -> None:
            self._strangers.pop(greeting, None)
            if self._full:
                self._resume()
            if isinstance(outcome, Exception) and not greeting.left:
                self.tally.stranger(where, str(outcome))

        greeting = Greeting(
            self._loop,
            self._me,
            opens=False,
            expect=None,
            admit=self._accept,
            ended=ended,
            tally=self.tally,
            context=door.context,
            same_machine=local and pid > 0,
            pid=pid,
            timeout_s=self._handshake_s,
        )
        self._strangers[greeting] = self._loop.time()
        task = self._loop.create_task(self._connect(sock, greeting))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, sock: socket.socket, greeting: Greeting) -> None:
        try:
            await connect(self._loop, sock, greeting)
        except OSError as error:
            greeting.give_up(ConnectionError(words(error)))

    def _make_room(self) -> bool:
        """The oldest stranger goes, if it was here long enough; else nobody is let in for now."""
        oldest, since = next(iter(self._strangers.items()))
        wait_s = since + min(_PATIENCE_S, self._handshake_s) - self._loop.time()
        if wait_s > 0:
            self._full = True
            self._pause(wait_s)
            return False
        oldest.give_up(ConnectionError("it kept others waiting"))
        return True

    def _pause(self, for_s: float) -> None:
        if self._timer is not None:
            return
        for door in self._doors:
            self._loop.remove_reader(door.sock.fileno())
        self._timer = self._loop.call_later(for_s, self._resume)

    def _resume(self) -> None:
        self._full = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for door in self._doors:
            self._loop.add_reader(door.sock.fileno(), self._come, door)


class _Door:
    """A socket that listens. `context`: for TLS, on a network. `path`: its name in the file system,
    to be taken away with it."""

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext | None, path: str | None = None
    ) -> None:
        self.sock = sock
        self.context = context
        self._path = path
        self._inode = None if path is None else os.stat(path).st_ino

    def close(self) -> None:
        self.sock.close()
        if self._path is not None:
            with suppress(OSError):
                found = os.lstat(self._path)
                if stat.S_ISSOCK(found.st_mode) and found.st_ino == self._inode:
                    os.unlink(self._path)


def _shown(where: object) -> str:
    return (
        ":".join(map(str, where[:2])) if isinstance(where, tuple) else "a process of this machine"
    )
