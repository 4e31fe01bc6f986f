"""Values as bytes whose large buffers are read where they stand.

A value without large buffers is a plain pickle (its first byte is 0x80). Else the bytes begin with
a head: magic, how many buffers, length of the pickle, length of all; then the buffers' lengths, the
pickle, and the buffers, each on a multiple of 64. All numbers are little-endian. Who unpacks gets
arrays that look at these very bytes; nothing is copied.

Buffers below 4 KiB go into the pickle: to copy them costs less than to tell where they are, and
the arrays made of them may be written to.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final

from treadle.errors import DeserializationError, SerializationError
from treadle.serialize._modules import PROTOCOL
from treadle.serialize._pickling import PlainHome, PlainValue, guarded, text_of

#: Shorter buffers are part of the pickle.
IN_BAND_BYTES: Final = 4096
#: What each buffer starts on a multiple of: a cache line, and the widest vector.
ALIGNMENT: Final = 64

_MAGIC = b"TRD\x01"
#: Magic, number of buffers, bytes of the pickle, bytes of all.
_HEAD = Struct("<4sIQQ")
_PADDING = bytes(ALIGNMENT)

#: What pickles to the same few bytes in any process.
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
_LONG = frozenset({str, bytes})
#: Longer strings and bytes are not copied before they are written.
_PLAIN_BYTES = 16 * 1024
#: Longer lists are not looked at twice.
_FEW = 32

PersistentId = Callable[[Any], Any]
Piece = bytes | bytearray | memoryview


class Packed:
    """A value on its way to bytes: pieces that are written one behind the other.

    The pieces may be the value's own memory: write them before it changes.
    """

    __slots__ = ("nbytes", "pieces")

    def __init__(self, pieces: Sequence[Piece], nbytes: int) -> None:
        #: In order, without gaps.
        self.pieces = pieces
        self.nbytes = nbytes

    def __repr__(self) -> str:
        return f"<Packed of {self.nbytes} bytes in {len(self.pieces)} pieces>"

    def write_into(self, memory: memoryview) -> None:
        """Write all bytes to the beginning of `memory`."""
        position = 0
        for piece in self.pieces:
            end = position + len(piece)
            memory[position:end] = piece
            position = end

    def to_bytes(self) -> bytes:
        """All bytes."""
        first = self.pieces[0]
        if len(self.pieces) == 1 and type(first) is bytes:
            return first
        return b"".join(self.pieces)


_NONE = Packed((pickle.dumps(None, PROTOCOL),), len(pickle.dumps(None, PROTOCOL)))


def pack(
    value: object,
    *,
    home: bool,
    func: object = None,
    persistent_id: PersistentId | None = None,
) -> Packed:
    """Pickle a value, its large buffers beside the pickle and not copied.

    Args:
        home: it goes back to where its call came from, which has all its modules.
        func: what returned it, named in errors.
        persistent_id: as a `pickle.Pickler` has it.

    Raises:
        SerializationError: a part cannot be pickled; it names the path to it.
    """
    if value is None:
        return _NONE
    if persistent_id is None and _is_plain(value):
        plain = pickle.dumps(value, PROTOCOL)
        return Packed((plain,), len(plain))

    def explain(error: BaseException) -> SerializationError:
        from treadle.serialize._unpicklable import explain_value  # noqa: PLC0415 - when it fails

        return explain_value(value, error, func)

    return guarded(lambda obj: _pickled(obj, home, persistent_id), value, explain)


def _is_plain(value: Any) -> bool:
    """Whether plain pickle does as well, at a tenth of the cost: a look at the first level tells
    of most results."""
    kind = type(value)
    if kind in _PLAIN:
        return kind not in _LONG or len(value) <= _PLAIN_BYTES
    if kind is tuple or kind is list:
        return len(value) <= _FEW and _PLAIN.issuperset(map(type, value))
    if kind is dict:
        return (
            len(value) <= _FEW
            and _PLAIN.issuperset(map(type, value))
            and _PLAIN.issuperset(map(type, value.values()))
        )
    return False


def _pickled(value: object, home: bool, persistent_id: PersistentId | None) -> Packed:
    try:
        return _Packing(persistent_id).dump(PlainHome if home else PlainValue, value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a __reduce__ may raise anything
        # As in `dumps`: cloudpickle may manage, and if not, its error is the one that tells why.
        from treadle.serialize import _by_value  # noqa: PLC0415 - cloudpickle

        def dump(pickler: Callable[..., Any], obj: object) -> Packed:
            return _Packing(persistent_id).dump(pickler, obj)

        return dump(_by_value.NamePickler, value) if home else _by_value.by_value(value, dump)


class _Packing:
    """One pickling: the pieces that a pickler writes, and the buffers that it leaves out."""

    __slots__ = ("_buffers", "_persistent_id", "_pieces", "write")

    def __init__(self, persistent_id: PersistentId | None) -> None:
        self._pieces: list[Any] = []
        self._buffers: list[memoryview] = []
        self._persistent_id = persistent_id
        #: A pickler needs no more of a file than this.
        self.write = self._pieces.append

    def dump(self, make: Callable[..., Any], obj: object) -> Packed:
        pickler = make(self, PROTOCOL, buffer_callback=self._leave_out)
        if self._persistent_id is not None:
            pickler.persistent_id = self._persistent_id
        pickler.dump(obj)
        pieces = self._pieces
        nbytes = sum(map(len, pieces))
        if not self._buffers:
            return Packed(pieces, nbytes)
        lengths, offsets, total = layout(nbytes, [len(b) for b in self._buffers])
        head = _HEAD.pack(_MAGIC, len(lengths), nbytes, total)
        whole: list[Piece] = [head, Struct(f"<{len(lengths)}Q").pack(*lengths), *pieces]
        position = _HEAD.size + 8 * len(lengths) + nbytes
        for offset, buffer in zip(offsets, self._buffers, strict=True):
            if offset > position:
                whole.append(_PADDING[: offset - position])
            whole.append(buffer)
            position = offset + len(buffer)
        return Packed(whole, total)

    def _leave_out(self, buffer: pickle.PickleBuffer) -> bool:
        """Whether the pickler shall write the buffer itself."""
        try:
            raw = buffer.raw()
        except BufferError:  # its bytes do not lie side by side
            return True
        if len(raw) < IN_BAND_BYTES:
            return True
        self._buffers.append(raw)
        return False


def layout(pickle_bytes: int, lengths: list[int]) -> tuple[list[int], list[int], int]:
    """Where buffers of these lengths start behind such a pickle, and the length of all."""
    offsets = []
    position = _HEAD.size + 8 * len(lengths) + pickle_bytes
    for length in lengths:
        position = -(-position // ALIGNMENT) * ALIGNMENT
        offsets.append(position)
        position += length
    return lengths, offsets, position


# --- and back ------------------------------------------------------------------------------------


def unpack(
    data: bytes | bytearray | memoryview,
    *,
    writable: bool,
    persistent_load: Callable[[Any], Any] | None = None,
) -> Any:
    """The value in these bytes; its large buffers stay where they are, in `data`.

    Args:
        writable: arrays may be written to: they write to `data`, or to a copy of it where it is
            read-only. Else they are read-only.
        persistent_load: as a `pickle.Unpickler` has it.

    Raises:
        DeserializationError: the bytes are damaged, or something they name cannot be loaded.
    """
    try:
        if not len(data):
            raise ValueError("there are none")
        if data[0] == 0x80:
            return _load(data, (), persistent_load)
        pickled, buffers = _split(data, writable)
        return _load(pickled, buffers, persistent_load)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise DeserializationError(
            f"the {len(data)} bytes of a value cannot be loaded here "
            f"({type(error).__name__}: {text_of(error)})"
        ) from error


def _split(
    data: bytes | bytearray | memoryview, writable: bool
) -> tuple[memoryview, list[memoryview]]:
    """The pickle and the buffers."""
    view = memoryview(data)
    if len(view) < _HEAD.size:
        raise ValueError("they are too few for a head")
    magic, count, nbytes, total = _HEAD.unpack_from(view)
    if magic != _MAGIC:
        raise ValueError(f"they begin with {bytes(view[:4])!r}: that is no value")
    start = _HEAD.size + 8 * count
    if total != len(view) or start + nbytes > total:
        raise ValueError(f"their head tells of {total}, {nbytes} of them a pickle: it is damaged")
    lengths, offsets, end = layout(nbytes, list(Struct(f"<{count}Q").unpack_from(view, _HEAD.size)))
    if end != total:
        raise ValueError(f"their buffers end at {end}: the head is damaged")
    if writable and view.readonly:
        view = memoryview(bytearray(view))
    elif not writable:
        view = view.toreadonly()
    return view[start : start + nbytes], [
        view[offset : offset + length] for offset, length in zip(offsets, lengths, strict=True)
    ]


class _Loader(pickle.Unpickler):
    """An unpickler that asks a function for what has a persistent id."""

    def __init__(
        self,
        data: bytes | bytearray | memoryview,
        buffers: Sequence[memoryview],
        load: Callable[[Any], Any],
    ) -> None:
        self._load = load
        super().__init__(io.BytesIO(data), buffers=buffers)

    def persistent_load(self, pid: Any) -> Any:
        return self._load(pid)


def _load(
    data: bytes | bytearray | memoryview,
    buffers: Sequence[memoryview],
    persistent_load: Callable[[Any], Any] | None,
) -> Any:
    if persistent_load is not None:
        return _Loader(data, buffers, persistent_load).load()
    return pickle.loads(data, buffers=buffers) if buffers else pickle.loads(data)
