from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.data.fake_kernel import FakeKernel
from treadle.data_provider.file_atomic import AtomicFileStaging
from treadle.data_provider.files import File


@pytest.fixture
def kernel():
    return FakeKernel([AtomicFileStaging()])


def write(content, outputs=()):
    for file in outputs:
        assert not Path(file).exists()
        Path(file).write_text(content)
    if content == "bad":
        raise ValueError(content)
    return [os.path.basename(file) for file in outputs]


def write_stream(stdout=None, outputs=()):
    Path(stdout).write_text("said")
    raise ValueError("bad")


@pytest.mark.parametrize("kind", [list, tuple])
def test_outputs_appear_when_the_task_has_succeeded(kernel, tmp_path, kind):
    files = kind(File(tmp_path / name) for name in ("a.npy", "b.txt"))
    future = kernel.call(write, "good", outputs=files)
    assert future.result(timeout=5) == ["a.npy", "b.txt"]
    assert [Path(f.result(timeout=5)).read_text() for f in future.outputs] == ["good", "good"]
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "b.txt"]


def test_a_task_that_fails_leaves_nothing(kernel, tmp_path):
    with pytest.raises(ValueError, match="bad"):
        kernel.call(write, "bad", outputs=[File(tmp_path / "a")]).result(timeout=5)
    assert os.listdir(tmp_path) == []


def test_what_a_failed_task_said_is_kept(kernel, tmp_path):
    future = kernel.call(write_stream, stdout=File(tmp_path / "o"), outputs=[File(tmp_path / "a")])
    with pytest.raises(ValueError, match="bad"):
        future.result(timeout=5)
    assert os.listdir(tmp_path) == ["o"]


def test_a_task_that_writes_to_the_name_itself_may(kernel, tmp_path):
    target = tmp_path / "a"

    future = kernel.call(write_to, str(target), outputs=[File(target)])
    future.result(timeout=5)
    assert os.listdir(tmp_path) == ["a"]


def write_to(path, outputs=()):
    Path(path).write_text("x")
