"""`python -m treadle`: the command line, and the engine's own processes."""

from __future__ import annotations

import sys


def main() -> int:
    """Run what the first argument names; the exit code.

    The engine's own processes are found here, before anything of the command line is imported:
    how soon they work is how soon a program has its first result.
    """
    arguments = sys.argv[1:]
    if arguments[:1] == ["node"]:
        from treadle.cluster._node import main as node  # noqa: PLC0415 - see above

        return node(arguments[1:])
    if arguments[:1] == ["zygote"]:
        from treadle.cluster._zygote import main as zygote  # noqa: PLC0415 - see above

        zygote(arguments[1:])
    from treadle.cli import main as command_line  # noqa: PLC0415 - see above

    return command_line(arguments)


if __name__ == "__main__":
    sys.exit(main())
