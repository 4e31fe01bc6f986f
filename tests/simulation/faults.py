"""What goes wrong, when, and where: a list of values, made from the seed before the run.

A run takes all decisions about faults from this list, so it can be saved, replayed against changed
code and cut down to the few faults that matter.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from tests.simulation.dice import Dice
from tests.simulation.swarm import Swarm

#: Where a slot may be killed, and a worker.
SLOT_POINTS = ("read", "blamed", "granted", "ended")
WORKER_POINTS = (
    "taken_back",
    "read",
    "blamed",
    "granted",
    "ended",
    "finished",
    "spilling",
    "draining",
    "serving",
    "fetching",
    "registering",
)


class Fault(Struct, frozen=True, omit_defaults=True):
    """One fault. `x`, `y`: from 0 to 1, what they scale depends on the kind; `n`: which of many."""

    at: float
    kind: str
    node: str = ""
    point: str = ""
    lasts_s: float = 0.0
    x: float = 0.0
    y: float = 0.0
    n: int = 0


class Schedule(Struct, frozen=True):
    """A saved run."""

    swarm: Swarm
    faults: list[Fault]


def plan(world: Swarm) -> list[Fault]:
    """The faults of this world, by time."""
    faults: list[Fault] = []
    for kind, count in world.faults:
        dice = Dice(world.seed, f"faults/{kind}")
        # All of a run strike at the same point: a rare one is reached as well.
        points = {"kill_slot_at": SLOT_POINTS, "kill_worker_at": WORKER_POINTS}.get(kind, ("",))
        point = dice.pick(points)
        for _ in range(count):
            if kind == "swizzle":
                faults += _swizzle(world, dice)
            else:
                faults.append(_fault(world, kind, point, dice))
    return sorted(faults, key=lambda fault: fault.at)


def _fault(world: Swarm, kind: str, point: str, dice: Dice) -> Fault:
    at = dice.between(0.0, world.chaos_s)
    node = dice.pick(world.nodes).id
    lasts_s = dice.spread(0.05, 40.0)
    if kind.startswith("client"):
        node = f"c{dice.whole(0, world.clients - 1)}"
    x, y = dice.roll(), dice.roll()
    return Fault(at, kind, node, point, lasts_s, x, y, dice.whole(0, 1 << 16))


def _swizzle(world: Swarm, dice: Dice) -> list[Fault]:
    """Stall the links one by one, and let them go in another order."""
    at, step = dice.between(0.0, world.chaos_s), dice.between(0.05, 2.0)
    nodes = [node.id for node in world.nodes]
    order = dice.shuffled(nodes)
    freed = {node: len(nodes) + place for place, node in enumerate(dice.shuffled(nodes))}
    return [
        Fault(at + step * place, "stall", node, lasts_s=step * (freed[node] - place), n=2)
        for place, node in enumerate(order)
    ]


def save(path: Path, schedule: Schedule) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(schedule), indent=1))


def load(path: Path) -> Schedule:
    return msgspec.json.decode(path.read_bytes(), type=Schedule)
