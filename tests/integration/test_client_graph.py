"""Graphs of a client: `get`."""

from __future__ import annotations

from operator import add, mul

import numpy as np
import pytest

from tests.integration.client_cases import client, fail, inc, own_client
from treadle.errors import SerializationError

pytestmark = pytest.mark.timeout(60)
_ = client, own_client  # fixtures


def total(values):
    return sum(values)


def named(**values):
    return values


# --- the old notation ----------------------------------------------------------------------------


def test_a_key_a_list_of_keys_and_nested_lists(client):
    dsk = {"x": 1, "y": (inc, "x"), "z": (add, "x", "y")}
    assert client.get(dsk, "z") == 3
    assert client.get(dsk, ["x", "y"]) == [1, 2]
    assert client.get(dsk, [["x", "z"], ["y"], []]) == [[1, 3], [2], []]


def test_keys_may_be_strings_numbers_and_tuples(client):
    dsk = {("x", 0): 5, 1: (inc, ("x", 0)), 2.5: (inc, 1), b"k": (inc, 2.5), ("x", ("y", 1)): b"k"}
    assert client.get(dsk, [1, 2.5, b"k", ("x", ("y", 1)), ("x", 0)]) == [6, 7, 8, 8, 5]


def test_calls_and_keys_inside_of_arguments(client):
    dsk = {
        "x": 2,
        "sum": (total, ["x", (mul, "x", "x"), [1, 2][0], (total, ["x", (inc, "x")])]),
        "dict": (dict, [["a", "x"], ["b", (inc, "x")]]),
        "nest": (list, [{"key": "x", "call": (inc, "x")}, ("x", "other"), {"x"}]),
    }
    assert client.get(dsk, ["sum", "dict"]) == [12, {"a": 2, "b": 3}]
    assert client.get(dsk, "nest") == [{"key": 2, "call": 3}, (2, "other"), {2}]


def test_what_is_no_key_is_itself(client):
    dsk = {"x": 1, "y": (list, ["x", "z", True, None, 1.5]), "t": (list, [("x", 1)])}
    assert client.get(dsk, ["y", "t"]) == [[1, "z", True, None, 1.5], [(1, 1)]]


def test_another_name_of_a_key(client):
    dsk = {"x": 1, "y": "x", "z": "y", "w": (inc, "z"), "v": (inc, "w"), "u": "v"}
    assert client.get(dsk, ["y", "z", "w", "u", "v"]) == [1, 1, 2, 3, 3]


def test_containers_stand_for_their_values(client):
    dsk = {"x": (inc, 1), "l": ["x", {"a": "x"}, 5], "m": (len, "l"), "plain": [1, 2]}
    assert client.get(dsk, ["l", "m", "plain"]) == [[2, {"a": 2}, 5], 3, [1, 2]]


def test_large_values_go_once_and_small_ones_with_their_users(own_client):
    array = np.arange(1_000_000)
    dsk = {"big": array, "small": [1, 2, 3], "sum": (np.sum, "big"), "max": (np.max, "big")}
    dsk["all"] = (total, ["sum", (len, "small"), (len, "big")])
    dsk["alias"] = "big"
    dsk["mean"] = (np.mean, "alias")
    results = own_client.get(dsk, ["sum", "max", "all", "mean"])
    assert results == [array.sum(), 999_999, array.sum() + 3 + 1_000_000, array.mean()]
    assert own_client.get(dsk, "big").sum() == array.sum()


def test_futures_in_a_graph_stand_for_their_results(client):
    future = client.submit(inc, 9)
    row = client.map(inc, [0, 1])[1]
    dsk = {"f": future, "x": (add, future, 1), "y": (total, ["f", "x", row])}
    assert client.get(dsk, ["f", "x", "y"]) == [10, 11, 23]


# --- shapes --------------------------------------------------------------------------------------


def test_a_chain_of_ten_thousand(client):
    dsk = {("x", n): (inc, ("x", n - 1)) for n in range(1, 10_000)}
    dsk["x", 0] = (inc, 0)
    assert client.get(dsk, ("x", 9_999)) == 10_000


def test_aliases_of_any_depth(client):
    dsk = {n: n - 1 for n in range(1, 5_000)}
    dsk[0] = (inc, 0)
    with pytest.raises(TypeError):
        client.get([dsk], 4_999)
    keys = {f"k{n}": f"k{n - 1}" for n in range(1, 5_000)}
    keys["k0"] = (inc, 0)
    assert client.get(keys, "k4999") == 1


def test_a_tree_and_what_is_not_needed(client):
    dsk = {("leaf", n): (inc, n) for n in range(500)}
    dsk["sum"] = (total, [("leaf", n) for n in range(500)])
    dsk["bad"] = (fail, "it is not needed")
    assert client.get(dsk, "sum") == sum(range(1, 501))


