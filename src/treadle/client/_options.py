"""What the options of `submit` and `map` mean to a scheduler; what it would not take is an error here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Final

import msgspec

from treadle.client._checks import checked_name, checked_names
from treadle.wire import MAX_METADATA, Options
from treadle.wire._plain import fault_of

_DEFAULT: Final = Options()
_MOST_AMOUNT: Final = 1e18
_MOST_RESOURCES: Final = 64


def options_of(
    workers: str | Sequence[str] | None,
    resources: Mapping[str, float] | None,
    retries: int,
    priority: float,
    loose: bool,
    walltime: float | None,
) -> Options:
    """What tasks ask for, as the scheduler reads it.

    Raises:
        ValueError: that cannot be asked for.
    """
    plain = workers is None and not resources and walltime is None
    if plain and not loose and retries == 0 and type(priority) is int and priority == 0:
        return _DEFAULT  # nearly always
    if loose and workers is None:
        raise ValueError("allow_other_workers=True goes with workers=...")
    if type(retries) is not int or not 0 <= retries < 2**31:
        raise ValueError(f"retries={retries!r}: give a whole number of at least 0")
    if not _is_number(priority) or not -1e300 <= priority <= 1e300:
        raise ValueError(f"priority={priority!r}: give a finite number")
    if walltime is not None and not (_is_number(walltime) and 0 < walltime <= 1e9):
        raise ValueError(f"walltime={walltime!r}: give seconds, more than 0")
    return Options(
        priority=-float(priority),
        retries=retries,
        resources=_amounts(resources or {}),
        workers=checked_names(workers),
        loose=loose,
        walltime_s=None if walltime is None else float(walltime),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _amounts(resources: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    given: object = resources
    if not isinstance(given, Mapping) or len(resources) > _MOST_RESOURCES:
        raise ValueError(
            f"resources={resources!r}: give amounts by name, at most {_MOST_RESOURCES}, such as "
            f"{{'GPU': 1}}"
        )
    for name, amount in resources.items():
        checked_name("resources", name)
        if not _is_number(amount) or not 0 <= amount <= _MOST_AMOUNT:
            raise ValueError(f"resources={{{name!r}: {amount!r}}}: give a number of at least 0")
    return tuple(sorted((name, float(amount)) for name, amount in resources.items()))


def keys_of(key: str | Sequence[str] | None, count: int) -> Sequence[str | None]:
    """A key for each row of a map.

    Raises:
        ValueError: they cannot be keys, or there are not as many.
    """
    if key is None:
        return [None] * count
    if isinstance(key, str):
        return [checked_name("key", f"{key}-{row}") for row in range(count)]
    given: object = key
    if not isinstance(given, Sequence) or len(key) != count:
        raise ValueError(f"key={key!r}: there are {count} rows: give one for each, or a prefix")
    return [checked_name("key", each) for each in key]


def metadata_of(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What is shown with a task.

    Raises:
        ValueError: it is not made of plain values.
    """
    if metadata is None:
        return None
    try:
        shown = dict(metadata)
        fault = fault_of(shown, most=MAX_METADATA)
        if fault is None:
            msgspec.msgpack.encode(shown)
            return shown
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        fault = str(error)
    raise ValueError(f"metadata: {fault}; give a mapping of texts to plain values")
