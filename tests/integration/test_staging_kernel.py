"""Staging through a real kernel: servers, threads, apps."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

import treadle
from tests.integration.servers.ftp import ftp_server
from tests.integration.servers.web import BODY, web_server
from treadle import Config, File, bash_app, python_app
from treadle.data_provider.data_future import DataFuture
from treadle.data_provider.file_atomic import AtomicFileStaging
from treadle.data_provider.file_noop import NoOpFileStaging
from treadle.data_provider.ftp import FTPInTaskStaging, FTPSeparateTaskStaging
from treadle.data_provider.http import HTTPInTaskStaging, HTTPSeparateTaskStaging
from treadle.data_provider.rsync import RSyncStaging
from treadle.errors import DependencyError, StagingError
from treadle.executors import ThreadPoolExecutor

SEPARATE = [NoOpFileStaging(), HTTPSeparateTaskStaging(), FTPSeparateTaskStaging()]
IN_TASK = [NoOpFileStaging(), HTTPInTaskStaging(), FTPInTaskStaging()]
EACH = pytest.mark.parametrize(
    "access", [None, SEPARATE, IN_TASK], ids=["default", "separate", "in task"]
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def load(tmp_path, home, run_dir):
    """Load a kernel whose one executor has these providers."""
    loaded = []

    def load(access=None, **options):
        executor = ThreadPoolExecutor(working_dir=str(tmp_path / "work"), storage_access=access)
        loaded.append(treadle.load(Config(executors=[executor], run_dir=str(run_dir), **options)))
        return loaded[-1]

    yield load
    for kernel in loaded:
        kernel.cleanup()
        treadle.clear()


@pytest.fixture
def ftp(tmp_path):
    root = tmp_path / "ftp"
    root.mkdir()
    with ftp_server(root) as server:
        server.root = root
        yield server


@python_app
def size(*files, inputs=(), key=None):
    extra = [] if key is None else [key]
    return [os.path.getsize(file) for file in (*files, *inputs, *extra)]


@python_app
def write(text, outputs=()):
    for file in outputs:
        Path(file).write_text(text)
    return text


@python_app
def spoil(outputs=()):
    Path(outputs[0]).write_text("half")
    raise ValueError("spoilt")


@bash_app
def shout(inputs=(), outputs=(), stdout=None):
    return f"tr a-z A-Z < '{inputs[0]}' | tee '{outputs[0]}'"


@EACH
def test_files_come_in_wherever_they_stand_in_the_call(load, access):
    load(access)
    with web_server() as web:
        urls = [f"{web.url}/files/{name}" for name in "abcd"]
        future = size(File(urls[0]), inputs=[File(urls[1]), File(urls[2])], key=File(urls[3]))
        assert future.result(timeout=15) == [len(BODY)] * 4


@EACH
def test_files_go_out_and_are_the_inputs_of_the_next_app(load, ftp, access, home):
    load(access)
    url = f"{ftp.user_url}/new/poem.txt"
    made = write("the weaver", outputs=[File(url)])
    loud = shout(inputs=[made.outputs[0]], outputs=[File("loud.txt")], stdout=File("said.txt"))
    assert isinstance(loud.stdout, DataFuture)
    assert Path(loud.stdout.result(timeout=15)).read_text() == "THE WEAVER"
    assert loud.outputs[0].result(timeout=15) == File("loud.txt")
    assert (home / "loud.txt").read_text() == "THE WEAVER"
    assert (ftp.root / "new/poem.txt").read_text() == "the weaver"
    assert made.outputs[0].tid == made.tid


@EACH
def test_what_a_failed_app_wrote_goes_nowhere(load, ftp, access):
    load(access)
    future = spoil(outputs=[File(f"{ftp.user_url}/out.txt")])
    with pytest.raises(ValueError, match="spoilt"):
        future.result(timeout=15)
    with pytest.raises((ValueError, DependencyError), match="spoilt"):
        future.outputs[0].result(timeout=15)
    assert list(ftp.root.iterdir()) == []


@EACH
def test_a_file_that_cannot_come_in_fails_the_app_and_names_the_url(load, access, tmp_path):
    load(access)
    with web_server() as web:
        for path in ("missing/x", "truncated/x"):
            with pytest.raises((StagingError, DependencyError), match=f"{web.url}/{path}"):
                size(File(f"{web.url}/{path}")).result(timeout=15)
    assert [p for p in (tmp_path / "work").rglob("*") if p.is_file()] == []


def test_a_scheme_that_nobody_takes_is_an_error_of_the_call_or_of_its_future(load):
    load()
    with pytest.raises(StagingError, match="cannot stage file nope://h/x"):
        size(File("nope://h/x")).result(timeout=15)
    with pytest.raises(StagingError, match="cannot stage file nope://h/x"):
        write("x", outputs=[File("nope://h/x")]).result(timeout=15)


def test_many_tasks_add_to_one_archive(load, tmp_path):
    load()
    archive = tmp_path / "out.zip"
    futures = [write(f"{i}", outputs=[File(f"zip:{archive}/m{i}")]) for i in range(12)]
    for future in futures:
        future.outputs[0].result(timeout=15)
    with zipfile.ZipFile(archive) as opened:
        assert {n: opened.read(n).decode() for n in opened.namelist()} == {
            f"m{i}": str(i) for i in range(12)
        }


def test_equal_calls_are_one_whatever_brings_their_files(load):
    load(IN_TASK)

    @python_app(cache=True)
    def cached(file):
        return os.path.getsize(file)

    with web_server() as web:
        for name in "xxy":
            assert cached(File(f"{web.url}/files/{name}")).result(timeout=15) == len(BODY)
        assert [path for path, _ in web.requests] == ["/files/x", "/files/y"]


def test_the_transfer_is_tried_again_with_the_task(load, ftp, tmp_path):
    def put_it_there(exception, record):
        (ftp.root / "late.txt").write_text("late")
        return 1

    load(IN_TASK, retries=1, retry_handler=put_it_there)
    assert size(File(f"{ftp.url}/late.txt")).result(timeout=15) == [4]


def test_outputs_of_careful_apps_appear_when_they_succeed(load, home):
    load([AtomicFileStaging()])
    (home / "in.txt").write_text("x")
    with pytest.raises(ValueError, match="spoilt"):
        spoil(outputs=[File("bad.txt")]).result(timeout=15)
    shout(inputs=[File("in.txt")], outputs=[File("good.txt")]).result(timeout=15)
    assert sorted(p.name for p in home.iterdir()) == ["good.txt", "in.txt"]


def test_a_bash_app_with_staging_in_the_task_reads_the_copy(load, home, tmp_path):
    copy = tmp_path / "rsync"
    copy.write_text('#!/bin/sh\nfor last; do before="$a"; a="$last"; done\ncp "$before" "$a"\n')
    copy.chmod(0o755)
    load([RSyncStaging("", command=[str(copy)])])
    (home / "in.txt").write_text("x")
    shout(inputs=[File("in.txt")], outputs=[File("out.txt")]).result(timeout=15)
    assert (home / "out.txt").read_text() == (tmp_path / "work/out.txt").read_text() == "X"
