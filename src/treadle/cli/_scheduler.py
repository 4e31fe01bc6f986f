"""`treadle scheduler`: a scheduler that several programs and workers may use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from treadle.cli._values import count, ports, seconds
from treadle.cluster._settings import SchedulerSettings

if TYPE_CHECKING:
    import argparse

HELP: Final = "start a scheduler"
EXAMPLE: Final = """\
example:
  treadle scheduler --connection-file run.json --tls
  treadle worker --connection-file run.json --slots 8     (on each machine)

Whoever can read the connection file, and the credentials beside it, can use the scheduler: keep
them on a file system of your own."""


def declare(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    defaults = SchedulerSettings(run="")
    add = parser.add_argument
    add("--connection-file", metavar="FILE", default="", help="write here how it is reached")
    add("--run", metavar="NAME", help="name of the run (default: a random one)")
    add("--tls", action="store_true", help="take links from other machines, encrypted")
    add("--interface", metavar="NAME", default="", help="listen on this network interface alone")
    add(
        "--address",
        metavar="HOST",
        action="append",
        default=[],
        help="a name or number under which others reach this machine; may be repeated",
    )
    add("--ports", metavar="LOW:HIGH", type=ports, default=(0, 0), help="take a port among these")
    add(
        "--linger",
        metavar="SECONDS",
        type=seconds,
        help="end when no client has been there for so long (default: never)",
    )
    add(
        "--beat",
        metavar="SECONDS",
        type=seconds,
        default=defaults.beat_s,
        help="how often workers say that they are alive (default: %(default)g)",
    )
    add(
        "--lease",
        metavar="SECONDS",
        type=seconds,
        default=defaults.lease_s,
        help="how long a worker may be silent before it is given up (default: %(default)g)",
    )
    add(
        "--deaths",
        metavar="N",
        type=count,
        default=defaults.deaths,
        help="a task that has seen so many processes die fails (default: %(default)d)",
    )


def run(options: argparse.Namespace) -> int:
    """Be a scheduler."""
    from treadle.cluster._standalone import run_scheduler  # noqa: PLC0415 - not for `--help`

    settings = SchedulerSettings(
        run=options.run or f"run-{os.urandom(4).hex()}",
        connection_file=os.path.abspath(options.connection_file) if options.connection_file else "",
        listen_tls=options.tls,
        addresses=tuple(options.address),
        interface=options.interface,
        ports=options.ports,
        beat_s=options.beat,
        lease_s=options.lease,
        deaths=options.deaths,
        linger_s=options.linger,
    )
    run_scheduler(settings)
