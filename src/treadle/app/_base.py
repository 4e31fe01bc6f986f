"""What all apps are: objects that are called like their function and return futures.

Everything that can be known about the function is found out when it is decorated. A call without
special keywords does three things: find the kernel, see that there are none, submit.
"""

from __future__ import annotations

import functools
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    overload,
)

from treadle.app._map import Bundler, MapResults
from treadle.app._options import (
    check_executors,
    check_flag,
    check_function,
    check_ignored,
    check_kernel,
    name_of,
)
from treadle.app._special import SPECIAL, complete_call, read_signature

if TYPE_CHECKING:
    from treadle.dataflow.futures import AppFuture

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Kernel(Protocol):
    """What an app asks of the kernel it runs on."""

    def submit(
        self,
        func: Callable[..., Any],
        app_args: Sequence[Any],
        executors: Sequence[str] = "all",
        cache: bool = False,
        ignore_for_cache: Sequence[str] | None = None,
        app_kwargs: dict[str, Any] = ...,
        join: bool = False,
    ) -> AppFuture[Any]:
        """Take a task and return its future."""
        ...


_loaded_kernel: Callable[[], Kernel] | None = None


def _find_loader() -> Callable[[], Kernel]:
    global _loaded_kernel
    # Loaded at the first call: decorating functions must not cost the import of the engine.
    from treadle.dataflow.dflow import DataFlowKernelLoader  # noqa: PLC0415

    _loaded_kernel = DataFlowKernelLoader.dfk
    return _loaded_kernel


