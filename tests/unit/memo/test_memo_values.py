"""Which values are the same for the memo table."""

from __future__ import annotations

import array
import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import io
import pathlib
import socket
import threading
import types
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque

import numpy as np
import pytest

from tests.unit.memo.calls import digest, of_value
from treadle.dataflow.memo.registry import id_for_memo
from treadle.errors import MemoKeyError


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: float
    y: object = None


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b


class MyDict(dict):
    pass


class MySet(set):
    pass


class MyList(list):
    pass


class MyInt(int):
    pass


Pair = collections.namedtuple("Pair", "a b")

LAMBDAS = [lambda x: x, lambda x: x + 1]

DIFFERENT = [
    None, True, False, ..., NotImplemented, 0, 1, -1, 2**100, 10**6000, -(10**6000),
    0.0, -0.0, 1.0, 1.5, float("inf"), float("-inf"), float("nan"), 1j, complex(1), complex(0, -0.0),
    "", "1", "a", "a" * 1000, "a" * 1001, "\ud800", "'", b"", b"1", b"a", b"a" * 1000,
    bytearray(b"a"), memoryview(b"a"), memoryview(b"ab"), array.array("i", [1]), array.array("l", [1]),
    (), [], {}, set(), frozenset(), (1,), [1], {1: 1}, {1}, frozenset({1}), [True], [1.0], ["1"],
    [[1]], [(1,)], ([1],), [1, 2], [2, 1], ["1", "2"], ["1, 2"], ["1', '2"], [b"1"], [None],
    [[], []], [[[]]], [[1], [2]], [[1, 2]], [1, [2]],
    {1: 2}, {"1": 2}, {1.0: 2}, {2: 1}, {(1, 2): 3}, {(2, 1): 3}, {"a": {"b": 1}}, {"a": "b"},
    {"a": [1]}, {"a": 1, "b": 2}, {"a": 2, "b": 1}, {1: [1], "b": 2}, {frozenset({1}): 1},
    OrderedDict(), OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), MyDict(), MyDict(a=1, b=2),
    defaultdict(list), defaultdict(int), defaultdict(list, {1: [2]}), Counter("ab"), Counter("abb"),
    deque([1]), deque([1], maxlen=3), MyList([1]), MySet({1}), MySet(), MyInt(1), Pair(1, 2), Pair(2, 1),
    {1, 2}, {"1", "2"}, {(1,), (2,)}, frozenset({frozenset({1})}), {1, (2,)},
    range(3), range(4), range(0, 3, 2), slice(1, 2), slice(1, 2, 1),
    decimal.Decimal("1"), decimal.Decimal("1.0"), fractions.Fraction(1, 3), fractions.Fraction(1, 2),
    datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 1, fold=1),
    datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")),
    datetime.time(1), datetime.timedelta(1), datetime.timedelta(2),
    Colour.RED, Colour.BLUE, Access.READ, Access.READ | Access.WRITE, Colour, Access,
    pathlib.Path("a"), pathlib.Path("b"), pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("a/b"),
    Point(1.0), Point(2.0), Point(1.0, [1]), Point, Slotted(1, 2), Slotted(2, 1), Slotted,
    types.SimpleNamespace(a=1), types.SimpleNamespace(b=1), types.MappingProxyType({1: 1}),
    int, str, len, sum, "".join, "a".join, str.upper, str.lower, *LAMBDAS, __import__("math"),
    __import__("cmath"), list[int], list[str], int | str, Point(1.0).__eq__, Point(2.0).__eq__,
    np.array([1, 2]), np.array([2, 1]), np.array([[1, 2]]), np.array([1.0, 2.0]),
    np.array([1, 2], dtype="i4"), np.array([1, 2], dtype=">i8"), np.array(["a", "b"]), np.array(["a", "bb"]),
    np.array([1, None], dtype=object), np.array([1, "a"], dtype=object), np.array([[1], [2]]),
    np.array(1), np.int64(1), np.int32(1), np.float64(1.0), np.float32(1.0), np.float64("nan"),
    np.array([0.0]), np.array([-0.0]), np.array([np.nan]), np.array([np.nan, 1]), np.array([1j, np.nan]),
    np.array([complex(np.nan, 1)]), np.array([complex(1, np.nan)]),
    np.array([], dtype="i4"), np.array([], dtype="i8"), np.zeros((0, 3)), np.zeros((3, 0)),
    np.array(["2024-01-01"], dtype="M8[D]"), np.array(["2024-01-01"], dtype="M8[s]"),
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]), np.array([(1, 2.0)], dtype=[("a", "i4"), ("c", "f8")]),
    np.arange(10000), np.arange(10000)[::-1], np.arange(10000).reshape(100, 100),
    np.longdouble("0.1"), np.array([1, 2], dtype="longdouble"), np.dtype("i4"), np.dtype("i8"),
    np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0]), np.array([True]), np.array([[True]]),
    np.sum, np.add, np.array(["a", "b"], dtype=np.dtypes.StringDType()),
    np.array(["a", "c"], dtype=np.dtypes.StringDType()),
]  # fmt: skip


