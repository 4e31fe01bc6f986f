"""A slot: a process that runs one task at a time and never talks to anybody but its agent.

It reads a packet from *feed*, writes the attempt into the blame word, runs it, reports on *talk*,
and clears the word. What dies in between is accused.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import time
from typing import Any, NoReturn

from msgspec import Struct

from treadle.cluster._failures import failure_of
from treadle.cluster._packets import (
    BLAME_ATTEMPT,
    BLAME_BYTES,
    BLAME_ROW,
    BLAME_SINCE,
    PACKET_BYTES,
    Raised,
    Ready,
    Returned,
    Task,
    decode_for_slot,
    encode,
)
from treadle.cluster._prctl import die_with_parent, offer_to_oom_killer
from treadle.cluster._settings import WorkerSettings
from treadle.cluster._zygote_packets import SlotFds
from treadle.serialize import decode_spec, loads, pack_exception
from treadle.serialize._unpicklable import dumps_result


class Start(Struct, frozen=True):
    slot: int
    rank: int
    zygote: int
    settings: WorkerSettings
    warning: str = ""


def become_slot(start: Start, fds: SlotFds) -> NoReturn:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not die_with_parent(start.zygote, signal.SIGKILL):
        os._exit(0)
    offer_to_oom_killer(500)
    os.dup2(fds.stdout, 1)
    os.dup2(fds.stderr, 2)
    os.close(fds.stdout)
    os.close(fds.stderr)
    blame = memoryview(mmap.mmap(fds.blame, BLAME_BYTES)).cast("Q")
    os.close(fds.blame)
    _run(fds.feed, fds.talk, blame, start)
    os._exit(0)


def _run(feed: int, talk: int, blame: memoryview, start: Start) -> None:
    functions: dict[bytes, Any] = {}
    os.write(talk, encode([Ready(os.getpid(), start.warning)]))
    while True:
        data = os.read(feed, PACKET_BYTES + 1)
        if not data:
            return
        task = decode_for_slot(data)
        if not isinstance(task, Task):
            return
        began = time.monotonic_ns()
        blame[BLAME_ROW] = 0
        blame[BLAME_SINCE] = began
        blame[BLAME_ATTEMPT] = task.attempt
        try:
            for digest, name, payload in task.code:
                functions[digest] = loads(payload)
            spec = decode_spec(task.spec)
            if spec.digest:
                func = functions[spec.digest]
                args, kwargs = loads(spec.payload)
            else:
                func, args, kwargs = loads(spec.payload)
            value = func(*args, **kwargs)
            packed = dumps_result(value, func)
            report: Any = Returned(
                task.id,
                task.attempt,
                len(packed),
                type(value).__name__,
                (time.monotonic_ns() - began) / 1e9,
                0,
                packed,
            )
        except BaseException as error:
            report = Raised(
                task.id,
                task.attempt,
                failure_of(pack_exception(error)),
                (time.monotonic_ns() - began) / 1e9,
            )
        sys.stdout.flush()
        os.write(talk, encode([report]))
        blame[BLAME_ATTEMPT] = 0
