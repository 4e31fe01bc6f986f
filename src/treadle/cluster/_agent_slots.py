"""The slots of a worker: started, fed, heard, ended. What the machine orders of them is done here.

Two rules. All that a slot has said is told before its end. And that an attempt has begun is not
worth a packet: it stands in the blame word, and is told when somebody needs to know.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from treadle import worker
from treadle.cluster._agent_slot import MOST_PACKET, SlotEnd, content, drop
from treadle.cluster._packets import Denied, Granted, Turn, decode_for_slot
from treadle.cluster._packets import Task as TaskPacket
from treadle.cluster._turns import turns_of
from treadle.cluster._zygote_link import Zygote
from treadle.cluster._zygote_packets import SlotFds
from treadle.wire import Attempt

if TYPE_CHECKING:
    import asyncio

    from treadle.cluster._agent_feeding import Pantry
    from treadle.cluster._agent_output import Output
    from treadle.cluster._agent_reports import Reports
    from treadle.cluster._settings import WorkerSettings
    from treadle.cluster._zygote_start import Launched
    from treadle.store.objects import ObjectStore
    from treadle.worker import ShellEvent

    Tell = Callable[[ShellEvent | Sequence[ShellEvent]], None]

_log = logging.getLogger(__name__)

#: So long a slot may take to say that it waits for work.
_READY_S: Final = 60.0
#: What runs for less is not told as begun: its end comes first, or as soon.
BEGUN_NS: Final = 4_000_000
#: When to look again: for what must come in a moment, for what will come, for rows of a bundle.
_SOON_S: Final = 0.001
_LATER_S: Final = 0.02
_ROWS_S: Final = 0.25
#: Packets of one slot that are heard in one go.
_MOST_PACKETS: Final = 32
#: So long a slot that will say nothing more may take to end.
_SILENT_S: Final = 0.5
#: A slot that could not be started ends with this.
_EX_OSERR: Final = 71


class Slots:
    """All slots of one worker.

    Args:
        tell: gives events to the machine.
        look: has `begun` called so soon, in seconds.
        lasts: told when something has run for a while.
        launched: a zygote that has been started already.
        descriptors: how many of them a task may have open.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        loop: asyncio.AbstractEventLoop,
        *,
        tell: Tell,
        look: Callable[[float], None],
        lasts: Callable[[], None],
        store: ObjectStore,
        pantry: Pantry,
        reports: Reports,
        output: Output,
        launched: Launched | None = None,
        descriptors: int = 0,
    ) -> None:
        self._settings = settings
        #: A zygote that has been started already, until it is taken.
        self._launched = launched
        self._descriptors = descriptors
        self._loop = loop
        self._turns = turns_of(loop)
        self._tell = tell
        self._look = look
        self._lasts = lasts
        self._store = store
        self._pantry = pantry
        self._reports = reports
        self._output = output
        self._zygote: Zygote | None = None
        self._closed = False
        self._count = 0
        self._buffer = memoryview(bytearray(MOST_PACKET))
        #: Ends of slots that came with the loss of their zygote, which is told last.
        self._lost: list[worker.SlotDown] = []
        #: Somebody is going to look what has begun.
        self._looked_after = False
        #: From the order to start one until its end has been told.
        self.ends: dict[int, SlotEnd] = {}

    # --- their lives -----------------------------------------------------------------------------

    def wake_zygote(self) -> bool:
        """Start the zygote, if there is none; False if it cannot be."""
        if self._zygote is None and not self._closed:
            launched, self._launched = self._launched, None
            try:
                self._zygote = Zygote(
                    self._settings,
                    self._loop,
                    on_started=self._started,
                    on_ended=self._ended,
                    on_lost=self._zygote_lost,
                    descriptors=self._descriptors,
                    launched=launched,
                )
            except OSError as error:
                _log.error("no zygote can be started: %s", error)
        return self._zygote is not None

    @property
    def zygote_pid(self) -> int:
        """The process that slots are forked from; 0 if there is none."""
        return self._zygote.pid if self._zygote is not None else 0

    def start(self, _: worker.StartSlot) -> None:
        """Start one more."""
        self._count += 1
        number = self._count
        zygote = self._zygote if self.wake_zygote() else None
        if zygote is None:
            return self._tell(worker.SlotDown(number, None, _EX_OSERR))
        if self._reports.has_clients:
            zygote.expect_clients()
        slot = SlotEnd(number)
        try:
            out, err = self._output.open(number)
            try:
                inherited = slot.open()
                fds = SlotFds(inherited.feed, inherited.talk, inherited.blame, out, err)
                zygote.fork(number, fds)
                inherited.close()
            finally:
                os.close(out)
                os.close(err)
        except OSError as error:
            _log.error("slot %d cannot be started: %s", number, error)
            self._output.close(number)
            return self._tell(worker.SlotDown(number, None, _EX_OSERR))
        self.ends[number] = slot
        self._loop.add_reader(slot.talk.fileno(), self._hear, slot)
        return None

    def kill(self, command: worker.KillSlot) -> None:
        """End one, whatever it does."""
        slot = self.ends.get(command.slot)
        if slot is not None:
            slot.kill(ours=True)

    def close(self) -> None:
        """End all of them, and the zygote. Nothing is told."""
        self._closed = True
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            zygote.close()
        for slot in self.ends.values():
            slot.close(self._loop)
        self.ends.clear()

    def _started(self, number: int, pid: int) -> None:
        slot = self.ends.get(number)
        if slot is not None:
            slot.pid = pid
            self._loop.call_later(_READY_S, self._must_be_ready, slot)
            if slot.doomed:  # before it was there
                slot.kill(ours=slot.ours)

    def _must_be_ready(self, slot: SlotEnd) -> None:
        if not slot.ready and self.ends.get(slot.number) is slot:
            _log.error("slot %d does not come up within %g s", slot.number, _READY_S)
            slot.kill(ours=False)

    def _ended(self, number: int, pid: int, exit_code: int, ours: bool) -> None:
        slot = self.ends.get(number)
        if slot is None:
            return
        events = self._last_words(slot)
        down = self._down(slot, exit_code, ours)
        if ours:  # all at once, when the zygote is known to be gone: a new one is started then
            self._lost.append(down)
            if events:
                self._tell(events)
        else:
            self._tell([*events, down])

    def _zygote_lost(self, exit_code: int) -> None:
        self._zygote = None
        lost, self._lost = self._lost, []
        _log.error("the zygote has ended with %d; %d slots with it", exit_code, len(lost))
        if lost:
            self._tell(lost)

    def _down(self, slot: SlotEnd, exit_code: int, ours: bool) -> worker.SlotDown:
        ours = ours or slot.ours
        accused = None
        run, id, _ = slot.runs()
        if run is not None:
            accused = Attempt(id, run.attempt)
            self._output.died(slot, run, id)
            if not ours:
                _log.info("slot %d ended with %d in task %r", slot.number, exit_code, id)
        if slot.spot is not None:
            self._store.abandon(slot.spot)
        self._store.slot_gone(slot.number)
        self._output.close(slot.number)
        del self.ends[slot.number]
        slot.close(self._loop)
        return worker.SlotDown(slot.number, accused, exit_code, ours)

    # --- what they say ---------------------------------------------------------------------------

    def _hear(self, slot: SlotEnd) -> None:
        # All that is there, so that a slot that is faster than we are is answered with more than
        # one task: then it need not sleep after each, and tells several outcomes in one packet.
        events: list[ShellEvent] = []
        for _ in range(_MOST_PACKETS):
            try:
                packets = slot.hear(self._buffer)
            except ValueError:
                self._deaf(slot)
                break
            if not packets:
                if packets is None:  # its process ends, or has become another
                    self._loop.remove_reader(slot.talk.fileno())
                    self._loop.call_later(_SILENT_S, self._must_be_gone, slot)
                break
            events += self._reports.events(slot, packets)
            if not slot.has_more:
                break
        if len(events) == 1:
            self._turns.at_once(self._tell, events)
        elif events:
            self._tell(events)
        if slot.fed and events and not self._looked_after:
            self._look_after()

    def hear_all(self) -> list[ShellEvent]:
        """All that has been said and nobody has heard."""
        events: list[ShellEvent] = []
        for slot in self.ends.values():
            events += self._last_words(slot)
        return events

    def _last_words(self, slot: SlotEnd) -> list[ShellEvent]:
        """All that a slot has said and nobody has heard, and what it holds back."""
        events: list[ShellEvent] = []
        try:
            while packets := slot.hear(self._buffer):
                events += self._reports.events(slot, packets)
        except ValueError:
            self._deaf(slot)
            return events
        unsaid = slot.unsaid()
        if unsaid:
            events += self._reports.events(slot, unsaid)
        return events

    def _deaf(self, slot: SlotEnd) -> None:
        """What runs in it has found the socket: its word is worth nothing any more."""
        if not slot.doomed:
            _log.error("slot %d says what cannot be read; it is ended", slot.number)
            self._loop.remove_reader(slot.talk.fileno())
            slot.kill(ours=False)

    def _must_be_gone(self, slot: SlotEnd) -> None:
        if self.ends.get(slot.number) is slot:
            slot.kill(ours=False)
            self._loop.call_later(_SILENT_S, self._must_be_told, slot)

    def _must_be_told(self, slot: SlotEnd) -> None:
        """A slot is dead, and its zygote has not told: it hangs, or was stopped."""
        if self.ends.get(slot.number) is slot and self.zygote_pid:
            _log.error("the zygote does not tell that slot %d has ended; it is ended", slot.number)
            os.kill(self.zygote_pid, signal.SIGKILL)

    # --- what they are given ---------------------------------------------------------------------

    def feed(self, command: worker.Feed) -> None:
        """Put an attempt into a slot's socket."""
        slot = self.ends.get(command.slot)
        if slot is None or slot.doomed:  # its end is on its way to the machine
            return
        run = command.run
        slot.fed[run.attempt] = run
        try:
            slot.put(self._pantry.packet(slot, run), self._loop)
        except OSError as error:  # no descriptor or no memory for a long packet
            _log.error("task %r cannot be given to slot %d: %s", run.id, slot.number, error)
            slot.kill(ours=True)
            return
        if not self._looked_after:
            self._look_after()

    def take_back(self, number: int, wanted: Iterable[worker.TakeBack]) -> None:
        """Read attempts out of a slot's socket; what was read along is put back behind."""
        slot = self.ends.get(number)
        if slot is None or slot.doomed:
            return
        asked = {command.attempt: command for command in wanted}
        events: list[ShellEvent] = []
        others = []
        for parcel in slot.take_all():
            packet = content(parcel)
            task = decode_for_slot(packet)
            command = asked.pop(task.attempt, None) if isinstance(task, TaskPacket) else None
            if command is None:
                others.append(parcel)
                continue
            self._pantry.forget_packet(slot, packet)
            drop(parcel)
            slot.fed.pop(command.attempt, None)
            events.append(worker.TakenBack(number, command.id, command.attempt))
        slot.put_again(others, self._loop)
        if asked:  # the slot was first: the blame word tells in a moment
            slot.in_hand = True
            self._look(_SOON_S)
        if events:
            self._tell(events)

    def grant(self, command: worker.Grant) -> None:
        """Give a slot the room it has asked for."""
        slot = self.ends.get(command.slot)
        if slot is None or slot.doomed:
            return
        try:
            spot = self._store.allocate(command.nbytes, command.slot)
        except OSError as error:
            slot.answer(Denied(command.attempt, f"no memory for a result: {error}"))
            return
        slot.spot = spot
        slot.answer(Granted(command.attempt, spot))

    def deny(self, command: worker.Deny) -> None:
        """Tell a slot that there will never be room."""
        slot = self.ends.get(command.slot)
        if slot is not None:
            slot.answer(Denied(command.attempt, command.why))

    def give_turn(self, command: worker.GiveTurn) -> None:
        """Let what was aside go on."""
        slot = self.ends.get(command.slot)
        if slot is not None:
            slot.answer(Turn(command.attempt))

    def _look_after(self) -> None:
        self._looked_after = True
        self._look(BEGUN_NS / 1e9)

    # --- what they do ----------------------------------------------------------------------------

    def begun(self, *, all: bool) -> tuple[list[ShellEvent], float | None]:
        """What has begun and has not been told, and in how many seconds to look again.

        Args:
            all: also what has begun only just now.
        """
        events: list[ShellEvent] = []
        again: float | None = None
        now_ns = time.monotonic_ns()
        for slot in list(self.ends.values()):
            if slot.fed:
                wait = self._begun(slot, events, now_ns if not all else sys.maxsize)
                if wait is not None and (again is None or wait < again):
                    again = wait
        self._looked_after = again is not None
        if events:
            self._lasts()
        return events, again

    def _begun(self, slot: SlotEnd, events: list[ShellEvent], now_ns: int) -> float | None:
        """Tell what a slot has begun; or in how many seconds to look again, if that is needed."""
        run, _, since_ns = slot.runs()
        if run is None:  # it has not read it yet, or its outcome is on its way
            return _SOON_S if slot.in_hand else _LATER_S
        if run.attempt == slot.told:
            if run.rows:  # what it holds back of rows is not to wait for a long one
                events += self._last_words(slot)
                return _ROWS_S
            return _again(slot)
        age_ns = now_ns - since_ns
        if age_ns < BEGUN_NS and not slot.in_hand:
            return (BEGUN_NS - age_ns) / 1e9
        if run.attempt != next(iter(slot.fed)):
            # The outcomes of others come first: it holds them back, and they are in order.
            events += self._last_words(slot)
            if run.attempt != next(iter(slot.fed), None):
                return _SOON_S
        slot.told = run.attempt
        slot.in_hand = False
        events.append(worker.Began(slot.number, run.id, run.attempt))
        return _ROWS_S if run.rows else _again(slot)


def _again(slot: SlotEnd) -> float | None:
    """When to look again at a slot that runs what was told as begun: when that ends, what stands
    behind it may begin before anything is said."""
    return _LATER_S if len(slot.fed) > 1 else None
