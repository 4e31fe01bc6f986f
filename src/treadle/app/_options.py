"""The options of the decorators, checked at the line that decorates."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from treadle.app._special import SPECIAL, Signature
from treadle.errors import ConfigurationError


def check_function(kind: str, func: object) -> None:
    """Refuse what cannot be the body of an app.

    Raises:
        ConfigurationError: it is not callable, is an app already, or is a coroutine function.
    """
    if not callable(func):
        raise ConfigurationError(
            f"@{kind} takes a function, not {func!r}; options are given by name, "
            f"as in @{kind}(cache=True)"
        )
    if hasattr(type(func), "__treadle_app__"):
        raise ConfigurationError(f"@{kind} takes a plain function, and {func!r} is an app already")
    if inspect.iscoroutinefunction(func):
        raise ConfigurationError(
            f"@{kind} takes a plain function, and {name_of(func)} is a coroutine function: "
            "write a def that calls asyncio.run(...)"
        )


def check_kernel(kind: str, kernel: object) -> None:
    """Refuse what cannot be a kernel.

    Raises:
        ConfigurationError: it has no method `submit`.
    """
    if kernel is not None and not callable(getattr(kernel, "submit", None)):
        raise ConfigurationError(
            f"@{kind}: data_flow_kernel must be a DataFlowKernel or None, not {kernel!r}"
        )


def check_flag(kind: str, name: str, value: object) -> bool:
    """Return an option that is on or off.

    Raises:
        ConfigurationError: it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"@{kind}: {name} must be True or False, not {value!r}")
    return value


def check_executors(kind: str, executors: object) -> Sequence[str]:
    """Return `'all'`, or the labels in a list of their own.

    Raises:
        ConfigurationError: it is neither `'all'` nor a sequence of labels.
    """
    if executors == "all":
        return "all"
    if isinstance(executors, str):
        raise ConfigurationError(
            f"@{kind}: executors must be 'all' or a list of labels; write "
            f"executors=[{executors!r}], not executors={executors!r}"
        )
    if not isinstance(executors, Sequence) or not all(isinstance(e, str) for e in executors):
        raise ConfigurationError(
            f"@{kind}: executors must be 'all' or a list of labels such as ['threads'], "
            f"not {executors!r}"
        )
    if not executors:
        raise ConfigurationError(
            f"@{kind}: executors must name at least one executor; the app could never run"
        )
    return list(executors)


def check_ignored(
    kind: str, func: Callable[..., Any], signature: Signature, ignored: object
) -> list[str] | None:
    """Return the names in a list of their own, or None.

    Raises:
        ConfigurationError: it is not a sequence of names of the function's arguments.
    """
    if ignored is None:
        return None
    if (
        isinstance(ignored, str)
        or not isinstance(ignored, Sequence)
        or not all(isinstance(name, str) for name in ignored)
    ):
        hint = f"; write ignore_for_cache=[{ignored!r}]" if isinstance(ignored, str) else ""
        raise ConfigurationError(
            f"@{kind}: ignore_for_cache must be a list of argument names, not {ignored!r}{hint}"
        )
    if signature.names is not None:
        for name in ignored:
            if name not in signature.names and name not in SPECIAL:
                known = ", ".join(signature.names) or "none"
                raise ConfigurationError(
                    f"@{kind}: ignore_for_cache names {name!r}, which {name_of(func)} does not "
                    f"take (its arguments: {known})"
                )
    return list(ignored)


def name_of(func: object) -> str:
    """The name of a function for messages."""
    return getattr(func, "__qualname__", None) or getattr(func, "__name__", None) or repr(func)
