"""Calls are packed in the caller's thread: functions once, large arguments once, the rest as it is."""

from __future__ import annotations

import gc
import math
import pickle
import threading
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from treadle.cluster._calls import HOIST_BYTES, Call, CallPacker, is_constant
from treadle.dataflow.futures import AppFuture, put
from treadle.errors import SerializationError
from treadle.serialize import decode_spec, loads, unpack


class Depot:
    """Keeps what calls name, as a session does."""

    base = 1000

    def __init__(self) -> None:
        self.codes: dict[bytes, tuple[str, bytes]] = {}
        self.data: dict[int, bytes] = {}
        self.constants: dict[int, tuple[object, int]] = {}
        self.pins: dict[int, int] = {}
        self.past: dict[int, Any] = {}

    def keep_code(self, digest: bytes, name: str, payload: bytes) -> None:
        self.codes[digest] = (name, payload)

    def keep_data(self, value: Any, *, constant: object | None) -> int:
        data = value.to_bytes()
        same = [id for id, known in self.data.items() if known == data]
        id = same[0] if same else 5000 + len(self.data)
        self.data[id] = data
        if constant is not None:
            self.constants[_id(constant)] = (constant, id)
        self.pins[id] = self.pins.get(id, 0) + 1
        return id

    def known_data(self, constant: object) -> int | None:
        known = self.constants.get(_id(constant))
        if known is None:
            return None
        self.pins[known[1]] += 1
        return known[1]

    def drop_data(self, ids: tuple[int, ...]) -> None:
        for id in ids:
            self.pins[id] -= 1

    def kept(self, number: int) -> Any:
        return self.past.get(number)

    def load(self, call: bytes | Call, **results: Any) -> tuple[Any, ...]:
        """What a slot makes of a call: the function, its arguments and keyword arguments."""
        spec = decode_spec(call if isinstance(call, bytes) else call.spec)

        def named(pid: Any) -> Any:
            return unpack(self.data[pid], writable=False) if pid in self.data else f"result {pid}"

        loaded = unpack(spec.payload, writable=True, persistent_load=named)
        if spec.digest:
            return (loads(self.codes[spec.digest][1]), *loaded)
        return loaded


_id = id


@pytest.fixture
def depot():
    return Depot()


@pytest.fixture
def packer(depot):
    return CallPacker(depot)


def twice(x, y=0):
    return 2 * x + y


# --- functions -----------------------------------------------------------------------------------


def test_a_call_arrives_as_it_was(depot, packer):
    call = packer.pack(twice, (3,), {"y": [1, {"a": 2.5}]})
    assert depot.load(call) == (twice, (3,), {"y": [1, {"a": 2.5}]})


def test_a_function_is_pickled_once(depot, packer):
    calls = [packer.pack(twice, (n,), {}) for n in range(5)]
    assert len({decode_spec(call).digest for call in calls}) == 1
    assert [name for name, _ in depot.codes.values()] == ["twice"]


def test_builtins_and_classes_have_digests_too(depot, packer):
    for func in (len, math.sqrt, dict):
        assert decode_spec(packer.pack(func, (4,), {})).digest
    assert len(depot.codes) == 3


def test_a_callable_object_goes_with_each_call(depot, packer):
    class Adds:
        def __init__(self, n):
            self.n = n

        def __call__(self, x):
            return x + self.n

    adds = Adds(1)
    first = packer.pack(adds, (1,), {})
    adds.n = 10
    second = packer.pack(adds, (1,), {})
    values = [depot.load(call)[0](1) for call in (first, second)]
    assert values == [2, 11]
    assert depot.codes == {}


def test_a_bound_method_goes_with_its_object(depot, packer):
    assert depot.load(packer.pack([3, 1, 2].index, (1,), {}))[0](1) == 1


