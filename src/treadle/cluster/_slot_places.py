"""Which cores and accelerators a slot has, and the variables that tell libraries so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from treadle.cluster._python import thread_variables
from treadle.errors import ConfigurationError

_KINDS: Final = ("none", "block", "block-reverse", "alternating")
#: Where a slot's number stands. What a task starts inherits it.
SLOT_VARIABLE: Final = "TREADLE_WORKER_SLOT"


def affinity_variables(cores: Sequence[int]) -> dict[str, str]:
    """What binds OpenMP's threads to these cores."""
    if not cores:
        return {}
    return {
        **thread_variables(len(cores)),
        "GOMP_CPU_AFFINITY": " ".join(map(str, cores)),
        "KMP_AFFINITY": f"explicit,proclist=[{','.join(map(str, cores))}]",
    }


def accelerator_variables(accelerators: Sequence[str], rank: int) -> dict[str, str]:
    """What shows a slot one accelerator only: its own, or one that it shares if there are fewer."""
    if not accelerators:
        return {}
    name = accelerators[rank % len(accelerators)]
    return {
        "CUDA_VISIBLE_DEVICES": name,
        "ROCR_VISIBLE_DEVICES": name,
        "ZE_AFFINITY_MASK": name,
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
    }


def worker_variables(worker: str, block: str, slots: int, slot: int, rank: int) -> dict[str, str]:
    """What tells a task where it runs."""
    return {
        "TREADLE_WORKER_ID": worker,
        "TREADLE_WORKER_RANK": str(rank),
        SLOT_VARIABLE: str(slot),
        "TREADLE_WORKER_BLOCK": block,
        "PARSL_WORKER_RANK": str(rank),
        "PARSL_WORKER_COUNT": str(slots),
        "PARSL_WORKER_POOL_ID": worker,
        "PARSL_WORKER_BLOCK_ID": block,
    }


def cores_of(affinity: str, rank: int, slots: int, available: Sequence[int]) -> list[int]:
    """The cores that the slot of this rank is bound to; none: it is not bound.

    Args:
        affinity: 'none'; 'block' (the first slot has the first few cores, and so on);
            'block-reverse' (the last few); 'alternating' (every n-th); or 'list:' and the cores of
            each slot, such as 'list:0-3:4,6'.
        available: cores that there are, in order.

    Raises:
        ConfigurationError: `affinity` is none of these.
    """
    lists = check_affinity(affinity, slots)
    if lists is not None:
        return lists[rank % slots]
    if affinity == "none" or len(available) < slots:
        return []
    rank %= slots
    if affinity == "alternating":
        return list(available[rank::slots])
    if affinity == "block-reverse":
        rank = slots - 1 - rank
    each = len(available) // slots
    return list(available[each * rank : each * (rank + 1)])


def check_affinity(affinity: str, slots: int) -> list[list[int]] | None:
    """The lists of cores in `affinity`, if it has any.

    Raises:
        ConfigurationError: it cannot be.
    """
    if affinity in _KINDS:
        return None
    kind, _, rest = affinity.partition(":")
    if kind != "list" or not rest:
        raise ConfigurationError(
            f"cpu_affinity is {affinity!r}; it can be 'none', 'block', 'block-reverse', "
            "'alternating', or 'list:' and the cores of each slot, such as 'list:0-3:4,6'"
        )
    lists = [_cores_in(part, affinity) for part in rest.split(":")]
    if len(lists) != slots:
        raise ConfigurationError(
            f"cpu_affinity {affinity!r} lists cores for {len(lists)} slots; the worker has {slots}"
        )
    return lists


def _cores_in(text: str, affinity: str) -> list[int]:
    cores: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            end = int(last) if dash else int(first)
            if end < int(first):
                raise ValueError("it runs backwards")
            cores.extend(range(int(first), end + 1))
    except ValueError:
        raise ConfigurationError(
            f"cpu_affinity {affinity!r} has {text!r} where the cores of a slot should be, such as "
            "'0-3' or '4,6'"
        ) from None
    return cores
