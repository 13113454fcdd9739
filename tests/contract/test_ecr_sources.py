"""Cache rules, repositories, tags and resource tags of the local ECR, over many pages."""

from typing import Any

import pytest
from botocore.stub import Stubber

from local.tests.ecr.harness import RunningEcr, push
from pullahead.aws.ecr_sources import EcrCachedRepositories, EcrTaggedRepositories
from pullahead.errors import StorageError
from pullahead.rules.sources.findings import CacheRule, TaggedRepository
from tests.contract.local_services import client

SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ecr-pullthroughcache/hub-AbCdEf"
ROLE = "arn:aws:iam::123456789012:role/ecr-pull"


def create(ecr: RunningEcr, name: str, **tags: str) -> None:
    listed = [{"Key": key.replace("_", ":"), "Value": value} for key, value in tags.items()]
    ecr.ecr.call("CreateRepository", {"repositoryName": name, "tags": listed})


class TestCacheRules:
    def test_cache_rules_have_prefixes_and_credentials(self, ecr: RunningEcr) -> None:
        for rule in (
            {"ecrRepositoryPrefix": "hub", "upstreamRegistryUrl": "registry-1.docker.io", "credentialArn": SECRET},
            {"ecrRepositoryPrefix": "app", "upstreamRegistryUrl": "quay.io", "upstreamRepositoryPrefix": "team"},
            {"ecrRepositoryPrefix": "ROOT", "upstreamRegistryUrl": "public.ecr.aws"},
            {
                "ecrRepositoryPrefix": "other",
                "upstreamRegistryUrl": "111122223333.dkr.ecr.eu-west-1.amazonaws.com",
                "customRoleArn": ROLE,
            },
        ):
            ecr.client.create_pull_through_cache_rule(**rule)  # type: ignore[arg-type]
        assert set(EcrCachedRepositories(ecr.client).cache_rules()) == {
            CacheRule("hub", "registry-1.docker.io", credential=SECRET),
            CacheRule("app", "quay.io", "team"),
            CacheRule("", "public.ecr.aws"),
            CacheRule("other", "111122223333.dkr.ecr.eu-west-1.amazonaws.com", role=ROLE),
        }

    def test_registry_without_cache_rules_has_none(self, ecr: RunningEcr) -> None:
        assert EcrCachedRepositories(ecr.client).cache_rules() == ()


class TestRepositories:
    def test_all_pages_of_repositories_are_listed(self, ecr: RunningEcr) -> None:
        for number in range(1001):
            create(ecr, f"quay/app{number:04}")
        ecr.ecr.calls.clear()
        names = EcrCachedRepositories(ecr.client).repository_names()
        assert names == tuple(f"quay/app{number:04}" for number in range(1001))
        assert [call.operation for call in ecr.ecr.calls] == ["DescribeRepositories"] * 2

    def test_tags_are_listed_once_and_untagged_manifests_are_left_out(self, ecr: RunningEcr) -> None:
        create(ecr, "quay/app")
        push(ecr.client, "quay/app", "first", "1.0")
        push(ecr.client, "quay/app", "first", "latest")
        push(ecr.client, "quay/app", "untagged")
        assert EcrCachedRepositories(ecr.client).tags_of("quay/app") == ("1.0", "latest")
        (call,) = [call for call in ecr.ecr.calls if call.operation == "ListImages"]
        assert call.parameters["filter"] == {"tagStatus": "TAGGED"}  # untagged manifests would fill pages for nothing

    def test_missing_repository_has_no_tags(self, ecr: RunningEcr) -> None:
        assert EcrCachedRepositories(ecr.client).tags_of("quay/gone") == ()

    def test_endless_listing_is_an_error(self, ecr: RunningEcr) -> None:
        with Stubber(ecr.client) as stub:
            for _ in range(2):
                stub.add_response(
                    "describe_pull_through_cache_rules", {"pullThroughCacheRules": [], "nextToken": "again"}
                )
            with pytest.raises(StorageError, match="has more than 2 pages"):
                EcrCachedRepositories(ecr.client).cache_rules()

    def test_refused_call_is_a_storage_error(self, ecr: RunningEcr) -> None:
        with Stubber(ecr.client) as stub:
            stub.add_client_error("list_images", "AccessDeniedException", "not authorized")
            with pytest.raises(StorageError, match=r"list_images of quay/app failed: .*AccessDenied"):
                EcrCachedRepositories(ecr.client).tags_of("quay/app")


class TestResourceTags:
    def test_repositories_with_any_of_the_keys_are_returned_with_all_tags(self, ecr: RunningEcr) -> None:
        create(ecr, "mirror/a", pullahead_upstream="quay.io/a/b", team="blue")
        create(ecr, "mirror/b", pullahead_ignore="true")
        create(ecr, "mirror/c", team="blue")
        create(ecr, "mirror/d")
        found = EcrTaggedRepositories(client(ecr.url, "resourcegroupstaggingapi")).repositories_with(
            ("pullahead:upstream", "pullahead:ignore")
        )
        assert found == (
            TaggedRepository("mirror/a", {"pullahead:upstream": "quay.io/a/b", "team": "blue"}),
            TaggedRepository("mirror/b", {"pullahead:ignore": "true"}),
        )

    def test_all_pages_are_read(self, ecr: RunningEcr) -> None:
        for number in range(201):
            create(ecr, f"mirror/app{number:03}", pullahead_ignore="true")
        found = EcrTaggedRepositories(client(ecr.url, "resourcegroupstaggingapi")).repositories_with(
            ("pullahead:ignore",)
        )
        assert [repository.name for repository in found] == [f"mirror/app{number:03}" for number in range(201)]

    def test_endless_listing_is_an_error(self) -> None:
        class Endless:
            def __init__(self) -> None:
                self.calls = 0

            def get_resources(self, **_asked: Any) -> dict[str, Any]:
                self.calls += 1
                return {"ResourceTagMappingList": [], "PaginationToken": "again"}

        endless: Any = Endless()
        with pytest.raises(StorageError, match="tagged key has more than 100 pages"):
            EcrTaggedRepositories(endless).repositories_with(("key",))
        assert endless.calls == 100
