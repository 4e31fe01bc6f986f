"""The end of a run: in a quiet world all that was begun ends, and nothing is left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from treadle import scheduler, worker

if TYPE_CHECKING:
    from tests.simulation.world import World


def finish(world: World) -> None:
    """Let all clients' work end, let them leave, and look at what is left.

    Raises:
        SimulationFailed: something did not end in time, or is still there.
    """
    patience = _patience(world)
    last = max((todo.at for client in world.clients for todo in client.plan.todo), default=0.0)
    world.model.progress_at = max(world.now, last)
    while any(client.open_ends() for client in world.clients):
        if world.now > world.model.progress_at + patience:
            _stuck(world, patience)
        world.run_until(world.now + 1.0)
    for client in world.clients:
        client.leave()
    lease_s = world.hub.machine.books.policy.lease_s
    linger_s = world.hub.machine.books.policy.linger_s
    world.run_until(world.now + lease_s + world.swarm.client_lease_s + 2 * linger_s + 60.0)
    scheduler.check(world.hub.machine)
    for node in world.nodes.values():
        if node.alive:
            worker.check(node.machine)
    left = leftovers(world)
    if left:
        world.fail("leak", "; ".join(left))


def _patience(world: World) -> float:
    """In a quiet world some task comes nearer to its end in so many seconds.

    Tasks, their attempts and their failures are finite, so this bounds the whole phase.
    """
    lease_s = world.hub.machine.books.policy.lease_s
    longest = biggest = 0.0
    for known in world.model.tasks.values():
        if known.program is not None:
            seconds = known.program.seconds * 1.3 * max(1, known.bundle.rows)
            longest = max(longest, seconds, known.options.walltime_s or 0.0)
            biggest = max(biggest, known.program.nbytes / world.swarm.bandwidth)
    return 120.0 + 3 * lease_s + 3 * longest + 8 * biggest


def _stuck(world: World, patience: float) -> None:
    lines = [f"nothing came nearer to its end in {patience:.1f} s:"]
    machine = world.hub.machine
    for client in world.clients:
        ends = client.open_ends()
        lines.append(f"{client.name} waits for {len(ends)}: {ends[:10]}")
        for end in ends[:10]:
            wish = client.wishes.get(end)
            if wish is not None:
                told = "being fetched" if wish.gathering else wish.told
                lines.append(
                    f"  {end} ({told}, {wish.holders}): {_explain(machine, end, world.now)}"
                )
    world.fail("liveness", "\n".join(lines))


def _explain(machine: object, id: object, now: float) -> str:
    try:
        return f"{scheduler.explain(machine, id, now)} {scheduler.story(machine, id)}"
    except Exception as error:  # an explanation that fails must not hide what it is about
        return f"no explanation: {error!r}"


def leftovers(world: World) -> list[str]:
    """What is still there though nobody wants anything any longer."""
    books = world.hub.machine.books
    left = []
    if books.tasks:
        left.append(
            f"the scheduler knows {len(books.tasks)} tasks: {list(books.tasks.values())[:5]}"
        )
    clients = [client.peer for client in books.clients.values() if client.real]
    if clients:
        left.append(f"the scheduler knows clients {clients}")
    wanted = [client for client in books.clients.values() if client.wants_what]
    if wanted:
        left.append(f"still wanted by {wanted}")
    if books.groups:
        left.append(f"the scheduler knows groups {list(books.groups)[:5]}")
    for ws in books.workers.values():
        for name in ("processing", "executing", "has_what", "actors", "unlisted"):
            if getattr(ws, name):
                left.append(f"{ws} at the scheduler has {name}: {getattr(ws, name)}")
        if ws.slots_taken or ws.free != ws.resources:
            left.append(f"{ws}: {ws.slots_taken} slots taken, {ws.free} of {ws.resources} free")
    for node in world.nodes.values():
        if not node.alive:
            continue
        if node.store.things:
            left.append(f"{node.name} holds {list(node.store.things)[:5]}")
        busy = [slot.number for slot in node.slots.values() if slot.alive and slot.run is not None]
        if busy:
            left.append(f"{node.name}: slots {busy} run something")
    return left
