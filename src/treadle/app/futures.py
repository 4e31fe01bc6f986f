"""`DataFuture`, under the path where programs look for it."""

from __future__ import annotations

from treadle.data_provider.data_future import DataFuture

__all__ = ["DataFuture"]
