"""How much memory this process and its children may use, what of it is the store's, and how many
processes that is enough for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: Of all memory that the worker may use: the rest is for what its tasks take themselves.
STORE_SHARE: Final = 0.5
#: Most processes beside the slots, and what each takes at least: memory, of which they may have a
#: half, and descriptors of its agent and of the scheduler that it is a client of, likewise.
_MOST_BESIDE: Final = 1000
_PROCESS_BYTES: Final = 16 << 20
_PROCESS_DESCRIPTORS: Final = 5
#: Where nothing is known.
_UNKNOWN: Final = 4 << 30
#: A limit above this is none.
_NO_LIMIT: Final = 1 << 60


def store_budget(share: float = STORE_SHARE) -> int:
    """Bytes that a store may use that was given no budget."""
    return int(usable_memory() * share)


def most_beside(memory_bytes: int, descriptors: int) -> int:
    """How many slot processes there may be beside the slots: of tasks that wait for others."""
    by_memory = memory_bytes // 2 // _PROCESS_BYTES
    by_descriptors = descriptors // 2 // _PROCESS_DESCRIPTORS
    return max(4, min(_MOST_BESIDE, by_memory, by_descriptors))


def usable_memory() -> int:
    """Bytes that processes of this control group may use, or this machine has."""
    found = [_of_machine(), *_of_control_groups()]
    limits = [limit for limit in found if 0 < limit < _NO_LIMIT]
    return min(limits, default=_UNKNOWN)


def _of_machine() -> int:
    for line in _read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            return int(rest.split()[0]) * 1024
    return 0


def _of_control_groups() -> list[int]:
    """Limits of the groups that this process is in, and of those that hold them."""
    limits = []
    for line in _read("/proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if not names:
            root, file = Path("/sys/fs/cgroup"), "memory.max"
        elif "memory" in names.split(","):
            root, file = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
        else:
            continue
        folder = root / path.lstrip("/")
        for each in (folder, *folder.parents):
            limits.append(_number(each / file))
            if each == root:
                break
        # Within a container the path is the host's, and the limit stands at the root.
        limits.append(_number(root / file))
    return limits


def _number(file: Path) -> int:
    text = _read(str(file)).strip()
    return int(text) if text.isdigit() else 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
