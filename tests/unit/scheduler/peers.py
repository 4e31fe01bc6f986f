"""What a test of workers and clients needs of a cluster besides the harness: time and comebacks."""

from __future__ import annotations

from typing import Any

from tests.unit.scheduler.harness import Cluster
from treadle import wire


def attempts(cluster: Cluster, worker: str) -> tuple[wire.Attempt, ...]:
    """All that the worker was given and has not answered, as it would list it."""
    return tuple(wire.Attempt(id, number) for id, number in cluster.runs[worker])


def objects(cluster: Cluster, worker: str) -> tuple[wire.Held, ...]:
    """All that the worker holds, as it would list it."""
    return tuple(
        wire.Held(id, number, nbytes, "int")
        for (id, number), nbytes in cluster.holds[worker].items()
    )


def register(cluster: Cluster, worker: str, slots: int = 1, **more: Any) -> list[Any]:
    """The worker's process registers again: with what it has and does, or what the test says."""
    lists = {"holds": objects(cluster, worker), "queued": attempts(cluster, worker)} | more
    epoch = lists.pop("epoch", cluster.epochs[worker])
    return cluster.worker(worker, wire.Register(worker, epoch, "host", slots, **lists))


def beat(cluster: Cluster, worker: str, number: int, *listed: wire.Attempt) -> list[Any]:
    """The worker beats, and lists what it has to do; none given: all of it."""
    return cluster.worker(worker, wire.Beat(number, listed or attempts(cluster, worker)))


def live(cluster: Cluster, seconds: float, *beating: str) -> list[Any]:
    """Time passes: ticks come when they are wanted, and these peers beat once a second."""
    told = []
    end = cluster.now + seconds
    while True:
        wanted = cluster.scheduler.wake_at
        due = min(end, cluster.now + 1.0, end if wanted is None else wanted)
        told += cluster.tick(max(0.0, due - cluster.now))
        for peer in beating:
            role, _, name = peer.partition("/")
            if role == "worker":
                told += beat(cluster, name, int(cluster.now * 1000))
            else:
                told += cluster.client(name, wire.ClientBeat(int(cluster.now * 1000)))
        if cluster.now >= end:
            return told
