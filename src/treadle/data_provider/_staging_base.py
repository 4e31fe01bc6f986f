"""What a staging provider is, and what it may ask of the engine.

A leaf: providers import it, `staging` collects them, so there is no way round in a circle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future

    from treadle.data_provider.data_future import DataFuture
    from treadle.data_provider.files import File

#: Any function of an app; wrapped ones have the same signature.
Func = Callable[..., Any]


class Submit(Protocol):
    """The kernel's `submit`, as far as staging uses it."""

    def __call__(
        self,
        func: Func,
        app_args: Sequence[Any],
        executors: Sequence[str] = ...,
        cache: bool = ...,
        *,
        app_kwargs: Mapping[str, Any] = ...,
    ) -> Future[Any]: ...


class StagingPort(Protocol):
    """What a provider may ask of the data manager that calls it."""

    #: Label of the executor that runs the engine's own small tasks, in this process.
    internal_label: str

    @property
    def submit(self) -> Submit:
        """Start a task."""

    def working_dir(self, executor: str) -> str | None:
        """Return the directory in which the executor keeps staged files, if it has one."""

    def place(
        self, file: File, executor: str, *, name: str | None = None, absolute: bool = False
    ) -> str:
        """Set `file.local_path` to a path that no other URL has, and return it."""


class Staging:
    """A way to bring files in and out; one that does neither unless methods are overridden.

    A provider moves a file either in a task of its own (`stage_in`, `stage_out`) or inside the
    task that uses it (`replace_task`, `replace_task_stage_out`). The `file` it is given is a copy
    made for one task: it sets `file.local_path` to where that task finds the file.
    """

    #: The schemes it takes, for messages; `()` if they cannot be listed.
    schemes: tuple[str, ...] = ()

    def can_stage_in(self, file: File) -> bool:
        """Return whether this provider can bring the file in."""
        return False

    def can_stage_out(self, file: File) -> bool:
        """Return whether this provider can take the file out."""
        return False

    def stage_in(
        self, dm: StagingPort, executor: str, file: File, parent_fut: Future[Any] | None
    ) -> DataFuture | None:
        """Start bringing the file in.

        Args:
            dm: the data manager.
            executor: label of the executor of the task that needs the file.
            file: the task's own copy.
            parent_fut: done when the file exists at its URL; None if it exists already.

        Returns:
            A future of the file that the task is to wait for, or None if there is none.
        """
        return None

    def stage_out(
        self, dm: StagingPort, executor: str, file: File, app_fu: Future[Any]
    ) -> Future[Any] | None:
        """Arrange that the file is taken out when `app_fu` is done.

        Returns:
            A future that is done when the file is at its URL, or None for that of the app.
        """
        return None

    def replace_task(self, dm: StagingPort, executor: str, file: File, func: Func) -> Func | None:
        """Return a function that first brings the file in, or None to leave `func` as it is."""
        return None

    def replace_task_stage_out(
        self, dm: StagingPort, executor: str, file: File, func: Func
    ) -> Func | None:
        """Return a function that then takes the file out, or None to leave `func` as it is."""
        return None
