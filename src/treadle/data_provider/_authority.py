"""User, password, host and port of a URL."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit


class Authority(NamedTuple):
    """The parts of `user:password@host:port`, decoded; what is not there is None."""

    user: str | None
    password: str | None
    host: str
    port: int | None


def authority_of(netloc: str) -> Authority:
    """Take a `netloc` apart.

    Raises:
        ValueError: there is no host, or the port is not a number.
    """
    parts = urlsplit("//" + netloc)
    if not parts.hostname:
        raise ValueError("the URL names no host")
    return Authority(
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else unquote(parts.password),
        parts.hostname,
        parts.port,
    )
