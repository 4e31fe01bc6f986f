"""A slot: a process that runs one task at a time and talks to nobody but its agent.

It reads a packet from *feed*, writes the attempt into the blame word, runs it, tells the outcome
on *talk* and clears the word. A death in between accuses that attempt. Whatever a task raises is
its outcome; nothing but the end of the process ends this loop.
"""

from __future__ import annotations

import gc
import pickle
import time
from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from treadle.cluster._failures import failure_of
from treadle.cluster._packets import (
    BLAME_ATTEMPT,
    BLAME_ROW,
    BLAME_SINCE,
    Asked,
    Denied,
    FromSlot,
    Raised,
    Ready,
    Returned,
    Task,
    Worn,
)
from treadle.cluster._slot_actors import Actors
from treadle.cluster._slot_aside import Asides
from treadle.cluster._slot_functions import Functions
from treadle.cluster._slot_inputs import Inputs, Memories
from treadle.cluster._slot_rows import Rows
from treadle.cluster._slot_signals import leave_child
from treadle.cluster._slot_surroundings import CannotMend, Surroundings
from treadle.cluster._slot_words import explain_read_only, name_of
from treadle.errors import DependencyError, Reschedule
from treadle.serialize import Packed, decode_spec, loads, pack, pack_exception, unpack
from treadle.wire import Failure, TaskId, World

if TYPE_CHECKING:
    from treadle.cluster._connection import Connection
    from treadle.cluster._slot_channel import Channel
    from treadle.cluster._slot_memory import Memory
    from treadle.store.mapping import Mapper

#: A result of so many bytes, or fewer, is part of the packet that tells of it.
INLINE_BYTES: Final = 4096
#: A task that took longer is worth measuring its memory.
MEASURE_NS: Final = 10_000_000
#: Garbage is collected when there is nothing to do, once so much work was done for each unit of
#: time that the last collection took.
_GC_RATIO: Final = 50
#: After so long without work, what was kept for the next task is dropped.
_IDLE_S: Final = 1.0

_PLAIN: Final = frozenset({type(None), bool, int, float})
_PROTOCOL: Final = 5
NONE: Final = pickle.dumps(None, _PROTOCOL)
_decode_world: Final = msgspec.msgpack.Decoder(World).decode


#: Packages whose frames tell a user nothing.
_OURS: Final = ("treadle.cluster", "treadle.serialize", "asyncio")


class _Denied(Exception):
    """The store will never have room for a result."""


