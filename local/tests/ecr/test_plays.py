"""What the local ECR can be made to tell: in the shapes of the samples, and true of what it holds."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from local.tests.ecr.harness import RunningEcr, push
from tests.architecture.source import ROOT

REPOSITORY = "mirror/app"
CACHED = "quay/team/app"


def _push(ecr: RunningEcr, repository: str, text: str = "one") -> None:
    push(ecr.client, repository, text, "a")


def _delete(ecr: RunningEcr) -> None:
    ecr.client.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "a"}])


PLAYS: dict[str, Callable[[RunningEcr], None]] = {
    "push": lambda ecr: _push(ecr, REPOSITORY, "two"),
    "delete": _delete,
    "pull_through_cache.success": lambda ecr: ecr.ecr.plays.cached(CACHED, "a"),
    "pull_through_cache.failure": lambda ecr: ecr.ecr.plays.not_cached(CACHED, "b", "UpstreamAccessDenied", "no"),
    "referrer": lambda ecr: ecr.ecr.plays.referred(REPOSITORY, "a", "application/vnd.dev.cosign.simplesigning.v1+json"),
    "image_scan": lambda ecr: ecr.ecr.plays.scanned(REPOSITORY, "a", {"CRITICAL": 1, "HIGH": 0, "MEDIUM": 4}),
}


@pytest.fixture
def registry(registry: RunningEcr) -> RunningEcr:
    """A registry with an image in a repository of its own, and in one that a rule has cached."""
    registry.client.create_pull_through_cache_rule(ecrRepositoryPrefix="quay", upstreamRegistryUrl="quay.io")
    for repository in (REPOSITORY, CACHED):
        registry.client.create_repository(repositoryName=repository)
        _push(registry, repository)
    registry.events.clear()
    return registry


@pytest.mark.parametrize("name", sorted(PLAYS))
def test_event_has_the_shape_of_its_sample(registry: RunningEcr, name: str) -> None:
    sample = json.loads((ROOT / f"events/ecr.{name}.json").read_text(encoding="utf-8"))
    PLAYS[name](registry)
    (event,) = registry.events
    assert shape_of(event) == shape_of(sample)
    assert event["detail-type"] == sample["detail-type"]


def shape_of(value: Any) -> Any:
    """Replace every value by its type; what is counted by name has no fixed names."""
    if isinstance(value, dict):
        return {key: int if key == "finding-severity-counts" else shape_of(each) for key, each in value.items()}
    return [shape_of(each) for each in value] if isinstance(value, list) else type(value)


def test_events_name_existing_images(registry: RunningEcr) -> None:
    digest = registry.client.describe_images(repositoryName=CACHED)["imageDetails"][0]["imageDigest"]
    registry.ecr.plays.cached(CACHED, "a")
    registry.ecr.plays.scanned(CACHED, "a", {"HIGH": 2, "LOW": 0})
    cached, scanned = (event["detail"] for event in registry.events)
    assert (cached["image-digest"], cached["ecr-repository-prefix"]) == (digest, "quay")
    assert cached["upstream-registry-url"] == "quay.io"
    assert (scanned["image-digest"], scanned["image-tags"]) == (digest, ["a"])
    assert scanned["finding-severity-counts"] == {"HIGH": 2}
    assert registry.events[0]["resources"] == [f"arn:aws:ecr:eu-west-1:123456789012:repository/{CACHED}"]


def test_archive_event_has_an_action_of_its_own(registry: RunningEcr) -> None:
    registry.ecr.plays.archived(REPOSITORY, "a")
    (event,) = registry.events
    assert (event["detail"]["action-type"], event["detail"]["target-storage-class"]) == (
        "UPDATE_STORAGE_CLASS",
        "ARCHIVE",
    )


def test_cache_without_a_rule_is_an_error(registry: RunningEcr) -> None:
    with pytest.raises(ValueError, match="no pull through cache rule covers mirror/app"):
        registry.ecr.plays.cached(REPOSITORY, "a")
