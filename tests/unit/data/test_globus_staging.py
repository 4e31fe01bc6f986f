from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from tests.unit.data.fake_kernel import FakeKernel
from treadle.data_provider._globus_transfer import GlobusTransfer, Mapping
from treadle.data_provider.files import File
from treadle.data_provider.globus import GlobusStaging, client, login
from treadle.errors import OptionalModuleMissing, StagingError


class FakeService:
    """The client's methods over local directories: one for each collection."""

    known: ClassVar[list[FakeService]] = []

    def __init__(self, collections, status="SUCCEEDED"):
        self.collections, self.status = collections, status
        self.log = []
        self.known.append(self)

    def __reduce__(self):
        return _known, (self.known.index(self),)

    def submit_transfer(self, data):
        (item,) = data["DATA"]
        self.log.append(("transfer", item["source_path"], item["destination_path"]))
        source = self._path(data["source_endpoint"], item["source_path"])
        target = self._path(data["destination_endpoint"], item["destination_path"])
        if self.status == "SUCCEEDED":
            shutil.copyfile(source, target)
        else:
            target.write_text("half")
        return {"task_id": "t1"}

    def task_wait(self, task_id, *, timeout, polling_interval):
        assert isinstance(timeout, int)
        assert 1 <= polling_interval <= timeout
        self.log.append(("wait", timeout))
        return self.status != "ACTIVE"

    def get_task(self, task_id):
        return {"status": self.status, "nice_status_details": "the disk is full"}

    def cancel_task(self, task_id):
        self.log.append(("cancel", task_id))

    def operation_rename(self, endpoint_id, oldpath, newpath):
        self._path(endpoint_id, oldpath).rename(self._path(endpoint_id, newpath))

    def _path(self, collection, path):
        return Path(self.collections[collection], path.lstrip("/"))


def _known(index):
    return FakeService.known[index]


@pytest.fixture
def far(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "in.txt").write_text("from afar")
    return tmp_path / "far"


@pytest.fixture
def near(tmp_path):
    (tmp_path / "near" / "work").mkdir(parents=True)
    return tmp_path / "near"


def staging(far, near, status="SUCCEEDED"):
    service = FakeService({"far-id": far, "near-id": near.parent}, status)
    provider = GlobusStaging("near-id", "/near", str(near), transfer_client=service)
    return service, FakeKernel([provider], working_dir=near / "work")


def read(file):
    return Path(file).read_text()


def write(content, outputs=()):
    Path(outputs[0]).write_text(content)


def test_a_task_reads_a_file_of_a_collection(far, near):
    service, kernel = staging(far, near)
    assert kernel.call(read, File("globus://far-id/in.txt")).result(timeout=5) == "from afar"
    assert service.log[0][1] == "/in.txt"
    assert service.log[0][2].startswith("/near/work/.in.txt.")
    assert [p.name for p in (near / "work").iterdir()] == ["in.txt"]


def test_a_task_writes_a_file_of_a_collection(far, near):
    _, kernel = staging(far, near)
    kernel.call(write, "out", outputs=[File("globus://far-id/o.txt")]).outputs[0].result(timeout=5)
    assert (far / "o.txt").read_text() == "out"
    assert sorted(p.name for p in far.iterdir()) == ["in.txt", "o.txt"]


def test_a_failed_transfer_tells_why_and_leaves_nothing_here(far, near):
    _, kernel = staging(far, near, "FAILED")
    with pytest.raises(StagingError, match=r"Globus transfer t1 .*FAILED: the disk is full"):
        kernel.call(read, File("globus://far-id/in.txt")).result(timeout=5)
    assert list((near / "work").iterdir()) == []


def test_a_slow_transfer_is_cancelled(far, near):
    service = FakeService({"far-id": far, "near-id": near}, "ACTIVE")
    ticks = iter([0.0, 1.0, 61.0, 99.5, 100.0])
    transfer = GlobusTransfer(
        "", Mapping("near-id", "/", str(near)), 100, service, clock=lambda: next(ticks)
    )
    with pytest.raises(StagingError, match=r"longer than timeout_s=100 and was cancelled"):
        transfer.fetch(File("globus://far-id/in.txt"), str(near / "in.txt"))
    assert service.log[1:] == [("wait", 60), ("wait", 39), ("wait", 1), ("cancel", "t1")]


def test_a_path_outside_of_the_collection_is_explained(far, near, tmp_path):
    assert Mapping("e", None, None).path_of("/a/b") == "/a/b"
    assert Mapping("e", "/~/scratch", "/a").path_of("/a/b/c") == "/~/scratch/b/c"
    with pytest.raises(StagingError, match="set the executor's working_dir"):
        Mapping("e", "/~/scratch", "/a").path_of("/ab/c")


def test_one_name_of_a_directory_is_not_enough():
    with pytest.raises(ValueError, match="give both or none"):
        GlobusStaging("e", "/near")


class FakeSdk:
    """The names of globus_sdk that logging in uses."""

    def __init__(self):
        self.TransferClient = SimpleNamespace
        self.started = {}

    def NativeAppAuthClient(self, client_id):
        def exchange(code):
            assert code == "code"
            token = {"refresh_token": f"refresh-{client_id}"}
            return SimpleNamespace(by_resource_server={"transfer.api.globus.org": token})

        return SimpleNamespace(
            client_id=client_id,
            oauth2_start_flow=lambda **options: self.started.update(options),
            oauth2_get_authorize_url=lambda: "https://auth.example/x",
            oauth2_exchange_code_for_tokens=exchange,
        )

    def RefreshTokenAuthorizer(self, token, auth):
        return (token, auth.client_id)


def test_a_login_is_kept_for_its_owner_only(tmp_path):
    sdk, asked = FakeSdk(), []
    path = login("me", tmp_path / "d" / "t.json", ask=lambda text: asked.append(text) or " code\n",
                 sdk=sdk)  # fmt: skip
    assert "https://auth.example/x" in asked[0]
    assert sdk.started["refresh_tokens"] is True
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert client(path, sdk=sdk).authorizer == ("refresh-me", "me")


def test_a_token_that_others_could_read_is_not_used(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"client_id": "me", "refresh_token": "x"}))
    path.chmod(0o640)
    with pytest.raises(StagingError, match="can be read by others"):
        client(path, sdk=FakeSdk())


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_a_damaged_token_file_is_explained(tmp_path, content):
    path = tmp_path / "t.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(StagingError, match="log in again"):
        client(path, sdk=FakeSdk())


def test_without_a_login_the_command_is_told(tmp_path):
    with pytest.raises(StagingError, match=r"python -m treadle.data_provider.globus CLIENT_ID"):
        client(tmp_path / "none.json", sdk=FakeSdk())


def test_without_the_library_the_extra_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "globus_sdk", None)
    with pytest.raises(OptionalModuleMissing, match=r"treadle\[globus\]"):
        client()


def test_the_client_of_the_library_has_what_is_used():
    sdk = pytest.importorskip("globus_sdk")
    for name in ("submit_transfer", "task_wait", "get_task", "cancel_task", "operation_rename"):
        assert callable(getattr(sdk.TransferClient, name))
    auth = sdk.NativeAppAuthClient("00000000-0000-0000-0000-000000000000")
    auth.oauth2_start_flow(requested_scopes="openid", refresh_tokens=True)
    assert auth.oauth2_get_authorize_url().startswith("https://auth.globus.org/")
