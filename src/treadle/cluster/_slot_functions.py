"""The functions that a slot has been given, by digest: loaded when first called, then kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from treadle.errors import InternalError
from treadle.serialize import loads


class Functions:
    """Code by digest. What fails to load is tried again at each call: a module may appear."""

    __slots__ = ("_payloads", "loaded", "names")

    def __init__(self) -> None:
        self.loaded: dict[bytes, Callable[..., Any]] = {}
        self._payloads: dict[bytes, bytes] = {}
        #: What they are called.
        self.names: dict[bytes, str] = {}

    def add(self, digest: bytes, payload: bytes, name: str = "") -> None:
        """Know a function."""
        self.names[digest] = name
        if digest not in self.loaded:
            self._payloads[digest] = payload

    def load(self, digest: bytes) -> Callable[..., Any]:
        """The function with this digest; loading it runs code of the user's.

        Raises:
            DeserializationError: it cannot be loaded here.
        """
        payload = self._payloads.get(digest)
        if payload is None:
            raise InternalError(f"no code was given for the digest {digest.hex()}")
        func: Callable[..., Any] = loads(payload)
        self.loaded[digest] = func
        self._payloads.pop(digest, None)
        return func
