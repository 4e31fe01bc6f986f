"""Which command it is, and what becomes of errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

from treadle._version import VERSION
from treadle.cli import _logs, _scheduler, _worker
from treadle.errors import TreadleError

_COMMANDS: Final = {"scheduler": _scheduler, "worker": _worker, "logs": _logs}
#: Exit codes: what was asked for cannot be done; interrupted.
FAILED: Final = 1
INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code: 0, 1 if it failed, 2 if it was not understood."""
    parser = argparse.ArgumentParser(
        prog="treadle",
        description="Treadle runs Python functions and shell commands as a dataflow.",
        epilog="Each command tells more: treadle COMMAND --help",
        formatter_class=partial(argparse.HelpFormatter, max_help_position=28),
    )
    parser.add_argument("--version", action="version", version=f"treadle {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP.capitalize() + ".",
            epilog=module.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.declare(command)
        command.set_defaults(command=module.run)
    options = parser.parse_args(arguments)
    try:
        code: int = options.command(options)
    except TreadleError as error:
        print(f"treadle: {error}", file=sys.stderr)  # noqa: T201 - this is what a command line is
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `treadle logs | head`
        sys.stderr.close()
        return 0
    return code
