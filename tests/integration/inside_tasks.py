"""Functions that tests run as tasks; processes that run them import nothing heavy for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import time
from concurrent.futures import CancelledError

from treadle.client import as_completed, get_client, wait
from treadle.errors import ResultLost


def inc(x):
    return x + 1


def fail(text):
    raise ValueError(text)


def sleep(path, seconds=60.0):
    path.write_text(str(os.getpid()))
    time.sleep(seconds)


def fib(n):
    if n < 2:
        return n
    here = get_client()
    a, b = here.submit(fib, n - 1, pure=False), here.submit(fib, n - 2, pure=False)
    return a.result() + b.result()


def fib_slowly(n):
    time.sleep(0.01)
    if n < 2:
        return n
    here = get_client()
    parts = [here.submit(fib_slowly, n - k, pure=False, retries=3) for k in (1, 2)]
    return sum(here.gather(parts))


def deep(n):
    return 0 if n == 0 else 1 + get_client().submit(deep, n - 1).result()


def by_wait(here):
    futures = [here.submit(inc, n, pure=False) for n in range(3)]
    wait(futures)
    return here.gather(futures)


def by_as_completed(here):
    futures = [here.submit(inc, n, pure=False) for n in range(3)]
    return sorted(future.result() for future in as_completed(futures))


def by_standard_wait(here):
    futures = [here.submit(inc, n, pure=False) for n in range(3)]
    done, _ = concurrent.futures.wait(futures)
    return sorted(future.result() for future in done)


def by_standard_as_completed(here):
    futures = [here.submit(inc, n, pure=False) for n in range(3)]
    return sorted(future.result() for future in concurrent.futures.as_completed(futures))


def by_executor(here):
    with here.get_executor() as executor:
        return list(executor.map(inc, range(3)))


def by_get(here):
    return here.get({f"r{n}": (inc, n) for n in range(3)}, ["r0", "r1", "r2"])


def by_gather(here):
    return here.gather(here.map(inc, range(3)))


def by_callbacks(here):
    values = queue.SimpleQueue()
    for n in range(3):
        here.submit(inc, n, pure=False).add_done_callback(values.put)
    return sorted(values.get().result() for _ in range(3))


async def by_wrapped_futures(here):
    futures = [here.submit(inc, n, pure=False) for n in range(3)]
    return [await asyncio.wrap_future(future) for future in futures]


WAYS = (
    by_wait,
    by_as_completed,
    by_standard_wait,
    by_standard_as_completed,
    by_executor,
    by_get,
    by_gather,
    by_callbacks,
    by_wrapped_futures,
)


def wait_by(way):
    return way(get_client())


def lose_the_link():
    here = get_client()
    future = here.submit(slowly, 1)
    session = here._session
    session.call(lambda: session.bond.link.close("a test"))
    return future.result() + here.submit(inc, 1).result()


def slowly(x):
    time.sleep(0.3)
    return x + 1


def outer(x):
    return get_client().submit(inc, x)


def wait_for_sleep(path):
    return get_client().submit(sleep, path).result()


#: Of a process that runs tasks: futures that outlive their task.
KEPT = {}


def keep_value():
    future = KEPT["value"] = get_client().submit(inc, 1, key="kept")
    return future.result()


def keep_unread():
    future = KEPT["unread"] = get_client().submit(inc, 1, key="kept")
    wait([future])


def keep_open(path):
    KEPT["open"] = get_client().submit(sleep, path)


def look_at(name):
    future = KEPT.get(name)
    if future is None:
        return None
    try:
        return future.status, future.result()
    except (CancelledError, ResultLost) as error:
        return future.status, str(error)


async def later(x):
    await asyncio.sleep(0.001)
    return x + 1
