"""A run's own authority: it signs who may have links with the run's processes.

Its private key stands nowhere but in the memory of the process that made it. To import this loads
`cryptography`, which takes a while: where all is on one machine nobody does.
"""

from __future__ import annotations

import datetime
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from treadle.cluster._connection import write_private
from treadle.cluster._security import Identity, Subject
from treadle.wire import Role

#: Clocks of machines differ.
_SLACK_S = 86_400.0
#: How long an authority lasts whose run has no known end.
_YEAR_S = 365 * 86_400.0


class Authority:
    """Signs certificates for the processes of one run.

    Args:
        lasts_s: how long from now on; a day is added.
    """

    def __init__(self, run: str, *, lasts_s: float = _YEAR_S) -> None:
        self.run = run
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"Treadle run {run}")
        self._until = _now() + datetime.timedelta(seconds=lasts_s + _SLACK_S)
        public = self._key.public_key()
        self._certificate = (
            _builder(self._name, self._name, public, self._until)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def credential(self, role: Role | str, id: str, *, lasts_s: float | None = None) -> bytes:
        """A new key, a certificate for it, and the authority's own: what a credential's file holds.

        Args:
            id: of the process; a block's is good for all its workers, see `speaks_for`.
            lasts_s: how long from now on, at most as long as the authority; a day is added.
        """
        until = self._until
        if lasts_s is not None:
            until = min(until, _now() + datetime.timedelta(seconds=lasts_s + _SLACK_S))
        return self._sign(Subject(self.run, str(Role(role)), id), until)

    def issue(
        self, role: Role | str, id: str, path: str, *, lasts_s: float | None = None
    ) -> Identity:
        """Write a new credential into a file that only its owner may read.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        write_private(path, self.credential(role, id, lasts_s=lasts_s))
        return Identity.read(path)

    # --- details -----------------------------------------------------------------------------

    def _sign(self, subject: Subject, until: datetime.datetime) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(_name(f"Treadle {subject.name}"), self._name, key.public_key(), until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(
                # Workers listen to each other, and open links to each other.
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(subject.uri)]),
                critical=False,
            )
            .add_extension(authority_key, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        return b"".join(
            (
                key.private_bytes(
                    pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                ),
                certificate.public_bytes(pem),
                self._certificate.public_bytes(pem),
            )
        )


def _builder(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, until: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(int.from_bytes(os.urandom(16), "big") >> 1)
        .not_valid_before(_now() - datetime.timedelta(seconds=_SLACK_S))
        .not_valid_after(until)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    """For people who look into a certificate; nothing is decided by it."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
