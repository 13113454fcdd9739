"""Hosts that are named insecure: unverified TLS, else plain HTTP; other hosts are not affected."""

from collections.abc import Collection

import pytest

from local.registry import FakeRegistry
from pullahead.errors import AccessDeniedError, RegistryUnavailableError
from pullahead.oci.registries import Offered
from pullahead.registry.address_guard import SYSTEM_NETWORK
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.hosts import Schemes
from pullahead.registry.request import Request, Timeouts
from pullahead.rules.model import UpstreamSettings
from tests.fakes.internet import Internet
from tests.unit.registry.guarding import IMAGE, LISTED, PUBLIC, Public, head, reference_at
from tests.unit.registry.push.harness import BLOB, REPOSITORY, UPLOADS, Pieces, Reply, ScriptedRegistry, target_of


def insecurely(hosts: Collection[str], internet: Internet | None = None) -> UpstreamRegistry:
    """Make a client as the command line does."""

    def settings(host: str) -> UpstreamSettings:
        return UpstreamSettings(host, plain_http=host in hosts, private_addresses=host in hosts)

    network = SYSTEM_NETWORK if internet is None else internet.network
    return UpstreamRegistry(settings, insecure=hosts, timeouts=Timeouts(connect=2, read=5), network=network)


def test_certificate_is_not_verified(internet: Internet) -> None:
    head(insecurely({LISTED}, internet), LISTED)
    assert {port for _, port in internet.connected} == {443}


def test_host_without_tls_is_asked_by_plain_http(registry: FakeRegistry) -> None:
    registry.push(IMAGE, "team/app", "1.0")
    upstream = insecurely({registry.host})
    for _ in range(2):
        head(upstream, registry.host)
    assert [request.method for request in registry.requests] == ["HEAD", "HEAD"]
    assert registry.connections == 2  # one of them asked for TLS


def test_certificate_of_another_host_is_verified(internet: Internet) -> None:
    with pytest.raises(RegistryUnavailableError, match="not trusted"):
        insecurely({LISTED}, internet).head_manifest(reference_at(PUBLIC))


def test_certificate_of_where_it_redirects_to_is_verified(internet: Internet, public: Public) -> None:
    public.redirect(f"https://{LISTED}/v2/team/app/manifests/1.0")
    with pytest.raises(RegistryUnavailableError, match="not trusted"):
        insecurely({PUBLIC}, internet).head_manifest(reference_at(PUBLIC))
    assert [f"{asked.host}" for asked in internet.asked] == [PUBLIC]


def test_redirect_from_unverified_tls_to_plain_http_is_refused(internet: Internet, public: Public) -> None:
    public.redirect(f"http://{PUBLIC}/v2/team/app/manifests/1.0")
    with pytest.raises(AccessDeniedError, match="https to http"):
        insecurely({PUBLIC}, internet).head_manifest(reference_at(PUBLIC))


def test_host_that_does_not_answer_is_tried_again() -> None:
    answers = iter([None, None, True])
    schemes = Schemes(lambda _: False, {"registry.example"}, lambda _: next(answers))
    assert [schemes.is_plain("registry.example") for _ in range(3)] == [True, False, False]


def test_host_that_answers_at_the_port_of_plain_http_only_is_tried_once() -> None:
    """Where a firewall drops what goes to the port of TLS, each try takes five seconds."""
    tried: list[str] = []

    def connects(request: Request) -> bool | None:
        tried.append(request.url)
        return True if request.url.startswith("http:") else None

    schemes = Schemes(lambda _: False, {"registry.example"}, connects)
    assert [schemes.is_plain("registry.example") for _ in range(3)] == [True] * 3
    assert tried == ["https://registry.example/v2/", "http://registry.example/v2/"]


def test_host_with_a_port_that_does_not_answer_is_not_taken_for_plain_http() -> None:
    schemes = Schemes(lambda _: False, {"registry.example:5000"}, lambda _: None)
    assert not schemes.is_plain("registry.example:5000")


def test_secure_host_is_not_tried() -> None:
    schemes = Schemes(lambda host: host == "plain.example", {"other.example"}, lambda _: pytest.fail("it was asked"))
    assert [schemes.is_plain(host) for host in ("plain.example", "registry.example")] == [True, False]


def test_target_without_tls_is_asked_by_plain_http(registry: FakeRegistry) -> None:
    with ScriptedRegistry() as plain:
        plain.on("POST", UPLOADS, Reply(201))
        target = target_of(plain, plain_http=False, insecure={plain.host})
        assert target.stream_blob(REPOSITORY, BLOB, Pieces().open) is Offered.PRESENT


def test_upload_may_go_on_at_another_insecure_host() -> None:
    with ScriptedRegistry() as plain:
        elsewhere = plain.same_under_another_name
        plain.on("POST", UPLOADS, Reply(202, {"Location": f"http://{elsewhere}{UPLOADS}1"}))
        plain.on("PUT", UPLOADS, Reply(201))
        target = target_of(plain, plain_http=False, insecure={plain.host, elsewhere})
        assert target.stream_blob(REPOSITORY, BLOB, Pieces().open) is Offered.COPIED
