"""Debian's docker-registry with a token service, with basic authorization, and with TLS by a private CA."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import bcrypt
import pytest

from local.images import push_image
from pullahead.errors import AccessDeniedError, RegistryUnavailableError
from pullahead.oci import Reference, Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential
from pullahead.rules.model import UpstreamSettings
from tests.certificates import Certified, self_signed
from tests.contract.styles.parts import BLOB, IMAGE
from tests.contract.styles.token_server import ISSUER, SERVICE, TokenServer
from tests.real_servers import docker_registry
from tests.serving import serving

pytestmark = pytest.mark.real_registry
KNOWN = Credential("reader", "right-secret")


class Guarded(NamedTuple):
    """A registry that is up, how it is to be reached, and how often its token service was asked."""

    host: str
    settings: dict[str, UpstreamSettings]
    tokens_asked: Callable[[], int] = lambda: 0

    def upstream(self, credential: Credential | None) -> UpstreamRegistry:
        return UpstreamRegistry(
            lambda host: self.settings.get(host, UpstreamSettings(host)), credentials=lambda _: credential
        )

    def head(self, credential: Credential | None) -> bool:
        reference = Reference(Repository(self.host, "team/app"), "1.0")
        return self.upstream(credential).head_manifest(reference) == IMAGE.root.descriptor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry's folder with content, pushed without a login."""
    folder = tmp_path_factory.mktemp("registry")
    with docker_registry(folder) as host:
        push_image(IMAGE, f"http://{host}", "team/app", "1.0")
    return folder


@pytest.fixture(scope="module")
def certified() -> Certified:
    return self_signed(rsa_key=True)


@pytest.fixture
def basic(folder: Path) -> Iterator[Guarded]:
    users = folder / "htpasswd"
    hashed = bcrypt.hashpw(KNOWN.secret.encode(), bcrypt.gensalt(rounds=4))
    users.write_bytes(KNOWN.username.encode() + b":" + hashed)
    with docker_registry(folder, auth=f"auth: {{htpasswd: {{realm: r, path: {users}}}}}\n") as host:
        yield Guarded(host, {host: UpstreamSettings(host, plain_http=True)})


@pytest.fixture
def token(folder: Path, certified: Certified) -> Iterator[Guarded]:
    path = certified.write(folder)
    bundle = folder / "bundle.pem"
    bundle.write_text(certified.certificate)
    with serving(tokens := TokenServer(certified, path, KNOWN)):
        auth = (
            f"auth: {{token: {{realm: 'https://{tokens.host}/token', service: {SERVICE}, issuer: {ISSUER}, "
            f"rootcertbundle: {bundle}}}}}\n"
        )
        with docker_registry(folder, auth=auth, certified=path) as host:
            hosts = (host, tokens.host)
            pem = certified.certificate
            settings = {each: UpstreamSettings(each, private_addresses=True, ca=pem) for each in hosts}
            yield Guarded(host, settings, lambda: tokens.asked)


@pytest.fixture(params=["basic", "token"])
def registry(request: pytest.FixtureRequest) -> Guarded:
    chosen: Guarded = request.getfixturevalue(request.param)
    return chosen


def test_registry_with_a_login_is_read(registry: Guarded) -> None:
    upstream, repository = registry.upstream(KNOWN), Repository(registry.host, "team/app")
    assert upstream.head_manifest(Reference(repository, "1.0")) == IMAGE.root.descriptor
    assert upstream.get_manifest(Reference(repository, "1.0")) == IMAGE.root
    for first_byte in (0, 4000):
        with upstream.open_blob(repository, BLOB, first_byte) as pieces:
            assert b"".join(pieces) == IMAGE.read_blob(BLOB.digest)[first_byte:]
    assert upstream.list_tags(repository) == ("1.0",)
    assert upstream.list_referrers(Reference(repository, "1.0"), IMAGE.digest) == ()
    assert registry.tokens_asked() <= 1  # one scope, one token


@pytest.mark.parametrize("credential", [None, Credential("reader", "wrong-secret")])
def test_wrong_credential_is_a_refusal(registry: Guarded, credential: Credential | None) -> None:
    with pytest.raises(AccessDeniedError) as caught:
        registry.head(credential)
    assert not any(each in str(caught.value) for each in ("right-secret", "wrong-secret"))


@pytest.mark.parametrize("ca", [None, self_signed().certificate], ids=["the system's", "another"])
def test_private_ca_needs_a_rule(token: Guarded, ca: str | None) -> None:
    settings = {host: each._replace(ca=ca) for host, each in token.settings.items()}
    with pytest.raises(RegistryUnavailableError, match="not trusted"):
        token._replace(settings=settings).head(KNOWN)


def test_token_service_needs_a_rule(token: Guarded) -> None:
    settings = {token.host: token.settings[token.host]}
    with pytest.raises(AccessDeniedError, match="loopback address, which is refused"):
        token._replace(settings=settings).head(KNOWN)
    assert token.tokens_asked() == 0
