"""Launchers: how a block's command comes to each of its nodes. Text only."""

from __future__ import annotations

from treadle.launchers.base import Launcher
from treadle.launchers.local import SimpleLauncher, SingleNodeLauncher, WrappedLauncher

__all__ = ["Launcher", "SimpleLauncher", "SingleNodeLauncher", "WrappedLauncher"]
