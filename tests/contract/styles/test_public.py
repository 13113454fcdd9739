"""Public registries are followed by their own manners, with as few requests as those allow."""

import pytest

from pullahead.errors import NotFoundError, RateLimitedError
from pullahead.registry.credentials import Credential
from tests.contract.styles.following import following, paths
from tests.contract.styles.parts import BLOB, IMAGE
from tests.contract.styles.public import Chainguard, DockerHub, EcrPublic, Ghcr, Kubernetes, Microsoft, Quay

NAMES = [f"1.{number}" for number in range(230)]
ACCOUNT = Credential("me", "my-secret")


class TestDockerHub:
    def test_image_costs_no_more_requests_than_it_must(self) -> None:
        with following(DockerHub()) as (internet, client):
            assert client.head("docker.io", "library/alpine", "3.20")
            assert client.head("docker.io", "library/alpine", "3.20")
            assert client.get("docker.io", "library/alpine", "3.20")
            assert client.read("docker.io", "library/alpine")
        manifest = "registry-1.docker.io/v2/library/alpine/manifests/3.20"
        blob = f"/v2/library/alpine/blobs/{BLOB.digest}"
        assert internet.requests == [
            f"HEAD {manifest}",
            "GET auth.docker.io/token",
            f"HEAD {manifest}",
            f"HEAD {manifest}",
            f"GET {manifest}",
            f"GET registry-1.docker.io{blob}",
            f"GET production.cloudflare.docker.com{blob}",
        ]
        assert internet.hosts_sent_credentials() == {"registry-1.docker.io"}

    def test_account_is_sent_to_the_token_service_only(self) -> None:
        with following(DockerHub(known=[ACCOUNT]), ACCOUNT) as (internet, client):
            assert client.head("docker.io", "library/alpine", "3.20")
            assert client.read("docker.io", "library/alpine")
        assert {asked.host for asked in internet.asked if asked.authorization == ACCOUNT.basic} == {"auth.docker.io"}
        assert "production.cloudflare.docker.com" not in internet.hosts_sent_credentials()

    def test_pull_limit_is_a_rate_limit(self) -> None:
        with following(DockerHub(remaining=0)) as (internet, client):
            with pytest.raises(RateLimitedError) as caught:
                client.get("docker.io", "library/alpine", "3.20")
            assert client.head("docker.io", "library/alpine", "3.20")  # which is not counted
        assert "limit" in str(caught.value)
        assert len(paths(internet, "registry-1.docker.io")) <= 5


class TestGhcr:
    def test_public_image_needs_no_account(self) -> None:
        with following(Ghcr()) as (internet, client):
            assert client.head("ghcr.io", "team/app")
            assert client.read("ghcr.io", "team/app", 4000)
        assert paths(internet, "ghcr.io").count("GET /token") == 1
        assert internet.hosts_sent_credentials() == {"ghcr.io"}
        assert internet.asked[-1].headers["range"] == "bytes=4000-"

    def test_signed_address_that_expired_is_replaced(self) -> None:
        style = Ghcr(uses=0)

        def wait(_: float) -> None:
            style.signed.uses = 1

        with following(style, sleep=wait) as (internet, client):
            assert client.read("ghcr.io", "team/app")
        assert [asked.query["sig"] for asked in internet.asked if "sig" in asked.query] == [["s1"], ["s2"]]

    def test_tags_of_all_pages_are_listed(self) -> None:
        with following(Ghcr(NAMES)) as (internet, client):
            assert client.tags("ghcr.io", "team/app") == tuple(NAMES)
        assert paths(internet, "ghcr.io").count("GET /v2/team/app/tags/list") == 1 + 3  # 401, and pages of a hundred


