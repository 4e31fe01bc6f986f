"""The ways in which a Bash app can fail, and a limit on its time."""

import os

import parsl
from parsl import File, bash_app, python_app
from parsl.app.errors import (
    AppException,
    AppTimeout,
    BadStdStreamFile,
    BashAppNoReturn,
    BashExitFailure,
    MissingOutputs,
)
from parsl.errors import ParslError


@bash_app
def exits(code):
    return f"exit {code}"


@bash_app
def returns_nothing():
    pass


@bash_app
def forgets(outputs=()):
    return "true"


@bash_app
def sleeps(seconds, walltime=None):
    return f"sleep {seconds}"


@bash_app
def says(stdout=None):
    return "echo hi"


@bash_app
def raises():
    raise OSError("in the body")


@python_app
def counts_for_ever(walltime=None):
    n = 0
    while True:
        n += 1


with parsl.load():
    error = exits(3).exception()
    assert isinstance(error, BashExitFailure)
    assert isinstance(error, AppException)
    assert isinstance(error, ParslError)
    assert error.exitcode == 3
    assert error.app_name == "exits"
    assert "3" in str(error)
    assert exits(0).result() == 0

    assert isinstance(returns_nothing().exception(), (BashAppNoReturn, ValueError))
    missing = File(os.path.abspath("never.txt"))
    error = forgets(outputs=[missing]).exception()
    assert isinstance(error, MissingOutputs)
    assert len(error.outputs) == 1
    assert isinstance(sleeps(2, walltime=0.3).exception(), AppTimeout)
    assert sleeps(0, walltime=20).result() == 0
    os.mkdir("a-directory")
    assert isinstance(says(stdout="a-directory").exception(), BadStdStreamFile)
    assert isinstance(raises().exception(), OSError)
    assert isinstance(counts_for_ever(walltime=0.3).exception(), AppTimeout)
print("OK")
