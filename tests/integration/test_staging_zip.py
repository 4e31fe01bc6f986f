from __future__ import annotations

import os
import threading
import zipfile
from pathlib import Path

import pytest

from tests.unit.data.fake_kernel import FakeKernel
from treadle.data_provider.files import File
from treadle.data_provider.zip import zip_path_split
from treadle.errors import StagingError


def read(file):
    return Path(file).read_text()


def write(content, outputs=()):
    for file in outputs:
        Path(file).write_text(content)


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("in/b.txt", "inside")
        opened.writestr("other.txt", "other")
    return path


@pytest.fixture
def kernel(tmp_path):
    return FakeKernel(working_dir=tmp_path / "work")


def members(path):
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name).decode() for name in opened.namelist()}


def test_a_task_reads_a_member(archive, kernel, tmp_path):
    assert kernel.call(read, File(f"zip:{archive}/in/b.txt")).result(timeout=10) == "inside"
    assert (tmp_path / "work/in/b.txt").exists()


def test_a_task_adds_members_to_a_new_archive_and_replaces_old_ones(kernel, tmp_path):
    archive = tmp_path / "new/dir/out.zip"
    for content in ("one", "two"):
        outputs = [File(f"zip:{archive}/x/{name}") for name in "ab"]
        for future in kernel.call(write, content, outputs=outputs).outputs:
            future.result(timeout=10)
    assert members(archive) == {"x/a": "two", "x/b": "two"}
    assert sorted(os.listdir(archive.parent)) == [".out.zip.lock", "out.zip"]


def test_other_members_and_the_mode_of_the_archive_stay(archive, kernel):
    archive.chmod(0o640)
    for _ in range(2):
        kernel.call(write, "new", outputs=[File(f"zip:{archive}/n")]).outputs[0].result(timeout=10)
    assert members(archive) == {"in/b.txt": "inside", "other.txt": "other", "n": "new"}
    assert archive.stat().st_mode & 0o777 == 0o640


def test_tasks_that_add_at_the_same_time_lose_nothing(tmp_path):
    archive = tmp_path / "out.zip"
    names = [f"m{i}" for i in range(24)]
    seen_whole = []

    def add(own):
        kernel = FakeKernel(working_dir=tmp_path / f"work{own[0]}")
        for name in own:
            kernel.call(write, name, outputs=[File(f"zip:{archive}/{name}")]).outputs[0].result(10)
            seen_whole.append(zipfile.is_zipfile(archive))

    threads = [threading.Thread(target=add, args=(names[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert members(archive) == {name: name for name in names}
    assert seen_whole == [True] * len(names)


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_a_damaged_archive_is_left_as_it_is(kernel, tmp_path, content):
    archive = tmp_path / "a.zip"
    archive.write_bytes(content)
    future = kernel.call(write, "x", outputs=[File(f"zip:{archive}/x")]).outputs[0]
    if content:
        with pytest.raises(StagingError, match="not a zip file"):
            future.result(timeout=10)
        assert archive.read_bytes() == content
        assert sorted(p.name for p in tmp_path.glob("*zip*")) == [".a.zip.lock", "a.zip"]
    else:
        with pytest.raises(StagingError):
            future.result(timeout=10)


def test_a_damaged_member_is_not_staged(archive, kernel, tmp_path):
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"inside", b"insidf"))
    with pytest.raises(StagingError, match="CRC"):
        kernel.call(read, File(f"zip:{archive}/in/b.txt")).result(timeout=10)
    assert os.listdir(tmp_path / "work/in") == []


def test_a_member_that_is_not_there_is_named(archive, kernel):
    with pytest.raises(StagingError, match="no item named 'nope'"):
        kernel.call(read, File(f"zip:{archive}/nope")).result(timeout=10)


@pytest.mark.parametrize("member", ["../../escape", "a/../../b", "/a//b"])
def test_a_member_cannot_leave_the_working_directory(archive, kernel, member):
    with pytest.raises(StagingError, match="cannot be the name"):
        kernel.call(read, File(f"zip:{archive}/{member}"))


@pytest.mark.parametrize("path", ["/a.txt/b", "/a.zip", "/a.zip/"])
def test_a_url_without_archive_or_member_is_explained(path):
    with pytest.raises(StagingError, match=r"zip:/path/archive.zip/member.txt"):
        zip_path_split(path)


def test_the_first_archive_in_the_path_is_meant():
    assert zip_path_split("rel/a.zip/b.zip/c") == ("rel/a.zip", "b.zip/c")
