"""What a pull does under a pull through cache rule whose upstream is on this machine."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from local.images import LocalImage, make_image, make_index
from local.registry import FakeRegistry
from local.tests.ecr.harness import RunningEcr, push, refused

INDEX = make_index([make_image(seed=1, platform="linux/amd64"), make_image(seed=2, platform="linux/arm64")])
REPOSITORY = "cache/team/app"


@pytest.fixture
def upstream() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.push(INDEX, "team/app", "v1")
        yield registry


@pytest.fixture
def cache(registry: RunningEcr, upstream: FakeRegistry) -> RunningEcr:
    registry.client.create_pull_through_cache_rule(ecrRepositoryPrefix="cache", upstreamRegistryUrl=upstream.host)
    return registry


def pull(cache: RunningEcr, repository: str = REPOSITORY, **image: str) -> Any:
    wanted: Any = image or {"imageTag": "v1"}
    return cache.client.batch_get_image(repositoryName=repository, imageIds=[wanted])


def cache_events(cache: RunningEcr) -> list[dict[str, Any]]:
    return [event["detail"] for event in cache.events if event["detail-type"] == "ECR Pull Through Cache Action"]


def stored(cache: RunningEcr, repository: str = REPOSITORY) -> set[str]:
    found = cache.client.describe_images(repositoryName=repository)["imageDetails"]
    return {image["imageDigest"] for image in found}


def manifests_of(image: LocalImage) -> set[str]:
    return {str(digest) for digest in image.manifests}


def test_pull_by_tag_makes_the_repository_and_fetches_everything(cache: RunningEcr, upstream: FakeRegistry) -> None:
    (image,) = pull(cache)["images"]
    assert image["imageId"] == {"imageDigest": INDEX.digest, "imageTag": "v1"}
    assert stored(cache) == manifests_of(INDEX)
    (event,) = cache_events(cache)
    assert (event["sync-status"], event["image-digest"], event["image-tag"]) == ("SUCCESS", INDEX.digest, "v1")
    assert event["repository-name"] == REPOSITORY
    asked = upstream.count("GET")
    pull(cache)
    assert upstream.count("GET") == asked
    assert len(cache_events(cache)) == 1


def test_pull_by_the_docker_endpoint_fetches_too(cache: RunningEcr) -> None:
    url = f"{cache.url}/v2/{REPOSITORY}/manifests/v1"
    answer = requests.get(url, headers={**cache.authorization(), "Accept": "*/*"}, timeout=10)
    assert (answer.status_code, answer.content) == (200, INDEX.root.content)


def test_tag_that_upstream_lacks_is_not_found_and_told_as_a_failure(cache: RunningEcr) -> None:
    with refused("RepositoryNotFoundException"):
        pull(cache, imageTag="missing")
    pull(cache)
    (failure,) = pull(cache, imageTag="missing")["failures"]
    assert failure["failureCode"] == "ImageNotFound"
    told = [(event["image-tag"], event["sync-status"], event.get("failure-code")) for event in cache_events(cache)]
    assert told == [
        ("missing", "FAILED", "ImageNotFound"),
        ("v1", "SUCCESS", None),
        ("missing", "FAILED", "ImageNotFound"),
    ]


def test_upstream_that_is_down_is_told_as_unavailable(cache: RunningEcr, upstream: FakeRegistry) -> None:
    upstream.down = True
    with refused("RepositoryNotFoundException"):
        pull(cache)
    assert [event["failure-code"] for event in cache_events(cache)] == ["UpstreamUnavailable"]


def test_digest_is_not_fetched(cache: RunningEcr, upstream: FakeRegistry) -> None:
    with refused("RepositoryNotFoundException"):
        pull(cache, imageDigest=INDEX.digest)
    assert upstream.count("GET") == 0


def test_what_was_put_under_a_cached_tag_stays(cache: RunningEcr, upstream: FakeRegistry) -> None:
    pull(cache)
    push(cache.client, REPOSITORY, "ours", "v1")
    upstream.push(make_image(seed=9), "team/app", "v1")
    assert pull(cache)["images"][0]["imageId"]["imageDigest"] != INDEX.digest
    assert len(cache_events(cache)) == 1


def test_upstream_prefix_is_put_before_the_path(registry: RunningEcr, upstream: FakeRegistry) -> None:
    registry.client.create_pull_through_cache_rule(
        ecrRepositoryPrefix="short", upstreamRegistryUrl=upstream.host, upstreamRepositoryPrefix="team"
    )
    assert pull(registry, "short/app")["images"][0]["imageId"]["imageDigest"] == INDEX.digest


@pytest.mark.parametrize("url", ["quay.io", None])
def test_nothing_is_fetched_from_elsewhere_or_without_a_rule(registry: RunningEcr, url: str | None) -> None:
    if url is not None:
        registry.client.create_pull_through_cache_rule(ecrRepositoryPrefix="cache", upstreamRegistryUrl=url)
    with refused("RepositoryNotFoundException"):
        pull(registry)
    assert cache_events(registry) == []