class TestQuay:
    def test_missing_digest_is_computed(self) -> None:
        with following(Quay()) as (internet, client):
            assert client.head("quay.io", "team/app")
        assert paths(internet, "quay.io") == ["HEAD /v2/team/app/manifests/1.0", "GET /v2/team/app/manifests/1.0"]

    def test_blob_with_a_content_encoding_is_not_decoded(self) -> None:
        with following(Quay()) as (internet, client):
            assert client.read("quay.io", "team/app")
        assert [asked.headers["accept-encoding"] for asked in internet.asked] == ["identity"]

    def test_smaller_pages_than_requested_are_read(self) -> None:
        with following(Quay(NAMES)) as (internet, client):
            assert client.tags("quay.io", "team/app") == tuple(NAMES)
        assert len(internet.asked) == 5

    def test_limit_in_html_is_retried(self) -> None:
        style, slept = Quay(), list[float]()
        style.busy = 2
        with following(style, sleep=slept.append) as (internet, client):
            assert client.get("quay.io", "team/app")
        assert len(internet.asked) == 3
        assert len(slept) >= 2

    def test_limit_in_html_is_a_rate_limit(self) -> None:
        style = Quay()
        style.busy = 99
        with following(style) as (internet, client), pytest.raises(RateLimitedError) as caught:
            client.head("quay.io", "team/app")
        assert "html" not in str(caught.value)
        assert len(internet.asked) <= 3


class TestKubernetes:
    def test_regional_host_may_ask_for_a_token(self) -> None:
        with following(Kubernetes()) as (internet, client):
            assert client.head("registry.k8s.io", "pause", "3.9")
            assert client.head("registry.k8s.io", "pause", "3.9")
        regional = "HEAD /v2/k8s-artifacts-prod/images/pause/manifests/3.9"
        assert paths(internet, Kubernetes.region) == [regional, "GET /v2/token", regional, regional]
        assert len(paths(internet, "registry.k8s.io")) == 2

    def test_regional_host_gets_no_credential(self) -> None:
        with following(Kubernetes(), ACCOUNT) as (internet, client):
            assert client.get("registry.k8s.io", "pause", "3.9")
            assert client.read("registry.k8s.io", "pause")
        assert ACCOUNT.basic not in {asked.authorization for asked in internet.asked}
        assert internet.hosts_sent_credentials() == {Kubernetes.region}

    def test_missing_tag_is_not_found(self) -> None:
        with following(Kubernetes()) as (_, client), pytest.raises(NotFoundError):
            client.head("registry.k8s.io", "pause", "0.0")


def test_microsoft_needs_no_token() -> None:
    with following(Microsoft()) as (internet, client):
        assert client.head("mcr.microsoft.com", "dotnet/runtime", "8.0")
        assert client.read("mcr.microsoft.com", "dotnet/runtime")
    assert len(internet.asked) == 3
    assert internet.hosts_sent_credentials() == set()


class TestEcrPublic:
    def test_anonymous_token_is_kept(self) -> None:
        with following(EcrPublic()) as (internet, client):
            for _ in range(3):
                assert client.head("public.ecr.aws", "docker/library/alpine", "3.20")
            assert client.read("public.ecr.aws", "docker/library/alpine")
        assert paths(internet, "public.ecr.aws").count("GET /token/") == 1
        assert internet.hosts_sent_credentials() == {"public.ecr.aws"}

    def test_rate_limit_is_retried(self) -> None:
        style = EcrPublic()
        style.busy = 1
        with following(style) as (_, client):
            assert client.head("public.ecr.aws", "docker/library/alpine", "3.20")

    def test_rate_that_stays_exceeded_is_an_error(self) -> None:
        style = EcrPublic()
        style.busy = 99
        with following(style) as (_, client), pytest.raises(RateLimitedError, match="Rate exceeded"):
            client.get("public.ecr.aws", "docker/library/alpine", "3.20")


def test_chainguard_receives_the_token_of_its_repository() -> None:
    with following(Chainguard()) as (internet, client):
        for repository in (*Chainguard.repositories, *Chainguard.repositories):
            assert client.head("cgr.dev", repository, "latest")
    assert paths(internet, "cgr.dev").count("GET /token") == 2
    assert len(internet.asked) == 2 * 3 + 2


def test_every_registry_serves_the_same_bytes() -> None:
    for style, host, tag in (
        (DockerHub(), "docker.io", "3.20"),
        (Ghcr(), "ghcr.io", "1.0"),
        (Quay(), "quay.io", "1.0"),
        (Microsoft(), "mcr.microsoft.com", "8.0"),
    ):
        with following(style) as (_, client):
            assert client.get(host, style.repository, tag)
            assert client.read(host, style.repository, len(IMAGE.read_blob(BLOB.digest)) - 1)
