"""Managed signing of the local ECR: who pushes where a rule matches needs the permission to sign."""

import json
from typing import Any

import pytest
import requests

from local.ecr.errors import EcrError
from local.tests.ecr.harness import OCI_MANIFEST, RunningEcr, oci_error, push, refused

PROFILE = "arn:aws:signer:eu-west-1:123456789012:/signing-profiles/images"
REPOSITORY = "team/app"


def configure(registry: RunningEcr, *filters: str) -> None:
    rule: Any = {"signingProfileArn": PROFILE}
    if filters:
        rule["repositoryFilters"] = [{"filter": each, "filterType": "WILDCARD_MATCH"} for each in filters]
    registry.client.put_signing_configuration(signingConfiguration={"rules": [rule]})


def push_as(registry: RunningEcr, role: str, tag: str) -> None:
    """Push a manifest that the repository has under another tag, so that its layers are there."""
    manifest = push(registry.client, REPOSITORY, tag, f"before-{tag}")
    registry.ecr.call("PutImage", {"repositoryName": REPOSITORY, "imageManifest": manifest, "imageTag": tag}, role)


@pytest.mark.parametrize("filters", [(), ("team/*",), ("other/*", "*app")])
def test_push_without_the_permission_to_sign_is_refused_and_names_it(
    registry: RunningEcr, filters: tuple[str, ...]
) -> None:
    configure(registry, *filters)
    registry.ecr.signing.may_sign = lambda role, profile: (role, profile) == ("signer", PROFILE)
    with pytest.raises(
        EcrError, match=f"not authorized to perform: signer:SignPayload on resource: {PROFILE}"
    ) as caught:
        push_as(registry, "pusher", "1.0")
    assert caught.value.code == "AccessDeniedException"
    push_as(registry, "signer", "2.0")


def test_push_where_no_rule_matches_needs_no_permission(registry: RunningEcr) -> None:
    registry.ecr.signing.may_sign = lambda _role, _profile: False
    push_as(registry, "pusher", "1.0")
    configure(registry, "other/*")
    push_as(registry, "pusher", "2.0")


def test_docker_endpoint_refuses_as_the_api_does(registry: RunningEcr) -> None:
    manifest = push(registry.client, REPOSITORY, "one", "1.0")
    configure(registry)
    registry.ecr.faults.add("v2:PutManifest", "AccessDeniedException", message="may not signer:SignPayload")
    answer = requests.put(
        f"{registry.url}/v2/{REPOSITORY}/manifests/2.0",
        data=manifest,
        headers={**registry.authorization(), "Content-Type": OCI_MANIFEST},
        timeout=10,
    )
    assert oci_error(answer) == (403, "DENIED")


def test_configuration_is_kept_until_it_is_deleted(registry: RunningEcr) -> None:
    with refused("SigningConfigurationNotFoundException"):
        registry.client.get_signing_configuration()
    configure(registry, "team/*")
    kept = registry.client.get_signing_configuration()["signingConfiguration"]
    assert json.dumps(kept).count(PROFILE) == 1
    push(registry.client, REPOSITORY, "one", "1.0")
    status = registry.client.describe_image_signing_status(repositoryName=REPOSITORY, imageId={"imageTag": "1.0"})
    assert [(each["signingProfileArn"], each["status"]) for each in status["signingStatuses"]] == [
        (PROFILE, "COMPLETE")
    ]
    registry.client.delete_signing_configuration()
    with refused("SigningConfigurationNotFoundException"):
        registry.client.get_signing_configuration()
