"""Running a program as Python itself would, with `parsl` in its imports meaning Treadle.

The program gets a `__main__` of its own, with the `sys.argv` and `sys.path` it would have had.
What it raises is shown without our frames, and its exit code is Python's: the error goes on to
the interpreter, which finds it already printed.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import os
import runpy
import sys
from collections.abc import Callable
from types import CodeType, ModuleType, TracebackType
from typing import Any, NoReturn

from treadle.compat.parsl._finder import install

_USAGE = """\
usage: python -m treadle.compat.parsl script.py [argument ...]
       python -m treadle.compat.parsl -m module [argument ...]
       python -m treadle.compat.parsl -c code [argument ...]

Runs a program written for Parsl on Treadle, without changing it.
"""


def main(argv: list[str]) -> None:
    """Run the program that the arguments name; returns when it has ended well."""
    if not argv or argv[0] in ("-h", "--help"):
        sys.stdout.write(_USAGE)
        raise SystemExit(0 if argv else 2)
    install()
    if argv[0] == "-c":
        _run_code(argv[1:])
    elif argv[0] == "-m":
        _run_module(argv[1:])
    elif argv[0].startswith("-"):
        _fail(f"unknown option {argv[0]}\n{_USAGE}", 2)
    else:
        _run_script(argv)


def _run_script(argv: list[str]) -> None:
    script = os.path.abspath(argv[0])
    if os.path.isdir(script) or script.endswith((".zip", ".pyz")):
        # A folder or an archive with a __main__.py inside; it comes first on the path.
        _set_up(argv, script)
        runpy.run_path(script, run_name="__main__")
        return
    _set_up(argv, os.path.dirname(os.path.realpath(script)))
    loader = importlib.machinery.SourceFileLoader("__main__", script)
    try:
        source = loader.get_data(script)
    except OSError as error:
        _fail(f"can't open file {script!r}: [Errno {error.errno}] {error.strerror}", 2)
    main_module = _new_main(__file__=script, __loader__=loader)
    _execute(main_module, lambda: compile(source, script, "exec", dont_inherit=True))


def _run_module(argv: list[str]) -> None:
    if not argv:
        _fail("argument expected for the -m option", 2)
    # Python, run with -m itself, has put the working directory first on the path.
    name = argv[0]
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name += ".__main__"
            spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        _fail(str(error), 1)
    if spec is None or not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
        _fail(f"No module named {name}", 1)
    loader, origin = spec.loader, spec.origin
    sys.argv = [origin or name, *argv[1:]]
    main_module = _new_main(
        __file__=origin,
        __loader__=loader,
        __spec__=spec,
        __package__=spec.parent,
        __cached__=spec.cached,
    )
    _execute(main_module, lambda: loader.get_code(name))


def _run_code(argv: list[str]) -> None:
    if not argv:
        _fail("argument expected for the -c option", 2)
    _set_up(["-c", *argv[1:]], "")
    _execute(_new_main(), lambda: compile(argv[0], "<string>", "exec", dont_inherit=True))


def _set_up(argv: list[str], first_path: str) -> None:
    sys.argv = argv
    if not sys.flags.safe_path:
        sys.path[0] = first_path


def _new_main(**attributes: Any) -> ModuleType:
    module = ModuleType("__main__")
    vars(module).update({"__builtins__": builtins, "__annotations__": {}, **attributes})
    sys.modules["__main__"] = module
    return module


def _execute(module: ModuleType, code: Callable[[], CodeType | None]) -> None:
    try:
        exec(code() or "", vars(module))
    except SystemExit:
        raise
    except BaseException as error:
        error.__traceback__ = _without_ours(error.__traceback__, module)
        _show(error)
        # Python ends as it would have: exit code 1, or the signal after Ctrl-C.
        sys.excepthook = _already_shown
        raise


def _without_ours(trace: TracebackType | None, module: ModuleType) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_globals is not vars(module):
        trace = trace.tb_next
    return trace


def _show(error: BaseException) -> None:
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:  # noqa: BLE001 - a hook of the program's
        sys.__excepthook__(type(error), error, error.__traceback__)


def _already_shown(*_: object) -> None:
    """Stands as `sys.excepthook` when the error has been printed."""


def _fail(text: str, code: int) -> NoReturn:
    sys.stderr.write(f"{sys.executable}: {text}\n")
    raise SystemExit(code)
