"""The newest lines that a process has logged."""

from __future__ import annotations

import logging

import pytest

from treadle.cluster import _log_tail


@pytest.fixture
def tail(monkeypatch):
    monkeypatch.setattr(_log_tail, "_tail", None)
    _log_tail.keep("%(name)s: %(message)s")
    yield _log_tail._tail
    logging.getLogger().removeHandler(_log_tail._tail)


def test_nothing_is_kept_before_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(_log_tail, "_tail", None)
    assert _log_tail.newest(of_worker=True) == []


def test_a_node_tells_its_worker_from_its_scheduler(tail):
    for name in ("treadle.cluster._agent_slots", "treadle.cluster._server", "treadle.cluster"):
        logging.getLogger(name).warning("of %s", name.rpartition("_")[2])
    worker = [line for _, line in _log_tail.newest(of_worker=True)]
    scheduler = [line for _, line in _log_tail.newest(of_worker=False)]
    assert worker == [
        "treadle.cluster._agent_slots: of slots",
        "treadle.cluster: of treadle.cluster",
    ]
    assert scheduler == [
        "treadle.cluster._server: of server",
        "treadle.cluster: of treadle.cluster",
    ]


def test_the_newest_are_given_oldest_first(tail):
    for n in range(5):
        logging.getLogger("treadle.cluster").error("%d", n)
    assert _log_tail.newest(2, of_worker=True) == [
        ["ERROR", "treadle.cluster: 3"],
        ["ERROR", "treadle.cluster: 4"],
    ]


def test_it_is_bounded(tail):
    log = logging.getLogger("treadle.cluster")
    log.error("x" * 100_000)
    for _ in range(3_000):
        log.error("again")
    assert len(tail.lines) == 2_000
    log.error("y" * 100_000)
    assert len(tail.lines[-1][2]) == 4_000


def test_what_cannot_be_shown_harms_nobody(tail, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logging.getLogger("treadle.cluster").error("%d", "no number")
    logging.getLogger("treadle.cluster").error("next")
    assert [line for _, line in _log_tail.newest(of_worker=True)] == ["treadle.cluster: next"]
