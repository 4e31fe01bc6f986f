"""A worker process: the real machine, and a shell that carries out what it orders.

Its slots, its store with the values of all objects, its disk and its links are simulated. Where a
process may die at an awkward moment stands a *point*: an armed fault strikes there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tests.simulation.dice import Dice
from tests.simulation.network import Frame, Link
from tests.simulation.process import Process
from tests.simulation.slots import Slot
from tests.simulation.store import Store, Thing
from tests.simulation.swarm import NodePlan
from treadle import wire, worker
from treadle.worker import _events as ev

if TYPE_CHECKING:
    from tests.simulation.faults import Fault
    from tests.simulation.world import World


class Node(Process):
    """One process of a worker's name; a later one of the same name has a higher epoch."""

    tick = ev.Tick()
    role = "worker"

    def __init__(self, world: World, plan: NodePlan, epoch: int) -> None:
        super().__init__(world, plan.id)
        self.plan = plan
        self.epoch = epoch
        self.store = Store()
        self.slots: dict[int, Slot] = {}
        self.link: Link | None = None
        self.peers: dict[str, Link] = {}
        self.armed: list[Fault] = []
        self.disk_full = 0
        self.rotten = 0
        self.draining = False
        self.slot_dice = Dice(world.swarm.seed, f"slots/{plan.id}/{epoch}")
        self.dice = Dice(world.swarm.seed, f"node/{plan.id}/{epoch}")
        self._slot_count = 0
        self._tries = 0
        self.machine = worker.Worker(
            plan.id,
            epoch,
            host=plan.host,
            slots=plan.slots,
            resources=plan.resources,
            memory_bytes=plan.memory_bytes,
            block=f"block-{plan.id}",
            ends_in_s=plan.ends_in_s,
        )

    def start(self) -> None:
        self.post(self.tick, ev.SHELL)
        self.world.at(self.world.now + self.dice.between(0.01, 0.5), self._connect)

    def _connect(self) -> None:
        if not self.alive or self.link is not None:
            return
        self._tries += 1
        link = self.world.net.connect(self, self.world.hub) if self.world.hub.alive else None
        if link is None or self.stopped:
            if link is not None:
                link.dead = True
                self.world.net.links.pop(id(link), None)
            wait = min(3.0, 0.2 * self._tries) * self.dice.between(0.5, 1.5)
            self.world.at(self.world.now + wait, self._connect)
            return
        self._tries = 0
        self.link = link
        link.epoch = self.epoch
        self.post(ev.LinkUp(), ev.SHELL)

    # --- points ------------------------------------------------------------------------------

    def point(self, name: str, slot: Slot | None = None) -> bool:
        """A moment at which an armed fault strikes; True if it did."""
        for fault in self.armed:
            if fault.point != name:
                continue
            if fault.kind == "kill_slot_at" and slot is not None and slot.alive:
                self.armed.remove(fault)
                self.world.strikes(fault)
                self.world.sometimes(f"a slot killed at: {name}")
                slot.die(-9, ours=False)
                return True
            if fault.kind == "kill_worker_at":
                self.armed.remove(fault)
                self.world.strikes(fault)
                self.world.sometimes(f"a worker killed at: {name}")
                self.world.kill(self, fault)
                return True
        return False

    # --- what arrives ------------------------------------------------------------------------

    def from_slot(self, event: Any, thing: Thing | None) -> None:
        self.post(event, ev.SHELL, thing)

    def on_frame(self, link: Link, frame: Frame) -> None:
        if link.other(self) is self.world.hub:
            self.post(frame, ev.SCHEDULER, link)
        else:
            self.post(frame, link.other(self).name, link)

    def on_lost(self, link: Link) -> None:
        if not self.alive:
            return
        if link is self.link:
            self.link = None
            self.post(ev.LinkDown(ev.SCHEDULER), ev.SHELL)
            self.world.at(self.world.now + self.dice.between(0.05, 1.0), self._connect)
            return
        name = link.other(self).name
        if self.peers.get(name) is link:
            del self.peers[name]
            self.post(ev.LinkDown(name), ev.SHELL)

    def give(self, stored: ev.Stored, thing: Thing) -> None:
        """A client has sent us data."""
        self.post(stored, ev.SHELL, thing)

    def take(self, event: Any, source: str, origin: Any) -> None:
        messages = event.messages if isinstance(event, Frame) else event
        if isinstance(event, Frame) and source != ev.SCHEDULER:
            for key, thing in event.objects or ():
                self.store.put(key, thing)
        elif origin is not None and isinstance(event, ev.Stored | ev.Ended):
            self.store.put((event.id, event.attempt), origin)
        world = self.world
        world.note(f"{self.name}.{self.epoch}", source, messages)
        if isinstance(messages, list) and len(messages) == 1:
            messages = messages[0]
        commands = self.machine.handle(messages, source=source, now=world.now)
        if world.time_to_check():
            worker.check(self.machine)
        for command in commands:
            world.digest_of(command)
            self._DO[type(command)](self, command)
            if not self.alive:
                return

    # --- what it orders ----------------------------------------------------------------------

    def _send(self, command: ev.Send) -> None:
        if command.to == ev.SCHEDULER:
            self._send_up(command.messages)
            return
        link = self._peer(command.to)
        if link is None:
            return
        frame = Frame(self.world.through_wire(command.messages))
        for message in command.messages:
            if isinstance(message, wire.Data):
                self._attach_objects(frame, message, command.to)
            elif isinstance(message, wire.GetData) and self.point("fetching"):
                return
        link.send(self, frame)
        if frame.objects and self.point("serving"):
            return

    def _send_up(self, messages: list[Any]) -> None:
        if self.link is None:
            self.world.count("sent without a link")
            return
        self.link.send(self, Frame(self.world.through_wire(messages)))
        for message in messages:
            if isinstance(message, wire.Register):
                if self.point("registering"):
                    return
            elif isinstance(message, wire.Finished) and self.point("finished"):
                return

    def _attach_objects(self, frame: Frame, data: wire.Data, to: str) -> None:
        objects = []
        for held in data.objects:
            thing = self.store.told(held)
            if thing is None or thing.on_disk:
                where = "on disk" if thing else "not here"
                self.world.fail("serve", f"{self.name} sends {held}, which is {where}")
                continue
            frame.size += thing.nbytes
            objects.append(((held.id, held.attempt), _copy(thing)))
        frame.objects = objects
        if objects:
            frame.on_sent = lambda: self.post(ev.Sent(to, data.ask), ev.SHELL)

    def _peer(self, name: str) -> Link | None:
        """The link to another worker; a failure to connect is told as its loss."""
        link = self.peers.get(name)
        if link is not None:
            return link
        other = self.world.nodes.get(name)
        if other is None or not other.alive:
            self.world.at(self.world.now + 0.01, self._no_peer, name)
            return None
        link = self.world.net.connect(self, other)
        if link is None:
            self.world.at(self.world.now + 5.0, self._no_peer, name)
            return None
        stale = other.peers.pop(self.name, None)
        if stale is not None:  # its end has not noticed that it is lost
            stale.gone.append(other)
            other.post(ev.LinkDown(self.name), ev.SHELL)
        self.peers[name] = other.peers[self.name] = link
        return link

    def _no_peer(self, name: str) -> None:
        if name not in self.peers:
            self.post(ev.LinkDown(name), ev.SHELL)

    def _start_slot(self, command: ev.StartSlot) -> None:
        self._slot_count += 1
        self.world.at(
            self.world.now + self.dice.between(0.01, 0.3), self._slot_up, self._slot_count
        )

    def _slot_up(self, number: int) -> None:
        if self.alive:
            self.slots[number] = Slot(self, number)
            self.post(ev.SlotUp(number), ev.SHELL)

    def _kill_slot(self, command: ev.KillSlot) -> None:
        slot = self.slots.get(command.slot)
        if slot is not None:
            self.world.sometimes("a slot ended by order")
            slot.later(self.dice.between(1e-4, 1e-2), lambda: slot.die(-9, ours=True))

    def _feed(self, command: ev.Feed) -> None:
        slot = self.slots.get(command.slot)
        if slot is None:
            self.world.fail("feed", f"{self.name} feeds slot {command.slot}, which never was")
        elif slot.alive:
            slot.feed(command.run)

    def _take_back(self, command: ev.TakeBack) -> None:
        slot = self.slots.get(command.slot)
        if slot is not None and slot.alive and slot.take_back(command.id, command.attempt):
            self.world.sometimes("a packet was taken back")
            slot.say(ev.TakenBack(command.slot, command.id, command.attempt))
            self.point("taken_back", slot)

    def _grant(self, command: ev.Grant) -> None:
        slot = self.slots.get(command.slot)
        if slot is not None and slot.alive:
            slot.later(50e-6, slot.granted, command.id, command.attempt)

    def _deny(self, command: ev.Deny) -> None:
        slot = self.slots.get(command.slot)
        if slot is not None and slot.alive:
            slot.later(50e-6, slot.denied, command.id, command.attempt, command.why)

    def _give_turn(self, command: ev.GiveTurn) -> None:
        slot = self.slots.get(command.slot)
        if slot is not None and slot.alive:
            slot.later(50e-6, slot.turn, command.attempt)

    def _spill(self, command: ev.Spill) -> None:
        if self.point("spilling"):
            return
        delay = self.world.swarm.disk_s * self.dice.between(0.5, 2.0)
        self.world.at(self.world.now + delay, self._spilled, (command.id, command.attempt))

    def _spilled(self, key: tuple[Any, int]) -> None:
        thing = self.store.things.get(key)
        if self.disk_full:
            self.world.sometimes("a spill failed")
            self.post(ev.NotSpilled(*key, "no space"), ev.SHELL)
            return
        if thing is not None:
            self.world.sometimes("an object was spilled")
            thing.on_disk = True
        self.post(ev.Spilled(*key), ev.SHELL)

    def _restore(self, command: ev.Restore) -> None:
        delay = self.world.swarm.disk_s * self.dice.between(0.5, 2.0)
        self.world.at(self.world.now + delay, self._restored, (command.id, command.attempt))

    def _restored(self, key: tuple[Any, int]) -> None:
        thing = self.store.things.get(key)
        if self.rotten and thing is not None:
            self.rotten -= 1
            self.world.sometimes("an object rotted on disk")
            self.world.model.losses += 1
            self.store.discard(key)
            self.post(ev.NotRestored(*key, "checksum"), ev.SHELL)
            return
        if thing is not None:
            self.world.sometimes("an object was restored")
            thing.on_disk = False
        self.post(ev.Restored(*key), ev.SHELL)

    def _discard(self, command: ev.Discard) -> None:
        self.store.discard((command.id, command.attempt))

    def _exit(self, command: ev.Exit) -> None:
        self.world.sometimes("a worker ended by order")
        self.die(0, accuses=False, why="it has left")
        if self.world.quiet:  # its block is started again: tasks may be bound to its name
            self.world.at(self.world.now + 1.0, self.world.restart, self)

    def drain(self, why: str, grace_s: float) -> None:
        """Somebody outside wants it gone."""
        self.draining = True
        self.post(ev.DrainAsked(why, grace_s), ev.SHELL)
        if self.alive:
            self.point("draining")

    def die(self, exit_code: int, *, accuses: bool, why: str) -> None:
        """The process ends, and all it had is gone."""
        if not self.alive:
            return
        self.alive = False
        self.world.keep_refused(self)
        self.world.model.node_ends(self, accuses=accuses)
        for slot in self.slots.values():
            slot.alive = False
        link, self.link = self.link, None
        self.world.hub.worker_ended(self, link, exit_code, accuses, why)
        for peer in list(self.peers.values()):
            peer.reset(0.0, self.dice.roll(), 0.0, 0.02)

    _DO: ClassVar[dict[type, Any]] = {
        ev.Send: _send,
        ev.StartSlot: _start_slot,
        ev.KillSlot: _kill_slot,
        ev.Feed: _feed,
        ev.TakeBack: _take_back,
        ev.GiveTurn: _give_turn,
        ev.Grant: _grant,
        ev.Deny: _deny,
        ev.Spill: _spill,
        ev.Restore: _restore,
        ev.Discard: _discard,
        ev.Exit: _exit,
    }


def _copy(thing: Thing) -> Thing:
    return Thing(thing.values, thing.nbytes, thing.type)
