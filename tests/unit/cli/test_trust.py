"""Certificates of one's own: trusted where they were named, and nowhere else."""

import datetime
import http.server
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.serving import serving
from tests.unit.cli.conftest import Run


class _Tags(http.server.BaseHTTPRequestHandler):
    """Lists one tag, whatever is asked."""

    def do_GET(self) -> None:
        body = b'{"tags": ["1.0"]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class _Server(http.server.HTTPServer):
    def handle_error(self, *_: object) -> None:
        """Print nothing: that the client goes away is what a test wants."""


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def repository(ca: Path) -> Iterator[str]:
    """A repository behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca)
    server = _Server(("127.0.0.1", 0), _Tags)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield f"127.0.0.1:{server.server_address[1]}/team/app"


def test_untrusted_certificate_is_refused(repository: str, run: Run) -> None:
    assert "certificate" in run("tags", repository, insecure=()).failure


def test_certificate_of_a_named_ca_is_accepted(repository: str, ca: Path, run: Run) -> None:
    assert run("tags", repository, "--ca", str(ca), insecure=()) == (0, "1.0\n", "")


def test_certificate_of_a_ca_in_the_environment_is_accepted(
    repository: str, ca: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    assert run("tags", repository, insecure=()) == (0, "1.0\n", "")


def test_requests_ca_bundle_does_not_override_the_named_ca(
    repository: str, ca: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    assert run("tags", repository, "--ca", str(ca), insecure=()) == (0, "1.0\n", "")