def test_values_that_differ_have_keys_that_differ():
    seen: dict[str, object] = {}
    for value in DIFFERENT:
        found = of_value(value)
        assert found not in seen, f"{value!r} and {seen[found]!r} have the same key"
        seen[found] = value


def test_copies_have_the_same_key():
    for value in DIFFERENT:
        if isinstance(value, (types.ModuleType, memoryview, types.MappingProxyType)):
            continue
        assert of_value(copy.deepcopy(value)) == of_value(value), value


EQUAL = [
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1: [1], "b": [2]}, {"b": [2], 1: [1]}),
    ({(1, 2): 1, (3,): 2}, {(3,): 2, (1, 2): 1}),
    (MyDict(a=[1], b=2), MyDict(b=2, a=[1])),
    (defaultdict(list, {1: [], 2: []}), defaultdict(list, {2: [], 1: []})),
    (float("nan"), -float("nan")),
    ([float("nan")], [-float("nan")]),
    (range(0, 3, 2), range(0, 4, 2)),
    (range(0), range(5, 5)),
    (types.SimpleNamespace(a=1, b=2), types.SimpleNamespace(b=2, a=1)),
    (np.array([np.nan]), np.array([-np.nan])),
    (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
    (np.arange(10)[::2], np.array([0, 2, 4, 6, 8])),
    ("ab" * 300, "".join(["ab"] * 300)),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_values_made_in_other_ways_have_the_same_key(one, other):
    assert of_value(one) == of_value(other)


def test_the_order_in_which_a_set_was_filled_does_not_matter():
    names = [f"name{n}" for n in range(200)]
    objects = [("x", n) for n in range(200)]
    for items in (names, objects):
        for kind in (set, frozenset, MySet):
            one, other = kind(items), kind(reversed(items))
            assert of_value(one) == of_value(other)
            assert of_value(Point(0.0, one)) == of_value(Point(0.0, other))
            assert of_value(kind(items[1:])) != of_value(one)


def test_values_with_padding_count_by_what_they_say():
    kind = np.dtype([("a", "i1"), ("b", "i8")], align=True)
    one, other = np.zeros(3, kind), np.frombuffer(b"\xff" * 48, kind).copy()
    for name in ("a", "b"):
        other[name] = 0
    assert one.tobytes() != other.tobytes()
    assert of_value(one) == of_value(other)


# --- rings and depth -----------------------------------------------------------------------------


def ring(size):
    first: list = []
    at = first
    for _ in range(size - 1):
        at.append([])
        at = at[0]
    at.append((first, 1))
    return first


def test_rings_end_and_equal_rings_are_the_same():
    assert of_value(ring(3)) == of_value(ring(3))
    assert of_value(ring(3)) != of_value(ring(4))
    a: list = []
    a.append(a)
    b: dict = {}
    b["b"] = b
    assert len({of_value(a), of_value([a, a]), of_value(b), of_value([]), of_value([[]])}) == 5


class TreeNode:
    def __init__(self, name, parent=None):
        self.name = name
        self.parent = parent
        self.children = set()
        if parent is not None:
            parent.children.add(self)


def tree(order=1):
    root = TreeNode("root")
    for name in list("abcdef")[::order]:
        child = TreeNode(name, root)
        for inner in list("xyz")[::-order]:
            TreeNode(inner, child)
    return root


def test_a_tree_with_parents_and_sets_of_children_has_one_key():
    assert of_value(tree()) == of_value(tree(-1))
    other = tree()
    next(c for c in other.children if c.name == "b").name = "q"
    assert of_value(other) != of_value(tree())
    moved = tree()
    b = next(c for c in moved.children if c.name == "b")
    x = next(c for c in b.children if c.name == "x")
    x.name, b.name = b.name, x.name
    assert of_value(moved) != of_value(tree())


def test_a_long_chain_in_both_directions_ends():
    def chain(names):
        head = TreeNode(names[0])
        at = head
        for name in names[1:]:
            at = TreeNode(name, at)
        return head

    names = [str(n) for n in range(300)]
    assert of_value(chain(names)) == of_value(chain(names))
    assert of_value(chain(names)) != of_value(chain([*names[:-1], "other"]))
    alike = ["n"] * 300
    assert of_value(chain(alike)) != of_value(chain([*alike, "n"]))


def test_what_is_shared_is_looked_at_once_and_counts_by_value():
    shared: list = []
    for _ in range(200):
        shared = [shared, shared]
    assert of_value(shared) == of_value(shared)
    x = [1]
    assert of_value([x, x]) == of_value([[1], [1]])


def test_any_depth_has_a_key():
    deep: object = 1
    other: object = 2
    for _ in range(20_000):
        deep, other = [deep], [other]
    assert of_value(deep) == of_value(deep)
    assert of_value(deep) != of_value(other)
    for _ in range(2_000):
        deep = Point(1.0, {"a": (deep,)})
    assert of_value(deep) == of_value(deep)


def test_objects_of_the_project_count_with_the_code_of_their_class():
    def make(shift):
        class Model:
            def __init__(self):
                self.weight = 1

            if shift:

                def run(self):
                    return self.weight + 1

            else:

                def run(self):
                    return self.weight

        return Model()

    assert of_value(make(0)) == of_value(make(0))
    assert of_value(make(0)) != of_value(make(1))


def test_pickling_an_object_does_not_change_its_class():
    class Fresh:
        def __init__(self):
            self.a = 1

    def f(x):
        return Fresh()

    before = digest(f, 1), of_value(Fresh())
    Fresh().__reduce_ex__(4)
    copy.deepcopy(Fresh())
    assert (digest(f, 1), of_value(Fresh())) == before


# --- what has no value ---------------------------------------------------------------------------


class Session:
    def __init__(self):
        self._lock = threading.Lock()


class Model:
    def __init__(self):
        self.name = "m"
        self.parts = {"net": [1, Session()]}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (threading.Lock(), "argument 'x' is a _thread.lock"),
        (Model(), "argument 'x' -> .parts['net'][1]._lock is a _thread.lock"),
        ([{"k": (1, threading.Lock())}], "argument 'x' -> [0]['k'][1] is a _thread.lock"),
        ((n for n in ()), "argument 'x' is a generator"),
        ([1, (n for n in ())], "argument 'x' -> [1] is a generator"),
        (np.array([threading.Lock()], dtype=object), "argument 'x' -> [0] is a _thread.lock"),
    ],
)  # fmt: skip
def test_what_has_no_value_is_an_error_that_names_the_leaf_and_the_way_out(value, path):
    with pytest.raises(MemoKeyError) as caught:
        of_value(value)
    text = str(caught.value)
    assert path in text
    assert "id_for_memo.register" in text
    assert "ignore_for_cache" in text
    assert "'identity'" in text


