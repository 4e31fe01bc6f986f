"""What the options of submit and map mean; what no scheduler would take is refused at once."""

from __future__ import annotations

import pytest

from treadle import wire
from treadle.client._options import keys_of, metadata_of, options_of
from treadle.wire import Role

PLAIN = {
    "workers": None,
    "resources": None,
    "retries": 0,
    "priority": 0,
    "loose": False,
    "walltime": None,
}


def options(**given):
    return options_of(**{**PLAIN, **given})


def test_without_any_they_are_one_object():
    assert options() is options()


def test_they_say_what_was_asked_for_higher_priorities_first():
    found = options(workers="a", resources={"b": 2, "a": 1.5}, priority=3, walltime=2)
    assert found == wire.Options(
        priority=-3.0, resources=(("a", 1.5), ("b", 2.0)), workers=("a",), walltime_s=2.0
    )


@pytest.mark.parametrize(
    "given",
    [
        {"workers": ""},
        {"workers": []},
        {"workers": ["x" * 2_000]},
        {"workers": [5]},
        {"resources": {"": 1}},
        {"resources": {"GPU": -1}},
        {"resources": {"GPU": float("nan")}},
        {"resources": {"GPU": "one"}},
        {"resources": {"GPU": True}},
        {"resources": ["GPU"]},
        {"resources": {str(n): 1 for n in range(65)}},
        {"retries": -1},
        {"retries": 1.0},
        {"retries": 2**31},
        {"priority": "high"},
        {"priority": float("nan")},
        {"priority": True},
        {"walltime": 0},
        {"walltime": "5s"},
        {"loose": True},
    ],
    ids=repr,
)
def test_what_cannot_be_asked_for_is_an_error_that_names_it(given):
    (name,) = given
    with pytest.raises(ValueError, match="allow_other_workers" if name == "loose" else name):
        options(**given)


@pytest.mark.parametrize("key", [5, ["a"], ["a", 5], ["a", ""], "x" * 1_000], ids=repr)
def test_keys_that_cannot_be_are_an_error(key):
    with pytest.raises(ValueError, match="key"):
        keys_of(key, 2)


def test_keys_are_made_of_a_prefix_or_given():
    assert keys_of("a", 2) == ["a-0", "a-1"]
    assert keys_of(["x", "y"], 2) == ["x", "y"]
    assert keys_of(None, 2) == [None, None]


@pytest.mark.parametrize(
    "metadata",
    [{"a": object()}, {"a": 2**70}, {1.5: 2}, 5, {"a": list(range(2_000))}, {"a": "\ud800"}],
    ids=lambda value: repr(value)[:30],
)
def test_metadata_that_no_wire_takes_is_an_error(metadata):
    with pytest.raises(ValueError, match="metadata"):
        metadata_of(metadata)


def test_what_is_let_through_is_what_a_scheduler_takes():
    found = options(workers=["w" * 1_000], resources={"r" * 1_000: 1e18}, priority=-1e300)
    shown = metadata_of({"a": [1, {"b": None}], "c": 2**63})
    spec = wire.TaskSpec(keys_of("k" * 998, 1)[0], "name", b"", metadata=shown)
    wire.verify([wire.Submit((spec,), (found,))], Role.client, Role.scheduler)
