"""A cluster round the scheduler's machine: clients and workers that say what a test lets them say.

`Cluster` keeps every message that was sent and every task that ever was, and looks at the
invariants after each step. Nothing happens by itself: a worker's answers are given one by one
(`finish`, `fail`, ...) or by a rule, until nothing is left to do (`drive`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from treadle import wire
from treadle.scheduler import SHELL, LinkLost, PeerGone, Policy, Scheduler, TaskState, Tick
from treadle.scheduler._invariants import check

OOPS = wire.Failure("exception", "ValueError", "oops", b"pickled", "Traceback ...")


def task(id: wire.TaskId, *deps: wire.TaskId, name: str = "f", **more: Any) -> dict[str, Any]:
    """A task as `Cluster.submit` takes it; options and fields of `TaskSpec` by their names."""
    options = {key: more.pop(key) for key in list(more) if key in wire.Options.__struct_fields__}
    if "resources" in options:
        options["resources"] = tuple(sorted(dict(options["resources"]).items()))
    spec = {"id": id, "name": name, "run_spec": f"run {id}".encode(), "dependencies": deps, **more}
    return {"spec": spec, "options": wire.Options(**options)}


def finished(run: wire.Run) -> wire.Message:
    """A rule: it has a result."""
    return wire.Finished(run.id, run.attempt, 10, "int", 0.25, rows=max(1, len(run.rows)))


def raised(run: wire.Run) -> wire.Message:
    """A rule: it raises."""
    return wire.Failed(run.id, run.attempt, OOPS, 0.25, rows=max(1, len(run.rows)))


class Cluster:
    """One scheduler, its clients and its workers.

    Args:
        workers: slots of each worker there is from the beginning, by its name.
        clients: who is attached from the beginning; the first has session 1, and so on.
        policy: what may be chosen about the scheduler's decisions.
    """

    def __init__(
        self,
        workers: dict[str, int] | None = None,
        clients: tuple[str, ...] = ("ann",),
        policy: Policy | None = None,
        **settings: Any,
    ) -> None:
        self.scheduler = Scheduler(policy or Policy(**settings))
        self.books = self.scheduler.books
        self.now = 100.0
        #: All that was ever sent: to whom, and what.
        self.sent: list[tuple[str, wire.Message]] = []
        #: What was sent in the last step.
        self.last: list[tuple[str, wire.Message]] = []
        #: Every task there ever was, also when it is forgotten; the newest of its id.
        self.seen: dict[wire.TaskId, TaskState] = {}
        #: Attempts that each worker was given and has not answered; and what it holds.
        self.runs: dict[str, dict[tuple[wire.TaskId, int], wire.Run]] = {}
        self.holds: dict[str, dict[tuple[wire.TaskId, int], int]] = {}
        self.epochs: dict[str, int] = {}
        for client in clients:
            self.attach(client)
        for worker, slots in (workers or {}).items():
            self.join(worker, slots)

    # --- steps -------------------------------------------------------------------------------

    def step(self, event: Any, source: str, after_s: float = 0.0) -> list[wire.Message]:
        """One event, `after_s` later; then the books must balance."""
        self.now += after_s
        sends = self.scheduler.handle(event, source=source, now=self.now)
        check(self.scheduler)
        self.seen.update(self.books.tasks)
        self.last = []
        for send in sends:
            for message in send.messages:
                self.last.append((send.to, message))
                if send.to.startswith("worker/"):
                    self._obey(send.to[7:], message)
        self.sent += self.last
        return [message for _, message in self.last]

    def _obey(self, worker: str, message: wire.Message) -> None:
        if type(message) is wire.Run:
            key = (message.id, message.attempt)
            assert key not in self.runs[worker], "an attempt is given once"
            self.runs[worker][key] = message
        elif type(message) is wire.Stop:
            self.runs[worker].pop((message.id, message.attempt), None)
        elif type(message) is wire.Free:
            self.holds[worker].pop((message.id, message.attempt), None)

    def client(self, name: str, *messages: wire.Message) -> list[wire.Message]:
        """The client says this, in one frame."""
        return self.step([*messages], f"client/{name}")

    def worker(self, name: str, *messages: wire.Message) -> list[wire.Message]:
        """The worker says this, in one frame."""
        return self.step([*messages], f"worker/{name}")

    def shell(self, event: Any, after_s: float = 0.0) -> list[wire.Message]:
        """The shell says this."""
        return self.step(event, SHELL, after_s)

    def tick(self, after_s: float = 0.0) -> list[wire.Message]:
        """Time passes."""
        return self.shell(Tick(), after_s)

    # --- who is there ------------------------------------------------------------------------

    def attach(self, name: str, session: int | None = None, lease_s: float = 30.0) -> list[Any]:
        """A client comes, or comes again."""
        known = [c.session for c in self.books.clients.values() if c.real]
        state = self.books.clients.get(f"client/{name}")
        if session is None:
            session = state.session if state is not None else max(known, default=0) + 1
        return self.client(name, wire.Attach(session, name, lease_s))

    def join(self, name: str, slots: int = 1, host: str = "host", **more: Any) -> list[Any]:
        """A worker comes, as a new process."""
        self.epochs[name] = self.epochs.get(name, 0) + 1
        self.runs[name] = {}
        self.holds[name] = {}
        more["resources"] = tuple(sorted(dict(more.get("resources", ())).items()))
        return self.worker(name, wire.Register(name, self.epochs[name], host, slots, **more))

    def kill(self, name: str, exit_code: int | None = -9, accuses: bool = True) -> list[Any]:
        """A worker's process is dead."""
        self.runs[name] = {}
        self.holds[name] = {}
        return self.shell(PeerGone(f"worker/{name}", exit_code, accuses, "died"))

    def lose_link(self, peer: str) -> list[Any]:
        """The link to `worker/NAME` or `client/NAME` is lost."""
        return self.shell(LinkLost(peer))

    # --- what clients do ---------------------------------------------------------------------

    def submit(self, client: str, *tasks: dict[str, Any], **more: Any) -> list[wire.Message]:
        """Submit tasks made by `task`; `wants` and `graph` as in `wire.Submit`."""
        table: dict[wire.Options, int] = {}
        specs = []
        for each in tasks:
            number = table.setdefault(each["options"], len(table))
            specs.append(wire.TaskSpec(**each["spec"], options=number))
        if more.get("wants") is not None:
            more["wants"] = tuple(more["wants"])
        return self.client(client, wire.Submit(tuple(specs), tuple(table), **more))

    def release(self, client: str, *ids: wire.TaskId) -> list[wire.Message]:
        return self.client(client, wire.Release(ids))

    # --- what workers do ---------------------------------------------------------------------

    def run_of(self, id: wire.TaskId) -> tuple[str, wire.Run]:
        """The newest attempt of a task that some worker has been given and has not answered."""
        found = [
            (run.attempt, worker, run)
            for worker, runs in self.runs.items()
            for run in runs.values()
            if run.id == id
        ]
        assert found, f"no worker has been given {id!r}"
        _, worker, run = max(found, key=lambda each: each[0])
        return worker, run

    def answer(self, id: wire.TaskId, rule: Callable[[wire.Run], wire.Message]) -> list[Any]:
        """The worker that was given the task answers."""
        worker, run = self.run_of(id)
        return self._answer(worker, run, rule(run))

    def _answer(self, worker: str, run: wire.Run, message: wire.Message) -> list[Any]:
        del self.runs[worker][run.id, run.attempt]
        if type(message) is wire.Finished:
            self.holds[worker][run.id, run.attempt] = message.nbytes
        return self.worker(worker, message)

    def start(self, id: wire.TaskId) -> list[Any]:
        """The worker that was given the task says that it has begun."""
        worker, run = self.run_of(id)
        return self.worker(worker, wire.Started((wire.Attempt(run.id, run.attempt),)))

    def finish(self, id: wire.TaskId, nbytes: int = 10, duration_s: float = 0.25) -> list[Any]:
        return self.answer(
            id, lambda run: wire.Finished(run.id, run.attempt, nbytes, "int", duration_s)
        )

    def fail(self, id: wire.TaskId, failure: wire.Failure = OOPS, final: bool = False) -> list[Any]:
        return self.answer(id, lambda run: wire.Failed(run.id, run.attempt, failure, 0.25, final))

    def die(self, id: wire.TaskId, exit_code: int = -11) -> list[Any]:
        """The slot that ran it died."""
        return self.answer(id, lambda run: wire.Died(run.id, run.attempt, exit_code))

    def give_back(
        self, id: wire.TaskId, why: str = "stopped", missing: tuple[tuple[Any, str], ...] = ()
    ) -> list[Any]:
        return self.answer(id, lambda run: wire.Returned(run.id, run.attempt, why, missing))

    def drive(
        self, rule: Callable[[wire.Run], wire.Message] = finished, most: int = 10_000
    ) -> None:
        """Answer all attempts, the oldest first, until no worker has any."""
        for _ in range(most):
            given = [
                (run.attempt, worker, run)
                for worker, runs in self.runs.items()
                for run in runs.values()
            ]
            if not given:
                return
            _, worker, run = min(given, key=lambda each: each[0])
            self._answer(worker, run, rule(run))
        raise AssertionError("there is no end of it")

    # --- what tests look at --------------------------------------------------------------------

    def ts(self, id: wire.TaskId) -> TaskState:
        """The task, also when it is forgotten."""
        return self.seen[id]

    def state(self, id: wire.TaskId) -> str:
        return self.seen[id].state

    def story(self, id: wire.TaskId) -> str:
        """Its states so far."""
        return " > ".join(self.seen[id].story)

    def told(self, peer: str, *kinds: type) -> list[Any]:
        """All that was ever sent to `client/NAME` or `worker/NAME` (of these kinds)."""
        return [m for to, m in self.sent if to == peer and (not kinds or type(m) in kinds)]
