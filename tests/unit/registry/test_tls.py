"""A certificate that nobody vouches for."""

import datetime
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pullahead.errors import RegistryUnavailableError
from pullahead.oci import Reference, Repository
from tests.unit.registry.harness import FakeTime, upstream_of


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[str]:
    """The host of a server that vouches for itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_self_signed(tmp_path / "stranger.pem"))
    with _Server(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class _Server(http.server.HTTPServer):
    def handle_error(self, *_: object) -> None:
        """Print nothing: that the client goes away is what the test wants."""


def test_untrusted_certificate_is_asked_again(stranger: str) -> None:
    time = FakeTime()
    upstream = upstream_of(time=time, plain_http=False)
    with pytest.raises(RegistryUnavailableError, match="certificate is not to be trusted"):
        upstream.head_manifest(Reference(Repository(stranger, "team/app"), "1.0"))
    assert time.slept == []


def _self_signed(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return path
