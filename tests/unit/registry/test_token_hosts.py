"""Token services of another domain: a credential goes there only where the rules list them."""

from collections.abc import Iterator

import pytest

from local.registry.answers import Answer, json_answer
from pullahead.errors import AccessDeniedError
from pullahead.oci import Reference, Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential
from pullahead.rules.model import UpstreamSettings
from tests.fakes.internet import HttpRequest, Internet
from tests.unit.registry.guarding import IMAGE
from tests.unit.registry.harness import SECRET

REGISTRY, AUTH = "registry.example", "auth.elsewhere.example"
REFERENCE = Reference(Repository(REGISTRY, "team/app"), "1.0")


def registry(asked: HttpRequest) -> Answer:
    """Ask for a token of a service of another domain."""
    if asked.authorization == "Bearer t":
        manifest = IMAGE.root
        headers = {"Content-Type": manifest.descriptor.media_type, "Docker-Content-Digest": IMAGE.digest}
        return Answer(200, headers, manifest.content)
    return Answer(401, {"WWW-Authenticate": f'Bearer realm="https://{AUTH}/token",service="s"'})


@pytest.fixture
def internet() -> Iterator[Internet]:
    with (outside := Internet({REGISTRY: registry, AUTH: lambda _: json_answer(200, {"token": "t"})})).up():
        yield outside


def upstream_of(internet: Internet, *token_hosts: str, credential: Credential | None = None) -> UpstreamRegistry:
    pem = internet.certified.certificate
    return UpstreamRegistry(
        lambda host: UpstreamSettings(host, ca=pem, token_hosts=token_hosts if host == REGISTRY else ()),
        network=internet.network,
        credentials=lambda _: credential,
    )


def test_listed_token_service_gets_the_credential(internet: Internet) -> None:
    upstream = upstream_of(internet, AUTH, credential=Credential("user", SECRET))
    assert upstream.head_manifest(REFERENCE) == IMAGE.root.descriptor
    assert [each.authorization for each in internet.asked if each.host == AUTH] == [Credential("user", SECRET).basic]


@pytest.mark.parametrize("token_hosts", [(), ("elsewhere.example",), (f"{AUTH}:8443",), ("auth.example",)])
def test_unlisted_token_service_gets_no_credential(internet: Internet, token_hosts: tuple[str, ...]) -> None:
    upstream = upstream_of(internet, *token_hosts, credential=Credential("user", SECRET))
    with pytest.raises(AccessDeniedError) as caught:
        upstream.head_manifest(REFERENCE)
    assert caught.value.advice == (
        f"If {AUTH} may have it, allow it: `token_hosts: [{AUTH}]` for {REGISTRY} under `upstreams` in the rules, "
        f"or --token-host {AUTH} for a command."
    )
    assert SECRET not in str(caught.value)
    assert [each.host for each in internet.asked] == [REGISTRY]


def test_anonymous_token_needs_no_rule(internet: Internet) -> None:
    assert upstream_of(internet).head_manifest(REFERENCE) == IMAGE.root.descriptor
    assert internet.hosts_sent_credentials() == {REGISTRY}
