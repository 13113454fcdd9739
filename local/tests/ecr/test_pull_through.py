"""Pull through cache rules of the local ECR: kept, described, and refused as ECR refuses them."""

import pytest
from mypy_boto3_ecr import ECRClient

from local.tests.ecr.harness import RunningEcr, refused


def create(client: ECRClient, prefix: str = "quay", url: str = "quay.io", **more: str) -> None:
    client.create_pull_through_cache_rule(ecrRepositoryPrefix=prefix, upstreamRegistryUrl=url, **more)  # type: ignore[arg-type]


def prefixes(client: ECRClient) -> list[str]:
    return [rule["ecrRepositoryPrefix"] for rule in client.describe_pull_through_cache_rules()["pullThroughCacheRules"]]


def test_rule_is_described_as_it_was_made(client: ECRClient) -> None:
    create(client)
    (rule,) = client.describe_pull_through_cache_rules()["pullThroughCacheRules"]
    assert (rule["upstreamRegistryUrl"], rule["upstreamRegistry"], rule["upstreamRepositoryPrefix"]) == (
        "quay.io",
        "quay",
        "ROOT",
    )


def test_rules_come_in_pages_and_by_name(client: ECRClient) -> None:
    for prefix in ("aa", "bb", "cc"):
        create(client, prefix)
    first = client.describe_pull_through_cache_rules(maxResults=2)
    second = client.describe_pull_through_cache_rules(maxResults=2, nextToken=first["nextToken"])
    assert [len(first["pullThroughCacheRules"]), len(second["pullThroughCacheRules"])] == [2, 1]
    (named,) = client.describe_pull_through_cache_rules(ecrRepositoryPrefixes=["bb"])["pullThroughCacheRules"]
    assert named["ecrRepositoryPrefix"] == "bb"


def test_deleted_rule_is_gone(client: ECRClient, registry: RunningEcr) -> None:
    create(client)
    client.delete_pull_through_cache_rule(ecrRepositoryPrefix="quay")
    assert prefixes(client) == []
    with refused("PullThroughCacheRuleNotFoundException", "quay"):
        client.delete_pull_through_cache_rule(ecrRepositoryPrefix="quay")
    create(client)
    registry.restart()
    assert prefixes(client) == []


def test_same_prefix_twice_is_refused(client: ECRClient) -> None:
    create(client)
    with refused("PullThroughCacheRuleAlreadyExistsException", "quay"):
        create(client, url="public.ecr.aws")


def test_rule_that_is_not_there_is_not_described(client: ECRClient) -> None:
    with refused("PullThroughCacheRuleNotFoundException", "absent"):
        client.describe_pull_through_cache_rules(ecrRepositoryPrefixes=["absent"])


@pytest.mark.parametrize("url", ["mcr.microsoft.com", "nvcr.io", "harbor.example.com"])
def test_upstream_that_ecr_does_not_know_is_refused(client: ECRClient, url: str) -> None:
    with refused("UnsupportedUpstreamRegistryException", url):
        create(client, url=url)


def test_docker_hub_without_credentials_is_refused(client: ECRClient) -> None:
    with refused("InvalidParameterException", "credentialArn"):
        create(client, url="registry-1.docker.io")


def test_upstream_prefix_does_not_go_with_root(client: ECRClient) -> None:
    with refused("InvalidParameterException", "ROOT"):
        create(client, "ROOT", upstreamRepositoryPrefix="team")


def test_fifty_rules_are_the_most(client: ECRClient) -> None:
    for number in range(50):
        create(client, f"prefix-{number:02}")
    with refused("LimitExceededException", "50"):
        create(client, "one-more")
