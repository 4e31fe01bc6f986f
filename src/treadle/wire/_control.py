"""Messages by which a cluster is watched and steered.

Some are the machine's (`Processing`, `Muster`, `Restart`, and a worker's `Aside` and `Back`); an
inquiry is passed on by the scheduler's shell to workers' shells, and their answers come back in one.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from treadle.wire._terms import (
    MAX_ITEMS,
    Attempt,
    Count,
    Ids,
    Message,
    Name,
    Seconds,
    Serial,
    Text,
    WorkerIds,
)

Attempts = Annotated[tuple[Attempt, ...], Meta(max_length=MAX_ITEMS)]


class Processing(Message, frozen=True, gc=False):
    """What have these workers (none named: all) been given? Answer: {worker: shown keys}."""

    ask: Serial
    workers: WorkerIds = ()


class Muster(Message, frozen=True, gc=False):
    """Tell me when so many workers are there. Answer: how many are; None when the time is up."""

    ask: Serial
    count: Count
    timeout_s: Seconds | None = None


class Restart(Message, frozen=True, gc=False):
    """Forget all work and all data of all clients, and have every worker begin anew.

    Answer: how many workers are there, when that are as many as before; None when time is up.
    """

    ask: Serial
    timeout_s: Seconds | None = None


class Inquire(Message, frozen=True, gc=False):
    """Ask these workers (none named: all), and the scheduler if `scheduler`.

    `what`: 'call_stack' (of the tasks `ids`; none named: of all; [id, key, frames] of each that
    runs), 'logs' (the newest `most`; [level, line] of each), 'versions' (of the packages that `ids`
    name, too) or 'output' (nothing; once what tasks have printed was sent). Answer: [{worker, or
    'scheduler': answer}, {worker: why there is none}].

    The scheduler alone tells 'info' ({worker: what there is to know of it}), 'nbytes' (of the
    results `ids`; none named: of all; {key: bytes}) and 'nbytes_by_name' ({prefix: bytes}).
    """

    ask: Serial
    what: Name
    workers: WorkerIds = ()
    ids: Ids = ()
    most: Count = 0
    scheduler: bool = False


class Inquiry(Message, frozen=True, gc=False):
    """A client asks. Answer: `Answer`."""

    ask: Serial
    what: Name
    ids: Ids = ()
    most: Count = 0


class Answer(Message, frozen=True, gc=False):
    """The answer to an inquiry. `error`: why there is none."""

    ask: Serial
    value: Any = None
    error: Text = ""


class Aside(Message, frozen=True, gc=False):
    """These attempts run, but wait for other tasks, or have seceded: they take no slot."""

    attempts: Attempts


class Back(Message, frozen=True, gc=False):
    """These attempts, which were aside, take their slots again."""

    attempts: Attempts
