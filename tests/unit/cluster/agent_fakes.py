"""Stand-ins for what an agent has around it."""

from __future__ import annotations

from treadle import wire
from treadle.cluster._agent_slot import SlotEnd
from treadle.serialize import CallSpec, encode_spec

DIGEST = bytes(range(16))


class Store:
    """A store of plain bytes."""

    def __init__(self, **objects):
        self.objects = {}
        self.log = []

    def __contains__(self, key):
        return key in self.objects

    def supply(self, key):
        return self.objects[key]

    def keep(self, key, data):
        self.objects.setdefault(key, data)

    def commit(self, key, spot, nbytes):
        if nbytes > spot.nbytes:
            raise ValueError("too much")
        self.objects.setdefault(key, spot)

    def abandon(self, spot):
        self.log.append(("abandon", spot))

    def slot_gone(self, slot):
        self.log.append(("gone", slot))

    def allocate(self, nbytes, slot):
        return wire.Spot(1, 2, 0, nbytes)


class Loop:
    """A loop on which nothing happens by itself."""

    def __init__(self):
        self.readers = {}
        self.writers = {}
        self.later = []

    def add_reader(self, fd, fn, *args):
        self.readers[fd] = (fn, args)

    def remove_reader(self, fd):
        return self.readers.pop(fd, None) is not None

    def add_writer(self, fd, fn, *args):
        self.writers[fd] = (fn, args)

    def remove_writer(self, fd):
        return self.writers.pop(fd, None) is not None

    def call_later(self, delay, fn, *args):
        self.later.append((delay, fn, args))


def spec(digest=DIGEST, payload=b"\x80\x05N."):
    return encode_spec(CallSpec(digest, payload))


def run(id, attempt=None, **options):
    return wire.Run(id, id if attempt is None else attempt, spec(), **options)


def slot(number=1):
    """A slot's end without sockets."""
    return SlotEnd(number)
