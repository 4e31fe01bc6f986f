"""What the engine's own processes have in common: a loop, an end, an exit code, a log.

Each has one loop on its main thread. Its end is asked for once, with an exit code and the reason;
then its body may tidy up, for `END_S` at most: a watchdog ends the process if it does not. A fault
that nobody caught is a bug of ours: it stands in the log, and ends the process, so that nobody
waits for it for ever.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

from treadle.cluster import _log_tail

_log = logging.getLogger("treadle.cluster")

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: How long tidying up may take.
END_S: Final = 3.0
#: Exit codes: a fault of ours, and an end that a signal asked for.
FAULT: Final = 70
TERMINATED: Final = 128 + signal.SIGTERM

#: Faults of the other side, of a link or of the machine: not of ours.
_OUTSIDE: Final = (OSError, ssl.SSLError, asyncio.CancelledError)


class Process:
    """This process. `on_terminate`: called when a signal asks for its end."""

    def __init__(self) -> None:
        faulthandler.enable()
        if hasattr(signal, "SIGUSR1"):
            faulthandler.register(signal.SIGUSR1)  # where is everybody?
        logging.basicConfig(level=logging.INFO, format=_FORMAT)
        _log_tail.keep(_FORMAT)
        self.loop = new_loop()
        self.loop.set_exception_handler(self._heed)
        self.on_terminate: Callable[[], None] = lambda: self.end(TERMINATED, "it was told to end")
        self._ended: asyncio.Future[int] = self.loop.create_future()
        self.why = ""

    def end(self, code: int, why: str) -> None:
        """End this process with this exit code; the first call counts."""
        if self._ended.done():
            return
        self.why = why
        _log.log(logging.INFO if code in (0, TERMINATED) else logging.ERROR, "ends: %s", why)
        self._ended.set_result(code)

    @property
    def is_ending(self) -> bool:
        """The end has been asked for."""
        return self._ended.done()

    def crash(self, error: BaseException) -> None:
        """End this process: the engine has failed."""
        _log.critical("a fault of the engine's own", exc_info=error)
        self.end(FAULT, f"a fault of the engine's own: {error!r}")

    def run(
        self, start: Callable[[], Awaitable[None]], stop: Callable[[str], Awaitable[None]]
    ) -> int:
        """Start, live until the end is asked for, stop; the exit code.

        Args:
            stop: given the reason.
        """
        asyncio.set_event_loop(self.loop)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.loop.add_signal_handler(number, self._terminate)
        try:
            return self.loop.run_until_complete(self._live(start, stop))
        except Exception:  # noqa: BLE001 - the last one who can tell
            _log.critical("a fault of the engine's own", exc_info=True)
            return FAULT

    async def _live(
        self, start: Callable[[], Awaitable[None]], stop: Callable[[str], Awaitable[None]]
    ) -> int:
        starting = self.loop.create_task(_awaited(start))
        starting.add_done_callback(self._started)
        code = await asyncio.shield(self._ended)
        faulthandler.dump_traceback_later(END_S, exit=True)
        starting.cancel()
        await stop(self.why)
        return code

    def _started(self, starting: asyncio.Task[None]) -> None:
        if starting.cancelled():
            return
        error = starting.exception()
        if error is not None:
            _log.critical("cannot start", exc_info=error)
            self.end(FAULT, f"it cannot start: {error}")

    def _terminate(self) -> None:
        self.on_terminate()

    def _heed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop tells of an error that nobody caught."""
        error = context.get("exception")
        if error is None or isinstance(error, _OUTSIDE):
            _log.warning("%s", context.get("message"), exc_info=error)
        else:
            self.crash(error)


def leave(code: int) -> NoReturn:
    """End this process now: helper threads and what they wait for are nobody's any more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(code)


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop of the fastest kind there is here."""
    try:
        import uvloop  # noqa: PLC0415 - where it runs
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _awaited(start: Callable[[], Awaitable[None]]) -> None:
    await start()
