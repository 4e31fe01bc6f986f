"""What the kernel asks of an executor.

Only `start`, `submit` and `shutdown` must be written; the rest has defaults that work, so that an
executor for anything that can call a function is ten lines. An executor whose `submit` takes no
parameter `resource_specification` is called without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from treadle.data_provider.staging import Staging


class ParslExecutor(ABC):
    """An executor: it takes calls and gives futures.

    Attributes:
        label: a name for people, unique within a kernel; an executor must have it.
        storage_access: the staging providers for files of its tasks; None: the default ones.
        working_dir: where its relative staged files go; None: the current directory.
        pickles_tasks: True if calls leave the process: the kernel then pickles each task once,
            finds what cannot be pickled, and submits a callable that holds the bytes.
    """

    label: str = "undefined"
    storage_access: list[Staging] | None = None
    working_dir: str | None = None
    pickles_tasks: bool = False
    #: The kernel may call `submit` on its own thread: it is quick and runs no foreign code.
    submits_quickly: bool = False

    _exception: BaseException | None = None
    _run_dir: str = "."
    _run_id: str = ""
    _tasks: dict[object, Future[Any]]

    @abstractmethod
    def start(self) -> None:
        """Start; called once, before the first `submit`."""

    @abstractmethod
    def submit(
        self,
        func: Callable[..., Any],
        resource_specification: dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> Future[Any]:
        """Call `func(*args, **kwargs)` somewhere, some time; the future is its outcome.

        Raises:
            InvalidResourceSpecification: it has keys that this executor cannot honour.
            BaseException: whatever it raises is the outcome of the attempt.
        """

    @abstractmethod
    def shutdown(self, block: bool = True) -> bool | None:
        """End: what was submitted may end first; nothing is left behind."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()

    # --- what the kernel tells it -----------------------------------------------------------------

    @property
    def run_dir(self) -> str:
        """The directory of the run, for the executor's files and logs."""
        return self._run_dir

    @run_dir.setter
    def run_dir(self, value: str) -> None:
        self._run_dir = value

    @property
    def run_id(self) -> str:
        """The identity of the run, unique for ever."""
        return self._run_id

    @run_id.setter
    def run_id(self, value: str) -> None:
        self._run_id = value

    # --- tasks and bad states -----------------------------------------------------------------------

    @property
    def tasks(self) -> Mapping[object, Future[Any]]:
        """The futures of the tasks that it has been given and that have not ended."""
        return self._known()

    def _known(self) -> dict[object, Future[Any]]:
        try:
            return self._tasks
        except AttributeError:
            self._tasks = {}
            return self._tasks

    @property
    def bad_state_is_set(self) -> bool:
        """True once it is irrecoverably bad; `executor_exception` says why."""
        return self._exception is not None

    @property
    def executor_exception(self) -> BaseException | None:
        """Why it is in an irrecoverable state; None if it is not."""
        return self._exception

    def set_bad_state_and_fail_all(self, exception: BaseException) -> None:
        """Mark it as irrecoverably bad: all its tasks, now and in future, fail with this."""
        self._exception = exception
        for future in list(self._known().values()):
            try:
                future.set_exception(exception)
            except InvalidStateError:
                continue  # it ended first

    # --- blocks: an executor without any has nothing to scale ------------------------------------

    @property
    def scaling_enabled(self) -> bool:
        """True if it can grow and shrink by blocks."""
        return False

    def scale_out(self, blocks: int = 1) -> list[str]:
        """Start blocks of workers; returns their ids. Without blocks: none."""
        return []

    def scale_in(self, blocks: int = 1) -> list[str]:
        """End blocks of workers; returns their ids. Without blocks: none."""
        return []

    def status(self) -> dict[str, Any]:
        """The status of its blocks by id. Without blocks: empty."""
        return {}

    @property
    def status_polling_interval(self) -> float:
        """Seconds between polls of `status`; 0: it is not polled."""
        return 0

    @property
    def outstanding(self) -> int:
        """How many tasks it has been given that have not ended."""
        return len(self._known())

    # --- monitoring ---------------------------------------------------------------------------------

    hub_address: str | None = None
    hub_port: int | None = None

    def monitor_resources(self) -> bool:
        """Whether what its tasks use should be measured: False where tasks share a process."""
        return False
