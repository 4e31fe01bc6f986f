"""Tasks that coordinate."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal

from treadle.client import Event, Lock, Queue, Semaphore, Variable, get_client


def count_up(lock, path):
    """Reads, waits for a moment, and writes: what two at once would spoil."""
    with lock:
        with open(path) as file:
            count = int(file.read())
        Event(f"never-{count}").wait(0.002)
        with open(path, "w") as file:
            file.write(str(count + 1))
        return lock.token


def enter(semaphore, inside):
    """How many were inside with it."""
    with semaphore:
        inside.put(1)
        Event("never").wait(0.02)
        found = inside.qsize()
        inside.get()
    return found


def keep(name):
    """Ends, and holds it."""
    lock = Lock(name)
    assert lock.acquire()
    return lock.token


def keep_and_fail(name):
    Lock(name).acquire()
    raise ValueError("oops")


def hold_until(name, event):
    with Lock(name):
        Event(event + "-begun").set()
        Event(event).wait()


def hold_and_die(name, event):
    Lock(name).acquire()
    Event(event).set()
    os.kill(os.getpid(), signal.SIGKILL)


def pass_on(source, target, count):
    for _ in range(count):
        target.put(source.get(timeout=20))
    return count


def tell(topic, count):
    for n in range(count):
        get_client().log_event(topic, n)


def read(variable):
    return variable.get(timeout=20).result(20)


async def alternate(mine, other, count):
    """A coroutine function: its calls are awaited."""
    for _ in range(count):
        assert await Event(mine).wait(20)
        await Event(mine).clear()
        await Event(other).set()
    async with Semaphore(1, "at-the-end") as semaphore:
        await asyncio.sleep(0)
        return semaphore.token


def put_future(name, value):
    client = get_client()
    Queue(name).put(client.submit(str, value))
    Variable(name).set(os.getpid())


def set_event(name):
    Event(name).set()


def take_lock(name):
    with Lock(name):
        return "taken"


def hold_the_interpreter(name, seconds):
    """Takes the lock, and lets no other thread of its process run."""
    with Lock(name) as lock:
        Event(name).set()
        libc = ctypes.PyDLL(None)  # calls keep the interpreter's lock
        libc.usleep(int(seconds * 1e6))
        return lock.token
