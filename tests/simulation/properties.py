"""What must happen in some run: names that the world counts when they do.

A simulator that never gets a worker killed while it spills proves nothing about it. A test demands
that the seeds of CI, or a few longer lists, reach all of these.
"""

from __future__ import annotations

SOMETIMES: tuple[str, ...] = ()
