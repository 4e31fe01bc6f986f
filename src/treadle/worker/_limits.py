"""How much the worker does at once, and how long it waits. One object, fixed for its life."""

from __future__ import annotations

from msgspec import Struct

MIB = 1024 * 1024


class Limits(Struct, frozen=True):
    """Limits of one worker. Times are seconds, shares are of the memory budget."""

    #: Attempts that may stand in a slot's socket behind the one that runs.
    depth: int = 8
    #: So long an attempt may run before what stands behind it is taken back.
    blocked_s: float = 0.005
    #: So long the start of a short attempt may go unreported: mostly its end comes first.
    started_s: float = 0.005
    #: So long the best ranked job may be kept from running before it reserves all it needs.
    reserve_s: float = 1.0

    #: So long a slot process that is not needed is kept for the next that waits.
    spare_s: float = 5.0
    #: Processes beside the slots: of tasks that are aside, and of what takes no slot.
    beside: int = 1000

    #: Requests for data in flight, one for each peer, and what they may bring in all.
    asks: int = 32
    incoming_bytes: int = 256 * MIB
    #: Objects of one request: so many bytes, or one object.
    batch_bytes: int = 50 * MIB
    #: So long a peer that is busy is left alone; doubled each time up to the second figure.
    busy_s: float = 0.1
    busy_max_s: float = 2.0
    #: A transfer may take so long, and a second more for each so many bytes.
    transfer_s: float = 30.0
    slowest_bytes_s: int = MIB
    #: So long an ordered copy is looked for.
    fetch_s: float = 120.0
    #: Transfers to peers at once, and their bytes.
    serves: int = 32
    outgoing_bytes: int = 512 * MIB

    #: Above this share, objects that nobody here wants go to disk.
    spill: float = 0.6
    #: Above `high` nothing new is started, until memory is below `low`.
    high: float = 0.85
    low: float = 0.7
    #: So long a claim waits for room; then it gets it over the budget.
    room_s: float = 10.0
    #: So long an object that could not be written to disk is left in memory.
    respill_s: float = 60.0

    #: The worker asks to leave this long before its block ends, or this share of the block's life
    #: where that is less.
    farewell_s: float = 60.0
    farewell_share: float = 0.1

    #: A slot that dies before it has begun anything is replaced after so long; doubled each time.
    restart_s: float = 0.1
    restart_max_s: float = 30.0
    #: So many such deaths in a row, with no slot left, and the worker asks to leave.
    restarts: int = 8
