"""Special keywords: seen by the engine, passed to functions that take them."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from tests.unit.app.fakes import InlineKernel
from treadle.app.app import bash_app, join_app, python_app
from treadle.errors import AppTimeout, TaskCallError


@pytest.fixture
def kernel() -> InlineKernel:
    return InlineKernel()


def test_a_function_is_not_handed_what_it_does_not_take(kernel: InlineKernel) -> None:
    app: Any = python_app(data_flow_kernel=kernel)(lambda x: x)
    specials = {
        "inputs": ["i"],
        "outputs": [],
        "stdout": "o",
        "stderr": "e",
        "label": "l",
        "walltime": 60,
        "parsl_resource_specification": {"cores": 1},
        "_parsl_staging_inhibit": True,
    }
    assert app(1, **specials).result() == 1
    assert kernel.last.kwargs == specials  # the engine saw them all
    assert kernel.last.func.__memo_func__ is app.func  # type: ignore[attr-defined]
    assert kernel.last.func.__name__ == app.func.__name__


def test_a_function_gets_the_special_keywords_it_names(kernel: InlineKernel) -> None:
    @python_app(data_flow_kernel=kernel)
    def body(x: int, inputs: Any = (), walltime: Any = None) -> Any:
        return x, inputs, walltime

    assert body(1, inputs=["a"]).result() == (1, ["a"], None)
    assert kernel.last.func is body.func  # nothing to take away: no wrapper
    assert body(1, walltime=5).result() == (1, (), 5.0)
    call: Any = body
    assert call(1, label="x", inputs=("a",)).result() == (1, ["a"], None)


def test_a_function_with_any_keyword_gets_them_all(kernel: InlineKernel) -> None:
    app: Any = python_app(data_flow_kernel=kernel)(lambda **kw: kw)
    assert app(label="x", y=1, walltime=9).result() == {"label": "x", "y": 1, "walltime": 9.0}


def test_special_defaults_are_part_of_the_call(kernel: InlineKernel) -> None:
    @python_app(data_flow_kernel=kernel)
    def body(
        x: int,
        walltime: float = 30,
        parsl_resource_specification: Any = {"cores": 2},  # noqa: B006 - it must not be shared
        inputs: Any = (),
        other: int = 5,
    ) -> Any:
        return x + other

    assert body(1).result() == 6
    first = kernel.last.kwargs
    assert first == {"walltime": 30.0, "parsl_resource_specification": {"cores": 2}}
    first["parsl_resource_specification"]["cores"] = 99
    body(1, walltime=3).result()
    assert kernel.last.kwargs == {"walltime": 3.0, "parsl_resource_specification": {"cores": 2}}
    # Given by position, the default is not given a second time.
    assert body(1, 60).result() == 6
    assert "walltime" not in kernel.last.kwargs


def test_all_defaults_of_a_bash_app_are_part_of_the_call(kernel: InlineKernel) -> None:
    @bash_app(data_flow_kernel=kernel)
    def body(a: str, b: str = "true", *, c: int = 1, stdout: Any = None) -> str:
        return b

    assert body("x").result() == 0
    assert kernel.last.kwargs == {"b": "true", "c": 1, "stdout": None}
    assert body("x", ":").result() == 0
    assert kernel.last.args == ("x", ":")
    assert kernel.last.kwargs == {"c": 1, "stdout": None}


def test_a_bash_body_is_not_handed_what_it_does_not_take(kernel: InlineKernel) -> None:
    @bash_app(data_flow_kernel=kernel)
    def body() -> str:
        return "true"

    call: Any = body
    assert call(walltime=60, label="x", inputs=[]).result() == 0


@pytest.mark.parametrize("name", ["inputs", "outputs"])
def test_the_callers_lists_stay_as_they_are(kernel: InlineKernel, name: str) -> None:
    app: Any = python_app(data_flow_kernel=kernel)(lambda **kw: kw[name].append("more"))
    mine = ["a"]
    app(**{name: mine}).result()
    assert mine == ["a"]
    app(**{name: ("a",)}).result()
    assert kernel.last.kwargs[name] == ["a", "more"]


@pytest.mark.parametrize("decorator", [python_app, bash_app, join_app])
@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"walltime": 0}, "walltime must be a number of seconds greater than 0"),
        ({"walltime": -1}, "not -1"),
        ({"walltime": "60"}, "not '60'"),
        ({"walltime": True}, "not True"),
        ({"walltime": float("nan")}, "not nan"),
        ({"walltime": float("inf")}, "None for no limit, not inf"),
        ({"outputs": "out.txt"}, r"for one file write outputs=\[File\('out.txt'\)\]"),
        ({"inputs": 5}, "inputs must be a list or a tuple, not 5"),
        ({"parsl_resource_specification": 4}, r"must be a dict such as \{'cores': 1\}, not 4"),
    ],
)
def test_a_value_that_can_never_work_is_an_error_of_the_call(
    kernel: InlineKernel, decorator: Any, keywords: dict[str, Any], text: str
) -> None:
    app = decorator(data_flow_kernel=kernel)(lambda: "true")
    with pytest.raises(TaskCallError, match=text):
        app(**keywords)
    assert kernel.calls == []


def test_a_walltime_that_is_a_future_is_checked_when_it_is_known(kernel: InlineKernel) -> None:
    app: Any = python_app(data_flow_kernel=kernel)(lambda: 1)
    walltime: Future[Any] = Future()
    kernel.hold = True
    app(walltime=walltime)
    runner = kernel.last.func
    assert runner(walltime=60) == 1
    with pytest.raises(TaskCallError, match="not 'soon'"):
        runner(walltime="soon")


def test_a_walltime_ends_a_python_app(kernel: InlineKernel) -> None:
    @python_app(data_flow_kernel=kernel)
    def spin(walltime: float) -> None:
        while True:
            pass

    with pytest.raises(AppTimeout, match=r"spin ran longer than its walltime of 0\.05 s"):
        spin(walltime=0.05).result()
