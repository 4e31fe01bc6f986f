"""Functions that tests run as tasks; processes that run them import nothing heavy for it."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import CancelledError

from treadle.client import get_client, wait
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


def deep(n):
    return 0 if n == 0 else 1 + get_client().submit(deep, n - 1).result()


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
    future = KEPT[name]
    try:
        return future.status, future.result()
    except (CancelledError, ResultLost) as error:
        return future.status, str(error)


async def later(x):
    await asyncio.sleep(0.001)
    return x + 1
