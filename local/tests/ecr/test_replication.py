"""Replication among the Regions of the local ECR: what is copied and deleted, and which events tell of it."""

import json
from typing import Any

import boto3
import pytest
from mypy_boto3_ecr import ECRClient

from local.tests.ecr.harness import RunningEcr, digest_of, index_manifest, push, put, refused
from local.tests.ecr.test_plays import shape_of
from tests.architecture.source import ROOT

SOURCE, HERE = "us-west-2", "eu-west-1"
DESTINATION: Any = {"region": HERE, "registryId": "123456789012"}
REPOSITORY = "mirror/app"


class Source:
    """The registry in the source Region, which replicates what is below `mirror/` into the registry of the tests."""

    def __init__(self, registry: RunningEcr, *, deletes: bool = True) -> None:
        registry.ecr.open_region(SOURCE)
        self.registry = registry
        self.client: ECRClient = boto3.client(
            "ecr", region_name=SOURCE, endpoint_url=registry.url, aws_access_key_id="a", aws_secret_access_key="b"
        )
        self.client.put_replication_configuration(replicationConfiguration={"rules": [self.rule(deletes=deletes)]})
        for name in (REPOSITORY, "other/app"):
            self.client.create_repository(repositoryName=name)

    def rule(self, region: str = HERE, *, deletes: bool = True) -> Any:
        return {
            "destinations": [{"region": region, "registryId": "123456789012"}],
            "repositoryFilters": [{"filter": "mirror/", "filterType": "PREFIX_MATCH"}],
            "deleteReplication": {"enabled": deletes},
        }

    def delete(self, **image: str) -> None:
        self.client.batch_delete_image(repositoryName=REPOSITORY, imageIds=[image])  # type: ignore[list-item]

    def replicated(self) -> dict[str, str]:
        """The tags at the destination, with their digests."""
        listed = self.registry.client.list_images(repositoryName=REPOSITORY, filter={"tagStatus": "TAGGED"})
        return {image["imageTag"]: image["imageDigest"] for image in listed["imageIds"]}

    def told(self) -> list[tuple[str, str]]:
        """The events at the destination: what was done, and the tag."""
        details = [event["detail"] for event in self.registry.events]
        return [(detail["action-type"], detail.get("image-tag", "")) for detail in details]


@pytest.fixture
def source(registry: RunningEcr) -> Source:
    return Source(registry)


def test_pushed_image_is_replicated_whole_and_two_events_tell_of_it(source: Source) -> None:
    manifest = push(source.client, REPOSITORY, "one", "1.0")
    assert source.told() == [("PUSH", "1.0"), ("REPLICATE", "1.0")]
    assert source.replicated() == {"1.0": digest_of(manifest.encode())}
    answer = source.registry.client.batch_get_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "1.0"}])
    assert answer["images"][0]["imageManifest"] == manifest


def test_event_has_the_shape_of_its_sample(source: Source) -> None:
    push(source.client, REPOSITORY, "one", "1.0")
    sample = json.loads((ROOT / "events/ecr.replication.json").read_text(encoding="utf-8"))
    assert shape_of(source.registry.events[-1]) == shape_of(sample)
    assert source.registry.events[-1]["detail"]["source-region"] == SOURCE


def test_index_is_replicated_with_its_children(source: Source) -> None:
    children = [push(source.client, REPOSITORY, seed) for seed in ("amd64", "arm64")]
    index = put(source.client, REPOSITORY, index_manifest(children), "2.0")
    assert source.replicated() == {"2.0": index}
    images = source.registry.client.describe_images(repositoryName=REPOSITORY)["imageDetails"]
    assert len(images) == 3


def test_repository_that_no_rule_matches_is_not_replicated(source: Source) -> None:
    push(source.client, "other/app", "one", "1.0")
    with refused("RepositoryNotFoundException"):
        source.registry.client.list_images(repositoryName="other/app")
    assert source.told() == []


