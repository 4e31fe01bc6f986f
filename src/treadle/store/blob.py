"""Payloads too large for a segment: each in a file named by its keyed digest.

The file is complete and has its name before any record speaks of it.
"""

from __future__ import annotations

import os
import secrets
from struct import Struct
from typing import TYPE_CHECKING

from treadle.store._layout import TEMPORARY_SUFFIX, blob_name
from treadle.store.disk import Disk, write_all
from treadle.store.trust import open_trusted

if TYPE_CHECKING:
    from treadle.store._record import Codec

#: What a record holds in place of the payload: its digest and its length.
REFERENCE = Struct("<32sQ")


def write_blob(disk: Disk, codec: Codec, directory: str, payload: bytes, *, durable: bool) -> bytes:
    """Write a payload to a file of its own; the reference to it.

    A file of that name is replaced: it may be damaged, and reading it to know costs as much.

    Raises:
        OSError: the file system refused; nothing is left behind.
    """
    digest = codec.blob_digest(payload)
    path = os.path.join(directory, blob_name(digest))
    temporary = f"{path}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    fd = disk.create(temporary)
    try:
        try:
            write_all(disk, fd, payload)
            if durable:
                disk.sync(fd)
        finally:
            disk.close(fd)
        disk.rename(temporary, path)
    except BaseException:
        remove_quietly(disk, temporary)
        raise
    if durable:
        disk.sync_directory(directory)
    return REFERENCE.pack(digest, len(payload))


def read_blob(codec: Codec, directory: str, reference: bytes) -> bytes | None:
    """The payload that a verified record refers to; None if it is gone or damaged.

    Raises:
        BadCheckpoint: the file cannot be trusted.
    """
    digest, size = REFERENCE.unpack(reference)
    try:
        fd = open_trusted(os.path.join(directory, blob_name(digest)))
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        if os.fstat(fd).st_size != size:
            return None
        payload = file.read()
    return payload if codec.blob_digest(payload) == digest else None


def remove_quietly(disk: Disk, path: str) -> None:
    """Remove a file that means nothing; if that fails too, it only takes space."""
    try:
        disk.unlink(path)
    except OSError:
        pass
