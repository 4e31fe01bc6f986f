"""`python -m treadle.compat.parsl`: run a Parsl program, untouched, on Treadle."""

from __future__ import annotations

import sys

from treadle.compat.parsl._run import main

if __name__ == "__main__":
    main(sys.argv[1:])
