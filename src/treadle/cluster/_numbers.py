"""Whose numbers a session's tasks have."""

from __future__ import annotations

from typing import Final

#: Below are a kernel's tasks, from here on calls of a client's, then its data.
CALLS: Final = 2**38
DATA: Final = 2**39
