"""The engine thread: one per process, with an event loop of its own.

Kernels are its tenants. Each has an `Inbox`: any thread posts items to it, and the engine thread
gives them, one after the other, to the tenant's handler. Posting appends and, if the engine is
not already on its way, wakes it: one wake-up per burst, never a wait.

Nothing on this thread runs user code or takes longer than a millisecond. If it ends by an error
of ours, every tenant is told, and fails what depends on it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from treadle.dataflow._lazy import EngineThread, LazyFuture, renew_lock
from treadle.errors import EngineCrashed, IllegalTransition, KernelForked, NoDataFlowKernelError
from treadle.log import logger
from treadle.runtime.pool import Pool
from treadle.runtime.threads import start_daemon

_log = logger("runtime")

#: How long the start or the end of the thread may take before something is badly wrong.
_LIFT_S = 30.0

#: Items one tenant may have handled before others get their turn.
_TURN = 500


class Inbox:
    """A tenant's door: what is posted is handled on the engine thread, in order.

    Once it is closed (the tenant has left, or its engine has died), nothing is handled any more:
    what is still inside, and whatever comes later, is refused in the thread that finds it.

    Args:
        engine: whose thread handles the items.
        handle: takes an item.
        crashed: told that nothing works any more, and why.
        refuse: told of an item that will never be handled; may be called by any thread.
    """

    def __init__(
        self,
        engine: Engine,
        handle: Callable[[Any], None],
        crashed: Callable[[BaseException], None],
        refuse: Callable[[Any], None],
    ) -> None:
        self._engine = engine
        self._handle = handle
        self._tell_crashed = crashed
        self._refuse = refuse
        self._items: deque[Any] = deque()
        self._awake = False
        self._closed: BaseException | None = None

    @property
    def is_closed(self) -> bool:
        """Whether nothing is handled any more."""
        return self._closed is not None

    def post(self, item: Any) -> None:
        """Hand over an item. Never blocks; safe from any thread and from callbacks."""
        self._items.append(item)
        if not self._awake:
            try:
                self._awake = True
                self._engine.call_soon(self._pump)
            except BaseException:
                # Ctrl-C may strike between the two: nobody else would wake the engine.
                self._engine.call_soon(self._pump)
                raise
        if self._closed is not None:
            self._refuse_all(self._closed)

    def call(self, item: Any) -> None:
        """Hand over an item and wait until it has been handled; raises what that raised."""
        if self._engine.is_current():
            self._handle(item)
            return
        waited = Waited(item)
        self._items.append(waited)
        self.wake()  # even if it seems awake: a second Ctrl-C may have struck in `post`
        if self._closed is not None:
            self._refuse_all(self._closed)
        waited.done.result()

    def flush(self) -> None:
        """Wait until all that has been posted so far is handled."""
        if not self._engine.is_current() and self._closed is None:
            try:
                self.call(_NOTHING)
            except (EngineCrashed, KernelForked, NoDataFlowKernelError):
                return  # nothing is handled any more, so there is nothing to wait for

    def wake(self) -> None:
        """Have the engine look into the box."""
        self._awake = True
        self._engine.call_soon(self._pump)

    def crash(self, error: BaseException) -> None:
        """Nothing works any more: tell the tenant, once, and refuse all there is."""
        if self._closed is None:
            if isinstance(error, (EngineCrashed, KernelForked)):
                self._closed = error
            else:
                self._closed = EngineCrashed(f"the kernel's engine has ended: {error!r}")
                self._closed.__cause__ = error
            self._tell_crashed(self._closed)
        self._refuse_all(self._closed)

    def close(self) -> None:
        """The tenant leaves."""
        if self._closed is None:
            self._closed = NoDataFlowKernelError("this kernel has been cleaned up")
        self._refuse_all(self._closed)

    def _pump(self) -> None:
        """Handle all there is, then let the next poster wake us."""
        items, handle = self._items, self._handle
        self._awake = False
        for _ in range(_TURN):
            if not items or self._closed is not None:
                return
            item = items.popleft()
            try:
                if type(item) is Waited:
                    item.run(handle)
                else:
                    handle(item)
            except BaseException as error:  # noqa: BLE001 - a bug of ours must not be silent
                _log.exception("the engine could not handle an event")
                self.crash(error)
        self.wake()

    def _refuse_all(self, error: BaseException) -> None:
        while True:
            try:
                item = self._items.popleft()
            except IndexError:  # empty; several threads may be here at once
                return
            if type(item) is Waited:
                item.done._finish("FINISHED", None, error)
            else:
                self._refuse(item)


#: Posted to wait for what was posted before.
_NOTHING = object()


class Waited:
    """An item whose poster waits for it."""

    __slots__ = ("done", "item")

    def __init__(self, item: Any) -> None:
        self.item = item
        self.done: LazyFuture[None] = LazyFuture()

    def run(self, handle: Callable[[Any], None]) -> None:
        """Handle the item; that a task's state does not allow it is its poster's affair alone."""
        try:
            if self.item is not _NOTHING:
                handle(self.item)
        except IllegalTransition as error:
            self.done.set_exception(error)
        except BaseException as error:
            self.done.set_exception(error)
            raise
        else:
            self.done.set_result(None)


class Engine:
    """The engine thread of this process, shared by its kernels. Use `acquire` and `release`."""

    _shared: Engine | None = None
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._loop = _new_loop()
        self._tenants: list[Inbox] = []
        self._users = 0
        self._abandoned = False
        self._ready = threading.Event()
        self.pool = Pool(self)
        self._thread = start_daemon("treadle-engine", self._run)
        self._ready.wait(_LIFT_S)

    @classmethod
    def acquire(cls) -> Engine:
        """The engine of this process; started if nobody uses it yet."""
        with cls._lock:
            engine = cls._shared  # a dying engine takes itself out, without the lock
            if engine is None or not engine._thread.is_alive():
                engine = cls._shared = Engine()
            engine._users += 1
            return engine

    def release(self, *, wait: bool = True) -> None:
        """Give the engine back; the last one to do so ends its threads. Safe from any thread.

        Args:
            wait: let callbacks that are due or under way end first, within reason.
        """
        with Engine._lock:
            self._users -= 1
            last = self._users == 0
            if last and Engine._shared is self:
                Engine._shared = None
        if last and not self._abandoned:
            self.pool.close()
            self.call_soon(self._loop.stop)
            if not self.is_current():
                self._thread.join(_LIFT_S)
            if wait:
                self.pool.join(_LIFT_S)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its loop, for tenants with sockets; to be touched on the engine thread alone."""
        return self._loop

    def is_current(self) -> bool:
        """True on the engine thread."""
        return threading.get_ident() == self._thread.ident

    def admit(
        self,
        handle: Callable[[Any], None],
        crashed: Callable[[BaseException], None],
        refuse: Callable[[Any], None],
    ) -> Inbox:
        """A new tenant's inbox."""
        inbox = Inbox(self, handle, crashed, refuse)
        self._tenants.append(inbox)
        return inbox

    def dismiss(self, inbox: Inbox) -> None:
        """A tenant leaves."""
        if inbox in self._tenants:
            self._tenants.remove(inbox)
        inbox.close()

    def call_soon(self, fn: Callable[[], None]) -> None:
        """Run a short function of ours on the engine thread. Safe from any thread."""
        if self._abandoned:
            return  # a forked child shares the loop's descriptors with its parent
        try:
            self._loop.call_soon_threadsafe(fn)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def call_next(self, fn: Callable[[], None]) -> None:
        """Run a short function of ours when what runs now has ended; on the engine thread only."""
        self._loop.call_soon(fn)

    def call_later(self, delay_s: float, fn: Callable[[], None]) -> None:
        """Run a short function of ours on the engine thread, later. Safe from any thread."""

        def arm() -> None:
            self._loop.call_later(delay_s, fn)

        self.call_soon(arm)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        EngineThread.ident = threading.get_ident()
        EngineThread.offload = self.pool.submit
        self._loop.call_soon(self._ready.set)
        try:
            self._loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - all who depend on us must hear of it
            _log.exception("the engine thread has ended")
            self._die(error)
        finally:
            if EngineThread.ident == threading.get_ident():
                EngineThread.ident = EngineThread.offload = None
            asyncio.set_event_loop(None)
            self._loop.close()
            self._ready.set()

    def _die(self, error: BaseException) -> None:
        """Tell everybody; the next kernel gets a new engine."""
        if Engine._shared is self:
            Engine._shared = None
        self.pool.lose_engine()
        for tenant in list(self._tenants):
            tenant.crash(error)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - where it runs; 50 ms that only a loaded kernel pays
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


#: In a forked child: the parent's engine. To take its loop down would touch the parent's sockets.
_left_alone: list[Engine] = []


def _after_fork() -> None:
    """In a forked child no engine runs: every open future of every kernel says so, at once."""
    renew_lock()
    EngineThread.ident = EngineThread.offload = None
    engine, Engine._shared, Engine._lock = Engine._shared, None, threading.Lock()
    if engine is None:
        return
    engine._abandoned = True
    error = KernelForked(
        f"this process (pid {os.getpid()}) was forked from the one that runs the kernel; only "
        f"the parent can wait for its tasks; start processes by exec, or load a kernel here"
    )
    _left_alone.append(engine)
    for tenant in engine._tenants:
        tenant.crash(error)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
