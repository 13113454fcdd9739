"""AWS clients share their TLS settings, and verify certificates and names as those of boto3 do."""

import http.server
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import SSLError

from pullahead.aws.clients import AwsClients, TrustOnce
from tests.certificates import Certified, self_signed
from tests.serving import serving

CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5)


class _Aws(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"TableNames": [], "repositories": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Print nothing: that the client goes away is what a test wants."""


@pytest.fixture(params=["127.0.0.1"])
def certified(request: Any) -> Certified:
    return self_signed([request.param])


@pytest.fixture
def bundle(certified: Certified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The certificate of a server on this machine that answers as AWS does; clients are led there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = certified.write(tmp_path)
    context.load_cert_chain(path)
    server = _Server(("127.0.0.1", 0), _Aws)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    for name, value in (
        ("AWS_ENDPOINT_URL", f"https://127.0.0.1:{server.server_address[1]}"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("NO_PROXY", "127.0.0.1"),
    ):
        monkeypatch.setenv(name, value)
    with serving(server):
        yield path


def context_of(client: Any) -> ssl.SSLContext:
    context: ssl.SSLContext = client._endpoint.http_session._manager.connection_pool_kw["ssl_context"]
    return context


def test_clients_share_settings_that_read_the_certificates_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    make = AwsClients(CONFIG)
    dynamodb, ecr = make("dynamodb"), make("ecr")
    assert dynamodb.list_tables()["TableNames"] == []
    assert ecr.describe_repositories()["repositories"] == []
    assert context_of(dynamodb) is context_of(ecr)
    assert isinstance(context_of(dynamodb), TrustOnce)


def test_certificates_are_read_once(tmp_path: Path) -> None:
    path = self_signed().write(tmp_path)
    context = TrustOnce(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(path))
    path.unlink()
    context.load_verify_locations(str(path))
    assert context.cert_store_stats()["x509"] == 1


@pytest.mark.usefixtures("bundle")
def test_untrusted_certificate_is_refused() -> None:
    with pytest.raises(SSLError, match="certificate verify failed"):
        AwsClients(CONFIG)("dynamodb").list_tables()


@pytest.mark.parametrize("certified", ["elsewhere.example"], indirect=True)
def test_certificate_for_another_name_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with pytest.raises(SSLError, match="certificate verify failed"):
        AwsClients(CONFIG)("dynamodb").list_tables()


def test_settings_are_no_weaker_than_botocores_own(bundle: Path) -> None:
    assert bundle.is_file()
    ours, theirs = (
        context_of(make("sqs")) for make in (AwsClients(CONFIG), botocore.session.get_session().create_client)
    )
    assert ours is not theirs
    assert ours.minimum_version >= theirs.minimum_version
    assert ours.options & theirs.options == theirs.options
    assert (ours.verify_mode, ours.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_service_that_is_not_listed_is_an_error_that_names_it() -> None:
    with pytest.raises(botocore.exceptions.UnknownServiceError, match="ec2"):
        AwsClients(CONFIG)("ec2")


def test_client_for_when_it_is_used_is_made_once_and_then(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with pytest.raises(botocore.exceptions.UnknownServiceError):
        AwsClients(CONFIG).when_used("ec2").describe_instances()
    dynamodb = AwsClients(CONFIG).when_used("dynamodb")
    assert [dynamodb.list_tables()["TableNames"] for _ in range(2)] == [[], []]
