"""A part of a file is given back to the disk: the middle of what somebody has written too much of.

Where the file system can, a hole is made, and all else stays where it is. Where it cannot, all
after the head is cut off; who appends goes on behind it.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from treadle.store._memory import punch

_BLOCK: Final = 4096


class Cut(NamedTuple):
    """What became of a task's output. `offset`: where it begins; `head`: bytes of it that are kept;
    `hole`: bytes behind them that read as zeros; `dropped`: bytes that are gone, in the hole or cut
    off; `shortened`: some were cut off, so the file ends earlier than it did."""

    offset: int
    head: int
    hole: int
    dropped: int
    shortened: bool = False


def cut_middle(
    path: str, offset: int, end: int, most: int, before: Cut | None = None, *, growing: bool = False
) -> Cut | None:
    """Keep the first and the last `most / 2` bytes from `offset` to `end`, or a little more.

    Args:
        before: what was cut of it already.
        growing: it is still written to.

    Returns:
        What is gone in all, None if nothing.

    Raises:
        OSError: it cannot be done.
    """
    if before is not None and before.shortened:
        return _shorten(path, before, before.dropped, end, most) if growing else before
    # Holes are whole blocks.
    first = -(-(offset + most // 2) // _BLOCK) * _BLOCK
    last = (end - most // 2) // _BLOCK * _BLOCK
    if last <= first:
        return before
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        blocks = os.fstat(fd).st_blocks
        done = before.hole if before is not None else 0
        punch(fd, [(first + done, last - first - done)])
        freed = (blocks - os.fstat(fd).st_blocks) * 512
    finally:
        os.close(fd)
    if not growing or freed > 0 or before is not None:
        return Cut(offset, first - offset, last - first, last - first)
    return _shorten(path, Cut(offset, most // 2, 0, 0), 0, end, most)


def _shorten(path: str, cut: Cut, dropped: int, end: int, most: int) -> Cut:
    """Cut off all behind the head."""
    keep = cut.offset + cut.head
    if end - keep <= most:
        return cut
    os.truncate(path, keep)
    return Cut(cut.offset, cut.head, 0, dropped + end - keep, shortened=True)
