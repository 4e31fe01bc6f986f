from __future__ import annotations

import concurrent.futures
import os
from pathlib import Path

import pytest

from tests.integration.servers.ftp import ftp_server
from tests.integration.servers.s3 import s3_server
from tests.unit.data.fake_kernel import FakeKernel
from treadle.data_provider.files import File
from treadle.data_provider.fsspec import FsspecInTaskStaging, FsspecStaging
from treadle.data_provider.staging import default_staging
from treadle.errors import OptionalModuleMissing, StagingError

fsspec = pytest.importorskip("fsspec")
BODY = bytes(range(256)) * 4096
BOTH = pytest.mark.parametrize("provider", [FsspecStaging(), FsspecInTaskStaging()], ids=repr)


@pytest.fixture
def memory():
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield fs
    fs.store.clear()


@pytest.fixture
def work(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def read(file):
    return Path(file).read_bytes()


def write(content, outputs=()):
    Path(outputs[0]).write_bytes(content)


def round_trip(url, provider, work, content=BODY):
    """Write by one task and read by the next."""
    kernel = FakeKernel([provider], working_dir=work)
    made = kernel.call(write, content, outputs=[File(url)]).outputs[0]
    made.result(timeout=15)
    return kernel.call(read, made).result(timeout=15)


@BOTH
@pytest.mark.parametrize("name", ["x.bin", "deep/er/a b#%20.bin"])
def test_files_in_memory_go_out_and_in(memory, work, provider, name):
    for content in (b"first", BODY):
        assert round_trip(f"memory://{name}", provider, work, content) == content
    assert memory.find("/") == [f"/{name}"]


@BOTH
def test_an_upload_that_fails_leaves_no_part_there(memory, work, provider, monkeypatch):
    memory.pipe("/out.bin", b"old")

    def break_off(self, source, path, **options):
        self.pipe(path, b"half")
        raise OSError("the wire was cut")

    monkeypatch.setattr(type(memory), "put_file", break_off)
    with pytest.raises(StagingError, match=r"to memory://out.bin: OSError: the wire was cut"):
        round_trip("memory://out.bin", provider, work)
    assert memory.find("/") == ["/out.bin"]
    assert memory.cat("/out.bin") == b"old"


@BOTH
def test_a_short_download_leaves_no_part_here(memory, work, provider, monkeypatch):
    memory.pipe("/in.bin", BODY)

    def shorten(self, path, target, **options):
        Path(target).write_bytes(BODY[:10])

    monkeypatch.setattr(type(memory), "get_file", shorten)
    future = FakeKernel([provider], working_dir=work).call(read, File("memory://in.bin"))
    with pytest.raises(StagingError, match=f"10 of {len(BODY)} bytes"):
        future.result(timeout=10)
    assert os.listdir(work) == []


@BOTH
def test_a_file_that_is_not_there_is_named(memory, work, provider):
    future = FakeKernel([provider], working_dir=work).call(read, File("memory://none"))
    with pytest.raises(StagingError, match=r"cannot stage in memory://none.*FileNotFoundError"):
        future.result(timeout=10)
    assert os.listdir(work) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # fsspec leaves its sockets to collection
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_ftp_server_by_fsspec(tmp_path, work):
    root = tmp_path / "ftp"
    root.mkdir()
    with ftp_server(root) as ftp:
        login = {"username": "user", "password": "se@cret"}
        provider = FsspecStaging(schemes=("ftp",), storage_options={"ftp": login})
        for content in (b"first", BODY):
            assert round_trip(f"{ftp.url}/new/out.bin", provider, work, content) == content
    assert [p.name for p in root.rglob("*") if p.is_file()] == ["out.bin"]
    assert (root / "new/out.bin").read_bytes() == BODY


@pytest.mark.slow
@pytest.mark.leaky  # the S3 client and the server keep connections until they are collected
@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("default")
def test_an_s3_bucket(work):
    with s3_server() as options:
        big = BODY * 60  # in parts
        for provider in (
            FsspecStaging(storage_options={"s3": options}),
            FsspecInTaskStaging(storage_options={"s3": options}),
        ):
            assert round_trip("s3://bucket/dir/small.bin", provider, work, b"s") == b"s"
            assert round_trip("s3://bucket/dir/big.bin", provider, work, big) == big
            kernel = FakeKernel([provider], working_dir=work)
            with pytest.raises(StagingError, match="cannot stage in s3://bucket/none"):
                kernel.call(read, File("s3://bucket/none")).result(timeout=15)
        fs = fsspec.filesystem("s3", **options)
        fs.invalidate_cache()
        assert fs.find("bucket") == ["bucket/dir/big.bin", "bucket/dir/small.bin"]


def test_it_takes_what_fsspec_knows_and_local_files_are_not_its_own():
    provider = FsspecStaging()
    for scheme in ("s3", "gs", "sftp", "memory", "abfs", "http"):
        assert provider.can_stage_in(File(f"{scheme}://h/x"))
        assert provider.can_stage_out(File(f"{scheme}://h/x"))
    for url in ("x", "file:///x", "zip:/a.zip/x", "globus://e/x", "nope://x"):
        assert not provider.can_stage_in(File(url))
    assert not FsspecStaging(schemes=("s3",)).can_stage_in(File("memory://x"))


def test_it_stands_last_among_the_standard_providers(memory, work):
    assert isinstance(default_staging[-1], FsspecStaging)
    memory.pipe("/x", b"x")
    assert FakeKernel(working_dir=work).call(read, File("memory://x")).result(10) == b"x"


def test_options_are_not_shown():
    provider = FsspecStaging(storage_options={"s3": {"secret": "hush"}})
    assert "hush" not in repr(provider) + repr(provider._transfer(File("memory://a")))
    assert "'s3'" in repr(provider)


def test_a_package_that_is_missing_for_a_scheme_is_named_with_its_extra(work, monkeypatch):
    from treadle.data_provider import _fsspec_transfer

    def without(scheme):
        raise ImportError(f"install what {scheme} needs")

    monkeypatch.setattr(_fsspec_transfer, "get_filesystem_class", without)
    future = FakeKernel([FsspecStaging()], working_dir=work).call(read, File("s3://b/x"))
    with pytest.raises(OptionalModuleMissing, match=r"needs fsspec s3fs.*treadle\[s3\]"):
        future.result(timeout=10)


def test_without_fsspec_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("treadle.data_provider.fsspec.find_spec", lambda name: None)
    with pytest.raises(OptionalModuleMissing, match=r"treadle\[files\]"):
        FsspecStaging()
    monkeypatch.setattr("treadle.data_provider.data_manager.default_staging", default_staging[:4])
    with pytest.raises(StagingError, match=r"cannot stage file s3://b/x in.*treadle\[s3\]"):
        FakeKernel().dm.optionally_stage_in(File("s3://b/x"), len, "threads")


def test_many_may_read_one_file_in_memory_at_once(tmp_path):
    # fsspec gives all of them the same handle.
    fsspec.filesystem("memory").pipe_file("/crowd/file.bin", bytes(range(256)) * 4000)
    transfer = FsspecStaging()._transfer(File("memory://crowd/file.bin"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        targets = [str(tmp_path / str(n)) for n in range(64)]
        list(pool.map(lambda t: transfer.fetch(File("memory://crowd/file.bin"), t), targets))
    assert {os.path.getsize(target) for target in targets} == {256 * 4000}
