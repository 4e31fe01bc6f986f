"""The one table of legal transitions of a task at the scheduler.

A step that is not in the row of the task's state is a bug: `advance` raises `IllegalTransition`,
which tells the task's story. The diagram in `docs/states.md` is drawn from this table.

The states are the seven of the page, as small numbers; the story is an integer, one hexadecimal
digit for each state the task has been in, the newest last. A task that waits has a story of two
digits, which Python keeps as a shared object: it costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from treadle.errors import IllegalTransition

if TYPE_CHECKING:
    from treadle.scheduler._task import TaskState

RELEASED, WAITING, NO_WORKER, PROCESSING, MEMORY, ERRED, FORGOTTEN = range(1, 8)

STATES = ("", "released", "waiting", "no-worker", "processing", "memory", "erred", "forgotten")

#: From state to state, and what happens.
TABLE: dict[int, dict[int, str]] = {
    RELEASED: {
        WAITING: "somebody needs its result",
        MEMORY: "a worker has the data a client gave it",
        ERRED: "a dependency has erred before",
        FORGOTTEN: "nobody can need it any longer",
    },
    WAITING: {
        PROCESSING: "it is sent to a worker",
        NO_WORKER: "no worker could ever run it",
        RELEASED: "nobody needs it any longer, or a dependency has failed",
        MEMORY: "a worker came back with the result",
    },
    NO_WORKER: {
        PROCESSING: "a worker that can run it has come, and it is sent there",
        WAITING: "a worker that can run it has come, or an input is lost",
        RELEASED: "nobody needs it any longer, or a dependency has failed",
        MEMORY: "a worker came back with the result",
    },
    PROCESSING: {
        MEMORY: "a worker has the result",
        ERRED: "it has failed for good",
        RELEASED: "it is tried again, or nobody needs it any longer",
    },
    MEMORY: {
        RELEASED: "its result is lost, or nobody needs it any longer",
        ERRED: "it was an actor, and its process is gone",
        FORGOTTEN: "nobody can need it any longer",
    },
    ERRED: {
        RELEASED: "somebody asked for another try",
        FORGOTTEN: "nobody can need it any longer",
    },
    FORGOTTEN: {},
}

#: For each state the states it may lead to, as bits.
_LEGAL = [sum(1 << new for new in TABLE.get(old, ())) for old in range(8)]

#: A story keeps this many states at the least; an endless one forgets its beginning.
_STORY_STATES = 64
_STORY_FULL = 1 << 4 * (2 * _STORY_STATES)
_STORY_MASK = (1 << 4 * _STORY_STATES) - 1


def advance(ts: TaskState, new: int) -> None:
    """Move the task on to another state.

    Raises:
        IllegalTransition: the table has no such step; the task is unchanged.
    """
    old = ts.code
    if not _LEGAL[old] >> new & 1:
        raise IllegalTransition(
            ts.key, STATES[old], STATES[new], [STATES[s] for s in TABLE[old]], tell(ts)
        )
    ts.code = new
    story = ts.story_code << 4 | new
    ts.story_code = story if story < _STORY_FULL else story & _STORY_MASK
    counts = ts.group.counts
    counts[old] -= 1
    counts[new] += 1


def states_of(ts: TaskState) -> list[str]:
    """The states the task has been in, oldest first (at least the last 64 of them)."""
    states = []
    rest = ts.story_code
    while rest:
        states.append(STATES[rest & 15])
        rest >>= 4
    return states[::-1]


def tell(ts: TaskState) -> str:
    """The task's story in one line."""
    return f"story of task {ts.key}: {' > '.join(states_of(ts))}"
