"""What a slot does for the code of its task: tells it who it is, and lets it step aside.

A task that waits for others says so to the agent, which lets another process have the turn; when
the wait is over the task asks for a turn, and goes on when it is given one. What a process says and
hears is the main thread's; so threads that a task has started speak only while it runs its call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from treadle.cluster._packets import BLAME_ATTEMPT, BLAME_ROW, Turn, Waits, Wants
from treadle.cluster._task_here import TaskHere
from treadle.serialize import decode_spec
from treadle.wire import NUMBER_BITS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from treadle.cluster._connection import Connection
    from treadle.cluster._packets import FromSlot, Task
    from treadle.cluster._slot_mail import Mail
    from treadle.wire import TaskId

_NUMBER: Final = (1 << NUMBER_BITS) - 1


class Runner(Protocol):
    """What is needed of a slot."""

    task: Task | None
    closing: list[Callable[[], None]]
    in_task: bool
    is_child: bool

    @property
    def is_actors(self) -> bool:
        """Whether an actor lives here: such a process takes no turn."""

    def say(self, report: FromSlot) -> None:
        """Tell the agent."""

    def at_end(self, fn: Callable[[], None], *, of_actors: bool = False) -> None:
        """Have this called when the task has ended, also if it is a call of an actor."""


class Asides:
    """The seat of a slot; see `treadle.cluster._task_here.Seat`."""

    def __init__(
        self,
        slot: Runner,
        words: memoryview,
        mail: Mail,
        names: Mapping[bytes, str],
        worker: str,
        scheduler: Connection | None,
    ) -> None:
        self._slot = slot
        self._words = words
        self._mail = mail
        self._names = names
        self._worker = worker
        self._scheduler = scheduler
        self._lock = threading.Condition()
        #: The attempt that steps aside, or has; 0: none has, since the last one ended.
        self._attempt = 0
        self._id: TaskId = 0
        #: Counts tasks, and rows of bundles, that have had to do with this.
        self._era = 1
        #: Threads of it that wait, and one more if it has seceded.
        self._waiting = 0
        self._has_seceded = False
        #: The agent was told that we wait; and, then, that we want a turn again.
        self._is_aside = False
        self._wants = False
        #: It seems to wait, though it does not say so; counted among those that wait.
        self._seems_idle = False
        #: Awaits on the task's own event loop, and whose thread that is.
        self.awaits = 0
        self.loop_thread = 0

    # --- who it is -----------------------------------------------------------------------------

    def current(self) -> TaskHere | None:
        """See `Seat`."""
        task, id = self._slot.task, self.running()
        if task is None or id is None:
            return None
        spec = decode_spec(task.spec)
        name = spec.name or self._names.get(spec.digest, "")
        key = id if isinstance(id, str) else f"{name}-{id >> NUMBER_BITS:x}-{id & _NUMBER}"
        return TaskHere(key, task.attempt, name, self._worker, id)

    def running(self) -> TaskId | None:
        """See `Seat`."""
        task = self._slot.task
        if task is None or task.attempt != self._words[BLAME_ATTEMPT] or self._slot.is_child:
            return None
        id = task.id
        return id + self._words[BLAME_ROW] if task.rows and isinstance(id, int) else id

    def running_attempt(self) -> int:
        """The attempt that runs here; 0 if none does."""
        return self._words[BLAME_ATTEMPT] if self._slot.in_task else 0

    def connection(self) -> Connection | None:
        """See `Seat`."""
        return self._scheduler

    def at_end(self, fn: Callable[[], None]) -> None:
        """See `Seat`."""
        if self._slot.in_task and not self._slot.is_child:
            self._slot.at_end(fn)

    def at_close(self, fn: Callable[[], None]) -> None:
        """See `Seat`."""
        self._slot.closing.append(fn)

    # --- turns ---------------------------------------------------------------------------------

    def aside(self) -> AbstractContextManager[object]:
        """See `Seat`."""
        return _Aside(self)

    def awaiting(self) -> AbstractContextManager[object]:
        """See `Seat`."""
        if self.loop_thread == threading.get_ident():
            return _Awaiting(self)
        return _Aside(self)

    def secede(self) -> None:
        """See `Seat`."""
        if not self._has_seceded and self.step_aside():
            self._has_seceded = True

    def rejoin(self) -> None:
        """See `Seat`."""
        if self._has_seceded:
            self._has_seceded = False
            self.step_back(self._era)

    def seem_idle(self) -> None:
        """See `Seat`."""
        if not self._waiting and self.step_aside():
            self._seems_idle = True

    def tell(self, report: FromSlot) -> None:
        """Tell the agent something, if the task's code runs; from any of its threads."""
        slot = self._slot
        if slot.is_child:
            return
        slot.at_end(self.reset, of_actors=True)  # as below
        with self._lock:
            if slot.in_task:
                slot.say(report)

    def step_aside(self) -> int:
        """One thread more waits. Returns in which era; 0: it makes no difference."""
        slot = self._slot
        if slot.is_child or slot.is_actors or slot.task is None:
            return 0
        # Before the look at `in_task`: so the main thread, which first leaves the task and then
        # looks whether something is to be done at its end, does not miss it.
        slot.at_end(self.reset, of_actors=True)
        with self._lock:
            task = slot.task
            if not slot.in_task or task is None:
                return 0
            if self._attempt != task.attempt:
                self._attempt, self._id = task.attempt, task.id
                self._mail.turn_to(task.attempt)
            self._waiting += 1
            if not self._is_aside:
                self._is_aside = True
                slot.say(Waits(self._id, self._attempt))
            return self._era

    def step_back(self, era: int) -> None:
        """One thread less waits; if it was the last, a turn is waited for."""
        if not era or self._slot.is_child:
            return
        with self._lock:
            if era != self._era:
                return  # that task, or row, has ended
            self._waiting -= 1 + self._seems_idle
            self._seems_idle = False
            if self._waiting or not self._is_aside:
                return
            if self._wants:  # one waits for all
                self._lock.wait_for(lambda: not self._wants or era != self._era)
                return
            self._wants = True
            attempt = self._attempt
            self._slot.say(Wants(self._id, attempt))
        self._wait_turn(era, attempt)

    def _wait_turn(self, era: int, attempt: int) -> None:
        struck: BaseException | None = None
        while True:
            try:
                self._mail.wait(attempt, Turn)
                break
            except BaseException as error:  # noqa: BLE001 - Ctrl-C: it is raised when there is a turn
                struck = error
        with self._lock:
            if era == self._era:
                self._take_turn()
        if struck is not None:
            raise struck

    def _take_turn(self) -> None:
        self._wants = self._is_aside = False
        self._lock.notify_all()
        if self._waiting and self._slot.in_task:  # somebody has begun to wait meanwhile
            self._is_aside = True
            self._slot.say(Waits(self._id, self._attempt))

    def hush(self) -> None:
        """The task's code has returned, and the main thread has to say and hear something."""
        with self._lock:
            pass  # whoever was about to say something has said it; nobody will from now on

    def reset(self) -> None:
        """The task has ended: from here on no other thread says anything, or is waited for."""
        if self._slot.is_child:
            return
        if self._is_aside and self._has_more_rows():
            self._return_for_next_row()
        with self._lock:
            self._era += 1
            if self._attempt:
                self._attempt = 0
                self._mail.turn_to(0)
            self._waiting = self.awaits = 0
            self._has_seceded = self._is_aside = self._wants = self._seems_idle = False
            self._lock.notify_all()

    def _has_more_rows(self) -> bool:
        task = self._slot.task
        return task is not None and self._words[BLAME_ROW] + 1 < len(task.rows)

    def _return_for_next_row(self) -> None:
        """A row has ended while it was aside: the next one takes a turn again."""
        with self._lock:
            self._waiting = 0
            if self._wants:  # a thread that it has left waits for one
                self._lock.wait_for(lambda: not self._wants)
                return
            self._wants = True
            self._slot.say(Wants(self._id, self._attempt))
        self._wait_turn(self._era, self._attempt)


class _Aside:
    """See `treadle.cluster._task_here.aside`."""

    __slots__ = ("_asides", "_era")

    def __init__(self, asides: Asides) -> None:
        self._asides = asides
        self._era = 0

    def __enter__(self) -> None:
        self._era = self._asides.step_aside()

    def __exit__(self, *exc: object) -> None:
        self._asides.step_back(self._era)


class _Awaiting:
    """See `treadle.cluster._task_here.awaiting`."""

    __slots__ = ("_asides",)

    def __init__(self, asides: Asides) -> None:
        self._asides = asides

    def __enter__(self) -> None:
        self._asides.awaits += 1

    def __exit__(self, *exc: object) -> None:
        self._asides.awaits -= 1
