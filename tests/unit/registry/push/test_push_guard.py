"""Where a target may lead: what lies within is for targets that lie there themselves."""

import socket
from collections.abc import Mapping, Sequence

import pytest

from pullahead.errors import AccessDeniedError, RegistryUnavailableError
from pullahead.oci.registries import Upload
from pullahead.registry.address_guard import Network
from pullahead.registry.push import OciTarget
from tests.unit.registry.harness import FakeTime
from tests.unit.registry.push.harness import REPOSITORY, TIMEOUTS

PUBLIC, PRIVATE, METADATA = "151.101.0.1", "10.0.0.5", "169.254.169.254"


def upload_to(addresses: Mapping[str, str]) -> list[str]:
    """Send a part to storage.example, and list the addresses that were connected to."""
    connected: list[str] = []

    def resolve(host: str, _: int) -> Sequence[str]:
        return [addresses[host]]

    def connect(address: tuple[str, int], _: float | None) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError

    target = OciTarget("registry.example", network=Network(resolve, connect), timeouts=TIMEOUTS, sleep=FakeTime().sleep)
    with pytest.raises(RegistryUnavailableError, match="connection refused"):
        target.upload_part(REPOSITORY, Upload("https://storage.example/1", 10), 0, b"x")
    return connected


@pytest.mark.parametrize("registry", [PUBLIC, PRIVATE])
def test_upload_may_go_on_at_a_public_address(registry: str) -> None:
    assert upload_to({"registry.example": registry, "storage.example": PUBLIC}) == [PUBLIC]


def test_upload_to_a_private_registry_may_go_on_at_a_private_address() -> None:
    assert upload_to({"registry.example": PRIVATE, "storage.example": PRIVATE}) == [PRIVATE]


@pytest.mark.parametrize(("registry", "storage"), [(PUBLIC, PRIVATE), (PUBLIC, METADATA), (PRIVATE, METADATA)])
def test_upload_does_not_go_on_within(registry: str, storage: str) -> None:
    with pytest.raises(AccessDeniedError, match="which is refused"):
        upload_to({"registry.example": registry, "storage.example": storage})