def _script(source):
    """A function that is defined in a program."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(source, scope)
    return scope


def test_a_rebound_global_is_sent_anew_and_only_then(depot, packer):
    scope = _script("n = 1\ndef f(x):\n    return x + n\n")
    first = decode_spec(packer.pack(scope["f"], (1,), {})).digest
    assert decode_spec(packer.pack(scope["f"], (2,), {})).digest == first
    scope["n"] = 100
    call = packer.pack(scope["f"], (1,), {})
    assert decode_spec(call).digest != first
    assert depot.load(call)[0](1) == 101


def test_a_helper_that_is_defined_again_is_sent_anew(depot, packer):
    scope = _script("def g(x):\n    return x\ndef f(x):\n    return g(x)\n")
    first = packer.pack(scope["f"], (1,), {})
    exec("def g(x):\n    return -x\n", scope)
    second = packer.pack(scope["f"], (1,), {})
    assert [depot.load(call)[0](1) for call in (first, second)] == [1, -1]


def test_a_global_of_a_helpers_helper_counts(depot, packer):
    scope = _script(
        "k = 1\ndef h():\n    return k\ndef g():\n    return h()\ndef f():\n    return g()\n"
    )
    first = packer.pack(scope["f"], (), {})
    scope["k"] = 2
    second = packer.pack(scope["f"], (), {})
    assert [depot.load(call)[0]() for call in (first, second)] == [1, 2]


def test_a_global_that_comes_later_is_sent_with_the_function(depot, packer):
    scope = _script("def f():\n    return late\n")
    packer.pack(scope["f"], (), {})
    scope["late"] = "now"
    assert depot.load(packer.pack(scope["f"], (), {}))[0]() == "now"


def test_a_cell_that_changes_is_sent_anew(depot, packer):
    n = 1

    def f():
        return n

    first = packer.pack(f, (), {})
    n = 2
    second = packer.pack(f, (), {})
    assert [depot.load(call)[0]() for call in (first, second)] == [1, 2]


def test_defaults_that_change_are_sent_anew(depot, packer):
    scope = _script("def f(x=1):\n    return x\n")
    first = packer.pack(scope["f"], (), {})
    scope["f"].__defaults__ = (5,)
    second = packer.pack(scope["f"], (), {})
    assert [depot.load(call)[0]() for call in (first, second)] == [1, 5]


def test_what_a_dead_function_was_known_by_is_not_taken_for_another(depot, packer):
    values = []
    for n in range(20):
        scope = _script(f"def f():\n    return {n}\n")
        values.append(depot.load(packer.pack(scope["f"], (), {}))[0]())
        del scope
        gc.collect()
    assert values == list(range(20))


def test_a_function_that_cannot_be_pickled_is_named(packer):
    lock = threading.Lock()

    def guarded(x):
        with lock:
            return x

    with pytest.raises(SerializationError, match=r"guarded.*lock"):
        packer.pack(guarded, (1,), {})


def test_a_function_with_much_data_in_it_is_an_object(depot, packer):
    table = np.arange(1_000_000)

    def look(i):
        return int(table[i])

    call = packer.pack(look, (7,), {})
    assert isinstance(call, Call)
    assert depot.codes == {}
    func, args, _ = depot.load(call)
    assert func(*args) == 7


# --- arguments -----------------------------------------------------------------------------------


def test_what_becomes_of_an_argument_after_the_call_changes_nothing(depot, packer):
    rows, array, big = [1, 2], np.zeros(10), np.zeros(HOIST_BYTES)
    call = packer.pack(twice, (rows,), {"y": (array, big)})
    rows.append(3)
    array[:] = 9
    big[:] = 9
    _, (got,), kwargs = depot.load(call)
    assert got == [1, 2]
    assert (kwargs["y"][0].sum(), kwargs["y"][1].sum()) == (0, 0)


def test_a_large_argument_goes_once_however_often_it_is_passed(depot, packer):
    big = np.arange(HOIST_BYTES)
    calls = [packer.pack(twice, (big,), {"y": n}) for n in range(3)]
    assert len(depot.data) == 1
    assert all(len(call.spec) < 1000 for call in calls)
    assert (depot.load(calls[2])[1][0] == big).all()


def test_a_changed_array_is_another_object(depot, packer):
    big = np.zeros(HOIST_BYTES)
    first = packer.pack(twice, (big,), {})
    big[0] = 1
    second = packer.pack(twice, (big,), {})
    assert len(depot.data) == 2
    assert [depot.load(call)[1][0][0] for call in (first, second)] == [0, 1]


def test_a_small_argument_stays_in_the_call(depot, packer):
    call = packer.pack(twice, (np.arange(100),), {})
    assert isinstance(call, bytes)
    assert depot.data == {}


def test_a_value_that_was_put_is_looked_at_once(depot, packer, monkeypatch):
    value = put(np.arange(HOIST_BYTES))
    calls = [packer.pack(twice, (value,), {})]
    monkeypatch.setattr(Depot, "keep_data", None)  # nothing more is kept
    calls += [packer.pack(twice, (value,), {}) for _ in range(3)]
    assert all(depot.load(call)[1][0][5] == 5 for call in calls)


def test_a_small_value_that_was_put_goes_as_it_is(depot, packer):
    assert depot.load(packer.pack(twice, (put(3),), {"y": put([4])}))[1:] == ((3,), {"y": [4]})


def test_bytes_and_arrays_that_are_read_only_to_their_base_are_constants():
    own = np.arange(10)
    view = own[2:]
    frozen = np.arange(10)
    frozen.flags.writeable = False
    assert not is_constant(own)
    assert not is_constant(view)
    view.flags.writeable = False
    assert not is_constant(view)  # who has the base can still write
    assert is_constant(frozen)
    assert is_constant(frozen[3:])
    assert is_constant(b"x")
    assert not is_constant(bytearray(b"x"))


def test_a_large_constant_is_recognised_by_what_it_is(depot, packer):
    data = b"x" * (HOIST_BYTES + 1)
    for _ in range(3):
        packer.pack(twice, (data,), {})
    assert len(depot.constants) == 1


def test_data_is_held_as_long_as_the_call_that_names_it(depot, packer):
    big = np.arange(HOIST_BYTES)
    call = packer.pack(twice, (big, big), {})
    assert list(depot.pins.values()) == [1]
    del call
    assert list(depot.pins.values()) == [0]


def test_a_call_that_cannot_be_packed_holds_no_data(depot, packer):
    with pytest.raises(SerializationError):
        packer.pack(twice, (put(np.arange(HOIST_BYTES)), threading.Lock()), {})
    assert set(depot.pins.values()) == {0}


def test_an_argument_that_cannot_be_pickled_is_named_with_the_path_to_it(packer):
    with pytest.raises(SerializationError) as caught:
        packer.pack(twice, (1,), {"y": {"a": [threading.Lock()]}})
    assert "twice" in str(caught.value)
    assert "argument 'y' -> ['a'][0]" in str(caught.value)


def test_an_argument_whose_pickling_raises_anything_is_an_error_of_ours(packer):
    class Rude:
        def __reduce__(self):
            raise SystemExit("no")

    with pytest.raises(SerializationError, match="twice"):
        packer.pack(twice, (Rude(),), {})


# --- references ----------------------------------------------------------------------------------


def _numbers(**futures):
    by_id = {id(future): number for number, future in enumerate(futures.values())}
    return lambda obj: by_id.get(id(obj))


def test_a_future_is_named_by_the_task_it_stands_for(depot, packer):
    a, b = AppFuture(), AppFuture()
    call = packer.pack(twice, (a,), {"y": b}, _numbers(a=a, b=b))
    assert depot.load(call)[1:] == (("result 1000",), {"y": "result 1001"})


def test_futures_in_lists_and_deeper_are_named_too(depot, packer):
    a = AppFuture()
    call = packer.pack(twice, ([1, a],), {"y": {"deep": ({"er": a},)}}, _numbers(a=a))
    assert depot.load(call)[1:] == (
        ([1, "result 1000"],), {"y": {"deep": ({"er": "result 1000"},)}},
    )  # fmt: skip


def test_a_future_that_stands_for_nothing_is_an_error_that_says_so(packer):
    with pytest.raises(SerializationError):
        packer.pack(twice, (AppFuture(),), {}, lambda obj: None)


def test_a_key_that_a_user_chose_is_no_number(depot, packer):
    future: Future[int] = Future()
    call = packer.pack(twice, (future,), {}, lambda obj: "mine")
    assert depot.load(call)[1] == ("result mine",)


def test_large_arguments_go_beside_references(depot, packer):
    a = AppFuture()
    big = np.arange(HOIST_BYTES)
    call = packer.pack(twice, (a, big), {}, _numbers(a=a))
    _, (first, second), _ = depot.load(call)
    assert first == "result 1000"
    assert (second == big).all()


def test_a_kept_result_of_a_scheduler_that_is_gone_goes_as_a_value(depot, packer):
    class Kept:
        def load(self):
            return "kept"

    a = AppFuture()
    depot.past[0] = Kept()
    assert depot.load(packer.pack(twice, (a,), {}, _numbers(a=a)))[1] == ("kept",)


# --- rows ----------------------------------------------------------------------------------------


def test_each_row_is_packed_on_its_own(packer):
    rows = [(1, "a"), (np.arange(3),), ()]
    packed = packer.pack_rows(rows)
    assert pickle.loads(packed[0]) == (1, "a")
    assert unpack(packed[1], writable=True)[0].tolist() == [0, 1, 2]
    assert pickle.loads(packed[2]) == ()


def test_a_row_that_cannot_be_pickled_is_an_error(packer):
    with pytest.raises(SerializationError):
        packer.pack_rows([(1,), (threading.Lock(),)])
