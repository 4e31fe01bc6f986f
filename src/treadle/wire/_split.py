"""Messages to frames that are within the limits, by cutting what is too long.

A list of messages that is too much for one frame goes in several. A message that is too much, by
`MAX_ITEMS` or by its bytes, goes as several that mean the same, where that is possible:

- those that are said of each item by itself: Desire, Release, Linger, Cancel, Retry,
  FireAndForget; Upload, Refused; Started, Aside, Back, Holding, Dropped.
- Submit: what a task depends on goes before it or with it. If only some results are wanted, each
  part also wants what later parts depend on, or it would be dropped before they come; a Release
  of these goes last. A graph is ordered part by part.
- Register: objects go behind it in Holding, outcomes as they are. What a Register does not name
  is taken for gone until then, so something may be computed twice, but nothing wrongly.

All others are one answer, one order or one truth (a Beat names *all* attempts), and their sender
keeps them small. Requests that are answered under their number: ask twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from treadle.errors import WireError
from treadle.wire import _client as c
from treadle.wire import _control as k
from treadle.wire import _coordination as o
from treadle.wire import _worker as w
from treadle.wire._codec import MAX_MESSAGES, encode_behind
from treadle.wire._frames import HEADER, MAX_FRAME, Kind
from treadle.wire._terms import MAX_ITEMS, Message, TaskId

T = TypeVar("T")

#: Messages that are said of each item of this field by itself.
_BY_ITEM: Final[dict[type[Message], str]] = {
    c.Desire: "ids",
    c.Release: "ids",
    c.Cancel: "ids",
    c.ReleaseRows: "spans",
    c.CancelRows: "spans",
    c.Retry: "ids",
    c.FireAndForget: "ids",
    o.Linger: "ids",
    c.Upload: "items",
    c.Refused: "ids",
    w.Started: "attempts",
    k.Aside: "attempts",
    k.Back: "attempts",
    w.Holding: "objects",
    w.Dropped: "attempts",
}
#: The field that can be too long, of any message that can be cut.
_LONG: Final[dict[type[Message], tuple[str, ...]]] = {
    **{cls: (field,) for cls, field in _BY_ITEM.items()},
    c.Submit: ("tasks", "wants", "options"),
    w.Register: ("holds", "ended"),
}
#: The header of a frame's list of messages.
_LIST = 5
#: That, and what the headers of the lists in a message grow by when they get items.
_SLACK = 32

_ENCODER = msgspec.msgpack.Encoder()


def frames_of(
    messages: Sequence[Message], *, limit: int = MAX_FRAME, most: int = MAX_ITEMS
) -> list[bytearray]:
    """These messages as frames, ready to be sent in this order.

    Args:
        limit: largest payload. A smaller one keeps the receiver's turns short.
        most: longest list in one message.

    Raises:
        WireError: one of them cannot be sent: it is too large and cannot be cut.
    """
    buffer = encode_behind(b"\0" * HEADER.size, messages)
    size = len(buffer) - HEADER.size
    # An item takes a byte at least: what is shorter than the longest list has no longer one.
    if size <= limit and (size <= most or not _too_many(messages, most)):
        HEADER.pack_into(buffer, 0, size, Kind.messages)
        return [buffer]
    parts = [part for message in messages for part in split(message, limit=limit, most=most)]
    sizes = [_size(part) for part in parts]
    frames = []
    for group in _cut(parts, sizes, limit - _LIST, MAX_MESSAGES):
        buffer = encode_behind(b"\0" * HEADER.size, group)
        HEADER.pack_into(buffer, 0, len(buffer) - HEADER.size, Kind.messages)
        frames.append(buffer)
    return frames


def split(message: Message, *, limit: int = MAX_FRAME, most: int = MAX_ITEMS) -> list[Message]:
    """This message as one or more, each of which fits into a frame and has no list too long.

    Raises:
        WireError: it is too large and cannot be cut.
    """
    if not _too_many([message], most) and _size(message) <= limit - _LIST:
        return [message]
    room = limit - _SLACK
    if isinstance(message, c.Submit):
        parts = _split_submit(message, room, most)
    elif isinstance(message, w.Register):
        parts = _split_register(message, room, most)
    elif type(message) in _BY_ITEM:
        parts = _split_by_item(message, _BY_ITEM[type(message)], room, most)
    else:
        parts = [message]
    for part in parts:
        name = type(part).__name__
        if (size := _size(part)) > limit - _LIST:
            raise WireError(
                f"a {name}{_about(part)} of {size:,} bytes is over the limit of {limit:,}"
            )
        if _too_many([part], most):
            raise WireError(f"a {name} has a list of more than {most:,} items")
    return parts


# --- details -----------------------------------------------------------------------------------


def _too_many(messages: Sequence[Message], most: int) -> bool:
    return len(messages) > MAX_MESSAGES or any(
        len(getattr(message, field) or ()) > most
        for message in messages
        for field in _LONG.get(type(message), ())
    )


def _about(part: Message) -> str:
    """The task it is about, if it is one."""
    tasks = part.tasks if isinstance(part, c.Submit) else (part,)
    id = getattr(tasks[0], "id", None) if len(tasks) == 1 else None
    return "" if id is None else f" of task {str(id)[:60]}"


def _cut(items: Sequence[T], sizes: Sequence[int], room: int, most: int) -> list[list[T]]:
    """Groups in order, each of at most `most` items and `room` bytes, or of one item."""
    groups: list[list[T]] = []
    used = 0
    for item, size in zip(items, sizes, strict=True):
        if not groups or used + size > room or len(groups[-1]) == most:
            groups.append([])
            used = 0
        groups[-1].append(item)
        used += size
    return groups


def _size(thing: object) -> int:
    return len(_ENCODER.encode(thing))


def _split_by_item(message: Message, field: str, limit: int, most: int) -> list[Message]:
    items: tuple[object, ...] = getattr(message, field)
    room = limit - _size(_with(message, {field: ()}))
    groups = _cut(items, [_size(item) for item in items], room, most) or [[]]
    return [_with(message, {field: tuple(group)}) for group in groups]


def _split_register(message: w.Register, limit: int, most: int) -> list[Message]:
    bare = replace(message, holds=(), ended=())
    # Outcomes first: what an attempt came to is worth more than where an object is.
    ended = _cut(message.ended, [_size(item) for item in message.ended], limit - _size(bare), most)
    first = replace(bare, ended=tuple(ended[0])) if ended else bare
    if _size(first) > limit:
        first = bare
    else:
        ended = ended[1:]
    sizes = [_size(item) for item in message.holds]
    held, room = 0, limit - _size(first)
    while held < len(sizes) and held < most and sizes[held] <= room:
        room -= sizes[held]
        held += 1
    parts: list[Message] = [replace(first, holds=message.holds[:held])]
    for group in ended:
        parts += group
    if rest := message.holds[held:]:
        parts += _split_by_item(w.Holding(rest), "objects", limit, most)
    return parts


def _split_submit(message: c.Submit, limit: int, most: int) -> list[Message]:
    tasks = _dependencies_first(message.tasks)
    bare = replace(message, tasks=(), wants=None if message.wants is None else ())
    # A part wants, at most, all of its tasks: room for a second time their identifiers.
    sizes = [_size(task) + (message.wants is not None) * _size(task.id) for task in tasks]
    groups = _cut(tasks, sizes, limit - _size(bare), most) or [[]]
    parts = [replace(bare, tasks=tuple(group)) for group in groups]
    if message.wants is None:
        return [*parts]
    owner = {id: n for n, group in enumerate(groups) for task in group for id in _ids_of(task)}
    wanted: list[dict[TaskId, None]] = [{} for _ in groups]
    for id in message.wants:
        wanted[owner.get(id, -1)][id] = None
    needed: dict[TaskId, None] = {}
    for n, group in enumerate(groups):
        for task in group:
            for id in task.dependencies:
                at = owner.get(id, n)
                if at < n and id not in wanted[at]:
                    wanted[at][id] = needed[id] = None
    asked: list[Message] = [
        replace(part, wants=tuple(wants)) for part, wants in zip(parts, wanted, strict=True)
    ]
    if needed:
        asked += _split_by_item(c.Release(tuple(needed)), "ids", limit, most)
    return asked


def _ids_of(task: c.TaskSpec) -> list[TaskId]:
    """All that others may call this task: of a bundle, each row by itself."""
    if isinstance(task.id, int):
        return [task.id + row for row in range(max(1, len(task.rows)))]
    return [task.id]


def _dependencies_first(tasks: Sequence[c.TaskSpec]) -> list[c.TaskSpec]:
    """The tasks, each behind those it depends on; in the order given where that is so already.

    Tasks that depend on each other in a ring stay as they are: the scheduler refuses them.
    """
    place = {id: at for at, task in enumerate(tasks) for id in _ids_of(task)}
    ordered: dict[int, None] = {}
    entered: dict[int, None] = {}
    for start in range(len(tasks)):
        stack = [start]
        while stack:
            at = stack[-1]
            if at in entered:
                stack.pop()
                ordered[at] = None
                continue
            entered[at] = None
            before = [place[id] for id in tasks[at].dependencies if id in place]
            stack += [dep for dep in reversed(before) if dep not in entered]
    return [tasks[at] for at in ordered]


def _with(message: Message, changes: dict[str, Any]) -> Message:
    return replace(message, **changes)
