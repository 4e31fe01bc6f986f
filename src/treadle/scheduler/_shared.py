"""What clients coordinate by: named things, each made when it is first named.

A thing is kept while it says something (a place is taken, it is set, it has items) or somebody
waits at it, and forgotten otherwise: however many names were ever used, the books do not grow.

A request that cannot be answered at once is a `Wait`. It stands in one thing's line, first come,
first served, and ends once: answered, withdrawn, forgotten with its client, or when its time is up.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct, field

from treadle.wire import Item, Reply

if TYPE_CHECKING:
    from treadle.scheduler._client import ClientState

#: Deadlines of requests that have ended meanwhile, which may stand in the clock at least.
_SPARE = 64


class Stored(NamedTuple):
    """An item, and who wants the results that futures in it stand for (None: there are none)."""

    item: Item
    keeper: ClientState | None


class Place(NamedTuple):
    """A place that is taken."""

    client: ClientState
    owner: str


class Wait(Struct, eq=False, gc=False):
    """A request that waits for its answer."""

    client: ClientState
    ask: int
    thing: Thing
    #: What is answered when its time is up.
    late: bool | None = None
    #: When that is; None: it waits as long as it takes.
    until: float | None = None
    is_open: bool = True
    #: Of who takes a place: who that is, for people.
    owner: str = ""
    #: Of who puts an item.
    stored: Stored | None = None
    #: Of who takes items: how many.
    least: int = 1
    most: int = 1


class Thing(Struct, eq=False):
    """Anything that has a name, and at which somebody may wait."""

    name: str
    #: Who waits, in the order in which they came.
    line: dict[Wait, None] = field(default_factory=dict)


class Semaphore(Thing, eq=False):
    """So many places. Nobody waits while one is free."""

    places: int = 1
    #: By fencing token, in the order in which they were taken.
    taken: dict[int, Place] = field(default_factory=dict)


class Signal(Thing, eq=False):
    """An event. Nobody waits while it is set."""

    is_set: bool = False


class Queue(Thing, eq=False):
    """Items. In `line` stands who takes; who puts only waits while it is full."""

    #: 0: nobody has said how many it holds.
    maxsize: int = 0
    items: deque[Stored] = field(default_factory=deque)
    puts: dict[Wait, None] = field(default_factory=dict)
    #: Answers with items of it that are under way: those may come back.
    under_way: int = 0


class Variable(Thing, eq=False):
    """A value. Nobody waits while it has one."""

    value: Stored | None = None


class Reader(Struct, eq=False, gc=False):
    """One who is told what is announced."""

    #: The newest there was when it came.
    start: int
    #: The request that made it a reader; 0: it did not ask.
    ask: int = 0
    #: It has a new link, and has not said yet what it missed.
    paused: bool = False


class Topic(Struct, eq=False):
    """The newest messages, and who is told of others."""

    name: str
    #: The number of the newest.
    number: int = 0
    messages: deque[bytes] = field(default_factory=deque)
    nbytes: int = 0
    readers: dict[ClientState, Reader] = field(default_factory=dict)


class Kept(NamedTuple):
    """An answer that may have to be told again."""

    reply: Reply
    #: The place that it gave; the items, and where they are from.
    token: int | None = None
    queue: Queue | None = None
    items: tuple[Stored, ...] = ()


class Desk(Struct, eq=False):
    """What one client asked for and has, of all this."""

    #: The newest of its requests, and of its announcements.
    asked: int = 0
    announced: int = 0
    #: Its requests that wait, by number.
    waits: dict[int, Wait] = field(default_factory=dict)
    #: Answers of which it has not said that they have come.
    kept: dict[int, Kept] = field(default_factory=dict)
    #: Places it has, by fencing token.
    places: dict[int, Semaphore] = field(default_factory=dict)
    #: Topics it reads.
    topics: dict[str, Topic] = field(default_factory=dict)


class Clock:
    """Requests whose time will be up."""

    def __init__(self) -> None:
        #: When, a number, and who; some of them have ended meanwhile, but never the first.
        self.heap: list[tuple[float, int, Wait]] = []
        self._n = 0
        self._dead = 0

    def __len__(self) -> int:
        return len(self.heap) - self._dead

    def add(self, wait: Wait) -> None:
        """Its time will be up."""
        assert wait.until is not None
        self._n += 1
        heappush(self.heap, (wait.until, self._n, wait))

    def ended(self, wait: Wait) -> None:
        """It has ended, before its time or at it."""
        if wait.until is None:
            return
        self._dead += 1
        heap = self.heap
        while heap and not heap[0][2].is_open:
            heappop(heap)
            self._dead -= 1
        if self._dead > _SPARE and self._dead * 2 > len(heap):
            self.heap = [entry for entry in heap if entry[2].is_open]
            heapify(self.heap)
            self._dead = 0

    def due(self, now: float) -> Wait | None:
        """One whose time is up; the caller ends it."""
        heap = self.heap
        return heap[0][2] if heap and heap[0][0] <= now else None


class Shared:
    """All named things of one scheduler."""

    def __init__(self) -> None:
        self.semaphores: dict[str, Semaphore] = {}
        self.signals: dict[str, Signal] = {}
        self.queues: dict[str, Queue] = {}
        self.variables: dict[str, Variable] = {}
        self.topics: dict[str, Topic] = {}
        self.metadata: dict[str, Any] = {}
        self.clock = Clock()
        #: The newest fencing token, of whatever semaphore: it never goes back, so a name that is
        #: forgotten and comes again shares none with its past.
        self.tokens = 0
        #: Counts items that have futures in them.
        self.keepers = 0