def test_sockets_and_open_files_have_no_value():
    with socket.socket() as s, pytest.raises(MemoKeyError, match="socket"):
        of_value(s)
    with open(__file__) as file, pytest.raises(MemoKeyError, match="TextIOWrapper"):
        of_value(file)
    assert of_value(io.BytesIO(b"a")) == of_value(io.BytesIO(b"a")) != of_value(io.BytesIO(b"b"))


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [TypeError, ValueError, Stop, KeyboardInterrupt, RecursionError])
def test_what_the_users_code_raises_is_raised_unchanged(error):
    class Bad:
        def __reduce__(self):
            raise error("mine")

    with pytest.raises(error, match="mine") as caught:
        of_value({"a": [Bad()]})
    assert not isinstance(caught.value, MemoKeyError)


def test_a_walk_that_failed_leaves_nothing_behind():
    bad = [1, [threading.Lock()]]
    for _ in range(3):
        with pytest.raises(MemoKeyError):
            digest(lambda x, y: x, bad, bad)


# --- what users register -------------------------------------------------------------------------


class Handle:
    def __init__(self, name):
        self.name = name
        self.lock = threading.Lock()


class Special(Handle):
    pass


@id_for_memo.register(Handle)
def id_of_handle(handle: Handle, output_ref: bool = False) -> bytes:
    if handle.name == "raise":
        raise Stop("mine")
    if handle.name == "text":
        return "text"  # type: ignore[return-value]
    return f"{handle.name}{'!' if output_ref else ''}".encode()


