"""What one seed's world is like: its cluster, its network, which faults and features it has.

Each seed enables a random half of the faults, at random rates: a world with every fault at once
hides what one fault would show alone.
"""

from __future__ import annotations

from msgspec import Struct

from tests.simulation.dice import Dice

#: Kinds of faults, and how many there are in a run where they are enabled, at most.
FAULTS: dict[str, int] = {
    "kill_worker": 6,
    "kill_worker_at": 8,
    "kill_slot": 10,
    "kill_slot_at": 10,
    "pause_worker": 4,
    "pause_scheduler": 2,
    "slow_worker": 2,
    "double_start": 2,
    "preempt": 3,
    "reset": 8,
    "reset_peers": 6,
    "stall": 6,
    "partition": 3,
    "swizzle": 1,
    "drop_run": 4,
    "disorder": 3,
    "disk_full": 2,
    "disk_rot": 3,
    "late_ticks": 2,
    "client_reset": 4,
    "client_gone": 2,
    "client_vanish": 1,
}

#: What clients do beyond submitting tasks and releasing their results.
FEATURES = (
    "graphs",
    "singles",
    "bundles",
    "raises",
    "killers",
    "poison",
    "hangs",
    "wobbles",
    "giants",
    "resources",
    "restrictions",
    "wide",
    "priorities",
    "cancels",
    "early_release",
    "desires",
    "retries",
    "scatter",
    "text_keys",
    "gathers",
    "fire",
    "publish",
    "replicate",
    "rebalance",
    "retire",
    "questions",
    "actors",
    "nests",
    "moves",
    "beside",
    "lingers",
    "restarts",
)


class NodePlan(Struct, frozen=True):
    """A worker that the cluster is to have."""

    id: str
    host: str
    slots: int
    resources: tuple[tuple[str, float], ...] = ()
    memory_bytes: int = 0
    ends_in_s: float | None = None


class Swarm(Struct, frozen=True):
    """All that a seed decides beforehand, but for the workload and the faults' times."""

    seed: int
    nodes: tuple[NodePlan, ...]
    clients: int
    tasks: int
    chaos_s: float
    features: tuple[str, ...]
    faults: tuple[tuple[str, int], ...]
    latency_s: float
    bandwidth: float
    disk_s: float
    #: A worker's death is seen at once by its process's end; else by the end of its link.
    pidfd: bool
    #: A link that carries nothing for so long is given up by each end on its own.
    user_timeout_s: float
    inline_max: int
    client_lease_s: float


def swarm(seed: int) -> Swarm:
    """The world of this seed."""
    dice = Dice(seed, "swarm")
    hosts = dice.whole(1, 4)
    nodes = tuple(_node(dice, number, hosts) for number in range(dice.whole(1, 8)))
    chaos_s = dice.spread(20.0, 300.0)
    calm = dice.chance(0.05)
    faults = [] if calm else [(kind, most) for kind, most in FAULTS.items() if dice.chance(0.5)]
    return Swarm(
        seed=seed,
        nodes=nodes,
        clients=dice.whole(1, 3),
        tasks=int(dice.spread(4, 500)),
        chaos_s=chaos_s,
        features=tuple(name for name in FEATURES if dice.chance(0.5)),
        faults=tuple((kind, dice.whole(1, most)) for kind, most in faults),
        latency_s=dice.spread(20e-6, 20e-3),
        bandwidth=dice.spread(4e6, 1e9),
        disk_s=dice.spread(1e-3, 0.2),
        pidfd=dice.chance(0.5),
        user_timeout_s=dice.between(6.0, 20.0),
        inline_max=dice.pick((0, 64, 4096)),
        client_lease_s=dice.pick((5.0, 30.0)),
    )


def _node(dice: Dice, number: int, hosts: int) -> NodePlan:
    resources = (("gpu", 1.0),) if dice.chance(0.3) else ()
    if dice.chance(0.3):
        resources += (("memory", float(dice.whole(2, 8))),)
    return NodePlan(
        id=f"w{number}",
        host=f"host{number % hosts}",
        slots=dice.whole(1, 4),
        resources=resources,
        memory_bytes=dice.pick((0, 4 << 20, 64 << 20, 256 << 20)),
        ends_in_s=dice.between(20.0, 200.0) if dice.chance(0.1) else None,
    )
