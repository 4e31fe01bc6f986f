"""`treadle logs`: what tasks have printed, out of workers' files and index."""

from __future__ import annotations

import json

import pytest

from treadle.cli import _logs, main


class Worker:
    """The folder of a worker whose tasks have printed something."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True)

    def printed(self, task, name, text, *, stream=1, attempt=1, file="slot-0.out", **more):
        path = self.folder / file
        offset = path.stat().st_size if path.exists() else 0
        with open(path, "ab") as out:
            out.write(text)
        line = {"task": task, "name": name, "attempt": attempt, "stream": stream, "file": file}
        line |= {"offset": offset, "length": len(text), "head": len(text), "dropped": 0, **more}
        with open(self.folder / "index.jsonl", "a") as index:
            index.write(json.dumps(line) + "\n")


@pytest.fixture
def worker(tmp_path):
    return Worker(tmp_path / "runinfo" / "000" / "cluster")


def shown(capfdbinary, *arguments):
    assert main(["logs", *map(str, arguments)]) == 0
    return capfdbinary.readouterr().out.decode()


def test_all_output_is_shown_under_whose_it_is(worker, tmp_path, capfdbinary):
    worker.printed(1, "f", b"one\n")
    worker.printed(2, "g", b"two", stream=2, file="slot-0.err")
    assert shown(capfdbinary, tmp_path / "runinfo") == (
        "==> f 1, attempt 1, stdout <==\none\n==> g 2, attempt 1, stderr <==\ntwo\n"
    )


def test_of_several_runs_the_newest_is_meant(tmp_path, capfdbinary):
    for run, text in (("002", b"old\n"), ("010", b"new\n")):
        Worker(tmp_path / run / "cluster").printed(1, "f", text)
    assert "new" in shown(capfdbinary, tmp_path)
    assert "old" in shown(capfdbinary, tmp_path / "002")


@pytest.mark.parametrize("wanted", ["2", "g"])
def test_one_task_is_picked_by_number_or_name(worker, tmp_path, capfdbinary, wanted):
    worker.printed(1, "f", b"one\n")
    worker.printed(2, "g", b"two\n")
    assert shown(capfdbinary, tmp_path / "runinfo", "--task", wanted).splitlines()[1:] == ["two"]


@pytest.mark.parametrize(("option", "text"), [("--stderr", "wrong"), ("--stdout", "right")])
def test_one_stream_is_picked(worker, tmp_path, capfdbinary, option, text):
    worker.printed(1, "f", b"right\n")
    worker.printed(1, "f", b"wrong\n", stream=2, file="slot-0.err")
    assert shown(capfdbinary, tmp_path / "runinfo", option).splitlines()[1:] == [text]


def test_a_task_that_has_printed_nothing_is_an_error(worker, tmp_path, capsys):
    worker.printed(1, "f", b"one\n")
    assert main(["logs", str(tmp_path / "runinfo"), "--task", "77"]) == 1
    assert "'77'" in capsys.readouterr().err


def test_a_folder_without_an_index_is_an_error(tmp_path, capsys):
    assert main(["logs", str(tmp_path)]) == 1
    assert "index.jsonl" in capsys.readouterr().err


def test_how_much_was_dropped_is_shown_where_it_was(worker, tmp_path, capfdbinary):
    hole = 4096
    text = b"head\n" + b"\0" * hole + b"tail\n"
    worker.printed(1, "f", text, head=5, dropped=hole)
    worker.printed(2, "g", b"head\ntail\n", head=5, dropped=1_000_000)
    lines = shown(capfdbinary, tmp_path / "runinfo").splitlines()
    assert [line for line in lines if line] == [
        "==> f 1, attempt 1, stdout <==",
        "head",
        "[4,096 bytes were dropped here]",
        "tail",
        "==> g 2, attempt 1, stdout <==",
        "head",
        "[1,000,000 bytes were dropped here]",
        "tail",
    ]


def test_a_hole_in_a_file_is_skipped(worker, tmp_path, capfdbinary):
    worker.printed(1, "f", b"head\n")
    path = worker.folder / "slot-0.out"
    size = 1 << 30
    with open(path, "r+b") as file:
        file.truncate(size)
        file.seek(size)
        file.write(b"tail\n")
    line = {"task": 2, "name": "g", "attempt": 1, "stream": 1, "file": "slot-0.out", "offset": 0}
    line |= {"length": size + 5, "head": 5, "dropped": size - 5}
    with open(worker.folder / "index.jsonl", "a") as index:
        index.write(json.dumps(line) + "\n")
    assert shown(capfdbinary, tmp_path / "runinfo", "--task", "g").endswith("here]\ntail\n")


def test_lines_that_are_torn_or_lead_elsewhere_are_harmless(worker, tmp_path, capfdbinary):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with open(worker.folder / "index.jsonl", "a") as index:
        index.write("{torn\n")
    line = {"task": 1, "name": "f", "attempt": 1, "stream": 1, "file": "../../../secret"}
    with open(worker.folder / "index.jsonl", "a") as index:
        index.write(json.dumps(line | {"offset": 0, "length": 6}) + "\n")
    worker.printed(2, "g", b"two\n")
    text = shown(capfdbinary, tmp_path / "runinfo")
    assert "two" in text
    assert text.count("secret") == 1  # its name, which cannot be read


def test_what_comes_later_is_shown_too_when_it_is_followed(worker, monkeypatch):
    worker.printed(1, "f", b"one\n")
    seen = []

    def sleep(seconds):
        if len(seen) == 2:
            raise KeyboardInterrupt
        worker.printed(2, "g", b"two\n")

    monkeypatch.setattr(_logs.time, "sleep", sleep)
    entries = _logs._entries(worker.folder, follow=True)
    seen += [(path.name, entry.name) for path, entry in (next(entries), next(entries))]
    assert seen == [("slot-0.out", "f"), ("slot-0.out", "g")]
    with pytest.raises(KeyboardInterrupt):
        next(entries)
