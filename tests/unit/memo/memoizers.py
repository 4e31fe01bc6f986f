"""Memoizers on a checkpoint in memory, and task records for them."""

from __future__ import annotations

import os
from typing import Any

from tests.unit.memo.fake_log import FakeDisk
from treadle.dataflow.memo._checkpoints import Index, Log
from treadle.dataflow.memoization import BasicMemoizer


class Record:
    """The fields of a task record that a memoizer looks at."""

    def __init__(
        self,
        func: Any,
        *args: Any,
        memoize: bool = True,
        ignore: tuple[str, ...] = (),
        **kwargs: Any,
    ) -> None:
        self.func = func
        self.func_name = func.__name__
        self.args = args
        self.kwargs = kwargs
        self.memoize = memoize
        self.ignore_for_cache = ignore
        self.depends: tuple[Any, ...] = ()
        self.hashsum: str | None = None
        self.checkpoint = False


class FakeMemoizer(BasicMemoizer):
    """A memoizer without a file system."""

    def __init__(self, disk: FakeDisk | None = None, **options: Any) -> None:
        self.disk = disk or FakeDisk()
        super().__init__(**options)

    def _open_log(self) -> Log:
        return self.disk.open_log(self.directory)

    def _open_index(self, directories: list[str]) -> Index:
        return self.disk.open_index(directories)

    @property
    def directory(self) -> str:
        return os.path.join(self._run_dir, "checkpoint")


def started(disk: FakeDisk | None = None, run: str = "000", **options: Any) -> FakeMemoizer:
    """A memoizer that has started; the checkpoints of earlier runs on the disk are given to it."""
    disk = disk or FakeDisk()
    if disk.records and "checkpoint_files" not in options:
        options["checkpoint_files"] = sorted(disk.records)
    memoizer = FakeMemoizer(disk, **options)
    memoizer.start(run_dir=f"/runinfo/{run}", config_run_dir="/runinfo")
    return memoizer


def call(memoizer: Any, func: Any, *args: Any, **kwargs: Any) -> tuple[Any, bool, Any]:
    """Run a task as the kernel would: its result, whether it came from the table, its record."""
    record = kwargs.pop("record", None) or Record(func, *args, **kwargs)
    record.hashsum = memoizer.make_key(record)
    found = memoizer.check_memo(record)
    if found is not None:
        assert found.done()
        return found.result(), True, record
    try:
        result = record.func(*record.args, **record.kwargs)
    except BaseException as error:
        memoizer.update_memo_exception(record, error)
        raise
    memoizer.update_memo_result(record, result)
    return result, False, record