class App(ABC, Generic[P, R]):
    """A function that runs as a task when it is called; made by the decorators.

    Attributes:
        func: the function as it was written.
        data_flow_kernel: the kernel it was bound to, or None for the one loaded when called.
        cache: whether equal calls may be served from the memo table.
        executors: `'all'`, or the labels of the executors that calls may run on.
        ignore_for_cache: names of arguments that do not make two calls different.
    """

    #: Says to rooms below that this is an app, without them knowing the class.
    __treadle_app__: ClassVar[bool] = True
    #: The decorator's name, for messages.
    _kind: ClassVar[str]
    #: Whether the task waits for futures that its function returns.
    _joins: ClassVar[bool] = False
    #: Whether all default values of the function are part of a call.
    _all_defaults: ClassVar[bool] = False

    def __init__(
        self,
        func: Callable[..., Any],
        *,
        data_flow_kernel: Kernel | None = None,
        cache: bool = False,
        executors: Sequence[str] = "all",
        ignore_for_cache: Sequence[str] | None = None,
    ) -> None:
        kind = self._kind
        check_function(kind, func)
        check_kernel(kind, data_flow_kernel)
        functools.update_wrapper(self, func)
        self.func = func
        self.data_flow_kernel = data_flow_kernel
        self.cache = check_flag(kind, "cache", cache)
        self.executors = check_executors(kind, executors)
        self._signature = read_signature(func, all_defaults=self._all_defaults)
        self.ignore_for_cache = check_ignored(kind, func, self._signature, ignore_for_cache)
        self._name = getattr(func, "__name__", None) or name_of(func)
        self._target = self._plain_target()
        self._has_defaults = bool(self._signature.defaults)

    def _plain_target(self) -> Callable[..., Any]:
        """What is submitted when a call has no special keywords."""
        return self.func

    @abstractmethod
    def _special_target(self, call: dict[str, Any]) -> Callable[..., Any]:
        """What is submitted when a call has some."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> AppFuture[R]:
        """Submit a task that runs the function with these arguments.

        Raises:
            NoDataFlowKernelError: no kernel is loaded.
            TaskCallError: a special keyword has a value that can never work.
        """
        kernel = self.data_flow_kernel
        if kernel is None:
            kernel = (_loaded_kernel or _find_loader())()
        target: Callable[..., Any] = self._target
        call: dict[str, Any] = kwargs
        if self._has_defaults or not SPECIAL.isdisjoint(kwargs):
            call = complete_call(self._name, self._signature, args, kwargs)
            target = self._special_target(call)
        return kernel.submit(
            target, args, self.executors, self.cache, self.ignore_for_cache, call, self._joins
        )

    def map(
        self, /, *iterables: Iterable[Any], window: int | None = None, **common: Any
    ) -> MapResults[R]:
        """Call the app with the items of the iterables, and iterate over the results in order.

        The iterables are read only as far as the window goes, so they may be endless. The first
        window of calls is made at once, and one more for each result that is taken.

        Args:
            iterables: the positional arguments, as for the builtin `map`; the shortest one ends it.
            window: how many calls may be in flight or wait to be taken; None means 1000, and more
                where calls are so short that many of them go to a cluster as one task.
            common: keyword arguments of every call.

        Raises:
            TaskCallError: there is no iterable, or the window is not a number from 1 on.
        """
        return MapResults(
            self, iterables, window, common, lambda first: self._bundler(first, common)
        )

    def _bundler(self, first: tuple[Any, ...], common: dict[str, Any]) -> Bundler | None:
        """What takes many calls at once with these keywords, where the kernel has such a thing."""
        kernel = self.data_flow_kernel
        if kernel is None:
            kernel = (_loaded_kernel or _find_loader())()
        make = getattr(kernel, "bundler", None)
        if make is None or self._joins:
            return None
        target, call = self._target, common
        if self._has_defaults or not SPECIAL.isdisjoint(common):
            call = complete_call(self._name, self._signature, first, common)
            target = self._special_target(call)
        bundler: Bundler | None = make(target, self.executors, self.cache, call)
        return bundler

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: App[Concatenate[Any, Q], R], instance: object, owner: type | None = None, /
    ) -> BoundApp[Q, R]: ...
    def __get__(self, instance: object, owner: type | None = None, /) -> Any:
        """Bind the app to an object, as functions in a class are bound."""
        return self if instance is None else BoundApp(self, instance)

    def __repr__(self) -> str:
        options = ["cache=True"] if self.cache else []
        if self.executors != "all" and not self._joins:
            options.append(f"executors={self.executors!r}")
        name = f"{getattr(self.func, '__module__', '?')}.{name_of(self.func)}"
        return f"<{' '.join([self._kind, name, *options])}>"

    def __reduce__(self) -> Any:
        module, qualname = getattr(self, "__module__", None), name_of(self.func)
        if _is_importable(self, module, qualname):
            return qualname
        # The kernel stays here: elsewhere the app runs on the kernel of that place.
        return _rebuild, (type(self), self.func, self._options())

    def _options(self) -> dict[str, Any]:
        """What the decorator was given, as far as another process should know it."""
        options: dict[str, Any] = {"cache": self.cache, "ignore_for_cache": self.ignore_for_cache}
        if not self._joins:
            options["executors"] = self.executors
        return options


class BoundApp(Generic[Q, R]):
    """An app looked up on an object, which becomes its first argument."""

    __slots__ = ("_app", "_instance")

    def __init__(self, app: App[..., R], instance: object) -> None:
        # Made anew each time it is looked up, so it must be cheap.
        self._app = app
        self._instance = instance

    @property
    def __name__(self) -> str:
        return self._app._name

    def __call__(self, /, *args: Q.args, **kwargs: Q.kwargs) -> AppFuture[R]:
        """Submit a task that runs the method with these arguments."""
        return self._app(self._instance, *args, **kwargs)

    def local(self, /, *args: Q.args, **kwargs: Q.kwargs) -> Any:
        """Call the plain method here and now."""
        return self._app.func(self._instance, *args, **kwargs)

    def map(
        self, /, *iterables: Iterable[Any], window: int | None = None, **common: Any
    ) -> MapResults[R]:
        """Call the app with the items of the iterables; see `App.map`."""
        return MapResults(self, iterables, window, common)

    def __getattr__(self, name: str) -> Any:
        # Only what the object itself lacks comes here. While it is being unpickled that is all.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._app, name)

    def __repr__(self) -> str:
        return f"<bound {self._app!r} of {self._instance!r}>"


def _is_importable(app: App[..., Any], module: str | None, qualname: str) -> bool:
    """Whether another process finds this very app under its name."""
    # Loaded when needed: a program that pickles no app need not load what pickles them.
    from treadle.serialize._modules import travels_by_value  # noqa: PLC0415

    if module is None or module == "__main__" or travels_by_value(module):
        return False
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found is app


def _rebuild(
    cls: type[App[..., Any]], func: Callable[..., Any], options: dict[str, Any]
) -> App[..., Any]:
    return cls(func, **options)
