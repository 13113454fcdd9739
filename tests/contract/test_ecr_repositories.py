"""How a missing repository is created in ECR: by the rule, by a creation template, or with defaults."""

import json
from typing import Any

import pytest

from local.tests.ecr.harness import RunningEcr
from pullahead.ecr.target import EcrTarget
from pullahead.errors import AccessDeniedError, ConfigError, RateLimitedError
from pullahead.oci.registries import RepositorySettings

NAME = "mirror/team/app"
ARN = f"arn:aws:ecr:eu-west-1:123456789012:repository/{NAME}"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1"
EXPIRY = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14}
LIFECYCLE = json.dumps({"rules": [{"rulePriority": 1, "selection": EXPIRY, "action": {"type": "expire"}}]})
POLICY = json.dumps({"Version": "2012-10-17", "Statement": []})
PLAIN = {
    "imageTagMutability": "MUTABLE",
    "imageScanningConfiguration": {"scanOnPush": False},
    "encryptionConfiguration": {"encryptionType": "AES256"},
}


def made(ecr: RunningEcr, settings: RepositorySettings | None = None, name: str = NAME) -> dict[str, Any]:
    """Make a repository and describe what it differs in."""
    EcrTarget(ecr.client).ensure_repository(name, settings)
    (found,) = ecr.client.describe_repositories(repositoryNames=[name])["repositories"]
    expected: dict[str, Any] = dict(found)
    return {key: expected[key] for key in (*PLAIN, "imageTagMutabilityExclusionFilters") if key in expected}


def template(ecr: RunningEcr, prefix: str, **more: Any) -> None:
    ecr.client.create_repository_creation_template(
        prefix=prefix, **{"appliedFor": ["PULL_THROUGH_CACHE"], "imageTagMutability": "IMMUTABLE", **more}
    )


def documents(ecr: RunningEcr) -> dict[str, Any]:
    return dict(ecr.ecr.registry.get(NAME).documents)


def expiry_put(ecr: RunningEcr, settings: RepositorySettings | None, default_days: int) -> int | None:
    """Create a repository, and return after how many days its untagged images expire."""
    EcrTarget(ecr.client, expire_untagged_days=default_days).ensure_repository(NAME, settings)
    text = documents(ecr).get("lifecyclePolicyText")
    if text is None:
        return None
    (rule,) = json.loads(text)["rules"]
    selection = rule["selection"]
    assert (selection["tagStatus"], rule["action"]) == ("untagged", {"type": "expire"})
    days: int = selection["countNumber"]
    return days


class TestUntaggedImages:
    @pytest.mark.parametrize(
        ("settings", "days"),
        [
            (None, 30),
            (RepositorySettings(), 30),
            (RepositorySettings(expire_untagged_days=7), 7),
            (RepositorySettings(expire_untagged_days=0), None),
            (RepositorySettings(lifecycle_policy=LIFECYCLE), 14),
        ],
    )
    def test_rule_takes_the_place_of_the_default(
        self, ecr: RunningEcr, settings: RepositorySettings | None, days: int | None
    ) -> None:
        assert expiry_put(ecr, settings, 30) == days

    def test_default_of_0_days_puts_no_policy(self, ecr: RunningEcr) -> None:
        assert expiry_put(ecr, None, 0) is None

    def test_policy_of_the_creation_template_takes_the_place_of_the_default(self, ecr: RunningEcr) -> None:
        template(ecr, "mirror", lifecyclePolicy=LIFECYCLE)
        assert expiry_put(ecr, None, 30) == 14

    def test_creation_template_without_a_policy_leaves_the_default(self, ecr: RunningEcr) -> None:
        template(ecr, "mirror")
        assert expiry_put(ecr, None, 30) == 30

    def test_repository_of_somebody_else_gets_no_policy(self, ecr: RunningEcr) -> None:
        ecr.client.create_repository(repositoryName=NAME)
        assert expiry_put(ecr, RepositorySettings(expire_untagged_days=7), 30) is None


class TestRuleSettings:
    def test_rule_without_settings_creates_a_repository_with_defaults(self, ecr: RunningEcr) -> None:
        assert made(ecr, RepositorySettings()) == PLAIN
        assert documents(ecr) == {}

    def test_every_setting_of_the_rule_is_applied(self, ecr: RunningEcr) -> None:
        settings = RepositorySettings(
            tags=(("team", "platform"), ("cost", "4711")),
            kms_key=KEY,
            scan_on_push=True,
            immutable_tags=True,
            mutable_tag_filters=("latest", "main-*"),
            lifecycle_policy=LIFECYCLE,
            repository_policy=POLICY,
        )
        wildcards = [{"filterType": "WILDCARD", "filter": each} for each in ("latest", "main-*")]
        assert made(ecr, settings) == {
            "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
            "imageTagMutabilityExclusionFilters": wildcards,
            "imageScanningConfiguration": {"scanOnPush": True},
            "encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": KEY},
        }
        assert documents(ecr) == {"lifecyclePolicyText": LIFECYCLE, "policyText": POLICY}
        tags = ecr.client.list_tags_for_resource(resourceArn=ARN)["tags"]
        assert tags == [{"Key": "team", "Value": "platform"}, {"Key": "cost", "Value": "4711"}]

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            (RepositorySettings(immutable_tags=True), {"imageTagMutability": "IMMUTABLE"}),
            (RepositorySettings(kms_key=""), {"encryptionConfiguration": {"encryptionType": "KMS"}}),
        ],
    )
    def test_one_setting_is_applied_without_the_others(
        self, ecr: RunningEcr, settings: RepositorySettings, expected: dict[str, Any]
    ) -> None:
        assert made(ecr, settings) == PLAIN | expected

    def test_template_is_not_read_where_the_rule_has_settings(self, ecr: RunningEcr) -> None:
        template(ecr, "mirror")
        ecr.ecr.calls.clear()
        assert made(ecr, RepositorySettings()) == PLAIN
        assert ecr.ecr.calls.operations()[:2] == ["DescribeRepositories", "CreateRepository"]


