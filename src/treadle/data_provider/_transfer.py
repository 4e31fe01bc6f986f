"""The two ways in which a file travels: by a task of its own, or inside the task that uses it.

A provider brings a `Transfer`, which knows one protocol and nothing of tasks, and inherits from
`SeparateTask` or `InTask`, which know tasks and no protocol.
"""

from __future__ import annotations

import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from treadle.data_provider._staging_base import Func, Staging, StagingPort
from treadle.data_provider.atomic import atomic_path
from treadle.data_provider.data_future import DataFuture
from treadle.data_provider.files import File, without_password
from treadle.errors import StagingError, TreadleError

if TYPE_CHECKING:
    from concurrent.futures import Future


class Transfer(Protocol):
    """One protocol. Travels to where it runs, so it is small and can be pickled."""

    def fetch(self, file: File, target: str) -> None:
        """Write the file to the path `target`, which nobody else sees yet."""

    def store(self, source: str, file: File) -> None:
        """Put what is at the path `source` at the file's URL, whole or not at all."""


def fetch_file(
    transfer: Transfer, file: File, parent: object = None, _parsl_staging_inhibit: bool = True
) -> None:
    """Bring a file in; the body of a stage-in task."""
    with (
        _told_as(f"cannot stage in {without_password(file.url)} to {file.filepath}"),
        atomic_path(file.filepath) as temporary,
    ):
        transfer.fetch(file, temporary)


def store_file(
    transfer: Transfer, file: File, app_result: object = None, _parsl_staging_inhibit: bool = True
) -> None:
    """Take a file out; the body of a stage-out task."""
    what = f"cannot stage out {file.filepath} to {without_password(file.url)}"
    with _told_as(what):
        if not os.path.exists(file.filepath):
            raise StagingError(
                f"{what}: the app did not write it; it has to write to outputs[i].filepath"
            )
        transfer.store(file.filepath, file)


@contextmanager
def _told_as(what: str) -> Iterator[None]:
    try:
        yield
    except TreadleError:
        raise
    except Exception as error:
        raise StagingError(f"{what}: {type(error).__name__}: {error}") from error


class _Moves(Staging, ABC):
    """A provider that moves files by a transfer."""

    @abstractmethod
    def _transfer(self, file: File) -> Transfer:
        """Return what moves this file."""

    def _name(self, file: File) -> str | None:
        """Return the name of the local copy; None for that of the file."""
        return None


class SeparateTask(_Moves):
    """Moves files by tasks of their own.

    They run in this process, beside the engine, and so expect the executor's directory to be
    seen from here; `in_executor` moves them to the executor of the task that uses the file.
    """

    in_executor = False

    def stage_in(
        self, dm: StagingPort, executor: str, file: File, parent_fut: Future[Any] | None
    ) -> DataFuture | None:
        """Submit a task that brings the file in."""
        transfer = self._transfer(file)
        dm.place(file, executor, name=self._name(file), absolute=not self.in_executor)
        task = self._submit(dm, executor, fetch_file, transfer, file, parent_fut)
        return DataFuture(task, file, tid=getattr(task, "tid", None))

    def stage_out(
        self, dm: StagingPort, executor: str, file: File, app_fu: Future[Any]
    ) -> Future[Any] | None:
        """Submit a task that takes the file out when the app is done."""
        transfer = self._transfer(file)
        local = dm.place(file, executor, name=self._name(file), absolute=not self.in_executor)
        if not self.in_executor:
            os.makedirs(os.path.dirname(local), exist_ok=True)
        return self._submit(dm, executor, store_file, transfer, file, app_fu)

    def _submit(
        self,
        dm: StagingPort,
        executor: str,
        func: Func,
        transfer: Transfer,
        file: File,
        after: Future[Any] | None,
    ) -> Future[Any]:
        return dm.submit(
            func,
            (transfer, file, after),
            [executor if self.in_executor else dm.internal_label],
            app_kwargs={"_parsl_staging_inhibit": True},
        )


class InTask(_Moves):
    """Moves files inside the task that uses them, where it runs."""

    def stage_in(
        self, dm: StagingPort, executor: str, file: File, parent_fut: Future[Any] | None
    ) -> DataFuture | None:
        """Say where the file will be; the task waits for nothing more than before."""
        dm.place(file, executor, name=self._name(file))
        return None

    def stage_out(
        self, dm: StagingPort, executor: str, file: File, app_fu: Future[Any]
    ) -> Future[Any] | None:
        """Say where the task is to write the file, which is out when the task is done."""
        dm.place(file, executor, name=self._name(file))
        return None

    def replace_task(self, dm: StagingPort, executor: str, file: File, func: Func) -> Func | None:
        """Return a function that first brings the file in."""
        return FetchFirst(func, self._transfer(file), file)

    def replace_task_stage_out(
        self, dm: StagingPort, executor: str, file: File, func: Func
    ) -> Func | None:
        """Return a function that then takes the file out."""
        return StoreAfterwards(func, self._transfer(file), file)


class WrappedFunc:
    """A function with something done before or after it; for memo keys it is what it wraps."""

    __memo_func__: Func
    __memo_extra__: Any

    def __init__(self, func: Func) -> None:
        # First, because it copies the attributes of `func`, which may be one of these itself.
        functools.update_wrapper(self, func)
        self.__memo_func__ = getattr(func, "__memo_func__", func)
        extra = getattr(func, "__memo_extra__", None)
        if extra is not None:
            self.__memo_extra__ = extra
        self._func = func

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._func(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # What the function can do besides being called, such as ending the command that it runs.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._func, name)


class FetchFirst(WrappedFunc):
    """Brings a file in and calls the function."""

    def __init__(self, func: Func, transfer: Transfer, file: File) -> None:
        super().__init__(func)
        self._move, self._file = transfer, file

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fetch_file(self._move, self._file)
        return self._func(*args, **kwargs)


class StoreAfterwards(WrappedFunc):
    """Calls the function and takes a file out."""

    def __init__(self, func: Func, transfer: Transfer, file: File) -> None:
        super().__init__(func)
        self._move, self._file = transfer, file

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if directory := os.path.dirname(self._file.filepath):
            os.makedirs(directory, exist_ok=True)
        result = self._func(*args, **kwargs)
        store_file(self._move, self._file)
        return result
