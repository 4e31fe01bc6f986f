"""A kernel that runs each task where it is submitted, and remembers what it was given."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest


@dataclass
class Submitted:
    """One call of `submit`."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    executors: Any
    cache: bool
    ignore_for_cache: Any
    kwargs: dict[str, Any]
    join: bool


class InlineKernel:
    """Runs tasks at once; with `hold=True` it leaves them to the test."""

    def __init__(self, *, hold: bool = False) -> None:
        self.calls: list[Submitted] = []
        self.futures: list[Future[Any]] = []
        self.hold = hold

    def submit(
        self,
        func: Callable[..., Any],
        app_args: Sequence[Any],
        executors: Any = "all",
        cache: bool = False,
        ignore_for_cache: Any = None,
        app_kwargs: dict[str, Any] | None = None,
        join: bool = False,
    ) -> Any:
        kwargs = {} if app_kwargs is None else app_kwargs
        call = Submitted(func, tuple(app_args), executors, cache, ignore_for_cache, kwargs, join)
        self.calls.append(call)
        future: Future[Any] = Future()
        self.futures.append(future)
        if not self.hold:
            try:
                future.set_result(func(*app_args, **kwargs))
            except BaseException as error:
                future.set_exception(error)
        return future

    @property
    def last(self) -> Submitted:
        return self.calls[-1]


def use_as_loaded(monkeypatch: pytest.MonkeyPatch, kernel: Any) -> None:
    """Make the kernel the one that `treadle.load()` would have loaded; None for no kernel."""
    import treadle.app._base as base
    from treadle.errors import NoDataFlowKernelError

    class Loader:
        @staticmethod
        def dfk() -> Any:
            if kernel is None:
                raise NoDataFlowKernelError("no kernel is loaded; call treadle.load() first")
            return kernel

    module = ModuleType("treadle.dataflow.dflow")
    module.DataFlowKernelLoader = Loader  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "treadle.dataflow.dflow", module)
    monkeypatch.setattr(base, "_loaded_kernel", None)
