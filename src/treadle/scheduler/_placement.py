"""Which worker takes a task: the one that can start it earliest.

A worker with a free slot can start a task when its missing inputs have come; a full one also has to
get through its backlog first. Three rules say what a worker may be given:

1. A free slot takes any task that fits. Beyond the slots go only short tasks of a known duration,
   up to `prefetch_s` of work for each slot that no long task has: what is long is bound late, and
   what has never finished is long.
2. One task more may be sent if its inputs take longer to come than a slot takes to get free.
3. A task whose inputs are on a full worker waits for it, if that is expected to be shorter than to
   bring them elsewhere; but not much longer than was expected.

Few workers are looked at: those that hold most of the inputs, and the first whose turn it is.
Workers with equal prospects take turns, those with fewer bytes first.
"""

from __future__ import annotations

from heapq import nlargest
from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct

from treadle.scheduler._demand import Demand, Tier, lives_long_enough, outranks
from treadle.scheduler._occupancy import affords, taken
from treadle.scheduler._relations import each
from treadle.scheduler._task import TaskState
from treadle.scheduler._worker import WorkerState

if TYPE_CHECKING:
    from treadle.scheduler._books import Books
    from treadle.scheduler._rooms import Queues, Room

#: What any task costs a slot, at the least: no worker is sent thousands of tasks of no duration.
LEAST_S = 25e-6
#: A task is short if it is expected to take no more than this many times `prefetch_s`.
_SHORT = 2.0
#: Workers looked at: of those whose turn it is, and of those that have inputs.
_TURNS = 4
_HOLDERS = 8
#: So many workers there are for each that is kept free.
_HELD = 16


class Wait(Struct):
    """A task shall wait for this worker, which is expected to start it in `start_s`."""

    ws: WorkerState
    start_s: float


def is_short(books: Books, seconds: float) -> bool:
    """Whether a task of a known duration is short: it may be fed ahead of the slots."""
    return seconds <= _SHORT * books.policy.prefetch_s


def has_slot(books: Books, demand: Demand, ts: TaskState, ws: WorkerState) -> bool:
    """Whether the worker, which takes work, can begin the task now, but for its inputs."""
    if (
        ws.slots_taken + demand.slots > ws.slots
        and demand.slots  # else it runs beside them
        and (books.policy.hold_back or not demand.feedable)
    ):
        return False
    queues = books.queues
    if demand.simple and not queues.held and not queues.crowded:
        return True
    options = demand.options
    if options.resources and not affords(ws, options):
        return False
    if demand.isolated and not _may_go(books, demand, ws):
        return False
    if demand.timed and not lives_long_enough(ws, options, books.now):
        return False
    if queues.crowded and not _may_crowd(queues, demand, ts, ws):
        return False
    return not queues.held or _may_take(queues, demand, ts, ws)


def _may_crowd(queues: Queues, demand: Demand, ts: TaskState, ws: WorkerState) -> bool:
    """Whether the task may go where many wait for others. What these wait for may: it may be what
    they have submitted, or, if nothing runs there, anything."""
    return ws not in queues.crowded or not ws.slots_taken or not demand.slots or ts.nested


def _may_go(books: Books, demand: Demand, ws: WorkerState) -> bool:
    """Whether a suspect, or a task that asked to be moved, may go there."""
    if demand.suspicious and ws.suspects and demand.slots:
        return False
    if demand.avoid != ws.id:
        return True
    rooms = books.queues.rooms
    return not any(rooms[other].usable for other in demand.eligible if other is not ws)


def fits_now(demand: Demand, ws: WorkerState) -> bool:
    """Whether the worker has the slots and the resources free that the demand's tasks take."""
    if demand.slots and ws.slots_taken + demand.slots > ws.slots:
        return False
    return not demand.options.resources or affords(ws, demand.options)


def has_ahead(books: Books, demand: Demand, ts: TaskState, ws: WorkerState) -> bool:
    """Whether the worker may be fed the task, which is short, behind what it has."""
    policy = books.policy
    room = books.queues.rooms[ws]
    if room.recount:
        room.count_long()
    backlog_s = ws.backlog_s - room.long_s
    # Sums of floats drift: a nanosecond less than enough is enough.
    if backlog_s + 1e-9 >= (ws.slots - room.long_slots) * policy.prefetch_s:
        return False
    if demand.timed and ws.ends_at is not None:
        return False  # it would begin later than now
    queues = books.queues
    if queues.crowded and not _may_crowd(queues, demand, ts, ws):
        return False
    return not queues.held or _may_take(queues, demand, ts, ws)


