"""Links: first in, first out, reliable until they are lost; then a suffix of each way is lost.

A link lives once; who connects again gets a new one. What is in flight waits while a direction is
blocked (a stall, a partition), and a link that is blocked too long is given up by each of its ends
on its own. Latencies have a heavy tail; objects between workers take bandwidth.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from tests.simulation.dice import Dice
from treadle import wire

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Messages that may come late or twice without harm: each names the attempt it is about.
FENCED = (
    wire.Finished,
    wire.Failed,
    wire.Died,
    wire.Returned,
    wire.Started,
    wire.Run,
    wire.Stop,
)


class End(Protocol):
    """Who stands at an end of a link."""

    name: str

    def on_frame(self, link: Link, frame: Frame) -> None: ...

    def on_lost(self, link: Link) -> None: ...


class Frame:
    """Messages sent together, and the objects whose bytes follow them."""

    __slots__ = ("late", "lost", "messages", "objects", "on_sent", "size")

    def __init__(self, messages: list[Any], objects: Any = None, size: int = 0) -> None:
        self.messages = messages
        self.objects = objects
        self.size = size
        self.lost = False
        #: A copy that comes outside of the order of its link, perhaps after its end.
        self.late = False
        #: Called when the bytes have left.
        self.on_sent: Any = None


class Pipe:
    """One direction of a link."""

    __slots__ = ("dice", "flight", "held", "last", "link", "net", "sender", "taker")

    def __init__(self, net: Network, link: Link, sender: End, taker: End, dice: Dice) -> None:
        self.net = net
        self.link = link
        self.sender = sender
        self.taker = taker
        self.dice = dice
        #: When the last frame arrives.
        self.last = 0.0
        self.flight: deque[Frame] = deque()
        #: Frames that have come through a blocked way, but for the last step.
        self.held: deque[Frame] = deque()

    def send(self, frame: Frame) -> None:
        if self.link.dead:
            return
        net, world = self.net, self.net.world
        if net.disorder and self.sender.name in net.disorder:
            self._disorder(frame)
            if not frame.messages:
                return
        due = max(self.last + 1e-7, world.now + net.latency(self.dice))
        if frame.size:
            due += frame.size / net.bandwidth
        self.last = due
        self.flight.append(frame)
        world.at(due, self._arrive, frame)

    def _disorder(self, frame: Frame) -> None:
        world, dice = self.net.world, self.dice
        if dice.chance(0.1) and not isinstance(frame.messages[0], wire.Data):
            world.sometimes("a frame came twice")
            again = Frame(list(frame.messages))
            self.flight.append(again)
            self.last = due = max(self.last, world.now + self.net.latency(dice))
            world.at(due, self._arrive, again)
        for message in list(frame.messages):
            if not isinstance(message, FENCED) or not dice.chance(0.15):
                continue
            if isinstance(message, wire.Run) and (message.actor or message.home is not None):
                continue
            world.sometimes(f"a late copy of {type(message).__name__}")
            world.at(world.now + dice.spread(0.01, 60.0), self._late, Frame([message]))
            if dice.chance(0.3) and not world.model.runs_once(message):
                world.sometimes("a message came only late")
                frame.messages.remove(message)

    def _late(self, frame: Frame) -> None:
        frame.late = True
        self.taker.on_frame(self.link, frame)

    def _arrive(self, frame: Frame) -> None:
        if frame.lost:
            return
        self.held.append(frame)
        if not self.net.is_blocked(self.sender.name, self.taker.name):
            self.flush()

    def flush(self) -> None:
        while self.held:
            frame = self.held.popleft()
            if self.flight and self.flight[0] is frame:
                self.flight.popleft()
            if frame.lost:
                continue
            if frame.on_sent is not None:
                frame.on_sent()
            self.taker.on_frame(self.link, frame)

    def cut(self, kept: float) -> float:
        """Lose all but this part of what is in flight; return when the last of that arrives."""
        keep = 0
        if not self.net.is_blocked(self.sender.name, self.taker.name):
            keep = int(kept * (len(self.flight) + 1))
        for place, frame in enumerate(self.flight):
            if place >= keep:
                frame.lost = True
                self.net.world.count("frames lost")
        return self.last if keep else self.net.world.now


class Link:
    """One connection between two ends."""

    __slots__ = ("a", "b", "dead", "ended", "epoch", "gone", "net", "ways")

    def __init__(self, net: Network, a: End, b: End) -> None:
        self.net = net
        self.a = a
        self.b = b
        self.dead = False
        #: Epoch of the process at the first end, once it has told.
        self.epoch = 0
        #: What the second end is told instead of its loss.
        self.ended: Any = None
        #: Ends that know that the link is lost.
        self.gone: list[End] = []
        dice = net.dice_of(a, b)
        self.ways = {id(a): Pipe(net, self, a, b, dice), id(b): Pipe(net, self, b, a, dice)}

    def send(self, sender: End, frame: Frame) -> None:
        self.ways[id(sender)].send(frame)

    def other(self, end: End) -> End:
        return self.b if end is self.a else self.a

    def reset(self, kept_a: float, kept_b: float, notice_a: float, notice_b: float) -> None:
        """Lose the link: each end gets a part of what was in flight, and is told some time on."""
        if self.dead:
            return
        now = self.net.world.now
        last_b = self.ways[id(self.a)].cut(kept_a)
        last_a = self.ways[id(self.b)].cut(kept_b)
        self.dead = True
        self.net.links.pop(id(self), None)
        self.net.world.at(max(now + notice_a, last_a) + 1e-6, self._tell, self.a)
        self.net.world.at(max(now + notice_b, last_b) + 1e-6, self._tell, self.b)

    def _tell(self, end: End) -> None:
        if end not in self.gone:
            self.gone.append(end)
            end.on_lost(self)


class Network:
    """All links."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.bandwidth = world.swarm.bandwidth
        self.links: dict[int, Link] = {}
        #: Who cannot be heard by whom, with how many reasons there are.
        self._blocked: dict[tuple[str, str], int] = {}
        #: Whose frames come late and twice.
        self.disorder: dict[str, int] = {}
        self._dice: dict[tuple[str, str], Dice] = {}

    def dice_of(self, a: End, b: End) -> Dice:
        key = (a.name, b.name)
        if key not in self._dice:
            self._dice[key] = Dice(self.world.swarm.seed, f"net/{a.name}/{b.name}")
        return self._dice[key]

    def latency(self, dice: Dice) -> float:
        scale = self.world.swarm.latency_s
        return scale * 0.5 + dice.heavy(scale, 1.0 + 100 * scale)

    def connect(self, a: End, b: End) -> Link | None:
        """A new link, or None if one of the two cannot be heard by the other."""
        if self.is_blocked(a.name, b.name) or self.is_blocked(b.name, a.name):
            return None
        link = Link(self, a, b)
        self.links[id(link)] = link
        return link

    # --- ways that are blocked ---------------------------------------------------------------

    def is_blocked(self, sender: str, taker: str) -> bool:
        return (sender, taker) in self._blocked

    def block(self, pairs: list[tuple[str, str]], lasts_s: float, x: float) -> None:
        """Hold back all that these senders send to these takers, for so long."""
        for pair in pairs:
            self._blocked[pair] = self._blocked.get(pair, 0) + 1
        self.world.at(self.world.now + lasts_s, self._unblock, pairs)
        patience = self.world.swarm.user_timeout_s
        if lasts_s > patience:
            self.world.at(self.world.now + patience * (1 + 0.2 * x), self._give_up, pairs, x)

    def _give_up(self, pairs: list[tuple[str, str]], x: float) -> None:
        for link in self._between(pairs):
            if any(self.is_blocked(*pair) for pair in pairs):
                self.world.sometimes("a link was given up in a partition")
                link.reset(0.0, 0.0, 2.0 * x, 2.0 * (1.0 - x))

    def _unblock(self, pairs: list[tuple[str, str]]) -> None:
        for pair in pairs:
            if pair in self._blocked:
                self._blocked[pair] -= 1
                if not self._blocked[pair]:
                    del self._blocked[pair]
        self._flush(pairs)

    def heal(self) -> None:
        """End all that blocks or disorders."""
        pairs = list(self._blocked)
        self._blocked.clear()
        self.disorder.clear()
        self._flush(pairs)

    def _flush(self, pairs: list[tuple[str, str]]) -> None:
        for link in self._between(pairs):
            for pipe in list(link.ways.values()):
                if not self.is_blocked(pipe.sender.name, pipe.taker.name):
                    pipe.flush()

    def _between(self, pairs: list[tuple[str, str]]) -> list[Link]:
        """The links these pairs have."""
        wanted = {frozenset(pair) for pair in pairs}
        return [
            link
            for link in list(self.links.values())
            if frozenset((link.a.name, link.b.name)) in wanted
        ]
