"""Options of cluster executors, and what tasks ask for: bad ones get errors that name all of them."""

from __future__ import annotations

import math

import pytest

from treadle.cluster._options import DEFAULTS, slots_here, usable_cores
from treadle.cluster._resources import KEYS, Asked, bytes_of, options_of
from treadle.errors import ConfigurationError, InvalidResourceSpecification
from treadle.executors import ClusterExecutor
from treadle.wire import Options, Role, Submit, TaskSpec, verify

BAD = {
    "slots": [0, -1, 1.5, "two", True],
    "cores_per_slot": [0, -1, math.nan, math.inf, "one"],
    "memory_per_slot": [0, -1, "much", "2 XB", object],
    "memory_limit": ["2 parsecs"],
    "store_limit": [-5],
    "recycle_bytes": [0, "1 GB"],
    "resources": [{"gpu": -1}, {1: 2}, ["gpu"], {"gpu": math.nan}],
    "accelerators": [-1, "gpu0", [1]],
    "cpu_affinity": ["everywhere", 3],
    "preload": ["numpy", [1], None],
    "environment": [{"A": 1}, "A=1"],
    "address": ["", 5],
    "interface": ["", 5],
    "port_range": [(5,), (2, 1), (0, 70_000), "1-2"],
    "heartbeat_period": [0, -1, math.nan],
    "lease": [0, math.inf],
    "spill_directory": [""],
    "prefetch": [-1, 11],
    "walltime": [0, -1, "1h"],
    "deaths": [0, 1.5, 101],
    "drain_period": [-1],
    "working_dir": [""],
    "echo": [1, "yes"],
    "validate": ["no"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_a_bad_option_is_named_with_its_value(name, value):
    with pytest.raises(ConfigurationError) as caught:
        ClusterExecutor("here", **{name: value})
    assert f"{name}={value!r}" in str(caught.value)
    assert "ClusterExecutor('here')" in str(caught.value)


def test_every_option_has_a_bad_value_here():
    assert set(BAD) == set(DEFAULTS)


def test_all_bad_options_are_named_at_once():
    with pytest.raises(ConfigurationError) as caught:
        ClusterExecutor(slots=0, deaths=0, echo="loud")
    assert all(word in str(caught.value) for word in ("slots=0", "deaths=0", "echo='loud'"))


def test_a_label_must_be_a_name():
    with pytest.raises(ConfigurationError, match="label"):
        ClusterExecutor("")


def test_a_lease_must_outlast_a_beat_that_comes_late():
    with pytest.raises(ConfigurationError, match="lease"):
        ClusterExecutor(heartbeat_period=5, lease=6)


def test_an_unknown_option_is_an_error():
    with pytest.raises(TypeError, match="max_threads"):
        ClusterExecutor(max_threads=3)  # type: ignore[call-arg]


def test_its_repr_makes_it_again():
    executor = ClusterExecutor("x", slots=3, memory_per_slot="2 GB", environment={"A": "b"})
    again = eval(repr(executor), {"ClusterExecutor": ClusterExecutor})
    assert repr(again) == repr(executor)
    assert "memory_per_slot='2 GB'" in repr(executor)


def test_slots_are_as_many_as_cores_allow():
    assert slots_here(5, 1) == 5
    assert slots_here(None, 1) == usable_cores()
    assert slots_here(None, 10_000) == 1


# --- what tasks ask for --------------------------------------------------------------------------


def sent(options: Options) -> Options:
    """What is left of it after a journey."""
    verify([Submit((TaskSpec(1, "f", b""),), (options,))], Role.client, Role.scheduler)
    return options


def test_who_asks_for_nothing_shares_one_answer():
    assert options_of({}) is options_of({})
    assert options_of({}) == Options()


def test_everything_that_can_be_asked_for_arrives():
    asked = {
        "cores": 3,
        "memory": "2 GB",
        "disk": 500,
        "gpus": 1,
        "resources": {"licence": 2},
        "hosts": "node1",
        "workers": ["w2", "w1"],
        "loose": True,
        "priority": -3,
        "walltime": 60,
        "retries": 2,
        "metadata": {"why": "because"},
    }
    assert set(asked) == set(KEYS)
    answer = options_of(asked, cores_per_slot=2)
    assert isinstance(answer, Asked)
    assert answer.metadata == {"why": "because"}
    assert sent(answer.options) == Options(
        priority=-3.0,
        retries=2,
        slots=2,
        resources=(("disk", 5e8), ("gpus", 1.0), ("licence", 2.0), ("memory", 2e9)),
        hosts=("node1",),
        workers=("w1", "w2"),
        loose=True,
        walltime_s=60.0,
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [("2 GB", 2e9), ("512MiB", 2**29), ("1.5g", 1.5e9), (".5 kb", 500), ("100", 1e8), (100, 1e8)],
)
def test_sizes_may_be_numbers_of_megabytes_or_text(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cores", "many"), ("cores", -1), ("cores", math.inf), ("cores", 1e9), ("memory", "2 XB"),
        ("memory", math.nan), ("gpus", True), ("resources", ["gpu"]), ("resources", {"x": "y"}),
        ("hosts", 5), ("hosts", [5]), ("workers", {"a": 1}), ("loose", 1),
        ("priority", math.inf), ("priority", math.nan), ("priority", 1e301), ("priority", "high"),
        ("walltime", 0), ("walltime", -1), ("walltime", math.nan), ("retries", 1.5),
        ("retries", -1), ("retries", 2**40), ("metadata", 5), ("metadata", {1: 2}),
        ("metadata", {"x": object}),
    ],
)  # fmt: skip
def test_a_bad_value_is_named(key, value):
    with pytest.raises(InvalidResourceSpecification) as caught:
        options_of({key: value})
    assert caught.value.invalid_keys == {key}
    assert f"{key}={value!r}" in str(caught.value)


def test_an_unknown_key_lists_those_there_are():
    with pytest.raises(InvalidResourceSpecification) as caught:
        options_of({"core": 1, "mem": 2})
    assert caught.value.invalid_keys == {"core", "mem"}
    assert all(key in str(caught.value) for key in KEYS)


def test_tasks_that_span_nodes_are_refused_in_words():
    with pytest.raises(InvalidResourceSpecification, match="span nodes"):
        options_of({"num_nodes": 2})


def test_the_kernels_retries_count_unless_the_task_asks_for_others():
    assert options_of({}, retries=3).retries == 3
    assert options_of({"retries": 1}, retries=3).retries == 1
    assert sent(options_of({}, retries=math.inf)).retries == 2**31 - 1
    assert options_of({}, retries=1.9).retries == 1


def test_an_executors_walltime_counts_unless_the_task_asks_for_another():
    assert options_of({}, walltime_s=5.0).walltime_s == 5.0
    assert options_of({"walltime": 2}, walltime_s=5.0).walltime_s == 2.0