def _may_take(queues: Queues, demand: Demand, ts: TaskState, ws: WorkerState) -> bool:
    """Whether the task leaves alone what the worker is kept free for, or comes before that."""
    held = queues.rooms[ws].held_for
    if held is None or held is demand or held is demand.base:
        return True
    head = held.peek()
    if head is None or outranks(ts, head):
        return True
    if (
        demand.slots
        and ws.slots_taken + demand.slots + held.slots > ws.slots
        and not _comes_with_slots(queues.rooms[ws], held)
    ):
        return False
    names = [name for name, _ in held.options.resources]
    return not any(name in names for name, _ in demand.options.resources)


def _comes_with_slots(room: Room, held: Demand) -> bool:
    """Whether the demand waits for a resource, and whoever gives that back gives back its slots.

    Then no slot has to be kept free for it: that would stop tasks that ask for something else.
    """
    ws, wants = room.ws, held.options
    if not wants.resources or affords(ws, wants):
        return False
    free = ws.free
    names = {name for name, amount in taken(ws, wants) if free.get(name, 0.0) < amount}
    have = False
    for ts, attempt in room.long.items():
        if ts.attempt != attempt or ts not in ws.processing:
            continue
        if names.isdisjoint([name for name, _ in taken(ws, ts.options)]):
            continue
        if ts.options.slots < held.slots or ws.aside.get(ts, False):
            return False
        have = True
    return have


def choose(
    books: Books, demand: Demand, ts: TaskState, *, short: bool
) -> WorkerState | Wait | None:
    """Decide where the head of a demand goes; None: there is no room for it anywhere."""
    if demand.isolated:
        return _choose_special(books, demand, ts)
    policy = books.policy
    if not policy.hold_back and policy.locality:
        return _choose_unbounded(books, demand, ts)
    if not policy.locality:
        return _draw(books, demand, ts, short=short)
    if ts.deps is not None and demand.base is None:
        return _choose_near(books, demand, ts, short=short)
    return next_in_turn(books, demand, ts, short=short)


def next_in_turn(books: Books, demand: Demand, ts: TaskState, *, short: bool) -> WorkerState | None:
    """The worker with room whose turn it is. Those found to have none are struck off."""
    ws = None
    if demand.idle:
        ws = _first_idle(books, demand, ts, demand.idle)
    if ws is None and demand.others:
        ws = _first_idle(books, demand, ts, demand.others)
    if ws is None and short:
        ws = _first_ahead(books, demand, ts)
    return ws


def _first_idle(books: Books, demand: Demand, ts: TaskState, tier: Tier) -> WorkerState | None:
    full = None
    while tier:
        ws = next(iter(tier))
        if has_slot(books, demand, ts, ws):
            if ws.nbytes and len(tier) > 1:
                ws = _emptiest(books, demand, ts, tier)
            tier.move_to_end(ws)
            return ws
        del tier[ws]
        if demand.feedable:
            demand.ahead[ws] = None
        elif demand.hungry and (full is None or ws.backlog_s < full.backlog_s):
            full = ws
    if full is not None:
        keep_free(books, demand, full)
    return None


def _emptiest(books: Books, demand: Demand, ts: TaskState, tier: Tier) -> WorkerState:
    """Of the first few with a free slot the one that stores least; the first has one."""
    best = None
    for ws in islice(tier, _TURNS):
        if best is None or (ws.nbytes < best.nbytes and has_slot(books, demand, ts, ws)):
            best = ws
    assert best is not None
    return best


def _first_ahead(books: Books, demand: Demand, ts: TaskState) -> WorkerState | None:
    tier = demand.ahead
    while tier:
        ws = next(iter(tier))
        if has_ahead(books, demand, ts, ws):
            tier.move_to_end(ws)
            return ws
        del tier[ws]
    return None


def _choose_special(books: Books, demand: Demand, ts: TaskState) -> WorkerState | None:
    """Where a suspect or an actor goes: a suspect not where it was, an actor where few are."""
    last = ts.rare.earlier[-1].worker if ts.rare is not None and ts.rare.earlier else None
    best = full = None
    best_key = (0, False, 0)
    for tier in (demand.idle, demand.others):
        for ws in list(tier):
            if has_slot(books, demand, ts, ws):
                key = (_actors(ws) if demand.actor else 0, ws.id == last, ws.slots_taken)
                if best is None or key < best_key:
                    best, best_key = ws, key
            else:
                del tier[ws]
                if full is None or ws.backlog_s < full.backlog_s:
                    full = ws
        if best is not None:
            tier.move_to_end(best)
            return best
    if full is not None and demand.hungry:
        keep_free(books, demand, full)
    return None


