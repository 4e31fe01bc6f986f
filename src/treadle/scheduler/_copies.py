"""Copies of results are ordered, counted and let go of.

Orders are level-triggered: whenever a move has ended, whoever waited for it looks at what is there
now and orders what is still lacking. So it does not matter which of them fails, or how.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from heapq import heapify, heappop, heappush

from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._loss import strike_off
from treadle.scheduler._moves import Evacuation, Goal, Job, Move
from treadle.scheduler._relations import each, has, size
from treadle.scheduler._release import drop_replica
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import MEMORY
from treadle.scheduler._worker import WorkerState
from treadle.wire import Fetch, Free, Reply, TaskId, WorkerId

#: Holders named in one order: as many as a worker would try.
_HOLDERS = 8
#: Errors told in one answer.
_ERRORS = 20
#: A result that could not be had from a draining worker so often is computed again elsewhere.
_PATIENCE = 3


class Scales:
    """Workers by the bytes they have and are about to get, the fewest first."""

    def __init__(self, books: Books, workers: Iterable[WorkerState]) -> None:
        incoming = books.moves.incoming
        self._heap = [
            (ws.nbytes + incoming.get(ws, 0), 0, place, ws) for place, ws in enumerate(workers)
        ]
        heapify(self._heap)

    def take(self, nbytes: int, n: int, unfit: Container[WorkerState]) -> list[WorkerState]:
        """The emptiest workers, up to `n`, that are not unfit; each is given so many bytes."""
        heap = self._heap
        back = []
        chosen: list[WorkerState] = []
        while heap and len(chosen) < n:
            item = heappop(heap)
            if item[3] not in unfit:
                chosen.append(item[3])
                item = (item[0] + nbytes, item[1] + 1, item[2], item[3])
            back.append(item)
        for item in back:
            heappush(heap, item)
        return chosen


def takers(
    books: Books, allowed: Container[WorkerId] | None = None, *, paused: bool = False
) -> list[WorkerState]:
    """Workers that data may be sent to: all that are here, stay, and have memory left.

    `allowed`: of these alone (none: all). `paused`: also if they have no memory left.
    """
    return [
        ws
        for ws in books.workers.values()
        if ws.linked
        and not ws.draining
        and (paused or not ws.paused)
        and (not allowed or ws.id in allowed)
    ]


def stays(ws: WorkerState) -> bool:
    """Whether a replica there counts when another is given up."""
    return ws.linked and not ws.draining


# --- moves -------------------------------------------------------------------------------------


def order(books: Books, ts: TaskState, target: WorkerState) -> Move:
    """Tell a worker to fetch a result; the move that there is if it was told before."""
    moves = books.moves
    move = moves.under_way(ts).get(target)
    if move is not None:
        if move.attempt == ts.attempt:
            return move
        ended(books, target, ts.id, move.attempt, arrived=False)
    move = Move(ts, ts.attempt, target, ts.nbytes or 0)
    moves.add(move)
    send(books, move)
    return move


def send(books: Books, move: Move) -> bool:
    """Tell a move's target where to fetch; False if nobody is left to ask."""
    holders = [ws for ws in each(move.ts.holders) if ws.id not in move.struck]
    holders.sort(key=lambda ws: not ws.linked)
    if not holders:
        return False
    names = tuple(ws.id for ws in holders[:_HOLDERS])
    books.send(move.target, Fetch(move.ts.id, move.attempt, move.nbytes, names))
    return True


def ended(books: Books, target: WorkerState, id: TaskId, attempt: int, *, arrived: bool) -> None:
    """A move has ended, if there was one: those who waited for it go on."""
    move = books.moves.pop(target, id, attempt)
    if move is None:
        return
    ts = move.ts
    if move.leaver is not None:
        evacuation = books.moves.evacuations.get(move.leaver)
        if evacuation is not None:
            evacuation.open -= 1
    if arrived:
        if move.source is not None:
            let_go(books, ts, move.source)
        for ws in tuple(each(ts.holders)):
            if ws.draining:
                let_go(books, ts, ws)
    for goal in tuple(move.goals):
        goal.job.moved += arrived
        pursue(books, goal)
    if move.job is not None:
        move.job.moved += arrived
        close(books, move.job)


def let_go(books: Books, ts: TaskState, ws: WorkerState) -> None:
    """Free a replica that is one too many, unless it is the last or somebody is about to read it."""
    if not has(ts.holders, ws) or not any(h is not ws and stays(h) for h in each(ts.holders)):
        return
    for other in each(ts.dependers):
        reader = other.processing_on
        if reader is not None and (reader is ws or ts not in reader.has_what):
            return
    drop_replica(ts, ws)
    books.send(ws, Free(ts.id, ts.attempt))


