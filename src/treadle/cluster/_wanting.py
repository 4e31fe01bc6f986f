"""What a client wants, and no longer wants, of others' results and of single rows. Pure.

The books know a task by its identifier, and the rows of a map by their bundle. A row is wanted for
as long as somebody here has a future of it; a part of a bundle, which is one object to all others,
for as long as one of its rows is. What of others' maps is wanted here becomes a bundle when it is
told of: before that nobody knows which rows are told together.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING

from treadle import wire
from treadle.cluster._rows import DROPPED, ENDED, OPEN, Bundle

if TYPE_CHECKING:
    from treadle.cluster._ledger import Ledger
    from treadle.wire import TaskId

#: Longest text that a message may have as a reason.
_MOST_REASON = 1024


def want(b: Ledger, id: TaskId, name: str) -> None:
    """Want a result that others have asked for, or that was wanted here before."""
    bundle = b.bundles.find(id)
    if bundle is not None and isinstance(id, int):
        if bundle.want(id):
            b.say(wire.Desire((id,)))
    elif type(b.wants.get(id)) is not str:
        b.wants[id] = name
        b.say(wire.Desire((id,)))


def forget(b: Ledger, ids: Iterable[TaskId], lingering: Container[TaskId]) -> None:
    """Nobody here has a future of these any longer; of some of them one was pickled."""
    gone: list[TaskId] = []
    linger: list[TaskId] = []
    shed: list[int] = []
    for id in ids:
        if b.wants.pop(id, None) is not None:
            b.let_go(id)
            (linger if id in lingering else gone).append(id)
        elif (bundle := b.bundles.find(id)) is not None and isinstance(id, int):
            left = bundle.left
            part = bundle.leave(id, lingers=id in lingering)
            if part is not None:
                (linger if bundle.lingering else gone).append(part)
            elif bundle.left < left:
                shed.append(id)
            if not bundle.left:
                b.tidy(bundle)
        elif b.past:
            b.past.pop(id, None)
    if linger:
        b.say(wire.Linger(tuple(linger)))
    if gone:
        b.say(wire.Release(tuple(gone)))
    if shed:
        b.say(wire.ReleaseRows(spans_of(shed)))


def cancel(b: Ledger, ids: Iterable[TaskId], *, force: bool, reason: str) -> None:
    """Stop these tasks, and these rows of maps; nothing is told of them any more."""
    named: list[TaskId] = []
    rows: list[int] = []
    reason = reason[:_MOST_REASON]
    for id in ids:
        if b.wants.pop(id, None) is not None:
            named.append(id)
            b.let_go(id)
            if isinstance(id, str):
                b.stopped[id] = b.next_beat
        elif (bundle := _open_with(b, id)) is not None and isinstance(id, int):
            bundle.tell(id, 1, None)
            rows.append(id)
            b.tidy(bundle)
    if named:
        b.say(wire.Cancel(tuple(named), force, reason))
    if rows:
        b.say(wire.CancelRows(spans_of(rows), force, reason))


def cancel_waiting(b: Ledger, ids: Iterable[TaskId], reason: str) -> None:
    """Stop those of these, rows too, that have not begun; it is told which these were."""
    if found := tuple(id for id in ids if _is_open(b, id)):
        b.say(wire.Cancel(found, reason=reason[:_MOST_REASON], waiting=True))


def _is_open(b: Ledger, id: TaskId) -> bool:
    return type(b.wants.get(id)) is str or _open_with(b, id) is not None


def _open_with(b: Ledger, id: TaskId) -> Bundle | None:
    """The bundle in which this is a row that is waited for."""
    bundle = b.bundles.find(id)
    return bundle if bundle is not None and bundle.is_open(int(id), 1) else None


def retry(b: Ledger, ids: Iterable[TaskId]) -> None:
    """Try these again, as far as they have failed."""
    named = [id for id in ids if _reopen(b, id, 1)]
    if named:
        b.say(wire.Retry(tuple(named)))


def retried(b: Ledger, message: wire.Retried) -> None:
    """What has failed is tried again, because somebody asked for it."""
    if _reopen(b, message.id, message.rows):
        b.news.append(message)


def _reopen(b: Ledger, id: TaskId, rows: int) -> bool:
    was = b.wants.get(id)
    if was is ENDED or getattr(was, "is_gone", False):  # or it had ended well, and was lost
        b.wants[id] = str(id)[:512]
        return True
    bundle = b.bundles.find(id)
    if bundle is None or not isinstance(id, int):
        return False
    return bundle.reopen(id, rows)


def bundle_of(b: Ledger, id: TaskId, rows: int) -> Bundle | None:
    """The bundle that these rows, which are told of, are in.

    Of another's map those that are wanted here are a bundle from now on.
    """
    bundle = b.bundles.find(id)
    if bundle is not None or rows == 1 or not isinstance(id, int):
        return bundle
    wants = b.wants
    span = range(id, id + rows)
    mine = [row for row in span if type(wants.get(row)) is str] if rows < len(wants) else [
        row for row in wants if isinstance(row, int) and row in span and type(wants[row]) is str
    ]  # fmt: skip
    if not mine:
        return None
    b.bundles.add(id, rows, wants[mine[0]])
    bundle = b.bundles.find(id)
    assert bundle is not None
    bundle.flags[:] = bytes([DROPPED]) * rows
    for row in mine:
        assert isinstance(row, int)
        bundle.flags[row - id] = OPEN
        del wants[row]
        b.let_go(row)
    bundle.left = len(mine)
    return bundle


def let_go_of(b: Ledger, bundle: Bundle, id: int, rows: int) -> None:
    """A part was told that nobody here wants any longer."""
    b.say(wire.Linger((id,)) if bundle.lingers(id, rows) else wire.Release((id,)))
    b.tidy(bundle)


def spans_of(rows: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Stretches of rows: the first of each, and how many."""
    spans: list[tuple[int, int]] = []
    for row in sorted(rows):
        if spans and row == spans[-1][0] + spans[-1][1]:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1)
        else:
            spans.append((row, 1))
    return tuple(spans)