def test_futures_of_a_graph(client):
    dsk = {"x": (inc, 1), "y": (inc, "x"), "z": "y", "n": 7}
    (x, y), z, n = client.get(dsk, [["x", "y"], "z", "n"], sync=False)
    assert y is z
    assert client.gather([x, y, n]) == [2, 3, 7]
    assert client.submit(add, x, n).result(20) == 9


def test_options_are_for_all_tasks(client):
    (worker,) = client.has_what()
    dsk = {"x": (inc, 1), "y": (inc, "x")}
    assert client.get(dsk, "y", workers=worker, retries=2, priority=3, optimize_graph=False) == 3
    with pytest.raises(ValueError, match="retries"):
        client.get(dsk, "y", retries=-1)


# --- what goes wrong -----------------------------------------------------------------------------


def test_errors_of_tasks_are_theirs(client):
    dsk = {"x": (fail, "in the graph"), "y": (inc, "x"), "ok": (inc, 1)}
    with pytest.raises(ValueError, match="in the graph"):
        client.get(dsk, ["ok", "y"])
    ok, y = client.get(dsk, ["ok", "y"], sync=False)
    assert ok.result(20) == 2
    assert repr(y.exception(20)) == "ValueError('in the graph')"


def test_a_key_that_is_not_there(client):
    with pytest.raises(KeyError, match="'nope' is not in the graph, which has 1 keys"):
        client.get({"x": 1}, ["x", "nope"])


def test_a_ring_is_named(client):
    dsk = {"a": (inc, "b"), "b": (inc, "c"), "c": (inc, "a"), "d": (inc, "a")}
    with pytest.raises(ValueError, match=r"ring.*'a' -> 'b' -> 'c' -> 'a'"):
        client.get(dsk, "d")
    with pytest.raises(ValueError, match="ring"):
        client.get({"a": (inc, "a")}, "a")
    with pytest.raises(ValueError, match="ring"):
        client.get({"a": "b", "b": "a"}, "a")
    long = {n: (inc, (n + 1) % 50) for n in range(50)}
    with pytest.raises(ValueError, match=r"\.\.\."):
        client.get(long, 0)


def test_what_is_no_graph(client):
    with pytest.raises(TypeError, match="a graph is a dict"):
        client.get([1, 2], "x")


def test_what_cannot_be_pickled_is_an_error_at_once(client):
    lock = __import__("threading").Lock()
    with pytest.raises(SerializationError):
        client.get({"x": (inc, lock)}, "x")
    with pytest.raises(SerializationError):
        client.get({"x": lock, "y": (inc, "x")}, "y")


# --- nodes of Dask's classes, by what they have -------------------------------------------------


class TaskRef:
    def __init__(self, key):
        self.key = key


class DataNode:
    dependencies = frozenset()

    def __init__(self, key, value):
        self.key, self.value = key, value


class Alias:
    def __init__(self, key, target):
        self.key, self.target = key, target
        self.dependencies = frozenset([target])


class Task:
    def __init__(self, key, func, *args, **kwargs):
        self.key, self.func, self.args, self.kwargs = key, func, args, kwargs
        found = set()
        for arg in (*args, *kwargs.values()):
            found |= {arg.key} if isinstance(arg, TaskRef) else getattr(arg, "dependencies", set())
        self.dependencies = frozenset(found)

    def __call__(self, values):
        def value_of(arg):
            if isinstance(arg, TaskRef):
                return values[arg.key]
            return arg(values) if isinstance(arg, Task) else arg

        kwargs = {name: value_of(arg) for name, arg in self.kwargs.items()}
        return self.func(*[value_of(arg) for arg in self.args], **kwargs)


def test_nodes_of_classes(client):
    dsk = {
        "d": DataNode("d", 5),
        "x": Task("x", add, TaskRef("d"), 1),
        "y": Task("y", named, a=TaskRef("x"), b=2),
        "z": Task("z", inc, Task("inner", add, TaskRef("x"), TaskRef("d"))),
        ("a", 0): Alias(("a", 0), "z"),
        "old": (add, ("a", 0), "d"),
    }
    assert client.get(dsk, [["d", "x"], "y", "z", ("a", 0), "old"]) == [
        [5, 6], {"a": 6, "b": 2}, 12, 12, 17,
    ]  # fmt: skip


def test_a_dependency_that_is_not_there(client):
    with pytest.raises(ValueError, match="task 'x' depends on 'gone', which is not in the graph"):
        client.get({"x": Task("x", inc, TaskRef("gone"))}, "x")


def test_what_has_a_graph(client):
    class Collection:
        def __dask_graph__(self):
            return {"x": (inc, 1)}

    assert client.get(Collection(), "x") == 2
