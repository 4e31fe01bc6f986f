"""Why a call was not found: the difference to the nearest call that was."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from treadle.dataflow.memo.key import MemoKey

Change = Literal["changed", "added", "removed"]

#: Keys remembered for each app, and apps.
_PER_APP = 64
_APPS = 1024

_WORDS = {"arg": "argument", "default": "default of"}


@dataclass(frozen=True, slots=True)
class MissReport:
    """How the key of a call differs from the nearest earlier key of the same app."""

    #: Name of the app.
    app: str
    #: Parts of the key that differ; empty if nothing is known of an earlier call.
    rows: tuple[tuple[str, Change], ...]
    #: Whether any earlier call of the app is known.
    has_earlier: bool

    def __str__(self) -> str:
        if not self.has_earlier:
            return f"no earlier result of {self.app!r}"
        if not self.rows:
            return "no earlier result: the same call has run before, but its result was not kept"
        return "no earlier result: " + ", ".join(_say(part, change) for part, change in self.rows)


@dataclass(frozen=True, slots=True)
class KnownCall:
    """A call that has a result."""

    digest: str
    parts: Mapping[str, bytes]


class History:
    """The last keys with a result, app by app. Thread-safe, bounded."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, deque[tuple[int, MemoKey | KnownCall]]] = OrderedDict()
        self._lock = Lock()
        self._count = 0

    def now(self) -> int:
        """A mark: what is added later is not earlier than this."""
        return self._count

    def add(self, app: str, call: MemoKey | KnownCall) -> None:
        """Remember a call that has a result."""
        with self._lock:
            calls = self._calls.get(app)
            if calls is None:
                calls = self._calls[app] = deque(maxlen=_PER_APP)
                if len(self._calls) > _APPS:
                    self._calls.popitem(last=False)
            self._count += 1
            calls.append((self._count, call))

    def before(self, app: str, mark: int) -> list[MemoKey | KnownCall]:
        """The calls of an app that were known at a mark, oldest first."""
        with self._lock:
            return [call for at, call in self._calls.get(app, ()) if at <= mark]


def explain(key: MemoKey, earlier: Iterable[MemoKey | KnownCall]) -> MissReport:
    """The report for a key, given the calls that could have been found, oldest first."""
    best: tuple[tuple[str, Change], ...] | None = None
    mine = key.parts
    for call in earlier:
        rows = () if call.digest == key.digest else difference(call.parts, mine)
        if best is None or len(rows) <= len(best):
            best = rows
    return MissReport(key.app, best or (), best is not None)


def gone_outputs(key: MemoKey, paths: Iterable[str]) -> MissReport:
    """The report for a call that is known and whose files are not there any more."""
    return MissReport(key.app, tuple((f"output {path}", "removed") for path in paths), True)


def difference(
    old: Mapping[str, bytes], new: Mapping[str, bytes]
) -> tuple[tuple[str, Change], ...]:
    """The parts that differ, sorted; an argument equal to a default that was left out does not."""
    rows: list[tuple[str, Change]] = []
    old_values, new_values = _by_parameter(old), _by_parameter(new)
    for part in sorted(old_values.keys() | new_values.keys()):
        before, after = old_values.get(part), new_values.get(part)
        if before is None or after is None:
            name, _ = before or after or (part, b"")
            rows.append((name, "added" if before is None else "removed"))
        elif before[1] != after[1]:
            rows.append((after[0], "changed"))
    return tuple(rows)


def _by_parameter(parts: Mapping[str, bytes]) -> dict[str, tuple[str, bytes]]:
    return {_parameter(name): (name, value) for name, value in parts.items()}


def _parameter(name: str) -> str:
    kind, _, bare = name.partition(" ")
    return f"arg {bare}" if kind == "default" and "." not in bare else name


def _say(part: str, change: Change) -> str:
    if part == "code":
        return f"its own code {change}"
    if part == "python":
        return f"Python's version {change}"
    kind, _, bare = part.partition(" ")
    if kind == "helper":
        bare = bare.rpartition(".")[2]
    return f"{_WORDS.get(kind, kind)} {bare.lstrip('*')!r} {change}"
