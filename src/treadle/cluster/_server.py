"""The scheduler's shell: links on one side, the machine on the other, a clock between.

Two rules. *It decides nothing*: each frame is one event of the machine's, and what the machine says
is to be sent is sent. *It loads nothing*: what clients and workers send for each other is kept and
passed on as bytes.

A peer has one link that counts: that by which it last attached or registered. When a new one comes
before the old one was seen to end, the machine is told of the old one's loss first; what an
abandoned link still brings is dropped. Between machines, who is silent is lost when its lease is
over; on this machine a client that has a link is alive, and one whose process has ended is gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from treadle import scheduler, wire
from treadle.cluster._server_exits import Exits
from treadle.cluster._server_peers import Peer
from treadle.cluster._server_relay import Relay
from treadle.cluster._server_shelf import Shelf
from treadle.cluster._task_here import OF_TASK
from treadle.scheduler import SHELL, LinkLost, PeerGone, Policy, Scheduler, Send, Tick

if TYPE_CHECKING:
    from treadle.cluster._link import Link
    from treadle.cluster._settings import SchedulerSettings
    from treadle.wire import Message

_log = logging.getLogger(__name__)

#: Messages that change who is there, or that are between the shells.
_NOT_PLAIN: Final = frozenset(
    (
        wire.Attach,
        wire.Register,
        wire.Leave,
        wire.Code,
        wire.World,
        wire.Locate,
        wire.Printed,
        wire.Issue,
        wire.Revoke,
        wire.Roll,
        wire.Inquire,
        wire.Answer,
    )
)
#: Says nothing: the machine hears that its sender is alive.
_ALIVE: Final = wire.Release(())


class SchedulerServer:
    """One scheduler.

    Args:
        settings: what it is told.
        loop: where it lives; everything here happens on its thread.
        world: the surroundings of tasks, if they are known already.
        crashed: called when the machine has failed: nothing can go on.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        settings: SchedulerSettings,
        *,
        loop: asyncio.AbstractEventLoop,
        crashed: Callable[[BaseException], None],
        world: wire.World | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.machine = Scheduler(
            Policy(
                beat_s=settings.beat_s,
                lease_s=settings.lease_s,
                prefetch_s=settings.prefetch_s,
                deaths=settings.deaths,
                closed=settings.closed,
            )
        )
        self.shelf = Shelf(world)
        #: The link that counts of each peer.
        self.peers: dict[str, Peer] = {}
        #: Every link there is.
        self.links: dict[Peer, None] = {}
        #: What was dropped, by reason.
        self.dropped: dict[str, int] = {}
        #: Since when there has been no client; None while there is one.
        self.alone_since: float | None = clock()
        #: Blocks for which nobody may speak any longer.
        self.revoked: dict[str, None] = {}
        #: How many workers of each block have ever come.
        self._arrivals: dict[str, int] = {}
        #: Makes the credential of a block; None where none is needed.
        self.issue: Callable[[str], bytes] | None = None
        #: Called when a client has come or gone.
        self.on_clients: Callable[[], None] = _nothing
        #: Called with each peer whose link has ended.
        self.on_lost: Callable[[Peer], None] = _nothing
        #: Called after each step of the machine, for who waits until it is not `is_busy`.
        self.on_step: Callable[[], None] | None = None
        self._loop = loop
        self._clock = clock
        self._crashed = crashed
        self._exits = Exits(loop, self._gone)
        self._relay = Relay(self, loop)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._closed = False
        #: Done when the last link has ended, for who waits for that.
        self._empty: asyncio.Future[None] | None = None

    def attach(self, link: Link) -> Peer | str:
        """Take a link whose handshake has ended: who hears it, or why it is refused."""
        if self._closed:
            return "this scheduler is about to end"
        if not link.peer.startswith(("worker/", "client/")):
            return f"a scheduler has nothing to say to {link.peer[:60]!r}"
        if self.revoked and _block_of(link.peer) in self.revoked:
            return f"{link.peer} is of a block that has ended"
        peer = Peer(self, link)
        self.links[peer] = None
        return peer

    @property
    def is_busy(self) -> bool:
        """A task is on some worker, and has not ended."""
        return any(ws.processing for ws in self.machine.books.workers.values())

    def close(self, why: str) -> None:
        """End all links; workers are told to end. Nothing is handled any more."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._exits.close()
        self._relay.close()
        for peer in list(self.links):
            if peer.is_worker and peer.current:
                peer.link.send([wire.Depart()])
            peer.link.close(why)

    async def wait_closed(self, timeout_s: float) -> None:
        """Wait until all that was sent has left and all links have ended, but no longer than that."""
        if self.links:
            self._empty = self._loop.create_future()
            await asyncio.wait([self._empty], timeout=timeout_s)

    # --- what peers say ----------------------------------------------------------------------

    def hear(self, peer: Peer, messages: list[Message]) -> None:
        """A frame has come from a peer."""
        if peer.is_of_task:
            self._note_parent(peer, messages)
        for message in messages:
            if type(message) in _NOT_PLAIN:
                messages = self._sort_out(peer, messages)
                break
        if not messages or self._closed:
            return
        if peer.current:
            self._step(messages, peer.name, None)
        elif type(messages[0]) is wire.Register:
            self._step(messages, peer.name, peer)  # of an older process: it is told to end
        else:
            self._drop("frames of a link that does not count")

    def fail(self, peer: Peer, message: Message, why: str) -> None:
        """A message cannot be sent: who waits for what it said hears why."""
        _log.error("a %s to %s cannot be sent: %s", type(message).__name__, peer.name, why)
        if isinstance(message, wire.Run):
            failure = wire.Failure("internal", "WireError", why)
            failed = wire.Failed(message.id, message.attempt, failure, 0.0, final=True)
            self._step(failed, peer.name, None)
        elif isinstance(message, wire.Done) and message.inline is not None:
            peer.tell([replace(message, inline=None)])
        elif isinstance(message, wire.Reply) and not message.error:
            peer.tell([wire.Reply(message.ask, error=f"the answer cannot be sent: {why}"[:2_000])])
        else:
            peer.link.close(f"a message for it cannot be sent: {why}")

    def lose(self, peer: Peer, why: str) -> None:
        """A link has ended."""
        self.links.pop(peer, None)
        if self._closed:
            if self._empty is not None and not self.links and not self._empty.done():
                self._empty.set_result(None)
            return
        if peer.is_worker:
            self._relay.lost(peer)
        if peer.current:
            if not peer.goodbye:
                _log.info("the link to %s is lost: %s", peer.name, why)
            self._abandon(peer)
            self._exits.ended(peer)
        else:
            self._exits.forget(peer)
        self.on_lost(peer)

    def _sort_out(self, peer: Peer, messages: list[Message]) -> list[Message]:
        """Do what is the shell's own; what is left is for the machine."""
        rest = []
        for message in messages:
            kind = type(message)
            if kind is wire.Code:
                self.shelf.keep_code(message)  # type: ignore[arg-type]
            elif kind is wire.World:
                self.shelf.keep_world(message)  # type: ignore[arg-type]
            elif isinstance(message, wire.Locate):
                places = self.shelf.places(message.workers)
                peer.tell([wire.Located(message.ask, places)])
            elif isinstance(message, wire.Printed):
                self._pass_on(message)
            elif isinstance(message, wire.Issue):
                peer.tell([self._issued(message)])
            elif isinstance(message, wire.Revoke):
                self._revoke(message.block)
            elif isinstance(message, wire.Roll):
                peer.tell([wire.Reply(message.ask, self._roll())])
            elif isinstance(message, wire.Inquire):
                # Not before what the machine has to say to what came before it.
                self._loop.call_soon(self._relay.inquire, peer, message)
            elif isinstance(message, wire.Answer):
                self._relay.answer(peer, message)
            else:
                if isinstance(message, wire.Attach | wire.Register):
                    self._greet(peer, message)
                elif kind is wire.Leave and peer.current:
                    peer.goodbye = True
                rest.append(message)
        return rest

    def _note_parent(self, peer: Peer, messages: list[Message]) -> None:
        """A task's client submits something: what that prints is for who has submitted the task."""
        for message in messages:
            if type(message) is wire.Submit:
                parent = message.parent
                if parent is not None and parent != peer.parent:
                    peer.parent, peer.patrons = parent, self._patrons(parent)

    def _greet(self, peer: Peer, message: wire.Attach | wire.Register) -> None:
        """A peer comes with a link: from now on this one counts, unless it is an older process."""
        old = self.peers.get(peer.name)
        if isinstance(message, wire.Register):
            if peer.name != f"worker/{message.worker}":
                return  # the machine refuses it
            if old is not None and old is not peer and message.epoch < old.epoch:
                return
            peer.epoch = message.epoch
            if peer.name not in self.peers:
                self._arrivals[message.block] = self._arrivals.get(message.block, 0) + 1
            self.shelf.keep_place(message)
        else:
            peer.session = message.session
            peer.goodbye = False
        if old is not None and old is not peer:
            self._abandon(old)
            old.link.close("another link of the same name has come")
        self.peers[peer.name] = peer
        if not peer.current:
            peer.current = True
            self._exits.watch(peer)
            if peer.counts:
                self.alone_since = None
                self.on_clients()

    def _abandon(self, peer: Peer) -> None:
        """A link counts no longer; the machine is told that it is lost."""
        peer.current = False
        del self.peers[peer.name]
        if peer.is_worker:
            self.shelf.drop_place(peer.name[7:])
        self._step(LinkLost(peer.name), SHELL, None)
        if peer.counts and not any(other.counts for other in self.peers.values()):
            self.alone_since = self._clock()
            self.on_clients()

    def _pass_on(self, message: wire.Printed) -> None:
        """A task has printed: its client may want to see that."""
        for client in self._patrons(message.id):
            client.print(message)

    def _patrons(self, id: wire.TaskId) -> list[Peer]:
        """Whose task this is; of a task that another has submitted, whose that is."""
        session = wire.session_of(id)
        if session is not None:
            clients = [peer for peer in self.peers.values() if peer.session == session]
        elif (ts := self.machine.books.tasks.get(id)) is not None:
            wanters = [client.peer for client in ts.who_wants]
            clients = [peer for name in wanters if (peer := self.peers.get(name))]
        else:  # it is forgotten; whose it was is sure only if nobody else is there
            everybody = [peer for peer in self.peers.values() if peer.counts]
            clients = everybody if len(everybody) == 1 else []
        found = [each for peer in clients for each in ([peer] if peer.counts else peer.patrons)]
        return [peer for peer in dict.fromkeys(found) if peer.current]

    def _issued(self, message: wire.Issue) -> wire.Issued:
        """The credential of a block that a client is about to start."""
        self.revoked.pop(message.block, None)
        if self.issue is None:
            return wire.Issued(message.ask, b"")
        try:
            return wire.Issued(message.ask, self.issue(message.block))
        except Exception as error:  # noqa: BLE001 - the client asked for it, and hears why not
            return wire.Issued(message.ask, b"", f"no credential can be made: {error!r}"[:2_000])

    def _roll(self) -> list[list[list[Any]]]:
        """Which workers there are, and how many of each block there have been."""
        workers = self.machine.books.workers.values()
        present = [[w.id, w.block, w.host, w.slots, len(w.processing)] for w in workers if w.linked]
        return [present, [list(row) for row in self._arrivals.items() if row[0]]]

    def _revoke(self, block: str) -> None:
        """A block has ended: its workers' links end, and none of them comes back."""
        self.revoked[block] = None
        for peer in list(self.links):
            if _block_of(peer.name) == block:
                peer.link.close("its block has ended")

    def _gone(self, peer: Peer, epoch: int) -> None:
        """The process that had this link has surely ended."""
        now = self.peers.get(peer.name)
        if now is None or now is peer or (peer.is_worker and now.epoch <= epoch):
            self._step(PeerGone(peer.name), SHELL, None)

    # --- the machine -------------------------------------------------------------------------

    def _step(self, event: Any, source: str, origin: Peer | None) -> None:
        """One step of the machine; `origin` is answered by its own link, though it does not count."""
        machine = self.machine
        try:
            sends = machine.handle(event, source=source, now=self._clock())
            if self.settings.validate:
                scheduler.check(machine)
        except Exception as error:  # noqa: BLE001 - a bug of ours; nobody may wait for ever
            self._crash(error)
            return
        for send in sends:
            self._send(send, origin)
        wake_at = machine.wake_at
        if wake_at is not None and (self._timer is None or wake_at < self._timer_at):
            self._arm(wake_at)
        if self.on_step is not None:
            self.on_step()

    def _send(self, send: Send, origin: Peer | None) -> None:
        peer = self.peers.get(send.to)
        if origin is not None and origin.name == send.to:
            peer = origin
        if peer is None:
            self._drop("messages to a peer without a link")
            return
        messages = send.messages
        if peer.is_worker:
            messages = peer.told.with_needed(messages, self.shelf)
        peer.tell(messages)

    def _arm(self, wake_at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = wake_at
        self._timer = self._loop.call_later(max(0.0, wake_at - self._clock()), self._wake)

    def _wake(self) -> None:
        """The timer has rung: if time for a tick has come, some clients are known to be alive."""
        self._timer = None
        wake_at = self.machine.wake_at
        if wake_at is None or self._closed:
            return
        if wake_at > self._clock():
            self._arm(wake_at)
            return
        for peer in list(self.peers.values()):
            if not peer.is_worker and not peer.goodbye and self._is_alive(peer):
                self._step(_ALIVE, peer.name, None)
        self._step(Tick(), SHELL, None)

    def _is_alive(self, peer: Peer) -> bool:
        """Whether a client is surely alive, though it is silent: its link would have ended with it.

        Of a task on another machine, the kernel there sees to that, for as long as that machine
        beats; what the task does with the interpreter's lock is its own business.
        """
        if peer.link.same_machine or not peer.is_of_task:
            return peer.link.same_machine
        worker = peer.name[len("client/") :].partition(OF_TASK)[0]
        return worker in self.machine.books.workers

    def _crash(self, error: BaseException) -> None:
        if not self._closed:
            _log.critical("the scheduler's machine has failed", exc_info=error)
            self.close(f"the scheduler has failed: {error!r}"[:500])
            self._crashed(error)

    def _drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


def _block_of(peer: str) -> str | None:
    """The block of a worker whose name begins with it, or of a client that one of its tasks made."""
    role, _, id = peer.partition("/")
    block, *rest = id.split("/")
    return block if role == "worker" or len(rest) > 1 else None


def _nothing(*args: object) -> None:
    """Nobody wants to know."""
