"""The bench's own certificate authority, and who trusts it: the bench, what it starts, and nobody else.

Tools find it in SSL_CERT_FILE, behind all certificates that the machine trusts anyway: reading those belongs to a copy.
"""

import contextlib
import datetime
import ipaddress
import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOST = "127.0.0.1"
_VALID = datetime.timedelta(days=2)
_OWN_ONLY = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
)  # read by the bench's own requests, curl and boto3

_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority(NamedTuple):
    """Files in PEM form: the authority alone, it and all that the machine trusts, and what servers show."""

    ca: Path
    bundle: Path
    certificate: Path
    key: Path

    @property
    def shown(self) -> tuple[str, str]:
        """The arguments by which a server of the bench is told what to show."""
        return str(self.certificate), str(self.key)


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """Make what a server of the bench wraps its connections with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def make_authority(folder: Path) -> Authority:
    """Make an authority, and a certificate of it for 127.0.0.1, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(*(folder / name for name in ("ca.pem", "bundle.pem", "server.pem", "server.key")))
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Pullahead bench")])
    ca = (
        _certificate(name, name, ca_key.public_key(), is_authority=True)
        .add_extension(_SIGNS_CERTIFICATES, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    certificate = (
        _certificate(server, name, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    ca_pem = ca.public_bytes(Encoding.PEM)
    authority.ca.write_bytes(ca_pem)
    authority.bundle.write_bytes(Path(certifi.where()).read_bytes() + ca_pem)
    authority.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    authority.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return authority


@contextlib.contextmanager
def trusted(authority: Authority) -> Iterator[None]:
    """Let this process and whatever it starts trust the authority until the end of the block."""
    before = dict(os.environ)
    os.environ.update({name: str(authority.ca) for name in _OWN_ONLY}, SSL_CERT_FILE=str(authority.bundle))
    os.environ.pop("SSL_CERT_DIR", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def environment_of_tools(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out what only the bench itself goes by: every tool is told of the authority in the same way."""
    return {name: value for name, value in environment.items() if name not in _OWN_ONLY}


def trust_whatever_asks() -> None:
    """Let this process's libraries trust SSL_CERT_FILE although they ask certifi; call it before they are imported."""
    certifi.where = lambda: os.environ["SSL_CERT_FILE"]


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool = False
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
        .not_valid_before(now - _VALID)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
