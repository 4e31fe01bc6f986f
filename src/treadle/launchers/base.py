"""A launcher turns a command into the text of a script that runs it on a block's nodes."""

from __future__ import annotations

from abc import ABC, abstractmethod

from treadle.errors import BadLauncher
from treadle.repr import RepresentationMixin


class Launcher(ABC, RepresentationMixin):
    """Makes the text of a script.

    Args:
        debug: the script says on standard error what it does.
    """

    def __init__(self, debug: bool = True) -> None:
        self.debug = debug

    @abstractmethod
    def __call__(
        self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = ""
    ) -> str:
        """The lines for a shell that run the command.

        Args:
            command: what to run.
            tasks_per_node: how many copies of it each node runs.
            nodes_per_block: how many nodes the block has.
            script_dir: where a file that the script needs may be put.
        """


def check_launcher(launcher: object) -> None:
    """Raise `BadLauncher` for what is none; the text says what to write."""
    if isinstance(launcher, type):
        raise BadLauncher(
            f"launcher={launcher.__name__} is a class; write launcher={launcher.__name__}()"
        )
    if not callable(launcher):
        raise BadLauncher(
            f"launcher={launcher!r} is none; one is called with a command, tasks per node and "
            f"nodes per block, and returns the text of a script (see treadle.launchers)"
        )
