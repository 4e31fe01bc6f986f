"""Who may have a link: on one machine the same user, on a network who holds a certificate.

A run has an authority of its own, which signs certificates for its scheduler, its clients and its
blocks. A peer is what its certificate says, `treadle:RUN/ROLE/ID`, never the name of its host.
"""

from __future__ import annotations

import binascii
import errno
import os
import re
import socket
import ssl
import struct
from typing import NamedTuple
from urllib.parse import quote, unquote

from treadle.cluster._connection import read_private
from treadle.errors import ConfigurationError

_SCHEME = "treadle:"


class Subject(NamedTuple):
    """Whose a certificate is."""

    run: str
    role: str
    id: str

    @property
    def name(self) -> str:
        """'role/ID'."""
        return f"{self.role}/{self.id}"

    @property
    def uri(self) -> str:
        """As it stands in the certificate."""
        return f"{_SCHEME}{quote(self.run, safe='')}/{self.role}/{quote(self.id, safe='')}"


class Identity:
    """A credential: a private key, the certificate it belongs to, and the authority's.

    It stands in one file, which only its owner may read.
    """

    def __init__(self, path: str, pem: str) -> None:
        self.path = path
        self._authority = _blocks(pem)[-1]
        self._certificate = _blocks(pem)[-2]
        #: By whether they listen: to read a key takes a millisecond.
        self._contexts: dict[bool, ssl.SSLContext] = {}

    @classmethod
    def read(cls, path: str) -> Identity:
        """The credential in this file.

        Raises:
            ConfigurationError: there is none, or others may read it; the text has what to do.
        """
        pem = read_private(path, what="credential").decode("ascii", "replace")
        kinds = [block.partition("BEGIN ")[2].partition("-----")[0] for block in _blocks(pem)]
        if kinds != ["PRIVATE KEY", "CERTIFICATE", "CERTIFICATE"]:
            raise ConfigurationError(
                f"{path!r} is no credential: a private key, a certificate and its authority's are "
                f"to stand there, not {', '.join(kinds) or 'something else'}"
            )
        return cls(path, pem)

    @property
    def run(self) -> str:
        """The run that it is for, as its certificate says.

        Raises:
            ConfigurationError: it says nothing of the kind.
        """
        text = re.sub(r"-----[A-Z ]+-----", "", self._certificate)
        found = re.search(rb"treadle:([A-Za-z0-9._~%-]+)/", binascii.a2b_base64(text))
        if found is None:
            raise ConfigurationError(f"the credential {self.path!r} names no run")
        return unquote(found[1].decode())

    def context(self, *, listens: bool) -> ssl.SSLContext:
        """What TLS needs to know: TLS 1.3, both sides show certificates of this authority.

        Raises:
            ConfigurationError: the credential is damaged.
        """
        known = self._contexts.get(listens)
        if known is not None:
            return known
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if listens else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # A peer is known by its certificate's name for it, not by that of its host.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(self.path)
            context.load_verify_locations(cadata=self._authority)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the credential {self.path!r} cannot be used: {error}"
            ) from error
        if listens:
            context.num_tickets = 0  # each link shakes hands anew
        self._contexts[listens] = context
        return context

    def __repr__(self) -> str:
        return f"Identity({self.path!r})"


def _blocks(pem: str) -> list[str]:
    return re.findall(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----\n?", pem, re.DOTALL)


def subject_of(certificate: dict[str, object]) -> Subject:
    """Whose this certificate is, which has been verified.

    Raises:
        ValueError: it has no name of ours.
    """
    names = certificate.get("subjectAltName", ())
    uris = [str(n[1]) for n in names if n[0] == "URI"] if isinstance(names, tuple) else []
    ours = [uri.removeprefix(_SCHEME).split("/") for uri in uris if uri.startswith(_SCHEME)]
    if len(ours) != 1 or len(ours[0]) != 3:
        raise ValueError("its certificate has no name of a peer of Treadle's")
    run, role, id = (unquote(part) for part in ours[0])
    return Subject(run, role, id)


def speaks_for(subject: Subject, name: str) -> bool:
    """The holder of this certificate may call himself so: by its name, or that and '/...' behind.

    A block has one credential, and as many workers as it has nodes. A worker's also proves the
    clients that its tasks make, which are named after it; a client's proves no worker.
    """
    if name == subject.name or name.startswith(subject.name + "/"):
        return True
    return subject.role == "worker" and name.startswith(f"client/{subject.id}/")


class PeerUser(NamedTuple):
    """The process at the other end of a Unix socket; `pid` is 0 if it is not known here."""

    uid: int
    pid: int


def peer_user(sock: socket.socket) -> PeerUser | None:
    """Who made the other end of a Unix socket; None where the system does not say."""
    if hasattr(socket, "SO_PEERCRED"):
        size = struct.calcsize("3i")
        pid, uid, _ = struct.unpack(
            "3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )
        return PeerUser(uid, pid)
    try:  # macOS: of SOL_LOCAL, LOCAL_PEERCRED is a struct xucred, LOCAL_PEERPID a number
        data, pid = sock.getsockopt(0, 1, 76), sock.getsockopt(0, 2)
    except OSError:
        return None
    return PeerUser(struct.unpack_from("=Ii", data)[1], pid)


def own_process(sock: socket.socket) -> int:
    """The process that made the other end of a Unix socket; 0 if it is not known.

    Raises:
        PermissionError: it is another user's.
    """
    user = peer_user(sock)
    if user is None:
        return 0
    if user.uid != os.getuid():
        raise PermissionError(
            errno.EPERM, f"it runs as user {user.uid}, this side as {os.getuid()}"
        )
    return user.pid
