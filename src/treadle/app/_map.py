"""`app.map`: results in order, with a bounded number of calls in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from treadle.errors import TaskCallError

if TYPE_CHECKING:
    from concurrent.futures import Future

R = TypeVar("R")

#: Enough to keep a thousand cores busy with tasks of equal length, little enough to hold.
DEFAULT_WINDOW = 1000


class MapResults(Generic[R], Iterator[R]):
    """Iterates over the results of calls in the order of the calls.

    A call that failed raises its error when its turn comes, and the iteration is over. Then, and
    when the iterator is closed or dropped, the calls that have not started are cancelled.
    """

    def __init__(
        self,
        app: Callable[..., Future[R]],
        iterables: tuple[Iterable[Any], ...],
        window: object,
        common: dict[str, Any],
    ) -> None:
        self._pending: deque[Future[R]] = deque()
        if not iterables:
            raise TaskCallError("map takes at least one iterable: app.map(items)")
        if not isinstance(window, int) or isinstance(window, bool) or window < 1:
            raise TaskCallError(
                f"map: window must be a whole number of calls from 1 on, or None, not {window!r}"
            )
        self._app = app
        self._common = common
        self._window = window
        self._calls: Iterator[tuple[Any, ...]] | None = zip(*iterables, strict=False)
        #: What reading the iterables raised; told when the results before it have been taken.
        self._unreadable: BaseException | None = None
        try:
            self._fill()
        except BaseException:
            self.close()
            raise

    def _fill(self) -> None:
        while self._calls is not None and len(self._pending) < self._window:
            try:
                args = next(self._calls)
            except StopIteration:
                self._calls = None
            except Exception as error:  # noqa: BLE001 - told when its turn comes
                self._calls, self._unreadable = None, error
            else:
                self._pending.append(self._app(*args, **self._common))

    def __iter__(self) -> MapResults[R]:
        return self

    def __next__(self) -> R:
        if not self._pending:
            error, self._unreadable = self._unreadable, None
            if error is not None:
                raise error
            raise StopIteration
        try:
            result = self._pending[0].result()
            self._pending.popleft()
            self._fill()
        except BaseException:
            self.close()
            raise
        return result

    def close(self) -> None:
        """End the iteration and cancel the calls that have not started."""
        self._calls = self._unreadable = None
        while self._pending:
            # From the last one on: the first ones are the likeliest to have started.
            self._pending.pop().cancel()

    def __enter__(self) -> MapResults[R]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
