"""Tasks in processes of their own: on this machine, or on blocks that a provider starts.

Arguments are copies that are taken when a task is submitted. Results stay where they were made
until somebody asks for them: a task that needs another's result gets it from there. Large values
are in memory that processes share; in tasks they are read-only.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from treadle.cluster._calls import CallPacker
from treadle.cluster._homes import NodeHome
from treadle.cluster._ledger import CALLS
from treadle.cluster._options import (
    DEFAULTS,
    check_options,
    check_platform,
    node_settings,
    slots_here,
    worker_settings,
)
from treadle.cluster._resources import options_of
from treadle.cluster._session import Session
from treadle.cluster._world import world_here
from treadle.dataflow._lazy import LazyFuture
from treadle.dataflow._sink import Listener, SinkOutcome, SinkTask, TaskSink
from treadle.executors._cluster_blocks import CONNECTION, ClusterOfBlocks
from treadle.repr import RepresentationMixin

if TYPE_CHECKING:
    from concurrent.futures import Future

    from treadle.cluster._resources import Asked
    from treadle.cluster._settings import NodeSettings
    from treadle.data_provider.staging import Staging
    from treadle.executors.status_handling import ErrorHandler
    from treadle.providers import ExecutionProvider
    from treadle.wire import Options

#: How long its scheduler may take to start before a client that wants to know where it is gives up.
_HELLO_S = 10.0


class CallFuture(LazyFuture[Any]):
    """The future of a call that was submitted on its own."""

    __slots__ = ("_number", "_stop")

    def __init__(self, number: int, stop: Callable[[int], None]) -> None:
        LazyFuture.__init__(self)
        self._number = number
        self._stop = stop

    def cancel(self) -> bool:
        """Cancel the call; if it runs, what runs is stopped."""
        if self._finish(CANCELLED_AND_NOTIFIED, None, None):
            self._stop(self._number)
        return self.cancelled()


class ClusterExecutor(ClusterOfBlocks, RepresentationMixin):
    """Runs tasks in processes of their own.

    Without a provider these are on this machine, and end with the program, however it ends. With
    one, the provider starts blocks of workers, on other machines if it likes.

    Args:
        label: its name, unique within a kernel.
        slots: how many tasks a worker runs at once; None: as many as its cores allow.
        cores_per_slot: cores of each; how many threads numeric libraries use there.
        memory_per_slot: most memory of a task that asks for none itself (MB, or '2 GB'); None: no
            limit.
        memory_limit: memory that tasks which ask for some may have together; None: any.
        store_limit: memory for results, before some go to disk; None: half of what there is.
        spill_directory: where they go then; None: the system's place for temporary files.
        recycle_bytes: a slot that has grown by so much is replaced between two tasks.
        resources: more of what tasks may ask for: amounts by name.
        accelerators: how many there are, or their names; each slot sees one.
        cpu_affinity: 'none', 'block', 'alternating' or 'list:...'.
        preload: modules that tasks have from the start.
        environment: variables that tasks see.
        address: where other machines reach this one; None: found out.
        interface: the network interface to use; None: any.
        port_range: (lowest, highest) port to listen at; None: any that is free.
        heartbeat_period: how often workers on other machines say that they are alive, in seconds.
        lease: after so many seconds of silence such a worker is given up.
        prefetch: seconds of work that a worker is given ahead.
        walltime: seconds that an attempt of a task may take, unless it asks for another; None: any.
        deaths: a task that was involved in so many deaths of processes has failed.
        drain_period: seconds that a block's tasks may go on when it is to end.
        provider: starts blocks of workers; None: one worker on this machine.
        block_error_handler: see `BlockProviderExecutor`.
        storage_access: staging providers; None: the default ones; []: none.
        working_dir: where relative staged files go.
        echo: write what tasks print.
        validate: check the scheduler's books after each step; slow.
    """

    pickles_tasks = False
    submits_quickly = False

    def __init__(
        self,
        label: str = "cluster",
        *,
        slots: int | None = None,
        cores_per_slot: float = 1,
        memory_per_slot: float | str | None = None,
        memory_limit: float | str | None = None,
        store_limit: float | str | None = None,
        spill_directory: str | None = None,
        recycle_bytes: int = 1 << 30,
        resources: Mapping[str, float] | None = None,
        accelerators: int | Sequence[str] = 0,
        cpu_affinity: str = "none",
        preload: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        address: str | None = None,
        interface: str | None = None,
        port_range: tuple[int, int] | None = None,
        heartbeat_period: float = 3.0,
        lease: float = 12.0,
        prefetch: float = 0.005,
        walltime: float | None = None,
        deaths: int = 3,
        drain_period: float = 30.0,
        provider: ExecutionProvider | None = None,
        block_error_handler: bool | ErrorHandler = True,
        storage_access: list[Staging] | None = None,
        working_dir: str | None = None,
        echo: bool = True,
        validate: bool = False,
    ) -> None:
        given = dict(locals())
        options = {name: given[name] for name in DEFAULTS}
        check_platform("ClusterExecutor")
        check_options("ClusterExecutor", label, options)
        super().__init__(provider=provider, block_error_handler=block_error_handler)
        self.label = label
        self.storage_access = storage_access
        self._keep(options)

    def _keep(self, options: dict[str, Any]) -> None:
        """Each option is an attribute, too."""
        for name, value in options.items():
            setattr(self, name, value)
        self._options = options
        self._cores_per_slot = float(options["cores_per_slot"])
        self._walltime_s: float | None = options["walltime"]
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._home: NodeHome | None = None
        self._packer: CallPacker | None = None
        self._is_shut_down = False
        self._numbers = count(CALLS)
        #: Futures of calls that have not ended.
        self._calls: dict[int, CallFuture] = {}
        #: What a task asks for that asks for nothing, by its retries.
        self._plain: dict[float, Options | Asked] = {}

    # --- its life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the scheduler, and the worker if there is no provider; does not wait for them.

        Raises:
            ConfigurationError: no process can be started here.
        """
        with self._lock:
            if self._session is not None:
                return
            name = f"{self.label}-{os.getpid()}-{secrets.token_hex(3)}"
            run = secrets.token_hex(8)
            self._home = NodeHome(run, partial(self._node, run, name), is_local=self._all_here)
            world = world_here()
            session = Session(self._home, name=name, world=world, echo=bool(self._options["echo"]))
            session.call_listener = self._ended
            try:
                session.start()
            except BaseException:
                session.close(bring=False)
                raise
            self._packer = CallPacker(session.depot)
            self._session = session
            self._is_shut_down = False
            home = self._home
            self._open_blocks(session, lambda: self._place(home.directory))

    def shutdown(self, block: bool = True) -> bool:
        """End: calls that were submitted end first, or are cancelled if it is not to block."""
        with self._lock:
            session, self._session = self._session, None
            self._is_shut_down = True
        if session is None:
            return True
        for future in list(self._calls.values()):
            if block and session.dead is None:
                _wait(future)
            else:
                future.cancel()
        if self._provider is not None:
            self.end_blocks()
        session.close()
        return True

    def cancel_queued(self) -> None:
        """Cancel all calls that have not ended."""
        for future in list(self._calls.values()):
            future.cancel()

    def _node(self, run: str, owner: str, directory: str) -> NodeSettings:
        """The settings of a node that is about to start."""
        log_dir = self._place(directory)
        worker = None
        if self._provider is None:
            slots = slots_here(self._options["slots"], self._cores_per_slot)
            id = f"{self.label}-{socket.gethostname()}"[:200]
            worker = worker_settings(self._options, id=id, slots=slots, log_dir=log_dir)
        settings = node_settings(
            self._options,
            run=run,
            run_dir=directory,
            log_dir=log_dir,
            owner=owner,
            worker=worker,
            connection_file=os.path.join(log_dir, CONNECTION),
            closed=worker is not None,
        )
        return self._for_blocks(settings)

    def _place(self, directory: str) -> str:
        """Where the files are that others look at: in the run directory, if there is one."""
        if self._run_dir == ".":
            return directory
        place = os.path.join(os.path.abspath(self._run_dir), self.label)
        os.makedirs(place, exist_ok=True)
        return place

    # --- tasks -----------------------------------------------------------------------------------

    def submit(
        self,
        func: Callable[..., Any],
        resource_specification: dict[str, Any] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> CallFuture:
        """Call `func(*args, **kwargs)` in one of the processes.

        Raises:
            InvalidResourceSpecification: it has keys or values that cannot be honoured.
            SerializationError: something cannot be pickled; the text has the path.
            RuntimeError: the executor does not run.
        """
        if self._exception is not None:
            raise self._exception
        session, packer = self._running()
        options = self.options(resource_specification or {}, 0)
        writable = getattr(func, "__dict__", {}).get("writable") is True
        call = packer.pack(func, args, kwargs, writable=writable)
        if self._provider is not None:
            self._call_for_blocks(session)
        number = next(self._numbers)
        future = CallFuture(number, self._stop)
        self._calls[number] = future
        session.admit_one(SinkTask(number, _name_of(func), call, (), options))
        if self._session is not session:  # it was shut down meanwhile
            future.cancel()
        return future

    @property
    def connection_file(self) -> str:
        """What clients are given as an address to work with this cluster; empty if it does not run.

        Raises:
            TimeoutError: its scheduler does not start.
        """
        session, home = self._session, self._home
        if session is None or home is None:
            return ""
        session.wait_until_welcome(_HELLO_S)
        return os.path.join(self._place(home.directory), CONNECTION)

    def options(self, specification: Mapping[str, Any], retries: float) -> Options | Asked:
        """See `TaskSink.options`."""
        if not specification:
            known = self._plain.get(retries)
            if known is not None:
                return known
        options = options_of(
            specification,
            cores_per_slot=self._cores_per_slot,
            retries=retries,
            walltime_s=self._walltime_s,
            executor=self,
        )
        if not specification and len(self._plain) < 1000:
            self._plain[retries] = options
        return options

    def open_sink(self, listener: Listener) -> TaskSink:
        """Take tasks whose arguments name results of other tasks: see `treadle.dataflow._sink`."""
        session, packer = self._running()
        session.listener = listener
        return _Sink(self, session, packer)

    def _running(self) -> tuple[Session, CallPacker]:
        session, packer = self._session, self._packer
        if session is None or packer is None:
            how = "has been shut down" if self._is_shut_down else "has not been started"
            raise RuntimeError(f"executor {self.label!r} {how}")
        if session.dead is not None:
            raise session.dead
        return session, packer

    def _stop(self, number: int) -> None:
        session = self._session
        if self._calls.pop(number, None) is not None and session is not None:
            session.cancel([session.base + number])

    def _ended(self, outcomes: Sequence[SinkOutcome]) -> None:
        """On the engine thread: calls have ended. What they return is loaded on the pool."""
        for outcome in outcomes:
            future = self._calls.get(outcome.id)
            session = self._session
            if future is None:
                continue
            if outcome.cancelled:
                del self._calls[outcome.id]
                future._finish(CANCELLED_AND_NOTIFIED, None, None)
            elif session is not None and session.dead is None:
                session.engine.pool.submit(partial(self._settle, session, future, outcome))
            else:
                self._settle(None, future, outcome)

    def _settle(self, session: Session | None, future: CallFuture, outcome: SinkOutcome) -> None:
        """On the pool: settle the future of a call."""
        result: Any = None
        error: BaseException | None = None
        try:
            if outcome.error is not None:
                error = outcome.error()
            elif outcome.value is not None:
                result = outcome.value.load()
        except BaseException as failure:  # noqa: BLE001 - loading runs code of the user's
            error = failure
        self._calls.pop(outcome.id, None)
        if session is not None:
            session.drop([session.base + outcome.id])
        future._finish(FINISHED, result, error)

    # --- what it is ------------------------------------------------------------------------------

    @property
    def tasks(self) -> Mapping[object, Future[Any]]:
        """The futures of what it has been given and has not ended: the kernel's own of its tasks,
        by their numbers, and those that `submit` returned."""
        of_kernel: Mapping[Any, Future[Any]] = getattr(self, "kernel_tasks", {})
        return ChainMap(dict(self._calls), of_kernel)  # type: ignore[arg-type]

    @property
    def outstanding(self) -> int:
        """How many tasks it has been given that have not ended."""
        session = self._session
        return 0 if session is None else session.ledger.open

    def set_bad_state_and_fail_all(self, exception: BaseException) -> None:
        """Give it up: all its tasks, now and in future, fail with this."""
        super().set_bad_state_and_fail_all(exception)
        session = self._session
        if session is not None:
            session.give_up(exception)


class _Sink:
    """The executor as a sink of tasks with references."""

    __slots__ = ("_executor", "_session", "admit", "options", "pack", "pack_rows")

    def __init__(self, executor: ClusterExecutor, session: Session, packer: CallPacker) -> None:
        self._executor = executor
        self._session = session
        # What is called for each task is not wrapped once more.
        self.pack = packer.pack
        self.pack_rows = packer.pack_rows
        self.options = executor.options
        self.admit = session.admit if executor.provider is None else self._admit

    def _admit(self, tasks: Sequence[SinkTask]) -> None:
        """See `TaskSink`; with blocks, which may have to come first."""
        self._executor._call_for_blocks(self._session)
        self._session.admit(tasks)

    def release(self, ids: Sequence[int]) -> None:
        """See `TaskSink`."""
        base = self._session.base
        self._session.drop([base + number for number in ids])

    def cancel(self, ids: Sequence[int]) -> None:
        """See `TaskSink`."""
        base = self._session.base
        self._session.cancel([base + number for number in ids])


def _name_of(func: Any) -> str:
    name = getattr(func, "__name__", None)
    return (name if isinstance(name, str) else type(func).__name__)[:512]


def _wait(future: LazyFuture[Any]) -> None:
    try:
        future.exception()
    except BaseException as error:  # a cancellation is an end, too; Ctrl-C is for the program
        if isinstance(error, KeyboardInterrupt):
            raise
