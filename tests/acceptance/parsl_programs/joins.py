"""Join apps: of one future, of a list, of nothing, recursive, and of failures."""

import parsl
from parsl import join_app, python_app
from parsl.config import Config
from parsl.dataflow.errors import JoinError
from parsl.executors.threads import ThreadPoolExecutor

parsl.load(Config(executors=[ThreadPoolExecutor(max_threads=3)]))


@python_app
def add(*args):
    return sum(args)


@python_app
def fail(text):
    raise ValueError(text)


@join_app
def one(x):
    return add(x, 1)


@join_app
def several(n):
    return [add(i, i) for i in range(n)]


@join_app
def fibonacci(n):
    if n <= 1:
        return add(n)
    return add(fibonacci(n - 1), fibonacci(n - 2))


@join_app
def failing(count):
    return [fail(f"number {i}") for i in range(count)] + [add(1)]


@join_app
def no_future():
    return 3


@join_app
def raises():
    raise KeyError("in the body")


assert one(1).result() == 2
assert several(4).result() == [0, 2, 4, 6]
assert several(0).result() == []
assert fibonacci(9).result() == 34
assert add(one(1), one(2)).result() == 5

error = failing(2).exception()
assert isinstance(error, JoinError)
assert len(error.dependent_exceptions_tids) == 2
assert isinstance(error.dependent_exceptions_tids[0][0], ValueError)
assert isinstance(error.__cause__, ValueError)

assert isinstance(no_future().exception(), TypeError)
assert isinstance(raises().exception(), KeyError)

parsl.dfk().cleanup()
print("OK")
