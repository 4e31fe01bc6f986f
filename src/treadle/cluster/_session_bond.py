"""The bond between a session and its scheduler: links come and go, and at last the scheduler.

On this machine a link ends when the scheduler does. Elsewhere it may be lost alone: then it is
dialled again, for as long as the scheduler remembers us. All of this happens on the engine thread,
but for what takes time (starting a scheduler, finding out how one ended), which is done on the pool.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from treadle.errors import HandshakeRefused, SchedulerLost
from treadle.log import logger
from treadle.wire import Leave

if TYPE_CHECKING:
    import asyncio

    from treadle.cluster._homes import Home
    from treadle.cluster._ledger import Ledger
    from treadle.cluster._link import Ear, Link
    from treadle.wire import Party

_log = logger("cluster")

#: On this machine the books ask whether they were heard so long after they have said something;
#: between machines they say so often that they are alive, and give a link up when nothing comes.
HEARD_S: Final = 0.25
BEAT_S: Final = 3.0
SILENT_S: Final = 12.0
#: How long a scheduler is dialled whose process has surely ended: another may take its place.
_REDIAL_S: Final = 2.0

Error = Callable[[], BaseException]


class State(Enum):
    """How a bond is."""

    off = "there is no scheduler"
    starting = "a scheduler is being started"
    on = "there is a scheduler; the link to it may be lost"
    burying = "the scheduler is lost, and it is being found out how it ended"
    closed = "there will be no other"


class Owner(Protocol):
    """What a bond needs of its session."""

    loop: asyncio.AbstractEventLoop

    def call(self, fn: Callable[[], None]) -> None:
        """Have this called on the engine thread."""

    def me(self) -> Party:
        """Who this is, in handshakes."""

    def flush(self) -> None:
        """There is a link: send what is to be sent."""

    def bereft(self, error: Error) -> None:
        """All that the scheduler knew is gone with it."""


class Bond:
    """The bond of one session.

    Args:
        ear: hears the links.
        spawn: runs a coroutine.
        on_pool: runs what takes time.
    """

    def __init__(
        self,
        home: Home,
        ledger: Ledger,
        owner: Owner,
        ear: Ear,
        *,
        spawn: Callable[[Any], None],
        on_pool: Callable[[Callable[[], None]], None],
    ) -> None:
        self.home = home
        self.state = State.off
        self.link: Link | None = None
        self._ledger = ledger
        self._owner = owner
        self._ear = ear
        self._spawn = spawn
        self._on_pool = on_pool
        #: When something last came by the link; when the last link was lost.
        self._heard_at = 0.0
        self._lost_at: float | None = None
        #: A beat is due.
        self._beating = False

    # --- from any thread ---------------------------------------------------------------------

    def start(self) -> None:
        """Have a scheduler, now.

        Raises:
            ConfigurationError, OSError: there can be none.
        """
        self.home.start()
        self.state = State.on
        self._owner.call(self.connect)

    # --- on the engine thread ----------------------------------------------------------------

    def start_again(self) -> None:
        """Have a new scheduler, soon."""
        self.state = State.starting
        self._on_pool(self._start_now)

    def _start_now(self) -> None:
        """On the pool."""
        try:
            self.home.start()
        except Exception as error:  # noqa: BLE001 - it ends the tasks that wait for it
            text = f"a new scheduler cannot be started: {error}"
            self._owner.call(partial(self._over, lambda: SchedulerLost(text)))
        else:
            self._owner.call(self._started)

    def _started(self) -> None:
        if self.state is State.starting:
            self.state = State.on
            self.connect()
        elif self.state is State.closed:
            self._on_pool(self.home.end)

    def connect(self) -> None:
        """Open a link."""
        if self.link is None and self.state is State.on:
            self._spawn(self._connect_now())

    async def _connect_now(self) -> None:
        try:
            link = await self.home.connect(self._owner.me(), self._ear)
        except HandshakeRefused as error:
            self.bury(str(error))
            return
        except OSError as error:
            self._missed(str(error))
            return
        if self.state is not State.on:
            link.close("the client ends")
            return
        self.link = link
        self._lost_at = None
        self.heard()
        self.attach()
        if not self.home.boldly:
            self._beat_later(BEAT_S)

    def attach(self) -> None:
        """Tell the scheduler who we are."""
        if self.link is not None:
            self.link.send(self._ledger.link_up(boldly=self.home.boldly))
            self._owner.flush()

    def heard(self) -> None:
        """Something has come."""
        self._heard_at = self._owner.loop.time()

    def send(self) -> None:
        """Send what stands in the books."""
        link = self.link
        if link is None:
            return
        messages = self._ledger.take()
        if messages:
            link.send(messages)
        if self._ledger.unacked and self.home.boldly:
            self._beat_later(HEARD_S)

    def lost(self, link: Link, why: str) -> None:
        """A link is lost."""
        if link is not self.link:
            return
        self.link = None
        self._ledger.attached = False
        if self.state is State.on:
            self._missed(why)

    def _missed(self, why: str) -> None:
        """There is no link: try again, or give it up."""
        now = self._owner.loop.time()
        if self._lost_at is None:
            self._lost_at = now
        away_s = now - self._lost_at
        patience_s = _REDIAL_S if self.home.is_gone() else self._ledger.lease_s
        if self.home.comes_back and away_s < patience_s:
            self._owner.loop.call_later(min(2.0, 0.1 + away_s / 4), self.connect)
        else:
            self.bury(why)

    def bury(self, why: str) -> None:
        """The scheduler is lost for good."""
        if self.state is State.on:
            self.state = State.burying
            self._on_pool(partial(self._bury_now, why))

    def _bury_now(self, why: str) -> None:
        """On the pool."""
        lost = self.home.bury(why)
        _log.error("%s", lost)
        # Made anew for each that ends by it: raising one exception often makes its trace long.
        error = partial(SchedulerLost, lost.reason, lost.exit_code, lost.log_tail)
        self._owner.call(partial(self._over, error))

    def _over(self, error: Error) -> None:
        if self.state is not State.closed:
            self.state = State.off
        self._lost_at = None
        self._owner.bereft(error)

    # --- beats -------------------------------------------------------------------------------

    def _beat_later(self, delay_s: float) -> None:
        if not self._beating:
            self._beating = True
            self._owner.loop.call_later(delay_s, self._beat)

    def _beat(self) -> None:
        self._beating = False
        link = self.link
        if link is None:
            return
        if not self.home.boldly:
            if self._owner.loop.time() - self._heard_at > SILENT_S:
                link.close("nothing has come by it for a while")
                return
            self._beat_later(BEAT_S)
        if self._ledger.attached:
            link.send([self._ledger.beat()])

    # --- the end -----------------------------------------------------------------------------

    def say_goodbye(self) -> None:
        """Leave."""
        self.state = State.closed
        link, self.link = self.link, None
        if link is not None:
            link.send([Leave()])
            link.close("goodbye")

    def forsake(self) -> None:
        """The loop is not ours any more: let go of the link without a word."""
        self.state = State.closed
        link, self.link = self.link, None
        if link is not None:
            link.forsake()
