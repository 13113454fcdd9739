"""URLs that a manifest names: which hosts get a credential, and which addresses are allowed."""

import socket
from pathlib import Path

import pytest

from local.images import make_image
from local.registry.answers import Answer
from pullahead.errors import AccessDeniedError, NotFoundError
from pullahead.oci import Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential
from pullahead.rules.model import UpstreamSettings
from tests.fakes.internet import HttpRequest, Internet
from tests.unit.registry.guarding import LISTED, PUBLIC, guarded, port_of
from tests.unit.registry.harness import SECRET, FakeTime, last_blob

IMAGE = make_image([3000], seed=4)
BLOB = last_blob(IMAGE)
CONTENT = IMAGE.read_blob(BLOB.digest)
REPOSITORY = Repository(PUBLIC, "team/app")
URL = f"https://{LISTED}/v2/layers/blobs/{BLOB.digest}?sig={SECRET}"


@pytest.fixture(autouse=True)
def served(internet: Internet) -> None:
    internet.sites[LISTED] = lambda _: Answer(200, {}, CONTENT)


def read(upstream: UpstreamRegistry, url: str = URL) -> bytes:
    with upstream.open_url(REPOSITORY, url, BLOB) as pieces:
        return b"".join(pieces)


def test_foreign_url_is_read_without_a_credential(internet: Internet, ca: Path) -> None:
    upstream = UpstreamRegistry(
        UpstreamSettings,
        ca=str(ca),
        network=internet.network,
        sleep=FakeTime().sleep,
        credentials=lambda _: Credential("alice", SECRET),
    )
    assert read(upstream) == CONTENT
    challenges = {"WWW-Authenticate": 'Basic realm="x"'}
    internet.sites[LISTED] = lambda _: Answer(401, challenges)
    with pytest.raises(AccessDeniedError):
        read(upstream)
    assert (internet.hosts_sent_credentials(), len(internet.asked)) == (set(), 2)


def test_foreign_url_that_redirects_back_gets_no_credential(internet: Internet, ca: Path) -> None:
    def send_back(_: HttpRequest) -> Answer:
        return Answer(307, {"Location": f"https://{PUBLIC}/v2/team/app/blobs/{BLOB.digest}"})

    internet.sites.update({LISTED: send_back, PUBLIC: lambda _: Answer(200, {}, CONTENT)})
    assert read(guarded(network=internet.network, ca=ca, trusts_the_first=True)) == CONTENT
    assert internet.hosts_sent_credentials() == set()


@pytest.mark.parametrize("names_it", [False, True])
def test_public_manifest_does_not_lead_within(
    internet: Internet, ca: Path, within: socket.socket, names_it: bool
) -> None:
    host = f"127.0.0.1:{port_of(within)}"
    allowed = [UpstreamSettings(host, private_addresses=True)] if names_it else []
    network = internet.network._replace(resolve=lambda name, _: [name])
    upstream = guarded(*allowed, network=network, ca=ca, trusts_the_first=True)
    with pytest.raises(AccessDeniedError, match="a loopback address, which is refused"):
        read(upstream, f"https://{host}/layer")
    assert internet.connected == []


@pytest.mark.parametrize("names_it", [False, True])
def test_public_manifest_does_not_lead_to_plain_http(internet: Internet, ca: Path, names_it: bool) -> None:
    allowed = [UpstreamSettings(LISTED, plain_http=True)] if names_it else []
    upstream = guarded(*allowed, network=internet.network, ca=ca, trusts_the_first=True)
    with pytest.raises(AccessDeniedError, match="is asked by plain HTTP, which is refused"):
        read(upstream, URL.replace("https:", "http:"))
    assert internet.connected == []


def test_redirect_of_a_url_does_not_leave_tls(internet: Internet, ca: Path) -> None:
    internet.sites[LISTED] = lambda _: Answer(307, {"Location": f"http://{LISTED}/elsewhere"})
    with pytest.raises(AccessDeniedError, match="from https to http"):
        read(guarded(network=internet.network, ca=ca))
    assert len(internet.asked) == 1


@pytest.mark.parametrize(
    "url", ["", "//", "layer", "ftp://listed.example/x", f"https://alice:{SECRET}@listed.example/x"]
)
def test_invalid_url_is_neither_followed_nor_quoted(internet: Internet, ca: Path, url: str) -> None:
    with pytest.raises(NotFoundError, match="the manifest names an invalid URL") as caught:
        read(guarded(network=internet.network, ca=ca), url)
    assert SECRET not in str(caught.value)
    assert internet.connected == []


def test_signature_is_not_quoted(internet: Internet, ca: Path) -> None:
    internet.sites[LISTED] = lambda _: Answer(404)
    with pytest.raises(
        NotFoundError, match=f"reading the blob of {BLOB.digest} from {LISTED} at the upstream"
    ) as caught:
        read(guarded(network=internet.network, ca=ca))
    assert SECRET not in str(caught.value)
