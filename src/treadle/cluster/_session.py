"""A client's session with a scheduler: the shell round its books.

It lives on the engine thread. Kernels and programs speak to it from any thread: what they say goes
into the books there, and leaves once for each turn of the loop. When the scheduler is lost for
good, all that is open ends with `SchedulerLost`; the next task has a new one started.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from treadle import wire
from treadle.cluster._depot import SessionDepot
from treadle.cluster._echo import Echo
from treadle.cluster._holders import Holders
from treadle.cluster._ledger import Ledger
from treadle.cluster._link import this_party
from treadle.cluster._results import InlineValue, RemoteResult
from treadle.cluster._session_bond import Bond, State
from treadle.cluster._session_ear import SessionEar
from treadle.cluster._session_home import bring_all, hear_out
from treadle.dataflow._lazy import EngineThread, LazyFuture
from treadle.dataflow._sink import Listener, SinkTask
from treadle.errors import SchedulerLost
from treadle.log import logger
from treadle.runtime.engine import Engine
from treadle.store.mapping import Mapper

if TYPE_CHECKING:
    import asyncio

    from treadle.cluster._calls import Call
    from treadle.cluster._homes import Home
    from treadle.wire import TaskId

_log = logger("cluster")

#: How long the end waits for results that are still wanted.
_FAREWELL_S: Final = 10.0

Answered = Callable[[Any], None]
Make = Callable[[int], wire.Message]


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
        self.inbox = self.engine.admit(self._take, self._crashed, self._take_late)
        self.ledger = Ledger(_draw(), name, lease_s, self._value)
        self.ledger.world = world
        self.depot = SessionDepot(self.ledger, self, self._may_begin)
        parcels = self.depot.parcels.by_id
        self.holders = Holders(self, self._open_spot, lambda parcel: parcel.id in parcels)
        on_pool = self.engine.pool.submit
        self.bond = Bond(
            home, self.ledger, self, SessionEar(self), spawn=self.holders.spawn, on_pool=on_pool
        )
        #: Told of a kernel's tasks, and of calls.
        self.listener: Listener | None = None
        self.call_listener: Listener | None = None
        #: Told of tasks, or so many rows, that had failed and are tried again.
        self.retry_listener: Callable[[TaskId, int], None] | None = None
        #: Told what is announced; and that all that the scheduler knew is gone.
        self.on_announced: Callable[[wire.Announced], None] | None = None
        self.on_bereft: Callable[[], None] | None = None
        #: Why nothing works any more in this process; None while it does.
        self.dead: BaseException | None = None
        self._mapper = Mapper()
        self._echo = Echo(on_pool) if echo else None
        self._answers: dict[int, Answered] = {}
        #: What waits until it is known how the last scheduler ended.
        self._held: list[Callable[[], None]] = []
        self._closing = False
        #: Why no task will ever run again.
        self._given_up: BaseException | None = None
        self._refusing = False
        #: Something is sent at the end of this turn.
        self._dirty = False
        #: The scheduler is a new one: parcels have to be told of again.
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

    def start(self, *, soon: bool = False) -> None:
        """Have a scheduler, and a link to it soon.

        Args:
            soon: for who must not block: what goes wrong is told by `welcome`.

        Raises:
            ConfigurationError, OSError: there can be none.
        """
        if soon:
            self.call(self.bond.start_again)
        else:
            self.bond.start()

    @property
    def welcome(self) -> LazyFuture[None]:
        """Done when the scheduler knows this client.

        Raises:
            SchedulerLost: it is not there, or wants no such client.
        """
        return self._welcome

    def wait_until_welcome(self, timeout: float | None) -> None:
        """Wait until the scheduler knows this client; raises TimeoutError, and as `welcome`."""
        self._welcome.result(timeout)

    def call(self, fn: Callable[[], None]) -> None:
        """Have this called on the engine thread, now if this is it."""
        if EngineThread.ident == threading.get_ident() or self.dead is not None:
            fn()  # without an engine thread, what waits is told so here
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

    def submit(self, spec: wire.TaskSpec, options: wire.Options, call: Call | bytes) -> None:
        """A task as it goes on the wire, with what it was packed from."""
        self.call(partial(self._submit, spec, options, call))

    def do(self, act: Callable[[Ledger], None], calls: Sequence[Call] | None = None) -> None:
        """Have this done to the books, and said what they say then.

        Args:
            calls: what it gives away: it is done when there is a scheduler.
        """
        if calls is None:
            self.call(partial(self._do, act))
        else:
            self.call(partial(self._begin, act, calls))

    def drop(self, ids: Sequence[TaskId]) -> None:
        """Want the results of these no longer."""
        self.call(partial(self._release, ids))

    def cancel(self, ids: Sequence[TaskId], *, force: bool = False, reason: str = "") -> None:
        """Stop these; nothing is told of them any more."""
        self.call(partial(self._cancel, ids, force, reason))

    def request(self, make: Make, answered: Answered) -> None:
        """Ask the scheduler; the answer (None: there is none) is given on the engine thread."""
        self.call(partial(self.ask, make, answered))

    def give_up(self, error: BaseException) -> None:
        """End all tasks with this error, those that are admitted later too."""
        self.call(partial(self._give_up, error))

    # --- on the engine thread ----------------------------------------------------------------

    def _take(self, item: Any) -> None:
        if type(item) is SinkTask:
            self._admit((item,))
        else:
            item()

    def _take_late(self, item: Any) -> None:
        """What comes when nothing is handled any more, or was on its way then, ends at once."""
        try:
            self._take(item)
        except Exception:  # noqa: BLE001 - of a process that was forked: its books may be half done
            _log.exception("what came too late could not be ended")

    def _admit(self, tasks: Sequence[SinkTask]) -> None:
        if not self._may_begin(self._admit, tasks):
            return
        if self._moved:
            for task in tasks:
                self.depot.offer_again(task.call)
        self.ledger.admit(tasks)
        self.touch()

    def _submit(self, spec: wire.TaskSpec, options: wire.Options, call: Call | bytes) -> None:
        if not self._may_begin(self._submit, spec, options, call):
            return
        self.depot.offer_again(call)
        self.ledger.submit(spec, options, getattr(call, "uses", ()))
        self.touch()

    def _begin(self, act: Callable[[Ledger], None], calls: Sequence[Call]) -> None:
        if not self._may_begin(self._begin, act, calls):
            return
        for call in calls:
            self.depot.offer_again(call)
        act(self.ledger)
        self.touch()

    def _may_begin(self, again: Callable[..., None], *args: Any) -> bool:
        """Whether tasks can be admitted now; else they are later, or never."""
        if self.depot.prior:
            self.depot.do_prior()
        if self._refusing:
            return True
        if self._closing or self.dead is not None or self._given_up is not None:
            self._refusing = True  # it is admitted, and ends at once
            again(*args)
            self._refusing = False
            self.bereft(partial(_ended, self.dead or self._given_up))
            return False
        state = self.bond.state
        if state is State.burying:
            self._held.append(partial(again, *args))
            return False
        if state is State.off:
            self.bond.start_again()
        return True

    def _do(self, act: Callable[[Ledger], None]) -> None:
        act(self.ledger)
        self.touch()

    def _release(self, ids: Iterable[TaskId]) -> None:
        self.ledger.release(ids)
        self.touch()

    def _cancel(self, ids: Iterable[TaskId], force: bool, reason: str) -> None:
        self.ledger.cancel(ids, force=force, reason=reason)
        self.touch()

    def ask(self, make: Make, answered: Answered) -> None:
        """Ask the scheduler; the answer is None if there is no scheduler (any more)."""
        if self.dead is not None or self.bond.state in (State.off, State.burying, State.closed):
            answered(None)
            return
        self._answers[self.ledger.ask(make)] = answered
        self.touch()

    def touch(self) -> None:
        """Something is to be sent, or told: at the end of this turn."""
        if self._refusing or self.dead is not None or self.bond.state is State.closed:
            self._deliver()  # there may be no loop any more, and nothing is sent
        elif not self._dirty:
            self._dirty = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send and tell what stands in the books."""
        self._dirty = False
        ledger = self.ledger
        if ledger.told or ledger.called:
            self._deliver()
        self.depot.settle()
        self.bond.send()

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

    # --- what the scheduler says -------------------------------------------------------------

    def hear(self, messages: list[wire.Message]) -> None:
        """A frame has come."""
        self.bond.heard()
        ledger = self.ledger
        ledger.handle(messages)
        self._deliver()
        if ledger.news:
            news, ledger.news = ledger.news, []
            for message in news:
                self._hear(message)
        if ledger.out or ledger.unused:
            self.flush()

    def _unsent(self, message: wire.Message, why: str) -> None:
        """A message of ours is too large for a frame: what it was about ends so."""
        if isinstance(message, wire.Submit):
            ids = tuple(spec.id for spec in message.tasks)
            self.ledger.handle([wire.Refused("submit", f"it cannot be sent: {why}", ids)])
            self.touch()
        elif (ask := getattr(message, "ask", None)) is not None:
            self.ledger.asks.pop(ask, None)
            self._answer(ask, wire.Reply(ask, error=f"it cannot be sent: {why}"))
        else:
            _log.error("a %s cannot be sent: %s", type(message).__name__, why)

    def _hear(self, message: wire.Message) -> None:
        if isinstance(message, wire.Upload):
            self.holders.give(self.depot.parcels.found(message.items))
            self._answer(message.ask, message)
        elif isinstance(message, wire.Reply | wire.Located | wire.Issued):
            self._answer(message.ask, message)
        elif isinstance(message, wire.Announced):
            if self.on_announced is not None:
                self.on_announced(message)
        elif isinstance(message, wire.Retried):
            if self.retry_listener is not None:
                self.retry_listener(message.id, message.rows)
        elif isinstance(message, wire.Printed):
            if self._echo is not None:
                self._echo.write(message)
        elif isinstance(message, wire.Attached):
            if self.ledger.forgotten:
                self._forgotten("the scheduler has forgotten this client while it had no link")
            elif not self._welcome.done():
                self._welcome.set_result(None)
        elif isinstance(message, wire.Cancelled):
            self._moved = self.depot.lost(message.id) or self._moved
        elif isinstance(message, wire.Refused):
            self._refused(message)

    def _refused(self, message: wire.Refused) -> None:
        if message.what == "attach" and not self._welcome.done():
            self.ledger.number(_draw())
            self.bond.attach()
        elif message.what == "client" and self.ledger.forgotten:
            self._forgotten(message.reason)
        elif message.what == "client":
            self.bond.attach()
        else:
            _log.warning("the scheduler did not carry out %s: %s", message.what, message.reason)

    def _forgotten(self, why: str) -> None:
        self.bereft(partial(SchedulerLost, why))
        self.bond.attach()

    def _answer(self, ask: int, message: Any) -> None:
        answered = self._answers.pop(ask, None)
        if answered is not None:
            answered(message)

    # --- as the owner of a bond, and for results and holders -----------------------------------

    def bereft(self, error: Callable[[], BaseException]) -> None:
        """See `Owner`."""
        self.holders.clear()
        self._mapper.close()  # it may hold memory of workers that are gone
        asks = self.ledger.end(error)
        if self.on_bereft is not None:
            self.on_bereft()
        self.depot.forget()
        self._moved = True
        if not self._welcome.done():
            self._welcome.set_exception(error())
        for ask in asks:
            self._answer(ask, None)
        self._deliver()
        held, self._held = self._held, []
        for each in held:
            each()

    def me(self) -> wire.Party:
        """See `Owner`."""
        return this_party("client", self.ledger.name, self.home.run)

    def fetch(self, result: RemoteResult) -> None:
        """See `Bringer`."""
        if self.dead is not None or self.bond.state is State.closed:
            result.gone(partial(_ended, self.dead))
        else:
            self.holders.fetch(result)

    def _value(self, done: wire.Done, *, listed: bool = False) -> InlineValue | RemoteResult:
        if done.inline is not None:
            return InlineValue(done.inline, self.call, listed, done.type)
        return RemoteResult(self, done, listed=listed)

    def _open_spot(self, spot: wire.Spot) -> memoryview:
        return self._mapper.open(spot, writable=True)

    # --- the end -----------------------------------------------------------------------------

    def close(self, *, bring: bool = True) -> None:
        """Say goodbye, and see that nothing is left. Results that are wanted come home first.

        Not on the engine thread: it waits.
        """
        if self._closing:
            return
        self._closing = True
        if self.dead is None:
            if bring:
                self.bring_home()
            if self._echo is not None:
                hear_out(self)
            gone: LazyFuture[None] = LazyFuture()
            self.call(partial(self._say_goodbye, gone))
            try:
                gone.result(_FAREWELL_S)
            except TimeoutError:
                _log.warning("the link to the scheduler does not close")
            self.home.end()
            self.engine.dismiss(self.inbox)
        self.depot.parcels.close()
        self._mapper.close()
        self.engine.release()

    def bring_home(self) -> None:
        """Have what is wanted brought here for good, within bounds: no worker need keep it."""
        arrived: LazyFuture[None] = LazyFuture()
        self.call(partial(bring_all, self, arrived))
        try:
            arrived.result(_FAREWELL_S)
        except TimeoutError:
            _log.warning("not all results could be brought here; what was not is lost")

    def _say_goodbye(self, gone: LazyFuture[None]) -> None:
        self.flush()
        self.bond.say_goodbye()
        self.holders.close()
        self.bereft(partial(_ended, None))
        gone.set_result(None)

    def _give_up(self, error: BaseException) -> None:
        self._given_up = error
        link = self.bond.link
        ids = [id for id, was in self.ledger.wants.items() if type(was) is str]
        ids += [bundle.start for bundle in self.ledger.bundles]
        if ids and link is not None:
            link.send([wire.Cancel(tuple(ids), reason="given up")])
        self.bereft(lambda: error)

    def _crashed(self, error: BaseException) -> None:
        """The engine has died, or this is a forked child."""
        self.dead = error
        self.bond.forsake()
        self.ledger.end(lambda: error)
        self.ledger.told.clear()  # a kernel is told by the engine itself
        called, self.ledger.called = self.ledger.called, []
        if self.call_listener is not None:
            self.call_listener(called)
        if not self._welcome.done():
            self._welcome.set_exception(error)


def _draw() -> int:
    """A session's number, most likely nobody else's."""
    return secrets.randbelow(2**22 - 1) + 1


def _ended(error: BaseException | None) -> BaseException:
    if error is not None:
        return error
    return SchedulerLost("the executor has been shut down: what was not here by then is gone")