def test_tag_that_is_immutable_at_the_destination_fails(source: Source) -> None:
    push(source.client, REPOSITORY, "one", "1.0")
    source.registry.client.put_image_tag_mutability(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")
    before = source.replicated()
    push(source.client, REPOSITORY, "two", "1.0")
    assert source.replicated() == before
    assert source.registry.events[-1]["detail"]["result"] == "FAILED"


class TestDeletions:
    def test_removed_tag_is_removed_and_others_of_the_image_stay(self, source: Source) -> None:
        manifest = push(source.client, REPOSITORY, "one", "1.0")
        put(source.client, REPOSITORY, manifest, "latest")
        source.delete(imageTag="latest")
        assert list(source.replicated()) == ["1.0"]
        assert source.told()[-1] == ("DELETE", "latest")

    def test_last_tag_takes_the_image_with_tags_that_only_the_destination_has(self, source: Source) -> None:
        manifest = push(source.client, REPOSITORY, "one", "1.0")
        put(source.registry.client, REPOSITORY, manifest, "of-the-destination")
        source.delete(imageTag="1.0")
        assert source.replicated() == {}

    def test_tag_that_is_another_images_by_now_stays(self, source: Source) -> None:
        first = push(source.client, REPOSITORY, "one", "1.0")
        put(source.client, REPOSITORY, first, "kept")
        other = push(source.registry.client, REPOSITORY, "two", "1.0")
        source.delete(imageTag="1.0")
        assert source.replicated()["1.0"] == digest_of(other.encode())

    def test_nothing_is_deleted_where_the_rule_does_not_say_so(self, registry: RunningEcr) -> None:
        source = Source(registry, deletes=False)
        push(source.client, REPOSITORY, "one", "1.0")
        source.delete(imageTag="1.0")
        assert list(source.replicated()) == ["1.0"]


class TestBackfill:
    def test_backfill_replicates_what_was_pushed_before_the_rule(self, source: Source) -> None:
        source.client.put_replication_configuration(replicationConfiguration={"rules": []})
        push(source.client, REPOSITORY, "one", "1.0")
        assert source.told() == []
        source.client.put_replication_configuration(replicationConfiguration={"rules": [source.rule()]})
        started = source.client.start_replication_backfill(destination=DESTINATION)
        assert started["status"] == "PREPARING"
        ended = source.client.describe_replication_backfill_results(
            replicationBackfillId=started["replicationBackfillId"]
        )
        assert (ended["status"], ended["progress"]["completedReplicationCount"]) == ("COMPLETE", 1)
        assert [each["imageId"]["imageTag"] for each in ended["results"]] == ["1.0"]
        assert list(source.replicated()) == ["1.0"]
        (listed,) = source.client.list_replication_backfills()["backfills"]
        assert listed["replicationBackfillId"] == started["replicationBackfillId"]

    def test_backfill_needs_a_rule_and_ends_before_it_can_be_stopped(self, source: Source) -> None:
        started = source.client.start_replication_backfill(destination=DESTINATION)
        with refused("ReplicationBackfillInvalidStatusException"):
            source.client.stop_replication_backfill(replicationBackfillId=started["replicationBackfillId"])
        with refused("ReplicationBackfillNotFoundException"):
            source.client.stop_replication_backfill(replicationBackfillId="12345678-1234-1234-1234-123456789012")
        source.client.put_replication_configuration(replicationConfiguration={"rules": []})
        with refused("InvalidParameterException", "no replication rule"):
            source.client.start_replication_backfill(destination=DESTINATION)


def test_configuration_is_described_and_one_to_nowhere_is_refused(source: Source) -> None:
    rule: Any
    (rule,) = source.client.describe_registry()["replicationConfiguration"]["rules"]
    assert rule["deleteReplication"] == {"enabled": True}
    with refused("InvalidParameterException", SOURCE):
        source.client.put_replication_configuration(replicationConfiguration={"rules": [source.rule(SOURCE)]})
    push(source.client, REPOSITORY, "one", "1.0")
    source.client.put_replication_configuration(replicationConfiguration={"rules": [source.rule("eu-central-1")]})
    with refused("UnrecognizedClientException"):
        push(source.client, REPOSITORY, "two", "1.0")


def test_registries_of_two_regions_are_apart(source: Source) -> None:
    source.registry.client.create_repository(repositoryName="here/only")
    assert {each["repositoryName"] for each in source.client.describe_repositories()["repositories"]} == {
        REPOSITORY,
        "other/app",
    }
    (described,) = source.client.describe_repositories(repositoryNames=[REPOSITORY])["repositories"]
    assert described["repositoryArn"] == f"arn:aws:ecr:{SOURCE}:123456789012:repository/{REPOSITORY}"
