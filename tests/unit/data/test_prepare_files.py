from __future__ import annotations

import re
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.unit.data.fake_kernel import FakeKernel
from treadle.data_provider.data_future import DataFuture
from treadle.data_provider.files import File
from treadle.data_provider.prepare import prepare_files, unstaged_outputs
from treadle.data_provider.staging import Staging, default_staging
from treadle.errors import StagingError, ZipAuthorityError


def prepare(*args, _kernel=None, _app_fu=None, **kwargs):
    kernel = _kernel or FakeKernel()
    return prepare_files(kernel.dm, args, kwargs, len, "threads", _app_fu or Future(), 5)


def test_a_call_without_files_is_left_alone():
    assert prepare(1, "a.txt", [File("nested")], x=2, inputs=[1], outputs=[], stdout="o") is None
    assert prepare(outputs=None, inputs=None) is None


def test_a_task_gets_copies_and_the_caller_keeps_his():
    mine, lists = File("a.txt"), {"inputs": [File("b.txt"), 3], "outputs": [File("c.txt")]}
    kept = {name: list(value) for name, value in lists.items()}
    call = prepare(mine, key=mine, **lists)
    copies = [call.args[0], call.kwargs["key"], call.kwargs["inputs"][0], call.kwargs["outputs"][0]]
    originals = [mine, mine, lists["inputs"][0], lists["outputs"][0]]
    assert copies == originals
    assert not any(a is b for a, b in zip(copies, originals, strict=True))
    assert lists == kept
    assert all(lists[name] is not call.kwargs[name] for name in lists)
    assert lists["inputs"][0].local_path is None
    assert call.func is len


def test_lists_stay_lists_and_tuples_stay_tuples():
    call = prepare(inputs=(File("a"), 1), outputs=("b", Path("c"), File("d")))
    assert call.kwargs["inputs"] == (File("a"), 1)
    assert call.kwargs["outputs"] == (File("b"), File("c"), File("d"))
    assert type(prepare(inputs=[File("a")]).kwargs["inputs"]) is list


def test_each_output_has_a_future_that_follows_the_app():
    app_fu = Future()
    call = prepare(outputs=[File("a"), "b"], _app_fu=app_fu)
    assert [(f.file_obj.url, f.tid, f.parent) for f in call.outputs] == [
        ("a", 5, app_fu),
        ("b", 5, app_fu),
    ]
    app_fu.set_result(0)
    assert call.outputs[0].result(timeout=5) is call.kwargs["outputs"][0]


def test_a_file_given_for_a_stream_has_a_future_too():
    out, err = File("o.txt"), "e.txt"
    call = prepare(stdout=out, stderr=err)
    assert call.stdout.file_obj == out
    assert call.kwargs["stdout"] is call.stdout.file_obj
    assert (call.stderr, call.kwargs["stderr"]) == (None, err)


def test_a_future_of_a_file_is_passed_on_as_one_of_a_copy():
    app_fu = Future()
    made = DataFuture(app_fu, File("a.txt"), tid=1)
    call = prepare(made, inputs=[made])
    first, second = call.args[0], call.kwargs["inputs"][0]
    assert isinstance(first, DataFuture)
    assert first.tid == 1
    assert not first.done()
    app_fu.set_result(None)
    assert first.result(timeout=5) == made.result(timeout=5)
    assert len({id(f.file_obj) for f in (first, second, made)}) == 3


@pytest.mark.parametrize(
    "outputs", ["a.txt", File("a.txt"), {"a.txt"}, Future(), 3], ids=lambda o: type(o).__name__
)
def test_outputs_that_are_no_list_are_refused(outputs):
    with pytest.raises(TypeError, match=rf"outputs of len takes a list.*{type(outputs).__name__}"):
        prepare(outputs=outputs)


def test_an_output_that_is_no_file_is_refused():
    with pytest.raises(TypeError, match="takes File, str and os.PathLike, not int: 3"):
        prepare(outputs=["a.txt", 3])


