"""The scheduler's process: the real machine, and a shell that knows which link is whose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.dice import Dice
from tests.simulation.network import Frame, Link
from tests.simulation.process import Process
from treadle import scheduler, wire
from treadle.scheduler import LinkLost, PeerGone, Tick

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.world import World


class _Lost:
    """A link has been lost, or a worker's process that had none has ended."""

    def __init__(self, link: Link | None, gone: Any = None, epoch: int = 0) -> None:
        self.link = link
        self.gone = gone
        self.epoch = epoch


class Hub(Process):
    """The one scheduler."""

    tick = Tick()

    def __init__(self, world: World, machine: Any) -> None:
        super().__init__(world, "scheduler")
        self.machine = machine
        #: The link of each peer that has one, by the peer's name at the machine.
        self.links: dict[str, Link] = {}
        #: How many runs that are sent to a worker next will never arrive.
        self.dropping: dict[str, int] = {}
        self.dice = Dice(world.swarm.seed, "hub")

    # --- links -------------------------------------------------------------------------------

    def on_frame(self, link: Link, frame: Frame) -> None:
        self.post(frame, _peer(link), link)

    def on_lost(self, link: Link) -> None:
        self.post(_Lost(link), scheduler.SHELL)

    def worker_ended(
        self, node: Node, link: Link | None, exit_code: int, accuses: bool, why: str
    ) -> None:
        """A worker's process has ended: tell what the shell can see of it."""
        seen = self.world.swarm.pidfd or not accuses
        gone = PeerGone(f"worker/{node.name}", exit_code, accuses, why) if seen else None
        if link is not None:
            blocked = self.world.net.is_blocked(node.name, self.name)
            link.ended = gone
            notice = self.world.swarm.user_timeout_s if blocked else self.dice.between(1e-3, 0.1)
            link.reset(0.0, self.dice.roll(), 0.0, notice)
        elif gone is not None:
            self.world.at(self.world.now + 0.05, self._tell_gone, gone, node.epoch)

    def _tell_gone(self, gone: PeerGone, epoch: int) -> None:
        self.post(_Lost(None, gone, epoch), scheduler.SHELL)

    def _known_lost(self, lost: _Lost) -> Any:
        """What the machine is to be told of a loss; None if a younger link has come meanwhile."""
        link = lost.link
        if link is None:
            current = self.links.get(lost.gone.peer)
            return lost.gone if current is None or current.epoch <= lost.epoch else None
        peer = _peer(link)
        if self.links.get(peer) is not link:
            return None
        del self.links[peer]
        return link.ended or LinkLost(peer)

    # --- events ------------------------------------------------------------------------------

    def take(self, event: Any, source: str, origin: Link | None) -> None:
        world = self.world
        if isinstance(event, _Lost):
            event = self._known_lost(event)
            if event is None:
                return
        if not isinstance(event, Frame):
            world.note("scheduler", source, event)
            world.model.shell_says(event)
            self._perform(self.machine.handle(event, source=source, now=world.now), None)
            return
        assert origin is not None
        refused = False
        if event.late:
            origin = None
        elif isinstance(event.messages[0], wire.Register | wire.Attach):
            refused = self._greet(source, origin)
        elif self.links.get(source) is not origin:
            world.count("frames of an abandoned link")
            return
        messages = event.messages
        world.note("scheduler", source, messages)
        for message in messages:
            world.model.heard(source, message)
        if len(messages) == 1:
            messages = messages[0]
        self._perform(self.machine.handle(messages, source=source, now=world.now), origin)
        if refused and origin is not None:
            origin.gone.append(self)
            origin.reset(1.0, 1.0, 0.2, 0.2)

    def _greet(self, source: str, link: Link) -> bool:
        """A peer comes with a new link; True if a younger process of its name has one."""
        current = self.links.get(source)
        if current is not None and current is not link:
            if current.epoch > link.epoch:
                self.world.sometimes("an older process of a worker registered")
                return True
            self.world.sometimes("a peer came anew before its old link was seen lost")
            current.gone.append(self)
            current.reset(0.0, 0.0, 0.01, 0.0)
        self.links[source] = link
        return False

    def _perform(self, sends: list[Any], origin: Link | None) -> None:
        world = self.world
        if world.time_to_check():
            scheduler.check(self.machine)
        for send in sends:
            link = self.links.get(send.to)
            if origin is not None and _peer(origin) == send.to:
                link = origin
            messages = send.messages
            for message in messages:
                world.model.said(send.to, message)
            messages = world.through_wire(messages)
            if link is None:
                world.count("sent without a link")
                continue
            if self.dropping:
                messages = self._drop(send.to, messages)
            if messages:
                link.send(self, Frame(messages))

    def _drop(self, to: str, messages: list[Any]) -> list[Any]:
        kept = []
        for message in messages:
            if (
                self.dropping.get(to)
                and isinstance(message, wire.Run)
                and not (message.actor or message.home)
            ):
                self.dropping[to] -= 1
                self.world.sometimes("a run was lost on its way")
            else:
                kept.append(message)
        return kept


def _peer(link: Link) -> str:
    return f"{link.a.role}/{link.a.name}"  # type: ignore[attr-defined]
