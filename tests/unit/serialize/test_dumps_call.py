"""Calls as bytes: what goes by reference, what by value, and what is said when neither works."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from treadle.errors import DeserializationError, SerializationError
from treadle.serialize import dumps, dumps_call, find_unpicklable, loads


def add(a: int, b: int = 1, *rest: Any, scale: Any = None) -> int:
    return a + b


class Session:
    def __init__(self) -> None:
        self.name = "s"
        self._lock = threading.Lock()


class Model:
    def __init__(self) -> None:
        self.weights = [1, 2, 3]
        self.session = Session()


class Decorated:
    """Stands where a decorated function stood, as apps do."""

    def __init__(self, func: Any) -> None:
        self.func = func


@Decorated
def decorated(x: int) -> int:
    return x + helper_of_decorated


helper_of_decorated = 1


def test_a_call_of_importable_things_is_plain_pickle() -> None:
    payload = dumps_call(add, (1, [2, {"x": (3,)}]), {"scale": 2.0})
    assert b"cloudpickle" not in payload
    assert loads(payload) == (add, (1, [2, {"x": (3,)}]), {"scale": 2.0})


def test_a_lambda_and_a_closure_travel_by_value() -> None:
    offset = 10

    def shifted(x: int) -> int:
        return x + offset

    func, args, _ = loads(dumps_call(shifted, (lambda: 5,), {}))
    assert func(1) == 11
    assert args[0]() == 5


def test_a_decorated_function_is_named_by_its_app() -> None:
    payload = dumps_call(decorated.func, (1,), {})
    assert b"cloudpickle" not in payload
    assert loads(payload)[0] is decorated.func


def test_a_decorated_function_is_named_by_its_app_beside_a_lambda() -> None:
    func, args, _ = loads(dumps_call(decorated.func, (lambda: 1,), {}))
    assert func is decorated.func
    assert args[0]() == 1


def test_an_argument_that_cannot_be_pickled_is_named_with_the_path_to_the_bad_leaf() -> None:
    with pytest.raises(SerializationError) as info:
        dumps_call(add, (1,), {"scale": Model()})
    error = info.value
    assert error.what == "the call of add"
    assert error.path == "argument 'scale' -> .session._lock"
    assert error.reason.startswith("a _thread.lock: ")
    assert "argument 'scale' -> .session._lock" in str(error)
    assert error.__cause__ is not None


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ((1, threading.Lock()), "argument 'b'"),
        ((1, 2, 3, threading.Lock()), "argument 'rest[1]'"),
        (([0, {"k": threading.Lock()}],), "argument 'a' -> [1]['k']"),
    ],
)
def test_a_positional_argument_is_named_by_the_signature(args: Any, path: str) -> None:
    with pytest.raises(SerializationError) as info:
        dumps_call(add, args, {})
    assert info.value.path == path


def test_arguments_of_a_function_without_signature_are_numbered() -> None:
    with pytest.raises(SerializationError) as info:
        dumps_call(dict.fromkeys, ([1], threading.Lock()), {})
    assert info.value.path in ("argument 1", "argument 'value'")


def test_a_closure_variable_that_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()

    def locked() -> None:
        with lock:
            pass

    with pytest.raises(SerializationError) as info:
        dumps_call(locked, (), {})
    assert info.value.path == "function 'locked' -> (closure variable 'lock')"


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), GeneratorExit(), KeyError()])
def test_whatever_a_reduce_raises_is_told_as_a_serialization_error(error: BaseException) -> None:
    class Bad:
        def __reduce__(self) -> Any:
            raise error

    with pytest.raises(SerializationError) as info:
        dumps_call(add, (1, [Bad()]), {})
    assert info.value.path == "argument 'b' -> [0]"
    assert "Bad" in info.value.reason


def test_an_exception_whose_text_raises_does_not_escape() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    class Bad:
        def __reduce__(self) -> Any:
            raise Mute

    with pytest.raises(SerializationError, match="argument 'a'"):
        dumps_call(add, (Bad(),), {})


def test_an_object_nested_too_deeply_is_a_serialization_error() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SerializationError, match="nested too deeply") as info:
        dumps_call(add, (deep,), {})
    assert info.value.path == "argument 'a'"
    while deep:  # take it apart: freeing it at once would recurse too
        deep = deep[0]


def test_cycles_are_pickled_and_searched() -> None:
    good: list[Any] = [1]
    good.append(good)
    again = loads(dumps(good))
    assert again[1] is again
    bad: dict[str, Any] = {"me": None, "lock": threading.Lock()}
    bad["me"] = bad
    assert find_unpicklable(bad) == (
        "['lock']",
        "a _thread.lock: cannot pickle '_thread.lock' object",
    )


def test_a_good_object_has_no_unpicklable_part() -> None:
    assert find_unpicklable({"a": [1, lambda: 2]}) is None


def test_state_that_a_class_leaves_out_is_not_accused() -> None:
    class Careful:
        def __init__(self) -> None:
            self._lock = threading.Lock()
            self.handle = threading.Lock()

        def __getstate__(self) -> dict[str, Any]:
            return {"handle": self.handle}

    found = find_unpicklable(Careful())
    assert found is not None
    assert found[0] == ".handle"


def test_slots_are_searched() -> None:
    class Slotted:
        __slots__ = ("lock",)

        def __init__(self) -> None:
            self.lock = threading.Lock()

    found = find_unpicklable([Slotted()])
    assert found is not None
    assert found[0] == "[0].lock"


def test_the_search_ends_on_a_huge_object() -> None:
    huge = [[i] for i in range(100_000)] + [threading.Lock()]  # type: ignore[list-item]
    found = find_unpicklable(huge)
    assert found is not None
    assert "list" in found[1]


def test_bytes_that_cannot_be_loaded_are_a_deserialization_error() -> None:
    with pytest.raises(DeserializationError, match="5 bytes"):
        loads(b"never")
    payload = pickle.dumps(add).replace(b"add", b"odd")
    with pytest.raises(DeserializationError, match="odd"):
        loads(payload)


def test_ctrl_c_in_the_main_thread_is_not_swallowed() -> None:
    class Interrupted:
        def __reduce__(self) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dumps_call(add, (Interrupted(),), {})


def run(folder: Path, *argv: str) -> str:
    done = subprocess.run(
        [sys.executable, *argv], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_main_and_modules_beside_the_script_travel_by_value(tmp_path: Path) -> None:
    """The other process has neither `__main__` nor the folder of the script."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "beside.py").write_text("FACTOR = 7\ndef times(x):\n    return x * FACTOR\n")
    (project / "script.py").write_text(
        textwrap.dedent(
            """
            import sys
            import beside
            from beside import times
            from treadle.serialize import dumps_call

            class Point:
                def __init__(self, x):
                    self.x = x

            def compute(point):
                return times(point.x) + beside.times(0)

            with open(sys.argv[1], "wb") as f:
                f.write(dumps_call(compute, (Point(6),), {}))
            """
        )
    )
    run(project, "script.py", str(tmp_path / "call"))
    code = (
        "import sys; from treadle.serialize import loads; f, a, k = loads(open('call', 'rb')"
        ".read()); print(f(*a, **k), 'beside' in sys.modules)"
    )
    assert run(tmp_path, "-c", code) == "42 False\n"


def test_a_module_beside_the_script_that_cannot_travel_goes_by_name(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text(
        "import threading\nLOCK = threading.Lock()\ndef f():\n    with LOCK:\n        return 3\n"
    )
    (tmp_path / "script.py").write_text(
        "import beside, sys\ndef by_module():\n    return beside.f()\nfrom treadle.serialize import dumps_call, loads\n"
        "f, a, k = loads(dumps_call(beside.f, (), {}))\n"
        "print(f(), f is beside.f, loads(dumps_call(by_module, (), {}))[0]())\n"
    )
    assert run(tmp_path, "script.py") == "3 True 3\n"
