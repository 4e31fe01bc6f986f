"""TLS between the bytes of a transport and those of a link: no loop, no socket."""

from __future__ import annotations

import ssl
from typing import Final

from treadle.errors import WireError

#: Most plain bytes in one record.
_RECORD: Final = 16 * 1024


class Secure:
    """One side of one TLS session."""

    __slots__ = ("_in", "_object", "_out", "shaken")

    def __init__(self, context: ssl.SSLContext, *, listens: bool) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_side=listens)
        #: The TLS handshake has ended, as far as this side is concerned.
        self.shaken = False

    def shake(self, data: bytes = b"") -> None:
        """Take what has arrived; go on with the handshake.

        Raises:
            ssl.SSLError: it has failed; `outgoing` may have an alert for the other side.
        """
        self._in.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.shaken = True

    def outgoing(self) -> bytes:
        """What is to be sent."""
        return self._out.read()

    def certificate(self) -> dict[str, object]:
        """The other side's certificate, as the standard library shows it; it has been verified."""
        return dict(self._object.getpeercert() or {})

    def decrypt(self, data: bytes) -> bytes:
        """The plain bytes in what has arrived.

        Raises:
            WireError: it was changed on its way, or is no TLS; or the other side sent an alert.
        """
        self._in.write(data)
        parts: list[bytes] = []
        try:
            while self._in.pending or self._object.pending():
                part = self._object.read(_RECORD)
                if not part:
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            pass  # the other side says goodbye; its socket ends next
        except ssl.SSLError as error:
            raise WireError(f"TLS: {reason_of(error)}") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def encrypt(self, *parts: bytes | bytearray | memoryview) -> bytes:
        """The bytes that carry these."""
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[self._object.write(view) :]
        return self._out.read()

    def goodbye(self) -> bytes:
        """The bytes that say that nothing follows."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # the other side has not said it yet
        return self._out.read()


def reason_of(error: ssl.SSLError) -> str:
    """What went wrong, for people: 'certificate has expired'."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    return (error.reason or str(error)).lower().replace("_", " ")
