"""A kernel behind the interface of concurrent.futures."""

from concurrent.futures import Executor, as_completed, wait

import parsl
from parsl import python_app
from parsl.concurrent import ParslPoolExecutor
from parsl.config import Config
from parsl.executors import ThreadPoolExecutor


def square(x):
    return x * x


def add(x, y):
    return x + y


def config():
    return Config(executors=[ThreadPoolExecutor(max_threads=3)])


with ParslPoolExecutor(config()) as pool:
    assert isinstance(pool, Executor)
    assert pool.submit(square, 7).result() == 49
    assert list(pool.map(square, range(10))) == [x * x for x in range(10)]
    assert list(pool.map(add, range(5), range(5, 10), timeout=60)) == [5, 7, 9, 11, 13]
    chained = pool.submit(add, pool.submit(square, 2), pool.submit(square, y := 3))
    assert chained.result() == 13
    done, pending = wait([pool.submit(square, i) for i in range(4)])
    assert len(done) == 4
    assert not pending
    assert sorted(f.result() for f in as_completed([pool.submit(square, i) for i in (1, 2)])) == [
        1,
        4,
    ]
    assert pool.app_count == 2
    app = pool.get_app(square)
    assert app(5).result() == 25
    assert pool.app_count == 2

try:
    pool.submit(square, 1)
except RuntimeError:
    pass
else:
    raise AssertionError("submit after shutdown must raise")

for arguments in ({}, {"config": config(), "dfk": object()}):
    try:
        ParslPoolExecutor(**arguments)
    except ValueError:
        pass
    else:
        raise AssertionError("exactly one of config and dfk")


@python_app
def plus_one(x):
    return x + 1


with parsl.load(config()) as kernel:
    with ParslPoolExecutor(dfk=kernel, executors=["threads"]) as pool:
        assert plus_one(pool.submit(square, 3)).result() == 10
    assert plus_one(1).result() == 2, "a kernel that the pool was given goes on"
print("OK")
