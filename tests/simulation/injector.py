"""Faults strike: how each kind of `Fault` changes the world."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.faults import Fault

if TYPE_CHECKING:
    from tests.simulation.world import World


def inject(world: World, fault: Fault) -> None:
    """Let this fault strike now, if what it strikes is there."""
    if not world.quiet:
        _STRIKE[fault.kind](world, fault)


def _kill_worker(world: World, fault: Fault) -> None:
    node = world.nodes[fault.node]
    if node.alive:
        world.strikes(fault)
        world.kill(node, fault)


def _arm(world: World, fault: Fault) -> None:
    node = world.nodes[fault.node]
    if fault.point == "spilling":  # only one with little memory does
        small = [one for one in world.nodes.values() if one.plan.memory_bytes]
        node = min(small, key=lambda one: one.plan.memory_bytes, default=node)
    node.armed.append(fault)


def _kill_slot(world: World, fault: Fault) -> None:
    """Kill a slot, one that runs something rather than an idle one."""
    slots = [slot for slot in world.nodes[fault.node].slots.values() if slot.alive]
    busy = [slot for slot in slots if slot.blame is not None]
    if slots:
        world.strikes(fault)
        world.sometimes("a busy slot was killed" if busy else "an idle slot was killed")
        pool = busy or slots
        pool[fault.n % len(pool)].die(-9, ours=False)


def _pause_worker(world: World, fault: Fault) -> None:
    node = world.nodes[fault.node]
    if node.alive:
        world.strikes(fault)
        lease = world.hub.machine.books.policy.lease_s
        length = "longer" if fault.lasts_s > lease else "shorter"
        world.sometimes(f"a worker was stopped {length} than its lease")
        _pause(world, node, fault.lasts_s)


def _pause_scheduler(world: World, fault: Fault) -> None:
    world.strikes(fault)
    world.sometimes("the scheduler was stopped")
    _pause(world, world.hub, fault.lasts_s * (2 if fault.x < 0.5 else 0.2))


def _pause(world: World, process: Any, lasts_s: float) -> None:
    process.stop()
    world.at(world.now + lasts_s, process.resume)


def _slow_worker(world: World, fault: Fault) -> None:
    node = world.nodes[fault.node]
    world.strikes(fault)
    node.cpu_s = 0.001 + 0.1 * fault.x * fault.x
    world.at(world.now + fault.lasts_s, setattr, node, "cpu_s", 0.0)


def _late_ticks(world: World, fault: Fault) -> None:
    process = world.hub if fault.n % 2 else world.nodes[fault.node]
    world.strikes(fault)
    world.sometimes("ticks came late")
    process.late_s = 5.0 * fault.x
    world.at(world.now + fault.lasts_s, setattr, process, "late_s", 0.0)


def _double_start(world: World, fault: Fault) -> None:
    if world.nodes[fault.node].alive:
        world.strikes(fault)
        world.sometimes("a block was started twice")
        world.start_node(world.nodes[fault.node].plan)


def _preempt(world: World, fault: Fault) -> None:
    """A signal, some grace, and the end; the batch system starts the block again later."""
    node = world.nodes[fault.node]
    if not node.alive:
        return
    world.strikes(fault)
    world.sometimes("preempted while it drained" if node.draining else "preempted")
    grace_s = 30.0 * fault.x

    def end() -> None:
        if node.alive and not world.quiet:
            world.sometimes("the grace of a preemption ended")
            node.die(-15, accuses=False, why="preempted")
        if fault.y > 0.3 and not world.quiet:
            world.at(world.now + fault.lasts_s, world.restart, node)

    world.at(world.now + grace_s, end)
    node.drain("preempted", grace_s)


def _reset(world: World, fault: Fault) -> None:
    link = world.nodes[fault.node].link
    if link is not None:
        world.strikes(fault)
        notice = (0.01, 0.5, 3.0)[fault.n % 3]
        link.reset(fault.x, fault.y, notice * fault.y, notice * fault.x)


def _reset_peers(world: World, fault: Fault) -> None:
    node = world.nodes[fault.node]
    links = list(node.peers.values())
    if links:
        world.strikes(fault)
        world.sometimes("a link between workers was lost")
        links[fault.n % len(links)].reset(fault.x, fault.y, 0.5 * fault.y, 0.5 * fault.x)


def _stall(world: World, fault: Fault) -> None:
    """Nothing passes between a worker and the scheduler, one way or both."""
    up, down = (fault.node, "scheduler"), ("scheduler", fault.node)
    pairs = [[up], [down], [up, down]][fault.n % 3]
    world.strikes(fault)
    world.net.block(pairs, fault.lasts_s, fault.x)


def _partition(world: World, fault: Fault) -> None:
    """A group of workers hears nobody else, or is not heard, or both; now and then a client too."""
    names = [node.id for node in world.swarm.nodes]
    inside = [name for place, name in enumerate(names) if fault.n >> place & 1] or names[:1]
    outside = [name for name in names if name not in inside]
    if fault.y < 0.5:
        outside.append("scheduler")
    outside += [client.name for client in world.clients] if fault.y < 0.7 else []
    pairs = []
    for one in inside:
        for other in outside:
            if fault.n % 3 != 0:
                pairs.append((one, other))
            if fault.n % 3 != 1:
                pairs.append((other, one))
    world.strikes(fault)
    world.sometimes("a partition, one way" if fault.n % 3 != 2 else "a partition")
    world.net.block(pairs, fault.lasts_s, fault.x)


def _drop_run(world: World, fault: Fault) -> None:
    world.strikes(fault)
    peer = f"worker/{fault.node}"
    world.hub.dropping[peer] = world.hub.dropping.get(peer, 0) + 1


def _disorder(world: World, fault: Fault) -> None:
    """For a while, what a worker and the scheduler send comes late, twice and in disorder."""
    world.strikes(fault)
    for name in (fault.node, "scheduler"):
        world.net.disorder[name] = world.net.disorder.get(name, 0) + 1
        world.at(world.now + fault.lasts_s, _order, world, name)


def _order(world: World, name: str) -> None:
    left = world.net.disorder.pop(name, 0) - 1
    if left > 0:
        world.net.disorder[name] = left


def _disk_full(world: World, fault: Fault) -> None:
    node = world.nodes[fault.node]
    world.strikes(fault)
    node.disk_full += 1
    world.at(world.now + fault.lasts_s, setattr, node, "disk_full", 0)


def _disk_rot(world: World, fault: Fault) -> None:
    world.strikes(fault)
    world.nodes[fault.node].rotten += 1


def _client(world: World, fault: Fault) -> Any:
    return world.clients[int(fault.node[1:]) % len(world.clients)]


def _client_reset(world: World, fault: Fault) -> None:
    client = _client(world, fault)
    if client.link is not None:
        world.strikes(fault)
        client.away_s = 0.0
        client.link.reset(fault.x, fault.y, 0.5 * fault.y, 0.5 * fault.x)


def _client_gone(world: World, fault: Fault) -> None:
    """A client that is without a link for longer, perhaps, than its lease."""
    client = _client(world, fault)
    if client.link is not None:
        world.strikes(fault)
        client.away_s = world.swarm.client_lease_s * (0.5 + fault.x)
        client.link.reset(fault.x, fault.y, 0.01, 0.5 * fault.x)


def _client_vanish(world: World, fault: Fault) -> None:
    client = _client(world, fault)
    if client.link is not None and client is not world.clients[0]:
        world.strikes(fault)
        world.sometimes("a client vanished for good")
        client.vanish(fault.x)


_STRIKE: dict[str, Callable[[World, Fault], None]] = {
    "kill_worker": _kill_worker,
    "kill_worker_at": _arm,
    "kill_slot": _kill_slot,
    "kill_slot_at": _arm,
    "pause_worker": _pause_worker,
    "pause_scheduler": _pause_scheduler,
    "slow_worker": _slow_worker,
    "double_start": _double_start,
    "preempt": _preempt,
    "reset": _reset,
    "reset_peers": _reset_peers,
    "stall": _stall,
    "partition": _partition,
    "drop_run": _drop_run,
    "disorder": _disorder,
    "disk_full": _disk_full,
    "disk_rot": _disk_rot,
    "late_ticks": _late_ticks,
    "client_reset": _client_reset,
    "client_gone": _client_gone,
    "client_vanish": _client_vanish,
}
