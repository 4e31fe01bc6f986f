"""How a file is read from and written to an FTP server. Imported when first used: it brings ssl."""

from __future__ import annotations

import ftplib
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from treadle.data_provider._authority import authority_of
from treadle.data_provider.atomic import temporary_name

if TYPE_CHECKING:
    from treadle.data_provider.files import File

_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class FTPTransfer:
    """Binary transfers by the standard library, anonymous unless the URL names a user."""

    timeout_s: float

    def fetch(self, file: File, target: str) -> None:
        """Retrieve to `target`; a size other than the server's is an error."""
        with self._session(file) as ftp, open(target, "wb") as out:
            expected = _size(ftp, file.path)
            ftp.retrbinary(f"RETR {file.path}", out.write, _CHUNK_BYTES)
            if expected is not None and out.tell() != expected:
                raise ConnectionError(f"{out.tell()} of {expected} bytes arrived")

    def store(self, source: str, file: File) -> None:
        """Upload under another name in the same directory, then rename."""
        directory, name = posixpath.split(file.path)
        temporary = posixpath.join(directory, temporary_name(name))
        with self._session(file) as ftp, open(source, "rb") as data:
            _make_directories(ftp, directory)
            try:
                ftp.storbinary(f"STOR {temporary}", data, _CHUNK_BYTES)
                arrived = _size(ftp, temporary)
                if arrived is not None and arrived != data.tell():
                    raise ConnectionError(f"the server has {arrived} of {data.tell()} bytes")
                _rename(ftp, temporary, file.path)
            except BaseException:
                with suppress(*ftplib.all_errors):
                    ftp.delete(temporary)
                raise

    @contextmanager
    def _session(self, file: File) -> Iterator[ftplib.FTP]:
        authority = authority_of(file.netloc)
        with ftplib.FTP(timeout=self.timeout_s) as ftp:
            ftp.connect(authority.host, authority.port or 0)
            ftp.login(authority.user or "", authority.password or "")
            ftp.voidcmd("TYPE I")  # sizes are those of the bytes only in binary mode
            yield ftp


def _size(ftp: ftplib.FTP, path: str) -> int | None:
    # Not every server knows SIZE.
    try:
        return ftp.size(path)
    except ftplib.error_perm:
        return None


def _make_directories(ftp: ftplib.FTP, directory: str) -> None:
    made = "/" if directory.startswith("/") else ""
    for part in filter(None, directory.split("/")):
        made = posixpath.join(made, part)
        # It exists, or the upload will say what is wrong.
        with suppress(ftplib.error_perm):
            ftp.mkd(made)


def _rename(ftp: ftplib.FTP, old: str, new: str) -> None:
    try:
        ftp.rename(old, new)
    except ftplib.error_perm:
        # Some servers do not rename over a file that exists.
        with suppress(ftplib.error_perm):
            ftp.delete(new)
        ftp.rename(old, new)
