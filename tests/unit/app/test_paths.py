"""Names under the paths where programs look for them."""

from __future__ import annotations

import treadle
import treadle.errors
from treadle.app import bash_app, errors, futures, join_app, python_app
from treadle.data_provider.data_future import DataFuture


def test_the_errors_of_apps_are_those_of_the_tree() -> None:
    for name in errors.__all__:
        assert getattr(errors, name) is getattr(treadle.errors, name)


def test_the_familiar_paths_lead_to_the_same_objects() -> None:
    assert futures.DataFuture is DataFuture
    assert treadle.python_app is python_app
    assert treadle.bash_app is bash_app
    assert treadle.join_app is join_app