def test_staging_can_be_inhibited_and_outputs_still_have_futures():
    kernel = FakeKernel()
    file, remote = File("http://h/in"), File("ftp://h/out")
    call = prepare(file, outputs=[remote], _parsl_staging_inhibit=True, _kernel=kernel)
    assert call.args[0] is file
    assert [f.file_obj for f in call.outputs] == [remote]
    assert kernel.submitted == []


def test_a_scheme_that_nobody_takes_is_an_error_that_names_all_who_were_asked():
    with pytest.raises(StagingError, match="cannot stage file nope://u:\\*\\*\\*@h/x in") as caught:
        prepare(File("nope://u:hush@h/x"))
    for text in ("'nope'", "'threads'", "NoOpFileStaging for file", "HTTPSeparateTaskStaging for"):
        assert text in str(caught.value)


def test_a_name_with_a_colon_is_explained():
    with pytest.raises(StagingError, match=r"pathlib\.Path"):
        prepare(File("results:2024.txt"))


def test_web_servers_cannot_be_written_to():
    with pytest.raises(StagingError, match=re.escape("cannot stage file http://h/x out")):
        prepare(outputs=[File("http://h/x")], _kernel=FakeKernel(default_staging[:4]))


def test_an_empty_list_of_providers_turns_staging_off():
    with pytest.raises(StagingError, match=r"storage_access=\[\]"):
        prepare(File("a.txt"), _kernel=FakeKernel([]))


def test_the_first_provider_that_can_is_used_and_may_know_nothing_of_ours():
    class ForParsl:
        """One with only what Parsl's documentation asks for."""

        def can_stage_in(self, file):
            return True

        def can_stage_out(self, file):
            return file.scheme == "odd"

        def stage_in(self, dm, executor, file, parent_fut):
            file.local_path = f"in/{executor}/{file.filename}"

        def stage_out(self, dm, executor, file, app_fu):
            file.local_path = f"out/{file.filename}"

        def replace_task(self, dm, executor, file, func):
            return None

        def replace_task_stage_out(self, dm, executor, file, func):
            return lambda *a, **k: func(*a)

    call = prepare(
        File("odd://h/a"), outputs=[File("odd://h/b")], _kernel=FakeKernel([Staging(), ForParsl()])
    )
    assert call.args[0].filepath == "in/threads/a"
    assert call.outputs[0].filepath == "out/b"
    assert call.func is not len


def test_a_zip_url_takes_no_host():
    with pytest.raises(ZipAuthorityError, match="takes no host"):
        prepare(File("zip://host/a.zip/x"))


def test_two_urls_with_one_name_have_two_local_paths():
    kernel = FakeKernel(working_dir="work")
    files = [File(f"http://{host}/data.csv") for host in "aba"]
    paths = [kernel.dm.place(file, "threads") for file in files]
    assert paths[0] == paths[2] == "work/data.csv"
    assert re.fullmatch(r"work/[0-9a-f]{16}/data\.csv", paths[1])
    assert [file.local_path for file in files] == paths


@pytest.mark.parametrize("url", ["http://h/a/..", "http://h/%2e%2e", "http:///", "s3:///"])
def test_a_name_that_leaves_the_directory_is_refused(url):
    with pytest.raises(StagingError, match="cannot be the name of a file"):
        FakeKernel(working_dir="work").dm.place(File(url), "threads")


def test_the_standard_providers_stand_in_the_order_that_programs_expect():
    assert [type(p).__name__ for p in default_staging][:4] == [
        "NoOpFileStaging",
        "FTPSeparateTaskStaging",
        "HTTPSeparateTaskStaging",
        "ZipFileStaging",
    ]


def test_a_call_that_could_not_be_prepared_still_has_outputs_that_fail():
    app_fu = Future()
    futures = unstaged_outputs({"outputs": [File("nope://h/x"), "y", 3, ""]}, app_fu, 5)
    error = StagingError("no way")
    app_fu.set_exception(error)
    assert [(f.file_obj.url, f.exception(timeout=5)) for f in futures] == [
        ("nope://h/x", error),
        ("y", error),
    ]
    assert unstaged_outputs({"outputs": "x"}, app_fu, 5) == []
    assert unstaged_outputs({}, app_fu, 5) == []
