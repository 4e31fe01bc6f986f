"""Faults for the worker's machine; see `tests.mutation`."""

from __future__ import annotations

from pathlib import Path

from tests.mutation import Campaign, Mutant, faults

HERE = Path(__file__).resolve().parent
SUITE = (
    *(f"tests/unit/worker/{p.name}" for p in sorted(HERE.glob("test_worker_*.py"))),
    "tests/properties/test_worker_machine.py::test_three_hundred_random_walks",
)

MUTANTS: list[Mutant] = [
    *faults(
        "worker._running",
        ("ghosts-run-on", "    if job.stage is Stage.gone:\n        kill(b, slot", "    if False:\n        kill(b, slot"),
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
    *faults(
        "worker._outcomes",
        ("newer-outcomes-forgotten", "        if old[1].attempt > outcome.attempt:", "        if False:"),
        ("acknowledged-too-early", "        if beat > number:", "        if beat > number + 1:"),
        ("stopped-fed-ones-stay", "    elif fed and not job.taking:\n        take_back(b, slot, job)\n", ""),
        ("hope-for-ever", "        if replica is not None and replica.place is Place.absent:\n            b.hopeless.append(replica)\n", "        pass\n"),
        ("calls-behind-stay", "        for call in reversed(behind):\n            give_up(b, call, \"slot\")\n", "        actor.calls.extend(reversed(behind))\n"),
        ("actors-dropped-without-a-word", "        b.out.tell(Dropped((Attempt(actor.id, actor.attempt),), why))\n", ""),
        ("calls-outlive-actors", "    for job in calls:\n        give_up(b, job, \"slot\")\n", ""),
        ("inputs-of-the-gone-wanted", "    if job.inputs and stage <= Stage.ready:\n        unwant(b, job)\n", ""),
    ),
    *faults(
        "worker._feeding",
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
    *faults(
        "worker._lanes",
        ("nothing-reserved", "            waits, reserved = job, short\n", "            waits = job\n"),
        ("no-aging", "                reserved = needs(lane)\n", "                pass\n"),
        ("ranks-ignored", "        heads.sort(key=lambda job: job.priority)\n", "        pass\n"),
        ("resources-not-taken", "        b.free[name] -= amount\n", ""),
        ("anything-runs", "    if lane.slots > b.slot_count:\n        return False\n", ""),
    ),
    *faults(
        "worker._store",
        ("freed-while-used", "        if replica.users:\n            return\n", ""),
        ("doomed-stay", "        elif replica.doomed:\n            discard(b, replica)\n        else:\n            b.lru", "        else:\n            b.lru"),
        ("revived-in-silence", "        b.out.hold(replica.held())\n", "        pass\n"),
        ("ready-without-input", "    for job in replica.wanted.values():\n        job.missing += 1\n        if job.stage is Stage.ready:", "    for job in replica.wanted.values():\n        job.missing += 1\n        if False:"),
        ("used-least-recently-first", "        b.lru.pop(key, None)\n        b.wanted.pop(key, None)\n        if replica.users", "        b.wanted.pop(key, None)\n        if replica.users"),
    ),
    *faults(
        "worker._room",
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
    *faults(
        "worker._fetching",
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
    *faults(
        "worker._serving",
        ("sent-is-not-used", "        replica.users += 1\n", ""),
        ("never-busy", "    if b.transfers and (", "    if False and ("),
        ("from-disk-unread", "    if any(replica.place is not Place.memory for replica in transfer.replicas):\n        return\n", ""),
        ("links-leave-transfers", "    for transfer in [t for t in b.transfers.values() if t.peer == name]:", "    for transfer in []:"),
    ),
    *faults(
        "worker._orders",
        ("old-attempts-run", "        if attempt > order.attempt:\n", "        if False:\n"),
        ("run-twice", "        known = _known(b, order)\n        if known:", "        known: list[Outcome] = []\n        if known:"),
        ("superseded-runs-on", "        stop(b, job)\n    id = order.id\n", "        pass\n    id = order.id\n"),
        ("unknown-stops-not-answered", '        b.out.tell(Returned(order.id, order.attempt, "unknown"))\n', "        pass\n"),
        ("reset-keeps-outcomes", "    b.told.clear()\n", ""),
    ),
    *faults(
        "worker._link",
        ("lost-link-beats", "    b.out.linked = False\n    b.beat_s = b.beat_at = None\n", "    b.out.linked = False\n"),
        ("doomed-registered", "if r.place in HERE and not r.doomed)", "if r.place in HERE)"),
        ("ended-not-registered", "            ended[:MAX_ITEMS],\n", "            (),\n"),
        ("future-beats-acknowledged", "    if message.number > b.beats:", "    if False:"),
    ),
    *faults(
        "worker._disk",
        ("lost-without-a-word", "    if not replica.doomed:\n        b.out.tell", "    if False:\n        b.out.tell"),
        ("spilled-bytes-stay", "    b.used -= replica.nbytes\n    b.disk_bytes", "    b.disk_bytes"),
    ),
    *faults(
        "worker._draining",
        ("fed-ones-stay", "        take_all_back(b, slot)\n", "        pass\n"),
        ("grace-without-end", "    for job in list(b.jobs.values()):\n        if job.stage is not Stage.gone:\n            stop", "    for job in []:\n        if job.stage is not Stage.gone:\n            stop"),
        ("slots-outlive-the-worker", "            b.out.commands.append(KillSlot(slot.number))\n", ""),
    ),
    *faults(
        "worker._machine",
        ("the-gone-come-back", "        if b.exited:\n            return []\n", ""),
        ("time-runs-backwards", "        if now > b.now:\n            b.now = now\n", "        b.now = now\n"),
        ("hopeless-hope", "        if b.hopeless:\n            give_up_hope(b)\n", ""),
    ),
]  # fmt: skip

CAMPAIGN = Campaign("worker", SUITE, MUTANTS)
