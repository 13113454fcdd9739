"""Manifests of a registry that fails for a while: read again, within bounds."""

import pytest

from local.images import make_image
from pullahead.errors import (
    DigestMismatchError,
    NotFoundError,
    RateLimitedError,
    RegistryError,
    RegistryUnavailableError,
    Side,
)
from pullahead.oci import parse_reference
from pullahead.standalone.copy_image import RetryingManifests
from tests.fakes.upstream import FakeUpstream

REFERENCE = "ghcr.io/team/app:1.0"
IMAGE = make_image([10])


class Reading:
    def __init__(self, error: RegistryError, times: int) -> None:
        self.upstream, self.waits = FakeUpstream(), list[int]()
        self.upstream.serve(IMAGE, REFERENCE)
        self.upstream.script.fail("get_manifest", error, times=times)

    def read(self) -> None:
        manifests = RetryingManifests(self.upstream, self.waits.append)
        assert manifests.get_manifest(parse_reference(REFERENCE)) == IMAGE.root


def failing(kind: type[RegistryError], status: int | None) -> RegistryError:
    return kind("it is busy", operation="get", side=Side.UPSTREAM, reference=REFERENCE, status=status)


def limited(seconds: float) -> RateLimitedError:
    return RateLimitedError(
        "not so fast",
        operation="get",
        side=Side.UPSTREAM,
        reference=REFERENCE,
        status=429,
        retry_after_seconds=seconds,
    )


def test_error_that_passes_is_retried() -> None:
    reading = Reading(failing(RegistryUnavailableError, 503), times=2)
    reading.read()
    assert reading.waits == [1, 2]


def test_number_of_retries_is_bounded() -> None:
    reading = Reading(limited(1.0), times=99)
    with pytest.raises(RateLimitedError):
        reading.read()
    assert (reading.upstream.gets, reading.waits) == (3, [1, 2])


@pytest.mark.parametrize(
    "error",
    [
        failing(NotFoundError, 404),
        failing(DigestMismatchError, 200),
        failing(RegistryUnavailableError, None),
        limited(3600.0),
    ],
)
def test_error_that_does_not_pass_is_not_retried(error: RegistryError) -> None:
    reading = Reading(error, times=99)
    with pytest.raises(type(error)):
        reading.read()
    assert (reading.upstream.gets, reading.waits) == (1, [])