class TestTemplate:
    def test_repository_without_a_template_has_defaults(self, ecr: RunningEcr) -> None:
        assert made(ecr) == PLAIN

    def test_every_setting_of_the_template_is_applied(self, ecr: RunningEcr) -> None:
        wildcards = [{"filterType": "WILDCARD", "filter": "dev*"}]
        template(
            ecr,
            "mirror",
            imageTagMutability="MUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=wildcards,
            encryptionConfiguration={"encryptionType": "KMS", "kmsKey": KEY},
            resourceTags=[{"Key": "team", "Value": "platform"}],
            lifecyclePolicy=LIFECYCLE,
            repositoryPolicy=POLICY,
        )
        assert made(ecr) == PLAIN | {
            "imageTagMutability": "MUTABLE_WITH_EXCLUSION",
            "imageTagMutabilityExclusionFilters": wildcards,
            "encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": KEY},
        }
        assert documents(ecr) == {"lifecyclePolicyText": LIFECYCLE, "policyText": POLICY}
        assert ecr.client.list_tags_for_resource(resourceArn=ARN)["tags"] == [{"Key": "team", "Value": "platform"}]

    @pytest.mark.parametrize("longest", ["mirror/team", "mirror/team/"])
    def test_template_with_the_longest_prefix_is_applied(self, ecr: RunningEcr, longest: str) -> None:
        for prefix in ("ROOT", "mirror", "mirror/other"):
            template(ecr, prefix)
        template(ecr, longest, imageTagMutability="MUTABLE")
        assert made(ecr) == PLAIN

    def test_root_template_is_applied_where_no_prefix_matches(self, ecr: RunningEcr) -> None:
        """However short the other one is."""
        template(ecr, "ROOT", imageTagMutability="MUTABLE")
        template(ecr, "dev")
        assert made(ecr, name="dev/app")["imageTagMutability"] == "IMMUTABLE"
        assert made(ecr, name="prod/app") == PLAIN

    def test_root_template_is_applied_where_it_is_the_only_one(self, ecr: RunningEcr) -> None:
        template(ecr, "ROOT")
        assert made(ecr)["imageTagMutability"] == "IMMUTABLE"

    def test_prefix_matches_whole_parts_of_the_name(self, ecr: RunningEcr) -> None:
        template(ecr, "mirror/te")
        template(ecr, "mirror/team/app")
        assert made(ecr) == PLAIN

    def test_template_for_replication_is_not_applied(self, ecr: RunningEcr) -> None:
        template(ecr, "mirror/team", appliedFor=["REPLICATION"])
        assert made(ecr) == PLAIN
        template(ecr, "other", appliedFor=["REPLICATION", "CREATE_ON_PUSH"])
        assert made(ecr, name="other/app")["imageTagMutability"] == "IMMUTABLE"

    def test_template_on_the_second_page_is_found(self, ecr: RunningEcr) -> None:
        for number in range(100):
            template(ecr, f"a{number}")
        template(ecr, "mirror")
        assert made(ecr)["imageTagMutability"] == "IMMUTABLE"
        assert ecr.ecr.calls.count("DescribeRepositoryCreationTemplates") == 2

    def test_repository_is_not_created_where_templates_cannot_be_read(self, ecr: RunningEcr) -> None:
        ecr.ecr.faults.add("DescribeRepositoryCreationTemplates", "AccessDeniedException")
        with pytest.raises(AccessDeniedError):
            EcrTarget(ecr.client).ensure_repository(NAME)
        assert ecr.ecr.calls.count("CreateRepository") == 0


class TestPoliciesNotPut:
    """A retry would find the repository and not change it, so this error must be reported, not retried."""

    @pytest.mark.parametrize("operation", ["PutLifecyclePolicy", "SetRepositoryPolicy"])
    @pytest.mark.parametrize("code", ["AccessDeniedException", "InvalidParameterException", "ServerException"])
    def test_error_says_what_to_do(self, ecr: RunningEcr, operation: str, code: str) -> None:
        ecr.ecr.faults.add(operation, code, message="as ECR says it")
        settings = RepositorySettings(lifecycle_policy=LIFECYCLE, repository_policy=POLICY)
        with pytest.raises(ConfigError, match=f"as ECR says it.*{NAME} was created without it.*delete") as caught:
            EcrTarget(ecr.client).ensure_repository(NAME, settings)
        assert not caught.value.retryable

    def test_throttled_creation_is_a_rate_limit(self, ecr: RunningEcr) -> None:
        ecr.ecr.faults.add("CreateRepository", "ThrottlingException")
        with pytest.raises(RateLimitedError):
            EcrTarget(ecr.client).ensure_repository(NAME, RepositorySettings(lifecycle_policy=LIFECYCLE))
        assert made(ecr, RepositorySettings(lifecycle_policy=LIFECYCLE)) == PLAIN
        assert documents(ecr) == {"lifecyclePolicyText": LIFECYCLE}
