"""Manifests of a registry in trouble: asked for again, and not for ever."""

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
from pullahead.standalone.copy_image import PatientManifests
from tests.fakes.upstream import FakeUpstream

REFERENCE = "ghcr.io/team/app:1.0"
IMAGE = make_image([10])


class Asking:
    def __init__(self, error: RegistryError, times: int) -> None:
        self.upstream, self.waits = FakeUpstream(), list[int]()
        self.upstream.serve(IMAGE, REFERENCE)
        self.upstream.script.fail("get_manifest", error, times=times)

    def ask(self) -> None:
        patient = PatientManifests(self.upstream, self.waits.append)
        assert patient.get_manifest(parse_reference(REFERENCE)) == IMAGE.root


def trouble(kind: type[RegistryError], status: int | None) -> RegistryError:
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


def test_trouble_that_passes_is_the_end() -> None:
    asking = Asking(trouble(RegistryUnavailableError, 503), times=2)
    asking.ask()
    assert asking.waits == [1, 2]


def test_trouble_without_end_is_asked_for_ever() -> None:
    asking = Asking(limited(1.0), times=99)
    with pytest.raises(RateLimitedError):
        asking.ask()
    assert (asking.upstream.gets, asking.waits) == (3, [1, 2])


@pytest.mark.parametrize(
    "error",
    [
        trouble(NotFoundError, 404),
        trouble(DigestMismatchError, 200),
        trouble(RegistryUnavailableError, None),
        limited(3600.0),
    ],
)
def test_error_that_does_not_pass_is_waited_for(error: RegistryError) -> None:
    asking = Asking(error, times=99)
    with pytest.raises(type(error)):
        asking.ask()
    assert (asking.upstream.gets, asking.waits) == (1, [])