def _actors(ws: WorkerState) -> int:
    """How many actors live there, or are about to."""
    about = sum(1 for ts in ws.processing if ts.rare is not None and ts.rare.actor)
    return len(ws.actors) + about


def _draw(books: Books, demand: Demand, ts: TaskState, *, short: bool) -> WorkerState | None:
    """Any worker with room. It looks at all of them: it is there to compare with."""
    for tier in (demand.idle, demand.others):
        fit = [ws for ws in tier if has_slot(books, demand, ts, ws)]
        if fit:
            return fit[_dice(books, len(fit))]
    if short:
        fit = [ws for ws in (*demand.ahead, *demand.idle) if has_ahead(books, demand, ts, ws)]
        if fit:
            return fit[_dice(books, len(fit))]
    demand.idle.clear()
    demand.others.clear()
    return None


def _dice(books: Books, sides: int) -> int:
    """A number below `sides`: the draws are counted and mixed with the seed, so they repeat."""
    queues = books.queues
    queues.draws += 1
    mask = (1 << 64) - 1
    x = (books.policy.seed * 0x9E3779B97F4A7C15 + queues.draws * 0xD1B54A32D192ED03) & mask
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & mask
    return (x ^ x >> 31) % sides


# --- tasks with inputs -------------------------------------------------------------------------

#: How many bytes of the inputs, and how many of them, are in one number: bytes above, count below.
_COUNT_BITS = 24


def _holdings(ts: TaskState) -> tuple[int, dict[WorkerState, int]]:
    """What the inputs weigh in all, and what of that each worker has."""
    total = 0
    local: dict[WorkerState, int] = {}
    for dep in each(ts.deps):
        if dep.rare is not None and dep.rare.actor:
            continue  # who has an actor as an argument has its name
        weight = (dep.nbytes or 0) << _COUNT_BITS | 1
        total += weight
        for ws in islice(each(dep.holders), _HOLDERS):
            local[ws] = local.get(ws, 0) + weight
    return total, local


def _transfer_s(books: Books, missing: int) -> float:
    if not missing:
        return 0.0
    policy = books.policy
    return policy.latency_s + (missing >> _COUNT_BITS) / policy.bandwidth


def _only_holder(ts: TaskState) -> WorkerState | None:
    """The one worker that has the one input; None if there are more."""
    dep = ts.deps
    if type(dep) is TaskState and dep.rare is None and type(dep.holders) is WorkerState:
        return dep.holders
    return None


def _choose_near(
    books: Books, demand: Demand, ts: TaskState, *, short: bool
) -> WorkerState | Wait | None:
    queues = books.queues
    ws = _only_holder(ts)
    if (
        ws is not None
        and ws in demand.eligible
        and not demand.options.loose
        and queues.rooms[ws].usable
        and has_slot(books, demand, ts, ws)
    ):
        return ws  # a link of a chain: nearly always there is no question
    total, local = _holdings(ts)
    holders = [ws for ws in local if ws in demand.eligible and queues.rooms[ws].usable]
    if demand.options.loose and demand.idle:
        holders = [ws for ws in holders if ws in demand.idle]  # wishes come first
    if len(holders) > _HOLDERS:
        holders = nlargest(_HOLDERS, holders, key=local.__getitem__)
    best = None
    for ws in holders:
        if local[ws] != total or (best is not None and ws.nbytes >= best.nbytes):
            continue
        if has_slot(books, demand, ts, ws):
            best = ws
    if best is not None:
        return best
    turn = next_in_turn(books, demand, ts, short=short)
    if turn is None:
        turn = _overlapping(books, demand, total, local)
        if turn is None:
            return None
    choice: WorkerState | Wait = turn
    start_s, nbytes, _ = _prospect(books, demand, ts, turn, total - local.get(turn, 0), short=short)
    for ws in holders:
        prospect = _prospect(books, demand, ts, ws, total - local[ws], short=short)
        if prospect[:2] < (start_s, nbytes) and (prospect[2] or ts not in queues.tired):
            start_s, nbytes, room = prospect
            choice = ws if room else Wait(ws, start_s)
    return choice


