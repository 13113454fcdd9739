"""An untrusted certificate."""

import http.server
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from pullahead.errors import RegistryUnavailableError
from pullahead.oci import Reference, Repository
from tests.certificates import self_signed
from tests.serving import serving
from tests.unit.registry.harness import FakeTime, upstream_of


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[str]:
    """The host of a server that vouches for itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed().write(tmp_path))
    server = _Server(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield f"127.0.0.1:{server.server_address[1]}"


class _Server(http.server.HTTPServer):
    def handle_error(self, *_: object) -> None:
        """Print nothing: that the client goes away is what the test wants."""


def test_untrusted_certificate_is_not_retried(stranger: str) -> None:
    time = FakeTime()
    upstream = upstream_of(time=time, plain_http=False)
    with pytest.raises(RegistryUnavailableError, match="certificate is not trusted"):
        upstream.head_manifest(Reference(Repository(stranger, "team/app"), "1.0"))
    assert time.slept == []
