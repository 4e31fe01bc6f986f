"""Requests that may wait at the scheduler, and what they give.

An answer of such a request can give something: a place, items. Its client says that it has it
(`Heard`), or wants it no longer (`Withdraw`): whoever stops waiting, by Ctrl-C or because a task of
an event loop is cancelled, holds nothing that he does not know of, even if the answer was on its
way. Waits are timed by the scheduler, so an answer and the end of the time cannot cross; only if it
cannot be reached does the client give up by its own clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from treadle import wire
from treadle.client._flows import Flow, Pending
from treadle.cluster._session_bond import State
from treadle.dataflow._lazy import LazyFuture
from treadle.errors import SchedulerLost, TreadleError

if TYPE_CHECKING:
    from treadle.cluster._session import Session

T = TypeVar("T")

#: How long the scheduler's word that the time is up is waited for, beyond that time.
_GRACE_S: Final = 5.0
#: Answers that have come, before the scheduler is told of them without another reason.
_HEARD: Final = 64
_SILENT: Final = (State.off, State.burying, State.closed)


class _Request:
    """One request: its number, and its answer."""

    __slots__ = ("answer", "ask", "make")

    def __init__(self, make: Callable[[int], wire.Message]) -> None:
        self.make = make
        #: 0 until it is said.
        self.ask = 0
        self.answer: LazyFuture[Any] = LazyFuture()


class Asker:
    """One client's requests.

    Args:
        session: the client's.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        #: Answers that have come, and of which the scheduler was not told that.
        self._heard: deque[int] = deque()
        self._announced = 0

    def ask(
        self,
        make: Callable[[int], wire.Message],
        take: Callable[[Any], T],
        *,
        timeout: float | None = None,
        late: Any = None,
        promptly: bool = False,
    ) -> Flow[T]:
        """Ask, and take what the answer gives: a flow of what `take(answer)` returns.

        Args:
            make: makes the request of its number.
            take: called with the answer, in the caller's thread; once it has begun, what the answer
                gives is the client's.
            timeout: how long the scheduler lets it wait; None: as long as it takes.
            late: the answer that says that the time is up.
            promptly: the scheduler is told at once that the answer has come.

        Raises:
            SchedulerLost: there is none.
            TreadleError: it says why there is no answer.
        """
        request = _Request(make)
        self._session.call(partial(self._say, request))
        try:
            try:
                reply = yield Pending(
                    request.answer, None if timeout is None else timeout + _GRACE_S
                )
            except TimeoutError:
                if timeout is None:
                    raise
                self._withdraw(request)
                return take(late)
            if reply is None:
                raise SchedulerLost("there is no scheduler to ask")
            if not reply.error:
                value = take(reply.value)
        except Exception:
            if request.answer.done():
                self._has_come(request, promptly)  # it is taken, and whatever was wrong is told
            else:
                self._withdraw(request)
            raise
        except BaseException:
            self._withdraw(request)
            raise
        self._has_come(request, promptly)
        if reply.error:
            raise TreadleError(reply.error)
        return value

    def announce(self, topic: str, data: bytes) -> None:
        """Announce this, behind all that was announced before. Does not wait."""
        self._session.call(partial(self._announce, topic, data))

    def _withdraw(self, request: _Request) -> None:
        self._session.call(partial(self._take_back, request))

    def _has_come(self, request: _Request, promptly: bool) -> None:
        self._heard.append(request.ask)
        if promptly or len(self._heard) >= _HEARD:
            self._session.call(self._say_heard)

    # --- on the engine thread ----------------------------------------------------------------

    def _say(self, request: _Request) -> None:
        session = self._session
        if self._heard:
            self._say_heard()

        def numbered(ask: int) -> wire.Message:
            request.ask = ask
            return request.make(ask)

        session.ask(numbered, request.answer.set_result)

    def _take_back(self, request: _Request) -> None:
        if request.ask and self._can_speak():
            self._session.ledger.say(wire.Withdraw(request.ask))
            self._session.touch()

    def _say_heard(self) -> None:
        heard = self._heard
        while heard:
            asks = [heard.popleft() for _ in range(min(len(heard), wire.MAX_ITEMS))]
            if self._can_speak():
                self._session.ledger.say(wire.Heard(tuple(asks)))
                self._session.touch()

    def _announce(self, topic: str, data: bytes) -> None:
        if self._can_speak():
            self._announced += 1
            self._session.ledger.say(wire.Announce(topic, data, self._announced))
            self._session.touch()

    def _can_speak(self) -> bool:
        session = self._session
        return session.dead is None and session.bond.state not in _SILENT
