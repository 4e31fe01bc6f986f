"""Plain values: what may stand where a message takes anything.

A task's metadata and the value of a reply are typed as they come. Who shows, encodes or copies
them must not be harmed by their shape, so it is bounded, on both sides of a link.
"""

from __future__ import annotations

#: Deepest nesting of lists and mappings.
MAX_DEPTH = 16
#: Most values in the metadata of one task, itself included.
MAX_METADATA = 1_000

_LEAVES = (str, int, float, bool, type(None), bytes)
_KEYS = (str, int)


def fault_of(value: object, *, most: int | None = None) -> str | None:
    """Why this is no plain value, in a few words; None if it is one.

    Args:
        most: how many values it may be made of, itself included (None: as many as it likes).
    """
    level = [value]
    count = depth = 0
    while level:
        count += len(level)
        if most is not None and count > most:
            return f"it has more than {most} values"
        if depth > MAX_DEPTH:
            return f"it is nested deeper than {MAX_DEPTH}"
        below: list[object] = []
        for item in level:
            if type(item) in _LEAVES:
                continue
            if isinstance(item, dict):
                for key in item:
                    if type(key) not in _KEYS:
                        return "a key in it is neither text nor a whole number"
                below += item.values()
            elif isinstance(item, list | tuple):
                below += item
            else:
                return f"it has a {type(item).__name__[:40]} in it"
        level = below
        depth += 1
    return None
