"""What stands in queues, variables, topics and metadata: pickled values, some with futures in them."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

from treadle import wire
from treadle.client import _current
from treadle.client._futures import ClientFuture
from treadle.errors import DeserializationError
from treadle.serialize import loads
from treadle.serialize._modules import PROTOCOL
from treadle.serialize._pickling import PlainValue
from treadle.serialize._unpicklable import explain_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from treadle.client._base import ClientBase
    from treadle.wire import TaskId

#: Functions that make a future when a pickle is loaded.
_REVIVERS = ("revived", "_revived")


def packed(value: object, what: str) -> wire.Item:
    """A value as its readers unpickle it.

    Raises:
        SerializationError: it cannot be pickled.
        ValueError: it is too large.
    """
    ids: dict[TaskId, None] = {}
    try:
        data = _dump(value, ids)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise explain_value(value, error) from error
    if len(data) > wire.MAX_ITEM:
        raise ValueError(
            f"{what}: the value takes {len(data):,} bytes; at most {wire.MAX_ITEM:,} are allowed. "
            f"Give large data to the workers, client.scatter(value), and pass the future"
        )
    return wire.Item(data, tuple(ids))


def loaded(client: ClientBase, data: bytes, ids: object) -> Any:
    """The value; futures in it belong to this client, and want their results from now on.

    Raises:
        DeserializationError: it cannot be loaded here.
    """
    with _current.named(client):
        if not ids:
            return loads(data)
        found: list[ClientFuture[Any]] = []
        try:
            value = _Loader(io.BytesIO(data), found).load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            text = f"a value of {len(data)} bytes cannot be loaded here: {error!r}"
            raise DeserializationError(text) from error
        for future in found:
            client._mine(future)
        return value


def _dump(value: object, ids: dict[TaskId, None]) -> bytes:
    try:
        return _dump_by(PlainValue, value, ids)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a __reduce__ may raise anything; as in serialize.dumps
        from treadle.serialize._by_value import by_value  # noqa: PLC0415 - cloudpickle

        data: bytes = by_value(value, lambda kind, obj: _dump_by(kind, obj, ids))
        return data


def _dump_by(kind: Any, value: object, ids: dict[TaskId, None]) -> bytes:
    ids.clear()
    buffer = io.BytesIO()

    class Noticing(kind):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, ClientFuture):
                ids[obj.id] = None
            return super().reducer_override(obj)

    Noticing(buffer, PROTOCOL).dump(value)
    return buffer.getvalue()


class _Loader(pickle.Unpickler):
    """Notices the futures that it makes."""

    def __init__(self, file: io.BytesIO, found: list[ClientFuture[Any]]) -> None:
        super().__init__(file)
        self._found = found

    def find_class(self, module: str, name: str) -> Any:
        made = super().find_class(module, name)
        if name in _REVIVERS and module.startswith("treadle.client."):
            return self._noticing(made)
        return made

    def _noticing(self, revive: Callable[..., Any]) -> Callable[..., Any]:
        def noticed(*args: Any) -> Any:
            future = revive(*args)
            self._found.append(future)
            return future

        return noticed
