"""The face of the package: light to import, and every name on it documented."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import treadle
from tests.architecture.house import ROOT

#: Heavy, or of one feature only: loaded when first needed, never by `import treadle`.
HEAVY = (
    "aiohttp",
    "asyncio",
    "cryptography",
    "fsspec",
    "http.client",
    "multiprocessing",
    "numpy",
    "psutil",
    "rich",
    "sqlite3",
    "ssl",
    "urllib.request",
    "uvloop",
)


def test_importing_the_face_loads_nothing_heavy():
    program = f"import sys, treadle; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.strip() == "[]"


def test_importing_the_face_loads_next_to_nothing_of_its_own():
    program = "import sys, treadle; print([m for m in sys.modules if m.startswith('treadle.')])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.strip() == "['treadle._version']"


def test_a_room_is_there_without_an_import_of_its_own():
    program = "import treadle; print(treadle.errors.AppTimeout.__name__, treadle.config.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.split() == ["AppTimeout", "treadle.config"]


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'treadle' has no attribute 'pyton_app'"):
        treadle.pyton_app  # noqa: B018 - asking is the test


def test_the_face_names_what_it_has():
    assert sorted(set(treadle.__all__)) == sorted(treadle.__all__)
    assert [name for name in treadle.__all__ if not hasattr(treadle, name)] == []


@pytest.mark.parametrize("name", treadle.__all__)
def test_a_public_name_has_a_docstring(name):
    thing = getattr(treadle, name)
    if inspect.isclass(thing):
        assert vars(thing).get("__doc__"), "its own, not the one of its base"
    elif callable(thing):
        assert inspect.getdoc(thing)


@pytest.mark.parametrize("name", treadle.__all__)
def test_a_public_name_stands_in_the_reference(name):
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert f"treadle.{name}\n" in page or f"`{name}`" in page
