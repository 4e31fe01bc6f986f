"""How another Python is started that is like this one."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from treadle.cluster import _python
from treadle.errors import ConfigurationError


def flags(**on):
    names = ("optimize", "dont_write_bytecode", "no_user_site", "ignore_environment")
    return SimpleNamespace(**{name: on.get(name, 0) for name in names})


@pytest.mark.parametrize(
    ("on", "switches"),
    [
        ({}, []),
        ({"optimize": 1}, ["-O"]),
        ({"optimize": 2}, ["-OO"]),
        ({"dont_write_bytecode": 1, "no_user_site": 1}, ["-B", "-s"]),
        ({"ignore_environment": 1}, ["-E"]),
    ],
)
def test_switches_that_change_what_code_means_are_handed_on(monkeypatch, on, switches):
    monkeypatch.setattr(sys, "flags", flags(**on))
    assert _python.python_command() == [sys.executable, "-P", *switches]


def test_a_program_that_embeds_python_is_told_what_to_set(monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(ConfigurationError, match="sys.executable"):
        _python.python_command()


def test_the_same_treadle_is_found_though_only_this_process_knew_where(tmp_path):
    environment = {k: v for k, v in _python.environment().items() if k != "HOME"}
    program = "import treadle; print(treadle.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-S", "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    import treadle

    assert done.stdout.strip() == treadle.__file__


def test_the_users_own_path_stays_behind_ours(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    path = _python.environment()["PYTHONPATH"].split(os.pathsep)
    assert path[-1] == "/theirs"
    assert len(path) <= 2


def test_where_it_is_installed_nothing_is_added(monkeypatch):
    root = os.path.dirname(os.path.dirname(os.path.dirname(_python.__file__)))
    monkeypatch.setattr(_python.site, "getsitepackages", lambda: [root])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert "PYTHONPATH" not in _python.environment()
