"""Pulls as the local CloudTrail tells them: by docker and by API, with errors of repositories and none of tags."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from mypy_boto3_ecr import ECRClient

from local.callers import ROLE_IN_ENVIRON
from local.ecr.v2 import V2Application
from local.tests.ecr.harness import RunningEcr, digest_of, push, refused
from pullahead.on_demand.cloudtrail import Pull, read_pull

EVENTS = Path(__file__).parents[3] / "events"


def trail_events(registry: RunningEcr) -> list[dict[str, Any]]:
    """Take CloudTrail's events."""
    found = [event for event in registry.events if event["detail-type"] == "AWS API Call via CloudTrail"]
    registry.events.clear()
    return found


def read(event: dict[str, Any]) -> Pull:
    pulled = read_pull(json.dumps(event))
    assert isinstance(pulled, Pull), pulled
    return pulled


def ask(registry: RunningEcr, method: str, path: str) -> int:
    return requests.request(
        method, f"{registry.url}/v2/{path}", headers=registry.authorization(), timeout=5
    ).status_code


def paths_of(value: object, path: str = "") -> set[str]:
    """Name every field, however deep."""
    if not isinstance(value, dict):
        return {path}
    return set().union(*(paths_of(inner, f"{path}.{name}") for name, inner in value.items())) if value else {path}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_pull_by_docker_is_recorded_with_its_tag(registry: RunningEcr, client: ECRClient, method: str) -> None:
    push(client, "team/app", "a", "1.0")
    trail_events(registry)
    assert ask(registry, method, "team/app/manifests/1.0") == 200
    (event,) = trail_events(registry)
    assert (names(read(event)), read(event).missing, read(event).at) == (("team/app:1.0",), False, registry.clock.now())
    assert event["detail"]["userAgent"] == event["detail"]["sourceIPAddress"] == "AWS Internal"
    assert event["detail"]["readOnly"] is True


def test_missing_repository_is_recorded_as_an_error(registry: RunningEcr) -> None:
    assert ask(registry, "GET", "no/where/manifests/1.0") == 404
    (event,) = trail_events(registry)
    assert (names(read(event)), read(event).missing) == (("no/where:1.0",), True)


def test_missing_tag_is_recorded_without_an_error(registry: RunningEcr) -> None:
    assert ask(registry, "GET", "team/app/manifests/none") == 404
    (event,) = trail_events(registry)
    assert "errorCode" not in event["detail"]
    assert read(event).missing is False


def test_pull_by_digest_names_the_digest(registry: RunningEcr, client: ECRClient) -> None:
    digest = digest_of(push(client, "team/app", "a", "1.0").encode())
    trail_events(registry)
    ask(registry, "GET", f"team/app/manifests/{digest}")
    (event,) = trail_events(registry)
    assert event["detail"]["requestParameters"]["imageIds"] == [{"imageDigest": digest}]


def test_pulls_by_the_api_are_recorded_and_other_calls_are_not(registry: RunningEcr, client: ECRClient) -> None:
    push(client, "team/app", "a", "1.0")
    client.describe_images(repositoryName="team/app")
    assert ask(registry, "GET", "team/app/tags/list?n=5") == 200
    assert trail_events(registry) == []
    client.batch_get_image(repositoryName="team/app", imageIds=[{"imageTag": "1.0"}, {"imageTag": "none"}])
    with refused("RepositoryNotFoundException"):
        client.batch_get_image(repositoryName="no/where", imageIds=[{"imageTag": "1.0"}])
    found = [read(event) for event in trail_events(registry)]
    assert [(names(pull), pull.missing) for pull in found] == [
        (("team/app:1.0", "team/app:none"), False),
        (("no/where:1.0",), True),
    ]


def test_calling_role_is_recorded(registry: RunningEcr) -> None:
    app = V2Application(lambda _environ, _start: [], registry.ecr)
    authorization = registry.authorization()["Authorization"]
    asked = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v2/team/app/manifests/1.0", "HTTP_AUTHORIZATION": authorization}
    environ = {**asked, "wsgi.url_scheme": "http", "HTTP_HOST": "x", "QUERY_STRING": "", ROLE_IN_ENVIRON: "node"}
    list(app(environ, lambda *_: None))
    (event,) = trail_events(registry)
    assert read(event).by == "arn:aws:iam::123456789012:role/node"


@pytest.mark.parametrize("case", ["", ".missing_repository"])
def test_event_has_the_fields_of_the_sample(registry: RunningEcr, client: ECRClient, case: str) -> None:
    sample = json.loads((EVENTS / f"cloudtrail.batch_get_image{case}.json").read_text(encoding="utf-8"))
    ask(registry, "GET", f"{'no/where' if case else 'team/app'}/manifests/1.0")
    (event,) = trail_events(registry)
    only_in_sample = paths_of(sample) - paths_of(event)
    assert paths_of(event) <= paths_of(sample)
    assert only_in_sample == {
        ".detail.requestParameters.acceptedMediaTypes",
        ".detail.userIdentity.sessionContext.ec2RoleDelivery",
        ".detail.userIdentity.sessionContext.webIdFederationData",
    }


def names(pull: Pull) -> tuple[str, ...]:
    return tuple(map(str, pull.keys))
