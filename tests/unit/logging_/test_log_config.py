"""Logs: quiet unless asked, one per run, and gone without a trace."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from treadle.log import logger
from treadle.log_config import (
    FileLogging,
    JSONLogging,
    LogConfig,
    NoopLogging,
    set_file_logger,
    set_stream_logger,
    start_logging,
)

LOG = logger("test")
ROOT = logging.getLogger("treadle")


@pytest.fixture(autouse=True)
def the_logger_is_left_as_it_was() -> Iterator[None]:
    def state() -> tuple[Any, ...]:
        return (list(ROOT.handlers), ROOT.level, ROOT.propagate)

    before = state()
    yield
    assert state() == before


@pytest.mark.parametrize("option", ["True", "False"])
def test_a_good_run_prints_nothing_and_a_callback_that_raised_is_printed(
    option: str, tmp_path: Path
) -> None:
    code = (
        "import treadle, sys\n"
        "app = treadle.python_app(lambda x: x)\n"
        f"config = treadle.Config(run_dir={str(tmp_path)!r}, initialize_logging={option})\n"
        "with treadle.load(config):\n"
        "    future = app(1)\n"
        "    if len(sys.argv) > 1:\n"
        "        future.add_done_callback(lambda f: 1 / 0)\n"
        "    future.result()\n"
    )
    good = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (good.stdout, good.stderr) == (b"", b"")
    bad = subprocess.run([sys.executable, "-c", code, "bad"], capture_output=True, check=True)
    assert bad.stdout == b""
    assert b"a callback of AppFuture raised" in bad.stderr
    assert b"ZeroDivisionError" in bad.stderr


def test_true_is_a_file_at_info(tmp_path: Path) -> None:
    undo = start_logging(True, log_dir=tmp_path)
    LOG.info("begun %d", 1)
    LOG.debug("too small")
    undo()
    LOG.info("after the end")
    text = (tmp_path / "treadle.log").read_text()
    assert "begun 1" in text
    assert "INFO treadle.test" in text
    assert "too small" not in text
    assert "after the end" not in text


@pytest.mark.parametrize("option", [False, NoopLogging()])
def test_false_is_nothing(tmp_path: Path, option: Any) -> None:
    undo = start_logging(option, log_dir=tmp_path)
    LOG.error("unheard")
    undo()
    assert list(tmp_path.iterdir()) == []


def test_file_logging_takes_format_and_level(tmp_path: Path) -> None:
    undo = start_logging(FileLogging(format_string="<%(message)s>", level=10), log_dir=tmp_path)
    LOG.debug("small")
    undo()
    assert (tmp_path / "treadle.log").read_text() == "<small>\n"


def test_a_log_config_of_the_users_is_asked(tmp_path: Path) -> None:
    calls: list[Any] = []

    class Mine(LogConfig):
        def initialize_logging(self, *, log_dir: Path, log_name: str) -> Any:
            calls.append((log_dir, log_name))
            return lambda: calls.append("ended")

    start_logging(Mine(), log_dir=tmp_path)()
    assert calls == [(tmp_path, "treadle"), "ended"]


def test_json_logging_writes_extras_as_fields(tmp_path: Path) -> None:
    undo = start_logging(JSONLogging(), log_dir=tmp_path)
    odd = {"treadle.task": 7, "set": {1}, "bad": {(1, 2): float("nan")}, "deep": [[1]]}
    LOG.info("said", extra=odd)
    try:
        raise ValueError("told")
    except ValueError:
        LOG.exception("failed")
    undo()
    said, failed = map(json.loads, (tmp_path / "treadle.jsonlog").read_text().splitlines())
    assert said["message"] == "said"
    assert said["level"] == "INFO"
    assert said["logger"] == "treadle.test"
    assert said["time"].endswith("Z")
    assert said["treadle.task"] == 7
    assert said["set"] == "{1}"
    assert said["bad"] == {"(1, 2)": "nan"}
    assert "ValueError: told" in failed["exception"]


def test_an_extra_that_contains_itself_is_written(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    undo = start_logging(JSONLogging(), log_dir=tmp_path)
    LOG.info("x", extra={"loop": loop})
    undo()
    assert json.loads((tmp_path / "treadle.jsonlog").read_text())["message"] == "x"


def test_each_of_several_runs_has_its_own_log(tmp_path: Path) -> None:
    dirs = [tmp_path / name for name in ("a", "b")]
    for d in dirs:
        d.mkdir()
    undos = [start_logging(True, log_dir=d) for d in dirs]
    LOG.info("of a", extra={"treadle.run": str(dirs[0])})
    LOG.info("of all")
    undos[0]()
    LOG.info("later")
    undos[1]()
    a, b = ((d / "treadle.log").read_text() for d in dirs)
    assert "of a" in a
    assert "of all" in a
    assert "later" not in a
    assert "of a" + "\n" not in b
    assert "of all" in b
    assert "later" in b


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    fds = Path("/proc/self/fd")
    before = len(list(fds.iterdir())) if fds.exists() else 0
    for config in [FileLogging(), JSONLogging()] * 5:
        undo = start_logging(config, log_dir=tmp_path)
        LOG.info("x")
        undo()
        undo()
    after = len(list(fds.iterdir())) if fds.exists() else 0
    assert after == before


def test_the_programs_own_handlers_see_no_more_than_before(tmp_path: Path) -> None:
    """A log file at INFO does not make a program print INFO."""
    heard = io.StringIO()
    console = logging.StreamHandler(heard)
    logging.getLogger().addHandler(console)
    undo = start_logging(True, log_dir=tmp_path)
    try:
        LOG.info("quiet")
        LOG.warning("loud")
    finally:
        undo()
        logging.getLogger().removeHandler(console)
    assert heard.getvalue() == "loud\n"


def test_a_stream_logger_prints_and_is_undone() -> None:
    stream = io.StringIO()
    undo = set_stream_logger(level=logging.INFO, stream=stream)
    LOG.info("shown")
    LOG.debug("hidden")
    logging.getLogger("concurrent.futures").error("a callback failed")
    undo()
    LOG.info("after")
    logging.getLogger("concurrent.futures").error("another")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("[INFO]  shown")
    assert "a callback failed" in lines[1]


def test_a_stream_logger_takes_name_and_format() -> None:
    stream = io.StringIO()
    undo = set_stream_logger("treadle.test", logging.DEBUG, "%(levelname)s:%(message)s", stream)
    LOG.debug("mine")
    logger("other").error("not mine")
    undo()
    assert stream.getvalue() == "DEBUG:mine\n"


def test_a_file_logger_appends_and_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "all.log"
    for word in ("one", "two"):
        undo = set_file_logger(str(path), level=logging.INFO, format_string="%(message)s")
        LOG.info(word)
        undo()
    assert path.read_text() == "one\ntwo\n"


def test_loggers_undone_in_any_order_leave_nothing(tmp_path: Path) -> None:
    first, second = io.StringIO(), io.StringIO()
    undo_first = set_stream_logger(level=logging.ERROR, stream=first, format_string="%(message)s")
    undo_second = set_stream_logger(level=logging.DEBUG, stream=second, format_string="%(message)s")
    undo_first()
    LOG.debug("x")
    undo_second()
    assert (first.getvalue(), second.getvalue()) == ("", "x\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_can_log(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "from treadle.log import logger\n"
        "from treadle.log_config import start_logging\n"
        "undo = start_logging(True, log_dir=pathlib.Path(sys.argv[1]))\n"
        "logger('x').info('parent')\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    logger('x').info('child')\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "undo()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=15)
    lines = (tmp_path / "treadle.log").read_text().splitlines()
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["parent", "child"]


def test_reprs_rebuild_them() -> None:
    for config in (FileLogging(format_string="%(message)s", level=30), JSONLogging(level=10)):
        again = eval(repr(config))
        assert vars(again) == vars(config)
    assert repr(NoopLogging()) == "NoopLogging()"
