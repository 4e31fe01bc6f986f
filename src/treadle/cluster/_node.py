"""A node: the scheduler and a worker's agent in one process and on one loop, or a scheduler alone.

The user's process starts it and holds the other end of a socket pair. When that end closes, or the
user's process has ended though somebody still holds the end (a child it forked), the node ends with
all it has started: nothing of a run outlives its program.

What is imported at the head is what the zygote's start needs: the zygote imports its modules while
this process imports the rest.
"""

from __future__ import annotations

import gc
import json
import os
import sys

from treadle.cluster._zygote_start import Launched, launch_zygote


def main(arguments: list[str]) -> int:
    """Be a node; the exit code.

    Args:
        arguments: '--settings-fd', a descriptor of what `to_json` made, '--link-fd', a descriptor
            of the link to the owner.
    """
    gc.disable()  # until all is imported: what is made here stays
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if options.keys() != {"--settings-fd", "--link-fd"}:
        print("treadle: a node is started by a program that uses Treadle", file=sys.stderr)  # noqa: T201
        return 2
    with os.fdopen(int(options["--settings-fd"]), "rb") as file:
        line = file.read()
    link = int(options["--link-fd"])
    os.set_inheritable(link, False)
    zygote = _launch(line)
    from treadle.cluster._node_life import live  # noqa: PLC0415 - see the head

    return live(line, link, zygote)


def _launch(line: bytes) -> Launched | None:
    """Start the zygote of the worker there is to be, if there is one."""
    worker = json.loads(line).get("worker")
    if not worker:
        return None
    try:
        return launch_zygote(worker.get("threads_per_slot", 1), worker.get("environment", {}))
    except OSError:
        return None  # the agent tries again, and has a log to complain to
