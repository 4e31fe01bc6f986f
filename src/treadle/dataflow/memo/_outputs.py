"""The files that a call has written are part of its outcome: are they still there?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from treadle.data_provider.files import File


def outputs_gone(kwargs: Mapping[str, Any], is_automatic: Callable[[Any], bool]) -> list[str]:
    """Local files that a call names as its outputs and that do not exist.

    Args:
        is_automatic: whether the name of a stream was not chosen by the caller.
    """
    if not any(name in kwargs for name in ("outputs", "stdout", "stderr")):
        return []
    found = _local_outputs(kwargs, is_automatic)
    return [os.fspath(path) for path in found if not os.path.exists(path)]


def _local_outputs(
    kwargs: Mapping[str, Any], is_automatic: Callable[[Any], bool]
) -> Iterator[str | os.PathLike[str]]:
    outputs = kwargs.get("outputs")
    for output in outputs if isinstance(outputs, (list, tuple)) else ():
        if isinstance(output, File) and output.scheme == "file":
            yield output.path
    for name in ("stdout", "stderr"):
        stream = kwargs.get(name)
        if isinstance(stream, File):
            if stream.scheme == "file":
                yield stream.path
            continue
        if isinstance(stream, tuple) and stream:
            stream = stream[0]
        if isinstance(stream, (str, os.PathLike)) and not is_automatic(stream):
            yield stream
