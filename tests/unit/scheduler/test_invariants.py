"""Whatever is made untrue in the books, the invariants notice it, and tell the task's story."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.scheduler.harness import Cluster, task
from treadle import wire
from treadle.scheduler._invariants import check, check_task
from treadle.scheduler._occupancy import take
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import ERRED, MEMORY, RELEASED, WAITING


def lively() -> Cluster:
    """A cluster with tasks in every state.

    `lineage` is released, `done` (of it) in memory, `bad` erred and `worse` with it, `runs` is
    processing, `later` waits for it, `full` waits for a slot and `nowhere` for another worker.
    """
    cluster = Cluster({"w": 1}, clients=("ann", "bob"))
    cluster.submit("ann", task("lineage"), task("done", "lineage"), wants=["done"])
    cluster.drive()
    cluster.submit("ann", task("bad"), task("worse", "bad"))
    cluster.fail("bad")
    cluster.submit("ann", task("runs", resources={}), task("later", "runs"), wants=["later"])
    cluster.submit("ann", task("full"), task("nowhere", resources={"gpu": 1}))
    states = [cluster.state(id) for id in ("lineage", "done", "worse", "runs", "later", "full")]
    assert states == ["released", "memory", "erred", "processing", "waiting", "waiting"]
    assert cluster.state("nowhere") == "no-worker"
    return cluster


def stray(cluster: Cluster) -> TaskState:
    """A task that is not in the books."""
    like = cluster.ts("full")
    return TaskState("stray", b"", like.group, like.options, 0)


def worker(cluster: Cluster):
    return cluster.books.workers["w"]


FAULTS: dict[str, tuple[Callable[[Cluster], object], str]] = {
    "a step ends with slack": (
        lambda c: c.books.slack.append(c.ts("done")),
        "may be unneeded, and the step has ended",
    ),
    "a message is not sent": (
        lambda c: c.books.send(worker(c), wire.Drain()),
        "messages unsent",
    ),
    "a task is filed wrongly": (
        lambda c: c.books.tasks.update(other=c.books.tasks.pop("full")),
        "filed under 'other'",
    ),
    "a link of one end": (
        lambda c: setattr(c.ts("full"), "deps", c.ts("done")),
        "depends on done, which does not know it",
    ),
    "a link of the other end": (
        lambda c: setattr(c.ts("full"), "dependers", c.ts("later")),
        "has the dependent later, which does not know it",
    ),
    "a link to what is gone": (
        lambda c: setattr(c.ts("full"), "deps", stray(c)),
        "depends on stray, which is not in the books",
    ),
    "a tuple of one": (
        lambda c: setattr(c.ts("later"), "deps", (c.ts("runs"),)),
        "keeps 1 dependencies in a tuple",
    ),
    "somebody twice": (
        lambda c: setattr(c.ts("later"), "deps", (c.ts("runs"), c.ts("runs"))),
        "twice among its dependencies",
    ),
    "waits for more than there is": (
        lambda c: setattr(c.ts("later"), "n_waiting_on", 2),
        "counts 2 dependencies to wait for; there are 1",
    ),
    "waits though it runs": (
        lambda c: setattr(c.ts("runs"), "n_waiting_on", 1),
        "counts 1 dependencies to wait for; there are 0",
    ),
    "has more waiters than there are": (
        lambda c: setattr(c.ts("runs"), "n_waiters", 2),
        "counts 2 waiters; there are 1",
    ),
    "a holder of what is not there": (
        lambda c: (setattr(c.ts("full"), "holders", worker(c)), worker(c).has_what.update({c.ts("full"): None})),
        "has 1 holders",
    ),
    "a result that nobody holds": (
        lambda c: (worker(c).has_what.pop(c.ts("done")), setattr(c.ts("done"), "holders", None)),
        "has 0 holders",
    ),
    "a worker that does not know what it holds": (
        lambda c: worker(c).has_what.pop(c.ts("done")),
        "is held by worker w, which does not know it",
    ),
    "a worker that holds what does not know it": (
        lambda c: worker(c).has_what.update({c.ts("full"): None}),
        "stands in worker w's has_what",
    ),
    "bytes": (lambda c: setattr(worker(c), "nbytes", 11), "counts 11 bytes; there are 10"),
    "a result without a size": (lambda c: setattr(c.ts("done"), "nbytes", None), "unknown size"),
    "processed by nobody": (
        lambda c: setattr(c.ts("runs"), "processing_on", None),
        "is processed by None",
    ),
    "processed though it waits": (
        lambda c: setattr(c.ts("full"), "processing_on", worker(c)),
        "is processed by <WorkerState 'w'",
    ),
    "a worker that does not know what it does": (
        lambda c: worker(c).processing.pop(c.ts("runs")),
        "processed by worker w, which does not know it",
    ),
    "a worker that does what does not know it": (
        lambda c: worker(c).processing.update({c.ts("full"): 0.5}),
        "stands in worker w's processing",
    ),
    "slots": (lambda c: setattr(worker(c), "slots_taken", 0), "counts 0 slots taken; there are 1"),
    "backlog": (lambda c: setattr(worker(c), "backlog_s", 7.0), "counts 7.0 seconds of backlog"),
    "resources": (lambda c: worker(c).free.update(gpu=1.0), "counts 1 resources; there are 0"),
    "executes what it has not": (
        lambda c: worker(c).executing.update({c.ts("full"): 1.0}),
        "executes, is a suspect, unlisted or aside on w",
    ),
    "a suspect that nobody knows": (
        lambda c: setattr(c.ts("runs").rarely(), "suspicious", 1),
        "is a suspect; worker w does not know that",
    ),
    "an actor that is none": (
        lambda c: worker(c).actors.update({c.ts("done"): None}),
        "stands in worker w's actors",
    ),
    "blame without an error": (
        lambda c: setattr(c.ts("full"), "exception_blame", c.ts("bad")),
        "blames <TaskState 'bad'",
    ),
    "an error without blame": (
        lambda c: setattr(c.ts("worse"), "exception_blame", None),
        "blames None",
    ),
    "an exception that is another's": (
        lambda c: setattr(c.ts("worse"), "failure", c.ts("bad").failure),
        "has the exception",
    ),
    "blame of what has not failed": (
        lambda c: (setattr(c.ts("worse"), "exception_blame", c.ts("full"))),
        "blames full, which has not failed",
    ),
    "an attempt that was never handed out": (
        lambda c: setattr(c.ts("runs"), "attempt", 999),
        "has the attempt 999",
    ),
    "two tasks with one attempt": (
        lambda c: setattr(c.ts("runs"), "attempt", c.ts("done").attempt),
        "and so has",
    ),
    "a wish of one end": (
        lambda c: c.books.clients["client/bob"].wants_what.update({c.ts("full"): None}),
        "is wanted by client/bob, and does not know it",
    ),
    "a wish of the other end": (
        lambda c: c.books.clients["client/ann"].wants_what.pop(c.ts("full")),
        "is wanted by client/ann, who does not know it",
    ),
    "a wish of who has left": (
        lambda c: c.books.clients.pop("client/ann"),
        "is wanted by client/ann, who has left",
    ),
    "a result that nobody needs": (
        lambda c: (
            setattr(c.ts("done"), "wanters", None),
            c.books.clients["client/ann"].wants_what.pop(c.ts("done")),
        ),
        "is needed by nobody",
    ),
    "a needed task that nothing is done about": (
        lambda c: (
            setattr(c.ts("lineage"), "wanters", c.books.clients["client/bob"]),
            c.books.clients["client/bob"].wants_what.update({c.ts("lineage"): None}),
        ),
        "is needed, and nothing is done about it",
    ),
    "lost dependencies of what is to run": (
        lambda c: setattr(c.ts("later").rarely(), "has_lost_dependencies", True),
        "has lost dependencies, and is to be processed",
    ),
    "no worker though there is one": (
        lambda c: worker(c).resources.update(gpu=1.0) or worker(c).free.update(gpu=1.0),
        "could run on ['w']",
    ),
    "a group that counts wrongly": (
        lambda c: c.ts("full").group.counts.__setitem__(WAITING, 9),
        "its tasks are",
    ),
    "a group of another number": (
        lambda c: setattr(c.ts("full").group, "n_tasks", 9),
        "counts 9 tasks",
    ),
    "a group that is not in the books": (
        lambda c: c.books.groups.clear(),
        "which is not in the books",
    ),
    "a prefix that does not know its group": (
        lambda c: c.ts("full").prefix.groups.clear(),
        "is not a group of its prefix",
    ),
    "nobody keeps what was forgotten": (
        lambda c: c.books.clients.pop("fire-and-forget"),
        "fired and forgotten",
    ),
    "a task that stands in no queue": (
        lambda c: next(d for d in c.books.queues.demands.values() if d.n).withdraw(c.ts("full")),
        "is not queued",
    ),
}  # fmt: skip


def test_what_is_true_is_no_fault():
    cluster = lively()
    check(cluster.scheduler)
    for ts in cluster.books.tasks.values():
        check_task(cluster.books, ts)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_noticed(name):
    cluster = lively()
    harm, text = FAULTS[name]
    harm(cluster)
    with pytest.raises(AssertionError) as caught:
        check(cluster.scheduler)
    assert text in str(caught.value)


def test_a_complaint_tells_the_story():
    cluster = lively()
    cluster.ts("later").n_waiting_on = 0
    with pytest.raises(AssertionError, match="story of task later: released > waiting$"):
        check_task(cluster.books, cluster.ts("later"))


def test_two_suspects_do_not_share_a_worker():
    cluster = Cluster({"w": 3})
    cluster.submit("ann", task("a"), task("b"))
    ws = worker(cluster)
    for id in "ab":
        ts = cluster.ts(id)
        ts.rarely().suspicious = 1
        ws.suspects[ts] = None
    with pytest.raises(AssertionError, match="counts 2 suspects together"):
        check(cluster.scheduler)


def test_what_only_its_end_was_wanted_of_is_let_go():
    cluster = lively()
    take_for = cluster.books.clients["fire-and-forget"]
    ts = cluster.ts("bad")
    ts.wanters = (ts.wanters, take_for)
    take_for.wants_what[ts] = None
    with pytest.raises(AssertionError, match="was only wanted to end"):
        check(cluster.scheduler)


@pytest.mark.parametrize("code", [MEMORY, ERRED, RELEASED])
def test_a_state_that_is_changed_by_hand_is_noticed(code):
    cluster = lively()
    cluster.ts("runs").code = code
    with pytest.raises(AssertionError):
        check_task(cluster.books, cluster.ts("runs"))


def test_a_worker_that_is_given_too_much_is_noticed():
    cluster = Cluster()
    cluster.join("w", 2, resources={"gpu": 1})
    cluster.submit("ann", task("a", resources={"gpu": 1}), task("b", resources={"gpu": 1}))
    ws = worker(cluster)
    take(ws, cluster.ts("b"), 0.5)
    with pytest.raises(AssertionError):
        check(cluster.scheduler)
