"""Arguments and results whose every method raises end in their own futures, and only there."""

from __future__ import annotations

import contextlib

import pytest

import treadle
from tests.acceptance.executors_under_test import IN_PROCESS, config_on
from treadle import join_app, python_app


def _make_rude(*names):
    """A class whose special methods raise what nobody expects."""

    def rude(self, *args, **kwargs):
        raise BaseException("rude")

    return type("Rude", (), dict.fromkeys(names, rude))


RUDE = {
    "eq": _make_rude("__eq__", "__hash__"),
    "repr": _make_rude("__repr__", "__str__", "__format__"),
    "bool": _make_rude("__bool__", "__len__", "__iter__", "__contains__"),
    "getattr": _make_rude("__getattr__"),
    "reduce": _make_rude("__reduce__", "__reduce_ex__", "__getstate__", "__copy__", "__deepcopy__"),
    "class": type("Rude", (), {"__class__": property(lambda self: 1 / 0)}),
}


@pytest.fixture(params=IN_PROCESS)
def kernel(request, run_dir):
    kernel = treadle.load(config_on(request.param, run_dir, retries=1))
    yield kernel
    kernel.cleanup()


@python_app
def same(x, *others, **named):
    return x


@pytest.mark.parametrize("kind", RUDE)
def test_a_rude_value_goes_through_or_fails_alone(kernel, kind):
    value = RUDE[kind]()
    future = same(value)
    error = future.exception()
    if error is None:
        assert future.result() is value
    second = same(1, value, y=value)
    with contextlib.suppress(BaseException):
        second.result()
    assert second.done()
    assert same(2).result() == 2


@pytest.mark.parametrize("kind", RUDE)
def test_a_rude_value_in_a_cached_call_is_that_calls_affair(kernel, kind):
    app = python_app(lambda x: "ran", cache=True)
    future = app(RUDE[kind]())
    assert future.exception() is not None or future.result() == "ran"
    assert app(1).result() == "ran"


@pytest.mark.parametrize("kind", RUDE)
def test_a_join_of_a_rude_value_is_a_type_error(kernel, kind):
    future = join_app(lambda: RUDE[kind]())()
    assert isinstance(future.exception(), (TypeError, ZeroDivisionError))
    assert same(2).result() == 2


def _rude_error(*names):
    def rude(self, *args, **kwargs):
        raise BaseException("rude")

    return type("RudeError", (Exception,), dict.fromkeys(names, rude))


@pytest.mark.parametrize(
    "kind",
    [
        _rude_error("__repr__", "__str__"),
        _rude_error("__eq__", "__hash__"),
        _rude_error("with_traceback", "add_note"),
        type("RudeError", (Exception,), {"__notes__": property(lambda self: 1 / 0)}),
        type("RudeError", (Exception,), {"__traceback__": property(lambda self: 1 / 0)}),
        type("RudeError", (Exception,), {"__cause__": property(lambda self: 1 / 0)}),
        type("RudeError", (Exception,), {"__context__": property(lambda self: 1 / 0)}),
        type("RudeError", (Exception,), {"__class__": property(lambda self: 1 / 0)}),
    ],
)
@pytest.mark.parametrize("where", ["task", "handler", "callback", "submit"])
def test_a_rude_exception_is_an_outcome_like_any_other(run_dir, kind, where):
    def handler(error, record):
        if where == "handler":
            raise kind
        return 1

    with treadle.load(config_on("threads", run_dir, retries=1, retry_handler=handler)) as kernel:

        @python_app
        def work():
            if where == "submit":
                kernel.submit(throw, ())
            raise kind

        def throw(*args):
            raise kind

        future = work()
        if where == "callback":
            future.add_done_callback(throw)
        assert type(_error_of(future)) is kind
        dependent = same(future)
        assert str(_error_of(dependent))
        assert type(_error_of(join_app(lambda: future)())).__name__ == "JoinError"
        assert same(2).result() == 2


def _error_of(future):
    treadle.wait_for_current_tasks()
    return future._exception
