"""Which Treadle this is. Imports nothing, so that everything may import it."""

from __future__ import annotations

VERSION = "0.1.0"
