"""Log, index and compaction against a dict, with kills, power cuts and damage between the steps."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.store.disks import PowerDisk
from tests.unit.store.places import checkpoint
from treadle.store import CheckpointIndex, CheckpointLog, Ticket, compact
from treadle.store._record import Codec, Kind, Scanner, unpack_key
from treadle.store.blob import read_blob
from treadle.store.log import Durability

NAMES = st.sampled_from(["a", "b", "ab" * 32, "ö", ""])
LARGE = b"L" * ((1 << 20) + 1)
PAYLOADS = st.one_of(*[st.binary(max_size=300)] * 9, st.just(LARGE))


class StoreMachine(RuleBasedStateMachine):
    """The model: `kept` is acknowledged; `maybe` has what each key may also be by now."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="treadle-store-"))
        self.generation = 0
        self.kept: dict[str, bytes] = {}
        self.maybe: list[tuple[Ticket, str, bytes]] = []
        self.log: CheckpointLog | None = None

    @initialize(durability=st.sampled_from(["process", "power"]))
    def begin(self, durability: Durability) -> None:
        self.durability = durability
        self.root = self.folder / "runinfo"
        self.directory, self.secret = checkpoint(self.root)
        self.reopen()

    def reopen(self) -> None:
        self.disk = PowerDisk()
        self.disk.adopt(self.directory)
        self.log = CheckpointLog(
            self.directory,
            self.secret,
            run_id=str(self.generation),
            durability=self.durability,
            segment_bytes=700,
            disk=self.disk,
        )

    @rule(name=NAMES, payload=PAYLOADS)
    def append(self, name: str, payload: bytes) -> None:
        assert self.log is not None
        self.maybe.append((self.log.append(name, payload), name, payload))

    @precondition(lambda self: self.maybe)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        assert self.log is not None
        until = data.draw(st.sampled_from([ticket for ticket, _, _ in self.maybe]))
        self.log.commit(until)
        self.acknowledge(until)

    def acknowledge(self, until: Ticket) -> None:
        for ticket, name, payload in self.maybe:
            if ticket <= until:
                self.kept[name] = payload
        self.maybe = [entry for entry in self.maybe if entry[0] > until]

    @rule()
    def close_and_reopen(self) -> None:
        assert self.log is not None
        self.log.close()
        if self.maybe:
            self.acknowledge(self.maybe[-1][0])
        self.reopen()

    @rule()
    def close_compact_and_reopen(self) -> None:
        assert self.log is not None
        self.log.close()
        if self.maybe:
            self.acknowledge(self.maybe[-1][0])
        compact(self.directory, self.secret)
        assert len(list(self.directory.glob("segment-*"))) == 1
        assert self.read() == self.kept
        self.reopen()

    @rule()
    def be_killed(self) -> None:
        """The files stay as they are; what was in memory is gone."""
        assert self.log is not None
        self.take_over(shutil.copytree(self.directory, self.next_directory()))

    @precondition(lambda self: self.durability == "power")
    @rule(seed=st.integers(0, 1 << 30))
    def lose_power(self, seed: int) -> None:
        assert self.log is not None
        target = self.next_directory()
        self.disk.power_cut(target, random.Random(seed))
        self.take_over(target)

    @precondition(lambda self: not self.maybe)
    @rule(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def flip_a_bit_in_a_copy(self, at: float, bit: int) -> None:
        """One record may be missed, or an older value of it seen; no other is touched."""
        target = Path(shutil.copytree(self.directory, self.next_directory()))
        files = sorted(target.iterdir())
        file = files[int(at * len(files))]
        data = bytearray(file.read_bytes())
        data[int(at * len(data))] ^= 1 << bit
        file.write_bytes(data)
        found = self.read(target)
        changed = [name for name in self.kept if found.get(name) != self.kept[name]]
        if not file.name.startswith("blob-"):  # a blob may belong to several keys
            assert len(changed) <= 1
        assert all(found.get(name) in (None, *self.history(name)) for name in changed)
        shutil.rmtree(target.parents[1])

    def history(self, name: str) -> list[bytes]:
        return self.written.get(name, [])

    @property
    def written(self) -> dict[str, list[bytes]]:
        """All payloads that each key ever had, read from the undamaged files one by one."""
        values: dict[str, list[bytes]] = {}
        for segment in self.directory.glob("segment-*"):
            for name, payload in everything(segment, self.secret):
                values.setdefault(name, []).append(payload)
        return values

    def next_directory(self) -> Path:
        self.generation += 1
        root = self.folder / f"runinfo-{self.generation}"
        (root / "000").mkdir(parents=True)
        root.chmod(0o700)
        shutil.copy2(self.root / ".key", root / ".key")
        return root / "000" / "checkpoint"

    def take_over(self, directory: Path) -> None:
        """Go on with what a crash left: all that was acknowledged, in its order."""
        assert self.log is not None
        self.log.close()
        self.directory, self.root = Path(directory), Path(directory).parents[1]
        found = self.read()
        for name, payload in self.kept.items():
            allowed = [payload, *(p for _, n, p in self.maybe if n == name)]
            assert found.get(name) in allowed
        for name, payload in found.items():
            assert name in self.kept or payload in [p for _, n, p in self.maybe if n == name]
        self.kept = found
        self.maybe = []
        self.reopen()

    def read(self, directory: Path | None = None) -> dict[str, bytes]:
        with CheckpointIndex.open([directory or self.directory]) as index:
            return {
                name: payload
                for name in index.keys()  # noqa: SIM118 - it is no dict
                if (payload := index.get(name)) is not None
            }

    @invariant()
    def all_that_was_acknowledged_can_be_read(self) -> None:
        if self.log is None:
            return
        found = self.read()
        for name, payload in self.kept.items():
            assert found[name] in [payload, *(p for _, n, p in self.maybe if n == name)]

    def teardown(self) -> None:
        if self.log is not None:
            self.log.close()
        shutil.rmtree(self.folder)


def everything(segment: Path, secret: bytes) -> list[tuple[str, bytes]]:
    """Every put in a segment, overridden ones included."""
    data, codec = segment.read_bytes(), Codec(secret)
    puts = []
    for place in Scanner(codec).feed(data):
        record = codec.decode(data[place.offset : place.offset + place.length])
        assert record is not None
        payload: bytes | None = record.payload
        if record.kind == Kind.PUT_BLOB:
            payload = read_blob(codec, str(segment.parent), record.payload)
        if record.kind in (Kind.PUT, Kind.PUT_BLOB) and payload is not None:
            puts.append((unpack_key(record.flags, record.key), payload))
    return puts


TestStoreMachine = pytest.mark.timeout(120)(StoreMachine.TestCase)
# Each example makes and reads real files after every step.
TestStoreMachine.settings = settings(max_examples=max(10, settings().max_examples // 2))
