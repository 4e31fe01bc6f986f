"""`File`: the name of some bytes, here or elsewhere.

Two rules. A URL says where the bytes are for the world and never changes; `local_path` says where
one task finds them and is set by staging, on a copy made for that task. So a `File` can be given
to any number of tasks on any number of machines, and none of them sees another one's paths.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

#: `c:` is a drive, not a scheme, so a scheme has at least two letters.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?=.)", re.DOTALL)
#: A password between `scheme://user:` and `@`.
_PASSWORD = re.compile(r"^([^/@]*//[^/@:]*):[^/@]*@")
#: URLs of these schemes are percent-encoded; the names of others (objects in a bucket, members of
#: an archive) are taken letter by letter, as the libraries that open them do.
_ENCODED = frozenset({"file", "ftp", "ftps", "http", "https"})
_WITH_QUERY = frozenset({"http", "https"})


class File:
    """A file by its URL or path; pass it to apps as an argument, in `inputs` or in `outputs`.

    Two files are equal when their URLs are. In a task, `filepath` (and `open(file)`, `str(file)`)
    is the local copy. A string that begins with a scheme is a URL; a string without one, and
    every `os.PathLike`, is a path as it stands, spaces, `#` and `%` included.

    Args:
        url: a path (`'data.txt'`, `Path('data.txt')`) or a URL (`'https://host/data.txt'`).

    Attributes:
        url: what was given, as text.
        scheme: `'file'` for paths.
        netloc: the host, with user and port if any, or the bucket.
        path: the path in the URL, decoded.
        filename: the last part of the path.
        local_path: where this task finds it; set by staging.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = _text_of(url)
        self.local_path: str | None = None
        self.scheme, self.netloc, self.path = _split(self.url)
        self.filename = PurePosixPath(self.path).name or self.netloc

    def cleancopy(self) -> File:
        """Return the same file without a local path."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.local_path = None
        return copy

    @property
    def filepath(self) -> str:
        """The path to open here.

        Raises:
            ValueError: the file is elsewhere and has not been staged.
        """
        if self.local_path is not None:
            return self.local_path
        if self.scheme == "file":
            return self.path
        raise ValueError(
            f"{without_password(self.url)} has no path on this machine: it gets one in the task "
            "that it is passed to, as an argument, in inputs=[...] or in outputs=[...]"
        )

    def __fspath__(self) -> str:
        return self.filepath

    def __str__(self) -> str:
        # Where there is no path yet the URL is shown: a text that raises would spoil messages.
        return self.filepath if self.scheme == "file" or self.local_path else self.url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return self.url == other.url if isinstance(other, File) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.url)


def without_password(url: str) -> str:
    """Return the URL for messages: a password in it becomes `***`."""
    return _PASSWORD.sub(r"\1:***@", url)


def _text_of(url: str | os.PathLike[str]) -> str:
    if isinstance(url, str):
        text = url
    elif isinstance(url, os.PathLike):
        text = os.fsdecode(url)
        if _SCHEME.match(text):
            # 'a:b.txt' would be read as a URL when the text comes back; this says it is a path.
            text = "file:" + quote(text)
    else:
        raise TypeError(
            f"File takes a path or a URL (str or os.PathLike), not {type(url).__name__}: {url!r}"
        )
    if not text or "\0" in text:
        raise ValueError(f"File takes a path or a URL, and {text!r} can be neither")
    return text


def _split(url: str) -> tuple[str, str, str]:
    match = _SCHEME.match(url)
    if match is None:
        return "file", "", url
    scheme, rest = match[1].lower(), url[match.end() :]
    if scheme in _WITH_QUERY:
        rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    netloc = ""
    if rest.startswith("//"):
        netloc, slash, path = rest[2:].partition("/")
        rest = slash + path
    return scheme, netloc, unquote(rest) if scheme in _ENCODED else rest
