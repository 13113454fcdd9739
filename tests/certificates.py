"""Certificates for servers of tests: made on request, trusted only where a test says so."""

import base64
import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Certified(NamedTuple):
    """A key and the certificate that it has signed itself, as PEM."""

    key: str
    certificate: str

    @property
    def der(self) -> str:
        """The certificate as base64 of DER."""
        parsed = x509.load_pem_x509_certificate(self.certificate.encode())
        return base64.b64encode(parsed.public_bytes(Encoding.DER)).decode()

    def write(self, folder: Path, name: str = "own") -> Path:
        """Write both into one file, as servers and clients of TLS read them, and return it."""
        path = folder / f"{name}.pem"
        path.write_text(self.key + self.certificate)
        return path


def self_signed(hosts: Sequence[str] = ("127.0.0.1",), *, rsa_key: bool = False) -> Certified:
    """Make a certificate for names and addresses, which vouches for itself."""
    key = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
    return Certified(_pem(key), _signed(hosts, key, hosts[0], key))


def by_a_plain_authority(hosts: Sequence[str]) -> tuple[Certified, str]:
    """Make a certificate, and that of the authority that signed it without identifying its key in it."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    certificate = _signed(["Plain CA"], authority, "Plain CA", authority)
    return Certified(_pem(key), _signed(hosts, key, "Plain CA", authority)), certificate


def _signed(hosts: Sequence[str], key: _Key, issuer: str, issuer_key: _Key) -> str:
    now = datetime.datetime.now(datetime.UTC)
    is_authority = key is issuer_key
    certificate = (
        x509.CertificateBuilder(_name(issuer), _name(hosts[0]), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode()


def _pem(key: _Key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
