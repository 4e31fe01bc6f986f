"""Python apps: functions that run as they are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, ParamSpec, TypeVar

from treadle.app._base import App, Kernel
from treadle.app._options import check_flag, name_of
from treadle.app._special import SPECIAL, check_walltime, for_function
from treadle.app.timeout import call_with_walltime

P = ParamSpec("P")
R = TypeVar("R")


class PythonApp(App[P, R]):
    """An app that runs a Python function; made by `python_app`."""

    _kind: ClassVar[str] = "python_app"

    def __init__(
        self,
        func: Callable[..., Any],
        *,
        data_flow_kernel: Kernel | None = None,
        cache: bool = False,
        executors: Sequence[str] = "all",
        ignore_for_cache: Sequence[str] | None = None,
        writable: bool = False,
    ) -> None:
        #: Large arguments are the task's own to write to, also in other processes.
        self.writable = check_flag(self._kind, "writable", writable)
        super().__init__(
            func,
            data_flow_kernel=data_flow_kernel,
            cache=cache,
            executors=executors,
            ignore_for_cache=ignore_for_cache,
        )

    def local(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function here and now, without the engine."""
        result: R = self.func(*args, **kwargs)
        return result

    def _plain_target(self) -> Callable[..., Any]:
        return PythonRunner(self.func, None, writable=True) if self.writable else self.func

    def _special_target(self, call: dict[str, Any]) -> Callable[..., Any]:
        if self.writable:
            return PythonRunner(self.func, self._signature.takes, writable=True)
        return python_target(self.func, self._signature.takes, call)

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "writable": self.writable}


def python_target(
    func: Callable[..., Any], takes: frozenset[str] | None, call: dict[str, Any]
) -> Callable[..., Any]:
    """What runs a Python function called with these keywords: itself, where that will do."""
    if call.get("walltime") is None and (takes is None or SPECIAL & call.keys() <= takes):
        return func
    return PythonRunner(func, takes)


class PythonRunner:
    """Runs a function without the special keywords it does not take, and within its walltime.

    Args:
        func: the user's function.
        takes: the special keywords that it takes; None: all.
        writable: large arguments are its own to write to, also in other processes.
    """

    def __init__(
        self, func: Callable[..., Any], takes: frozenset[str] | None, *, writable: bool = False
    ) -> None:
        functools.update_wrapper(self, func)
        #: What identifies the call for the memo table: the user's function, not this object.
        self.__memo_func__ = func
        self.__memo_extra__ = ""
        self.func = func
        self.takes = takes
        self.writable = writable

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the function.

        Raises:
            AppTimeout: it ran longer than `walltime` seconds.
        """
        walltime = kwargs.get("walltime")
        own = for_function(self.takes, kwargs)
        if walltime is None:
            return self.func(*args, **own)
        name = name_of(self.func)
        limit_s = check_walltime(name, "walltime", walltime)
        return call_with_walltime(self.func, args, own, limit_s=limit_s, name=name)

    def __treadle_runner__(
        self, kwargs: dict[str, Any]
    ) -> tuple[Callable[..., Any], dict[str, Any], float | None, bool]:
        """The call for who keeps its walltime for us: the user's function, and what it gets."""
        walltime = kwargs.get("walltime")
        if walltime is not None and (type(walltime) is not float or walltime <= 0):
            return self, kwargs, None, self.writable  # a future: its value is looked at there
        return self.func, for_function(self.takes, kwargs), walltime, self.writable

    def __reduce__(self) -> Any:
        return PythonRunner, (self.func, self.takes)

    def __repr__(self) -> str:
        return f"<run {self.func!r}>"
