"""Campaigns against written checkpoints: cuts, flips, planted records, power cuts.

TREADLE_SOAK (seconds) lengthens them; TREADLE_STORE_FLIPS sets the number of flips.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from tests.unit.store.disks import PowerDisk
from tests.unit.store.places import checkpoint, key, only_segment, written
from treadle.store import CheckpointIndex, CheckpointLog
from treadle.store._record import FILE_MAGIC, Codec, Found, Kind, Record, Scanner, unpack_key

SOAK_S = float(os.environ.get("TREADLE_SOAK", "0"))
FLIPS = int(os.environ.get("TREADLE_STORE_FLIPS", "1500"))


def scanned(data: bytes, secret: bytes) -> tuple[dict[str, bytes], Scanner]:
    """What a reader would believe of these bytes of a segment."""
    codec = Codec(secret)
    scanner = Scanner(codec)
    found: list[Found] = scanner.feed(data) + scanner.finish()
    believed: dict[str, bytes] = {}
    for place in found:
        record = codec.decode(data[place.offset : place.offset + place.length])
        assert record is not None
        if record.kind == Kind.PUT:
            believed[unpack_key(record.flags, record.key)] = record.payload
    return believed, scanner


def some_items(rng: random.Random, count: int) -> dict[str, bytes]:
    """Records whose payloads try to look like the format itself."""
    codec = Codec(bytes(32))
    look = [b"", FILE_MAGIC, b"\xd7Tr\xe1" * 9, codec.encode(Record(2, 0, b"x", b"y", 3, 4))]
    return {
        key(n): rng.randbytes(rng.randrange(120)) + rng.choice(look) + b"%d" % n
        for n in range(count)
    }


def a_segment(root: Path, rng: random.Random, count: int) -> tuple[bytes, bytes, dict[str, bytes]]:
    items = some_items(rng, count)
    directory = written(root, items)
    return only_segment(directory).read_bytes(), (root / ".key").read_bytes(), items


@pytest.mark.timeout(120 + 3 * SOAK_S)
def test_a_log_cut_at_any_byte_has_all_records_before_the_cut(
    tmp_path: Path, rng: random.Random
) -> None:
    data, secret, items = a_segment(tmp_path, rng, 30 + int(SOAK_S))
    codec = Codec(secret)
    places = Scanner(codec).feed(data)
    ends = {unpack_key(p.flags, p.key): p.offset + p.length for p in places if p.kind == Kind.PUT}
    at_ends = {len(FILE_MAGIC), *(p.offset + p.length for p in places)}
    for cut in range(len(data) + 1):
        believed, scanner = scanned(data[:cut], secret)
        assert believed == {name: items[name] for name, end in ends.items() if end <= cut}
        assert scanner.damaged == 0
        assert scanner.torn == (cut > 0 and cut not in at_ends)


@pytest.mark.timeout(120 + 3 * SOAK_S + FLIPS / 100)
def test_a_flipped_bit_costs_at_most_one_record_and_never_a_wrong_value(
    tmp_path: Path, rng: random.Random
) -> None:
    data, secret, items = a_segment(tmp_path, rng, 25)
    until = time.monotonic() + SOAK_S
    for number in itertools.count():
        if number >= FLIPS and time.monotonic() >= until:
            break
        bit = rng.randrange(len(data) * 8)
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        believed, scanner = scanned(bytes(damaged), secret)
        assert believed.items() <= items.items(), f"a wrong value after flipping bit {bit}"
        assert len(believed) >= len(items) - 1, f"bit {bit} costs more than its record"
        assert scanner.damaged == 1, f"bit {bit} is not reported"


def test_any_stretch_of_damage_costs_only_what_it_touches(
    tmp_path: Path, rng: random.Random
) -> None:
    data, secret, items = a_segment(tmp_path, rng, 40)
    places = Scanner(Codec(secret)).feed(data)
    for _ in range(300):
        start = rng.randrange(len(data))
        size = rng.choice([1, 30, 512, 4096])
        end = min(len(data), start + size)
        noise = rng.randbytes(end - start) if rng.random() < 0.5 else bytes(end - start)
        believed, _ = scanned(data[:start] + noise + data[end:], secret)
        untouched = {
            unpack_key(p.flags, p.key)
            for p in places
            if p.kind == Kind.PUT and (p.offset + p.length <= start or p.offset >= end)
        }
        assert believed.items() <= items.items()
        assert untouched <= believed.keys()


def test_records_planted_or_moved_without_the_key_are_never_believed(
    tmp_path: Path, rng: random.Random
) -> None:
    data, secret, items = a_segment(tmp_path / "mine", rng, 20)
    theirs, _, _ = a_segment(tmp_path / "theirs", random.Random(1), 20)
    places = Scanner(Codec(secret)).feed(data)
    evil = Codec(rng.randbytes(32))
    for _ in range(200):
        at = rng.choice(places)
        original = Codec(secret).decode(data[at.offset : at.offset + at.length])
        assert original is not None
        planted = rng.choice(
            [
                evil.encode(original._replace(payload=b"evil", sequence=original.sequence + 1)),
                theirs,
                theirs[8:],
                data[: at.offset + at.length],  # copies of our own records, out of their order
            ]
        )
        cut = at.offset + at.length
        believed, _ = scanned(data[:cut] + planted + data[cut:], secret)
        assert believed == items


@pytest.mark.timeout(60 + 3 * SOAK_S)
def test_a_power_cut_leaves_every_acknowledged_record(tmp_path: Path, rng: random.Random) -> None:
    until = time.monotonic() + SOAK_S
    for number in itertools.count():
        if number >= 60 and time.monotonic() >= until:
            break
        root = tmp_path / str(number)
        directory, secret = checkpoint(root)
        disk = PowerDisk()
        log = CheckpointLog(
            directory, secret, run_id="x", durability="power", segment_bytes=2000, disk=disk
        )
        acknowledged: dict[str, bytes] = {}
        appended: dict[str, bytes] = {}
        for n in range(rng.randrange(30)):
            payload = rng.randbytes(2 << 20 if rng.random() < 0.03 else rng.randrange(600))
            appended[key(n)] = payload
            ticket = log.append(key(n), payload)
            if rng.random() < 0.5:
                log.commit(ticket)
                acknowledged = dict(appended)
        after = tmp_path / f"{number}-after"
        disk.power_cut(after / "000" / "checkpoint", rng)
        log.close()
        after.chmod(0o700)
        (after / ".key").write_bytes(secret)
        (after / ".key").chmod(0o600)
        with CheckpointIndex.open([after / "000" / "checkpoint"]) as index:
            found = {name: index.get(name) for name in index.keys()}  # noqa: SIM118
        assert acknowledged.items() <= found.items()
        assert found.items() <= appended.items()
        shutil.rmtree(root)
        shutil.rmtree(after)


def test_a_segment_holds_the_bytes_that_the_format_says(tmp_path: Path) -> None:
    data, secret, _ = a_segment(tmp_path, random.Random(0), 1)
    scanner = Scanner(Codec(secret))
    kinds = [place.kind for place in scanner.feed(data)]
    assert kinds == [Kind.OPENED, Kind.PUT, Kind.CLOSED]
    assert data.startswith(b"\x89TLOG\r\n\x01\xd7Tr\xe1\x01")
    assert scanner.segment is not None
