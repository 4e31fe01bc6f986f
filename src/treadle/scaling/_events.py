"""What the scaling machine is told by its shell, and what it orders."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from treadle.scaling._states import JobState


class Limits(Struct, frozen=True):
    """What a provider allows and wishes; asked for anew at each look, since programs change it.

    `parallelism`: how many slots there shall be for each open task. `nodes`: of a block.
    """

    init_blocks: int = 1
    min_blocks: int = 0
    max_blocks: int = 1
    parallelism: float = 1.0
    nodes: int = 1


class Looked(Struct, frozen=True):
    """Somebody has looked at an executor.

    `states`: of all its blocks, by id, in the order in which they were started. `tasks`: how many
    are open. `workers_per_node`: how many tasks a node runs at once. `leaving`: how many blocks
    were ended, do not stand among the living of `states`, and may still be there. `worked`: blocks
    of which workers have been heard.
    """

    states: Mapping[str, JobState]
    tasks: float
    workers_per_node: float = 1.0
    limits: Limits = Limits()
    leaving: int = 0
    worked: Collection[str] = ()


class Started(Struct, frozen=True):
    """Blocks were started, as ordered: `blocks` of the `asked` could be."""

    asked: int
    blocks: tuple[str, ...]


class Closing(Struct, frozen=True):
    """The kernel is ending: what is open may end, and nothing else is worth a block."""


Event = Looked | Started | Closing


class ScaleOut(Struct, frozen=True):
    """Start so many blocks; the answer is `Started`."""

    blocks: int


class ScaleIn(Struct, frozen=True):
    """End so many blocks. `max_idle_s`: only those that have been idle for so long, if any is."""

    blocks: int
    max_idle_s: float | None = None


Command = ScaleOut | ScaleIn