# --- jobs --------------------------------------------------------------------------------------


def open_job(books: Books, client: ClientState, ask: int) -> Job | None:
    """A request that will be answered; None if it is under way already, and was sent again."""
    key = (client, ask)
    if key in books.moves.jobs:
        return None
    job = books.moves.jobs[key] = Job(client, ask, open=1)
    return job


def close(books: Books, job: Job) -> None:
    """One thing that the job waited for has ended; answer it if that was the last."""
    job.open -= 1
    if job.open:
        return
    del books.moves.jobs[job.client, job.ask]
    if books.clients.get(job.client.peer) is job.client:
        errors = job.errors[:_ERRORS]
        if len(job.errors) > _ERRORS:
            errors.append(f"and {len(job.errors) - _ERRORS} more")
        books.send(job.client, Reply(job.ask, job.moved, "; ".join(errors)))


def pursue(books: Books, goal: Goal, scales: Scales | None = None) -> None:
    """Order the copies that are lacking; close the goal if there are none, or can be none."""
    ts, job = goal.ts, goal.job
    if ts.code != MEMORY or ts.attempt != goal.attempt:
        job.errors.append(f"the result of {ts.key} is gone ({ts.state})")
        _drop_goal(books, goal)
        return
    here = [ws for ws in each(ts.holders) if stays(ws) and _counts(goal, ws)]
    coming = {ws: move for ws, move in books.moves.under_way(ts).items() if _counts(goal, ws)}
    lacking = goal.copies - len(here) - len(coming)
    if lacking > 0:
        if scales is None:
            scales = Scales(books, takers(books, goal.allowed))
        unfit = {**dict.fromkeys(each(ts.holders)), **dict.fromkeys(coming), **goal.tried}
        for ws in scales.take(ts.nbytes or 0, lacking, unfit):
            goal.tried[ws] = None
            coming[ws] = order(books, ts, ws)
            lacking -= 1
    if coming and len(here) < goal.copies:
        for move in coming.values():
            move.goals[goal] = None
        return
    if lacking > 0:
        job.errors.append(
            f"{ts.key} is on {len(here)} of {goal.copies} workers: no other can take it"
        )
    _drop_goal(books, goal)


def _counts(goal: Goal, ws: WorkerState) -> bool:
    return not goal.allowed or ws.id in goal.allowed


def _drop_goal(books: Books, goal: Goal) -> None:
    for move in books.moves.under_way(goal.ts).values():
        move.goals.pop(goal, None)
    close(books, goal.job)


# --- evacuation --------------------------------------------------------------------------------


def evacuate(books: Books, ws: WorkerState) -> bool:
    """Move away what only this draining worker has; True if there is nothing (left).

    Actors cannot move and do not count. May be called as often as one likes.
    """
    evacuation = books.moves.evacuations.get(ws)
    if evacuation is None:
        evacuation = books.moves.evacuations[ws] = Evacuation()
    if evacuation.open:
        return False
    clear = True
    scales = None
    for ts in tuple(ws.has_what):
        if ts.actor or not ts.needed:
            continue
        if size(ts.holders) > 1 and any(stays(holder) for holder in each(ts.holders)):
            continue
        clear = False
        under_way = books.moves.under_way(ts)
        if any(stays(target) for target in under_way):
            continue
        if scales is None:
            scales = Scales(books, takers(books))
        failed = evacuation.failures.get(ts, {})
        unfit = dict.fromkeys((*each(ts.holders), *under_way, *failed))
        for target in scales.take(ts.nbytes or 0, 1, unfit):
            order(books, ts, target).leaver = ws
            evacuation.open += 1
            break
        else:
            evacuation.failures.pop(ts, None)  # all have tried, or there is nobody: begin anew
    return clear


def not_evacuated(books: Books, move: Move) -> None:
    """A worker could not fetch an object from one that drains.

    After some tries its holder is struck off, so that it is computed again. Data that nobody can
    compute again is tried for as long as the worker is there.
    """
    ts, leaver = move.ts, move.leaver
    evacuation = None if leaver is None else books.moves.evacuations.get(leaver)
    if leaver is None or evacuation is None:
        return
    failed = evacuation.failures.setdefault(ts, {})
    failed[move.target] = None
    if len(failed) >= _PATIENCE and ts.repeatable and has(ts.holders, leaver):
        del evacuation.failures[ts]
        strike_off(books, ts.id, leaver.id)
