"""The calls that an old checkpoint knows, read when a miss is to be explained."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from treadle.dataflow.memo.miss import History, KnownCall
from treadle.dataflow.memo.payload import parts_key, read_header, read_parts

if TYPE_CHECKING:
    from treadle.dataflow.memo._checkpoints import Earlier

#: How much of the checkpoints is read, newest first.
_MAX_RECORDS = 4096
_MAX_BYTES = 64 << 20


class LogHistory:
    """Reads, once, what the newest records of earlier runs were made of."""

    def __init__(self, earlier: Earlier) -> None:
        self._earlier = earlier
        self._history: History | None = None
        self._lock = Lock()

    def forget(self) -> None:
        """More checkpoints have been loaded."""
        self._history = None

    def calls(self, app: str) -> list[KnownCall]:
        """The calls of an app, oldest first."""
        with self._lock:
            history = self._history
            if history is None:
                history = self._history = self._read()
        return [call for call in history.before(app, history.now()) if isinstance(call, KnownCall)]

    def _read(self) -> History:
        found: list[tuple[str, KnownCall]] = []
        fixed: dict[str, dict[str, bytes]] = {}
        left = _MAX_BYTES
        for digest in reversed(self._earlier.newest_keys(_MAX_RECORDS)):
            payload = self._earlier.get(digest)
            header = None if payload is None else read_header(payload)
            if payload is None or header is None:
                continue
            if header.fixed_id not in fixed:
                fixed[header.fixed_id] = read_parts(self._earlier.get(parts_key(header.fixed_id)))
            parts = fixed[header.fixed_id] | header.own
            found.append((header.app, KnownCall(digest, parts)))
            left -= len(payload)
            if left <= 0:
                break
        history = History()
        for app, call in reversed(found):
            history.add(app, call)
        return history
