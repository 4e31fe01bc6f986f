from __future__ import annotations

import pytest

from treadle.store._record import (
    FILE_MAGIC,
    HEADER_SIZE,
    MAC_SIZE,
    MAX_INLINE_BYTES,
    Codec,
    Found,
    Kind,
    Record,
    Scanner,
    pack_key,
    unpack_key,
)

CODEC = Codec(b"s" * 32)
OTHER = Codec(b"t" * 32)
SEGMENT = 7


def put(number: int, payload: bytes = b"", segment: int = SEGMENT) -> Record:
    return Record(Kind.PUT, 0, b"key-%d" % number, payload, segment, number)


def encoded(*records: Record, codec: Codec = CODEC) -> bytes:
    return b"".join(map(codec.encode, records))


def scan(data: bytes, chunk: int | None = None) -> tuple[list[bytes], Scanner]:
    scanner = Scanner(CODEC)
    found: list[Found] = []
    for start in range(0, len(data), chunk or len(data) or 1):
        found += scanner.feed(data[start : start + (chunk or len(data))])
    found += scanner.finish()
    for record in found:
        again = CODEC.decode(data[record.offset : record.offset + record.length])
        assert again is not None
        assert again.key == record.key
    return [record.key for record in found], scanner


def keys(*numbers: int) -> list[bytes]:
    return [b"key-%d" % number for number in numbers]


def test_a_record_comes_back_as_it_was_written() -> None:
    record = put(3, b"payload")
    assert CODEC.decode(CODEC.encode(record)) == record
    assert len(CODEC.encode(record)) == HEADER_SIZE + len(b"key-3payload") + MAC_SIZE


def test_a_record_of_another_secret_is_not_believed() -> None:
    assert OTHER.decode(CODEC.encode(put(0))) is None


@pytest.mark.parametrize("size", [0, 1, HEADER_SIZE + MAC_SIZE - 1])
def test_bytes_too_few_for_a_record_are_none(size: int) -> None:
    assert CODEC.decode(bytes(size)) is None


def test_no_flipped_bit_of_a_record_goes_unseen() -> None:
    data = CODEC.encode(put(0, b"abc"))
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert CODEC.decode(bytes(damaged)) is None


def test_a_secret_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Codec(b"short")


@pytest.mark.parametrize(
    "name", ["", "plain", "äöü", "\udc80", "ABCD", "abc", "00ff", "0 0f", "a" * 64]
)
def test_a_key_comes_back_as_it_was_given(name: str) -> None:
    assert unpack_key(*pack_key(name)) == name


def test_a_digest_in_hexadecimal_takes_half_its_length() -> None:
    assert pack_key("ab" * 32) == (1, b"\xab" * 32)
    assert pack_key("AB" * 32) == (0, b"AB" * 32)


def test_a_key_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="65535"):
        pack_key("x" * 70_000)


@pytest.mark.parametrize("chunk", [1, 3, 31, 32, 33, 64, 1000, None])
def test_the_scanner_finds_all_records_in_chunks_of_any_size(chunk: int | None) -> None:
    data = FILE_MAGIC + encoded(*(put(n, bytes(n * 7)) for n in range(20)))
    found, scanner = scan(data, chunk)
    assert found == keys(*range(20))
    assert (scanner.damaged, scanner.bytes_skipped, scanner.torn) == (0, 0, False)


@pytest.mark.parametrize("chunk", [1, 7, None])
def test_a_damaged_record_costs_itself_only(chunk: int | None) -> None:
    records = [CODEC.encode(put(n, b"x" * 50)) for n in range(5)]
    records[2] = records[2][:40] + b"?" + records[2][41:]
    found, scanner = scan(FILE_MAGIC + b"".join(records), chunk)
    assert found == keys(0, 1, 3, 4)
    assert (scanner.damaged, scanner.bytes_skipped) == (1, len(records[2]))
    assert not scanner.torn


def test_every_lost_record_of_a_damaged_stretch_is_counted() -> None:
    records = [CODEC.encode(put(n, b"x" * 50)) for n in range(6)]
    gone = b"\xff" * len(b"".join(records[1:5]))
    found, scanner = scan(FILE_MAGIC + records[0] + gone + records[5])
    assert found == keys(0, 5)
    assert scanner.damaged == 4


def test_garbage_put_between_records_costs_none_of_them() -> None:
    found, scanner = scan(FILE_MAGIC + encoded(put(0)) + b"garbage" * 99 + encoded(put(1)))
    assert found == keys(0, 1)
    assert scanner.bytes_skipped == 7 * 99


def test_a_damaged_file_magic_costs_no_record() -> None:
    found, scanner = scan(b"\0" * 8 + encoded(put(0), put(1)))
    assert found == keys(0, 1)
    assert scanner.damaged == 1


def test_a_copy_of_an_older_record_inside_a_damaged_one_is_not_believed() -> None:
    older = CODEC.encode(put(0, b"stale"))
    foreign = CODEC.encode(put(9, b"elsewhere", segment=SEGMENT + 1))
    outer = CODEC.encode(put(1, b"<" + older + foreign + b">"))
    damaged = outer[:-1] + bytes([outer[-1] ^ 1])
    found, _ = scan(FILE_MAGIC + older + damaged + encoded(put(2)))
    assert found == keys(0, 2)


def test_a_record_planted_without_the_key_is_not_believed() -> None:
    planted = encoded(put(1, b"evil"), codec=OTHER)
    found, scanner = scan(FILE_MAGIC + encoded(put(0)) + planted + encoded(put(1)))
    assert found == keys(0, 1)
    assert scanner.unverified == 1


def test_a_length_beyond_the_limit_is_not_waited_for() -> None:
    huge = CODEC.encode(put(1, bytes(MAX_INLINE_BYTES + 1)))
    scanner = Scanner(CODEC)
    assert scanner.feed(FILE_MAGIC + huge[:1000] + encoded(put(2)))


def test_an_unfinished_write_at_the_end_is_torn_not_damaged() -> None:
    first, last = CODEC.encode(put(0)), CODEC.encode(put(1, b"x" * 100))
    for cut in range(1, len(last)):
        found, scanner = scan(FILE_MAGIC + first + last[:cut])
        assert found == keys(0)
        assert (scanner.torn, scanner.damaged, scanner.bytes_skipped) == (True, 0, cut)


@pytest.mark.parametrize("size", [1, 5, 40, 5000])
def test_a_tail_of_zeros_is_torn(size: int) -> None:
    _, scanner = scan(FILE_MAGIC + encoded(put(0)) + bytes(size))
    assert (scanner.torn, scanner.damaged, scanner.bytes_skipped) == (True, 0, size)


def test_a_tail_of_garbage_is_damage() -> None:
    _, scanner = scan(FILE_MAGIC + encoded(put(0)) + b"?" * 100)
    assert (scanner.torn, scanner.damaged) == (False, 1)


@pytest.mark.parametrize("size", range(9))
def test_a_file_cut_within_its_magic_is_empty(size: int) -> None:
    found, scanner = scan(FILE_MAGIC[:size])
    assert found == []
    assert scanner.torn == (0 < size < 8)
    assert scanner.damaged == 0


def test_the_closing_record_is_seen_only_as_the_last_one() -> None:
    closed = Record(Kind.CLOSED, 0, b"", bytes(8), SEGMENT, 1)
    assert scan(FILE_MAGIC + encoded(put(0), closed))[1].closed
    assert not scan(FILE_MAGIC + encoded(put(0)))[1].closed
    assert not scan(FILE_MAGIC + encoded(put(0), closed, put(2)))[1].closed
