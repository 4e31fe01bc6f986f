"""The texts of scripts: run by bash where what they do is what counts."""

from __future__ import annotations

import subprocess

import pytest

from treadle.errors import BadLauncher, ConfigurationError
from treadle.launchers import Launcher, SimpleLauncher, SingleNodeLauncher, WrappedLauncher
from treadle.providers import LocalProvider


def run(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/bash", "-c", text], capture_output=True, text=True, timeout=20)


def test_simple_is_the_command_itself():
    assert SimpleLauncher()("work --fast", 4, 2) == "work --fast"


def test_wrapped_puts_words_before_it():
    assert WrappedLauncher("docker run x")("work", 1, 1) == "docker run x work"


def test_a_single_command_has_its_exit_code():
    assert run(SingleNodeLauncher()("(exit 3)", 1, 1)).returncode == 3


def test_all_copies_run_at_once():
    text = SingleNodeLauncher(debug=False)("echo $CORES $copy", 3, 2)
    lines = run(text).stdout.split("\n")
    assert sorted(line.split()[1] for line in lines if line) == list("123456")
    assert all(int(line.split()[0]) >= 1 for line in lines if line)


ONE_FAILS = 'if [ "$copy" = 2 ]; then exit 5; fi'


@pytest.mark.parametrize(
    ("fail_on_any", "command", "code"),
    [(False, ONE_FAILS, 0), (True, ONE_FAILS, 5), (False, "exit 4", 4), (True, "exit 0", 0)],
)
def test_it_fails_if_all_copies_do_or_any(fail_on_any, command, code):
    launcher = SingleNodeLauncher(fail_on_any=fail_on_any)
    assert run(launcher(command, 3, 1)).returncode == code


def test_debug_tells_the_exit_codes():
    assert run(SingleNodeLauncher()(ONE_FAILS, 2, 1)).stderr.split("\n")[:2] == [
        "copy 1: exit code 0",
        "copy 2: exit code 5",
    ]


def test_the_repr_rebuilds_it():
    launcher = SingleNodeLauncher(debug=False, fail_on_any=True)
    assert repr(launcher) == "SingleNodeLauncher(debug=False, fail_on_any=True)"
    assert repr(WrappedLauncher("x")) == "WrappedLauncher(debug=True, prepend='x')"


def test_what_is_no_launcher_is_refused():
    with pytest.raises(BadLauncher, match=r"write launcher=SimpleLauncher\(\)"):
        LocalProvider(launcher=SimpleLauncher)
    with pytest.raises(BadLauncher, match="launcher='srun' is none"):
        LocalProvider(launcher="srun")
    with pytest.raises(TypeError):
        LocalProvider(launcher=3)


def test_a_function_is_a_launcher():
    assert LocalProvider(launcher=lambda command, tasks, nodes: command).launcher("x", 1, 1) == "x"


def test_all_wrong_options_of_a_provider_are_told_at_once():
    with pytest.raises(ConfigurationError) as caught:
        LocalProvider(nodes_per_block=0, init_blocks=-1, min_blocks=5, max_blocks=2, parallelism=-1)
    text = str(caught.value)
    for part in ("nodes_per_block=0", "init_blocks=-1", "min_blocks=5 is more than", "parallelism"):
        assert part in text


def test_the_repr_of_a_provider_rebuilds_it():
    text = repr(LocalProvider(init_blocks=0, max_blocks=7))
    again = eval(text, {"LocalProvider": LocalProvider, "SingleNodeLauncher": SingleNodeLauncher})
    assert repr(again) == text


def test_a_launcher_must_say_how():
    with pytest.raises(TypeError):
        Launcher()
