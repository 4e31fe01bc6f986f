"""Decorating functions, and what their calls submit."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import cloudpickle
import pytest

from tests.unit.app.fakes import InlineKernel, use_as_loaded
from treadle.app.app import bash_app, join_app, python_app
from treadle.app.bash import BashApp, BashRunner
from treadle.app.join import JoinApp
from treadle.app.python import PythonApp
from treadle.errors import ConfigurationError, NoDataFlowKernelError

DECORATORS: list[Any] = [python_app, bash_app, join_app]


@pytest.fixture
def kernel() -> InlineKernel:
    return InlineKernel()


@python_app
def double(x: int) -> int:
    """Twice."""
    return 2 * x


@bash_app
def greet(name: str) -> str:
    return f"echo {name}"


def test_a_decorator_works_with_and_without_parentheses() -> None:
    def body(x: int) -> int:
        return x

    assert isinstance(python_app(body), PythonApp)
    assert isinstance(python_app()(body), PythonApp)
    assert isinstance(bash_app(body), BashApp)  # type: ignore[arg-type]
    assert isinstance(bash_app()(body), BashApp)  # type: ignore[arg-type]
    assert isinstance(join_app(body), JoinApp)  # type: ignore[call-overload]
    assert isinstance(join_app()(body), JoinApp)  # type: ignore[call-overload]


def test_options_may_be_positional_in_the_familiar_order(kernel: InlineKernel) -> None:
    app = python_app(None, kernel, True, ["a"], ["x"])(lambda x: x)
    assert app.data_flow_kernel is kernel
    assert (app.cache, app.executors, app.ignore_for_cache) == (True, ["a"], ["x"])
    joined = join_app(None, kernel, True, ["x"])(lambda x: x)
    assert (joined.cache, joined.ignore_for_cache) == (True, ["x"])


def test_an_app_looks_like_its_function() -> None:
    assert double.__name__ == "double"
    assert double.__doc__ == "Twice."
    assert double.__module__ == __name__
    assert list(inspect.signature(double).parameters) == ["x"]
    assert double.func(4) == 8
    assert double.local(4) == 8
    assert greet.local("you") == "echo you"


def test_the_repr_names_the_function_and_the_options_that_are_set() -> None:
    assert repr(double) == f"<python_app {__name__}.double>"
    app = bash_app(executors=["big"], cache=True)(greet.func)
    assert repr(app) == f"<bash_app {__name__}.greet cache=True executors=['big']>"
    assert repr(join_app(greet.func)) == f"<join_app {__name__}.greet>"  # type: ignore[call-overload]


def test_a_plain_call_submits_the_function_itself(kernel: InlineKernel) -> None:
    app = python_app(data_flow_kernel=kernel, cache=True, executors=("a", "b"))(double.func)
    assert app(x=3).result() == 6
    call = kernel.last
    assert call.func is double.func
    assert (call.args, call.kwargs) == ((), {"x": 3})
    assert (list(call.executors), call.cache, call.join) == (["a", "b"], True, False)


def test_a_bash_call_submits_a_runner_that_the_memo_table_can_tell_apart(
    kernel: InlineKernel,
) -> None:
    app = bash_app(data_flow_kernel=kernel)(greet.func)
    app("you > /dev/null").result()
    runner = kernel.last.func
    assert isinstance(runner, BashRunner)
    assert runner.__memo_func__ is greet.func
    assert runner.__memo_extra__ == "bash"
    assert runner.__name__ == "greet"  # type: ignore[attr-defined]


def test_a_join_call_runs_on_the_internal_executor(kernel: InlineKernel) -> None:
    @join_app(data_flow_kernel=kernel)
    def spread(n: int) -> Any:
        return [double(i) for i in range(n)]

    kernel.hold = True
    spread(2)
    assert kernel.last.join
    assert kernel.last.executors == ["_treadle_internal"]
    assert kernel.last.func is spread.func


def test_the_kernel_is_looked_up_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = InlineKernel(), InlineKernel()
    use_as_loaded(monkeypatch, first)
    assert double(1).result() == 2
    use_as_loaded(monkeypatch, second)
    assert double(2).result() == 4
    assert (len(first.calls), len(second.calls)) == (1, 1)


def test_a_call_without_a_kernel_says_how_to_load_one(monkeypatch: pytest.MonkeyPatch) -> None:
    use_as_loaded(monkeypatch, None)
    with pytest.raises(NoDataFlowKernelError, match=r"treadle\.load\(\)"):
        double(1)


@pytest.mark.parametrize("decorator", DECORATORS)
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cache": "yes"}, "cache must be True or False, not 'yes'"),
        ({"ignore_for_cache": "x"}, r"write ignore_for_cache=\['x'\]"),
        ({"ignore_for_cache": [1]}, "must be a list of argument names"),
        ({"ignore_for_cache": ["z"]}, r"names 'z'.*its arguments: x"),
        ({"data_flow_kernel": 5}, "must be a DataFlowKernel or None, not 5"),
    ],
)
def test_a_wrong_option_is_an_error_of_the_decoration(
    decorator: Any, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        decorator(**options)(lambda x: x)


@pytest.mark.parametrize("decorator", [python_app, bash_app])
@pytest.mark.parametrize(
    ("executors", "text"),
    [
        ("gpu", r"write executors=\['gpu'\]"),
        ([], "at least one"),
        ([1], "list of labels"),
        ({"a"}, "list of labels"),
        (None, "'all' or a list"),
    ],
)
def test_wrong_executors_are_an_error_of_the_decoration(
    decorator: Any, executors: Any, text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        decorator(executors=executors)(lambda x: x)


def test_join_apps_have_no_executors() -> None:
    decorator: Any = join_app
    with pytest.raises(TypeError, match="executors"):
        decorator(executors=["a"])


@pytest.mark.parametrize("decorator", DECORATORS)
def test_what_is_not_a_plain_function_is_refused(decorator: Any) -> None:
    async def coroutine() -> None: ...

    with pytest.raises(ConfigurationError, match="takes a function, not 5"):
        decorator(5)
    with pytest.raises(ConfigurationError, match="is an app already"):
        decorator(double)
    with pytest.raises(ConfigurationError, match="coroutine function"):
        decorator(coroutine)


def test_names_to_ignore_may_be_any_where_any_keyword_is_taken() -> None:
    app = python_app(ignore_for_cache=["anything", "walltime"])(lambda **kw: kw)
    assert app.ignore_for_cache == ["anything", "walltime"]


def test_the_lists_given_as_options_are_copied() -> None:
    labels, names = ["a"], ["x"]
    app = python_app(executors=labels, ignore_for_cache=names)(lambda x: x)
    labels.append("b")
    names.append("y")
    assert (app.executors, app.ignore_for_cache) == (["a"], ["x"])


def test_an_app_of_a_module_pickles_by_name() -> None:
    assert pickle.loads(pickle.dumps(double)) is double
    assert cloudpickle.loads(cloudpickle.dumps(double)) is double
    assert copy.deepcopy(double) is double


def test_an_app_that_cannot_be_imported_travels_by_value(kernel: InlineKernel) -> None:
    offset = 10

    @python_app(cache=True, executors=["a"], ignore_for_cache=["x"], data_flow_kernel=kernel)
    def shift(x: int) -> int:
        return x + offset

    back = cloudpickle.loads(cloudpickle.dumps(shift))
    assert back is not shift
    assert back.local(1) == 11
    assert (back.cache, back.executors, back.ignore_for_cache) == (True, ["a"], ["x"])
    assert back.data_flow_kernel is None


def test_a_join_app_travels_by_value() -> None:
    app = join_app(cache=True)(lambda n: [double(i) for i in range(n)])
    back = cloudpickle.loads(cloudpickle.dumps(app))
    assert isinstance(back, JoinApp)
    assert back.cache


def test_an_app_in_a_class_is_a_method(kernel: InlineKernel) -> None:
    class Scale:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        @python_app(data_flow_kernel=kernel)
        def apply(self, x: int, *, plus: int = 0) -> int:
            return self.factor * x + plus

    scale = Scale(3)
    assert scale.apply(2, plus=1).result() == 7
    assert Scale.apply(scale, 2).result() == 6
    assert isinstance(Scale.apply, PythonApp)
    assert scale.apply.local(5) == 15
    assert list(scale.apply.map([1, 2], plus=1)) == [4, 7]
    assert scale.apply.executors == "all"
    assert scale.apply.__name__ == "apply"
    assert "bound <python_app" in repr(scale.apply)
    assert not hasattr(scale.apply, "nothing")


def test_an_app_wraps_a_builtin_that_does_not_tell_its_signature(kernel: InlineKernel) -> None:
    biggest: Any = python_app(data_flow_kernel=kernel)(max)
    assert biggest(1, 3, label="of two").result() == 3


def test_a_bound_app_can_be_pickled() -> None:
    bound = Counter(4).plus
    assert pickle.loads(pickle.dumps(bound)).local(1) == 5


class Counter:
    def __init__(self, start: int) -> None:
        self.start = start

    @python_app
    def plus(self, n: int) -> int:
        return self.start + n