def test_a_registered_type_is_known_at_any_depth():
    deep = lambda name: {"a": [(Point(1.0, Handle(name)),)], Colour.RED: {1, 2}}  # noqa: E731
    assert of_value(deep("a")) == of_value(deep("a")) != of_value(deep("b"))
    assert of_value(Special("a")) == of_value(Special("a")) != of_value(Handle("a"))
    assert id_for_memo(Handle("a")) == b"a"
    assert id_for_memo(Handle("a"), output_ref=True) == b"a!"


def test_a_registered_function_is_told_of_outputs():
    def f(x, outputs=()):
        return x

    assert digest(f, 1, outputs=[Handle("a")]) != digest(f, 1, outputs=[Handle("a!")])
    assert digest(f, [Handle("a!")]) != digest(f, 1, outputs=[Handle("a")])


def test_a_registration_counts_from_the_next_key_on():
    class Late:
        pass

    first = of_value([Late()])

    @id_for_memo.register(Late)
    def _(obj, output_ref=False):
        return b"late"

    assert of_value([Late()]) != first
    second = of_value([Late()])
    id_for_memo.register(Late, lambda obj, output_ref=False: b"later")
    assert len({first, second, of_value([Late()])}) == 3


class Annotated:
    pass


def test_a_registration_by_annotation_counts_too():
    first = of_value([Annotated()])

    @id_for_memo.register
    def _(obj: Annotated, output_ref: bool = False) -> bytes:
        return b"annotated"

    assert of_value([Annotated()]) != first


def test_a_registration_for_a_plain_type_counts_too():
    first, digits = of_value(["1", {"1": 1}]), of_value([1])
    try:

        @id_for_memo.register(str)
        def _(obj, output_ref=False):
            return b"any text"

        assert of_value(["1", {"1": 1}]) == of_value(["2", {"2": 1}]) != first
        assert of_value([1]) == digits
    finally:
        id_for_memo.register(str, id_for_memo.dispatch(object))
    assert of_value(["1", {"1": 1}]) == first


def test_errors_of_registered_functions():
    with pytest.raises(Stop, match="mine"):
        of_value([Handle("raise")])
    with pytest.raises(MemoKeyError, match=r"Handle returned str; it must return bytes"):
        of_value([Handle("text")])


def test_id_for_memo_itself_digests_any_value():
    assert id_for_memo([1, {2}]) == id_for_memo([1, {2}]) != id_for_memo([1, {3}])
    assert isinstance(id_for_memo(1), bytes)
    assert id_for_memo(lambda x: x) != id_for_memo(lambda x: -x)
    with pytest.raises(MemoKeyError, match=r"value -> \[0\] is a _thread.lock"):
        id_for_memo([threading.Lock()])
