"""Repository creation templates: kept, described and taken away."""

from mypy_boto3_ecr import ECRClient

from local.tests.ecr.harness import RunningEcr, refused


def test_template_is_described_as_it_was_made(registry: RunningEcr) -> None:
    registry.client.create_repository_creation_template(
        prefix="team", appliedFor=["CREATE_ON_PUSH"], resourceTags=[{"Key": "a", "Value": "b"}]
    )
    (found,) = registry.client.describe_repository_creation_templates()["repositoryCreationTemplates"]
    assert (found["prefix"], found["appliedFor"], found["imageTagMutability"]) == (
        "team",
        ["CREATE_ON_PUSH"],
        "MUTABLE",
    )
    assert found["resourceTags"] == [{"Key": "a", "Value": "b"}]
    assert found["createdAt"] == registry.clock.now()


def test_all_are_given_page_by_page_or_those_that_were_asked_for(client: ECRClient) -> None:
    for prefix in ("c", "a", "ROOT", "b"):
        client.create_repository_creation_template(prefix=prefix, appliedFor=["REPLICATION"])
    pages = client.get_paginator("describe_repository_creation_templates").paginate(PaginationConfig={"PageSize": 3})
    found = [[each["prefix"] for each in page["repositoryCreationTemplates"]] for page in pages]
    assert found == [["ROOT", "a", "b"], ["c"]]
    asked = client.describe_repository_creation_templates(prefixes=["b", "none"])["repositoryCreationTemplates"]
    assert [each["prefix"] for each in asked] == ["b"]


def test_second_one_for_a_prefix_is_refused(client: ECRClient) -> None:
    client.create_repository_creation_template(prefix="team", appliedFor=["REPLICATION"])
    with refused("TemplateAlreadyExistsException", "team"):
        client.create_repository_creation_template(prefix="team", appliedFor=["REPLICATION"])


def test_template_that_is_deleted_is_gone(client: ECRClient) -> None:
    client.create_repository_creation_template(prefix="team", appliedFor=["REPLICATION"])
    client.delete_repository_creation_template(prefix="team")
    assert client.describe_repository_creation_templates()["repositoryCreationTemplates"] == []
    with refused("TemplateNotFoundException", "team"):
        client.delete_repository_creation_template(prefix="team")


def test_reset_takes_them_away(registry: RunningEcr) -> None:
    registry.client.create_repository_creation_template(prefix="team", appliedFor=["REPLICATION"])
    registry.ecr.reset()
    assert registry.client.describe_repository_creation_templates()["repositoryCreationTemplates"] == []
