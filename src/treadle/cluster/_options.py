"""The options of a cluster: checked all at once, and made into settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, Final

from treadle.cluster._resources import bytes_of
from treadle.cluster._settings import NodeSettings, SchedulerSettings, WorkerSettings
from treadle.cluster._slot_places import check_affinity
from treadle.errors import ConfigurationError

Check = Callable[[Any], str | None]


#: What an option is that nobody has given; slots: as many as the cores allow.
DEFAULTS: Final[dict[str, Any]] = {
    "slots": None,
    "cores_per_slot": 1,
    "memory_per_slot": None,
    "memory_limit": None,
    "store_limit": None,
    "spill_directory": None,
    "recycle_bytes": 1 << 30,
    "resources": None,
    "accelerators": 0,
    "cpu_affinity": "none",
    "preload": (),
    "environment": None,
    "address": None,
    "interface": None,
    "port_range": None,
    "heartbeat_period": 3.0,
    "lease": 12.0,
    "prefetch": 0.005,
    "walltime": None,
    "deaths": 3,
    "drain_period": 30.0,
    "working_dir": None,
    "echo": True,
    "validate": False,
}


def check_platform(who: str) -> None:
    """See that there can be clusters on this system.

    Raises:
        ConfigurationError: there cannot.
    """
    if sys.platform == "win32":
        raise ConfigurationError(f"{who} does not run on Windows; use ThreadPoolExecutor, or WSL")


def check_options(who: str, label: Any, options: Mapping[str, Any]) -> None:
    """See that all options have values that mean something.

    Raises:
        ConfigurationError: some have not; the text names each, and what is allowed.
    """
    wrong = [] if isinstance(label, str) and label else ["label must be a name"]
    for name, value in options.items():
        check = _CHECKS.get(name)
        if check is not None and (why := check(value)) is not None:
            wrong.append(f"{name}={value!r}: {why}")
    if not wrong:
        wrong += _together(options)
    if wrong:
        raise ConfigurationError(f"{who}({label!r}): " + "; ".join(wrong))


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def slots_here(slots: int | None, cores_per_slot: float) -> int:
    """How many slots a worker on this machine has."""
    return slots if slots is not None else max(1, int(usable_cores() / cores_per_slot))


def worker_settings(options: Mapping[str, Any], *, id: str, slots: int, log_dir: str) -> Any:
    """The settings of a worker, as far as they do not depend on its machine."""
    if options["cpu_affinity"].startswith("list:"):
        check_affinity(options["cpu_affinity"], slots)
    slot_memory = options["memory_per_slot"]
    memory = options["memory_limit"]
    resources: dict[str, float] = {"cores": slots * options["cores_per_slot"]}
    if memory is not None:
        resources["memory"] = float(bytes_of(memory))
    accelerators = accelerators_of(options["accelerators"])
    if accelerators:
        resources["gpus"] = float(len(accelerators))
    resources.update({name: float(n) for name, n in (options["resources"] or {}).items()})
    store = options["store_limit"]
    return WorkerSettings(
        id=id,
        slots=slots,
        resources=resources,
        store_bytes=0 if store is None else bytes_of(store),
        spill_dir=options["spill_directory"] or "",
        log_dir=log_dir,
        recycle_bytes=options["recycle_bytes"],
        slot_memory_bytes=0 if slot_memory is None else bytes_of(slot_memory),
        threads_per_slot=max(1, int(options["cores_per_slot"])),
        cpu_affinity=options["cpu_affinity"],
        accelerators=accelerators,
        preload=tuple(options["preload"]),
        environment=dict(options["environment"] or {}),
        addresses=(options["address"],) if options["address"] else (),
        interface=options["interface"] or "",
        ports=tuple(options["port_range"] or (0, 0)),
        echo=options["echo"],
    )


def node_settings(
    options: Mapping[str, Any],
    *,
    run: str,
    run_dir: str,
    log_dir: str,
    owner: str,
    worker: WorkerSettings | None,
    connection_file: str = "",
    closed: bool = False,
) -> NodeSettings:
    """The settings of the process that is started beside the program.

    Args:
        worker: the one that is in it; None: it is a scheduler alone.
        closed: no other worker will ever come.
    """
    scheduler = SchedulerSettings(
        run=run,
        run_dir=run_dir,
        connection_file=connection_file,
        listen_tls=worker is None,
        addresses=(options["address"],) if options["address"] else (),
        interface=options["interface"] or "",
        ports=tuple(options["port_range"] or (0, 0)),
        beat_s=float(options["heartbeat_period"]),
        lease_s=float(options["lease"]),
        prefetch_s=float(options["prefetch"]),
        deaths=options["deaths"],
        log_dir=log_dir,
        validate=options["validate"],
        closed=worker is not None,
    )
    return NodeSettings(scheduler=scheduler, worker=worker, owner=owner)


def accelerators_of(value: int | Sequence[str]) -> tuple[str, ...]:
    """One name for each: a number stands for the first so many."""
    return tuple(map(str, range(value))) if isinstance(value, int) else tuple(value)


# --- checks ------------------------------------------------------------------------------------


def _number(low: float, high: float, *, none: bool = False, above: bool = False) -> Check:
    def check(value: Any) -> str | None:
        if value is None and none:
            return None
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if is_number and low <= value <= high and not (above and value == low):
            return None
        words = f"above {low:g}" if above else f"from {low:g}"
        return f"give a number {words} up to {high:g}" + (" (or None)" if none else "")

    return check


def _whole(low: int, high: int, *, none: bool = False) -> Check:
    def check(value: Any) -> str | None:
        if (value is None and none) or (type(value) is int and low <= value <= high):
            return None
        return f"give a whole number from {low} to {high}" + (" (or None)" if none else "")

    return check


def _size(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return None if bytes_of(value) > 0 else "give a size above 0"
    except (TypeError, ValueError):
        return "give a number of MB, text such as '2 GB', or None"


def _text(value: Any) -> str | None:
    return None if value is None or (isinstance(value, str) and value) else "give text, or None"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "give True or False"


def _words(value: Any) -> str | None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return "give a list of names"
    return None if all(isinstance(word, str) and word for word in value) else "give names"


def _accelerators(value: Any) -> str | None:
    if type(value) is int:
        return None if 0 <= value <= 4096 else "give a number from 0 to 4096, or a list of names"
    return _words(value)


def _texts(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(text, str) for name, text in value.items()
    ):
        return None
    return "give a dict of text by name, or None"


def _amounts(value: Any) -> str | None:
    if value is None:
        return None
    check = _number(0, 1e18)
    if isinstance(value, Mapping) and all(
        isinstance(name, str) and check(amount) is None for name, amount in value.items()
    ):
        return None
    return "give a dict of numbers by name, or None"


def _affinity(value: Any) -> str | None:
    known = ("none", "block", "block-reverse", "alternating")
    if value in known or (isinstance(value, str) and value.startswith("list:")):
        return None
    return "give 'none', 'block', 'block-reverse', 'alternating' or 'list:0,1:2,3'"


def _ports(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        low, high = value
        if type(low) is int and type(high) is int and 0 <= low <= high <= 65535:
            return None
    return "give (lowest, highest) of the ports 0 to 65535, or None"


def _together(options: Mapping[str, Any]) -> list[str]:
    wrong = []
    if options["lease"] < 2 * options["heartbeat_period"]:
        wrong.append(
            f"lease={options['lease']!r} is less than two times "
            f"heartbeat_period={options['heartbeat_period']!r}: a worker would be given up for one "
            f"beat that comes late"
        )
    return wrong


_CHECKS: Final[dict[str, Check]] = {
    "slots": _whole(1, 4096, none=True),
    "cores_per_slot": _number(0, 4096, above=True),
    "memory_per_slot": _size,
    "memory_limit": _size,
    "store_limit": _size,
    "accelerators": _accelerators,
    "cpu_affinity": _affinity,
    "preload": _words,
    "environment": _texts,
    "recycle_bytes": _whole(1 << 20, 1 << 60),
    "resources": _amounts,
    "address": _text,
    "interface": _text,
    "port_range": _ports,
    "heartbeat_period": _number(0, 3600, above=True),
    "lease": _number(0, 86400, above=True),
    "spill_directory": _text,
    "prefetch": _number(0, 10),
    "walltime": _number(0, 1e10, none=True, above=True),
    "deaths": _whole(1, 100),
    "drain_period": _number(0, 86400),
    "echo": _flag,
    "validate": _flag,
    "working_dir": _text,
}
