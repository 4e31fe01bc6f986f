"""Waiting for several futures at once, in a flow."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from treadle.client._flows import Flow, Pending
from treadle.dataflow._lazy import LazyFuture

if TYPE_CHECKING:
    from treadle.client._futures import ClientFuture


def gate_of(futures: Sequence[ClientFuture[Any]], *, bring: bool = False) -> LazyFuture[None]:
    """What is done when all of these are.

    Args:
        bring: and their values are on this machine.
    """
    gate: LazyFuture[None] = LazyFuture()
    lock = threading.Lock()
    open = len(futures)
    if not open:
        gate.set_result(None)

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
    return gate


def all_done(futures: Sequence[ClientFuture[Any]], timeout: float | None = None) -> Flow[None]:
    """Wait until all are done.

    Raises:
        TimeoutError: some are not, in so many seconds.
    """
    yield Pending(gate_of(futures), timeout)
