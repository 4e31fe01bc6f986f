"""Real servers on 127.0.0.1, for tests."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(what: str, how: str) -> NoReturn:
    """Skip the test for want of a program, or fail where everything has to be there."""
    reason = f"{what} is not installed; to run this test: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
