"""What must be true of a worker's machine between any two events.

`check` works the books out anew from the jobs, slots and objects. Tests call it after every step.
"""

from __future__ import annotations

from collections import Counter

from treadle.worker._books import Books
from treadle.worker._fetching import next_peer
from treadle.worker._job import BEGUN, Job, Stage, tell
from treadle.worker._lanes import survey
from treadle.worker._machine import Worker
from treadle.worker._peer import Request
from treadle.worker._replica import AT_HAND, HERE, IN_MEMORY, Key, Place, Replica


def check(worker: Worker) -> None:
    """Raise `AssertionError` that names the first thing that does not balance."""
    b = worker.books
    if b.exited:
        return
    for id, job in b.jobs.items():
        assert job.run.id == id, f"filed under {id}: {tell(job)}"
        assert job.stage is not Stage.gone, f"gone and still open: {tell(job)}"
        assert job.left > 0, f"nothing left to tell: {tell(job)}"
        _check_job(b, job)
    _check_lanes(b)
    _check_slots(b)
    _check_turns(b)
    _check_needs(b)
    _check_actors(b)
    users: Counter[Key] = Counter()
    _count_users(b, users)
    for key, replica in b.store.items():
        assert replica.key == key, f"{replica.key} filed under {key}"
        _check_replica(b, replica, users[key])
    _check_memory(b)
    _check_requests(b)
    _check_work(b)
    assert not b.hopeless, "hope is given up before the step ends"


# --- jobs and slots ----------------------------------------------------------------------------


def _check_job(b: Books, job: Job) -> None:
    stage = job.stage
    missing = sum(replica.place not in AT_HAND for replica in job.inputs)
    if stage <= Stage.ready:
        assert job.missing == missing, f"{missing} are missing: {tell(job)}"
        assert (stage is Stage.waiting) == (missing > 0), tell(job)
        assert job.slot is None, tell(job)
        for replica in job.inputs:
            assert replica.wanted.get(job.run.id) is job, f"{replica.key} not wanted: {tell(job)}"
            assert b.store.get(replica.key) is replica, f"{replica.key} not here: {tell(job)}"
        return
    slot = job.slot
    assert slot is not None, tell(job)
    assert b.slots.get(slot.number) is slot, f"in a dead slot: {tell(job)}"
    if stage is Stage.fed:
        assert job in slot.fed, tell(job)
    else:
        assert slot.running is job, tell(job)
        assert not slot.dying, f"its slot is being killed: {tell(job)}"
        assert (stage is Stage.writing) or slot.number not in b.grants, tell(job)


def _check_lanes(b: Books) -> None:
    ready: Counter[tuple[object, ...]] = Counter()
    for job in b.jobs.values():
        if job.stage is Stage.ready and job.run.home is None:
            ready[job.lane.key] += 1
            assert b.lanes.get(job.lane.key) is job.lane, f"its lane is closed: {tell(job)}"
            assert any(entry[2] is job for entry in job.lane.heap), f"in no lane: {tell(job)}"
    for key, lane in b.lanes.items():
        assert lane.live == ready[key], f"lane {key} counts {lane.live} of {ready[key]} ready jobs"
    assert b.ready == ready.total(), f"{b.ready} ready, found {ready.total()}"


def _check_slots(b: Books) -> None:
    for number, slot in b.slots.items():
        name = f"slot {number}"
        assert slot.number == number, name
        empty = slot.running is None and not slot.fed
        lives = slot.actor is not None and slot.actor.slot is slot
        idle = slot.lane is None and not slot.dying
        assert (number in b.idle) == idle, f"{name}: idle is {idle}"
        assert not idle or empty, f"{name} has something and takes nothing"
        assert idle or slot.dying or lives or not empty, f"{name} takes something for nothing"
        assert slot.running is None or slot.running.stage in BEGUN or slot.dying, name
        assert slot.granted >= 0, name
        assert number not in b.hungry or not (slot.dying or slot.blocked), f"{name} is hungry"
        assert len(slot.fed) <= b.limits.depth, f"{name} has {len(slot.fed)} in its socket"
        for job in slot.fed:
            assert job.stage in (Stage.fed, Stage.gone), f"fed to {name}: {tell(job)}"
            assert job.slot is slot, tell(job)
            assert job.taking or job.stage is Stage.fed or slot.dying, (
                f"not asked back: {tell(job)}"
            )
            if slot.running is not None and job.stage is Stage.fed:
                assert job.run.ahead, f"fed ahead and must not be: {tell(job)}"
    for numbers in (b.idle, b.hungry, b.grants):
        for number in numbers:
            assert number in b.slots, f"slot {number} is dead"


