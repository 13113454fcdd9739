"""Repositories, their settings, tags and policies, and the authorization token."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from mypy_boto3_ecr import ECRClient

from local.tests.ecr.harness import RunningEcr, begin, digest_of, push, refused, send_part

REPOSITORY = "team/app"
ARN = "arn:aws:ecr:eu-west-1:123456789012:repository/team/app"
ALL_FILTERS: Any = [{"filterType": "WILDCARD", "filter": "latest"}]


def test_repository_is_described_as_it_was_made(registry: RunningEcr) -> None:
    registry.client.create_repository(
        repositoryName="a/b-c/d__e",
        tags=[{"Key": "team", "Value": "x"}],
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=ALL_FILTERS,
        imageScanningConfiguration={"scanOnPush": True},
        encryptionConfiguration={"encryptionType": "KMS", "kmsKey": "alias/k"},
    )
    (found,) = registry.client.describe_repositories(repositoryNames=["a/b-c/d__e"])["repositories"]
    assert found["createdAt"] == registry.clock.now()
    assert found["repositoryArn"] == "arn:aws:ecr:eu-west-1:123456789012:repository/a/b-c/d__e"
    assert found["repositoryUri"] == registry.url.removeprefix("http://") + "/a/b-c/d__e"
    assert found["imageTagMutability"] == "IMMUTABLE_WITH_EXCLUSION"
    assert found["imageTagMutabilityExclusionFilters"] == ALL_FILTERS
    assert found["imageScanningConfiguration"] == {"scanOnPush": True}
    assert found["encryptionConfiguration"] == {"encryptionType": "KMS", "kmsKey": "alias/k"}


def test_repository_that_exists_is_not_made_twice(client: ECRClient) -> None:
    with refused("RepositoryAlreadyExistsException", REPOSITORY):
        client.create_repository(repositoryName=REPOSITORY)


@pytest.mark.parametrize("name", ["Upper/case", "trailing/", "a//b", "-dash", "a..b"])
def test_name_that_ecr_does_not_allow_is_refused(client: ECRClient, name: str) -> None:
    with refused("InvalidParameterException", "repositoryName"):
        client.create_repository(repositoryName=name)


@pytest.mark.parametrize(
    "settings",
    [
        {"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"},
        {"imageTagMutability": "MUTABLE", "imageTagMutabilityExclusionFilters": ALL_FILTERS},
        {"encryptionConfiguration": {"encryptionType": "AES256", "kmsKey": "alias/k"}},
        {"imageTagMutability": "SOMETIMES"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(client: ECRClient, settings: Any) -> None:
    with refused("InvalidParameterException"):
        client.create_repository(repositoryName="team/new", **settings)


def test_tags_are_added_listed_and_removed(client: ECRClient) -> None:
    client.tag_resource(resourceArn=ARN, tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    client.untag_resource(resourceArn=ARN, tagKeys=["a", "never"])
    assert client.list_tags_for_resource(resourceArn=ARN)["tags"] == [{"Key": "b", "Value": "2"}]
    with refused("RepositoryNotFoundException"):
        client.list_tags_for_resource(resourceArn=ARN + "-not")


def test_too_many_or_doubled_tags_are_refused(client: ECRClient) -> None:
    with refused("InvalidTagParameterException"):
        client.tag_resource(resourceArn=ARN, tags=[{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}])
    with refused("TooManyTagsException"):
        client.tag_resource(resourceArn=ARN, tags=[{"Key": f"k{n}", "Value": ""} for n in range(51)])


def test_repository_with_images_goes_only_by_force(client: ECRClient) -> None:
    push(client, REPOSITORY, "one", "latest")
    upload_id = begin(client, REPOSITORY)
    with refused("RepositoryNotEmptyException"):
        client.delete_repository(repositoryName=REPOSITORY)
    client.delete_repository(repositoryName=REPOSITORY, force=True)
    client.create_repository(repositoryName=REPOSITORY)
    assert client.list_images(repositoryName=REPOSITORY)["imageIds"] == []
    with refused("UploadNotFoundException"):
        send_part(client, REPOSITORY, upload_id, 0, b"x")


def test_repositories_come_in_pages(client: ECRClient) -> None:
    for name in ("zz", "aa"):
        client.create_repository(repositoryName=name)
    pages = client.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 2})
    assert [[r["repositoryName"] for r in page["repositories"]] for page in pages] == [["aa", REPOSITORY], ["zz"]]


def test_names_do_not_go_with_pages(client: ECRClient) -> None:
    with refused("InvalidParameterException"):
        client.describe_repositories(repositoryNames=[REPOSITORY], maxResults=5)


def test_policies_are_given_back_as_they_came(client: ECRClient) -> None:
    with refused("LifecyclePolicyNotFoundException"):
        client.get_lifecycle_policy(repositoryName=REPOSITORY)
    client.put_lifecycle_policy(repositoryName=REPOSITORY, lifecyclePolicyText='{"rules": []}' + " " * 100)
    assert client.get_lifecycle_policy(repositoryName=REPOSITORY)["lifecyclePolicyText"].startswith('{"rules": []}')
    client.set_repository_policy(repositoryName=REPOSITORY, policyText='{"Statement": []}')
    client.delete_repository_policy(repositoryName=REPOSITORY)
    with refused("RepositoryPolicyNotFoundException"):
        client.get_repository_policy(repositoryName=REPOSITORY)


def test_token_lives_12_hours_and_points_to_us(registry: RunningEcr) -> None:
    """Stock moto gives one that expired in 2015, for a host in AWS."""
    data = registry.client.get_authorization_token()["authorizationData"][0]
    assert data["proxyEndpoint"] == registry.url
    assert (data["expiresAt"] - registry.clock.now()).total_seconds() == 12 * 3600
    assert base64.b64decode(data["authorizationToken"]).startswith(b"AWS:")


MISSING: dict[str, Callable[[ECRClient], Any]] = {
    "DescribeRepositories": lambda c: c.describe_repositories(repositoryNames=["no"]),
    "DeleteRepository": lambda c: c.delete_repository(repositoryName="no"),
    "BatchCheckLayerAvailability": lambda c: c.batch_check_layer_availability(
        repositoryName="no", layerDigests=[digest_of(b"")]
    ),
    "InitiateLayerUpload": lambda c: c.initiate_layer_upload(repositoryName="no"),
    "UploadLayerPart": lambda c: send_part(c, "no", "00000000-0000-4000-8000-000000000000", 0, b"x"),
    "CompleteLayerUpload": lambda c: c.complete_layer_upload(
        repositoryName="no", uploadId="00000000-0000-4000-8000-000000000000", layerDigests=[digest_of(b"")]
    ),
    "GetDownloadUrlForLayer": lambda c: c.get_download_url_for_layer(repositoryName="no", layerDigest=digest_of(b"")),
    "BatchGetImage": lambda c: c.batch_get_image(repositoryName="no", imageIds=[{"imageTag": "t"}]),
    "DescribeImages": lambda c: c.describe_images(repositoryName="no", imageIds=[{"imageTag": "t"}]),
    "ListImages": lambda c: c.list_images(repositoryName="no"),
    "BatchDeleteImage": lambda c: c.batch_delete_image(repositoryName="no", imageIds=[{"imageTag": "t"}]),
    "ListImageReferrers": lambda c: c.list_image_referrers(
        repositoryName="no", subjectId={"imageDigest": digest_of(b"")}
    ),
    "PutLifecyclePolicy": lambda c: c.put_lifecycle_policy(repositoryName="no", lifecyclePolicyText="x" * 100),
    "PutImageTagMutability": lambda c: c.put_image_tag_mutability(repositoryName="no", imageTagMutability="MUTABLE"),
    "another registry": lambda c: c.list_images(repositoryName=REPOSITORY, registryId="999999999999"),
}


@pytest.mark.parametrize("operation", MISSING)
def test_missing_repository_is_reported_by_every_operation(client: ECRClient, operation: str) -> None:
    with refused("RepositoryNotFoundException", "does not exist in the registry"):
        MISSING[operation](client)
