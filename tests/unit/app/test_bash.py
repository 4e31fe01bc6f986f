"""What a bash app does where it runs, one runner at a time."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from treadle.app.bash import BashRunner, remote_side_bash_executor
from treadle.data_provider.files import File
from treadle.errors import (
    AppBadFormatting,
    BadStdStreamFile,
    BashAppNoReturn,
    BashExitFailure,
    MissingOutputs,
)


def line(command: str, **_: Any) -> str:
    return command


def run(command: str, **kwargs: Any) -> int:
    return remote_side_bash_executor(line, command, **kwargs)


def test_the_output_goes_where_the_call_says(tmp_path: Path) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    assert run("echo out; echo err >&2", stdout=str(out), stderr=(err, "w")) == 0
    assert run("echo more", stdout=out) == 0
    assert out.read_text() == "out\nmore\n"
    assert err.read_text() == (
        "--> executable follows <--\necho out; echo err >&2\n--> end executable <--\nerr\n"
    )


def test_both_streams_in_one_file_keep_their_order(tmp_path: Path) -> None:
    both = tmp_path / "both"
    run("echo 1; echo 2 >&2; echo 3", stdout=(both, "w"), stderr=(both, "w"))
    assert both.read_text().splitlines()[-3:] == ["1", "2", "3"]


def test_it_is_bash_and_its_input_is_empty(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("[[ abc == a* ]] && echo bash; cat", stdout=out, walltime=20)
    assert out.read_text() == "bash\n"


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [("exit 3", 3, "exit code 3"), ("kill -9 $$", -9, "signal 9"), ("no-such-x", 127, "127")],
)
def test_a_failing_command_tells_its_exit_code(command: str, code: int, text: str) -> None:
    with pytest.raises(BashExitFailure, match=text) as info:
        run(command)
    assert (info.value.app_name, info.value.exitcode) == ("line", code)


def test_a_failure_notes_where_stderr_is_and_how_it_ends(tmp_path: Path) -> None:
    with pytest.raises(BashExitFailure) as info:
        run("echo the reason >&2; false", stderr=tmp_path / "err")
    [note] = info.value.__notes__
    assert str(tmp_path / "err") in note
    assert note.endswith("the reason")
    assert pickle.loads(pickle.dumps(info.value)).__notes__ == [note]


@pytest.mark.parametrize("returned", [None, 0, ["echo"], b"echo"])
def test_a_body_must_return_a_command_line(returned: Any) -> None:
    with pytest.raises(BashAppNoReturn, match=r"must return its command line as a str"):
        remote_side_bash_executor(lambda: returned)


def test_a_command_line_that_cannot_be_formatted_says_so() -> None:
    for template in ("{0} {1}", "{b}", "{a.b}"):
        with pytest.raises(AppBadFormatting, match="could not be put together") as info:
            remote_side_bash_executor(template.format, 1, a=1)
        assert info.value.__cause__ is not None


def test_a_line_that_the_system_cannot_take_is_bad_formatting() -> None:
    with pytest.raises(AppBadFormatting, match="null byte"):
        run("echo \0")
    with pytest.raises(AppBadFormatting, match="write long scripts into a file"):
        run("true " + "x" * 4_000_000)


def test_other_errors_of_the_body_are_its_own() -> None:
    def body() -> str:
        raise PermissionError("mine")

    with pytest.raises(PermissionError, match="mine"):
        remote_side_bash_executor(body)


def test_a_stream_that_cannot_be_written_keeps_the_command_from_running(tmp_path: Path) -> None:
    with pytest.raises(BadStdStreamFile, match="stdout"):
        run(f"touch {tmp_path}/ran", stdout=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_outputs_must_be_there_after_success(tmp_path: Path) -> None:
    there, missing = File(tmp_path / "there"), File(tmp_path / "missing")
    assert run(f"touch {there}", outputs=[there]) == 0
    with pytest.raises(MissingOutputs, match=r"did not write: .*/missing$") as info:
        run("true", outputs=[there, missing])
    assert info.value.outputs == [missing]
    with pytest.raises(BashExitFailure):
        run("false", outputs=[missing])
    # What is elsewhere and was not staged cannot be looked for here.
    assert run("true", outputs=[File("https://host/x")]) == 0


def test_a_runner_travels(tmp_path: Path) -> None:
    runner = BashRunner(line, None)
    back = pickle.loads(pickle.dumps(runner))
    assert back("true") == 0
    assert (back.__memo_func__, back.__memo_extra__) == (line, "bash")
    word = "hello"
    far = cloudpickle.loads(cloudpickle.dumps(BashRunner(lambda: f"echo {word}", frozenset())))
    assert far(stdout=tmp_path / "out", label="not for the body") == 0
    assert (tmp_path / "out").read_text() == "hello\n"
