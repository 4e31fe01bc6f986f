"""Values of a program made into parcels: copied, side by side if they are much, once if equal.

Whether data is known is told by its bytes, compared one by one; of a digest only a few samples are
taken, to find what it may be equal to. So what is new, which is nearly all, is read once: to be
copied.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from treadle.client._flows import Flow, Pending
from treadle.cluster._upload import Parcel
from treadle.cluster._upload_memory import mark_of
from treadle.dataflow._lazy import LazyFuture

if TYPE_CHECKING:
    from treadle.cluster._upload import Parcels
    from treadle.serialize import Packed

T = TypeVar("T")

#: More than this is not copied in the caller's thread.
_ASIDE_BYTES: Final = 4 << 20
#: So many threads copy, where there are cores for them: more do not make memory faster.
_THREADS: Final = 4

#: A value in pieces, and the name of its type.
Item = tuple["Packed", str]


def made_of(
    parcels: Parcels, items: Sequence[Item], known: Callable[[Parcel], T | None] | None
) -> Flow[list[Parcel | T]]:
    """The parcel of each value, or what is known of an equal one.

    Args:
        parcels: where they are kept.
        items: the values.
        known: what there is of a parcel that may be used again; None: none may.

    Raises:
        OSError: there is no memory for them.
    """
    made: list[Any] = [None] * len(items)
    later: list[int] = []
    first: list[int] = []
    samples: dict[bytes, None] = {}
    marks: list[bytes] = []
    for index, (packed, kind) in enumerate(items):
        mark = b"" if known is None else mark_of(packed, kind)
        marks.append(mark)
        if mark and (mark in samples or parcels.has_mark(mark)):
            later.append(index)  # it may be equal to one of those
        else:
            samples[mark] = None
            first.append(index)
    try:
        yield from _copy(parcels, items, marks, first, made)
        fresh = {made[index].id: made[index] for index in first}
        for index in later:
            packed, kind = items[index]
            found = None
            for parcel in parcels.equal_to(packed, marks[index]):
                assert known is not None
                found = parcel if parcel.id in fresh else known(parcel)
                if found is not None:
                    break
            if found is None:
                found = parcels.new(packed, kind, kind, mark=marks[index])
                fresh[found.id] = found
            made[index] = found
    except BaseException:
        for each in made:
            if isinstance(each, Parcel) and not each.sent:
                parcels.drop(each)
        raise
    return made


def _copy(
    parcels: Parcels,
    items: Sequence[Item],
    marks: Sequence[bytes],
    indices: list[int],
    made: list[Any],
) -> Flow[None]:
    """Make parcels of these; in threads of their own if they are much."""
    rest = iter(indices)
    lock = threading.Lock()
    errors: list[BaseException] = []

    def copy() -> None:
        try:
            while not errors:
                with lock:
                    index = next(rest, None)
                if index is None:
                    return
                packed, kind = items[index]
                made[index] = parcels.new(packed, kind, kind, mark=marks[index])
        except BaseException as error:  # noqa: BLE001 - it is raised where all is waited for
            errors.append(error)

    if sum(items[index][0].nbytes for index in indices) <= _ASIDE_BYTES:
        copy()
    else:
        yield from _in_threads(copy, min(len(indices), _THREADS, os.cpu_count() or 1), errors)
    if errors:
        raise errors[0]


def _in_threads(work: Callable[[], None], count: int, errors: list[BaseException]) -> Flow[None]:
    """Do this in so many threads, until all are done. Work ends soon after there are errors."""
    gate: LazyFuture[None] = LazyFuture()
    lock = threading.Lock()
    running = count

    def one() -> None:
        nonlocal running
        work()
        with lock:
            running -= 1
            last = not running
        if last:
            gate.set_result(None)

    threads = [threading.Thread(target=one, name="treadle-copy", daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield Pending(gate)
    except BaseException as error:
        errors.append(error)
        raise
    finally:
        for thread in threads:  # nobody makes anything any more when this is over
            thread.join()
