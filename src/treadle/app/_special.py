"""The special keywords of a call: told to the engine, and to the function where it takes them.

Two rules. The engine sees every special keyword, also one that is only a default value in the
function's signature. And a function is never handed a special keyword it does not take, so any
app can be called with `walltime=60` or `label="x"`.

All that `inspect` can tell is found out once, when the function is decorated.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from numbers import Real
from typing import Any

from treadle.errors import TaskCallError

#: What the engine reads from the keywords of a call.
SPECIAL = frozenset(
    {
        "inputs",
        "outputs",
        "stdout",
        "stderr",
        "label",
        "walltime",
        "parsl_resource_specification",
        "_parsl_staging_inhibit",
    }
)


@dataclass(frozen=True, slots=True)
class Signature:
    """What the engine needs to know about the parameters of a function."""

    #: The parameters' names, in order; None where any keyword is accepted or nothing is known.
    names: tuple[str, ...] | None
    #: The special keywords that the function takes; None where it takes all of them.
    takes: frozenset[str] | None
    #: Default values a call gets as if written in it: name, position (None: by name only), value.
    defaults: tuple[tuple[str, int | None, Any], ...]


def read_signature(func: Callable[..., Any], *, all_defaults: bool) -> Signature:
    """Look at the function once.

    Args:
        func: the body of an app.
        all_defaults: whether all default values are part of a call, not only special ones.
    """
    try:
        parameters = list(inspect.signature(func).parameters.values())
    except (ValueError, TypeError):  # some builtins do not tell
        return Signature(names=None, takes=frozenset(), defaults=())
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = tuple(p.name for p in by_name)
    return Signature(
        names=None if takes_any else named,
        takes=None if takes_any else SPECIAL.intersection(named),
        defaults=tuple(
            (p.name, index if p.kind is p.POSITIONAL_OR_KEYWORD else None, p.default)
            for index, p in enumerate(parameters)
            if p in by_name and _is_part_of_call(p, all_defaults=all_defaults)
        ),
    )


def _is_part_of_call(parameter: inspect.Parameter, *, all_defaults: bool) -> bool:
    if parameter.default is parameter.empty:
        return False
    if all_defaults:
        return True
    # `inputs=()`, `stdout=None`: declared so that they can be given, and nothing unless they are.
    return parameter.name in SPECIAL and not (
        parameter.default is None or parameter.default in ((), [], {})
    )


def complete_call(
    app_name: str, signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the keywords of a call with defaults filled in and the special ones checked.

    Raises:
        TaskCallError: a special keyword has a value that can never work.
    """
    given = len(args)
    call = {
        name: value
        for name, position, value in signature.defaults
        if position is None or position >= given
    }
    call.update(kwargs)
    for name in _CHECKS.keys() & call.keys():
        value = call[name]
        # A future's value is not known yet; who uses it checks it when it is.
        if value is not None and not isinstance(value, Future):
            call[name] = _CHECKS[name](app_name, name, value)
    return call


def check_walltime(app_name: str, name: str, value: object) -> float:
    """Return the walltime in seconds.

    Raises:
        TaskCallError: it is not a finite number greater than 0.
    """
    if not isinstance(value, bool) and isinstance(value, Real):
        seconds = float(value)
        if seconds > 0 and math.isfinite(seconds):
            return seconds
    raise TaskCallError(
        f"app {app_name}: {name} must be a number of seconds greater than 0, or None for no "
        f"limit, not {value!r}"
    )


def _check_files(app_name: str, name: str, value: object) -> list[Any]:
    if isinstance(value, (list, tuple)):
        # A list of our own: staging puts other files in it, and the caller's must stay as it is.
        return list(value)
    one = isinstance(value, (str, os.PathLike))
    hint = f"; for one file write {name}=[File({str(value)!r})]" if one else ""
    raise TaskCallError(f"app {app_name}: {name} must be a list or a tuple, not {value!r}{hint}")


def _check_resources(app_name: str, name: str, value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TaskCallError(
        f"app {app_name}: {name} must be a dict such as {{'cores': 1}}, not {value!r}"
    )


_CHECKS: dict[str, Callable[[str, str, object], Any]] = {
    "walltime": check_walltime,
    "inputs": _check_files,
    "outputs": _check_files,
    "parsl_resource_specification": _check_resources,
}


def for_function(takes: frozenset[str] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords without the special ones that the function does not take."""
    if takes is None or SPECIAL.isdisjoint(kwargs):
        return kwargs
    return {k: v for k, v in kwargs.items() if k not in SPECIAL or k in takes}
