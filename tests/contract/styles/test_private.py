"""Private registries are read as each of them requires, and no other host receives the credential."""

import pytest

from pullahead.errors import AccessDeniedError, NotFoundError
from pullahead.registry.credentials import Credential
from pullahead.rules.model import UpstreamSettings
from tests.contract.styles.following import following, paths
from tests.contract.styles.private import Artifactory, Azure, Ecr, Forgejo, GitLab, Google, Harbor, Nexus, Nvidia

NAMES = [f"1.{number:03}" for number in range(230)]


class TestAzure:
    def test_storage_gets_no_authorization(self) -> None:
        with following(Azure(), Azure.known) as (internet, client):
            assert client.head(Azure.host, Azure.repository)
            assert client.read(Azure.host, Azure.repository, 17)
        assert paths(internet, Azure.host).count("GET /oauth2/token") == 1
        assert internet.hosts_sent_credentials() == {Azure.host}

    def test_wrong_password_is_tried_once(self) -> None:
        known = Credential("pull-token", "wrong")
        with following(Azure(), known) as (internet, client), pytest.raises(AccessDeniedError) as caught:
            client.head(Azure.host, Azure.repository)
        assert "wrong" not in str(caught.value)
        assert len(internet.asked) <= 4


class TestGoogle:
    def test_token_is_sent_for_its_repository_only(self) -> None:
        with following(Google(), Google.known) as (internet, client):
            for repository in (*Google.repositories, *Google.repositories):
                assert client.head(Google.host, repository)
        assert paths(internet, Google.host).count("GET /v2/token") == 2
        assert len(internet.asked) == 2 * 3 + 2

    def test_maps_beside_the_tags_are_ignored(self) -> None:
        with following(Google(), Google.known) as (_, client):
            assert client.tags(Google.host, Google.repositories[0]) == ("1.0",)


def test_dollar_of_nvidias_user_is_sent() -> None:
    with following(Nvidia(), Nvidia.known) as (internet, client):
        assert client.head(Nvidia.host, Nvidia.repository)
        assert client.get(Nvidia.host, Nvidia.repository)
    assert [asked.authorization for asked in internet.asked if asked.path == "/proxy_auth"] == [Nvidia.known.basic]


def test_password_of_ecr_does_not_go_to_the_bucket() -> None:
    with following(Ecr(), Ecr.known) as (internet, client):
        assert client.head(Ecr.host, Ecr.repository)
        assert client.read(Ecr.host, Ecr.repository)
    assert len(internet.asked) == 2 + 2  # one refusal, which is remembered
    assert internet.hosts_sent_credentials() == {Ecr.host}


class TestGitLab:
    def test_token_service_is_taken_for_its_own(self) -> None:
        with following(GitLab(), GitLab.known) as (internet, client):
            assert client.head(GitLab.host, GitLab.repository)
        assert paths(internet, "gitlab.com") == ["GET /jwt/auth"]
        assert internet.hosts_sent_credentials() == {GitLab.host, "gitlab.com"}

    def test_next_page_is_followed_by_its_query(self) -> None:
        with following(GitLab(NAMES), GitLab.known) as (internet, client):
            assert client.tags(GitLab.host, GitLab.repository) == tuple(NAMES)
        assert len(paths(internet, GitLab.host)) == 1 + 3


class TestHarbor:
    SETTINGS = UpstreamSettings(Harbor.host, private_addresses=True)

    def test_own_registry_can_be_read(self) -> None:
        with following(Harbor(), Harbor.known, {Harbor.host: self.SETTINGS}) as (internet, client):
            internet.addresses[Harbor.host] = ["10.20.0.7"]
            assert client.head(Harbor.host, Harbor.repository)
            assert client.read(Harbor.host, Harbor.repository)
        assert internet.connected == [("10.20.0.7", 443)]

    def test_own_registry_needs_a_rule(self) -> None:
        with following(Harbor(), Harbor.known) as (internet, client):
            internet.addresses[Harbor.host] = ["10.20.0.7"]
            with pytest.raises(AccessDeniedError, match="private_addresses: true"):
                client.head(Harbor.host, Harbor.repository)
        assert internet.connected == []


class TestArtifactory:
    def test_challenge_without_a_scope_gets_a_token_for_the_repository(self) -> None:
        with following(Artifactory(), Artifactory.known) as (internet, client):
            assert client.head(Artifactory.host, Artifactory.repository)
        assert len(internet.asked) == 3

    def test_next_page_is_in_the_virtual_repository(self) -> None:
        with following(Artifactory(NAMES[:5]), Artifactory.known) as (internet, client):
            assert client.tags(Artifactory.host, Artifactory.repository) == tuple(NAMES[:5])
        listed = f"GET /v2/{Artifactory.repository}/tags/list"
        assert paths(internet, Artifactory.host) == [listed, "GET /v2/token", listed, listed, listed]


class TestNexus:
    @pytest.mark.parametrize("status", [404, 405])
    def test_refused_head_is_replaced_by_get(self, status: int) -> None:
        with following(Nexus(status), Nexus.known) as (internet, client):
            assert client.head(Nexus.host, Nexus.repository)
        manifest = f"/v2/{Nexus.repository}/manifests/1.0"
        assert paths(internet, Nexus.host) == [f"HEAD {manifest}", f"HEAD {manifest}", f"GET {manifest}"]

    @pytest.mark.parametrize("status", [404, 405])
    def test_missing_tag_is_not_found(self, status: int) -> None:
        with following(Nexus(status), Nexus.known) as (_, client), pytest.raises(NotFoundError):
            client.head(Nexus.host, Nexus.repository, "missing")


@pytest.mark.parametrize("credential", [None, Credential("me", "my-secret")])
def test_second_of_two_challenges_is_found(credential: Credential | None) -> None:
    with following(Forgejo(), credential) as (internet, client):
        assert client.head(Forgejo.host, Forgejo.repository)
        assert client.get(Forgejo.host, Forgejo.repository)
    (token,) = [asked for asked in internet.asked if asked.path == "/v2/token"]
    assert token.query["scope"] == [f"repository:{Forgejo.repository}:pull"]
    assert len(internet.asked) == 4
