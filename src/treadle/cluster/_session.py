"""A client's session with a scheduler: the shell round its books.

It lives on the engine thread. Kernels and programs speak to it from any thread: what they say goes
into the books there, and leaves once for each turn of the loop. When the scheduler is lost for
good, all that is open ends with `SchedulerLost`; the next task has a new one started.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from treadle import wire
from treadle.cluster._echo import Echo
from treadle.cluster._holders import Holders
from treadle.cluster._ledger import ENDED, Ledger
from treadle.cluster._link import this_party
from treadle.cluster._results import InlineValue, RemoteResult
from treadle.cluster._upload import Parcel, Parcels, spec_of
from treadle.dataflow._lazy import EngineThread, LazyFuture
from treadle.dataflow._sink import Listener, SinkOutcome, SinkTask
from treadle.errors import HandshakeRefused, SchedulerLost, TreadleError
from treadle.log import logger
from treadle.runtime.engine import Engine
from treadle.serialize import Packed
from treadle.store.mapping import Mapper, Shared
from treadle.wire import TaskId

if TYPE_CHECKING:
    from treadle.cluster._calls import Call
    from treadle.cluster._homes import Home
    from treadle.cluster._link import Link

_log = logger("cluster")

#: On this machine the books ask whether they were heard so long after they have said something;
#: between machines they say so often that they are alive, and give a link up when nothing comes.
_HEARD_S: Final = 0.25
_BEAT_S: Final = 3.0
_SILENT_S: Final = 12.0
#: How long a scheduler that has ended is dialled again; each try waits a little longer.
_REDIAL_S: Final = 2.0
#: How long the end waits for results that are still wanted, and how many bytes of them.
_FAREWELL_S: Final = 10.0
_FAREWELL_BYTES: Final = 1 << 30


class Session:
    """One client of one scheduler.

    Args:
        home: where the scheduler is.
        name: what this client is called among clients.
        lease_s: how long it is remembered there without a link.
        world: in what surroundings its tasks run.
        echo: write what tasks print.
    """

    def __init__(
        self,
        home: Home,
        *,
        name: str,
        lease_s: float = 30.0,
        world: wire.World | None = None,
        echo: bool = True,
    ) -> None:
        self.home = home
        self.engine = Engine.acquire()
        self.loop: asyncio.AbstractEventLoop = self.engine.loop
        self.inbox = self.engine.admit(self._take, self._crashed, lambda item: None)
        self.ledger = Ledger(_draw(), name, lease_s, self._value)
        self.ledger.world = world
        self._mapper = Mapper()
        self.parcels = Parcels(Shared, lambda: self.ledger.base)
        self.holders = Holders(
            self, self._open_spot, lambda parcel: parcel.id in self.parcels.by_id
        )
        #: Told of a kernel's tasks, and of calls.
        self.listener: Listener | None = None
        self.call_listener: Listener | None = None
        #: Why nothing works any more in this process; None while it does.
        self.dead: BaseException | None = None
        self._echo = Echo(self.engine.pool.submit) if echo else None
        self._link: Link | None = None
        #: What is said by callers before the tasks that need it.
        self._prior: deque[Callable[[], None]] = deque()
        self._answers: dict[int, Callable[[Any], None]] = {}
        #: There is a scheduler, or there will be one.
        self._up = False
        #: The scheduler is lost, and it is being found out how it ended: what comes waits.
        self._burying = False
        self._held: list[Callable[[], None]] = []
        self._closing = False
        self._closed = False
        #: Why no task will ever run again.
        self._given_up: BaseException | None = None
        self._dirty = False
        self._beating = False
        self._heard_at = 0.0
        self._lost_at: float | None = None
        #: Parcels have to be told of again.
        self._moved = False
        #: Done when the scheduler has welcomed us for the first time, or never will.
        self._welcome: LazyFuture[None] = LazyFuture()

    # --- from any thread ---------------------------------------------------------------------

    @property
    def is_local(self) -> bool:
        """All workers are on this machine."""
        return self.home.is_local

    @property
    def base(self) -> int:
        """The identifier of task 0."""
        return self.ledger.base

    def start(self) -> None:
        """Have a scheduler, and a link to it soon.

        Raises:
            ConfigurationError, OSError: there can be none.
        """
        self.home.start()
        self._up = True
        self.call(self._connect)

    def wait_until_welcome(self, timeout: float | None) -> None:
        """Wait until the scheduler knows this client.

        Raises:
            TimeoutError: it does not answer.
            SchedulerLost: it is not there, or wants no such client.
        """
        self._welcome.result(timeout)

    def call(self, fn: Callable[[], None]) -> None:
        """Have this called on the engine thread, now if this is it."""
        if EngineThread.ident == threading.get_ident():
            fn()
        elif self.dead is not None:
            fn()  # there is no engine thread any more; what waits is told so
        else:
            self.inbox.post(fn)

    def admit(self, tasks: Sequence[SinkTask]) -> None:
        """New tasks; see `TaskSink.admit`."""
        if EngineThread.ident == threading.get_ident():
            self._admit(tasks)
        else:
            self.inbox.post(partial(self._admit, tasks))

    def admit_one(self, task: SinkTask) -> None:
        """One new task."""
        self.inbox.post(task)

    def release(self, numbers: Sequence[int]) -> None:
        """See `TaskSink.release`."""
        base = self.ledger.base
        self.drop([base + number for number in numbers])

    def drop(self, ids: Sequence[TaskId]) -> None:
        """Want the results of these no longer."""
        self.call(partial(self._release, ids))

    def cancel(self, ids: Sequence[TaskId], *, force: bool = False, reason: str = "") -> None:
        """Stop these; nothing is told of them any more."""
        self.call(partial(self._cancel, ids, force, reason))

    def request(self, make: Callable[[int], wire.Message], answered: Callable[[Any], None]) -> None:
        """Ask the scheduler; the answer (None: there is none) is given on the engine thread."""
        self.call(partial(self._request, make, answered))

    def keep_code(self, digest: bytes, name: str, payload: bytes) -> None:
        """See `Depot`."""
        self._before(partial(self.ledger.code, wire.Code(digest, name, payload)))

    def keep_data(self, value: Packed, *, constant: object | None) -> int:
        """See `Depot`."""
        parcel = self.parcels.keep(value, constant=constant)
        self.offer(parcel)
        return parcel.id

    def offer(
        self,
        parcel: Parcel,
        workers: tuple[str, ...] = (),
        copies: int = 1,
        *,
        patient: bool = True,
    ) -> None:
        """Tell the scheduler of a parcel, unless it knows it."""
        if not parcel.sent:
            parcel.sent = True
            self._before(partial(self._scatter, parcel, workers, copies, patient))

    def drop_data(self, ids: tuple[int, ...]) -> None:
        """See `Depot`."""
        if ids:
            self.parcels.unpin_later(ids)

    def kept(self, number: int) -> Any:
        """See `Depot`."""
        past = self.ledger.past
        if not past:
            return None
        value = past.get(self.ledger.base + number)
        return value if isinstance(value, InlineValue) else None

    def fetch(self, result: RemoteResult) -> None:
        """See `Bringer`."""
        if self.dead is not None or self._closed:
            result.gone(partial(_ended, self.dead))
        else:
            self.holders.fetch(result)

    def me(self) -> wire.Party:
        """Who this is, in handshakes."""
        return this_party("client", self.ledger.name, self.home.run)

    def ask(self, make: Callable[[int], wire.Message], answered: Callable[[Any], None]) -> None:
        """See `Desk`."""
        self._request(make, answered)

    def give_up(self, error: BaseException) -> None:
        """End all tasks with this error, those that are admitted later too."""
        self.call(partial(self._give_up, error))

    def close(self, *, bring: bool = True) -> None:
        """Say goodbye, and see that nothing is left. Results that are wanted come home first.

        Not on the engine thread: it waits.
        """
        if self._closing:
            return
        self._closing = True
        if self.dead is None:
            if bring:
                self._bring_home()
            gone: LazyFuture[None] = LazyFuture()
            self.call(partial(self._say_goodbye, gone))
            try:
                gone.result(_FAREWELL_S)
            except TimeoutError:
                _log.warning("the link to the scheduler does not close")
            self.home.end()
            self.engine.dismiss(self.inbox)
        self._closed = True
        self.parcels.close()
        self.engine.release()

    # --- on the engine thread ----------------------------------------------------------------

    def _take(self, item: Any) -> None:
        if type(item) is SinkTask:
            self._admit((item,))
        else:
            item()

    def _before(self, fn: Callable[[], None]) -> None:
        """Do this before any task that is admitted from now on."""
        self._prior.append(fn)
        self.call(self._do_prior)

    def _do_prior(self) -> None:
        prior = self._prior
        while prior:
            prior.popleft()()
        self._touch()

    def _admit(self, tasks: Sequence[SinkTask]) -> None:
        if self._prior:
            self._do_prior()
        if self._burying or not self._up:
            if not self._wake_up(partial(self._admit, tasks)):
                return
        if self._moved:
            self._offer_again(tasks)
        self.ledger.admit(tasks)
        self._touch()

    def submit_spec(self, spec: wire.TaskSpec, options: wire.Options, call: Call | bytes) -> None:
        """A task as it goes on the wire; the call is kept until then."""
        if self._prior:
            self._do_prior()
        if self._burying or not self._up:
            if not self._wake_up(partial(self.submit_spec, spec, options, call)):
                return
        self.ledger.submit(spec, options, () if isinstance(call, bytes) else call.uses)
        self._touch()

    def _give_up(self, error: BaseException) -> None:
        self._given_up = error
        ids = [id for id, was in self.ledger.wants.items() if type(was) is str]
        ids += [bundle.start for bundle in self.ledger.bundles]
        if ids and self._link is not None:
            self._link.send([wire.Cancel(tuple(ids), reason="given up")])
        self._end(lambda: error)

    def _wake_up(self, then: Callable[[], None]) -> bool:
        """Whether there is a scheduler; else one is started, or it is too late for that."""
        if self._closing or self.dead is not None or self._given_up is not None:
            self._refuse(then)
            return False
        if self._burying:
            self._held.append(then)
            return False
        self._up = True
        self.engine.pool.submit(self._start_again)
        return True

    def _refuse(self, then: Callable[[], None]) -> None:
        """Too late: what is admitted now ends at once."""
        self._up = True
        then()
        self._end(partial(_ended, self.dead or self._given_up))

    def _start_again(self) -> None:
        """On the pool."""
        try:
            self.home.start()
        except Exception as error:  # noqa: BLE001 - it ends the tasks that wait for it
            lost = SchedulerLost(f"a new scheduler cannot be started: {error}")
            lost.__cause__ = error
            self.call(partial(self._end, lambda: lost))
        else:
            self.call(self._connect)

    def _release(self, ids: Iterable[TaskId]) -> None:
        self.ledger.release(ids)
        self._touch()

    def _cancel(self, ids: Iterable[TaskId], force: bool, reason: str) -> None:
        self.ledger.cancel(ids, force=force, reason=reason)
        self._touch()

    def _request(
        self, make: Callable[[int], wire.Message], answered: Callable[[Any], None]
    ) -> None:
        if self.dead is not None or self._closed or not self._up:
            answered(None)
            return
        self._answers[self.ledger.ask(make)] = answered
        self._touch()

    def _scatter(
        self, parcel: Parcel, workers: tuple[str, ...], copies: int, patient: bool
    ) -> None:
        items = (spec_of(parcel),)
        self.ledger.wants[parcel.id] = ENDED
        self.ledger.ask(lambda ask: wire.Scatter(ask, items, workers, copies, patient))
        self._touch()

    def _offer_again(self, tasks: Iterable[SinkTask]) -> None:
        """The scheduler is a new one: it does not know what calls made before name."""
        for task in tasks:
            for id in getattr(task.call, "uses", ()):
                parcel = self.parcels.by_id.get(id)
                if parcel is not None and not parcel.sent:
                    parcel.sent = True
                    self._scatter(parcel, (), 1, True)

    def _touch(self) -> None:
        """Something is to be sent: at the end of this turn."""
        if not self._dirty:
            self._dirty = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._dirty = False
        ledger = self.ledger
        if ledger.told or ledger.called:
            self._deliver()
        if ledger.unused or self.parcels.has_unpinned:
            unused, ledger.unused = ledger.unused, []
            ledger.release(self.parcels.settle(unused, ledger.is_used))
        link = self._link
        if link is None:
            return
        messages = ledger.take()
        if messages:
            link.send(messages)
        if ledger.unacked and not self._beating and self.home.boldly:
            self._beating = True
            self.loop.call_later(_HEARD_S, self._beat)

    def _deliver(self) -> None:
        """Tell the outcomes that are in the books."""
        ledger = self.ledger
        if ledger.told:
            told, ledger.told = ledger.told, []
            if self.listener is not None:
                self.listener(told)
        if ledger.called:
            called, ledger.called = ledger.called, []
            if self.call_listener is not None:
                self.call_listener(called)

    # --- as the ear of the link --------------------------------------------------------------

    def heard(self, link: Link, messages: list[wire.Message]) -> None:
        """See `Ear`."""
        self._heard_at = self.loop.time()
        ledger = self.ledger
        ledger.handle(messages)
        self._deliver()
        if ledger.news:
            news, ledger.news = ledger.news, []
            for message in news:
                self._hear(message)
        if ledger.out or ledger.unused:
            self._flush()

    def _hear(self, message: wire.Message) -> None:
        if isinstance(message, wire.Upload):
            for id, attempt, workers in message.items:
                parcel = self.parcels.by_id.get(id)  # type: ignore[arg-type]
                if parcel is not None:
                    self.holders.give(parcel, attempt, workers)
            self._answer(message.ask, message)
        elif isinstance(message, wire.Reply | wire.Located):
            self._answer(message.ask, message)
        elif isinstance(message, wire.Printed):
            if self._echo is not None:
                self._echo.write(message)
        elif isinstance(message, wire.Attached):
            if self.ledger.forgotten:
                self._forgotten("the scheduler has forgotten this client while it had no link")
            elif not self._welcome.done():
                self._welcome.set_result(None)
        elif isinstance(message, wire.Refused):
            self._refused(message)

    def _refused(self, message: wire.Refused) -> None:
        if message.what == "attach" and not self._welcome.done():
            self.ledger.number(_draw())
            self._attach()
        elif message.what == "client" and self.ledger.forgotten:
            self._forgotten(message.reason)
        elif message.what == "client":
            self._attach()
        else:
            _log.warning("the scheduler did not carry out %s: %s", message.what, message.reason)

    def _forgotten(self, why: str) -> None:
        lost = SchedulerLost(why)
        self._end(lambda: lost)
        self._up = True
        self._attach()

    def _answer(self, ask: int, message: Any) -> None:
        answered = self._answers.pop(ask, None)
        if answered is not None:
            answered(message)

    def chunk(self, link: Link, chunk: wire.Chunk) -> None:
        """See `Ear`."""

    def unsent(self, link: Link, message: wire.Message, why: str) -> None:
        """A message of ours is too large for a frame: what it was about ends so."""
        if isinstance(message, wire.Submit):
            ids = tuple(spec.id for spec in message.tasks)
            self.ledger.handle([wire.Refused("submit", f"it cannot be sent: {why}", ids)])
            self._deliver()
            self._touch()
        elif (ask := getattr(message, "ask", None)) is not None:
            self.ledger.asks.pop(ask, None)
            self._answer(ask, wire.Reply(ask, error=f"it cannot be sent: {why}"))
        else:
            _log.error("a %s cannot be sent: %s", type(message).__name__, why)

    def lost(self, link: Link, why: str) -> None:
        """See `Ear`."""
        if link is not self._link:
            return
        self._link = None
        self.ledger.link_down()
        if self._closing:
            return
        if self._lost_at is None:
            self._lost_at = self.loop.time()
        self._missed(why)

    # --- links -------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._link is None and not self._closed and self.dead is None:
            self.holders.spawn(self._connect_now())

    async def _connect_now(self) -> None:
        try:
            link = await self.home.connect(self.me(), self)
        except HandshakeRefused as error:
            self._bury(str(error))
            return
        except (ConnectionError, OSError) as error:
            self._missed(str(error))
            return
        if self._closed:
            link.close("the client ends")
            return
        self._link = link
        self._lost_at = None
        self._heard_at = self.loop.time()
        self._attach()
        if not self.home.boldly and not self._beating:
            self._beating = True
            self.loop.call_later(_BEAT_S, self._beat)

    def _attach(self) -> None:
        if self._link is not None:
            self._link.send(self.ledger.link_up(boldly=self.home.boldly))
            self._flush()

    def _missed(self, why: str) -> None:
        """There is no link: try again, or give it up."""
        if self._lost_at is None:
            self._lost_at = self.loop.time()
        away_s = self.loop.time() - self._lost_at
        patience_s = _REDIAL_S if self.home.is_gone() else self.ledger.lease_s
        if self.home.comes_back and away_s < patience_s and not self._closing:
            self.loop.call_later(min(2.0, 0.1 + away_s / 4), self._connect)
        else:
            self._bury(why)

    def _bury(self, why: str) -> None:
        """The scheduler is lost for good."""
        if self._burying:
            return
        self._burying = True
        self.engine.pool.submit(partial(self._bury_now, why))

    def _bury_now(self, why: str) -> None:
        """On the pool."""
        lost = self.home.bury(why)
        _log.error("%s", lost)
        self.call(partial(self._end, lambda: lost))

    def _end(self, error: Callable[[], BaseException]) -> None:
        """All that the scheduler knew is gone."""
        self._burying = self._up = False
        self._lost_at = None
        self.holders.clear()
        asks = self.ledger.end(error)
        for parcel in list(self.parcels.by_id.values()):
            parcel.sent = False
        self._moved = True
        if not self._welcome.done():
            self._welcome.set_exception(error())
        for ask in asks:
            self._answer(ask, None)
        self._deliver()
        held, self._held = self._held, []
        for each in held:
            each()

    def _beat(self) -> None:
        self._beating = False
        link = self._link
        if link is None or self._closed:
            return
        if not self.home.boldly:
            if self.loop.time() - self._heard_at > _SILENT_S:
                link.close("nothing has come by it for a while")
                return
            self._beating = True
            self.loop.call_later(_BEAT_S, self._beat)
        if self.ledger.attached:
            link.send([self.ledger.beat()])

    # --- the end -----------------------------------------------------------------------------

    def _bring_home(self) -> None:
        """Have what is wanted and is elsewhere brought here, within bounds."""
        arrived: LazyFuture[None] = LazyFuture()
        self.call(partial(self._bring_all, arrived))
        try:
            arrived.result(_FAREWELL_S)
        except TimeoutError:
            _log.warning("not all results could be brought here; what was not is lost")

    def _bring_all(self, arrived: LazyFuture[None]) -> None:
        results = [value for value in self.ledger.values() if isinstance(value, RemoteResult)]
        left = 1
        nbytes = 0

        def one() -> None:
            nonlocal left
            left -= 1
            if not left and not arrived.done():
                arrived.set_result(None)

        for result in results if self._link is not None else ():
            nbytes += result.nbytes
            if self.is_local or nbytes <= _FAREWELL_BYTES:
                left += 1
                result.bring(one)
        one()

    def _say_goodbye(self, gone: LazyFuture[None]) -> None:
        self._flush()
        link, self._link = self._link, None
        self._up = False
        if link is not None:
            link.send([wire.Leave()])
            link.close("goodbye")
        self.holders.close()
        self._closed = True
        asks = self.ledger.end(partial(_ended, None))
        for ask in asks:
            self._answer(ask, None)
        self._deliver()
        gone.set_result(None)

    def _crashed(self, error: BaseException) -> None:
        """The engine has died, or this is a forked child."""
        self.dead = error
        link, self._link = self._link, None
        if link is not None and callable(forsake := getattr(link, "forsake", None)):
            forsake()
        self.ledger.end(lambda: error)
        self.ledger.told.clear()  # the kernel is told by the engine itself
        called, self.ledger.called = self.ledger.called, []
        if self.call_listener is not None:
            self.call_listener(called)
        if not self._welcome.done():
            self._welcome.set_exception(error)

    # --- details -----------------------------------------------------------------------------

    def _value(self, done: wire.Done, *, listed: bool = False) -> InlineValue | RemoteResult:
        if done.inline is not None:
            return InlineValue(done.inline, self.call, listed)
        return RemoteResult(self, done, listed=listed)

    def _open_spot(self, spot: wire.Spot) -> memoryview:
        return self._mapper.open(spot, writable=True)


def _draw() -> int:
    """A session's number, most likely nobody else's."""
    return secrets.randbelow(2**22 - 1) + 1


def _ended(error: BaseException | None) -> BaseException:
    if error is not None:
        return error
    return SchedulerLost("the executor has been shut down: what was not here by then is gone")


def world_here() -> wire.World:
    """The surroundings of this process, for the tasks it gives away."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        here = os.getcwd()
    except OSError as error:
        raise TreadleError(f"the working directory is gone: {error}") from error
    path = tuple(os.path.abspath(entry) for entry in sys.path if isinstance(entry, str))
    return wire.World(path, here, _umask(), os.path.abspath(main) if main else "")


def _umask() -> int:
    # There is no call that only looks: setting it, even for a moment, is seen by other threads.
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def outcomes_of(listener: Callable[[SinkOutcome], None]) -> Listener:
    """A listener that is told one at a time."""

    def listen(outcomes: Sequence[SinkOutcome]) -> None:
        for outcome in outcomes:
            listener(outcome)

    return listen