def _prospect(
    books: Books, demand: Demand, ts: TaskState, ws: WorkerState, missing: int, *, short: bool
) -> tuple[float, int, bool]:
    """When the worker could start the task, what it stores, and whether it may be sent there."""
    transfer_s = _transfer_s(books, missing)
    if has_slot(books, demand, ts, ws):
        return (transfer_s, ws.nbytes, True)
    wait_s = ws.backlog_s / ws.slots
    if short and has_ahead(books, demand, ts, ws):
        return (max(wait_s, transfer_s), ws.nbytes, True)
    if demand.feedable and ws.slots_taken == ws.slots and 0 < wait_s <= transfer_s:
        return (transfer_s, ws.nbytes, True)
    wait_s += books.queues.rooms[ws].own_s / ws.slots
    return (max(wait_s, LEAST_S) + transfer_s, ws.nbytes, False)


def _overlapping(
    books: Books, demand: Demand, total: int, local: dict[WorkerState, int]
) -> WorkerState | None:
    """A full worker that gets a slot free before the inputs could come to it."""
    for ws in list(islice(demand.ahead, _TURNS)):
        missing = total - local.get(ws, 0)
        if ws.slots_taken > ws.slots:
            del demand.ahead[ws]
        elif missing and ws.backlog_s / ws.slots <= _transfer_s(books, missing):
            return ws
        else:
            demand.ahead.move_to_end(ws)
    return None


def _choose_unbounded(books: Books, demand: Demand, ts: TaskState) -> WorkerState | None:
    """The best worker for a task, full or not: what it has to do counts, but no limit does."""
    total, local = _holdings(ts)
    for tier in (demand.idle, demand.others):
        best = None
        best_key = (0.0, 0)
        while tier and best is None:
            near = [ws for ws in islice(local, _HOLDERS) if ws in tier]
            for ws in (*near, *islice(tier, _TURNS)):
                if has_slot(books, demand, ts, ws):
                    transfer_s = _transfer_s(books, total - local.get(ws, 0))
                    key = (ws.backlog_s / ws.slots + transfer_s, ws.nbytes)
                    if best is None or key < best_key:
                        best, best_key = ws, key
                else:
                    tier.pop(ws, None)
        if best is not None:
            tier.move_to_end(best)
            return best
    return None


# --- workers kept free -------------------------------------------------------------------------


def keep_free(books: Books, demand: Demand, ws: WorkerState) -> None:
    """Keep a worker free for the head of a demand that small tasks would starve.

    The one that is expected to be free first, of those that have been found full. What the head
    waits for is left alone there by all that come after it. Few workers are kept free at once, for
    the best heads: one, and another for every sixteen there are.
    """
    queues = books.queues
    room = queues.rooms[ws]
    old = demand.hold
    if old is ws or (old is not None and old.backlog_s <= ws.backlog_s):
        return
    head = demand.peek()
    if head is None or not fits_drained(ws, demand, books.now):
        return
    rival = room.held_for
    if rival is None and old is None and len(queues.held) > len(queues.rooms) // _HELD:
        rival = _last_held(queues)
    if rival is not None:
        rivals = rival.peek()
        if rivals is not None and not outranks(head, rivals):
            return
        let_go(queues, rival)
    if old is not None:
        let_go(queues, demand)
    demand.hold = ws
    room.held_for = demand
    queues.held[ws] = None


def _last_held(queues: Queues) -> Demand:
    """Of the demands that a worker is kept free for, the one whose head comes last."""
    last = last_head = None
    for ws in queues.held:
        demand = queues.rooms[ws].held_for
        assert demand is not None
        head = demand.peek()
        if last_head is None or (head is not None and outranks(last_head, head)):
            last, last_head = demand, head
    assert last is not None
    return last


def fits_drained(ws: WorkerState, demand: Demand, now: float) -> bool:
    """Whether the demand fits what actors, which stay, leave of the worker; and what is aside,
    which may wait for something that the demand would keep from it."""
    if demand.timed and not lives_long_enough(ws, demand.options, now):
        return False
    for name, amount in demand.options.resources:
        free = ws.resources.get(name, 0.0)
        for actor in ws.actors:
            free -= dict(actor.options.resources).get(name, 0.0)
        for ts, now_aside in ws.aside.items():
            if now_aside:
                free -= dict(taken(ws, ts.options)).get(name, 0.0)
        if free < amount * (1 - 1e-9):
            return False
    return True


def let_go(queues: Queues, demand: Demand) -> None:
    """The demand needs no worker kept free (any longer)."""
    ws = demand.hold
    if ws is not None:
        demand.hold = None
        queues.rooms[ws].held_for = None
        del queues.held[ws]
        queues.fresh[ws] = None
