"""Faults put into the scheduler's machine on purpose, to see whether its tests notice.

python -m tests.unit.scheduler.mutants             every fault, and which are not noticed
python -m tests.unit.scheduler.mutants NAME        the machine's tests with this one put in
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
ROOM = ROOT / "src" / "treadle" / "scheduler"

#: A run that takes longer has met a fault that makes the machine run for ever.
_PATIENCE_S = 120

#: Tests that are tried one after another; the quick ones that notice most come first.
_SUITE = (
    "test_traces.py", "test_task_state.py", "test_loss.py", "test_cancel.py", "test_clients.py",
    "test_workers.py", "test_workers_leases.py", "test_workers_reconcile.py", "test_queues.py",
    "test_invariants.py",
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One line that is not as it should be."""

    name: str
    module: str
    right: str
    wrong: str

    @property
    def path(self) -> Path:
        return ROOM / f"{self.module}.py"

    def source(self) -> str:
        """The module with the fault in it."""
        text = self.path.read_text(encoding="utf-8")
        count = text.count(self.right)
        assert count == 1, f"{self.name}: {self.right!r} stands {count} times in {self.path.name}"
        return text.replace(self.right, self.wrong)


def _of(module: str, *faults: tuple[str, str, str]) -> list[Mutant]:
    return [Mutant(name, module, right, wrong) for name, right, wrong in faults]


