"""Faults put into the machine on purpose, to see whether its tests notice.

python -m tests.unit.worker.mutants             every fault, and which are not noticed
python -m tests.unit.worker.mutants NAME        the machine's tests with this one put in
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
ROOM = ROOT / "src" / "treadle" / "worker"

#: A run that takes longer has met a fault that makes the machine run for ever.
_PATIENCE_S = 120


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
        "_running",
        ("ghosts-run-on", "    if job.stage is Stage.gone:\n        return kill(b, slot", "    if False:\n        return kill(b, slot"),
        ("starts-not-reported", "    out.begun.append(job)\n", "    pass\n"),
        ("short-starts-reported-at-once", "starts_at = b.now + b.limits.started_s if run.ahead else b.now", "starts_at = b.now"),
        ("walltime-not-armed", "        b.arm(b.now + run.walltime_s)\n", "        pass\n"),
        ("old-attempts-end", "job.stage is Stage.gone or job.run.attempt != attempt:", "job.stage is Stage.gone:"),
        ("late-results-kept", "    if replica is None:\n        b.out.commands.append(ev.Discard(event.id, event.attempt))\n    elif", "    if replica is None:\n        pass\n    elif"),
        ("grants-not-given-back", "        _settle_grant(b, slot, 0, last=event.last or rows == job.left)\n", "        pass\n"),
        ("grants-die-with-slots", "    b.used -= slot.granted\n", ""),
        ("our-kills-accuse", "accused = None if event.ours or slot.dying else event.accused", "accused = event.accused"),
        ("fed-ones-never-accused", "        lost += [job for job in fed if _is_accused(job, accused)]\n", "        pass\n"),
        ("fed-ones-lost", "        if job not in lost:\n            _again(b, job)\n", "        pass\n"),
        ("drained-ones-queue", '    elif b.draining or job.run.home is not None:', "    elif job.run.home is not None:"),
        ("rows-after-a-death-lost", "                told_rows(job, 1)\n            else:\n                job.left = 0\n        give_up(b, job, \"slot\")\n    job.slot", "                pass\n            job.left = 0\n        give_up(b, job, \"slot\")\n    job.slot"),
        ("slots-stay-taken", "    slot.running = None\n    give_back(b, slot)\n", "    slot.running = None\n"),
        ("bundle-rows-may-be-many", "rows = event.rows if event.rows < job.left else job.left\n    if slot.granted:\n        _settle_grant(b, slot, event.nbytes", "rows = event.rows\n    if slot.granted:\n        _settle_grant(b, slot, event.nbytes"),
        ("young-deaths-not-slowed", "    b.restarts += 1\n", ""),
        ("blocked-for-ever", "    slot.blocked = False\n", ""),
        ("actors-count-bytes", "replica = add(b, event.id, event.attempt, 0, event.type, 1)", "replica = add(b, event.id, event.attempt, event.nbytes, event.type, 1)"),
    ),
    *_of(
        "_outcomes",
        ("newer-outcomes-forgotten", "        if old[1].attempt > outcome.attempt:", "        if False:"),
        ("acknowledged-too-early", "        if beat > number:", "        if beat > number + 1:"),
        ("stopped-fed-ones-stay", "    elif fed and not job.taking:\n        take_back(b, slot, job)\n", ""),
        ("hope-for-ever", "    if replica is not None and replica.place is Place.absent:\n        b.hopeless.append(replica)\n", ""),
        ("calls-behind-stay", "        for call in reversed(behind):\n            give_up(b, call, \"slot\")\n", "        actor.calls.extend(reversed(behind))\n"),
        ("actors-dropped-without-a-word", "        b.out.tell(Dropped((Attempt(actor.id, actor.attempt),), why))\n", ""),
        ("calls-outlive-actors", "    for job in calls:\n        give_up(b, job, \"slot\")\n", ""),
        ("inputs-of-the-gone-wanted", "    if job.inputs and stage <= Stage.ready:\n        unwant(b, job)\n", ""),
    ),
    *_of(
        "_feeding",
        ("paused-starts", "    if b.paused:\n        trickle(b)\n        return\n", ""),
        ("long-ones-ahead", "job is None or not job.run.ahead:", "job is None:"),
        ("socket-without-bound", "        and len(slot.fed) < b.limits.depth\n", ""),
        ("reserved-fed-ahead", "            if reserved and conflicts(lane, reserved):\n                continue\n            b.ready -= 1\n", "            b.ready -= 1\n"),
        ("never-taken-back", "            take_all_back(b, slot)\n", "            pass\n"),
        ("two-calls-at-once", "slot.dying or slot.running is not None or slot.fed:", "slot.dying:"),
        ("slots-too-many", "    while living > wanted and b.idle:", "    while False:"),
        ("started-in-a-loop", "    if b.now < b.start_at:\n        b.arm(b.start_at)\n        return\n", ""),
        ("trickle-floods", "    if busy and b.now - b.paused_at < b.limits.room_s:", "    if busy and b.now - b.paused_at < 0:"),
    ),
    *_of(
        "_lanes",
        ("nothing-reserved", "            waits, reserved = job, short\n", "            waits = job\n"),
        ("no-aging", "                reserved = needs(lane)\n", "                pass\n"),
        ("ranks-ignored", "        heads.sort(key=lambda job: job.priority)\n", "        pass\n"),
        ("resources-not-taken", "        b.free[name] -= amount\n", ""),
        ("anything-runs", "    if lane.slots > b.slot_count:\n        return False\n", ""),
    ),
    *_of(
        "_store",
        ("freed-while-used", "        if replica.users:\n            return\n", ""),
        ("doomed-stay", "        elif replica.doomed:\n            discard(b, replica)\n        else:\n            b.lru", "        else:\n            b.lru"),
        ("revived-in-silence", "        b.out.hold(replica.held())\n", "        pass\n"),
        ("ready-without-input", "    for job in replica.wanted.values():\n        job.missing += 1\n        if job.stage is Stage.ready:", "    for job in replica.wanted.values():\n        job.missing += 1\n        if False:"),
        ("used-least-recently-first", "        b.lru.pop(key, None)\n        b.wanted.pop(key, None)\n        if replica.users", "        b.wanted.pop(key, None)\n        if replica.users"),
    ),
    *_of(
        "_room",
        ("better-ones-evicted", "and (best := replica.priority()) > priority", "and (best := replica.priority()) != priority"),
        ("tried-at-once-again", "        if replica.nbytes and replica.stuck_until <= b.now:\n", "        if replica.nbytes:\n"),
        ("claims-wait-for-ever", "    if b.now - b.starved_since < b.limits.room_s and in_progress(b):", "    if in_progress(b):"),
        ("claims-wait-for-nobody", "    if b.now - b.starved_since < b.limits.room_s and in_progress(b):", "    if b.now - b.starved_since < b.limits.room_s:"),
        ("never-denied", "    if b.budget and nbytes > b.budget:", "    if False:"),
        ("grants-not-counted", "        b.used += nbytes\n        b.out.commands.append(Grant", "        b.out.commands.append(Grant"),
        ("never-resumed", "    elif b.paused and b.used <= b.low_bytes:", "    elif b.paused and b.used < 0:"),
        ("resumed-too-early", "    elif b.paused and b.used <= b.low_bytes:", "    elif b.paused:"),
        ("spilling-not-counted", "    over -= b.spilling_bytes\n", ""),
    ),
    *_of(
        "_fetching",
        ("asked-twice", "        if peer.request is not None or not peer.heap:", "        if not peer.heap:"),
        ("batches-without-bound", "            if request.nbytes + nbytes > limits.batch_bytes:\n                break\n", ""),
        ("busy-is-missing", "    for replica in _resolve(b, peer):\n        line_up(b, replica)\n", "    for replica in _resolve(b, peer):\n        strike(b, replica, peer.name)\n"),
        ("busy-never-rest", "        if b.now < peer.rests_until:\n            b.arm(peer.rests_until)\n            continue\n", ""),
        ("nobody-struck", "    search.holders.pop(name, None)\n", ""),
        ("unwanted-data-kept", "            b.out.commands.append(Discard(held.id, held.attempt))\n", ""),
        ("copies-not-reported", "            b.out.hold(held)\n", ""),
        ("unreachable-for-one-object", "            if replica.search is not None and peer.name in replica.search.holders:", "            if replica.search is not None and peer.name in replica.search.holders and replica.id == 11:"),
        ("asks-of-itself", "        if name == b.id:", "        if name is None:"),
    ),
    *_of(
        "_serving",
        ("sent-is-not-used", "        replica.users += 1\n", ""),
        ("never-busy", "    if b.transfers and (", "    if False and ("),
        ("from-disk-unread", "    if any(replica.place is not Place.memory for replica in transfer.replicas):\n        return\n", ""),
        ("links-leave-transfers", "    for transfer in [t for t in b.transfers.values() if t.peer == name]:", "    for transfer in []:"),
    ),
    *_of(
        "_orders",
        ("old-attempts-run", "        if attempt > order.attempt:\n", "        if False:\n"),
        ("run-twice", "    known = _known(b, order) if newest or order.id in b.told else []\n", "    known: list[Outcome] = []\n"),
        ("superseded-runs-on", "        stop(b, job)\n    else:", "        pass\n    else:"),
        ("unknown-stops-not-answered", '        b.out.tell(Returned(order.id, order.attempt, "unknown"))\n', "        pass\n"),
        ("reset-keeps-outcomes", "    b.told.clear()\n", ""),
    ),
    *_of(
        "_link",
        ("lost-link-beats", "    b.out.linked = False\n    b.beat_s = b.beat_at = None\n", "    b.out.linked = False\n"),
        ("doomed-registered", "if r.place in HERE and not r.doomed)", "if r.place in HERE)"),
        ("ended-not-registered", "            ended[:MAX_ITEMS],\n", "            (),\n"),
        ("future-beats-acknowledged", "    if message.number > b.beats:", "    if False:"),
    ),
    *_of(
        "_disk",
        ("lost-without-a-word", "    if not replica.doomed:\n        b.out.tell", "    if False:\n        b.out.tell"),
        ("spilled-bytes-stay", "    b.used -= replica.nbytes\n    b.disk_bytes", "    b.disk_bytes"),
    ),
    *_of(
        "_draining",
        ("fed-ones-stay", "        take_all_back(b, slot)\n", "        pass\n"),
        ("grace-without-end", "    for job in list(b.jobs.values()):\n        if job.stage is not Stage.gone:\n            stop", "    for job in []:\n        if job.stage is not Stage.gone:\n            stop"),
        ("slots-outlive-the-worker", "            b.out.commands.append(KillSlot(slot.number))\n", ""),
    ),
    *_of(
        "_machine",
        ("the-gone-come-back", "        if b.exited:\n            return []\n", ""),
        ("time-runs-backwards", "        if now > b.now:\n            b.now = now\n", "        b.now = now\n"),
        ("hopeless-hope", "        if b.hopeless:\n            give_up_hope(b)\n", ""),
    ),
]  # fmt: skip


class _Loader(SourceFileLoader):
    """Loads one module with the fault in it."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(f"treadle.worker.{mutant.module}", str(mutant.path))
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
    units = [p for p in sorted(HERE.glob("test_worker_*.py")) if p.stem != "test_worker_mutants"]
    walks = ROOT / "tests" / "properties" / "test_worker_machine.py"
    return [*map(str, units), f"{walks}::test_three_hundred_random_walks"]


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
            [sys.executable, "-m", "tests.unit.worker.mutants", name],
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
