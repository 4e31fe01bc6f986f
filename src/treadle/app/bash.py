"""Bash apps: functions that return a command line, which bash then runs."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, ParamSpec

from treadle.app._base import App
from treadle.app._command import Command
from treadle.app._options import name_of
from treadle.app._running import cancel_running, kill_running, registered
from treadle.app._special import check_walltime, for_function, read_signature
from treadle.app._streams import echo, opened, read_target, tail
from treadle.errors import (
    AppBadFormatting,
    AppException,
    AppTimeout,
    BashAppNoReturn,
    BashExitFailure,
    MissingOutputs,
)

P = ParamSpec("P")

__all__ = [
    "BashApp",
    "BashRunner",
    "cancel_running",
    "kill_running",
    "remote_side_bash_executor",
]


class BashApp(App[P, int]):
    """An app whose function returns a command line; made by `bash_app`."""

    _kind: ClassVar[str] = "bash_app"
    _all_defaults: ClassVar[bool] = True

    def local(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Call the plain function here and now; returns the command line and runs nothing."""
        line: str = self.func(*args, **kwargs)
        return line

    def _plain_target(self) -> Callable[..., Any]:
        return BashRunner(self.func, self._signature.takes)

    def _special_target(self, call: dict[str, Any]) -> Callable[..., Any]:
        return self._target


class BashRunner:
    """Makes the command line of one bash app and runs it; this is what executors are given."""

    def __init__(self, func: Callable[..., Any], takes: frozenset[str] | None) -> None:
        functools.update_wrapper(self, func)
        #: What identifies the call for the memo table, apart from a Python app of that function.
        self.__memo_func__ = func
        self.__memo_extra__ = "bash"
        self.func = func
        self.takes = takes
        #: For executors with threads: given the identity of the thread that runs a call, ends its
        #: command. An attribute, so that wrappers which copy attributes have it too.
        self.cancel_running: Callable[[int], bool] = cancel_running

    def __call__(self, /, *args: Any, **kwargs: Any) -> int:
        """Run the command; see `remote_side_bash_executor`."""
        name = getattr(self.func, "__name__", None) or name_of(self.func)
        command = Command()
        with registered(command):
            line = _command_line(name, self.func, args, for_function(self.takes, kwargs))
            _run(command, name, line, kwargs)
        _check_outputs(name, kwargs.get("outputs"))
        return 0

    def __reduce__(self) -> Any:
        return BashRunner, (self.func, self.takes)

    def __repr__(self) -> str:
        return f"<run the command of {self.func!r}>"


def remote_side_bash_executor(func: Callable[..., str], /, *args: Any, **kwargs: Any) -> int:
    """Call the function for a command line, run it with bash, and return 0.

    Of the keywords, `stdout`, `stderr`, `walltime` and `outputs` are used here.

    Raises:
        AppBadFormatting: the command line could not be put together, or bash cannot take it.
        BashAppNoReturn: the function returned something other than text.
        BadStdStreamFile: the output cannot be written where the call wants it.
        AppTimeout: the command ran longer than its walltime; all its processes have been ended.
        BashExitFailure: the command failed.
        MissingOutputs: the command ended well without writing all its outputs.
    """
    takes = read_signature(func, all_defaults=False).takes
    return BashRunner(func, takes)(*args, **kwargs)


def _command_line(
    name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str:
    try:
        line = func(*args, **kwargs)
    except (AttributeError, LookupError) as error:  # what str.format raises for a missing part
        raise AppBadFormatting(
            f"the command line of bash_app {name} could not be put together: "
            f"{type(error).__name__}: {error}"
        ) from error
    if isinstance(line, str):
        return line
    raise BashAppNoReturn(
        f"bash_app {name} must return its command line as a str, and returned {line!r}"
        + (" (is there a return statement?)" if line is None else "")
    )


def _run(command: Command, name: str, line: str, kwargs: dict[str, Any]) -> None:
    stdout, stderr = kwargs.get("stdout"), kwargs.get("stderr")
    walltime = kwargs.get("walltime")
    limit_s = None if walltime is None else check_walltime(name, "walltime", walltime)
    timeout = AppTimeout(f"bash_app {name} ran longer than its walltime of {limit_s} s")
    with opened(stdout, stderr) as (out, err):
        echo(err, line)
        try:
            code = command.run(line, stdout=out, stderr=err, limit_s=limit_s, timeout=timeout)
        except (OSError, ValueError) as error:
            raise _not_started(name, line, error) from error
    if code != 0:
        raise _with_tail(BashExitFailure(name, code), stderr)


def _not_started(name: str, line: str, error: Exception) -> Exception:
    if isinstance(error, ValueError) or getattr(error, "errno", None) == errno.E2BIG:
        return AppBadFormatting(
            f"bash_app {name}: the system cannot take its command line of {len(line)} characters "
            f"({error}); write long scripts into a file and run that"
        )
    return AppException(f"bash_app {name}: bash could not be started ({error})")


def _with_tail(failure: BashExitFailure, stderr: object) -> BashExitFailure:
    target = read_target("stderr", stderr)
    if target is not None:
        text = tail(target.path)
        failure.add_note(f"stderr is in {target.path}" + (f", and ends:\n{text}" if text else ""))
    return failure


def _check_outputs(name: str, outputs: Iterable[Any] | None) -> None:
    missing = [file for file in outputs or () if _is_missing(file)]
    if missing:
        raise MissingOutputs(f"bash_app {name} ended well but did not write", missing)


def _is_missing(file: Any) -> bool:
    try:
        path = getattr(file, "filepath", file)
    except ValueError:  # it is elsewhere and was not staged: not ours to see
        return False
    return not os.path.exists(path)
