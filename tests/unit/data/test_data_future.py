from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from concurrent.futures import CancelledError, Future

import pytest

from treadle.data_provider.data_future import DataFuture
from treadle.data_provider.files import File


def test_it_resolves_to_its_file_when_the_parent_is_done():
    parent = Future()
    file = File("x.txt")
    future = DataFuture(parent, file, tid=7)
    assert not future.done()
    parent.set_result("whatever")
    assert future.result(timeout=5) is file
    assert (future.filepath, future.filename, future.tid) == ("x.txt", "x.txt", 7)
    assert future.file_obj is file
    assert future.parent is parent


def test_a_parent_that_is_done_already_counts():
    parent = Future()
    parent.set_result(None)
    assert DataFuture(parent, File("x")).result(timeout=5) == File("x")


def test_it_fails_with_the_error_of_the_parent():
    parent = Future()
    future = DataFuture(parent, File("x"))
    error = ValueError("bad")
    parent.set_exception(error)
    assert future.exception(timeout=5) is error


def test_it_is_cancelled_with_the_parent():
    parent = Future()
    future = DataFuture(parent, File("x"))
    assert future.cancel()
    assert parent.cancelled()
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result(timeout=5)


def test_it_cannot_be_cancelled_while_the_parent_runs():
    parent = Future()
    parent.set_running_or_notify_cancel()
    future = DataFuture(parent, File("x"))
    assert not future.cancel()
    parent.set_result(None)
    assert future.result(timeout=5) == File("x")


def test_it_listens_where_the_parent_lets_it():
    heard = []

    class Listening(Future):
        def add_listener(self, fn):
            heard.append(fn)

        def add_done_callback(self, fn):
            pytest.fail("a users' callback was used")

    parent = Listening()
    future = DataFuture(parent, File("x"))
    parent.set_result(None)
    heard.pop()(parent)
    assert future.result(timeout=5) == File("x")


def test_it_can_be_awaited():
    async def main():
        parent = Future()
        future = DataFuture(parent, File("x"))
        threading.Timer(0, parent.set_result, [None]).start()
        return await future

    assert asyncio.run(main()) == File("x")


def test_it_stays_in_its_process():
    future = DataFuture(Future(), File("x"))
    assert copy.deepcopy([future]) == [future]
    with pytest.raises(TypeError, match=r"inputs=\[...\]"):
        pickle.dumps(future)


def test_only_a_file_can_be_promised():
    with pytest.raises(TypeError, match="not str"):
        DataFuture(Future(), "x")


def test_its_repr_names_the_file_and_the_task():
    parent = Future()
    future = DataFuture(parent, File("x"), tid=3)
    assert repr(future) == "<DataFuture pending of task 3: File('x')>"
