"""The tags that each sender's payload names, as its vendor documents it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pullahead.webhooks.http import RefusedWebhookError, WebhookRequest, read_webhook_request
from pullahead.webhooks.payload import WebhookTags
from pullahead.webhooks.senders import SENDERS, sender_of
from tests.fakes.webhooks import url_event

EVENTS = Path(__file__).parents[3] / "events"
SAMPLES = sorted(EVENTS.glob("receive_webhook.*.json"))
DIGEST = "sha256:" + "0123456789abcdef" * 4


def call(sender: str, body: object, **headers: str) -> WebhookRequest:
    return read_webhook_request(url_event(f"/{sender}", body, **headers))


def read(sender: str, body: object, **headers: str) -> WebhookTags:
    return SENDERS[sender].read(call(sender, body, **headers))


def names(sender: str, body: object, **headers: str) -> list[str]:
    return [str(reference) for reference in read(sender, body, **headers).references]


def ignored(sender: str, body: object, **headers: str) -> str:
    named = read(sender, body, **headers)
    assert named.references == ()
    return named.ignored


def refusal(sender: str, body: object, **headers: str) -> int:
    with pytest.raises(RefusedWebhookError) as refused:
        read(sender, body, **headers)
    return refused.value.response.status


def changed(payload: Mapping[str, Any], *path: str | int, value: object) -> dict[str, Any]:
    """Copy a payload with one value replaced."""
    copy: Any = json.loads(json.dumps(payload))
    inner = copy
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    whole: dict[str, Any] = copy
    return whole


def test_every_sender_has_a_sample() -> None:
    assert {path.name.split(".")[1] for path in SAMPLES} == set(SENDERS)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_sample_names_one_tag(path: Path) -> None:
    sample = read_webhook_request(json.loads(path.read_text(encoding="utf-8")))
    named = sender_of(sample).read(sample)
    assert {each.tag for each in named.references} == {"1.0"}
    assert {each.repository.path for each in named.references} <= {"team/app", "docker-local/team/app"}


@pytest.mark.parametrize("sender", sorted(SENDERS))
@pytest.mark.parametrize("body", ["", "{", "null", "[]", "1", '"x"', b"\xff\xfe", "[" * 5000, '{"a":' * 50_000])
def test_body_in_another_format_is_refused(sender: str, body: str | bytes) -> None:
    assert refusal(sender, body, x_github_event="package") == 400


class TestDockerHub:
    def test_push_names_the_tag_at_docker_hub(self) -> None:
        body = {"push_data": {"tag": "1.0"}, "repository": {"repo_name": "team/app"}}
        assert names("dockerhub", body) == ["docker.io/team/app:1.0"]

    @pytest.mark.parametrize(
        ("path", "tag"), [("Team/app", "1"), ("team/app:2", "1"), (f"team/app@{DIGEST}", "1"), ("", "1")]
    )
    def test_invalid_repository_is_refused(self, path: str, tag: str) -> None:
        assert refusal("dockerhub", {"push_data": {"tag": tag}, "repository": {"repo_name": path}}) == 400

    @pytest.mark.parametrize("tag", ["", "a b", f"1@{DIGEST}", "x" * 129, "\u00e4"])
    def test_invalid_tag_is_refused(self, tag: str) -> None:
        assert refusal("dockerhub", {"push_data": {"tag": tag}, "repository": {"repo_name": "team/app"}}) == 400


GITHUB_VERSION = {"package_url": "ghcr.io/team/app:1.0", "container_metadata": {"tag": {"name": "1.0"}}}
GITHUB_PACKAGE = {"name": "app", "namespace": "Team", "package_type": "CONTAINER", "package_version": GITHUB_VERSION}


class TestGitHub:
    @pytest.mark.parametrize("event", ["package", "registry_package"])
    def test_container_is_named_in_lower_case(self, event: str) -> None:
        assert names("github", {event: GITHUB_PACKAGE}, x_github_event=event) == ["ghcr.io/team/app:1.0"]

    def test_self_hosted_server_has_its_own_host(self) -> None:
        body = changed(
            {"package": GITHUB_PACKAGE},
            "package",
            "package_version",
            "package_url",
            value="containers.git.corp.com/team/app:",
        )
        assert names("github", body, x_github_event="package") == ["containers.git.corp.com/team/app:1.0"]

    def test_package_without_an_address_is_at_ghcr(self) -> None:
        body = changed({"package": GITHUB_PACKAGE}, "package", "package_version", "package_url", value=None)
        assert names("github", body, x_github_event="package") == ["ghcr.io/team/app:1.0"]

    def test_ping_is_ignored_with_pong(self) -> None:
        assert ignored("github", {"zen": "Keep it logically awesome."}, x_github_event="ping") == "pong"

    @pytest.mark.parametrize("event", ["push", "workflow_run", ""])
    def test_body_of_another_event_is_not_read(self, event: str) -> None:
        assert "package" in ignored("github", "{", x_github_event=event)

    def test_package_of_another_kind_is_ignored(self) -> None:
        body = changed({"package": GITHUB_PACKAGE}, "package", "package_type", value="npm")
        assert ignored("github", body, x_github_event="package") == "not a container package"

    @pytest.mark.parametrize(
        "version", [None, {}, {"container_metadata": None}, {"container_metadata": {"tag": {"name": ""}}}]
    )
    def test_version_without_a_tag_is_ignored(self, version: object) -> None:
        body = changed({"package": GITHUB_PACKAGE}, "package", "package_version", value=version)
        assert ignored("github", body, x_github_event="package") == "the version has no tag"


class TestQuay:
    @pytest.mark.parametrize("tags", [["1.0", "latest", "1.0"], {"1.0": "b750", "latest": "b750"}])
    def test_push_names_every_tag_once(self, tags: object) -> None:
        body = {"docker_url": "quay.io/team/app", "updated_tags": tags}
        assert names("quay", body) == ["quay.io/team/app:1.0", "quay.io/team/app:latest"]

    def test_notification_without_tags_is_ignored(self) -> None:
        assert ignored("quay", {"docker_url": "quay.io/team/app", "build_id": "1"}) == "the notification has no tag"

    @pytest.mark.parametrize("url", ["team/app", "quay.io", "https://quay.io/team/app", ""])
    def test_address_without_a_host_is_refused(self, url: str) -> None:
        """`team/app` alone would be read as one of Docker Hub."""
        assert refusal("quay", {"docker_url": url, "updated_tags": ["1"]}) == 400


HARBOR_RESOURCE = {"resource_url": "harbor.corp.com:8443/team/app:1.0", "tag": "1.0", "digest": DIGEST}


class TestHarbor:
    @pytest.mark.parametrize("kind", ["PUSH_ARTIFACT", "DELETE_ARTIFACT"])
    def test_push_names_the_artifact(self, kind: str) -> None:
        body = {"type": kind, "event_data": {"resources": [HARBOR_RESOURCE]}}
        assert names("harbor", body) == ["harbor.corp.com:8443/team/app:1.0"]

    @pytest.mark.parametrize("kind", ["harbor.artifact.pushed", "harbor.artifact.deleted"])
    def test_cloud_event_names_the_artifact(self, kind: str) -> None:
        body = {"specversion": "1.0", "type": kind, "data": {"resources": [HARBOR_RESOURCE]}}
        assert names("harbor", body) == ["harbor.corp.com:8443/team/app:1.0"]

    @pytest.mark.parametrize("kind", ["PULL_ARTIFACT", "SCANNING_COMPLETED", "QUOTA_EXCEED"])
    def test_other_events_are_ignored(self, kind: str) -> None:
        assert "not a push or deletion" in ignored(
            "harbor", {"type": kind, "event_data": {"resources": [HARBOR_RESOURCE]}}
        )

    @pytest.mark.parametrize("tag", ["", DIGEST])
    def test_artifact_without_a_tag_is_ignored(self, tag: str) -> None:
        resource = {"resource_url": f"harbor.corp.com/team/app@{DIGEST}", "tag": tag}
        assert ignored("harbor", {"type": "PUSH_ARTIFACT", "event_data": {"resources": [resource]}})


DISTRIBUTION_TARGET = {
    "repository": "team/app",
    "tag": "1.0",
    "url": "http://registry.corp.com/v2/team/app/manifests/sha256:1",
}
DISTRIBUTION_EVENT = {"action": "push", "target": DISTRIBUTION_TARGET, "request": {"host": "registry.corp.com"}}


class TestDistribution:
    @pytest.mark.parametrize("sender", ["distribution", "gitlab"])
    @pytest.mark.parametrize("action", ["push", "delete"])
    def test_event_names_the_tag(self, sender: str, action: str) -> None:
        body = {"events": [{**DISTRIBUTION_EVENT, "action": action}]}
        assert names(sender, body) == ["registry.corp.com/team/app:1.0"]

    def test_tag_is_named_at_the_requested_and_the_configured_host(self) -> None:
        body = changed({"events": [DISTRIBUTION_EVENT]}, "events", 0, "request", "host", value="inside.corp.com:5000")
        assert names("distribution", body) == ["inside.corp.com:5000/team/app:1.0", "registry.corp.com/team/app:1.0"]

    def test_user_in_a_url_is_not_part_of_the_host(self) -> None:
        url = "https://user:password@registry.corp.com/v2/team/app/manifests/sha256:1"
        body = changed({"events": [DISTRIBUTION_EVENT]}, "events", 0, "target", "url", value=url)
        body = changed(body, "events", 0, "request", "host", value="")
        assert names("distribution", body) == ["registry.corp.com/team/app:1.0"]

    @pytest.mark.parametrize("host", ["registry", "", "a b.com"])
    def test_invalid_host_is_left_out(self, host: str) -> None:
        body = changed({"events": [DISTRIBUTION_EVENT]}, "events", 0, "request", "host", value=host)
        assert names("distribution", body) == ["registry.corp.com/team/app:1.0"]

    def test_pulls_and_blobs_and_untagged_manifests_are_ignored(self) -> None:
        pulled = {**DISTRIBUTION_EVENT, "action": "pull"}
        untagged = {**DISTRIBUTION_EVENT, "target": {"repository": "team/app", "digest": DIGEST}}
        assert ignored("distribution", {"events": [pulled, untagged]}) == "no event moves a tag"

    def test_single_event_of_azure_is_read(self) -> None:
        assert names("acr", DISTRIBUTION_EVENT) == ["registry.corp.com/team/app:1.0"]

    def test_ping_of_azure_is_ignored(self) -> None:
        assert ignored("acr", {"id": "1", "action": "ping", "timestamp": "2026-11-24T09:00:00Z"})


ARTIFACTORY_DATA = {"repo_key": "docker-local", "image_name": "team/app", "tag": "1.0"}
ARTIFACTORY_BODY = {
    "domain": "docker",
    "event_type": "pushed",
    "data": ARTIFACTORY_DATA,
    "jpd_origin": "https://acme.jfrog.io/artifactory",
}


class TestArtifactory:
    def test_tag_is_named_by_path_and_by_subdomain(self) -> None:
        assert names("artifactory", ARTIFACTORY_BODY) == [
            "acme.jfrog.io/docker-local/team/app:1.0",
            "docker-local.acme.jfrog.io/team/app:1.0",
        ]

    def test_cache_of_a_remote_repository_is_also_named_without_its_suffix(self) -> None:
        found = names("artifactory", changed(ARTIFACTORY_BODY, "data", "repo_key", value="hub-cache"))
        assert "acme.jfrog.io/hub/team/app:1.0" in found

    def test_key_that_is_not_a_host_name_is_named_by_path_only(self) -> None:
        body = changed(ARTIFACTORY_BODY, "data", "repo_key", value="docker_local")
        assert names("artifactory", body) == ["acme.jfrog.io/docker_local/team/app:1.0"]

    @pytest.mark.parametrize("event", ["deleted", "promoted"])
    def test_deletion_and_promotion_name_the_tag(self, event: str) -> None:
        assert names("artifactory", {**ARTIFACTORY_BODY, "event_type": event})

    @pytest.mark.parametrize("other", [{"domain": "artifact"}, {"event_type": "overwritten"}])
    def test_other_events_are_ignored(self, other: dict[str, str]) -> None:
        assert ignored("artifactory", {**ARTIFACTORY_BODY, **other})

    def test_origin_without_a_host_is_ignored(self) -> None:
        assert ignored("artifactory", {**ARTIFACTORY_BODY, "jpd_origin": "nowhere"}) == "the event has no tag"


class TestOddItems:
    """What one item says must not keep the others from being checked."""

    @pytest.mark.parametrize("odd", [None, 3, {}, "x", {"action": "push", "target": None, "request": None}])
    def test_odd_event_is_left_out(self, odd: object) -> None:
        body = {"events": [odd, DISTRIBUTION_EVENT]}
        assert names("distribution", body) == ["registry.corp.com/team/app:1.0"]

    @pytest.mark.parametrize(("key", "value"), [("tag", "-x"), ("repository", "Team/App"), ("tag", 3)])
    def test_event_of_an_invalid_name_is_left_out(self, key: str, value: object) -> None:
        odd = {**DISTRIBUTION_EVENT, "target": {**DISTRIBUTION_TARGET, key: value}}
        assert names("distribution", {"events": [odd, DISTRIBUTION_EVENT]}) == ["registry.corp.com/team/app:1.0"]
        assert ignored("distribution", {"events": [odd]}) == "no event moves a tag"

    @pytest.mark.parametrize("odd", [None, 3, {}, {"resource_url": None, "tag": None}, {"tag": 3}])
    def test_odd_resource_is_left_out(self, odd: object) -> None:
        body = {"type": "PUSH_ARTIFACT", "event_data": {"resources": [odd, HARBOR_RESOURCE]}, "data": None}
        assert names("harbor", body) == ["harbor.corp.com:8443/team/app:1.0"]

    @pytest.mark.parametrize("odd", [None, 3, "-x", DIGEST])
    def test_odd_tag_is_left_out(self, odd: object) -> None:
        assert names("quay", {"docker_url": "quay.io/team/app", "updated_tags": [odd, "1.0"]}) == [
            "quay.io/team/app:1.0"
        ]

    @pytest.mark.parametrize(
        ("sender", "body"),
        [
            ("harbor", {"type": "PUSH_ARTIFACT", "event_data": {"resources": None}}),
            ("harbor", {"type": "PUSH_ARTIFACT", "event_data": None, "data": None}),
            ("quay", {"docker_url": "quay.io/team/app", "updated_tags": None}),
            ("artifactory", {**ARTIFACTORY_BODY, "jpd_origin": None}),
            ("acr", {**DISTRIBUTION_EVENT, "request": None, "target": None}),
        ],
    )
    def test_null_is_as_good_as_absent(self, sender: str, body: object) -> None:
        assert ignored(sender, body)


class TestGeneric:
    def test_tags_are_named_once_and_in_order(self) -> None:
        body = {"repository": "ghcr.io/team/app", "tags": ["2", "1", "2"], "id": "4711"}
        assert names("generic", body) == ["ghcr.io/team/app:2", "ghcr.io/team/app:1"]

    def test_payload_without_tags_is_ignored(self) -> None:
        assert ignored("generic", {"repository": "ghcr.io/team/app", "tags": []}) == "the payload has no tags"

    @pytest.mark.parametrize("repository", ["team/app", "ghcr.io", "169.254.169.254/../x", "ghcr.io/team/app?x=1"])
    def test_invalid_repository_is_refused(self, repository: str) -> None:
        assert refusal("generic", {"repository": repository, "tags": ["1"]}) == 400
