"""The three decorators that turn functions into apps.

Each works bare (`@python_app`) and with options (`@python_app(cache=True)`). The options are
checked when the function is decorated, so that a wrong one is an error of the line that has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from treadle.app.bash import BashApp
from treadle.app.join import JoinApp
from treadle.app.python import PythonApp

if TYPE_CHECKING:
    from concurrent.futures import Future

    from treadle.app._base import Kernel
    from treadle.dataflow.futures import AppFuture

#: What `executors=` may be. A bare label is a string too, and a mistake that a checker can see.
Executors: TypeAlias = Literal["all"] | list[str] | tuple[str, ...]
Names: TypeAlias = list[str] | tuple[str, ...]

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["bash_app", "join_app", "python_app"]


class PythonAppDecorator(Protocol):
    """What `python_app(...)` returns when it is given options only."""

    def __call__(self, function: Callable[P, R], /) -> PythonApp[P, R]: ...


class BashAppDecorator(Protocol):
    """What `bash_app(...)` returns when it is given options only."""

    def __call__(self, function: Callable[P, str], /) -> BashApp[P]: ...


class JoinAppDecorator(Protocol):
    """What `join_app(...)` returns when it is given options only."""

    @overload
    def __call__(self, function: Callable[P, AppFuture[R]], /) -> JoinApp[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, list[AppFuture[R]]], /) -> JoinApp[P, list[R]]: ...
    @overload
    def __call__(self, function: Callable[P, Future[R]], /) -> JoinApp[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, list[Future[R]]], /) -> JoinApp[P, list[R]]: ...


@overload
def python_app(
    function: Callable[P, R],
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    executors: Executors = "all",
    ignore_for_cache: Names | None = None,
    writable: bool = False,
) -> PythonApp[P, R]: ...
@overload
def python_app(
    function: None = None,
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    executors: Executors = "all",
    ignore_for_cache: Names | None = None,
    writable: bool = False,
) -> PythonAppDecorator: ...
def python_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    executors: Executors = "all",
    ignore_for_cache: Names | None = None,
    writable: bool = False,
) -> Any:
    """Make a Python function an app: a call returns a future at once and runs as a task.

    Args:
        function: the function, when the decorator is used without parentheses.
        data_flow_kernel: the kernel to run on; by default the one loaded at the time of a call.
        cache: whether equal calls may be served from the memo table.
        executors: `'all'`, or the labels of the executors that a call may run on.
        ignore_for_cache: names of arguments that do not make two calls different.
        writable: large arguments, which other processes get read-only, are a task's own to write
            to; what it writes is seen by nobody else.

    Raises:
        ConfigurationError: an option is not one of these values.
    """

    def decorate(func: Callable[..., Any]) -> PythonApp[..., Any]:
        return PythonApp(
            func,
            data_flow_kernel=data_flow_kernel,
            cache=cache,
            executors=executors,
            ignore_for_cache=ignore_for_cache,
            writable=writable,
        )

    return decorate if function is None else decorate(function)


@overload
def bash_app(
    function: Callable[P, str],
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    executors: Executors = "all",
    ignore_for_cache: Names | None = None,
) -> BashApp[P]: ...
@overload
def bash_app(
    function: None = None,
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    executors: Executors = "all",
    ignore_for_cache: Names | None = None,
) -> BashAppDecorator: ...
def bash_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    executors: Executors = "all",
    ignore_for_cache: Names | None = None,
) -> Any:
    """Make a function that returns a command line an app that runs the command with bash.

    The future's result is 0; a command that fails ends it with `BashExitFailure`.

    Args:
        function: the function, when the decorator is used without parentheses.
        data_flow_kernel: the kernel to run on; by default the one loaded at the time of a call.
        cache: whether equal calls may be served from the memo table.
        executors: `'all'`, or the labels of the executors that a call may run on.
        ignore_for_cache: names of arguments that do not make two calls different.

    Raises:
        ConfigurationError: an option is not one of these values.
    """

    def decorate(func: Callable[..., Any]) -> BashApp[...]:
        return BashApp(
            func,
            data_flow_kernel=data_flow_kernel,
            cache=cache,
            executors=executors,
            ignore_for_cache=ignore_for_cache,
        )

    return decorate if function is None else decorate(function)


@overload
def join_app(
    function: Callable[P, AppFuture[R]],
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    ignore_for_cache: Names | None = None,
) -> JoinApp[P, R]: ...
@overload
def join_app(
    function: Callable[P, list[AppFuture[R]]],
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    ignore_for_cache: Names | None = None,
) -> JoinApp[P, list[R]]: ...
@overload
def join_app(
    function: Callable[P, Future[R]],
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    ignore_for_cache: Names | None = None,
) -> JoinApp[P, R]: ...
@overload
def join_app(
    function: Callable[P, list[Future[R]]],
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    ignore_for_cache: Names | None = None,
) -> JoinApp[P, list[R]]: ...
@overload
def join_app(
    function: None = None,
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    ignore_for_cache: Names | None = None,
) -> JoinAppDecorator: ...
def join_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    ignore_for_cache: Names | None = None,
) -> Any:
    """Make a function that calls apps an app whose result is what those calls result in.

    The function runs on the kernel's own threads and returns a future, or a list of futures;
    the app's future then has the result of that future, or the list of the results.

    Args:
        function: the function, when the decorator is used without parentheses.
        data_flow_kernel: the kernel to run on; by default the one loaded at the time of a call.
        cache: whether equal calls may be served from the memo table.
        ignore_for_cache: names of arguments that do not make two calls different.

    Raises:
        ConfigurationError: an option is not one of these values.
    """

    def decorate(func: Callable[..., Any]) -> JoinApp[..., Any]:
        return JoinApp(
            func,
            data_flow_kernel=data_flow_kernel,
            cache=cache,
            ignore_for_cache=ignore_for_cache,
        )

    return decorate if function is None else decorate(function)
