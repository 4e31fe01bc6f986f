"""Usage tracking: what is sent, to whom, and that it harms nothing.

Two things must both be configured before one byte leaves: a level above zero and an address;
there is no default address. What is sent is one datagram at the start and, at level 3, one at the
end; `docs/usage-tracking.md` lists the fields, and the functions `_start` and `_end` below are all
that makes them. A tracker never raises and never makes the program wait.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from treadle.errors import ConfigurationError
from treadle.log import logger
from treadle.usage_tracking.levels import DISABLED, LEVEL_2, LEVEL_3

_LOG = logger("usage_tracking")

#: The environment variable that may hold the address, as `host:port`.
ADDRESS_VARIABLE = "TREADLE_USAGE_TRACKING_ADDRESS"
#: A datagram beyond this may be cut to pieces on its way; names that do not fit are left out.
_MAX_BYTES = 1200
#: How long `close` gives a host name to be found.
_GRACE_S = 0.5


def usage_level(option: object) -> int:
    """Check `Config(usage_tracking=...)`.

    Raises:
        ConfigurationError: it is neither a bool nor an int from 0 to 3.
    """
    if isinstance(option, int) and DISABLED <= option <= LEVEL_3:
        return int(option)
    raise ConfigurationError(
        f"usage_tracking is {option!r}, which is no level; use 0 (off), 1, 2 or 3, or a bool "
        f"(True is 1)"
    )


class UsageTracker:
    """Tells one run's usage, if both a level and an address are configured.

    Args:
        level: 0 to 3, or a bool.
        project_name: sent along, if given.
        address: `host:port` to send to; by default that of the environment variable
            TREADLE_USAGE_TRACKING_ADDRESS; without either, nothing is ever sent.

    Raises:
        ConfigurationError: the level or the argument `address` is malformed.
    """

    def __init__(
        self,
        level: int | bool,
        *,
        project_name: str | None = None,
        address: str | None = None,
    ) -> None:
        self.level = usage_level(level)
        self.project_name = project_name
        self._run = uuid.uuid4().hex
        self._address: tuple[str, int] | None = None
        self._senders: list[threading.Thread] = []
        if self.level > DISABLED:
            self._address = _from_environment() if address is None else _parse(address)

    def send_start(self, components: Iterable[object]) -> None:
        """Tell that a run begins.

        Args:
            components: executors, providers and the like; of each only the class name is told.
        """
        if self._address is not None:
            self._send(lambda: _start(self._run, self.level, self.project_name, components))

    def send_end(self, counts: Mapping[str, int], seconds: float) -> None:
        """Tell that the run has ended; only at level 3.

        Args:
            counts: number of tasks by the name of their last state.
            seconds: how long the run took.
        """
        if self._address is not None and self.level >= LEVEL_3:
            self._send(lambda: _end(self._run, counts, seconds))

    def close(self) -> None:
        """Let what is on its way go, for a moment at most."""
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.join(_GRACE_S / len(senders))

    def _send(self, make: Callable[[], dict[str, Any]]) -> None:
        try:
            payload = json.dumps(make(), separators=(",", ":")).encode()
            # Looking up a host name may take long: the program must not wait for it.
            sender = threading.Thread(
                target=_deliver,
                args=(payload, self._address),
                name="treadle-usage",
                daemon=True,
            )
            sender.start()
            self._senders.append(sender)
        except (RuntimeError, TypeError, ValueError):
            _LOG.debug("usage is not told", exc_info=True)  # no thread; a count that is no number


def _from_environment() -> tuple[str, int] | None:
    text = os.environ.get(ADDRESS_VARIABLE)
    if not text:
        return None
    try:
        return _parse(text)
    except ConfigurationError as error:
        # Whoever set the variable may not be who runs the program: it must not fail for this.
        _LOG.warning("%s: %s; no usage is told", ADDRESS_VARIABLE, error)
        return None


def _parse(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigurationError(
            f"the address for usage tracking is {text!r}; it must be host:port, such as "
            f"'usage.example.org:50077' or '[::1]:50077'"
        )
    return host.strip("[]"), int(port)


def _deliver(payload: bytes, address: tuple[str, int]) -> None:
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, target = found[0]
        with socket.socket(family, kind, protocol) as sock:
            sock.setblocking(False)
            sock.sendto(payload, target)
    except (OSError, UnicodeError):
        return  # nobody to tell; it is no concern of the program's


# --- what is sent ------------------------------------------------------------------------------


def _start(
    run: str, level: int, project_name: str | None, components: Iterable[object]
) -> dict[str, Any]:
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


def _end(run: str, counts: Mapping[str, int], seconds: float) -> dict[str, Any]:
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
