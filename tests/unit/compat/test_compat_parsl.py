"""Parsl's names: found through one table, and said to be missing where they are."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import treadle.errors
from treadle.compat import parsl
from treadle.compat.parsl import _lookup
from treadle.compat.parsl._table import TABLE

ENV = {k: v for k, v in os.environ.items() if k != "TREADLE_COMPAT_PARSL"}


def run(
    *argv: str, cwd: Path, python: tuple[str, ...] = (), check: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *python, *argv], cwd=cwd, capture_output=True, text=True, env=ENV
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def run_compat(*argv: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run(*argv, cwd=cwd, python=("-m", "treadle.compat.parsl"), check=check)


def script(folder: Path, text: str, name: str = "script.py") -> str:
    (folder / name).write_text(textwrap.dedent(text))
    return name


# --- the table ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(TABLE))
def test_each_name_of_the_table_is_here_or_says_that_it_is_not(path: str) -> None:
    full = f"treadle.compat.parsl.{path}".rstrip(".")
    if not _lookup.exists(path):
        with pytest.raises(ModuleNotFoundError, match=r"Treadle does not have parsl.* yet"):
            importlib.import_module(full)
        return
    module = importlib.import_module(full)
    here = set(_lookup.available(path))
    assert set(module.__all__) >= here or not path
    for name in TABLE[path].names:
        if name in here:
            getattr(module, name)
        else:
            with pytest.raises(AttributeError, match=f"Treadle does not have parsl.*{name} yet"):
                getattr(module, name)
            with pytest.raises(ImportError, match=f"Treadle does not have parsl.*{name} yet"):
                exec(f"from {full} import {name}")


@pytest.mark.parametrize("path", sorted(TABLE))
def test_every_parent_of_a_row_is_a_row(path: str) -> None:
    assert path.rpartition(".")[0] in TABLE


def test_what_this_version_has_to_have_is_there() -> None:
    for name in (
        "app.app.python_app", "app.app.bash_app", "app.app.join_app",
        "app.errors.BashExitFailure", "app.errors.AppTimeout", "app.errors.MissingOutputs",
        "app.futures.DataFuture", "concurrent.ParslPoolExecutor", "config.Config",
        "configs.htex_local.config", "configs.local_threads.config", "dataflow.dependency_resolvers.DEEP_DEPENDENCY_RESOLVER",
        "dataflow.dflow.DataFlowKernel", "dataflow.dflow.DataFlowKernelLoader",
        "dataflow.errors.DependencyError", "dataflow.errors.JoinError",
        "dataflow.errors.BadCheckpoint", "dataflow.futures.AppFuture",
        "dataflow.memoization.id_for_memo", "dataflow.memoization.BasicMemoizer",
        "dataflow.memoization.Memoizer", "dataflow.states.States",
        "dataflow.states.FINAL_STATES", "dataflow.taskrecord.TaskRecord",
        "data_provider.data_manager.default_staging", "data_provider.file_noop.NoOpFileStaging",
        "data_provider.files.File", "data_provider.ftp.FTPInTaskStaging",
        "data_provider.globus.GlobusStaging", "data_provider.http.HTTPInTaskStaging",
        "data_provider.rsync.RSyncStaging", "data_provider.staging.Staging",
        "data_provider.zip.ZipFileStaging", "errors.ConfigurationError",
        "errors.NoDataFlowKernelError", "executors.ThreadPoolExecutor",
        "dataflow.job_error_handler.JobErrorHandler", "executors.HighThroughputExecutor",
        "executors.high_throughput.executor.HighThroughputExecutor",
        "executors.high_throughput.manager_selector.RandomManagerSelector",
        "executors.status_handling.BlockProviderExecutor",
        "executors.status_handling.NoStatusHandlingExecutor",
        "jobs.error_handlers.noop_error_handler", "jobs.error_handlers.simple_error_handler",
        "jobs.error_handlers.windowed_error_handler", "jobs.errors.TooManyJobFailuresError",
        "jobs.states.JobState", "jobs.states.JobStatus", "launchers.SimpleLauncher",
        "launchers.SingleNodeLauncher", "launchers.WrappedLauncher", "launchers.base.Launcher",
        "launchers.errors.BadLauncher", "providers.LocalProvider",
        "providers.base.ExecutionProvider", "providers.provider_base.JobState",
        "executors.base.ParslExecutor", "executors.errors.UnsupportedFeatureError",
        "executors.threads.ThreadPoolExecutor", "log_utils.set_stream_logger",
        "logconfigs.base.LogConfig", "logconfigs.file.FileLogging",
        "logconfigs.json.JSONLogging", "logconfigs.noop.NoopLogging", "serialize.serialize",
        "serialize.errors.SerializationError", "usage_tracking.levels.LEVEL_1",
        "utils.get_all_checkpoints", "utils.get_last_checkpoint", "version.VERSION",
    ):  # fmt: skip
        path, _, attribute = name.rpartition(".")
        assert _lookup.find(path, attribute) is not _lookup.MISSING, name
    assert set(_lookup.available("")) >= {
        "python_app", "bash_app", "join_app", "Config", "DataFlowKernel", "File", "load", "clear",
        "dfk", "wait_for_current_tasks", "AUTO_LOGNAME", "set_stream_logger", "set_file_logger",
        "ThreadPoolExecutor", "HighThroughputExecutor",
    }  # fmt: skip


# --- import treadle.compat.parsl as parsl ------------------------------------------------------


def test_submodules_are_attributes() -> None:
    assert parsl.dataflow.states.States.exec_done == 3
    assert parsl.app.errors.AppTimeout is treadle.errors.AppTimeout
    assert parsl.AUTO_LOGNAME == -1
    assert "dataflow" in dir(parsl)
    assert "states" in dir(parsl.dataflow)


def test_submodules_can_be_imported() -> None:
    from treadle.compat.parsl.app.errors import BashExitFailure
    from treadle.compat.parsl.logconfigs import json

    assert BashExitFailure is treadle.errors.BashExitFailure
    assert json.JSONLogging.__module__ == "treadle.log_config"


def test_a_name_that_neither_has_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = parsl.nonsense
    with pytest.raises(ImportError, match="cannot import name 'nonsense'"):
        exec("from treadle.compat.parsl.app.errors import nonsense")
    with pytest.raises(ModuleNotFoundError, match="No module named"):
        importlib.import_module("treadle.compat.parsl.nonsense")


def test_without_install_parsl_is_not_ours() -> None:
    assert not parsl.is_installed()
    assert "parsl" not in sys.modules


def test_install_and_uninstall(tmp_path: Path) -> None:
    code = """
        import os, pickle, sys
        from treadle.compat.parsl import install, is_installed, uninstall
        install(); install()
        import parsl.dataflow.states as states
        from parsl import *
        assert File.__module__.startswith("treadle")
        assert os.environ["TREADLE_COMPAT_PARSL"] == "1"
        assert pickle.loads(b"cparsl.dataflow.states\\nStates\\n.") is states.States
        uninstall(); uninstall()
        assert not is_installed() and "TREADLE_COMPAT_PARSL" not in os.environ
        assert "parsl" not in sys.modules
    """
    run(script(tmp_path, code), cwd=tmp_path)


def test_install_refuses_when_another_parsl_is_imported(tmp_path: Path) -> None:
    (tmp_path / "parsl").mkdir()
    (tmp_path / "parsl" / "__init__.py").write_text("real = True\n")
    code = """
        from treadle.compat.parsl import install, install_from_environment
        import parsl
        assert parsl.real
        try:
            install()
        except ImportError as error:
            assert "before the first" in str(error)
        else:
            raise AssertionError
        import os
        os.environ["TREADLE_COMPAT_PARSL"] = "1"
        assert not install_from_environment()
    """
    run(script(tmp_path, code), cwd=tmp_path)


def test_a_worker_installs_from_the_environment(tmp_path: Path) -> None:
    code = """
        import os, subprocess, sys
        from treadle.compat.parsl import install, install_from_environment
        assert not install_from_environment()
        install()
        child = ("from treadle.compat.parsl import install_from_environment as i; assert i();"
                 "import parsl.app.errors; print(parsl.app.errors.AppTimeout.__module__)")
        sys.stdout.write(subprocess.check_output([sys.executable, "-c", child], text=True))
    """
    assert run(script(tmp_path, code), cwd=tmp_path).stdout == "treadle.errors\n"


# --- python -m treadle.compat.parsl ------------------------------------------------------------

ABOUT_MAIN = """
    import sys
    print(sys.argv, sys.path[0], __name__, __package__, sys.modules["__main__"].__dict__ is globals())
    print(globals().get("__file__"), globals().get("__spec__") is None, __builtins__, __doc__)
