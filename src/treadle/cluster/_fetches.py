"""Results on their way to a client, from the workers that have them.

Each worker is asked for a few batches at a time. Who does not have an object, or cannot be reached,
is not asked again for it; when nobody is left, the scheduler is asked who has it now. If nobody
has, it is being computed again, and its result says when it is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from treadle import wire

if TYPE_CHECKING:
    from treadle.cluster._link import Link
    from treadle.cluster._results import RemoteResult

#: Requests that are under way to one worker, objects in one of them, and their bytes.
_ASKS: Final = 4
_OBJECTS: Final = 100
_BYTES: Final = 64 << 20
#: How long a busy worker is left alone; how long who cannot be reached is.
BUSY_S: Final = 0.02
AGAIN_S: Final = 0.3

Open = Callable[[wire.Spot], memoryview]


class Fetch:
    """One result that is being fetched."""

    __slots__ = ("result", "struck", "tries")

    def __init__(self, result: RemoteResult) -> None:
        self.result = result
        #: How often the scheduler was asked who has it.
        self.tries = 0
        #: Workers that did not have it, or could not be reached.
        self.struck: dict[str, None] = {}

    def next_holder(self) -> str | None:
        """Who is to be asked next."""
        return next((name for name in self.result.holders if name not in self.struck), None)


class _Batch:
    """A request, and what has come of it."""

    __slots__ = ("buffers", "fetches", "left", "objects")

    def __init__(self, fetches: list[Fetch]) -> None:
        self.fetches = {fetch.result.id: fetch for fetch in fetches}
        self.objects: tuple[wire.Held, ...] | None = None
        self.buffers: list[bytearray] = []
        #: Bytes that have not come, of each object.
        self.left: list[int] = []


class Asking:
    """What is fetched from one worker.

    Args:
        open_spot: maps memory of this machine.
        failed: told of each fetch that this worker did not answer with its object.
        later: calls something after so many seconds.
    """

    def __init__(
        self,
        worker: str,
        open_spot: Open,
        failed: Callable[[Fetch], None],
        later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self.worker = worker
        self.link: Link | None = None
        self._open = open_spot
        self._failed = failed
        self._later = later
        self._queue: deque[Fetch] = deque()
        self._batches: dict[int, _Batch] = {}
        self._ask = 0

    @property
    def busy(self) -> bool:
        """Whether anything is fetched, or is to be."""
        return bool(self._queue or self._batches)

    def add(self, fetch: Fetch) -> None:
        """Fetch this too."""
        self._queue.append(fetch)
        self.pump()

    def pump(self) -> None:
        """Ask for more, if enough has come."""
        while self.link is not None and self._queue and len(self._batches) < _ASKS:
            batch: list[Fetch] = []
            nbytes = 0
            while self._queue and len(batch) < _OBJECTS:
                nbytes += self._queue[0].result.nbytes
                if batch and nbytes > _BYTES:
                    break
                fetch = self._queue.popleft()
                if fetch.result.is_there:  # else it is computed again, or gone
                    batch.append(fetch)
                else:
                    fetch.result.not_brought()
            if batch:
                self._ask += 1
                self._batches[self._ask] = _Batch(batch)
                wanted = tuple([wire.Attempt(fetch.result.id, 0) for fetch in batch])
                self.link.send([wire.GetData(self._ask, wanted)])

    def data(self, message: wire.Data) -> None:
        """Which objects come."""
        batch = self._batches.get(message.ask)
        if batch is None or batch.objects is not None:
            return
        batch.objects = message.objects
        coming = {held.id for held in message.objects}
        for id, fetch in list(batch.fetches.items()):
            if id not in coming:
                del batch.fetches[id]
                self._strike(fetch)
        if not message.objects:
            self._end(message.ask)
        elif self.link is not None and not self.link.same_machine:
            batch.buffers = [bytearray(held.nbytes) for held in message.objects]
            batch.left = [held.nbytes for held in message.objects]

    def spots(self, message: wire.Spots) -> None:
        """Where the objects stand."""
        batch = self._batches.get(message.ask)
        if batch is None or batch.objects is None:
            return
        for held, spot in zip(batch.objects, message.spots, strict=False):
            fetch = batch.fetches.pop(held.id, None)
            if fetch is None:
                continue
            try:
                data = spot if isinstance(spot, bytes) else self._open(spot)
            except OSError:
                self._strike(fetch)  # it may have been freed
            else:
                fetch.result.brought(data)
        if self.link is not None:
            self.link.send([wire.Taken(message.ask)])
        self._end(message.ask)

    def chunk(self, chunk: wire.Chunk) -> None:
        """A piece of an object."""
        batch = self._batches.get(chunk.ask)
        if batch is None or chunk.index >= len(batch.buffers):
            return
        buffer = batch.buffers[chunk.index]
        end = chunk.offset + len(chunk.payload)
        if end > len(buffer):
            return
        buffer[chunk.offset : end] = chunk.payload
        batch.left[chunk.index] -= len(chunk.payload)
        if batch.left[chunk.index] <= 0 and batch.objects is not None:
            fetch = batch.fetches.pop(batch.objects[chunk.index].id, None)
            if fetch is not None:
                fetch.result.brought(buffer)
            if not any(left > 0 for left in batch.left):
                self._end(chunk.ask)

    def rebuffed(self, message: wire.Busy) -> None:
        """It has too much to do: ask again in a while."""
        batch = self._batches.pop(message.ask, None)
        if batch is not None:
            self._queue.extendleft(reversed(batch.fetches.values()))
            self._later(BUSY_S, self.pump)

    def lost(self) -> None:
        """The worker cannot be reached: what it should have sent is to be had elsewhere."""
        self.link = None
        fetches = [fetch for batch in self._batches.values() for fetch in batch.fetches.values()]
        fetches += self._queue
        self._batches.clear()
        self._queue.clear()
        for fetch in fetches:
            self._strike(fetch)

    def _strike(self, fetch: Fetch) -> None:
        fetch.struck[self.worker] = None
        self._failed(fetch)

    def _end(self, ask: int) -> None:
        batch = self._batches.pop(ask)
        for fetch in batch.fetches.values():
            self._strike(fetch)
        self.pump()
