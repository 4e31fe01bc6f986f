"""How a process becomes a slot: its session, its cores, its variables, its descriptors."""

from __future__ import annotations

import atexit
import faulthandler
import gc
import os
import signal
import sys
import types
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec
from msgspec import Struct

from treadle.cluster import _slot_stack, _task_here
from treadle.cluster._prctl import die_with_parent, offer_to_oom_killer
from treadle.cluster._settings import WorkerSettings
from treadle.cluster._slot import Slot
from treadle.cluster._slot_channel import Channel, out_of_reach
from treadle.cluster._slot_log import TaskLog
from treadle.cluster._slot_memory import Memory
from treadle.cluster._slot_page import Page
from treadle.cluster._slot_places import (
    accelerator_variables,
    affinity_variables,
    cores_of,
    worker_variables,
)
from treadle.cluster._slot_signals import Signals
from treadle.cluster._slot_streams import Streams
from treadle.cluster._slot_surroundings import Surroundings
from treadle.store.mapping import Mapper

if TYPE_CHECKING:
    from treadle.cluster._zygote_packets import SlotFds

#: So much sooner than its agent the kernel ends a slot when memory runs out.
_OOM_SCORE: Final = 500


class Start(Struct, frozen=True):
    """What a slot is told when it starts. `zygote`: its parent. `warning`: for its `Ready`."""

    slot: int
    rank: int
    zygote: int
    settings: WorkerSettings
    warning: str = ""


encode_start: Final = msgspec.msgpack.Encoder().encode
decode_start: Final = msgspec.msgpack.Decoder(Start).decode


def become_slot(start: Start, fds: SlotFds) -> NoReturn:
    """Be a slot until there is no more work; called in a process of its own."""
    os.setsid()
    if not die_with_parent(start.zygote, signal.SIGKILL):
        os._exit(0)
    offer_to_oom_killer(_OOM_SCORE)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    atexit._clear()  # what was registered before is the zygote's affair
    page = Page(fds.blame)
    os.close(fds.blame)
    channel = Channel(fds.feed, fds.talk, page)
    streams = Streams(fds.stdout, fds.stderr)
    # A descriptor of its own, that outlives what a task does to 2.
    faulthandler.enable(out_of_reach(os.dup(2)), all_threads=False)
    _slot_stack.arm()
    _settle_in(start)
    slot = _make_slot(start, channel, streams)
    slot.serve(os.getpid(), start.warning)
    slot.close()
    _end()


def _make_slot(start: Start, channel: Channel, streams: Streams) -> Slot:
    memory = Memory(start.settings.recycle_bytes)
    settings = start.settings
    slot = Slot(channel, memory, Mapper(), worker=settings.id, scheduler=settings.scheduler)
    Signals(slot).install()
    _task_here.take(slot.asides)
    TaskLog(slot.asides.tell, slot.asides.running_attempt).install()
    # Last, for it remembers what it finds.
    slot.surroundings = Surroundings(streams)
    return slot


def _settle_in(start: Start) -> None:
    """Take this slot's place among its worker's."""
    settings = start.settings
    variables = worker_variables(
        settings.id, settings.block, settings.slots, start.slot, start.rank
    )
    variables |= accelerator_variables(settings.accelerators, start.rank)
    if settings.cpu_affinity != "none" and hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        cores = cores_of(settings.cpu_affinity, start.rank, settings.slots, available)
        if cores:
            os.sched_setaffinity(0, cores)
            variables |= affinity_variables(cores)
    for name, value in variables.items():
        if name not in settings.environment:
            os.environ[name] = value
    # Tasks are not to meet the engine's program under this name, nor what they start.
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv = [""]
    _reseed()
    gc.enable()


def _reseed() -> None:
    """Slots shall not draw the same numbers: `random` sees to itself, NumPy does not."""
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed()


def _end() -> NoReturn:
    """End politely: what tasks have registered for the end of the process is run."""
    try:
        atexit._run_exitfuncs()
    except BaseException:  # noqa: BLE001 - code of the user's
        pass
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed
            pass
    os._exit(0)
