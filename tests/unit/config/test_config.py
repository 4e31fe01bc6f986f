"""Options are checked when they are written, all at once, and say what would be allowed."""

from __future__ import annotations

import pathlib

import pytest

from treadle import Config, ThreadPoolExecutor
from treadle.config import CHECKPOINT_MODES, EXIT_MODES
from treadle.dataflow.dependency_resolvers import DEEP_DEPENDENCY_RESOLVER
from treadle.dataflow.memoization import BasicMemoizer
from treadle.errors import ConfigurationError


def test_nothing_is_a_configuration():
    config = Config()
    assert [e.label for e in config.executors] == ["threads"]
    assert (config.retries, config.run_dir, config.max_pending) == (0, "runinfo", None)


def test_the_repr_of_the_defaults_is_the_known_one():
    text = " ".join(repr(Config()).split())
    for piece in ("app_cache=True", "checkpoint_mode=None", "strategy='simple'", "retries=0"):
        assert piece in text
    names = [
        line.split("=")[0].strip() for line in repr(Config()).splitlines() if line[4:5].isalpha()
    ]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"executors": [ThreadPoolExecutor("a"), ThreadPoolExecutor("b", 7)]},
        {"max_pending": 5, "retries": 2, "exit_mode": "wait", "run_dir": pathlib.Path("here")},
        {"checkpoint_mode": "periodic", "checkpoint_period": "00:10:00"},
        {"checkpoint_files": ["a", "b"], "app_cache": True, "strategy": None},
    ],
)
def test_the_repr_rebuilds_it(options):
    config = Config(**options)
    again = eval(repr(config))
    assert repr(again) == repr(config)
    for name in options.keys() - {"executors", "run_dir"}:
        assert getattr(again, name) == getattr(config, name)


WRONG = {
    "app_cache": ("yes", "True or False"),
    "checkpoint_files": ("runinfo/000", "a list of checkpoint directories"),
    "checkpoint_mode": ("task_exot", "did you mean 'task_exit'"),
    "checkpoint_period": ("soon", "HH:MM:SS"),
    "dependency_resolver": (3, "a DependencyResolver, or None"),
    "executors": (3, "give a list of executors"),
    "exit_mode": ("leave", "'cleanup', 'skip', 'wait'"),
    "garbage_collect": (1, "True or False"),
    "initialize_logging": ("DEBUG", "True, False, or a LogConfig"),
    "internal_tasks_max_threads": (0, "whole number of at least 1"),
    "max_idletime": (-1, "at least 0"),
    "max_pending": (0, "whole number of at least 1, or None"),
    "memoizer": ("basic", "a Memoizer, or None"),
    "monitoring": (True, "no monitoring"),
    "project_name": (3, "a string, or None"),
    "retries": ("3", "a number of at least 0"),
    "retry_handler": (3, "a function, or None"),
    "run_dir": ("", "the path of a directory"),
    "std_autopath": ("logs", "a function, or None"),
    "strategy": ("simpel", "did you mean 'simple'"),
    "strategy_period": (None, "a number of at least 0"),
    "usage_tracking": (4, "a level from 0 to 3"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_named_with_what_is_allowed(name):
    value, allowed = WRONG[name]
    with pytest.raises(ConfigurationError) as caught:
        Config(**{name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
    assert allowed in str(caught.value)


def test_everything_wrong_is_told_at_once():
    with pytest.raises(ConfigurationError) as caught:
        Config(**{name: value for name, (value, _) in WRONG.items()})
    for name, (_, allowed) in WRONG.items():
        assert name in str(caught.value)
        assert allowed in str(caught.value)


def test_every_option_has_a_case_here():
    import inspect

    assert {*inspect.signature(Config).parameters} == {*WRONG}


@pytest.mark.parametrize("value", [True, float("nan"), -0.5, None, [1]])
def test_odd_numbers_of_retries_are_refused(value):
    with pytest.raises(ConfigurationError, match="retries="):
        Config(retries=value)


def test_labels_must_differ():
    with pytest.raises(ConfigurationError, match="unique labels: 'a'"):
        Config([ThreadPoolExecutor("a"), ThreadPoolExecutor("a")])
    with pytest.raises(ConfigurationError, match="kernel's own"):
        Config([ThreadPoolExecutor("_treadle_internal")])


def test_no_executors_is_a_mistake_and_one_is_not_a_list():
    with pytest.raises(ConfigurationError, match="at least one"):
        Config([])
    with pytest.raises(ConfigurationError, match="give a list"):
        Config(ThreadPoolExecutor())
    with pytest.raises(ConfigurationError, match="is no executor"):
        Config([object()])


def test_an_executor_needs_its_methods():
    class NoShutdown:
        label = "x"

        def start(self):
            pass

        def submit(self, func, *args, **kwargs):
            pass

    with pytest.raises(ConfigurationError, match="shutdown"):
        Config([NoShutdown()])


def test_executors_may_be_assigned_and_are_checked():
    config = Config()
    config.executors = (ThreadPoolExecutor("x"),)
    assert [e.label for e in config.executors] == ["x"]
    with pytest.raises(ConfigurationError):
        config.executors = [1]
    assert [e.label for e in config.executors] == ["x"]


def test_executors_may_be_given_by_position_and_nothing_else():
    assert Config([ThreadPoolExecutor("x")]).executors[0].label == "x"
    with pytest.raises(TypeError):
        Config([ThreadPoolExecutor("x")], True)


def test_options_that_exclude_each_other_say_so():
    with pytest.raises(ConfigurationError, match="goes with checkpoint_mode='periodic'"):
        Config(checkpoint_period="01:00:00", checkpoint_mode="task_exit")
    with pytest.raises(ConfigurationError, match="needs app_cache=True"):
        Config(checkpoint_mode="task_exit", app_cache=False)
    with pytest.raises(ConfigurationError, match="memoizer goes without checkpoint_mode"):
        Config(memoizer=BasicMemoizer(), checkpoint_mode="task_exit")


def test_all_that_is_allowed_is_taken():
    for mode in (*CHECKPOINT_MODES, None):
        Config(checkpoint_mode=mode)
    for mode in EXIT_MODES:
        Config(exit_mode=mode)
    for strategy in ("simple", "htex_auto_scale", "none", None):
        Config(strategy=strategy)
    for level in (False, True, 0, 1, 2, 3):
        Config(usage_tracking=level)
    Config(dependency_resolver=DEEP_DEPENDENCY_RESOLVER, retries=0.5, max_pending=1)


class Rude:
    """A value whose comparison and repr are user code."""

    def __eq__(self, other):
        raise RuntimeError("do not compare me")

    __hash__ = None  # type: ignore[assignment]


def test_a_value_that_cannot_be_compared_is_only_wrong():
    with pytest.raises(ConfigurationError, match="exit_mode="):
        Config(exit_mode=Rude())
