"""What tests of placement ask of a cluster."""

from __future__ import annotations

from typing import Any

from tests.unit.scheduler.harness import Cluster, task
from treadle import wire


def given(cluster: Cluster, worker: str) -> list[wire.TaskId]:
    """What the worker has been given and has not answered, oldest first."""
    return [id for id, _ in cluster.runs[worker]]


def where(cluster: Cluster, id: wire.TaskId) -> str:
    """The worker that has been given the task; empty if none has."""
    return next((worker for worker in cluster.runs if id in given(cluster, worker)), "")


def loads(cluster: Cluster) -> list[int]:
    """How much each worker has been given and has not answered."""
    return [len(runs) for runs in cluster.runs.values()]


def learn(cluster: Cluster, name: str, duration_s: float, nbytes: int = 10) -> None:
    """Let one task of this name finish, so that its duration is known."""
    id = f"learn-{name}-{cluster.now}-{len(cluster.seen)}"
    cluster.submit("ann", task(id, name=name))
    cluster.finish(id, nbytes, duration_s)
    cluster.release("ann", id)


def submit(
    cluster: Cluster, n: int, *deps: wire.TaskId, first: str = "t", **more: Any
) -> list[str]:
    """Submit so many equal tasks; return their keys."""
    ids = [f"{first}{i}" for i in range(n)]
    cluster.submit("ann", *[task(id, *deps, **more) for id in ids])
    return ids


def made_on(cluster: Cluster, worker: str, id: str, nbytes: int, **more: Any) -> str:
    """Have a result of so many bytes made on a worker."""
    cluster.submit("ann", task(id, name="maker", workers=(worker,), **more))
    cluster.finish(id, nbytes)
    return id


def paused(cluster: Cluster, worker: str, now: bool = True) -> list[Any]:
    """The worker says that its memory is full, or free again."""
    return cluster.worker(worker, wire.Status(0, paused=now))
