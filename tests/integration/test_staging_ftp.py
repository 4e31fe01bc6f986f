from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.servers.ftp import ftp_server
from tests.unit.data.fake_kernel import FakeKernel
from treadle.data_provider.files import File
from treadle.data_provider.ftp import FTPInTaskStaging, FTPSeparateTaskStaging
from treadle.errors import StagingError

BODY = bytes(range(256)) * 4096
BOTH = pytest.mark.parametrize("provider", [FTPSeparateTaskStaging(), FTPInTaskStaging()], ids=repr)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "ftp").mkdir()
    return tmp_path / "ftp"


@pytest.fixture
def work(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def ftp(root):
    with ftp_server(root) as server:
        yield server


def read(file):
    return Path(file).read_bytes()


def write(content, outputs=()):
    Path(outputs[0]).write_bytes(content)
    return "written"


def fail(outputs=()):
    Path(outputs[0]).write_text("half")
    raise ValueError("the app failed")


def tree(root):
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


@BOTH
def test_a_task_reads_a_file(ftp, root, work, provider):
    (root / "a b.bin").write_bytes(BODY)
    kernel = FakeKernel([provider], working_dir=work)
    for url in (f"{ftp.url}/a%20b.bin", f"{ftp.user_url}/a b.bin"):
        assert kernel.call(read, File(url)).result(timeout=10) == BODY


@BOTH
def test_a_task_writes_a_file_into_a_new_directory_and_over_an_old_one(ftp, root, work, provider):
    kernel = FakeKernel([provider], working_dir=work)
    for content in (b"one", BODY):
        future = kernel.call(write, content, outputs=[File(f"{ftp.user_url}/new/dir/out.bin")])
        file = future.outputs[0].result(timeout=10)
        assert (root / "new/dir/out.bin").read_bytes() == Path(file).read_bytes() == content
        assert future.result(timeout=10) == "written"
    assert tree(root) == ["new/dir/out.bin"]


@BOTH
def test_servers_that_know_no_size_and_rename_over_nothing_do_as_well(ftp, root, work, provider):
    ftp.manners |= {"no-size", "refuse-rename-over"}
    (root / "out.bin").write_bytes(b"old")
    kernel = FakeKernel([provider], working_dir=work)
    kernel.call(write, BODY, outputs=[File(f"{ftp.user_url}/out.bin")]).outputs[0].result(10)
    assert kernel.call(read, File(f"{ftp.url}/out.bin")).result(timeout=10) == BODY
    assert tree(root) == ["out.bin"]


@BOTH
@pytest.mark.parametrize(
    ("manner", "reason"), [("break", "426 Connection lost"), ("cheat", "of 1048576 bytes arrived")]
)
def test_a_transfer_that_breaks_leaves_no_part_here(ftp, root, work, provider, manner, reason):
    (root / "x.bin").write_bytes(BODY)
    ftp.manners.add(manner)
    future = FakeKernel([provider], working_dir=work).call(read, File(f"{ftp.url}/x.bin"))
    with pytest.raises(StagingError, match=rf"cannot stage in ftp://.*/x.bin.*{reason}"):
        future.result(timeout=10)
    assert os.listdir(work) == []


@BOTH
def test_a_refused_upload_leaves_no_part_there(ftp, root, work, provider):
    (root / "out.bin").write_bytes(b"old")
    ftp.manners.add("refuse-upload")
    future = FakeKernel([provider], working_dir=work).call(
        write, BODY, outputs=[File(f"{ftp.user_url}/out.bin")]
    )
    with pytest.raises(StagingError, match=r"552 The disk is full") as caught:
        future.outputs[0].result(timeout=10)
    assert "se%40cret" not in str(caught.value)
    assert (root / "out.bin").read_bytes() == b"old"
    assert tree(root) == ["out.bin"]


@BOTH
def test_an_app_that_fails_stages_nothing_out(ftp, root, work, provider):
    future = FakeKernel([provider], working_dir=work).call(
        fail, outputs=[File(f"{ftp.user_url}/out.bin")]
    )
    for failed in (future, future.outputs[0]):
        with pytest.raises(ValueError, match="the app failed"):
            failed.result(timeout=10)
    assert tree(root) == []


@BOTH
def test_an_app_that_forgets_its_output_is_told(ftp, work, provider):
    future = FakeKernel([provider], working_dir=work).call(
        len, "abc", outputs=[File(f"{ftp.user_url}/out.bin")]
    )
    # len takes no keywords, so the app is one that ignores them.
    with pytest.raises(TypeError):
        future.result(timeout=10)
    future = FakeKernel([provider], working_dir=work).call(
        dict, outputs=[File(f"{ftp.user_url}/out.bin")]
    )
    with pytest.raises(StagingError, match="the app did not write it"):
        future.outputs[0].result(timeout=10)


@BOTH
def test_what_is_not_there_and_who_may_not_are_named(ftp, work, provider):
    kernel = FakeKernel([provider], working_dir=work)
    with pytest.raises(StagingError, match="550"):
        kernel.call(read, File(f"{ftp.url}/none")).result(timeout=10)
    wrong = ftp.user_url.replace("se%40cret", "wrong")
    with pytest.raises(StagingError, match=r"ftp://user:\*\*\*@.*530"):
        kernel.call(read, File(f"{wrong}/none")).result(timeout=10)
    assert tree(work) == []


def test_an_output_is_the_input_of_the_next_task(ftp, work):
    kernel = FakeKernel(working_dir=work)
    made = kernel.call(write, b"chained", outputs=[File(f"{ftp.user_url}/x")]).outputs[0]
    assert kernel.call(read, made).result(timeout=10) == b"chained"
    # Out, and in again for the second task; the transfers of both name the same file.
    assert [name for name, *_ in kernel.submitted] == ["store_file", "fetch_file"]
