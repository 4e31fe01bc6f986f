"""The worker's shell: slots and links on one side, the machine on the other, a clock between.

Two rules. *It decides nothing*: what happens is told to the machine, and what the machine orders is
carried out, in order, by who is in charge of it. *No order is given from within an order*: what
carrying one out brings about is told when all are done.
"""

from __future__ import annotations

import logging
import resource
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from treadle import wire, worker
from treadle.cluster._agent_alarm import NEVER, Alarm
from treadle.cluster._agent_arrivals import Arrivals
from treadle.cluster._agent_budget import most_beside, store_budget, usable_memory
from treadle.cluster._agent_disk import THREADS, Disk
from treadle.cluster._agent_feeding import Pantry
from treadle.cluster._agent_inquiries import Inquiries
from treadle.cluster._agent_output import Output
from treadle.cluster._agent_peers import Peers
from treadle.cluster._agent_reports import Reports
from treadle.cluster._agent_slots import Slots
from treadle.cluster._agent_uplink import Uplink
from treadle.cluster._agent_watch import Watch
from treadle.store.objects import ObjectStore, raise_descriptor_limit

if TYPE_CHECKING:
    import asyncio

    from treadle.cluster._link import Link
    from treadle.cluster._rundir import RunDirectory
    from treadle.cluster._security import Identity
    from treadle.cluster._settings import WorkerSettings
    from treadle.cluster._zygote_start import Launched
    from treadle.worker import ShellEvent

_log = logging.getLogger(__name__)

#: A tick that comes so much too late finds that more has happened meanwhile: that is told first.
_LATE_S: Final = 0.1


