"""`app.map`: results in order, with a bounded number of calls in flight.

Where the kernel can, it takes many calls at once, as the rows of a bundle; else each is a task of
its own. Which of the two it is makes no difference but to the speed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from treadle.errors import TaskCallError

R = TypeVar("R")

#: Enough to keep a thousand cores busy with tasks of equal length, little enough to hold.
DEFAULT_WINDOW = 1000

#: So far the default window grows by itself, where calls are so short that a whole window of them
#: ends within this time.
WIDEST_WINDOW = 32_000
_SOON_S = 0.1

#: Bundles that a window has room for, so that some are under way while one is made or read.
_BUNDLES = 4


class Rows(Protocol):
    """Calls that were taken as one task."""

    @property
    def left(self) -> int:
        """How many results have not been taken."""

    def take(self, timeout: float | None = None) -> list[Any]:
        """The next results, one or more; raises what the next call raised."""

    def cancel(self) -> None:
        """Cancel the calls that have not ended."""


class Bundler(Protocol):
    """What takes many calls at once."""

    most: int

    def submit(self, rows: Sequence[tuple[Any, ...]]) -> Rows | None:
        """Take calls with these positional arguments; None if each must be a task of its own."""


class MapResults(Generic[R], Iterator[R]):
    """Iterates over the results of calls in the order of the calls.

    A call that failed raises its error when its turn comes, and the iteration is over. Then, and
    when the iterator is closed or dropped, the calls that have not started are cancelled.

    Args:
        app: called with items of the iterables, and what is common.
        iterables: the positional arguments.
        window: how many calls may be in flight or wait to be taken; None: 1000, and more where
            calls are short and taken many at once.
        common: keyword arguments of every call.
        bundler_for: given the first call's arguments: what takes many calls at once, or None.
    """

    def __init__(
        self,
        app: Callable[..., Future[R]],
        iterables: tuple[Iterable[Any], ...],
        window: object,
        common: dict[str, Any],
        bundler_for: Callable[[tuple[Any, ...]], Bundler | None] | None = None,
    ) -> None:
        #: Calls in order: each a future, or many as rows.
        self._pending: deque[Any] = deque()
        #: How many they are; of those, how many are loaded and on their way out.
        self._n_open = 0
        self._ready: list[R] = []
        self._n_ready = 0
        if not iterables:
            raise TaskCallError("map takes at least one iterable: app.map(items)")
        self._grows = window is None
        if window is None:
            window = DEFAULT_WINDOW
        if not isinstance(window, int) or isinstance(window, bool) or window < 1:
            raise TaskCallError(
                f"map: window must be a whole number of calls from 1 on, or None, not {window!r}"
            )
        self._app = app
        self._common = common
        self._window = window
        self._bundler: Bundler | None = None
        self._bundler_for = bundler_for
        #: When the window was last looked at, and how many results have been taken since.
        self._since = time.monotonic()
        self._n_since = 0
        self._calls: Iterator[tuple[Any, ...]] | None = zip(*iterables, strict=False)
        #: What reading the iterables raised; told when the results before it have been taken.
        self._unreadable: BaseException | None = None
        try:
            self._fill()
        except BaseException:
            self.close()
            raise

    # --- calling ----------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Call as many as the window has room for."""
        while self._calls is not None and self._n_open < self._window:
            count = 1
            if self._bundler is not None:
                count = min(self._bundler.most, max(1, self._window // _BUNDLES))
                if count > self._window - self._n_open:
                    return  # a whole bundle, or none
            rows = self._read(count)
            if self._bundler_for is not None and rows:
                make, self._bundler_for = self._bundler_for, None
                self._bundler = make(rows[0])
                if self._bundler is not None:
                    rows += self._read(max(1, self._window // _BUNDLES) - 1)
            if rows:
                self._call(rows)

    def _read(self, count: int) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        if self._calls is None:
            return rows
        try:
            rows.extend(islice(self._calls, count))  # what it read before it raised is kept
        except Exception as error:  # noqa: BLE001 - told when its turn comes
            self._calls, self._unreadable = None, error
        else:
            if len(rows) < count:
                self._calls = None
        return rows

    def _call(self, rows: list[tuple[Any, ...]]) -> None:
        taken = None if self._bundler is None else self._bundler.submit(rows)
        if taken is not None:
            self._pending.append(taken)
            self._n_open += len(rows)
            return
        for args in rows:
            self._pending.append(self._app(*args, **self._common))
            self._n_open += 1

    # --- taking -----------------------------------------------------------------------------------

    def __iter__(self) -> MapResults[R]:
        return self

    def __next__(self) -> R:
        if self._ready:
            return self._ready.pop()
        try:
            return self._advance()
        except BaseException:
            self.close()
            raise

    def _advance(self) -> R:
        """The next result that is not at hand."""
        if self._n_ready:
            self._n_open -= self._n_ready
            self._look_at_pace()
            self._n_ready = 0
            self._fill()
        if not self._pending:
            error, self._unreadable = self._unreadable, None
            if error is not None:
                raise error
            raise StopIteration
        first = self._pending[0]
        if isinstance(first, Future):
            result: R = first.result()
            self._pending.popleft()
            self._n_open -= 1
            self._fill()
            return result
        ready = first.take()
        if not first.left:
            self._pending.popleft()
        self._n_ready = len(ready)
        ready.reverse()
        self._ready = ready
        return self._ready.pop()

    def _look_at_pace(self) -> None:
        """Widen the default window where a whole one of it is over at once."""
        self._n_since += self._n_ready
        if self._grows and self._n_since >= self._window:
            now = time.monotonic()
            if now - self._since < _SOON_S:
                self._window = min(2 * self._window, WIDEST_WINDOW)
            self._since, self._n_since = now, 0

    def close(self) -> None:
        """End the iteration and cancel the calls that have not started."""
        self._calls = self._unreadable = None
        self._ready = []
        while self._pending:
            # From the last one on: the first ones are the likeliest to have started.
            self._pending.pop().cancel()

    def __enter__(self) -> MapResults[R]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
