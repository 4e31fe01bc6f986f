"""What a session hears by its link."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treadle import wire
    from treadle.cluster._link import Link
    from treadle.cluster._session import Session


class SessionEar:
    """A session as the ear of its link."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def heard(self, link: Link, messages: list[wire.Message]) -> None:
        self._session.hear(messages)

    def chunk(self, link: Link, chunk: wire.Chunk) -> None:
        """A scheduler sends no objects."""

    def lost(self, link: Link, why: str) -> None:
        self._session.bond.lost(link, why)

    def unsent(self, link: Link, message: wire.Message, why: str) -> None:
        self._session._unsent(message, why)
