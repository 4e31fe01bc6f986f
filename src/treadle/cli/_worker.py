"""`treadle worker`: a worker of a scheduler that runs elsewhere."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from treadle.cli._values import amount, count, ports, seconds, setting, share, size
from treadle.cluster._settings import WorkerSettings
from treadle.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

HELP: Final = "start a worker: an agent, and slots that run tasks"
EXAMPLE: Final = """\
example:
  treadle worker --connection-file run.json --slots 8 --memory '16 GB' --resource licence=2"""

#: Options whose names and meanings are those of the settings: option, setting, kind, what it is.
_PLAIN: Final[tuple[tuple[str, str, Any, str, str], ...]] = (
    (
        "--slots",
        "slots",
        count,
        "N",
        "processes that run tasks (default: as many as it has room for)",
    ),
    ("--threads-per-slot", "threads_per_slot", count, "N", "threads that libraries may use in one"),
    (
        "--store",
        "store_bytes",
        size,
        "SIZE",
        "memory for results (default: half of what it may use)",
    ),
    ("--spill-dir", "spill_dir", str, "DIR", "where results go that memory has no room for"),
    ("--log-dir", "log_dir", str, "DIR", "where the output of tasks is kept"),
    (
        "--slot-memory",
        "slot_memory_bytes",
        size,
        "SIZE",
        "most memory of a task that asks for none",
    ),
    ("--recycle", "recycle_bytes", size, "SIZE", "replace a slot that has grown by so much"),
    (
        "--cpu-affinity",
        "cpu_affinity",
        str,
        "HOW",
        "bind slots to cores: none, block or alternating",
    ),
    ("--interface", "interface", str, "NAME", "listen on this network interface alone"),
    ("--ports", "ports", ports, "LOW:HIGH", "take a port among these"),
    ("--orphan", "orphan_s", seconds, "SECONDS", "end after so long without a scheduler"),
    ("--walltime", "ends_in_s", seconds, "SECONDS", "how long its block has still to live"),
    ("--output", "output_bytes", size, "SIZE", "most that is kept of one task's output"),
)
_SEVERAL: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("--accelerator", "accelerators", "NAME", "an accelerator for one slot"),
    ("--preload", "preload", "MODULE", "a module that slots have from the start"),
    ("--address", "addresses", "HOST", "a name or number under which others reach this machine"),
)


def declare(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    add = parser.add_argument
    add(
        "--connection-file",
        metavar="FILE",
        required=True,
        help="how the scheduler is reached, as it has written there",
    )
    add("--credential", metavar="FILE", help="what to prove itself with on a network")
    add("--settings", metavar="FILE", help="settings as JSON; options go before them")
    add("--block", metavar="NAME", help="the block it belongs to")
    add("--id", metavar="NAME", help="its name (default: made of its block, host and chance)")
    for option, name, kind, shown, what in _PLAIN:
        add(option, dest=name, type=kind, metavar=shown, help=what)
    add(
        "--cores-per-slot",
        type=share,
        metavar="N",
        default=1.0,
        help="without --slots: cores of each",
    )
    add("--memory-per-slot", type=size, metavar="SIZE", help="without --slots: memory of each")
    add("--most-slots", type=count, metavar="N", help="without --slots: never more than these")
    add("--memory", metavar="SIZE", type=size, help="memory that tasks may ask for")
    add(
        "--resource",
        metavar="NAME=NUMBER",
        type=amount,
        action="append",
        default=[],
        help="something else that tasks may ask for; may be repeated",
    )
    for option, name, shown, what in _SEVERAL:
        add(option, dest=name, metavar=shown, action="append", help=f"{what}; may be repeated")
    add(
        "--environment",
        metavar="NAME=VALUE",
        type=setting,
        action="append",
        default=[],
        help="a variable of the slots' environment; may be repeated",
    )
    add("--no-echo", action="store_true", help="do not show clients what their tasks print")


def run(options: argparse.Namespace) -> int:
    """Be a worker."""
    # Not for `--help`; and the zygote imports its modules while this process imports the rest.
    from treadle.cluster._connection import read_connection  # noqa: PLC0415 - see above
    from treadle.cluster._zygote_start import launch_zygote  # noqa: PLC0415 - see above

    settings = settings_of(options)
    connection = read_connection(options.connection_file)
    credential = credential_of(options, connection.credential)
    zygote = launch_zygote(settings.threads_per_slot, settings.environment)

    from treadle.cluster._agent_life import run_worker  # noqa: PLC0415 - see above
    from treadle.cluster._process import leave  # noqa: PLC0415 - see above

    leave(run_worker(settings, replace(connection, credential=credential), zygote))


def settings_of(options: argparse.Namespace) -> WorkerSettings:
    """The settings of the worker.

    Raises:
        ConfigurationError: the file of settings is none.
    """
    given: dict[str, Any] = {}
    if options.settings:
        given = _read(options.settings)
    named = [name for _, name, *_ in _PLAIN] + [name for _, name, *_ in _SEVERAL]
    given.update({n: value for n in named if (value := getattr(options, n)) is not None})
    if options.block:
        given["block"] = options.block
    given["id"] = options.id or _drawn_id(given.get("block", ""))
    if "slots" not in given:
        given["slots"] = _slots_here(options, len(given.get("accelerators", ())))
    given["environment"] = {**given.get("environment", {}), **dict(options.environment)}
    if options.no_echo:
        given["echo"] = False
    try:
        settings = msgspec.convert(given, WorkerSettings)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{options.settings!r} is no file of settings: {error}") from None
    resources = {"cores": float(settings.slots), **settings.resources, **dict(options.resource)}
    if options.memory is not None:
        resources["memory"] = float(options.memory)
    return replace(settings, resources=resources)


def credential_of(options: argparse.Namespace, of_clients: str) -> str:
    """The file to prove itself with: as given, or as it stands beside the connection file."""
    if options.credential:
        return str(options.credential)
    beside = f"{options.connection_file}.worker.pem"
    return beside if of_clients and os.path.exists(beside) else ""


def _read(path: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(Path(path).read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise ConfigurationError(f"{path!r} cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{path!r} is no file of settings: {error}") from None
    strange = sorted(found.keys() - set(WorkerSettings.__struct_fields__))
    if strange:
        raise ConfigurationError(
            f"{path!r} has settings that there are not: {', '.join(strange)} "
            f"(there are: {', '.join(WorkerSettings.__struct_fields__)})"
        )
    return found


def _drawn_id(block: str) -> str:
    """A name of its own. It begins with its block's: a block's credential names that."""
    host = re.sub(r"[^\w.-]", "-", socket.gethostname())[:100]
    return f"{block or 'worker'}/{host}-{os.urandom(3).hex()}"


def _slots_here(options: argparse.Namespace, accelerators: int) -> int:
    """How many slots this machine has room for."""
    counts = [int(_usable_cores() / options.cores_per_slot)]
    if options.memory_per_slot:
        import psutil  # noqa: PLC0415 - only for this question

        counts.append(int(psutil.virtual_memory().total / options.memory_per_slot))
    counts += [most for most in (options.most_slots, accelerators) if most]
    return max(1, min(counts))


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