MUTANTS: list[Mutant] = [
    *_of(
        "_release",
        ("unwanted-lives-on", "    if ts.wanters is None and not ts.n_waiters:\n        books.slack.append(ts)\n\n\ndef relax", "    pass\n\n\ndef relax"),
        ("waiters-ignored", "        if ts.n_waiters or ts.wanters is not None:", "        if ts.wanters is not None:"),
        ("wanters-ignored", "        if ts.n_waiters or ts.wanters is not None:", "        if ts.n_waiters:"),
        ("lineage-forgotten", "if ts.dependers is not None and ts.repeatable:\n                advance(ts, RELEASED)", "if False:\n                advance(ts, RELEASED)"),
        ("stopped-task-keeps-its-inputs", "            stop(books, ts)\n            advance(ts, RELEASED)\n            inputs_unneeded(books, ts)", "            stop(books, ts)\n            advance(ts, RELEASED)"),
        ("waiting-task-keeps-its-inputs", "            unwait(books, ts)\n            inputs_unneeded(books, ts)\n        if", "            unwait(books, ts)\n        if"),
        ("erred-lineage-forgotten", "if ts.dependers is None or (ts.code != ERRED and not ts.repeatable):", "if ts.dependers is None or not ts.repeatable or ts.code == ERRED:"),
        ("not-withdrawn", "    elif not ts.n_waiting_on:\n        queues.withdraw(books, ts)", "    elif False:\n        queues.withdraw(books, ts)"),
        ("not-stopped", "    books.send(ws, Stop(ts.id, ts.attempt))\n", ""),
        ("inputs-kept", "            books.slack.append(dep)\n\n\ndef free", "            pass\n\n\ndef free"),
        ("not-freed", "        books.send(ws, Free(ts.id, ts.attempt))\n", ""),
        ("bytes-kept", "        del ws.has_what[ts]\n        ws.nbytes -= ts.nbytes or 0\n", "        del ws.has_what[ts]\n"),
        ("lost-dependency-not-told", "        rare.has_lost_dependencies = True\n", ""),
        ("doom-not-told", "        rare.doom = rare.doom or doom\n", ""),
        ("group-kept", "        books.drop_group(group)\n", "        pass\n"),
        ("lineage-of-the-forgotten-kept", "            slack.append(dep)\n    for other", "            pass\n    for other"),
    ),
    *_of(
        "_end",
        ("dependents-not-told", "            other.n_waiting_on -= 1\n            if not", "            if not"),
        ("first-input-is-enough", "            if not other.n_waiting_on:\n                queues.ready(books, other)", "            if other.n_waiting_on >= 0:\n                queues.ready(books, other)"),
        ("unneeded-result-kept", "    if wanters is None:\n        if not ts.n_waiters:\n            books.slack.append(ts)\n", "    if wanters is None:\n"),
        ("end-not-let-go", "            books.send(client, message)\n        elif client.peer == FORGETFUL:\n            unwant(books, ts, client)\n\n\ndef remember", "            books.send(client, message)\n\n\ndef remember"),
        ("failure-does-not-spread", "            for other in each(ts.dependers)\n            if other.code == WAITING or other.code == NO_WORKER\n", "            for other in each(ts.dependers)\n            if False\n"),
        ("failure-keeps-inputs", "        if active:\n            inputs_unneeded(books, ts)\n", ""),
        ("failure-blames-itself", "        ts.exception_blame = blame\n", "        ts.exception_blame = ts\n"),
        ("erred-twice", "        elif ts is not first:\n            continue  # it was reached by another way too\n", ""),
        ("failure-not-told", "        tell_erred(books, ts)\n", ""),
        ("doom-not-spread", "        stack += [other for other in each(ts.dependers) if other.code == WAITING]\n", ""),
        ("doom-not-said", "                books.send(client, Erred(ts.id, failure, blame.id, ts.rows))\n", "                pass\n"),
        ("doomed-keeps-inputs", "            unwait(books, ts)\n            inputs_unneeded(books, ts)\n        elif", "            unwait(books, ts)\n        elif"),
    ),
    *_of(
        "_need",
        ("doomed-tried", "        if rare is not None and rare.has_lost_dependencies:", "        if False:"),
        ("erred-dependency-ignored", "            if dep.code == ERRED:", "            if False:"),
        ("inputs-not-counted", "            dep.n_waiters += 1\n", ""),
        ("inputs-not-computed", "                stack.append(dep)\n", "                pass\n"),
        ("ready-not-queued", "        if not missing:\n            queues.ready(books, ts)\n", ""),
        ("retry-counts-twice", "        dep.n_waiters -= 1  # `need` counts it again: nothing is released in between\n", "        pass\n"),
        ("inputs-of-the-doomed-kept", "    if ts.code != WAITING and ts.code != NO_WORKER:", "    if ts.code == ERRED:"),
        ("no-room-after-a-retry", "    leave(ws, ts)\n    queues.has_room(books, ws)\n    books.note", "    leave(ws, ts)\n    books.note"),
    ),
    *_of(
        "_loss",
        ("deaths-not-counted", "    rare.suspicious += 1\n", ""),
        ("one-death-more", "    if rare.suspicious < most:", "    if rare.suspicious <= most:"),
        ("deaths-not-remembered", "    remember(ts, ws.id, failure)\n", ""),
        ("all-are-accused", "    accused = ws.executing if ws.starts and ws.executing else ws.processing\n", "    accused = ws.processing\n"),
        ("nobody-is-accused", "    accused = dict(accused) if accuses else {}\n", "    accused = {}\n"),
        ("everybody-is-accused", "    accused = dict(accused) if accuses else {}\n", "    accused = dict(accused)\n"),
        ("copies-count-as-lost", "        if ts.holders is None and ts.code == MEMORY:\n            lost(books, ts, f\"worker {ws.id} {why}\")", "        if ts.code == MEMORY:\n            lost(books, ts, f\"worker {ws.id} {why}\")"),
        ("losses-in-the-wrong-order", "for ts in reversed(list(ws.has_what)):", "for ts in list(ws.has_what):"),
        ("data-is-computed-again", "    if not ts.repeatable:\n", "    if False:\n"),
        ("loss-not-told", "            books.send(client, Lost(ts.id, ts.rows))\n", "            pass\n"),
        ("ready-in-spite-of-a-loss", "                queues.withdraw(books, other)\n            other.n_waiting_on += 1", "                pass\n            other.n_waiting_on += 1"),
        ("loss-not-waited-for", "            other.n_waiting_on += 1\n", ""),
        ("lost-and-needed", "    if ts.needed:\n        need(books, ts)\n    else:", "    if ts.wanters is not None:\n        need(books, ts)\n    else:"),
        ("lost-data-not-told", "            books.send(client, Erred(ts.id, failure, ts.id, ts.rows))\n", "            pass\n"),
        ("lost-data-does-not-doom", "            doom(books, other, failure, ts)\n", "            pass\n"),
        ("no-holder-struck-off", "    drop_replica(ts, ws)\n    books.send(ws, Free(ts.id, ts.attempt))\n    if", "    if"),
    ),
    *_of(
        "_outcomes",
        ("old-attempts-count", "    elif ts.attempt != attempt:\n", "    elif False:\n"),
        ("any-worker-may-answer", "    elif ts.code != PROCESSING or ts.processing_on is not ws:\n", "    elif ts.code != PROCESSING:\n"),
        ("ended-attempts-count", "    elif ts.code != PROCESSING or ts.processing_on is not ws:\n", "    elif False:\n"),
        ("refused-result-kept", "            books.send(ws, Free(report.id, report.attempt))\n", "            pass\n"),
        ("doubled-result-freed", "if known is None or known not in ws.has_what or known.attempt != report.attempt:", "if True:"),
        ("done-keeps-inputs", "    if ts.deps is not None:\n        inputs_unneeded(books, ts)\n    if ts.rare", "    if ts.rare"),
        ("done-not-told", "    tell_done(books, ts, report.inline)\n", ""),
        ("no-room-after-a-result", "    tell_done(books, ts, report.inline)\n    queues.has_room(books, ws)\n", "    tell_done(books, ts, report.inline)\n"),
        ("final-failures-retried", "    if ts.retries and not report.final:", "    if ts.retries:"),
        ("retries-without-end", "        ts.retries -= 1\n", ""),
        ("missing-inputs-not-struck", "        strike_off(books, id, holder)\n", "        pass\n"),
        ("starts-not-noted", "            ws.executing[ts] = books.now\n", "            pass\n"),
        ("nothing-learned", "    group.prefix.learn(report.duration_s, report.nbytes, report.memory_bytes, report.rows)\n", ""),
    ),
    *_of(
        "_admission",
        ("all-is-wanted", "    if message.wants is None:\n        for ts in new:", "    if True:\n        for ts in new:"),
        ("unneeded-is-kept", "    books.slack += [ts for ts in new if ts.code == RELEASED and not ts.needed]\n", ""),
        ("not-continued", "        if dep.rank < rank:\n            rank = dep.rank\n", ""),
        ("dependents-not-linked", "        dep.dependers = ts if dep.dependers is None else add(dep.dependers, ts)\n", "        pass\n"),
        ("done-not-told-again", "        books.send(client, done(ts))\n", "        pass\n"),
        ("error-not-told-again", "        books.send(client, erred(ts))\n", "        pass\n"),
        ("wish-does-not-compute", "    if ts.code == RELEASED:\n        need(books, ts)\n    elif not client.real", "    if not client.real"),
        ("other-sessions-numbers", "        if type(id) is int and id >> NUMBER_BITS != session:\n", "        if False:\n"),
    ),
    *_of(
        "_occupancy",
        ("slots-not-given-back", "    ws.slots_taken -= options.slots\n", ""),
        ("resources-not-taken", "    if options.resources:\n        _take(ws, options)\n", ""),
        ("suspects-not-noted", "            ws.suspects[ts] = None\n", "            pass\n"),
        ("executing-forever", "        ws.executing.pop(ts, None)\n", "        pass\n"),
    ),
    *_of(
        "_dispatch",
        ("attempts-not-numbered", "    books.attempts += 1\n", "    books.attempts = books.attempts or 1\n"),
        ("inputs-not-named", "inputs = _inputs(ts) if ts.deps is not None else ()", "inputs = ()"),
    ),
    *_of(
        "_workers",
        ("older-process-takes-over", "    if message.epoch < epoch:\n", "    if False:\n"),
        ("new-process-is-the-old", "    if ws is not None and message.epoch > ws.epoch:", "    if False:"),
        ("paused-takes-work", "    ws.paused = message.paused\n", ""),
        ("lost-orders-never-given-again", "            again(books, ts, f\"{ws.id} never got it\")\n", "            pass\n"),
        ("late-register-counts", "    if 0 < message.number <= number:\n", "    if False:\n"),
    ),
    *_of(
        "_reconcile",
        ("stale-work-goes-on", "            books.send(ws, Stop(attempt.id, attempt.attempt))\n", "            pass\n"),
        ("outcomes-that-came-back-ignored", "        _REPORTS[type(report)](books, ws, report)\n", "        pass\n"),
        ("unknown-work-awaited", "            again(books, ts, f\"{ws.id} does not know of it\")\n", "            pass\n"),
        ("phantom-results", "            drop_replica(ts, ws)\n            if ts.holders is None and ts.code == MEMORY:\n                lost(books, ts, f\"worker {ws.id} came back without it\")\n", "            pass\n"),
    ),
    *_of(
        "_clients",
        ("outcomes-not-told-again", "        if ts.code == MEMORY:\n            books.send(client, done(ts))\n        elif", "        if ts.code == MEMORY:\n            pass\n        elif"),
        ("gone-clients-want", "    drop(books, client)\n", ""),
        ("forgotten-keeps-what-has-ended", "if ts.code != MEMORY and ts.code != ERRED and ts.run_spec is not None:", "if ts.run_spec is not None:"),
    ),
    *_of(
        "_leases",
        ("leases-do-not-end", "            found.append(ws)\n", "            pass\n"),
        ("client-leases-do-not-end", "                found.append(client)\n", "                pass\n"),
        ("absence-is-not-counted", "        heard = ws.last_seen if ws.linked else ws.lost_at\n", "        heard = ws.last_seen\n"),
    ),
    *_of(
        "_cancel",
        ("cancel-takes-from-all", "            if other is client or force:\n", "            if True:\n"),
        ("force-is-gentle", "            if other is client or force:\n", "            if other is client:\n"),
        ("cancel-is-not-told", "                    books.send(other, message)\n", "                    pass\n"),
        ("cancel-leaves-dependents", "                reach[other] = None\n                stack.append(other)\n", "                pass\n"),
        ("retries-not-given-back", "        ts.retries = 0 if ts.home is not None else ts.options.retries\n", ""),
        ("suspicion-stays", "            ts.rare.suspicious = 0\n", "            pass\n"),
        ("retried-is-not-told", "                books.send(client, Retried(ts.id, ts.rows))\n", "                pass\n"),
    ),
    *_of(
        "_queues",
        ("queue-not-woken", "    queues.awake[demand] = None\n    if queues.held:", "    if queues.held:"),
        ("room-not-offered", "    books.queues.fresh[ws] = None\n", "    pass\n"),
        ("no-worker-not-marked", "    if demand.code == NO_WORKER:\n        advance(ts, NO_WORKER)\n", ""),
        ("withdrawn-stays", "    demand.withdraw(ts)\n    if demand.hold", "    if demand.hold"),
    ),
    *_of(
        "_eligibility",
        ("no-worker-for-ever", "                if ts.code != code:\n                    advance(ts, code)\n", "                pass\n"),
        ("absent-takes-work", "    usable = ws.linked and not ws.paused and not ws.draining\n", "    usable = not ws.paused and not ws.draining\n"),
        ("gone-workers-are-offered", "        _remove(queues, room)\n        room = None\n", "        room = None\n"),
    ),
    *_of(
        "_demand",
        ("restrictions-ignored", "    return options.loose or pleases(ws, options)\n", "    return True\n"),
        ("hosts-ignored", "    if bound and ws.host not in options.hosts and ws.id not in options.workers:", "    if bound and ws.id not in options.workers:"),
        ("priorities-ignored", "    return mine < its or (mine == its and ts.rank < other.rank)\n", "    return ts.rank < other.rank\n"),
    ),
]  # fmt: skip


