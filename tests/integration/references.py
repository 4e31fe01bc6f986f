"""The acceptance suite on an executor that takes references, though it needs no second process."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.acceptance import executors_under_test as under_test
from tests.unit.kernel.fake_sink import FakeCluster
from treadle import Config

#: With results as they are, and with copies of them that must be brought before they are loaded.
EXECUTORS: dict[str, Callable[[], Any]] = {
    "references": lambda: FakeCluster("references", threads=4, copies=False),
    "far": lambda: FakeCluster("far", threads=4, is_far=True),
}


def suite(name: str, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The tests and fixtures of a module of the suite, made again for these executors.

    `without`: tests that are about other executors, or say what only those cannot do.
    """
    stand_in = ModuleType(under_test.__name__)
    vars(stand_in).update(vars(under_test))
    stand_in.EXECUTORS = EXECUTORS
    stand_in.IN_PROCESS = ("references",)
    stand_in.config_on = _config_on
    path = Path(under_test.__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"tests.integration.{name}_by_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    sys.modules[under_test.__name__] = stand_in
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules[under_test.__name__] = under_test
    left_out = {name for name in without if name not in vars(module)}
    assert not left_out, f"there are no such tests: {left_out}"
    return {
        key: value
        for key, value in vars(module).items()
        if key not in without and (key.startswith("test_") or type(value).__name__ == _FIXTURE)
    }


_FIXTURE = "FixtureFunctionDefinition"


def _config_on(name: str, run_dir: Any, **options: Any) -> Config:
    return Config([EXECUTORS[name]()], run_dir=run_dir, initialize_logging=False, **options)
