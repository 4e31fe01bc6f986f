"""Whose process has ended for certain: peers of this machine, watched by the kernel.

The end of a link says that a process may be gone; the end of the process says that it is, so its
lease need not run. Where there are no process descriptors, the lease decides alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from treadle.cluster._server_peers import Peer


class Exits:
    """Watches processes at the other end of links.

    Args:
        loop: where descriptors are watched.
        gone: called when a process has ended whose link had ended before, with its epoch.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, gone: Callable[[Peer, int], None]) -> None:
        self._loop = loop
        self._told = gone
        self._descriptors: dict[Peer, int] = {}

    def watch(self, peer: Peer) -> None:
        """A link counts from now on: hold on to the process at its other end."""
        pid = peer.link.pid
        if not pid or pid == os.getpid() or peer in self._descriptors:
            return
        try:
            self._descriptors[peer] = os.pidfd_open(pid)
        except (AttributeError, OSError):
            return  # no such system call, or it has ended already: its lease decides

    def ended(self, peer: Peer) -> None:
        """The link has ended; say when the process has, too."""
        descriptor = self._descriptors.get(peer)
        if descriptor is not None:
            self._loop.add_reader(descriptor, self._fire, peer)

    def forget(self, peer: Peer) -> None:
        """Another link of the same name counts now."""
        if peer in self._descriptors:
            self._let_go(peer)

    def close(self) -> None:
        """Watch nobody any longer."""
        for peer in list(self._descriptors):
            self._let_go(peer)

    def _fire(self, peer: Peer) -> None:
        self._let_go(peer)
        self._told(peer, peer.epoch)

    def _let_go(self, peer: Peer) -> None:
        descriptor = self._descriptors.pop(peer)
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
