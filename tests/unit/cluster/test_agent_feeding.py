"""What is in a task's packet."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.cluster.agent_fakes import DIGEST, Store, run, slot, spec
from treadle import wire
from treadle.cluster._agent_feeding import Pantry, digest_of
from treadle.cluster._packets import Task, decode_for_slot
from treadle.serialize import CallSpec, encode_spec

WORLD = wire.World(("/a",), "/b", 0o22)


def packet(pantry, to, order):
    task = decode_for_slot(pantry.packet(to, order))
    assert isinstance(task, Task)
    return task


@pytest.fixture
def pantry():
    pantry = Pantry(Store())
    pantry.learn(wire.Code(DIGEST, "name", b"payload"))
    return pantry


def test_code_goes_to_each_slot_once(pantry):
    one, two = slot(1), slot(2)
    code = ((DIGEST, "name", b"payload"),)
    assert packet(pantry, one, run(1)).code == code
    assert packet(pantry, one, run(2)).code == ()
    assert packet(pantry, two, run(3)).code == code


def test_code_that_was_taken_back_unread_goes_again(pantry):
    one = slot(1)
    pantry.settle(WORLD)
    unread = pantry.packet(one, run(1))
    pantry.forget_packet(one, unread)
    again = packet(pantry, one, run(2))
    assert again.code
    assert again.world is not None


def test_code_that_is_not_known_is_left_to_the_slot_to_miss(pantry):
    order = wire.Run(1, 1, spec(digest=b"x" * 16))
    one = slot()
    assert packet(pantry, one, order).code == ()
    pantry.learn(wire.Code(b"x" * 16, "late", b"p"))
    assert packet(pantry, one, order).code == ((b"x" * 16, "late", b"p"),)


def test_the_first_code_of_a_digest_stays(pantry):
    pantry.learn(wire.Code(DIGEST, "other", b"other"))
    assert packet(pantry, slot(), run(1)).code == ((DIGEST, "name", b"payload"),)


def test_surroundings_go_when_they_change(pantry):
    one = slot()
    assert packet(pantry, one, run(1)).world is None
    pantry.settle(WORLD)
    assert msgspec.msgpack.decode(packet(pantry, one, run(2)).world, type=wire.World) == WORLD
    assert packet(pantry, one, run(3)).world is None
    pantry.settle(wire.World(("/c",), "/b", 0o22))
    assert packet(pantry, one, run(4)).world is not None


def test_inputs_go_as_they_are_or_by_their_place():
    store = Store()
    there = wire.Spot(1, 2, 3, 4, 5)
    store.objects = {(1, 7): b"small", ("big", 8): there}
    pantry = Pantry(store)
    pantry.rows[1, 7] = 3
    order = run(9, inputs=(wire.Input(1, 7, 5, ()), wire.Input("big", 8, 4, ())))
    first, second = packet(pantry, slot(), order).supplies
    assert (first.id, first.attempt, first.data, first.rows) == (1, 7, b"small", 3)
    assert (second.id, second.data, second.rows) == ("big", there, 1)


def test_an_actor_is_no_input():
    task = packet(
        Pantry(Store()), slot(), run(9, inputs=(wire.Input(5, 1, 0, ()),), home=5, rows=())
    )
    assert task.supplies == ()
    assert task.home == 5


def test_the_digest_of_a_spec_is_read_without_the_payload():
    assert digest_of(encode_spec(CallSpec(DIGEST, bytes(100_000)))) == DIGEST
    assert digest_of(encode_spec(CallSpec(b"", b"payload", "name"))) == b""
    assert digest_of(encode_spec(CallSpec(b"short", b"payload"))) == b"short"
    assert digest_of(b"") == b""
    assert digest_of(b"\x93\xc4\x10 garbage") in (b"", b" garbage")
    assert digest_of(b"nonsense") == b""


def test_a_task_is_called_as_its_code_or_its_spec_says(pantry):
    assert pantry.name_of(run(1)) == "name"
    named = wire.Run(1, 1, encode_spec(CallSpec(b"", b"p", "by spec")))
    assert pantry.name_of(named) == "by spec"
    assert pantry.name_of(wire.Run(1, 1, b"garbage")) == ""
