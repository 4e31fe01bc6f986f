"""Local output files that appear whole, for programs that write where they are told."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from treadle.data_provider._transfer import WrappedFunc
from treadle.data_provider.atomic import temporary_name
from treadle.data_provider.file_noop import NoOpFileStaging

if TYPE_CHECKING:
    from treadle.data_provider._staging_base import Func, StagingPort
    from treadle.data_provider.files import File


class AtomicFileStaging(NoOpFileStaging):
    """Like `NoOpFileStaging`, but an output gets its name when the task has succeeded.

    The app has to write to the path of `outputs[i]`, which is a temporary directory beside the
    target with the same file name; it must not return that path or keep it. What it writes to the
    final name itself is left as it is. A task that fails leaves nothing.
    """

    def replace_task_stage_out(
        self, dm: StagingPort, executor: str, file: File, func: Func
    ) -> Func | None:
        """Return a function that writes to a temporary path and renames it."""
        return _WriteAside(func, file)


class _WriteAside(WrappedFunc):
    def __init__(self, func: Func, file: File) -> None:
        super().__init__(func)
        self._file = file

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outputs: Sequence[File] = kwargs.get("outputs") or ()
        if self._file not in outputs:
            # A stream: what a failed command said is worth keeping.
            return self._func(*args, **kwargs)
        target = self._file.filepath
        directory, name = os.path.split(target)
        # A directory, so that the app sees the file's own name and extension.
        aside = os.path.join(directory, temporary_name(name))
        os.makedirs(aside)
        try:
            own = self._file.cleancopy()
            own.local_path = os.path.join(aside, name)
            redirected = [own if file == own else file for file in outputs]
            kwargs["outputs"] = redirected if isinstance(outputs, list) else tuple(redirected)
            result = self._func(*args, **kwargs)
            if os.path.exists(own.local_path):
                os.replace(own.local_path, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return result
