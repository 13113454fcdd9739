"""The quota of PutImage, where it is enforced."""

import contextlib

import pytest
import requests

from local.ecr.errors import EcrError
from local.ecr.quotas import Quotas
from local.tests.ecr.harness import RunningEcr, image_manifest, oci_error, push, refused


class Time:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def taken(quotas: Quotas, operation: str = "PutImage", *, tries: int = 100) -> int:
    """Count the calls of many that are not throttled."""
    count = 0
    for _ in range(tries):
        with contextlib.suppress(EcrError):
            quotas.take(operation)
            count += 1
    return count


def test_ten_a_second_are_let_through_after_a_burst() -> None:
    time = Time()
    quotas = Quotas(time)
    quotas.enforced = True
    assert taken(quotas) == 20
    time.seconds = 1.0
    assert taken(quotas) == 10
    time.seconds = 60.0
    assert taken(quotas) == 20


def test_other_calls_are_not_limited_nor_is_anything_where_no_quota_is_enforced() -> None:
    quotas = Quotas(Time())
    assert taken(quotas) == 100
    quotas.enforced = True
    assert taken(quotas, "DescribeImages") == 100


@pytest.fixture
def throttled(registry: RunningEcr) -> RunningEcr:
    """A registry whose quota is used up."""
    push(registry.client, "team/app", "one", "v1")
    registry.ecr.quotas.enforced = True
    taken(registry.ecr.quotas)
    return registry


def test_api_and_docker_endpoint_are_throttled(throttled: RunningEcr) -> None:
    manifest = image_manifest(b"config of one", [b"layer of one"])
    try:
        with refused("ThrottlingException"):
            throttled.client.put_image(repositoryName="team/app", imageManifest=manifest, imageTag="v2")
        answer = requests.put(
            f"{throttled.url}/v2/team/app/manifests/v2", manifest, headers=throttled.authorization(), timeout=10
        )
        assert oci_error(answer) == (429, "TOOMANYREQUESTS")
    finally:
        throttled.ecr.quotas.enforced = False
