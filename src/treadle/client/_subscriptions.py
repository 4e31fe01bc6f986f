"""What a client hears of topics: each message once, in order, off the engine thread.

On a new link the client says of each topic which message it heard last, and is told what came after
it. Messages are numbered, so what comes twice is known; and if the scheduler has forgotten some by
then, that is said in the log.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from treadle import wire
from treadle.client._flows import Flow, Pending
from treadle.client._items import loaded
from treadle.dataflow._lazy import LazyFuture
from treadle.errors import SchedulerLost
from treadle.log import logger

if TYPE_CHECKING:
    from treadle.client._base import ClientBase

_log = logger("client")

#: When it was announced (seconds since 1970, where it was said), and what.
Event = tuple[float, Any]
#: Messages that a handler may be behind; then the oldest are dropped.
MAX_BEHIND: Final = 100_000


class _Topic:
    """One topic that is heard.

    Args:
        loop: where the handler runs; None: on threads of the engine's pool.
    """

    def __init__(
        self,
        client: ClientBase,
        name: str,
        handler: Callable[[Event], Any],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.name = name
        #: What comes is for this handler, and not for one before it. The engine thread's, as `last`.
        self.has_begun = False
        #: The number of the last message that was heard; None: any may be the first.
        self.last: int | None = None
        self._client = client
        self._handler = handler
        self._loop = loop
        self._waiting: deque[bytes] = deque()
        self._lock = threading.Lock()
        #: Somebody calls the handler, or is about to.
        self._running = False
        self._dropped = 0
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    def hear(self, message: wire.Announced) -> None:
        """A message has come. On the engine thread."""
        last = self.last
        if not self.has_begun:
            return
        if last is not None:
            if message.number <= last:
                return
            if message.number > last + 1:
                missed = message.number - last - 1
                _log.warning("topic %r: %d messages were missed", self.name, missed)
        self.last = message.number
        with self._lock:
            self._waiting.append(message.data)
            if len(self._waiting) > MAX_BEHIND:
                self._waiting.popleft()
                self._dropped += 1
            if self._running:
                return
            self._running = True
        if self._loop is None:
            self._client._session.engine.pool.submit(self._run)
        else:
            self._call_on(self._loop)

    def end(self) -> None:
        """The handler is not called any more."""
        with self._lock:
            self._ended = True
            self._waiting.clear()

    def _next(self) -> bytes | None:
        with self._lock:
            if self._dropped:
                _log.warning(
                    "topic %r: its handler is too slow: %d messages were dropped",
                    self.name,
                    self._dropped,
                )
                self._dropped = 0
            if self._waiting and not self._ended:
                return self._waiting.popleft()
            self._running = False
            return None

    def _run(self) -> None:
        """Handle all that waits; on the pool."""
        while (data := self._next()) is not None:
            try:
                outcome = self._handler(loaded(self._client, data, ()))
                if inspect.iscoroutine(outcome):
                    asyncio.run(outcome)
            except BaseException as error:  # noqa: BLE001 - code of the user's
                self._failed(error)

    def _call_on(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(self._start)
        except RuntimeError:
            self.end()  # that loop has been closed: nobody listens any more

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run_here())

    async def _run_here(self) -> None:
        """Handle all that waits; on the user's event loop."""
        while (data := self._next()) is not None:
            try:
                outcome = self._handler(loaded(self._client, data, ()))
                if inspect.isawaitable(outcome):
                    await outcome
            except asyncio.CancelledError:
                self.end()
                raise
            except Exception as error:  # noqa: BLE001 - code of the user's
                self._failed(error)
            await asyncio.sleep(0)  # others on the loop have their turn

    def _failed(self, error: BaseException) -> None:
        _log.error("a handler of topic %r raised", self.name, exc_info=error)


class Subscriptions:
    """All that one client hears."""

    def __init__(self, client: ClientBase) -> None:
        self._client = client
        self._topics: dict[str, _Topic] = {}
        session = client._session
        session.on_announced = self._announced
        session.on_bereft = self._bereft
        session.ledger.standing = self._standing

    def subscribe(self, name: str, handler: Callable[[Event], Any]) -> Flow[None]:
        """Hear a topic: a flow that ends when the scheduler knows it."""
        loop = asyncio.get_running_loop() if self._client.asynchronous else None
        topic = _Topic(self._client, name, handler, loop)
        answer: LazyFuture[Any] = LazyFuture()
        self._client._session.call(partial(self._begin, topic, answer))
        reply = yield Pending(answer)
        if reply is None:
            raise SchedulerLost("there is no scheduler to ask")

    def unsubscribe(self, name: str) -> Flow[None]:
        """Hear it no longer: a flow that ends when that is so."""
        ended: LazyFuture[bool] = LazyFuture()
        self._client._session.call(partial(self._end, name, ended))
        if not (yield Pending(ended)):
            raise ValueError(f"unsubscribe_topic({name!r}): there is no handler of this topic")

    # --- on the engine thread ----------------------------------------------------------------

    def _begin(self, topic: _Topic, answer: LazyFuture[Any]) -> None:
        old = self._topics.get(topic.name)
        self._topics[topic.name] = topic
        if old is not None:
            old.end()
            topic.has_begun, topic.last = old.has_begun, old.last

        def known(reply: Any) -> None:
            if reply is None:
                self._topics.pop(topic.name, None)
            elif not topic.has_begun:
                topic.has_begun, topic.last = True, reply.value
            answer.set_result(reply)

        session = self._client._session
        session.ask(lambda ask: wire.Subscribe(topic.name, None, ask), known)

    def _end(self, name: str, ended: LazyFuture[bool]) -> None:
        session = self._client._session
        topic = self._topics.pop(name, None)
        if topic is not None:
            topic.end()
            session.ask(lambda ask: wire.Unsubscribe(name, ask), lambda reply: None)
        ended.set_result(topic is not None)

    def _announced(self, message: wire.Announced) -> None:
        topic = self._topics.get(message.topic)
        if topic is not None:
            topic.hear(message)

    def _bereft(self) -> None:
        """The scheduler is lost, or has forgotten this client: numbers begin anew."""
        for topic in self._topics.values():
            topic.last = None

    def _standing(self) -> list[wire.Message]:
        topics = tuple(self._topics.values())
        return [wire.Subscribe(topic.name, topic.last) for topic in topics if topic.has_begun]
