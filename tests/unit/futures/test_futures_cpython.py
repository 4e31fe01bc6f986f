"""CPython's own tests of futures, run on ours where they do not look inside."""

from __future__ import annotations

import concurrent.futures._base as base
import importlib
import unittest

import pytest

from treadle.dataflow._lazy import LazyFuture

#: They look inside, or for words: of a repr (the class has another name), of a log on stderr, at a
#: condition that they notify themselves, at a snapshot that only newer Pythons take.
_LOOK_INSIDE = {
    "test_done_callback_raises",  # looks for the trace in the log of the library
    "test_done_callback_raises_already_succeeded",
    "test_exception_with_success",
    "test_future_snapshot",
    "test_multiple_set_exception",
    "test_multiple_set_result",
    "test_repr",
}


def _load():
    for name in ("test.test_concurrent_futures.test_future", "test.test_concurrent_futures"):
        try:
            module = importlib.import_module(name)
        except (ImportError, unittest.SkipTest):
            continue
        if hasattr(module, "FutureTests"):
            return module
    return None


_module = _load()


def _future(state=base.PENDING, exception=None, result=None):
    future = LazyFuture()
    future._state, future._exception, future._result = state, exception, result
    return future


@pytest.fixture
def patched(monkeypatch):
    if _module is None:
        pytest.skip("this Python comes without its own tests")
    monkeypatch.setattr(_module, "Future", LazyFuture)
    monkeypatch.setattr(_module, "create_future", _future)
    made = {
        "PENDING_FUTURE": _future(),
        "RUNNING_FUTURE": _future(base.RUNNING),
        "CANCELLED_FUTURE": _future(base.CANCELLED),
        "CANCELLED_AND_NOTIFIED_FUTURE": _future(base.CANCELLED_AND_NOTIFIED),
        "EXCEPTION_FUTURE": _future(base.FINISHED, exception=OSError()),
        "SUCCESSFUL_FUTURE": _future(base.FINISHED, result=42),
    }
    for name, future in made.items():
        monkeypatch.setattr(_module, name, future)
    return _module.FutureTests


def _names():
    if _module is None:
        return ["all"]
    names = unittest.defaultTestLoader.getTestCaseNames(_module.FutureTests)
    return [n for n in names if n not in _LOOK_INSIDE]


@pytest.mark.parametrize("name", _names())
def test_cpython_agrees(patched, name, caplog):
    result = patched(name).run()
    problems = [text for _, text in [*result.errors, *result.failures]]
    assert problems == []
