"""Waiting for several futures at once, in a flow."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from treadle.client._flows import Flow, Pending
from treadle.dataflow._lazy import LazyFuture

if TYPE_CHECKING:
    from treadle.client._futures import ClientFuture


def all_done(
    futures: Sequence[ClientFuture[Any]], timeout: float | None = None, *, bring: bool = False
) -> Flow[None]:
    """Wait until all are done.

    Args:
        bring: and their values are on this machine.

    Raises:
        TimeoutError: some are not, in so many seconds.
    """
    if not futures:
        return
    gate: LazyFuture[None] = LazyFuture()
    lock = threading.Lock()
    open = len(futures)

    def one(_: object = None) -> None:
        nonlocal open
        with lock:
            open -= 1
            last = not open
        if last:
            gate.set_result(None)

    for future in futures:
        if bring:
            future.bring(one)
        else:
            future.add_listener(one)
    yield Pending(gate, timeout)
