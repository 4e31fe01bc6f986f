"""What tests with processes of their own may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from tests.integration.cluster_cases import gone


@pytest.fixture
def no_process_is_left() -> Iterator[None]:
    """All processes that the test has started are gone after it."""
    before = psutil.Process().children(recursive=True)
    yield
    mine = [p for p in psutil.Process().children(recursive=True) if p not in before]
    _, alive = psutil.wait_procs(mine, timeout=10)
    assert [process.cmdline() for process in alive if not gone(process)] == []
