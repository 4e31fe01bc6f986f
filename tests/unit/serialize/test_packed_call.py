"""A call as bytes, its outcome, and exceptions that travel."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from treadle.errors import (
    DeserializationError,
    RemoteError,
    RemoteTraceback,
    SerializationError,
)
from treadle.serialize import (
    Outcome,
    PackedCall,
    dumps_call,
    pack_exception,
    unpack_exception,
    unwrap_outcome,
)


class TwoArguments(Exception):
    """Its constructor wants more than it gives to its base: plain pickle cannot rebuild it."""

    def __init__(self, what: str, code: int):
        super().__init__(f"{what} ({code})")
        self.code = code


class Prefixing(Exception):
    """Plain pickle rebuilds it with another text."""

    def __init__(self, what: str):
        super().__init__(f"<{what}>")


class Holding(Exception):
    """It holds what cannot travel at all."""

    def __init__(self, what: str):
        super().__init__(what)
        self.lock = threading.Lock()


class Hostile(Exception):
    """It comes back only in the process that made it."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __reduce__(self) -> Any:
        raise SystemExit(9)


def fail(error: BaseException) -> None:
    raise error


def there_and_back(error: BaseException) -> BaseException:
    try:
        fail(error)
    except BaseException as raised:
        packed = pack_exception(raised)
    return unpack_exception(pickle.loads(pickle.dumps(packed)))


def run(func: Any, *args: Any) -> Any:
    call = pickle.loads(pickle.dumps(PackedCall(dumps_call(func, args, {}))))
    return unwrap_outcome(pickle.loads(pickle.dumps(call())))


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "text", b"bytes", [1, {"a": (2,)}]])
def test_a_result_comes_back(value: Any) -> None:
    assert run(lambda x: x, value) == value


def test_a_result_of_a_local_class_comes_back() -> None:
    class Local:
        x = 4

    assert run(lambda: Local()).x == 4


def test_one_packed_call_runs_as_often_as_it_is_tried() -> None:
    call = PackedCall(dumps_call(lambda box: box.append(1) or box, ([],), {}))
    assert [unwrap_outcome(call()) for _ in range(3)] == [[1], [1], [1]]


def test_the_original_type_is_raised_with_the_remote_traceback_as_its_cause() -> None:
    with pytest.raises(ZeroDivisionError, match="division by zero") as info:
        run(lambda: 1 / 0)
    cause = info.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "ZeroDivisionError: division by zero" in str(cause)
    assert "_packed.py" not in str(cause), "the engine's own frame is hidden"


@pytest.mark.parametrize("error", [TwoArguments("odd", 7), Prefixing("x")])
def test_an_odd_constructor_is_not_asked(error: Exception) -> None:
    back = there_and_back(error)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.args == error.args
    assert vars(back) == vars(error)


def test_an_odd_exception_within_a_group_comes_back() -> None:
    back = there_and_back(ExceptionGroup("many", [TwoArguments("odd", 7), ValueError("plain")]))
    assert isinstance(back, ExceptionGroup)
    assert isinstance(back.exceptions[0], TwoArguments)


def test_builtin_exceptions_keep_their_fields() -> None:
    back = there_and_back(FileNotFoundError(2, "gone", "/x"))
    assert isinstance(back, FileNotFoundError)
    assert (back.errno, back.filename) == (2, "/x")
    back = there_and_back(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"))
    assert isinstance(back, UnicodeDecodeError)
    assert back.reason == "bad"


def test_notes_come_back() -> None:
    error = ValueError("x")
    error.add_note("a hint")
    assert there_and_back(error).__notes__ == ["a hint"]


def test_what_cannot_travel_comes_as_words() -> None:
    error = Holding("held")
    error.add_note("a hint")
    back = there_and_back(error)
    assert isinstance(back, RemoteError)
    assert back.type_name.endswith("test_packed_call.Holding")
    assert str(back).endswith("Holding: held")
    assert back.__notes__ == ["a hint"]
    assert "in fail" in str(back.__cause__)


def test_a_hostile_exception_harms_nobody() -> None:
    back = there_and_back(Hostile())
    assert isinstance(back, Hostile)
    assert "test_packed_call.Hostile: <exception str() failed>" in str(back.__cause__)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_base_exceptions_are_outcomes_too(error: BaseException) -> None:
    with pytest.raises(type(error)):
        run(fail, error)


def test_causes_and_contexts_are_in_the_text() -> None:
    def chained() -> None:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise ValueError("second") from first

    with pytest.raises(ValueError, match="second") as info:
        run(chained)
    assert "KeyError: 'first'" in str(info.value.__cause__)


def test_an_exception_with_a_cycle_of_causes_is_told() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert "second" in str(there_and_back(first).__cause__)


def test_an_unpicklable_result_is_named() -> None:
    def handles() -> dict[str, Any]:
        return {"handle": threading.Lock()}

    with pytest.raises(SerializationError) as info:
        run(handles)
    assert info.value.what == "the result of handles"
    assert info.value.path == "['handle']"


def test_a_call_that_cannot_be_loaded_fails_its_own_task() -> None:
    with pytest.raises(DeserializationError, match="cannot be loaded"):
        unwrap_outcome(PackedCall(b"torn")())


def test_what_is_no_outcome_is_returned_as_it_is() -> None:
    assert unwrap_outcome([1]) == [1]


def test_bytes_that_cannot_be_loaded_in_the_reader_become_words() -> None:
    packed = pack_exception(ValueError("x"))
    damaged = type(packed)(
        type_name=packed.type_name,
        text=packed.text,
        notes=packed.notes,
        traceback=packed.traceback,
        pickled=b"damaged",
    )
    back = unpack_exception(damaged)
    assert isinstance(back, RemoteError)
    assert str(back) == "ValueError: x"


def test_reprs_are_short() -> None:
    assert repr(PackedCall(b"12")) == "<PackedCall of 2 bytes>"
    assert repr(Outcome(1)) == "<Outcome 1>"
    assert repr(Outcome(pickled=b"12")) == "<Outcome of 2 bytes>"
    assert repr(Outcome(failure=pack_exception(ValueError("x")))) == (
        "<Outcome failed: ValueError: x>"
    )


def test_a_process_pool_survives_every_exception() -> None:
    """The standard pool breaks for ever on an exception that its parent cannot rebuild."""
    kinds = {TwoArguments: ("odd", 7), Prefixing: ("x",), Holding: ("x",), Hostile: ()}

    def raising(kind: type[Exception], args: tuple[Any, ...]) -> None:
        raise kind(*args)

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        calls = [PackedCall(dumps_call(raising, pair, {})) for pair in kinds.items()]
        for kind, future in zip(kinds, [pool.submit(call) for call in calls], strict=True):
            with pytest.raises(RemoteError if kind is Holding else kind):
                unwrap_outcome(future.result())
        alive = pool.submit(PackedCall(dumps_call(lambda: "alive", (), {})))
        assert unwrap_outcome(alive.result()) == "alive"
