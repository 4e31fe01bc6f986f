"""How much may be told."""

from __future__ import annotations

from typing import Final

#: Nothing.
DISABLED: Final = 0
#: Which versions of Treadle and Python, on which kind of system.
LEVEL_1: Final = 1
#: Also the class names of executors and other components.
LEVEL_2: Final = 2
#: Also, at the end, how many tasks ended in which state, and how long it took.
LEVEL_3: Final = 3
