"""How a miss is explained."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.memo.calls import Project
from tests.unit.memo.fake_log import FakeDisk
from tests.unit.memo.memoizers import Record, call, started
from treadle.data_provider.files import File
from treadle.dataflow.memo.miss import MissReport


@pytest.fixture
def project() -> Iterator[Project]:
    made = Project()
    yield made
    made.forget()


SOURCE = "Z = 1\ndef norm(v):\n    return v + 1\ndef f(x, y=2):\n    return norm(x) + y + Z\n"


def test_the_first_call_of_an_app_has_nothing_to_be_compared_with(project):
    memoizer = started()
    _, _, record = call(memoizer, project.function(SOURCE), 1)
    report = memoizer.explain_miss(record)
    assert report == MissReport("f", (), False)
    assert str(report) == "no earlier result of 'f'"


def test_what_changed_is_named(project):
    memoizer = started()
    call(memoizer, project.function(SOURCE), 1)
    edited = project.function(SOURCE.replace("v + 1", "v + 2"))
    _, hit, record = call(memoizer, edited, 5)
    assert not hit
    report = memoizer.explain_miss(record)
    assert report is not None
    assert report.rows == (("arg x", "changed"), ("helper project_main.norm", "changed"))
    assert str(report) == "no earlier result: argument 'x' changed, helper 'norm' changed"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("Z = 1", "Z = 3", "global 'Z' changed"),
        ("y=2", "y=3", "default of 'y' changed"),
        ("norm(x) + y", "norm(x) - y", "its own code changed"),
        ("v + 1", "v + Z", "helper 'norm' changed"),
        (
            "return norm(x)",
            "return norm(x) + len(str(T))",
            "global 'T' added, its own code changed",
        ),
    ],
)
def test_each_kind_of_part_is_said_in_words(project, old, new, text):
    memoizer = started()
    call(memoizer, project.function("T = 1\n" + SOURCE), 1)
    record = call(memoizer, project.function("T = 1\n" + SOURCE.replace(old, new)), 1)[2]
    report = memoizer.explain_miss(record)
    assert ", ".join(sorted(str(report).removeprefix("no earlier result: ").split(", "))) == text


def test_the_nearest_earlier_call_is_compared(project):
    memoizer = started()
    f = project.function(SOURCE)
    for x, y in [(1, 1), (2, 2), (3, 3)]:
        call(memoizer, f, x, y)
    record = call(memoizer, f, 2, 9)[2]
    assert str(memoizer.explain_miss(record)) == "no earlier result: argument 'y' changed"


def test_later_calls_are_not_compared(project):
    memoizer = started()
    f = project.function(SOURCE)
    first = call(memoizer, f, 1, 1)[2]
    second = call(memoizer, f, 2, 1)[2]
    call(memoizer, f, 2, 3)
    assert str(memoizer.explain_miss(first)) == "no earlier result of 'f'"
    assert str(memoizer.explain_miss(second)) == "no earlier result: argument 'x' changed"


def test_a_hit_has_no_explanation(project):
    memoizer = started()
    f = project.function(SOURCE)
    call(memoizer, f, 1)
    _, hit, record = call(memoizer, f, 1)
    assert hit
    assert memoizer.explain_miss(record) is None
    assert memoizer.explain_miss(Record(f, 1)) is None


def test_a_result_that_was_not_kept_is_said(project):
    memoizer = started(cache_bytes=0)
    f = project.function(SOURCE)
    call(memoizer, f, 1)
    record = call(memoizer, f, 1)[2]
    assert "its result was not kept" in str(memoizer.explain_miss(record))


def test_calls_of_earlier_runs_are_compared_without_loading_their_results(project):
    disk = FakeDisk()
    first = started(disk, "000", checkpoint_mode="task_exit")
    call(first, project.function(SOURCE), 1)
    first.close()
    second = started(disk, "001", checkpoint_mode="task_exit")
    record = call(second, project.function(SOURCE.replace("v + 1", "v * 2")), 1)[2]
    assert str(second.explain_miss(record)) == "no earlier result: helper 'norm' changed"
    assert second.statistics().load_errors == 0
    second.close()


def test_an_argument_equal_to_its_default_is_no_difference(project):
    memoizer = started()
    f = project.function(SOURCE)
    call(memoizer, f, 1)
    record = call(memoizer, f, 3, 2)[2]
    assert str(memoizer.explain_miss(record)) == "no earlier result: argument 'x' changed"


def test_memory_for_explanations_is_bounded(project):
    memoizer = started()
    f = project.function(SOURCE)
    for n in range(300):
        call(memoizer, f, n)
    assert len(memoizer._history.before("f", 10**9)) == 64


def test_a_call_whose_files_are_gone_runs_again_and_says_so(tmp_path):
    out, log = tmp_path / "out.txt", tmp_path / "log.txt"

    def write(outputs=(), stdout=None):
        for path in (outputs[0].filepath, stdout):
            with open(path, "w") as file:
                file.write("x")

    memoizer = started()
    options = {"outputs": [File(out)], "stdout": str(log)}
    assert not call(memoizer, write, **options)[1]
    assert call(memoizer, write, **options)[1]
    for path in (out, log):
        path.unlink()
        _, hit, record = call(memoizer, write, **options)
        assert not hit
        assert str(memoizer.explain_miss(record)) == f"no earlier result: output '{path}' removed"
        assert path.exists()
    assert call(memoizer, write, **options)[1]