class Agent:
    """One worker. All of it lives on one loop.

    Args:
        settings: what it is told.
        run: the name of the run, for handshakes.
        epoch: drawn higher by each new process of this name.
        directory: where its Unix socket is to be; None: it cannot be reached by one.
        identity: its credential on networks.
        zygote: its zygote, where that has been launched already.
        limits: see there.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        run: str,
        loop: asyncio.AbstractEventLoop,
        epoch: int,
        directory: RunDirectory | None = None,
        identity: Identity | None = None,
        zygote: Launched | None = None,
        limits: worker.Limits | None = None,
    ) -> None:
        self.settings = settings
        self.loop = loop
        #: The name of this machine, as peers know it.
        self.own_host = settings.host or socket.gethostname()
        #: Called once, when there is nothing left to do here: with 0, or 1 after a fault of ours.
        self.on_exit: Callable[[int], None] = lambda code: None
        #: How many descriptors this process might have before it took all it may.
        descriptors = raise_descriptor_limit()
        self.machine = _machine(settings, self.own_host, epoch, limits)
        self.store = ObjectStore(settings.spill_dir)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="treadle-agent")
        self._alarm = Alarm(loop, self._ring, time.monotonic)
        #: When to look what slots have begun.
        self._look_at = NEVER
        self._stepping = False
        #: What came while orders were carried out: (event, source).
        self._later: deque[tuple[Any, str]] = deque()
        self._started = self._closed = self._over = False
        pantry = Pantry(self.store)
        self._rows = pantry.rows
        self._output = self._make_output(pantry)
        self.slots = self._make_slots(pantry, zygote, descriptors)
        self._watch = Watch(
            self.slots.ends,
            loop,
            self._threads,
            self._output,
            settings.slot_memory_bytes,
            self.tell,
        )
        self._disk = Disk(self.store, loop, self.tell, self._threads)
        self.uplink = Uplink(self, pantry)
        self._inquiries = Inquiries(
            self.slots.ends, loop, self._threads, self.uplink.send, self._output.settle
        )
        self.uplink.on_inquiry = self._inquiries.hear
        self.peers = Peers(self, Arrivals(self.store), run, directory, identity)
        self._do = self._table()

    def _make_output(self, pantry: Pantry) -> Output:
        settings = self.settings
        return Output(
            settings.log_dir,
            settings.output_bytes,
            self.loop,
            self._threads,
            name_of=pantry.name_of,
            echo=self._show if settings.echo else None,
        )

    def _make_slots(self, pantry: Pantry, zygote: Launched | None, descriptors: int) -> Slots:
        reports = Reports(self.store, pantry.rows, self._warn, self._output.printed)
        return Slots(
            self.settings,
            self.loop,
            tell=self.tell,
            look=self._look_by,
            lasts=lambda: self._watch.wake(),
            store=self.store,
            pantry=pantry,
            reports=reports,
            output=self._output,
            launched=zygote,
            descriptors=descriptors,
        )

    # --- its life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start slots, and listen to peers."""
        self.slots.wake_zygote()
        await self.peers.listen()
        self._started = True
        self.tell(worker.Tick())
        self.uplink.begin()

    def connect(self, link: Link) -> None:
        """This is the link to the scheduler from now on."""
        self.uplink.connect(link)

    def drain(self, why: str, grace_s: float) -> None:
        """Somebody outside wants this worker gone."""
        self.tell(worker.DrainAsked(why, grace_s))

    async def stop(self) -> None:
        """End everything that belongs to it. Nothing is left when this returns."""
        if self._closed:
            return
        self._closed = True
        self._alarm.cancel()
        self.uplink.close()
        await self._inquiries.close()
        await self.peers.close()
        self._watch.close()
        self.slots.close()
        await self._output.settle()
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self.loop.run_in_executor(None, self._threads.shutdown)
        self.store.close()

    # --- the machine -----------------------------------------------------------------------------

    def tell(self, event: ShellEvent | Sequence[ShellEvent]) -> None:
        """Something has happened here."""
        self.step(event, worker.SHELL)

    def step(self, event: Any, source: str) -> None:
        """Give the machine an event, or all messages of a frame, and do as it says."""
        if self._closed or self._over:
            return
        if self._stepping:
            self._later.append((event, source))
            return
        books = self.machine.books
        wake_at = books.wake_at
        if wake_at is not None and time.monotonic() - wake_at > _LATE_S:
            event, source = self._catch_up(event, source)
        self._stepping = True
        try:
            self._step(event, source)
            while self._later:
                self._step(*self._later.popleft())
        except Exception as error:
            self._crash(error)
            raise
        finally:
            self._stepping = False
        wake_at = books.wake_at
        if wake_at is not None and wake_at < self._alarm.at:
            self._alarm.want(wake_at)

    def _step(self, event: Any, source: str) -> None:
        commands = self.machine.handle(event, source=source, now=time.monotonic())
        do = self._do
        back: dict[int, list[worker.TakeBack]] | None = None
        for command in commands:
            act = do.get(type(command))
            if act is not None:
                act(command)
            else:
                assert type(command) is worker.TakeBack
                back = back or {}
                back.setdefault(command.slot, []).append(command)
        if back:  # together: what is read along with one would have to be put back
            for slot, wanted in back.items():
                self.slots.take_back(slot, wanted)

    def _table(self) -> dict[type, Callable[[Any], None]]:
        return {
            worker.Send: self._send,
            worker.Feed: self.slots.feed,
            worker.GiveTurn: self.slots.give_turn,
            worker.Grant: self.slots.grant,
            worker.Deny: self.slots.deny,
            worker.Discard: self._discard,
            worker.StartSlot: self.slots.start,
            worker.KillSlot: self.slots.kill,
            worker.Spill: self._disk.spill,
            worker.Restore: self._disk.restore,
            worker.Exit: self._exit,
        }

    def _send(self, command: worker.Send) -> None:
        if command.to == worker.SCHEDULER:
            self.uplink.send(command.messages)
        else:
            self.peers.send(command.to, command.messages)

    def _discard(self, command: worker.Discard) -> None:
        key = (command.id, command.attempt)
        self.store.discard(key)
        if self._rows:
            self._rows.pop(key, None)

    def _exit(self, _: worker.Exit) -> None:
        self._end(0)

    def note_rows(self, objects: Sequence[wire.Held]) -> None:
        """Note which of these objects, which have come, hold the results of several rows."""
        for held in objects:
            if held.rows != 1:
                self._rows[held.id, held.attempt] = held.rows

    # --- time ------------------------------------------------------------------------------------

    def _look_by(self, seconds: float) -> None:
        """Look so soon at what slots have begun."""
        at = time.monotonic() + seconds
        if at < self._look_at:
            self._look_at = at
            if at < self._alarm.at:
                self._alarm.want(at)

    def _catch_up(self, event: Any, source: str) -> tuple[Any, str]:
        """We have slept for long, or were stopped: what slots have said meanwhile is told together
        with what is to be told, else they would be judged by the clock alone."""
        heard = self.slots.hear_all()
        if not heard:
            return event, source
        if source == worker.SHELL:
            events = event if isinstance(event, list) else [event]
            return [*events, *heard], source
        self._later.append((event, source))
        return heard, worker.SHELL

    def _ring(self) -> None:
        if self._closed or self._over:
            return
        now = time.monotonic()
        wake_at = self.machine.wake_at
        due = wake_at is not None and wake_at <= now
        if due or self._look_at <= now:
            self._look_at = NEVER
            events, again = self.slots.begun(all=due)
            if again is not None:
                self._look_by(again)
            if due:
                events.append(worker.Tick())
            if events:
                self.tell(events)
        for at in (self.machine.wake_at, self._look_at):
            if at is not None and at < self._alarm.at:
                self._alarm.want(at)

    def before_registering(self) -> None:
        """Tell all that has begun: a registration says what runs."""
        events, again = self.slots.begun(all=True)
        if again is not None:
            self._look_by(again)
        if events:
            self.tell(events)

    def _show(self, printed: list[wire.Printed]) -> None:
        self.uplink.send(printed)

    # --- faults ----------------------------------------------------------------------------------

    def _warn(self, text: str) -> None:
        _log.warning("%s: %s", self.settings.id, text)

    def _crash(self, error: Exception) -> None:
        _log.critical("the worker's agent has failed", exc_info=error)
        self._end(1)

    def _end(self, code: int) -> None:
        if not self._over:
            self._over = True
            self._alarm.cancel()
            self.loop.call_soon(self.on_exit, code)


def _machine(
    settings: WorkerSettings, host: str, epoch: int, limits: worker.Limits | None
) -> worker.Worker:
    """The machine of a worker that has these settings, and of what they leave open its share."""
    if limits is None:
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        limits = worker.Limits(beside=most_beside(usable_memory(), descriptors))
    store_bytes = settings.store_bytes or store_budget()
    resources = dict(settings.resources)
    if "memory" not in resources:  # what the store leaves
        resources["memory"] = float(max(usable_memory() - store_bytes, 0))
    return worker.Worker(
        settings.id,
        epoch,
        host=host,
        slots=settings.slots,
        resources=tuple(resources.items()),
        memory_bytes=store_bytes,
        block=settings.block,
        ends_in_s=settings.ends_in_s,
        limits=limits,
    )