def _check_turns(b: Books) -> None:
    for number, slot in b.slots.items():
        name, job = f"slot {number}", slot.running
        assert (number in b.aside) == slot.aside, f"{name}: aside is {slot.aside}"
        assert slot.blocked or not slot.over, f"{name} is over the count and may be fed"
        if slot.aside:
            assert job is not None, f"{name} is aside with nothing"
            assert slot.lane is not None, f"{name} is aside and takes nothing"
            assert slot.lane.slots, f"{name} is aside and has no slot to give"
            assert slot.blocked, f"{name} is aside and may be fed"
            behind = [job for job in slot.fed if not job.taking]
            assert not behind or slot.dying, f"behind what is aside: {tell(behind[0])}"
    for number, slot in b.turns.items():
        assert b.slots.get(number) is slot, f"slot {number} wants a turn and is dead"
        assert slot.aside, f"slot {number} wants a turn, and is not aside"
        assert not slot.dying, f"slot {number} wants a turn, and is being killed"
        assert slot.running is not None
        assert slot.running.stage in BEGUN, tell(slot.running)
    assert all(number in b.slots for number in b.aside), "a dead slot is aside"
    first = next(iter(b.turns.values()), None)
    if first is not None and first.lane is not None:
        assert first.lane.slots > b.free_slots, f"slot {first.number} may go on"


def _check_needs(b: Books) -> None:
    taken: Counter[str] = Counter()
    slots = 0
    for slot in b.slots.values():
        if slot.lane is not None:
            slots += slot.lane.slots if not slot.aside else 0
            taken.update(dict.fromkeys((name for name, _ in slot.lane.resources), 0))
            for name, amount in slot.lane.resources:
                taken[name] += amount  # type: ignore[assignment]
    assert b.free_slots == b.slot_count - slots, f"{b.free_slots} slots free, {slots} taken"
    over = sum(s.lane.slots for s in b.slots.values() if s.over and s.lane is not None)
    assert b.free_slots >= -over, f"{-b.free_slots} more slots taken than there are"
    for name, amount in b.resources.items():
        free = amount - taken[name]
        assert abs(free - b.free[name]) < 1e-6, f"{b.free[name]} of {name} free, should be {free}"
        assert free > -1e-6, f"more {name} taken than there is"


def _check_actors(b: Books) -> None:
    for id, actor in b.actors.items():
        assert actor.id == id
        slot = actor.slot
        if slot is None:
            job = b.jobs.get(id)
            assert job is not None, f"actor {id} is not made and nobody makes it"
            assert job.actor is actor, f"actor {id} is made by another"
        else:
            assert b.slots.get(slot.number) is slot, f"actor {id} lives in a dead slot"
            assert slot.actor is actor, f"actor {id} is not in its slot"
            replica = b.store.get((id, actor.attempt))
            assert replica is not None, f"actor {id} is no object"
            assert replica.place is Place.slot, f"actor {id} is {replica.place.name}"
        for job in actor.calls:
            assert job.stage <= Stage.ready, tell(job)
            assert b.jobs.get(job.run.id) is job, tell(job)


# --- objects -----------------------------------------------------------------------------------


def _count_users(b: Books, users: Counter[Key]) -> None:
    for slot in b.slots.values():
        for job in (*slot.fed, *((slot.running,) if slot.running is not None else ())):
            users.update(replica.key for replica in job.inputs)
    for transfer in b.transfers.values():
        users.update(replica.key for replica in transfer.replicas)
    for replica in b.store.values():
        users[replica.key] += 0


