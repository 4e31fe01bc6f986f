"""What a task asks for: `parsl_resource_specification` as the scheduler reads it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Final

from msgspec import Struct

from treadle.errors import InvalidResourceSpecification
from treadle.wire import MAX_METADATA, Options
from treadle.wire._plain import fault_of

#: The keys there are, and what they mean.
KEYS: Final = {
    "cores": "number of cores",
    "memory": "MB as a number, or text such as '2 GB'",
    "disk": "MB as a number, or text such as '2 GB'",
    "gpus": "number of GPUs",
    "resources": "{name: amount} of whatever workers were said to have",
    "hosts": "host names it may run on",
    "workers": "workers it may run on",
    "loose": "hosts, workers and resources are wishes",
    "priority": "lower first",
    "walltime": "seconds an attempt may take",
    "retries": "how often an exception is tried again",
    "metadata": "shown, never read",
}
#: Keys of tasks that span nodes.
_MPI: Final = ("num_nodes", "num_ranks", "ranks_per_node")
_UNITS: Final = {
    "": 1e6, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12,
    "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([kmgt]?i?)b?\s*", re.IGNORECASE)
#: Largest finite priority, and number of retries.
_FINITE: Final = 1e300
_COUNT: Final = 2**31 - 1
_LONGEST_S: Final = 1e10
_DEFAULT = Options()


class Asked(Struct, frozen=True, gc=False):
    """What a task asks for, and what is shown of it."""

    options: Options
    metadata: dict[str, Any]


def bytes_of(size: Any) -> int:
    """A size in bytes: a number is MB, text has a unit ('2 GB', '512 MiB').

    Raises:
        ValueError: it is neither.
    """
    if isinstance(size, str):
        match = _SIZE.fullmatch(size)
        if match is None:
            raise ValueError(f"{size!r} is no size; write a number of MB, or text such as '2 GB'")
        return int(float(match[1]) * _UNITS[match[2].lower()])
    return int(_amount(size) * 1e6)


def retries_of(retries: float) -> int:
    """A number of retries, within what a message may hold."""
    return _COUNT if retries >= _COUNT else max(0, math.floor(retries))


def options_of(
    specification: Mapping[str, Any],
    *,
    cores_per_slot: float = 1.0,
    retries: float = 0,
    walltime_s: float | None = None,
    executor: object = None,
) -> Options | Asked:
    """What a task asks for, as the scheduler reads it.

    Args:
        specification: as the user wrote it.
        cores_per_slot: cores of one slot.
        retries: where the specification names none.
        walltime_s: where the specification names none.

    Raises:
        InvalidResourceSpecification: it has keys or values that cannot be honoured.
    """
    if not specification and not retries and walltime_s is None:
        return _DEFAULT
    unknown = [key for key in specification if key not in KEYS]
    if unknown:
        mpi = [key for key in unknown if key in _MPI]
        why = f"{', '.join(mpi)}: tasks that span nodes are not there yet; " if mpi else ""
        known = ", ".join(f"{key} ({what})" for key, what in KEYS.items())
        raise InvalidResourceSpecification(
            [str(key) for key in unknown], f"{why}known are: {known}", executor
        )
    wrong: dict[str, str] = {}

    def read(key: str, how: Any, default: Any) -> Any:
        value = specification.get(key)
        if value is None:
            return default
        try:
            return how(value)
        except (TypeError, ValueError, OverflowError) as error:
            wrong[key] = f"{key}={value!r}: {error}"
            return default

    options = Options(
        priority=read("priority", _priority, 0.0),
        retries=read("retries", _retries, retries_of(retries)),
        slots=read("cores", lambda cores: _slots(cores, cores_per_slot), 1),
        resources=_resources(read),
        hosts=read("hosts", _names, ()),
        workers=read("workers", _names, ()),
        loose=read("loose", _flag, False),
        walltime_s=read("walltime", _seconds, walltime_s),
    )
    metadata = read("metadata", _metadata, None)
    if wrong:
        raise InvalidResourceSpecification(list(wrong), "; ".join(wrong.values()), executor)
    return Asked(options, metadata) if metadata else options


# --- details -----------------------------------------------------------------------------------


def _resources(read: Any) -> tuple[tuple[str, float], ...]:
    amounts: dict[str, float] = read("resources", _amounts, {})
    for key, how in (("memory", bytes_of), ("disk", bytes_of), ("gpus", _amount)):
        amount = read(key, how, None)
        if amount is not None:
            amounts = {**amounts, key: float(amount)}
    return tuple(sorted(amounts.items()))


def _amount(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError("give a number")
    number = float(value)
    if not 0 <= number <= 1e18:
        raise ValueError("give a number from 0 to 1e18")
    return number


def _amounts(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise TypeError("give a dict of amounts by name")
    if len(value) > 60:
        raise ValueError("at most 60 names can be given")
    return {_name(name): _amount(amount) for name, amount in value.items()}


def _slots(cores: Any, cores_per_slot: float) -> int:
    number = _amount(cores)
    slots = max(1, math.ceil(number / cores_per_slot - 1e-9))
    if slots > 4096:
        raise ValueError("that is more than any worker has")
    return slots


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (_name(value),)
    if isinstance(value, Mapping) or not hasattr(value, "__iter__"):
        raise TypeError("give a name, or a list of names")
    return tuple(sorted(dict.fromkeys(_name(name) for name in value)))


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 1024:
        raise TypeError("a name is text of at most 1024 characters")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("give True or False")
    return value


def _priority(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError("give a number")
    number = float(value)
    if not -_FINITE <= number <= _FINITE:
        raise ValueError("give a finite number")
    return number


def _retries(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError("give a whole number")
    number = int(value)
    if not 0 <= number <= _COUNT:
        raise ValueError(f"give a whole number from 0 to {_COUNT}")
    return number


def _seconds(value: Any) -> float:
    number = _amount(value)
    if not 0 < number <= _LONGEST_S:
        raise ValueError(f"give a number of seconds above 0 and up to {_LONGEST_S:g}")
    return number


def _metadata(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise TypeError("give a dict with text as keys")
    if (fault := fault_of(value, most=MAX_METADATA)) is not None:
        raise ValueError(fault)
    return dict(value)
