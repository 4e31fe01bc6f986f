from __future__ import annotations

import inspect
import pickle

import cloudpickle
import pytest

from tests.unit.data.fake_kernel import FakeKernel
from treadle.data_provider.files import File
from treadle.data_provider.http import HTTPInTaskStaging
from treadle.data_provider.prepare import prepare_files


class Runner:
    """A callable with more to it than the call, as the one of bash apps is."""

    def __init__(self):
        self.__memo_func__ = len
        self.__memo_extra__ = "bash"

    def __call__(self, *args, **kwargs):
        return args

    def cancel_running(self, thread_id):
        return f"cancelled in {thread_id}"


def head(first, second, *, n=3):
    """The first lines."""


def wrapped(func):
    kernel = FakeKernel([HTTPInTaskStaging()], working_dir="w")
    files = (File("http://h/a"), File("http://h/b"))
    call = prepare_files(kernel.dm, files, {}, func, "threads", None, 0)
    assert [file.filepath for file in call.args] == ["w/a", "w/b"]
    return call.func


def test_it_looks_like_the_function_and_is_that_function_for_memo_keys():
    func = wrapped(head)
    assert func is not head
    assert func.__memo_func__ is head
    assert (func.__name__, func.__doc__) == ("head", "The first lines.")
    assert inspect.signature(func) == inspect.signature(head)


def test_what_a_runner_says_and_can_do_stays():
    func = wrapped(Runner())
    assert func.__memo_func__ is len
    assert func.__memo_extra__ == "bash"
    assert func.cancel_running(7) == "cancelled in 7"
    with pytest.raises(AttributeError, match="nonsense"):
        _ = func.nonsense
    assert not hasattr(func, "_nonsense")


@pytest.mark.parametrize("library", [pickle, cloudpickle], ids=lambda m: m.__name__)
def test_it_travels(library):
    for func in (head, Runner()):
        again = pickle.loads(library.dumps(wrapped(func)))
        assert again.__name__ == "head" if func is head else again.cancel_running(1)
