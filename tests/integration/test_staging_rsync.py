from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from tests.integration.servers import absent
from tests.unit.data.fake_kernel import FakeKernel
from treadle.data_provider.files import File
from treadle.data_provider.rsync import RSyncStaging
from treadle.errors import StagingError

#: Stands in for ssh: drops options and the host and runs the rest here.
_SHELL = '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; shift; done\nshift\nexec sh -c "$*"\n'
#: Stands in for rsync where there is none: copies, after having noted what it was told.
_COPY = """#!{python}
import json, shutil, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
source, target = (a.removeprefix("login1:") for a in sys.argv[-2:])
if "fail" in source:
    sys.exit("rsync: no such thing as " + source)
shutil.copyfile(source, target)
"""


def program(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def concatenate(*files, outputs=()):
    text = "".join(Path(file).read_text() for file in files)
    for file in outputs:
        Path(file).write_text(text.upper())
    return text


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def check_both_ways(provider, tmp_path, home):
    work = tmp_path / "work"
    (home / "a b.txt").write_text("one ")
    (home / "c:d.txt").write_text("two")
    kernel = FakeKernel([provider], working_dir=work)
    future = kernel.call(
        concatenate, File("a b.txt"), File(home / "c:d.txt"), outputs=[File("out 1.txt")]
    )
    assert future.result(timeout=15) == "one two"
    assert (home / "out 1.txt").read_text() == "ONE TWO"
    assert sorted(os.listdir(work)) == ["a b.txt", "c:d.txt", "out 1.txt"]
    assert sorted(os.listdir(home)) == ["a b.txt", "c:d.txt", "out 1.txt"]


@pytest.mark.parametrize("hostname", ["", "localhost"])
def test_files_travel_by_rsync_both_ways(tmp_path, home, hostname):
    if shutil.which("rsync") is None:
        absent("rsync", "install the package rsync of your system")
    shell = program(tmp_path / "shell", _SHELL)
    check_both_ways(RSyncStaging(hostname, command=("rsync", "-e", shell)), tmp_path, home)


def test_rsync_is_told_the_host_and_absolute_paths(tmp_path, home):
    log = tmp_path / "log"
    command = program(tmp_path / "rsync", _COPY.format(python=sys.executable, log=str(log)))
    check_both_ways(RSyncStaging("login1", command=(command, "-z")), tmp_path, home)
    lines = log.read_text().splitlines()
    assert len(lines) == 3
    assert all(line.startswith('["-z", "-s", "--", "') for line in lines)
    assert f'"login1:{home}/a b.txt", "{tmp_path}/work/.a b.txt.' in "".join(lines[:2])
    assert lines[2].endswith(f'"{tmp_path}/work/out 1.txt", "login1:{home}/out 1.txt"]')


def test_a_failure_tells_what_rsync_said(tmp_path, home):
    command = program(tmp_path / "rsync", _COPY.format(python=sys.executable, log=os.devnull))
    kernel = FakeKernel([RSyncStaging("login1", command=[command])], working_dir=tmp_path / "work")
    with pytest.raises(StagingError, match="ended with 1: rsync: no such thing as .*/fail.txt"):
        kernel.call(concatenate, File("fail.txt")).result(timeout=15)
    assert os.listdir(tmp_path / "work") == []


def test_a_missing_rsync_is_named(tmp_path, home):
    kernel = FakeKernel([RSyncStaging("h", command=["/no/rsync"])], working_dir=tmp_path / "work")
    with pytest.raises(StagingError, match="/no/rsync is not installed where the task runs"):
        kernel.call(concatenate, File("x")).result(timeout=15)


def test_its_repr_rebuilds_it():
    assert repr(RSyncStaging("h")) == "RSyncStaging(command=('rsync',), hostname='h')"
