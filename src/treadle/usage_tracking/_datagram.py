"""The datagrams of usage tracking: all that is ever sent, and how.

Imported when something is to be sent, which is hardly ever: it needs modules that cost time.
"""

from __future__ import annotations

import json
import platform
import socket
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from treadle.usage_tracking.levels import LEVEL_2

#: A datagram beyond this may be cut to pieces on its way; names that do not fit are left out.
_MAX_BYTES = 1200


def start(
    run: str, level: int, project_name: str | None, components: Iterable[object]
) -> dict[str, Any]:
    """What is sent when a kernel starts."""
    message: dict[str, Any] = {
        "format": 1,
        "event": "start",
        "run": run,
        "treadle": _version(),
        "python": platform.python_version(),
        "system": platform.system(),
    }
    if project_name is not None:
        message["project"] = str(project_name)[:200]
    if level >= LEVEL_2:
        message["components"] = _class_names(components)
    return message


def end(run: str, counts: Mapping[str, int], seconds: float) -> dict[str, Any]:
    """What is sent when a kernel ends, at level 3."""
    tasks = {str(state): int(count) for state, count in counts.items()}
    return {"format": 1, "event": "end", "run": run, "tasks": tasks, "seconds": float(seconds)}


def _class_names(components: Iterable[object]) -> list[str]:
    names: list[str] = []
    room = _MAX_BYTES - 500  # for the other fields
    for component in components:
        name = type(component).__qualname__
        room -= len(name.encode()) + 3
        if room < 0:
            break
        names.append(name)
    return names


def _version() -> str:
    try:
        return version("treadle")
    except PackageNotFoundError:
        return "unknown"


# --- sending -----------------------------------------------------------------------------------


def encode(message: dict[str, Any]) -> bytes:
    """A message as the bytes of its datagram."""
    return json.dumps(message, separators=(",", ":")).encode()


def deliver(payload: bytes, address: tuple[str, int]) -> None:
    """Send one datagram; may wait for a host name to be found, and never raises."""
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, target = found[0]
        with socket.socket(family, kind, protocol) as sock:
            sock.setblocking(False)
            sock.sendto(payload, target)
    except (OSError, UnicodeError):
        return  # nobody to tell; it is no concern of the program's
