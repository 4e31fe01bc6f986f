"""A scheduler in a process of its own: for several programs, or for workers elsewhere.

It ends when it is told to, or, if it was told how long to linger, when it has had no client for so
long.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from treadle.cluster._host import Host
from treadle.cluster._process import Process, leave

if TYPE_CHECKING:
    import asyncio
    from typing import NoReturn

    from treadle.cluster._settings import SchedulerSettings

#: How long those at the other ends of links may take to read what was said last.
_LAST_WORDS_S: Final = 0.5


def run_scheduler(settings: SchedulerSettings) -> NoReturn:
    """Be a scheduler until its end.

    Raises:
        ConfigurationError: there is no safe place for its sockets.
    """
    process = Process()
    alone = Standalone(settings, process)
    leave(process.run(alone.start, alone.stop))


class Standalone:
    """What this process hosts."""

    def __init__(self, settings: SchedulerSettings, process: Process) -> None:
        self._settings = settings
        self._process = process
        self.host = Host(settings, loop=process.loop, crashed=process.crash)
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Listen, and say where."""
        await self.host.open()
        self.host.server.on_clients = self._count
        self._count()
        where = self._settings.connection_file or ", ".join(self.host.addresses)
        print(f"scheduler {self._settings.run}: {where}", flush=True)  # noqa: T201 - for its user

    async def stop(self, why: str) -> None:
        """Tell workers to end, end all links."""
        self.host.close(why)
        await self.host.server.wait_closed(_LAST_WORDS_S)
        sys.stdout.flush()

    # --- details -----------------------------------------------------------------------------

    def _count(self) -> None:
        """A client has come or gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        server, linger_s = self.host.server, self._settings.linger_s
        if linger_s is None or server.alone_since is None:
            return
        self._timer = self._process.loop.call_later(
            linger_s, self._process.end, 0, f"no client for {linger_s:g} s"
        )