class Slot:
    """What a slot's process does, once it is one."""

    #: Given to it before it serves.
    surroundings: Surroundings

    def __init__(
        self,
        channel: Channel,
        memory: Memory,
        mapper: Mapper,
        *,
        worker: str = "",
        scheduler: Connection | None = None,
    ) -> None:
        self.channel = channel
        self.functions = Functions()
        self.actors = Actors()
        self.has_actor = False
        self._memory = memory
        self._mapper = mapper
        self._memories = Memories(mapper)
        self._words = channel.page.words
        self.asides = Asides(
            self, self._words, channel.mail, self.functions.names, worker, scheduler
        )
        #: What runs, or ran last.
        self.task: Task | None = None
        #: Before this process says that it is worn, or ends.
        self.closing: list[Callable[[], None]] = []
        #: The task's own code runs: Ctrl-C is the task's.
        self.in_task = False
        #: Whether this is a process that a task has forked.
        self.is_child = False
        self._has_written = False
        self._gc_cost_ns = 0
        self._worked_ns = 0

    # --- the loop ------------------------------------------------------------------------------

    def serve(self, pid: int, warning: str = "") -> None:
        """Run what comes, until there will be no more."""
        self.channel.say(Ready(pid, warning))
        next_task, run = self.channel.next, self.run
        while True:
            task = next_task(self.rest)
            if task is None:
                return
            self.task = task
            why = Rows(self, task).run() if task.rows else run(task)
            if why:
                self.close()
                self.channel.say(Worn(why))
                self.channel.wait_end()

    def run(self, task: Task) -> str:
        """Run a task and tell how it ended. Returns why this process should be replaced, or ''."""
        began = time.monotonic_ns()
        words = self._words
        words[BLAME_ROW] = 0
        words[BLAME_SINCE] = began
        words[BLAME_ATTEMPT] = task.attempt
        report: Returned | Raised
        worn = ""
        printed = (0, 0)
        try:
            self.in_task = True
            data, nbytes, kind = self._result_of(task)
            self.in_task = False
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the task's outcome
            self.in_task = False
            self.leave_if_child(error)
            failure, final = self.failure_of(error, task)
            del error
            spent = time.monotonic_ns() - began
            worn, printed = self.mend(spent)
            report = Raised(task.id, task.attempt, failure, spent / 1e9, final, True, printed)
        else:
            ended = time.monotonic_ns()
            spent = ended - began
            peak = self._memory.peak() if spent > MEASURE_NS else 0
            worn, printed = self.mend(spent)
            report = Returned(
                task.id, task.attempt, nbytes, kind, spent / 1e9, peak, data, 1, True, printed
            )
        self.channel.report(report, began + spent)
        words[BLAME_ATTEMPT] = 0
        self._worked_ns += spent
        if self.has_actor:
            return ""  # it may change its process, and grow: that is its state
        return worn or self._memory.grown_too_much(began)

    def mend(self, spent_ns: int) -> tuple[str, tuple[int, int]]:
        """Put back what a task has changed. Why that failed, or ''; what the task has printed."""
        try:
            return "", self.surroundings.mend(spent_ns)
        except CannotMend as error:
            return str(error), (0, 0)
        except BaseException as error:  # noqa: BLE001 - what a task left may do anything
            return f"what a task left cannot be put in order: {type(error).__name__}", (0, 0)

    def rest(self) -> None:
        """There is nothing to do: collect garbage, if enough was done since the last time."""
        self.task = None
        if self._worked_ns > self._gc_cost_ns * _GC_RATIO:
            self._collect()
        if (self._memories or self._has_written) and self.channel.is_idle_for(_IDLE_S):
            self._memories.drop()
            self._mapper.trim()
            self._has_written = False

    def close(self) -> None:
        """No more task will run here."""
        while self.closing:
            self.closing.pop()()

    # --- for its seat --------------------------------------------------------------------------

    @property
    def is_actors(self) -> bool:
        """See `Runner` of `_slot_aside`."""
        task = self.task
        return self.has_actor or (task is not None and task.actor)

    def say(self, report: FromSlot) -> None:
        """See `Runner` of `_slot_aside`."""
        self.channel.say(report)

    def at_end(self, fn: Callable[[], None], *, of_actors: bool = False) -> None:
        """See `Runner` of `_slot_aside`."""
        self.surroundings.at_end(fn, of_actors=of_actors)

    def _collect(self) -> None:
        began = time.monotonic_ns()
        gc.collect()
        self._gc_cost_ns = time.monotonic_ns() - began
        self._worked_ns = 0
        gc.enable()  # a task may have switched it off

    # --- the call ------------------------------------------------------------------------------

    def _result_of(self, task: Task) -> tuple[bytes | None, int, str]:
        """Call; the result's bytes if they are few, how many they are, its type."""
        inputs = self.inputs_of(task) if task.supplies else None
        func, args, kwargs = self.load_call(task, inputs)
        value = func(*args, **kwargs)
        if self.is_child:
            leave_child(None)
        if task.actor:
            return self._keep_actor(task, value)
        kind = type(value)
        if kind in _PLAIN:
            data = NONE if value is None else pickle.dumps(value, _PROTOCOL)
            if len(data) <= INLINE_BYTES:
                return data, len(data), kind.__name__
        elif kind is CoroutineType:
            value = self.run_coroutine(value)
            kind = type(value)
        packed = pack(value, home=True, func=func)
        if packed.nbytes <= INLINE_BYTES:
            return packed.to_bytes(), packed.nbytes, name_of(kind)
        self.deliver(task.id, task.attempt, packed)
        return None, packed.nbytes, name_of(kind)

    def _keep_actor(self, task: Task, value: Any) -> tuple[None, int, str]:
        if type(value) is CoroutineType:
            value = self.run_coroutine(value)
        self.actors.keep(task.id, value)
        self.has_actor = True
        self.surroundings.give_up()
        return None, 0, name_of(type(value))

    def load_call(self, task: Task, inputs: Inputs | None) -> tuple[Callable[..., Any], Any, Any]:
        """The function, its arguments and its keyword arguments; runs code of the user's."""
        if task.world is not None:
            self.surroundings.enter(_decode_world(task.world))
        if task.code:
            for digest, name, payload in task.code:
                self.functions.add(digest, payload, name)
        spec = decode_spec(task.spec)
        payload = spec.payload
        if inputs is None and payload[0] == 0x80:
            call = loads(payload)
        else:
            # What stands in the payload is the task's own: it may be written to.
            call = unpack(payload, writable=True, persistent_load=inputs)
        if spec.digest:
            func = self.functions.loaded.get(spec.digest)
            if func is None:
                func = self.functions.load(spec.digest)
            args, kwargs = call
            return func, args, kwargs
        func, args, kwargs = call
        if task.home is not None:
            func = self.actors.method(task.home, func)
        return func, args, kwargs

    def inputs_of(self, task: Task) -> Inputs | None:
        """The results of other tasks that a task was supplied with."""
        if not task.supplies:
            return None
        writable = decode_spec(task.spec).writable
        return Inputs(task.supplies, self._memories, writable=writable)

    def run_coroutine(self, coroutine: Any) -> Any:
        """What a coroutine function has been called for."""
        if self.is_actors:
            return self.actors.run(coroutine)
        from treadle.cluster import _slot_coroutines  # noqa: PLC0415 - asyncio: 20 ms at the start

        return _slot_coroutines.run_here(coroutine, self.asides)

    def deliver(self, id: TaskId, attempt: int, packed: Packed) -> None:
        """Write a result where the agent grants room for it."""
        self.in_task = False
        self.asides.hush()
        self.channel.say(Asked(id, attempt, packed.nbytes))
        answer = self.channel.wait_grant(attempt)
        if isinstance(answer, Denied):
            raise _Denied(answer.why)
        self._mapper.write(answer.spot, packed)
        self._has_written = True

    # --- failures ------------------------------------------------------------------------------

    def failure_of(self, error: BaseException, task: Task) -> tuple[Failure, bool]:
        """What to say of an exception; whether another attempt would end the same way."""
        if isinstance(error, Reschedule):
            return Failure("rescheduled", "Reschedule", _text_of(error)), False
        if isinstance(error, _Denied):
            return failure_of(pack_exception(MemoryError(str(error)))), True
        if task.supplies and isinstance(error, ValueError):
            explain_read_only(error)
        ours = 0
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals.get("__package__") in _OURS:
            ours += 1
            trace = trace.tb_next
        packed = pack_exception(error, skip_frames=ours if trace is not None else 0)
        # A dependency that failed fails again: the kernel does not try such a task a second time.
        return failure_of(packed), isinstance(error, DependencyError)

    @property
    def is_touched(self) -> Callable[[], bool]:
        """Tells whether a task has changed what a look without system calls can see."""
        return self.surroundings.is_touched

    def leave_if_child(self, error: BaseException | None) -> None:
        """End, if this is a process that the task has forked."""
        if self.is_child:
            leave_child(error)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)[:2_000].encode("utf-8", "replace").decode()
    except BaseException:  # noqa: BLE001 - its text is user code
        return ""
