from __future__ import annotations

import os
import urllib.request
from pathlib import Path

import pytest

from tests.integration.servers.web import BODY, self_signed, web_server
from tests.unit.data.fake_kernel import FakeKernel
from treadle.data_provider.files import File
from treadle.data_provider.http import HTTPInTaskStaging, HTTPSeparateTaskStaging
from treadle.errors import StagingError

BOTH = pytest.mark.parametrize("provider", [HTTPSeparateTaskStaging, HTTPInTaskStaging])


@pytest.fixture(scope="module")
def web():
    with web_server() as server:
        yield server


def read(file):
    return Path(file).read_bytes()


def stage(url, provider, work, func=read):
    """Call `func` with a file, staged; and what is then in the working directory."""
    future = FakeKernel([provider], working_dir=work).call(func, File(url))
    try:
        return future.result(timeout=10), sorted(os.listdir(work))
    except StagingError as error:
        return error, sorted(os.listdir(work))


@BOTH
def test_a_task_reads_a_file_of_a_web_server(web, tmp_path, provider):
    result = stage(f"{web.url}/files/x.bin", provider(), tmp_path)
    assert result == (BODY, ["x.bin"])


@BOTH
def test_names_with_spaces_queries_and_redirects(web, tmp_path, provider):
    for name, expected in [
        ("files/a b.bin", "a b.bin"),
        ("files/a%20b.bin?v=1&w=a b", "a b.bin"),
        ("moved/m.bin", "m.bin"),
    ]:
        work = tmp_path / expected / str(len(name))
        work.mkdir(parents=True)
        assert stage(f"{web.url}/{name}", provider(), work) == (BODY, [expected])


@BOTH
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("truncated/x", "1000 of 2097152 bytes"),
        ("truncated-chunks/x", "IncompleteRead"),
        ("missing/x", "HTTP 404"),
        ("broken/x", "HTTP 500"),
        ("private/x", "HTTP 401.*user:password@"),
        ("loop/x", "HTTP 302"),
    ],
)
def test_a_failure_says_why_and_leaves_no_part_of_a_file(web, tmp_path, provider, path, reason):
    error, left = stage(f"{web.url}/{path}", provider(), tmp_path)
    with pytest.raises(StagingError, match=reason):
        raise error
    assert f"{web.url}/{path}" in str(error)
    assert left == []


def test_a_failure_leaves_the_older_copy(web, tmp_path):
    (tmp_path / "x").write_text("old")
    error, left = stage(f"{web.url}/truncated/x", HTTPInTaskStaging(), tmp_path)
    assert isinstance(error, StagingError)
    assert left == ["x"]
    assert (tmp_path / "x").read_text() == "old"


def test_a_silent_server_is_given_up(web, tmp_path):
    error, left = stage(f"{web.url}/stall/x", HTTPInTaskStaging(timeout_s=0.2), tmp_path)
    web.release.set()
    assert "TimeoutError" in str(error)
    assert left == []


def test_a_server_that_is_not_there_is_named(tmp_path):
    error, _ = stage("http://127.0.0.1:1/x", HTTPInTaskStaging(), tmp_path)
    assert "cannot stage in http://127.0.0.1:1/x" in str(error)
    assert "refused" in str(error)


def test_a_user_in_the_url_logs_in(web, tmp_path):
    url = f"http://us%20er:se%3Acret@{web.netloc}/private/x"
    assert stage(url, HTTPInTaskStaging(), tmp_path) == (b"private", ["x"])


def test_the_password_goes_to_no_other_server_and_into_no_message(web, tmp_path):
    with web_server() as other:
        web.other = other.url
        url = f"http://me:hush@{web.netloc}/elsewhere/x.bin"
        assert stage(url, HTTPInTaskStaging(), tmp_path) == (BODY, ["x.bin"])
        assert other.requests == [("/files/x.bin", None)]
    error, _ = stage(f"http://me:hush@{web.netloc}/missing/x", HTTPInTaskStaging(), tmp_path)
    assert "hush" not in str(error)
    assert "http://me:***@" in str(error)


def test_an_empty_file_is_a_file(web, tmp_path):
    assert stage(f"{web.url}/empty/x", HTTPInTaskStaging(), tmp_path) == (b"", ["x"])


def test_a_transfer_of_its_own_runs_beside_the_engine_and_is_not_staged_itself(web, tmp_path):
    kernel = FakeKernel([HTTPSeparateTaskStaging()], working_dir=tmp_path)
    kernel.call(read, File(f"{web.url}/files/x")).result(timeout=10)
    assert kernel.submitted == [
        ("fetch_file", ("_treadle_internal",), {"_parsl_staging_inhibit": True})
    ]


def test_a_transfer_may_run_on_the_executor_of_the_task(web, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kernel = FakeKernel([HTTPSeparateTaskStaging(in_executor=True)])
    path = kernel.call(str, File(f"{web.url}/files/x")).result(timeout=10)
    assert (path, kernel.submitted[0][1]) == ("x", ("threads",))


def test_a_server_has_to_prove_who_it_is(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    with web_server(self_signed(tmp_path)) as web:
        error, left = stage(f"{web.url}/files/x", HTTPInTaskStaging(), work)
        assert "CERTIFICATE_VERIFY_FAILED" in str(error)
        assert left == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        # From 3.12 on the library reads the certificates once per process.
        monkeypatch.setattr(urllib.request, "_opener", None)
        assert stage(f"{web.url}/files/x", HTTPInTaskStaging(), work) == (BODY, ["x"])
