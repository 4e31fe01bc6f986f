"""Calls that wait for answers, written once for programs with and without an event loop.

A *flow* is a generator: it yields what it waits for, is sent what that has become, and returns the
call's value. All of it runs in the caller's thread (or task), so that it may unpickle what is the
user's. `wait_for` drives it by blocking, `await_for` by awaiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from treadle.cluster._task_here import aside, awaiting, is_slot

if TYPE_CHECKING:
    from treadle.dataflow._lazy import LazyFuture

T = TypeVar("T")

#: What a scheduler answers by itself is here within this time.
_SOON_S: Final = 0.002


class Pending(NamedTuple):
    """What a flow waits for: an answer, and how many seconds at most (None: any).

    The flow is sent the answer's result; its exception, or TimeoutError, is raised in the flow.
    """

    answer: LazyFuture[Any]
    timeout: float | None = None


Flow = Generator[Pending, Any, T]


def wait_for(flow: Flow[T]) -> T:
    """Drive a flow to its end in this thread."""
    try:
        pending = next(flow)
        while True:
            try:
                answer = pending.answer
                value = _waited(answer, pending.timeout)
            except BaseException as error:  # noqa: BLE001 - it is the flow's to handle
                pending = flow.throw(error)
            else:
                pending = flow.send(value)
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        flow.close()


def _waited(answer: LazyFuture[Any], timeout: float | None) -> Any:
    """The answer. The turn is given away only for what takes a while: to have it back may, too."""
    if not is_slot() or answer.done():
        return answer.result(timeout)
    try:
        return answer.result(_SOON_S if timeout is None else min(timeout, _SOON_S))
    except TimeoutError:
        if answer.done():
            return answer.result()
    with aside():
        return answer.result(None if timeout is None else max(0.0, timeout - _SOON_S))


async def await_for(flow: Flow[T]) -> T:
    """Drive a flow to its end in this task; the event loop is never blocked."""
    try:
        pending = next(flow)
        while True:
            try:
                value = await _settled(pending)
            except BaseException as error:  # noqa: BLE001 - it is the flow's to handle
                pending = flow.throw(error)
            else:
                pending = flow.send(value)
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        flow.close()


async def _settled(pending: Pending) -> Any:
    """The answer, awaited."""
    answer = pending.answer
    if not answer.done():
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()

        def wake() -> None:
            if not waiter.done():
                waiter.set_result(None)

        def known(_: object) -> None:
            try:
                loop.call_soon_threadsafe(wake)
            except RuntimeError:
                return  # that loop has been closed: nobody waits any more

        answer.add_listener(known)
        with awaiting():
            async with asyncio.timeout(pending.timeout):
                await waiter
    return answer.result(0)


def until(timeout: float | None) -> float | None:
    """The moment at which that time is over."""
    return None if timeout is None else time.monotonic() + timeout


def left(end: float | None) -> float | None:
    """How many seconds are left until then."""
    return None if end is None else max(0.0, end - time.monotonic())
