"""Retries by count, and by a handler that prices each failure."""

import os

import parsl
from parsl import bash_app, python_app
from parsl.app.errors import BashExitFailure
from parsl.config import Config


@python_app
def works_at(attempt, counter):
    with open(counter, "a") as f:
        f.write("x")
    tries = os.path.getsize(counter)
    if tries < attempt:
        raise RuntimeError(f"attempt {tries}")
    return tries


@bash_app
def fails_with(code, counter):
    return f"printf x >> {counter}; exit {code}"


with parsl.load(Config(retries=2)):
    assert works_at(3, os.path.abspath("a")).result() == 3
    error = works_at(5, os.path.abspath("b")).exception()
    assert isinstance(error, RuntimeError)
    assert str(error) == "attempt 3"
    failing = fails_with(7, os.path.abspath("c"))
    assert isinstance(failing.exception(), BashExitFailure)
    assert failing.exception().exitcode == 7
    assert os.path.getsize("c") == 3

seen = []


def price(exception, task_record):
    seen.append((type(exception).__name__, task_record["func_name"]))
    if isinstance(exception, BashExitFailure) and exception.exitcode == 9:
        return 100
    return 0.5


with parsl.load(Config(retries=2, retry_handler=price)):
    assert isinstance(fails_with(9, os.path.abspath("d")).exception(), BashExitFailure)
    assert os.path.getsize("d") == 1, "too dear to be tried again"
    assert isinstance(fails_with(1, os.path.abspath("e")).exception(), BashExitFailure)
    assert os.path.getsize("e") == 5, "four retries for half a point each"
    assert seen[0] == ("BashExitFailure", "fails_with")
    assert len(seen) == 6
print("OK")