def _check_replica(b: Books, replica: Replica, users: int) -> None:
    key, place = replica.key, replica.place
    name = f"object {key}, {place.name}"
    assert replica.users == users, f"{name} counts {replica.users} users, has {users}"
    for job in replica.wanted.values():
        assert job.stage <= Stage.ready, f"{name} is wanted by a {job.stage.name} job"
        assert replica in job.inputs, f"{name} is wanted by who does not need it"
    needed = bool(users or replica.wanted)
    in_memory = place is Place.memory
    assert (key in b.lru) == (in_memory and not needed), f"{name}: least recently used"
    assert (key in b.wanted) == (in_memory and not users and bool(replica.wanted)), (
        f"{name}: wanted"
    )
    assert (key in b.sought) == (place is Place.absent), f"{name}: sought"
    search = replica.search
    assert (search is None) == (place in HERE), f"{name}: searched for is {search}"
    assert (key in b.ordered) == (search is not None and search.due is not None), f"{name}: ordered"
    if search is not None:
        assert replica.wanted or search.due is not None, f"{name}: nobody wants it"
        assert bool(search.asked_of) == (place is Place.asked), f"{name}: {search.asked_of}"
        if place is Place.absent and not search.holders:
            maker = b.jobs.get(replica.id)
            assert maker is not None, f"{name}: nobody has it"
            assert maker.run.attempt == replica.attempt, f"{name}: nobody has it"
    if place is Place.asked and search is not None:
        request = b.peers[search.asked_of].request
        assert request is not None, f"{name}: not asked for"
        assert replica in request.replicas, f"{name}: not asked for"
    if users:
        sending = [t for t in b.transfers.values() if replica in t.replicas]
        only_unsent = len(sending) == users and all(t.due is None for t in sending)
        assert in_memory or place is Place.slot or only_unsent, f"{name}: used"
    assert not (replica.doomed and place in (Place.memory, Place.disk) and not needed), name
    if place is Place.disk and needed:
        assert any(entry[2] is replica for entry in b.claims), f"{name}: not claimed"


def _check_memory(b: Books) -> None:
    places: dict[Place, list[Replica]] = {place: [] for place in Place}
    for replica in b.store.values():
        places[replica.place].append(replica)
    used = sum(replica.nbytes for place in IN_MEMORY for replica in places[place])
    used += sum(slot.granted for slot in b.slots.values())
    assert b.used == used, f"{b.used} bytes used, found {used}"
    spilling = sum(replica.nbytes for replica in places[Place.spilling])
    assert b.spilling_bytes == spilling, f"{b.spilling_bytes} bytes spilling, found {spilling}"
    disk = sum(replica.nbytes for replica in places[Place.disk])
    assert b.disk_bytes == disk, f"{b.disk_bytes} bytes on disk, found {disk}"
    moving = len(places[Place.spilling]) + len(places[Place.restoring])
    assert b.moving == moving, f"{b.moving} objects move, found {moving}"
    for keys in (b.lru, b.wanted, b.sought, b.ordered):
        for key in keys:
            assert key in b.store, f"object {key} is not here"


def _check_requests(b: Books) -> None:
    requests: list[Request] = [p.request for p in b.peers.values() if p.request is not None]
    assert b.asking == len(requests), f"{b.asking} requests, found {len(requests)}"
    assert b.asking <= b.limits.asks, f"{b.asking} requests"
    incoming = sum(request.nbytes for request in requests)
    assert b.incoming_bytes == incoming, f"{b.incoming_bytes} bytes come, found {incoming}"
    outgoing = sum(transfer.nbytes for transfer in b.transfers.values())
    assert b.outgoing_bytes == outgoing, f"{b.outgoing_bytes} bytes go, found {outgoing}"


# --- nothing stands still ----------------------------------------------------------------------


def _check_work(b: Books) -> None:
    """What can go on has gone on, or time will bring it: then a Tick is wanted."""
    if b.ready and b.idle and not (b.paused or b.draining):
        lane, _, _ = survey(b)
        assert lane is None, f"slot {next(iter(b.idle))} is idle, lane {lane.key} has jobs"
    if b.idle:
        for lane in b.lanes.values():
            free = not (lane.slots or lane.actor or lane.resources)
            assert not (free and lane.live), f"a process is idle, lane {lane.key} has jobs"
    runs = [s for s in b.slots.values() if not s.dying and not s.aside]
    beside = sum(s.lane is not None and not s.lane.slots for s in runs)
    if not b.draining and len(runs) + b.starting < b.slot_count + beside:
        assert b.wake_at is not None, "there are too few processes"
        assert b.now < b.start_at, "there are too few processes"
    waits = bool(
        b.grants or b.starved_since is not None or b.asking or (b.paused and b.ready and b.idle)
    )
    assert not waits or b.wake_at is not None, "something waits for time and asks for no Tick"
    for actor in b.actors.values():
        slot = actor.slot
        if slot is not None and slot.running is None and not slot.fed and actor.calls:
            call = actor.calls[0]
            assert call.stage is Stage.waiting or b.draining, f"its actor is idle: {tell(call)}"
    if b.sought and b.starved_since is None and b.asking < b.limits.asks and not b.moving:
        wake_at = b.wake_at
        peer = next_peer(b)
        b.wake_at = wake_at
        assert peer is None, f"{peer.name} could be asked for more"