"""


def test_a_script_sees_what_it_would_see(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "beside.py").write_text("")
    name = "inner/" + script(inner, ABOUT_MAIN + "    import beside\n")
    expected = run(name, "a", "-b", cwd=tmp_path).stdout
    assert run_compat(name, "a", "-b", cwd=tmp_path).stdout == expected


def test_code_sees_what_it_would_see(tmp_path: Path) -> None:
    code = textwrap.dedent(ABOUT_MAIN)
    expected = run("-c", code, "a", cwd=tmp_path).stdout
    assert run_compat("-c", code, "a", cwd=tmp_path).stdout == expected


def test_a_module_sees_what_it_would_see(tmp_path: Path) -> None:
    package = tmp_path / "pack"
    package.mkdir()
    script(package, "", "__init__.py")
    script(package, ABOUT_MAIN + "    from . import other\n", "__main__.py")
    script(package, "", "other.py")
    for name in ("pack", "pack.__main__"):
        expected = run("-m", name, "a", cwd=tmp_path).stdout
        assert run_compat("-m", name, "a", cwd=tmp_path).stdout == expected


def test_a_folder_with_a_main_runs(tmp_path: Path) -> None:
    (tmp_path / "program").mkdir()
    script(tmp_path / "program", "import parsl.version; print(__name__)", "__main__.py")
    assert run_compat("program", cwd=tmp_path).stdout == "__main__\n"


@pytest.mark.parametrize(
    "text",
    [
        "import sys; sys.exit(7)",
        "import sys; sys.exit('a message')",
        "import sys; sys.exit()",
        "raise SystemExit(3)",
        "def f():\n    1 / 0\n\nf()",
        "try:\n    {}[1]\nexcept KeyError as e:\n    raise ValueError('x') from e",
        "def (",
        "import atexit; atexit.register(print, 'at exit'); raise OSError('x')",
        "import sys; sys.excepthook = lambda *a: print('hook', a[1]); 1 / 0",
        "import threading; threading.Timer(0.1, print, ['thread']).start(); 1 / 0",
        "import os; os._exit(5)",
        "raise KeyboardInterrupt",
    ],
)
def test_a_program_ends_as_it_would(tmp_path: Path, text: str) -> None:
    name = script(tmp_path, text)
    expected = run(name, cwd=tmp_path, check=False)
    got = run_compat(name, cwd=tmp_path, check=False)
    assert (got.returncode, got.stdout, got.stderr) == (
        expected.returncode,
        expected.stdout,
        expected.stderr,
    )


def test_ctrl_c_ends_it_by_the_signal(tmp_path: Path) -> None:
    name = script(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGINT)\nwhile 1: pass")
    assert run_compat(name, cwd=tmp_path, check=False).returncode == -signal.SIGINT


def test_a_missing_script_and_a_missing_module_fail_as_pythons(tmp_path: Path) -> None:
    for argv in (["nowhere.py"], ["-m", "nowhere"], ["-m", "no.where"]):
        expected = run(*argv, cwd=tmp_path, check=False)
        got = run_compat(*argv, cwd=tmp_path, check=False)
        assert got.returncode == expected.returncode
        assert got.stderr.splitlines()[-1:] != []
        assert "Traceback" not in got.stderr


def test_without_a_program_it_says_how(tmp_path: Path) -> None:
    assert run_compat(cwd=tmp_path, check=False).returncode == 2
    assert run_compat("-m", cwd=tmp_path, check=False).returncode == 2
    assert run_compat("-c", cwd=tmp_path, check=False).returncode == 2
    assert run_compat("-x", cwd=tmp_path, check=False).returncode == 2
    done = run_compat("--help", cwd=tmp_path)
    assert "usage" in done.stdout


def test_a_parsl_that_is_installed_is_passed_over_only_in_this_mode(tmp_path: Path) -> None:
    (tmp_path / "parsl").mkdir()
    (tmp_path / "parsl" / "__init__.py").write_text("__version__ = 'real'\n")
    name = script(tmp_path, "import parsl; print(parsl.__version__)")
    assert run(name, cwd=tmp_path).stdout == "real\n"
    assert run_compat(name, cwd=tmp_path).stdout == f"{parsl.__version__}\n"


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_children_of_multiprocessing_have_it_too(tmp_path: Path, method: str) -> None:
    """A spawned child imports the script, and so `parsl`, before anything else."""
    text = f"""
        import multiprocessing
        from parsl.app.errors import AppTimeout

        def child():
            import parsl.dataflow.states
            return AppTimeout.__module__, parsl.dataflow.states.States.exec_done

        if __name__ == "__main__":
            with multiprocessing.get_context("{method}").Pool(1) as pool:
                print(pool.apply(child))
    """
    done = run_compat(script(tmp_path, text), cwd=tmp_path)
    assert "treadle.errors" in done.stdout


def test_a_call_that_uses_the_module_parsl_runs_in_another_process(tmp_path: Path) -> None:
    text = """
        import subprocess, sys
        import parsl.app.errors
        from treadle.serialize import PackedCall, dumps_call

        def fails():
            raise parsl.app.errors.AppTimeout("there")

        with open("call", "wb") as f:
            f.write(dumps_call(fails, (), {}))
        code = '''if 1:
            from treadle.compat.parsl import install_from_environment
            install_from_environment()
            from treadle.serialize import PackedCall
            print(PackedCall(open("call", "rb").read())())
        '''
        sys.stdout.write(subprocess.check_output([sys.executable, "-c", code], text=True))
    """
    done = run_compat(script(tmp_path, text), cwd=tmp_path)
    assert done.stdout == "<Outcome failed: treadle.errors.AppTimeout: there>\n"


def test_the_logger_parsl_is_treadles(tmp_path: Path) -> None:
    code = """
        import io, logging, parsl
        out = io.StringIO()
        undo = parsl.set_stream_logger(level=logging.INFO, stream=out, format_string="%(message)s")
        logging.getLogger("parsl").info("mine")
        logging.getLogger("treadle.x").info("ours")
        logging.getLogger("parsl.inner").debug("too small")
        undo()
        logging.getLogger("parsl").info("after")
        undo = parsl.set_file_logger("log", format_string="%(message)s")
        logging.getLogger("parsl.inner").debug("small")
        undo()
        print(out.getvalue() + open("log").read(), end="")
    """
    assert run_compat(script(tmp_path, code), cwd=tmp_path).stdout == "mine\nours\nsmall\n"


def test_serialize_has_parsls_argument_names() -> None:
    from treadle.compat.parsl.serialize import (
        deserialize,
        pack_apply_message,
        serialize,
        unpack_apply_message,
    )

    assert deserialize(serialize({"a": 1}, buffer_threshold=3)) == {"a": 1}
    packed = pack_apply_message(pow, (2, 3), {}, buffer_threshold=10)
    func, args, kwargs = unpack_apply_message(packed)
    assert func(*args, **kwargs) == 8


def test_the_table_is_data() -> None:
    row: Any
    for row in TABLE.values():
        assert all(name.isidentifier() for name in row.names)
        assert all(home.startswith("treadle.") for home in row.homes)
