"""The data manager: finds a provider for each file of a task and lets it do its work.

Two rules. Every task gets its own copies of its files, so that the paths of one are never seen by
another. What the caller passed in, its lists included, is never changed.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from treadle.data_provider.data_future import DataFuture
from treadle.data_provider.files import File, without_password
from treadle.data_provider.fsspec import fsspec_installed, missing_for
from treadle.data_provider.staging import default_staging
from treadle.errors import NoStagingProvider, StagingError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from treadle.data_provider._staging_base import Func, Staging, Submit

__all__ = ["DataManager", "default_staging"]


class DataManager:
    """Stages the files of tasks, by the providers of the executors they run on.

    Args:
        submit: starts a task, as the kernel's method of this name does.
        staging_for: the providers of an executor, by its label; None: `default_staging`.
        working_dir_for: where an executor keeps staged files; None: its current directory.
        internal_label: the executor that runs transfers in this process.
        dfk: the kernel, for providers written for Parsl that ask for it; not used here.
    """

    def __init__(
        self,
        *,
        submit: Submit,
        staging_for: Callable[[str], Sequence[Staging] | None],
        working_dir_for: Callable[[str], str | None],
        internal_label: str = "_treadle_internal",
        dfk: Any = None,
    ) -> None:
        self.submit = submit
        self.internal_label = internal_label
        self.dfk = dfk
        self._staging_for = staging_for
        self._working_dir_for = working_dir_for
        #: Local path to the URL that has it.
        self._places: dict[str, str] = {}

    def working_dir(self, executor: str) -> str | None:
        """Return the directory in which the executor keeps staged files, if it has one."""
        return self._working_dir_for(executor)

    def place(
        self, file: File, executor: str, *, name: str | None = None, absolute: bool = False
    ) -> str:
        """Set `file.local_path` to a path that no other URL has, and return it.

        Args:
            file: a task's own copy.
            executor: label of the executor; its working directory is used.
            name: relative path there; the file's name if None.
            absolute: whether the path must mean the same in every process.
        """
        name = file.filename if name is None else name
        if not name or name.startswith("/") or {"", ".", ".."} & set(name.split("/")):
            raise StagingError(
                f"cannot stage {without_password(file.url)}: {name!r} cannot be the name of a "
                "file below a directory"
            )
        base = self._working_dir_for(executor) or ""
        path = os.path.join(os.path.abspath(base) if absolute else base, name)
        # Two URLs may end in one name; the second gets a directory for itself.
        if self._places.setdefault(os.path.abspath(path), file.url) != file.url:
            own = hashlib.sha256(file.url.encode(errors="surrogateescape")).hexdigest()[:16]
            directory, last = posixpath.split(path)
            path = os.path.join(directory, own, last)
        file.local_path = path
        return path

    def optionally_stage_in(self, input: Any, func: Func, executor: str) -> tuple[Any, Func]:
        """Stage one argument in if it is a file.

        Returns:
            What to pass instead of `input`, and what to call instead of `func`: the same objects
            where there is nothing to do.
        """
        if isinstance(input, DataFuture):
            file = input.file_obj.cleancopy()
            # Done when the other is, but with this task's own copy.
            input = DataFuture(input, file, tid=input.tid)
        elif isinstance(input, File):
            file = input = input.cleancopy()
        else:
            return input, func
        return self.stage_in(file, input, executor), self.replace_task(file, func, executor)

    def stage_in(self, file: File, input: File | DataFuture, executor: str) -> File | DataFuture:
        """Start bringing a task's own copy in; return what the task is to be given."""
        parent = input if isinstance(input, DataFuture) else None
        staged = self._provider_in(file, executor).stage_in(self, executor, file, parent)
        return input if staged is None else staged

    def replace_task(self, file: File, func: Func, executor: str) -> Func:
        """Return `func`, or a function around it that brings the file in."""
        provider = self._provider_in(file, executor)
        return provider.replace_task(self, executor, file, func) or func

    def stage_out(self, file: File, executor: str, app_fu: Future[Any]) -> Future[Any] | None:
        """Arrange that a task's own copy is taken out when `app_fu` is done.

        Returns:
            The future of that, or None if the file is out when the app is done.
        """
        return self._provider_out(file, executor).stage_out(self, executor, file, app_fu)

    def replace_task_stage_out(self, file: File, func: Func, executor: str) -> Func:
        """Return `func`, or a function around it that takes the file out."""
        provider = self._provider_out(file, executor)
        return provider.replace_task_stage_out(self, executor, file, func) or func

    def _providers(self, executor: str) -> Sequence[Staging]:
        own = self._staging_for(executor)
        return default_staging if own is None else own

    def _provider_in(self, file: File, executor: str) -> Staging:
        for provider in self._providers(executor):
            if provider.can_stage_in(file):
                return provider
        raise self._no_provider("in", file, executor)

    def _provider_out(self, file: File, executor: str) -> Staging:
        for provider in self._providers(executor):
            if provider.can_stage_out(file):
                return provider
        raise self._no_provider("out", file, executor)

    def _no_provider(self, direction: str, file: File, executor: str) -> StagingError:
        tried = [_described(p) for p in self._providers(executor)]
        have = ", ".join(tried) or "none, as storage_access=[] turns staging off"
        text = (
            f"cannot stage file {without_password(file.url)} {direction}: no provider of executor "
            f"{executor!r} takes the scheme {file.scheme!r} in that direction (it has: {have})"
        )
        if "//" not in file.url:
            text += "; if it is a path with a colon, pass a pathlib.Path"
        elif self._staging_for(executor) is None and not fsspec_installed():
            text += f"; {missing_for(file.scheme)}"
        else:
            text += "; add one that does to the executor's storage_access"
        return NoStagingProvider(text)


def _described(provider: Staging) -> str:
    # Those written for Parsl need not inherit from ours.
    schemes = getattr(provider, "schemes", ())
    name = type(provider).__name__
    return f"{name} for {', '.join(schemes)}" if schemes else name
