"""Join apps: functions that call apps, and whose result is what those calls result in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, ParamSpec, TypeVar

from treadle.app._base import App, Kernel
from treadle.app.python import python_target

P = ParamSpec("P")
R = TypeVar("R")

#: The kernel's own threads: a body that waits there takes no slot from the tasks it waits for.
INTERNAL_EXECUTOR = "_treadle_internal"


class JoinApp(App[P, R]):
    """An app whose function returns a future or a list of futures; made by `join_app`."""

    _kind: ClassVar[str] = "join_app"
    _joins: ClassVar[bool] = True

    def __init__(
        self,
        func: Callable[..., Any],
        *,
        data_flow_kernel: Kernel | None = None,
        cache: bool = False,
        ignore_for_cache: Sequence[str] | None = None,
    ) -> None:
        super().__init__(
            func,
            data_flow_kernel=data_flow_kernel,
            cache=cache,
            executors=[INTERNAL_EXECUTOR],
            ignore_for_cache=ignore_for_cache,
        )

    def local(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call the plain function here and now; returns the future or futures it returns."""
        return self.func(*args, **kwargs)

    def _special_target(self, call: dict[str, Any]) -> Callable[..., Any]:
        return python_target(self.func, self._signature.takes, call)
