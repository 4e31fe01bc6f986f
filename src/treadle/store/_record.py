"""The bytes of one segment: how a record is written, and how records are found again.

Two rules. A record is believed only if its keyed checksum fits, so that neither damage nor a
planted file is ever handed to a reader. And damage costs only the bytes it touched: after it the
scanner searches the next magic and verifies again.

A payload may contain anything, also the bytes of other records (a task that returns a copy of a
checkpoint). So the checksum covers the id of the segment and a sequence number that must grow:
an old record found inside a damaged one is not taken for its successor.

Pure: no file, no clock, no lock. docs/checkpoint-format.md has the same, byte by byte.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple
from zlib import crc32

#: Starts every segment. The last byte is the version of the format; the others make a transfer
#: in text mode visible, as PNG's do.
FILE_MAGIC = b"\x89TLOG\r\n\x01"
MAGIC = b"\xd7Tr\xe1"
#: magic, kind, flags, length of the key, length of the payload, segment, sequence, CRC-32.
HEADER = Struct("<4sBBHQQII")
HEADER_SIZE = HEADER.size
MAC_SIZE = 16
#: Larger payloads live in files of their own, so a scanner never holds more than this.
MAX_INLINE_BYTES = 1 << 20
SECRET_SIZE = 32

_CRC_SPAN = HEADER_SIZE - 4


class Kind(enum.IntEnum):
    """What a record says."""

    #: First record of a segment: its key is the run's id.
    OPENED = 1
    #: A key and its payload.
    PUT = 2
    #: A key and a reference to the file that holds its payload.
    PUT_BLOB = 3
    #: Last record of a segment that its writer ended in order.
    CLOSED = 4


#: The key is stored as the bytes that its hexadecimal text stands for.
FLAG_HEX_KEY = 1


class Record(NamedTuple):
    """One verified record."""

    kind: int
    flags: int
    key: bytes
    payload: bytes
    segment: int
    sequence: int


class Found(NamedTuple):
    """Where the scanner saw a verified record; its payload is read again when it is wanted."""

    kind: int
    flags: int
    key: bytes
    offset: int
    length: int


def pack_key(key: str) -> tuple[int, bytes]:
    """Flags and bytes of a key; digests in lower-case hexadecimal take half their length.

    Raises:
        ValueError: the key is longer than 65,535 bytes.
    """
    if len(key) % 2 == 0 and key:
        try:
            raw = bytes.fromhex(key)
        except ValueError:
            pass
        else:
            if raw.hex() == key and len(raw) <= 0xFFFF:
                return FLAG_HEX_KEY, raw
    raw = key.encode("utf-8", "surrogatepass")
    if len(raw) > 0xFFFF:
        raise ValueError(f"a key takes at most 65535 bytes, this one has {len(raw)}")
    return 0, raw


def unpack_key(flags: int, raw: bytes) -> str:
    """The text of a stored key."""
    return raw.hex() if flags & FLAG_HEX_KEY else raw.decode("utf-8", "surrogatepass")


class Codec:
    """Writes and verifies records with one secret. Safe for use by several threads.

    Args:
        secret: the store's 32 random bytes.
    """

    __slots__ = ("_blob", "_keyed", "store_id")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_SIZE:
            raise ValueError(f"a store's secret has {SECRET_SIZE} bytes, this one {len(secret)}")
        # A keyed hash costs one block for its key; copying a prepared one does not.
        self._keyed = blake2b(key=secret, digest_size=MAC_SIZE, person=b"treadle-record")
        self._blob = blake2b(key=secret, digest_size=32, person=b"treadle-blob")
        #: Tells stores apart without telling the secret.
        self.store_id = blake2b(key=secret, digest_size=16, person=b"treadle-store").digest()

    def encode(self, record: Record) -> bytes:
        """The bytes of a record."""
        head = HEADER.pack(
            MAGIC,
            record.kind,
            record.flags,
            len(record.key),
            len(record.payload),
            record.segment,
            record.sequence,
            0,
        )[:_CRC_SPAN]
        body = b"".join(
            (head, crc32(head).to_bytes(4, "little"), record.key, record.payload),
        )
        return body + self._mac(body)

    def decode(self, data: bytes) -> Record | None:
        """The record that is exactly `data`; None if it is damaged or not of this store."""
        if len(data) < HEADER_SIZE + MAC_SIZE:
            return None
        magic, kind, flags, key_size, size, segment, sequence, _ = HEADER.unpack_from(data)
        start = HEADER_SIZE + key_size
        if magic != MAGIC or start + size + MAC_SIZE != len(data):
            return None
        if self._mac(data[:-MAC_SIZE]) != data[-MAC_SIZE:]:
            return None
        return Record(
            kind, flags, data[HEADER_SIZE:start], data[start:-MAC_SIZE], segment, sequence
        )

    def blob_digest(self, payload: bytes) -> bytes:
        """The keyed digest that names a payload stored in a file of its own."""
        digest = self._blob.copy()
        digest.update(payload)
        return digest.digest()

    def _mac(self, body: bytes) -> bytes:
        mac = self._keyed.copy()
        mac.update(body)
        return mac.digest()

    @property
    def fresh_mac(self) -> Callable[[], blake2b]:
        """Makes prepared hashes for a scanner, which cannot afford a call per layer."""
        return self._keyed.copy


class Scanner:
    """Finds the records of one segment in the chunks it is fed, whatever lies between them.

    Attributes:
        records: verified records so far.
        damaged: records lost to damage, counted from the gaps in their numbers.
        bytes_skipped: bytes that belong to no verified record.
        torn: after `finish`: the segment ends in an unfinished write.
        closed: the writer ended the segment in order.
        unverified: well-formed records whose checksum does not fit: damaged, or of another store.
    """

    def __init__(self, codec: Codec) -> None:
        self._fresh_mac = codec.fresh_mac
        self._rest = b""
        self._offset = 0
        self._started = False
        self._segment: int | None = None
        self._sequence = -1
        self._in_hole = False
        self._hole_torn = False
        self._hole_zero = False
        self.records = 0
        self.damaged = 0
        self.bytes_skipped = 0
        self.torn = False
        self.closed = False
        self.unverified = 0

    @property
    def segment(self) -> int | None:
        """The segment's id, known after the first verified record."""
        return self._segment

    def feed(self, data: bytes) -> list[Found]:
        """The records that the next bytes of the segment complete, in order."""
        return self._scan(self._rest + data if self._rest else data, final=False)

    def finish(self) -> list[Found]:
        """The records that were still in doubt; call it once, at the end of the segment."""
        found = self._scan(self._rest, final=True)
        rest = self._rest
        if rest:
            if not self._in_hole:
                whole = FILE_MAGIC if not self._started else MAGIC
                self._open_hole(torn=whole.startswith(rest[: len(whole)]))
            self._skip(rest, 0, len(rest))
            self._rest = b""
        if self._in_hole:
            self.torn = self._hole_torn or self._hole_zero
            self.damaged += not self.torn
            self._in_hole = False
        return found

    def _scan(self, buf: bytes, *, final: bool) -> list[Found]:
        found: list[Found] = []
        pos = 0
        if not self._started and len(buf) >= len(FILE_MAGIC):
            self._started = True
            if buf.startswith(FILE_MAGIC):
                pos = len(FILE_MAGIC)
            else:
                self._open_hole(torn=False)
        last = len(buf) - HEADER_SIZE
        while self._started and pos <= last:
            end = self._end_of_record(buf, pos, found)
            if end > 0:
                pos = end
                continue
            if end < 0 and not final:
                break
            if not self._in_hole:
                self._open_hole(torn=end < 0)
            after = buf.find(MAGIC, pos + 1)
            if after < 0:
                # The first bytes of a magic may be the last ones of this chunk.
                after = max(pos + 1, len(buf) - len(MAGIC) + 1)
            self._skip(buf, pos, after)
            pos = after
        self._rest = buf[pos:]
        self._offset += pos
        return found

    def _end_of_record(self, buf: bytes, pos: int, found: list[Found]) -> int:
        """Where the record at `pos` ends; 0 if there is none; -1 if that needs more bytes."""
        fields: tuple[bytes, int, int, int, int, int, int, int] = HEADER.unpack_from(buf, pos)
        magic, kind, flags, key_size, size, segment, sequence, crc = fields
        if magic != MAGIC or size > MAX_INLINE_BYTES:
            return 0
        if crc32(buf[pos : pos + _CRC_SPAN]) != crc or sequence <= self._sequence:
            return 0
        if segment != self._segment and self._segment is not None:
            return 0
        key_at = pos + HEADER_SIZE
        end = key_at + key_size + size + MAC_SIZE
        if end > len(buf):
            return -1
        mac = self._fresh_mac()
        mac.update(buf[pos : end - MAC_SIZE])
        if mac.digest() != buf[end - MAC_SIZE : end]:
            self.unverified += 1
            return 0
        lost = sequence - self._sequence - 1
        if lost or self._in_hole:
            self.damaged += max(lost, 1)
            self._in_hole = False
        self._segment = segment
        self._sequence = sequence
        self.records += 1
        self.closed = kind == Kind.CLOSED
        found.append(
            Found(kind, flags, buf[key_at : key_at + key_size], self._offset + pos, end - pos)
        )
        return end

    def _open_hole(self, *, torn: bool) -> None:
        self._in_hole = True
        self._hole_torn = torn
        # A file system may lengthen a file before it writes the data: a tail of zeros is torn.
        self._hole_zero = True

    def _skip(self, buf: bytes, start: int, end: int) -> None:
        self.bytes_skipped += end - start
        if self._hole_zero and buf.count(0, start, end) != end - start:
            self._hole_zero = False
