"""Names of the files in a checkpoint directory. Pure.

<run root>/.key                             the store's secret
<run root>/NNN/checkpoint/segment-<n>.tlog  records, in the order of n
<run root>/NNN/checkpoint/blob-<hex>.bin    one large payload
<run root>/NNN/checkpoint/*.tmp             unfinished; means nothing
"""

from __future__ import annotations

import re
from collections.abc import Iterable

KEY_NAME = ".key"
CHECKPOINT_NAME = "checkpoint"
TEMPORARY_SUFFIX = ".tmp"

_SEGMENT = re.compile(r"segment-([0-9]{1,9})\.tlog")
_BLOB = re.compile(r"blob-([0-9a-f]{64})\.bin")


def segment_name(number: int) -> str:
    """File name of the segment with this number."""
    return f"segment-{number:06}.tlog"


def segment_number(name: str) -> int | None:
    """Number of the segment with this file name; None if it is no segment."""
    match = _SEGMENT.fullmatch(name)
    return int(match[1]) if match else None


def segments_in_order(names: Iterable[str]) -> list[str]:
    """The segments among these names, oldest first."""
    numbered = [(n, name) for name in names if (n := segment_number(name)) is not None]
    return [name for _, name in sorted(numbered)]


def blob_name(digest: bytes) -> str:
    """File name of the blob with this digest."""
    return f"blob-{digest.hex()}.bin"


def is_blob(name: str) -> bool:
    """Whether this is the file name of a blob."""
    return _BLOB.fullmatch(name) is not None
