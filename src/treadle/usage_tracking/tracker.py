"""Usage tracking: what is sent, to whom, and that it harms nothing.

Two things must both be configured before one byte leaves: a level above zero and an address;
there is no default address. What is sent is one datagram at the start and, at level 3, one at the
end; `docs/usage-tracking.md` lists the fields, and `_datagram.py` is all that makes them. A tracker
never raises and never makes the program wait.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from treadle.errors import ConfigurationError
from treadle.log import logger
from treadle.usage_tracking.levels import DISABLED, LEVEL_3

if TYPE_CHECKING:
    from types import ModuleType

_LOG = logger("usage_tracking")

#: The environment variable that may hold the address, as `host:port`.
ADDRESS_VARIABLE = "TREADLE_USAGE_TRACKING_ADDRESS"
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
        self._run = os.urandom(16).hex()
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
            self._send(lambda d: d.start(self._run, self.level, self.project_name, components))

    def send_end(self, counts: Mapping[str, int], seconds: float) -> None:
        """Tell that the run has ended; only at level 3.

        Args:
            counts: number of tasks by the name of their last state.
            seconds: how long the run took.
        """
        if self._address is not None and self.level >= LEVEL_3:
            self._send(lambda d: d.end(self._run, counts, seconds))

    def close(self) -> None:
        """Let what is on its way go, for a moment at most."""
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.join(_GRACE_S / len(senders))

    def _send(self, make: Callable[[ModuleType], dict[str, Any]]) -> None:
        from treadle.usage_tracking import _datagram  # noqa: PLC0415 - hardly ever needed

        try:
            payload = _datagram.encode(make(_datagram))
            # Looking up a host name may take long: the program must not wait for it.
            sender = threading.Thread(
                target=_datagram.deliver,
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
