"""The scheduler's machine under large graphs and many workers, without faults and checkers.

Workers are a plain model: they fetch what a task needs, run it, keep the result until it is freed.
Each worker's way in and way out carry so many bytes a second, each on its own: a way that waits
for another carries something else meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from msgspec import Struct, structs

from tests.simulation.graphs import Graph
from treadle import wire
from treadle.scheduler import Policy, Scheduler, Tick
from treadle.wire import NUMBER_BITS, Options, Run, TaskId, TaskSpec

_SESSION = 1
_CLIENT = "client/scale"
_BATCH = 100_000
#: Nobody is ever given up for silence here.
_NEVER_S = 1e9


class Figures(Struct, frozen=True):
    """What a run of a graph took."""

    tasks: int
    #: Virtual time from the submit to the last result.
    makespan_s: float
    #: Most bytes of results, copies included, in all workers at once; and in one of them.
    peak_bytes: int
    peak_worker_bytes: int
    #: Bytes that went from worker to worker.
    moved_bytes: int
    #: Messages to and from the scheduler.
    messages: int
    #: Processor time inside the scheduler's machine.
    scheduler_cpu_s: float


class _Job:
    """A run that a worker was given."""

    __slots__ = ("missing", "run", "stopped")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.missing = 0
        self.stopped = False


class _Worker:
    """A model of one worker."""

    __slots__ = (
        "coming",
        "free",
        "in_free",
        "jobs",
        "name",
        "nbytes",
        "out_free",
        "peer",
        "ready",
        "store",
    )

    def __init__(self, number: int, slots: int) -> None:
        self.name = f"w{number}"
        self.peer = f"worker/w{number}"
        self.free = slots
        #: When its way in, and its way out, are free.
        self.in_free = self.out_free = 0.0
        self.jobs: dict[TaskId, _Job] = {}
        #: Jobs whose inputs are here: (rank, order, job).
        self.ready: list[tuple[tuple[float, int], int, _Job]] = []
        #: Sizes of what it holds; jobs that wait for what is on its way.
        self.store: dict[TaskId, int] = {}
        self.coming: dict[TaskId, list[_Job]] = {}
        self.nbytes = 0


class _Cluster:
    """The scheduler, its workers, and virtual time."""

    def __init__(
        self,
        graph: Graph,
        *,
        workers: int,
        slots: int,
        bandwidth: float,
        latency: float,
        policy: Policy,
    ) -> None:
        self.graph = graph
        self.bandwidth = bandwidth
        self.latency = latency
        self.now = 0.0
        self.machine = Scheduler(structs.replace(policy, lease_s=_NEVER_S, beat_s=_NEVER_S))
        self.workers = {w.peer: w for w in (_Worker(n, slots) for n in range(workers))}
        self.slots = slots
        self.left = 0
        self.ended_at = 0.0
        self.messages = 0
        self.moved = 0
        self.nbytes = self.peak = self.peak_worker = 0
        self.cpu_s = 0.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = 0
        self._armed: float | None = None

    # --- time and messages -------------------------------------------------------------------

    def at(self, when: float, action: Callable[..., None], *args: Any) -> None:
        self._serial += 1
        heappush(self._heap, (when, self._serial, action, args))

    def tell(self, message: Any, source: str) -> None:
        """A worker or the client tells the scheduler, in a latency's time."""
        self.at(self.now + self.latency, self._handle, message, source)

    def _handle(self, event: Any, source: str) -> None:
        began = time.process_time()
        sends = self.machine.handle(event, source=source, now=self.now)
        self.cpu_s += time.process_time() - began
        self.messages += len(event) if type(event) is list else 1
        for send in sends:
            self.messages += len(send.messages)
            if send.to == _CLIENT:
                self._client(send.messages)
            else:
                self.at(self.now + self.latency, self._worker, send.to, send.messages)
        due = self.machine.wake_at
        if due is not None and (self._armed is None or due < self._armed) and due < _NEVER_S:
            self._armed = due
            self.at(max(due, self.now) + 1e-6, self._tick, due)

    def _tick(self, due: float) -> None:
        if due == self._armed:
            self._armed = None
            self._handle(Tick(), "shell")

    def run(self) -> None:
        for worker in self.workers.values():
            register = wire.Register(worker.name, 1, worker.name, self.slots, starts=False)
            self._handle(register, worker.peer)
        self._handle(wire.Attach(_SESSION), _CLIENT)
        self._submit()
        heap = self._heap
        while heap and self.left:
            self.now, _, action, args = heappop(heap)
            action(*args)
        if self.left:
            raise RuntimeError(f"{self.left} results of {self.graph.title} never came")

    # --- the client --------------------------------------------------------------------------

    def _submit(self) -> None:
        base = _SESSION << NUMBER_BITS
        wanted = sorted(self.graph.finals())
        self.left = len(wanted)
        for start in range(0, len(self.graph), _BATCH):
            nodes = self.graph.nodes[start : start + _BATCH]
            tasks = tuple(
                TaskSpec(
                    base | start + place,
                    node.name,
                    b"",
                    tuple(base | one for one in node.dependencies),
                )
                for place, node in enumerate(nodes)
            )
            # What a later message needs must be wanted until that has come.
            here = range(start, start + len(nodes))
            last = start + len(nodes) == len(self.graph)
            ids = here if not last else [n for n in wanted if n >= start]
            self._handle(
                wire.Submit(tasks, (Options(),), tuple(base | n for n in ids), graph=True), _CLIENT
            )
        first = len(self.graph) - len(nodes)
        keep = set(wanted)
        for start in range(0, first, _BATCH):
            ids = [n for n in range(start, start + _BATCH) if n not in keep]
            self._handle(wire.Release(tuple(base | n for n in ids)), _CLIENT)

    def _client(self, messages: list[Any]) -> None:
        for message in messages:
            if type(message) is wire.Done:
                self.left -= 1
                self.ended_at = self.now + self.latency
            elif type(message) is wire.Erred or type(message) is wire.Cancelled:
                raise RuntimeError(f"{self.graph.title}: {message}")

    # --- workers -----------------------------------------------------------------------------

    def _worker(self, peer: str, messages: list[Any]) -> None:
        worker = self.workers[peer]
        for message in messages:
            kind = type(message)
            if kind is Run:
                self._given(worker, message)
            elif kind is wire.Free:
                size = worker.store.pop(message.id, 0)
                worker.nbytes -= size
                self.nbytes -= size
            elif kind is wire.Stop:
                job = worker.jobs.pop(message.id, None)
                if job is not None:
                    job.stopped = True
                    self.tell(wire.Returned(message.id, message.attempt, "stopped"), peer)
        self._start(worker)

    def _given(self, worker: _Worker, run: Run) -> None:
        job = worker.jobs[run.id] = _Job(run)
        for given in run.inputs:
            if given.id in worker.store:
                continue
            job.missing += 1
            waiting = worker.coming.get(given.id)
            if waiting is not None:
                waiting.append(job)
                continue
            worker.coming[given.id] = [job]
            holder = min(
                (self.workers[f"worker/{name}"] for name in given.holders),
                key=lambda one: one.out_free,
            )
            takes_s, soon = given.nbytes / self.bandwidth, self.now + 2 * self.latency
            worker.in_free = max(soon, worker.in_free) + takes_s
            holder.out_free = max(soon, holder.out_free) + takes_s
            end = max(worker.in_free, holder.out_free)
            self.moved += given.nbytes
            self.at(end, self._arrived, worker, given.id, given.attempt, given.nbytes)
        if not job.missing:
            self._ready(worker, job)

    def _arrived(self, worker: _Worker, id: TaskId, attempt: int, nbytes: int) -> None:
        self._keep(worker, id, nbytes)
        self.tell(wire.Holding((wire.Held(id, attempt, nbytes),)), worker.peer)
        for job in worker.coming.pop(id):
            job.missing -= 1
            if not job.missing:
                self._ready(worker, job)
        self._start(worker)

    def _keep(self, worker: _Worker, id: TaskId, nbytes: int) -> None:
        if id in worker.store:
            return
        worker.store[id] = nbytes
        worker.nbytes += nbytes
        self.nbytes += nbytes
        self.peak = max(self.peak, self.nbytes)
        self.peak_worker = max(self.peak_worker, worker.nbytes)

    def _ready(self, worker: _Worker, job: _Job) -> None:
        self._serial += 1
        heappush(worker.ready, (job.run.rank, self._serial, job))

    def _start(self, worker: _Worker) -> None:
        while worker.free and worker.ready:
            _, _, job = heappop(worker.ready)
            if job.stopped:
                continue
            worker.free -= 1
            node = self._node(job.run.id)
            self.at(self.now + node.duration_s, self._ended, worker, job)

    def _node(self, id: TaskId) -> Any:
        assert isinstance(id, int)
        return self.graph.nodes[id & ((1 << NUMBER_BITS) - 1)]

    def _ended(self, worker: _Worker, job: _Job) -> None:
        worker.free += 1
        if not job.stopped:
            run, node = job.run, self._node(job.run.id)
            del worker.jobs[run.id]
            self._keep(worker, run.id, node.nbytes)
            done = wire.Finished(run.id, run.attempt, node.nbytes, "object", node.duration_s)
            self.tell(done, worker.peer)
        self._start(worker)


def run_graph(
    graph: Graph,
    *,
    workers: int = 1000,
    slots: int = 1,
    bandwidth: float = 1e9,
    latency: float = 0.0005,
    policy: Policy | None = None,
) -> Figures:
    """Run a graph to its end in virtual time.

    Args:
        graph: what to run; the client wants the results that nothing depends on.
        workers: how many there are, with `slots` each.
        bandwidth: bytes a second into each worker, and out of each.
        latency: seconds that every message takes.
        policy: of the scheduler; its own default if None.
    """
    cluster = _Cluster(
        graph,
        workers=workers,
        slots=slots,
        bandwidth=bandwidth,
        latency=latency,
        policy=policy or Policy(),
    )
    cluster.run()
    return Figures(
        tasks=len(graph),
        makespan_s=cluster.ended_at,
        peak_bytes=cluster.peak,
        peak_worker_bytes=cluster.peak_worker,
        moved_bytes=cluster.moved,
        messages=cluster.messages,
        scheduler_cpu_s=cluster.cpu_s,
    )
