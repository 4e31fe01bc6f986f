"""What staging makes of the call of an app. The kernel's one door to this package."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from treadle.data_provider.data_future import DataFuture
from treadle.data_provider.files import File

if TYPE_CHECKING:
    from concurrent.futures import Future

    from treadle.data_provider._staging_base import Func
    from treadle.data_provider.data_manager import DataManager

_FILES = (File, DataFuture)
_STREAMS = ("stdout", "stderr")


@dataclass(slots=True)
class PreparedFiles:
    """The call with the task's own files in it, and the futures of what it writes."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    func: Func
    #: One for each file in `outputs`, in order.
    outputs: list[DataFuture] = field(default_factory=list)
    #: Where a `File` was given for the stream.
    stdout: DataFuture | None = None
    stderr: DataFuture | None = None


def prepare_files(
    dm: DataManager,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    func: Func,
    executor: str,
    app_fu: Future[Any],
    tid: int | None,
) -> PreparedFiles | None:
    """Stage all files of a call; neither `args` nor `kwargs` nor a list in them is changed.

    Stage-in tasks, and stage-out tasks that wait for `app_fu`, are submitted before this returns.

    Returns:
        None if there is no file in the call, which is then to be used as it is.

    Raises:
        StagingError: no provider of the executor takes one of the files.
        TypeError: `outputs` is not a list or tuple of files and paths.
    """
    for value in args:
        if isinstance(value, _FILES):
            break
    else:
        if not kwargs or not _any_file(kwargs):
            return None
    call = PreparedFiles(tuple(args), dict(kwargs), func)
    if kwargs.get("_parsl_staging_inhibit"):
        outputs = _as_files(kwargs.get("outputs"), func)
        call.outputs = [DataFuture(app_fu, file, tid) for file in outputs]
        return call
    _stage_in(dm, call, executor)
    _stage_out(dm, call, executor, app_fu, tid)
    return call


def unstaged_outputs(
    kwargs: Mapping[str, Any], app_fu: Future[Any], tid: int | None
) -> list[DataFuture]:
    """Return the futures of a call that could not be prepared: they fail when `app_fu` does.

    So a program that goes on from `future.outputs[0]` meets the reason, not an empty list.
    """
    outputs = kwargs.get("outputs")
    files = outputs if isinstance(outputs, (list, tuple)) else ()
    return [
        DataFuture(app_fu, file if isinstance(file, File) else File(file), tid)
        for file in files
        if isinstance(file, os.PathLike) or (isinstance(file, str) and file)
    ]


def _any_file(kwargs: Mapping[str, Any]) -> bool:
    for name, value in kwargs.items():
        if isinstance(value, _FILES):
            return True
        if name == "outputs" and not (value is None or _empty(value)):
            return True
        if name == "inputs" and isinstance(value, (list, tuple)):
            for item in value:
                if isinstance(item, _FILES):
                    return True
    return False


def _empty(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and not value


def _stage_in(dm: DataManager, call: PreparedFiles, executor: str) -> None:
    def staged(value: Any) -> Any:
        if not isinstance(value, _FILES):
            return value
        value, call.func = dm.optionally_stage_in(value, call.func, executor)
        return value

    call.args = tuple(staged(value) for value in call.args)
    for name, value in call.kwargs.items():
        if name == "inputs" and isinstance(value, (list, tuple)):
            items = [staged(item) for item in value]
            call.kwargs[name] = items if isinstance(value, list) else tuple(items)
        elif name != "outputs" and name not in _STREAMS:
            call.kwargs[name] = staged(value)


def _stage_out(
    dm: DataManager, call: PreparedFiles, executor: str, app_fu: Future[Any], tid: int | None
) -> None:
    def staged(file: File) -> DataFuture:
        own = file.cleancopy()
        moved = dm.stage_out(own, executor, app_fu)
        call.func = dm.replace_task_stage_out(own, call.func, executor)
        return DataFuture(app_fu if moved is None else moved, own, tid)

    given = call.kwargs.get("outputs")
    call.outputs = [staged(file) for file in _as_files(given, call.func)]
    if call.outputs:
        files = [future.file_obj for future in call.outputs]
        call.kwargs["outputs"] = files if isinstance(given, list) else tuple(files)
    for name in _STREAMS:
        stream = call.kwargs.get(name)
        if isinstance(stream, File):
            future = staged(stream)
            call.kwargs[name] = future.file_obj
            setattr(call, name, future)


def _as_files(outputs: Any, func: Func) -> list[File]:
    app = getattr(func, "__name__", repr(func))
    if outputs is None:
        return []
    if not isinstance(outputs, (list, tuple)):
        raise TypeError(
            f"outputs of {app} takes a list of files, as in outputs=[File('out.txt')], not "
            f"{type(outputs).__name__}: {outputs!r}"
        )
    for item in outputs:
        if not isinstance(item, (str, os.PathLike)):
            raise TypeError(
                f"outputs of {app} takes File, str and os.PathLike, not "
                f"{type(item).__name__}: {item!r}"
            )
    return [item if isinstance(item, File) else File(item) for item in outputs]
