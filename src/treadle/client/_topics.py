"""Topics and metadata of a cluster: what clients say to all, and what they hear."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from treadle import wire
from treadle.client._base import ClientBase, Flow
from treadle.client._items import loaded, packed
from treadle.client._named import checked_name
from treadle.client._subscriptions import Event, Subscriptions

#: Stands for: no default was given.
_NONE: Any = object()


class TopicCalls(ClientBase):
    """What a client says to, and hears from, others of its cluster."""

    _subscriptions: Subscriptions | None = None

    # --- topics ----------------------------------------------------------------------------------

    def log_event(self, topic: str | Sequence[str], msg: Any) -> None:
        """Announce something to all who have subscribed to a topic (or to several). Does not wait.

        Each topic remembers its newest 10,000 messages, and 16 MiB of them.

        Raises:
            SerializationError: the message cannot be pickled.
            ValueError: it is too large.
        """
        self._running()
        topics = (topic,) if isinstance(topic, str) else tuple(topic)
        names = [checked_name(name, "log_event") for name in topics]
        data = packed((time.time(), msg), f"log_event({topic!r})").data
        for name in names:
            self._asker.announce(name, data)

    def get_events(self, topic: str) -> list[Event]:
        """What was announced to a topic, the oldest first: when, and what."""
        return self._do(self._events(checked_name(topic, "get_events")))

    def _events(self, topic: str) -> Flow[list[Event]]:
        _, rows = yield from self._ask(lambda ask: wire.Recall(ask, topic))
        return [loaded(self, data, ()) for data in rows]

    def subscribe_topic(self, topic: str, handler: Callable[[Event], Any]) -> None:
        """Have `handler((when, what))` called for all that is announced to a topic from now on.

        It is called once for each message, in order, one after the other. It may be a coroutine
        function. Of an asynchronous client, it runs on the event loop that subscribed; else on a
        thread of the client's. What it raises is logged. A topic has one handler of each client:
        another one takes its place.
        """
        checked_name(topic, "subscribe_topic")
        if not callable(handler):
            raise TypeError(f"subscribe_topic({topic!r}, {handler!r}): give a function")
        self._running()
        return self._do(self._heard().subscribe(topic, handler))

    def unsubscribe_topic(self, topic: str) -> None:
        """Have the topic's handler called no longer.

        Raises:
            ValueError: there is none.
        """
        return self._do(self._heard().unsubscribe(topic))

    def _heard(self) -> Subscriptions:
        with self._lock:
            if self._subscriptions is None:
                self._subscriptions = Subscriptions(self)
            return self._subscriptions

    # --- metadata --------------------------------------------------------------------------------

    def set_metadata(self, key: str | Sequence[str], value: Any) -> None:
        """Set what stands at a path in a tree that all clients share.

        A dict whose keys are all text becomes a part of the tree: what stands in it can be read and
        set by its own path.

        Args:
            key: a name, or names: a path.
            value: anything that can be pickled; small.
        """
        path = _path(key, "set_metadata")
        tree = _packed_tree(value, f"set_metadata({key!r})")
        return self._do(self._set_metadata(path, tree))

    def _set_metadata(self, path: tuple[str, ...], tree: Any) -> Flow[None]:
        self._running()
        yield from self._asker.ask(lambda ask: wire.SetMetadata(ask, path, tree), bool)

    def get_metadata(self, key: str | Sequence[str] = (), default: Any = _NONE) -> Any:
        """What stands at a path, or the default.

        Raises:
            KeyError: there is nothing, and no default.
        """
        return self._do(self._get_metadata(_path(key, "get_metadata"), default))

    def _get_metadata(self, path: tuple[str, ...], default: Any) -> Flow[Any]:
        found = yield from self._ask(lambda ask: wire.GetMetadata(ask, path))
        if found is None:
            if default is _NONE:
                raise KeyError(*path)
            return default
        return self._loaded_tree(found)

    def _loaded_tree(self, tree: Any) -> Any:
        if isinstance(tree, dict):
            return {name: self._loaded_tree(value) for name, value in tree.items()}
        return loaded(self, tree, ())


def _path(key: str | Sequence[str], what: str) -> tuple[str, ...]:
    names = (key,) if isinstance(key, str) else tuple(key)
    return tuple([checked_name(name, what) for name in names])


def _packed_tree(value: Any, what: str) -> Any:
    if type(value) is dict and all(isinstance(name, str) for name in value):
        return {checked_name(name, what): _packed_tree(value[name], what) for name in value}
    return packed(value, what).data
