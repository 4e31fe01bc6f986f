"""The objects of a worker against a dict: allocated, written, read, spilled, restored, discarded.

Contents are always right, the books agree, nothing is left behind, and what a reader was given
never changes, whatever happens to the object that it was.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.leaks import open_descriptors
from treadle.serialize import Packed
from treadle.store import _segments, _spill, mapping, objects
from treadle.store.mapping import Mapper, Shared
from treadle.store.objects import ObjectStore

SLOTS = st.integers(0, 2)
#: All limits but that of inline objects are a sixty-fourth of what they are.
SMALLER = {
    (objects, "PACKED_BYTES"): 16 << 10,
    (mapping, "PACKED_BYTES"): 16 << 10,
    (objects, "SEGMENT_BYTES"): 100_000,
    (objects, "_QUICK_BYTES"): 8 << 10,
    (_segments, "RANGE_BYTES"): 4 << 10,
    (_spill, "FILE_BYTES"): 100_000,
    (_spill, "SHARED_BYTES"): 20_000,
    (_spill, "_RANGE_BYTES"): 4 << 10,
}
#: Inline, shared and its limits, several ranges, and two that recycle each other's memory.
SIZES = st.sampled_from([4096, 4097, 9_000, 16 << 10, (16 << 10) + 1, 19_000, 40_000])
RECYCLED_BYTES = 70_000


class ObjectsMachine(RuleBasedStateMachine):
    """The model: `memory` and `disk` hold the bytes of objects by key; `seen` what readers hold."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        for (module, name), nbytes in SMALLER.items():
            self.patch.setattr(module, name, nbytes)
        self.descriptors = open_descriptors()
        self.folder = Path(tempfile.mkdtemp(prefix="treadle-objects-"))
        self.store = ObjectStore(str(self.folder / "spill"), recycle_bytes=RECYCLED_BYTES)
        self.slots = {n: Mapper(written_bytes=50_000) for n in range(3)}
        self.reader = Mapper()
        self.serial = 0
        self.memory: dict = {}
        self.disk: dict = {}
        self.granted: list = []
        self.coming: dict = {}
        self.seen: list = []
        self.told: list = []

    def content(self, nbytes: int) -> bytes:
        """Bytes that no other object has."""
        self.serial += 1
        return (self.serial.to_bytes(4, "little") * (nbytes // 4 + 1))[:nbytes].replace(b"\0", b"z")

    def key(self) -> tuple[int, int]:
        return self.serial, 1

    def pick(self, data: st.DataObject, things) -> object:
        return data.draw(st.sampled_from(sorted(things, key=repr)))

    # --- slots ---------------------------------------------------------------------------------

    @rule(slot=SLOTS, nbytes=SIZES)
    def allocate(self, slot: int, nbytes: int) -> None:
        content = self.content(nbytes)
        spot = self.store.allocate(nbytes, slot)
        assert spot.nbytes == nbytes
        self.granted.append((slot, spot, content, self.key()))

    @rule(slot=SLOTS, nbytes=SIZES, again=st.integers(0, 2))
    def make(self, slot: int, nbytes: int, again: int) -> None:
        """One object behind the other in the same place, if nobody saw the first; the last stays."""
        for i in range(again + 1):
            content = self.content(nbytes)
            spot = self.store.allocate(nbytes, slot)
            self.slots[slot].write(spot, Packed([content], nbytes))
            self.store.commit(self.key(), spot, nbytes)
            if i < again:
                self.store.discard(self.key())
        self.memory[self.key()] = content

    @precondition(lambda self: self.memory)
    @rule(data=st.data(), slot=SLOTS, view=st.booleans(), writable=st.booleans())
    def replace(self, data, slot, view, writable) -> None:
        """An object that somebody looks at goes, and one of the same size comes."""
        key = self.pick(data, self.memory)
        content = self.memory.pop(key)
        found = self.store.view(key) if view else self.store.supply(key)
        if not isinstance(found, (bytes, memoryview)):
            self.told.append((found, content))
            found = self.reader.open(found, writable=writable)
        self.seen.append((found, content))
        self.store.discard(key)
        del found
        self.make(slot, max(len(content), 1), 0)

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), cut=st.integers(1, 3))
    def write_and_commit(self, data, cut) -> None:
        slot, spot, content, key = self.granted.pop(
            data.draw(st.integers(0, len(self.granted) - 1))
        )
        third = len(content) // cut
        pieces = [content[:third], memoryview(content)[third:]]
        self.slots[slot].write(spot, Packed(pieces, len(content)))
        self.store.commit(key, spot, len(content))
        self.memory[key] = content

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), written=st.booleans())
    def abandon(self, data, written) -> None:
        slot, spot, content, key = self.granted.pop(
            data.draw(st.integers(0, len(self.granted) - 1))
        )
        if written:
            self.slots[slot].write(spot, Packed([content], len(content)))
        self.store.abandon(spot)
        with pytest.raises(ValueError, match="nothing was allocated"):
            self.store.commit(key, spot, 1)

    @rule(slot=SLOTS)
    @precondition(lambda self: self.serial > 10)
    def slot_gone(self, slot: int) -> None:
        self.slots[slot].close()
        self.slots[slot] = Mapper(written_bytes=50_000)
        self.store.slot_gone(slot)
        self.slots[(slot + 1) % 3].trim()
        gone = [grant for grant in self.granted if grant[0] == slot]
        self.granted = [grant for grant in self.granted if grant[0] != slot]
        for _, spot, _, key in gone:
            with pytest.raises(ValueError, match="nothing was allocated"):
                self.store.commit(key, spot, 1)

    # --- what comes from elsewhere -------------------------------------------------------------

    @rule(nbytes=st.integers(0, 4096))
    def keep(self, nbytes: int) -> None:
        content = self.content(nbytes)
        self.store.keep(self.key(), content)
        self.memory[self.key()] = content

    @rule(nbytes=SIZES)
    def receive(self, nbytes: int) -> None:
        content = self.content(nbytes)
        self.coming[self.key()] = (self.store.receive(self.key(), nbytes), content)

    @precondition(lambda self: self.coming)
    @rule(data=st.data(), hold=st.booleans())
    def received(self, data, hold) -> None:
        key = self.pick(data, self.coming)
        view, content = self.coming.pop(key)
        assert key not in self.store
        view[:] = content
        self.store.commit_received(key)
        self.memory[key] = content
        if not hold:
            view.release()

    @precondition(lambda self: self.coming)
    @rule(data=st.data())
    def give_up_receiving(self, data) -> None:
        key = self.pick(data, self.coming)
        view, content = self.coming.pop(key)
        view[:10] = content[:10]
        self.store.discard(key)

    @rule(nbytes=SIZES)
    def adopt(self, nbytes: int) -> None:
        content = self.content(nbytes)
        shared = Shared(Packed([content], nbytes))
        self.store.adopt(self.key(), shared.spot)
        shared.close()
        self.memory[self.key()] = content

    @precondition(lambda self: self.memory)
    @rule(data=st.data())
    def bring_again(self, data) -> None:
        key = self.pick(data, self.memory)
        content = self.memory[key]
        self.store.keep(key, b"other")
        spot = self.store.allocate(len(content), 0)
        self.store.commit(key, spot, len(content))
        self.store.receive(key, len(content))
        self.store.commit_received(key)

    # --- readers -------------------------------------------------------------------------------

    @precondition(lambda self: self.memory)
    @rule(data=st.data(), writable=st.booleans(), slot=SLOTS)
    def supply(self, data, writable, slot) -> None:
        key = self.pick(data, self.memory)
        content = self.memory[key]
        supplied = self.store.supply(key)
        if isinstance(supplied, bytes):
            assert supplied == content
            return
        view = self.slots[slot].open(supplied, writable=writable)
        assert view == content
        if not view.readonly:
            mark = b"mine"[: len(content)]
            view[: len(mark)] = mark
            content = mark + content[4:]
        self.seen.append((view, content))
        self.told.append((supplied, self.memory[key]))

    @precondition(lambda self: self.memory)
    @rule(data=st.data())
    def view(self, data) -> None:
        key = self.pick(data, self.memory)
        view = self.store.view(key)
        assert view == self.memory[key]
        assert view.readonly
        self.seen.append((view, self.memory[key]))

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def drop_view(self, data) -> None:
        self.seen.pop(data.draw(st.integers(0, len(self.seen) - 1)))

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def come_late(self, data) -> None:
        spot, content = data.draw(st.sampled_from(self.told))
        late = Mapper()
        try:
            assert late.open(spot) == content
        except OSError:
            pass
        finally:
            late.close()

    # --- disk ----------------------------------------------------------------------------------

    @precondition(lambda self: self.memory)
    @rule(data=st.data())
    def spill(self, data) -> None:
        key = self.pick(data, self.memory)
        self.store.spill(key)
        self.disk[key] = self.memory.pop(key)
        with pytest.raises(KeyError):
            self.store.supply(key)

    @precondition(lambda self: self.disk)
    @rule(data=st.data())
    def restore(self, data) -> None:
        key = self.pick(data, self.disk)
        self.store.restore(key)
        self.memory[key] = self.disk.pop(key)

    @precondition(lambda self: self.memory or self.disk)
    @rule(data=st.data())
    def discard(self, data) -> None:
        key = self.pick(data, [*self.memory, *self.disk])
        self.store.discard(key)
        self.memory.pop(key, None)
        self.disk.pop(key, None)
        assert key not in self.store

    # --- what always holds ---------------------------------------------------------------------

    @invariant()
    def the_books_agree(self) -> None:
        assert self.store.nbytes == sum(map(len, self.memory.values()))
        assert self.store.spilled_bytes == sum(map(len, self.disk.values()))
        assert self.store.recycled_bytes <= RECYCLED_BYTES

    @invariant()
    def what_readers_hold_does_not_change(self) -> None:
        for view, content in self.seen:
            assert view == content

    @invariant()
    def descriptors_are_bounded(self) -> None:
        # Large ones have a segment each; of those that small ones share, each has one that lives,
        # or is the one that a slot, or the agent, fills.
        held = len(self.memory) + len(self.granted) + len(self.coming)
        recycled = self.store.recycled_bytes // (16 << 10)
        assert self.store.segments <= held + recycled + 4

    def teardown(self) -> None:
        self.patch.undo()
        for key, content in self.memory.items():
            assert self.store.view(key) == content
        self.store.close()
        for mapper in [self.reader, *self.slots.values()]:
            mapper.close()
        for view, content in self.seen:
            assert view == content
        self.seen.clear()
        self.coming.clear()
        assert os.listdir(self.folder) == []
        shutil.rmtree(self.folder)
        left = [
            target
            for number, (target, inode) in open_descriptors().items()
            if self.descriptors.get(number) != (target, inode)
        ]
        assert left == []


# Long runs: it takes several steps to make an object, to have it read, and to use its memory again.
ObjectsMachine.TestCase.settings = settings(
    max_examples=2 * settings().max_examples, stateful_step_count=60
)
TestObjects = pytest.mark.timeout(120)(ObjectsMachine.TestCase)