class _Loader(SourceFileLoader):
    """Loads one module with the fault in it."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(f"treadle.scheduler.{mutant.module}", str(mutant.path))
        self._faulty = compile(mutant.source(), str(mutant.path), "exec", dont_inherit=True)

    def get_code(self, fullname: str) -> CodeType:
        return self._faulty


class _Finder(MetaPathFinder):
    """Finds that loader, and nothing else."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self._loader.name:
            return None
        return spec_from_file_location(fullname, self._loader.path, loader=self._loader)


def _suite() -> list[str]:
    units = [str(HERE / name) for name in _SUITE if (HERE / name).exists()]
    return [*units, str(ROOT / "tests" / "properties" / "test_scheduler_machine.py")]


def _run_with(mutant: Mutant | None) -> int:
    """Run the machine's tests in this process, up to the first that fails."""
    import pytest

    if mutant is not None:
        sys.meta_path.insert(0, _Finder(_Loader(mutant)))
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not soak", "--tb=no", "--no-header"]
    return int(pytest.main([f"--rootdir={ROOT}", *options, *_suite()]))


def notices(name: str) -> bool:
    """Whether the tests, in a process of their own, fail with this fault (or without: 'none')."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.unit.scheduler.mutants", name],
            cwd=ROOT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "TREADLE_SOAK": ""},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    if done.returncode not in (0, 1, 2):  # 2: the fault keeps a test from being collected
        raise RuntimeError(f"{name}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.returncode != 0


def survivors(mutants: Sequence[Mutant]) -> list[str]:
    """The names of those that the tests do not notice."""
    with ThreadPoolExecutor(2) as two:
        noticed = list(two.map(notices, [m.name for m in mutants]))
    return [m.name for m, seen in zip(mutants, noticed, strict=True) if not seen]


def main(names: Sequence[str]) -> int:
    """Run one fault here, or all of them elsewhere."""
    if names:
        return _run_with(next((m for m in MUTANTS if m.name == names[0]), None))
    left = survivors(MUTANTS)
    print(f"{len(MUTANTS) - len(left)} of {len(MUTANTS)} noticed; not: {', '.join(left) or 'none'}")
    return len(left) > len(MUTANTS) // 10


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
