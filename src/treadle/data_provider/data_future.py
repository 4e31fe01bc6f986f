"""`DataFuture`: the future of one file."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from treadle.data_provider.files import File
from treadle.dataflow.futures import LazyFuture

if TYPE_CHECKING:
    from concurrent.futures import Future


class DataFuture(LazyFuture[File]):
    """Resolves to a `File` when what makes it is done; fails and is cancelled with it.

    One stands in `app_future.outputs` for each file in `outputs`. Given to another app, it is a
    dependency, and the app receives the file.

    Args:
        parent: the future of the task that makes or moves the file.
        file_obj: the file that is the result.
        tid: the id of the task that makes the file, if any.
    """

    __slots__ = ("file_obj", "parent", "tid")

    def __init__(self, parent: Future[Any], file_obj: File, tid: int | None = None) -> None:
        super().__init__()
        if not isinstance(file_obj, File):
            raise TypeError(f"a DataFuture is of a File, not {type(file_obj).__name__}")
        self.parent = parent
        self.file_obj = file_obj
        self.tid = tid
        # A task's own future has a way to tell the engine's parts that goes round the pool for
        # users' callbacks; other futures have the ordinary one.
        attach = getattr(type(parent), "add_listener", None)
        if attach is None:
            parent.add_done_callback(self._follow)
        else:
            attach(parent, self._follow)

    @property
    def filepath(self) -> str:
        """The path of the file in the task that makes it."""
        return self.file_obj.filepath

    @property
    def filename(self) -> str:
        """The same as `filepath`, as programs expect it; `file_obj.filename` is the last part."""
        return self.filepath

    def cancel(self) -> bool:
        """Cancel what makes the file; return whether that could be done."""
        return self.parent.cancel()

    def __await__(self) -> Generator[Any, None, File]:
        import asyncio  # noqa: PLC0415 - heavy, and programs that await have it already

        return asyncio.wrap_future(self).__await__()

    def __copy__(self) -> DataFuture:
        return self

    def __deepcopy__(self, memo: object) -> DataFuture:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "a DataFuture belongs to this process and cannot be pickled; pass it to an app as an "
            "argument of its own or in inputs=[...], or pass its file_obj"
        )

    def _follow(self, parent: Future[Any]) -> None:
        if parent.cancelled():
            super().cancel()
            self.set_running_or_notify_cancel()
        elif (error := parent.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(self.file_obj)

    def __repr__(self) -> str:
        state = "done" if self.done() else "pending"
        made_by = "" if self.tid is None else f" of task {self.tid}"
        return f"<DataFuture {state}{made_by}: {self.file_obj!r}>"
