"""Every kind of answer that is none of those hoped for: the error it becomes, and what its text must not hold."""

import socket
import traceback
from collections.abc import Callable

import pytest

from local.images import SparseBlob, make_image
from local.registry import FakeRegistry
from pullahead.errors import (
    AccessDeniedError,
    NotFoundError,
    RateLimitedError,
    RegistryError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    Side,
    UnsupportedMediaTypeError,
)
from pullahead.oci import Reference, Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.request import Timeouts
from tests.unit.registry.harness import SECRET, FakeTime, last_blob, upstream_of

JSON_ERROR = b'{"errors": [{"code": "DENIED", "message": "see https://help.example/?token=s3cr3t now\\nnot later"}]}'


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AccessDeniedError),
        (403, AccessDeniedError),
        (404, NotFoundError),
        (406, UnsupportedMediaTypeError),
        (408, RegistryTimeoutError),
        (410, NotFoundError),
        (429, RateLimitedError),
        (400, RegistryUnavailableError),
        (204, RegistryUnavailableError),
        (418, RegistryUnavailableError),
        (500, RegistryUnavailableError),
        (502, RegistryUnavailableError),
        (503, RegistryUnavailableError),
        (504, RegistryTimeoutError),
    ],
)
@pytest.mark.parametrize("operation", ["head_manifest", "get_manifest", "open_blob"])
def test_status_becomes_its_error(
    registry: FakeRegistry, upstream: UpstreamRegistry, operation: str, status: int, kind: type[RegistryError]
) -> None:
    registry.fail(None, "/v2/", status, times=99, body=JSON_ERROR)
    error = error_of(operation, registry, upstream)
    assert type(error) is kind
    assert (error.side, error.status) == (Side.UPSTREAM, status)
    assert error.reference.startswith(f"{registry.host}/team/app")


@pytest.mark.parametrize("operation", ["get_manifest", "open_blob"])
def test_explanation_of_the_registry_is_in_the_error(
    registry: FakeRegistry, upstream: UpstreamRegistry, operation: str
) -> None:
    registry.fail("GET", "/v2/", 403, body=JSON_ERROR)
    assert "(DENIED see https://help.example/?… now not later)" in str(error_of(operation, registry, upstream))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<Error><StringToSign>s3cr3t</StringToSign></Error>", id="storage service"),
        pytest.param(b'{"errors": "s3cr3t"}', id="other JSON"),
        pytest.param(b'"s3cr3t' + b"\xff", id="not UTF-8"),
        pytest.param(b"[" * 50_000, id="deep"),
        pytest.param(SparseBlob(1 << 40), id="endless"),
    ],
)
def test_error_body_that_is_not_understood_is_left_out(
    registry: FakeRegistry, upstream: UpstreamRegistry, body: bytes | SparseBlob
) -> None:
    registry.fail("GET", "/v2/", 403, body=body)
    error = error_of("get_manifest", registry, upstream)
    assert type(error) is AccessDeniedError
    assert SECRET not in str(error)
    assert registry.requests[-1].bytes_sent < 64 * 1024 * 1024


def test_error_body_that_breaks_off_keeps_the_status(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.fail("GET", "/v2/", 403, body=b"x" * 1000)
    registry.cut("/v2/", after_bytes=10)
    assert error_of("get_manifest", registry, upstream).status == 403


def test_long_explanation_is_cut(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.fail("GET", "/v2/", 403, body=b'{"errors": [{"code": "DENIED", "message": "' + b"x" * 9000 + b'"}]}')
    assert str(error_of("get_manifest", registry, upstream)).count("x") < 250


def test_signed_address_is_not_in_the_traceback(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    signed = f"http://127.0.0.1:{unused_port()}/blob?X-Amz-Signature={SECRET}"
    registry.fail("GET", "/blobs/", 307, times=3, headers={"Location": signed})
    error = error_of("open_blob", registry, upstream)
    assert type(error) is RegistryUnavailableError
    assert SECRET not in "".join(traceback.format_exception(error))


def test_signed_address_of_a_broken_body_is_not_in_the_traceback(
    registry: FakeRegistry, other: FakeRegistry, upstream: UpstreamRegistry
) -> None:
    image = make_image([100_000])
    registry.push(image, "team/app")
    registry.redirect_blobs_to = other
    other.cut("/storage/", after_bytes=500)
    with (
        pytest.raises(RegistryUnavailableError) as caught,
        upstream.open_blob(registry.repository("team/app"), last_blob(image)) as pieces,
    ):
        list(pieces)
    assert "Signature" not in "".join(traceback.format_exception(caught.value))


def test_dead_port_is_an_unavailable_registry(upstream: UpstreamRegistry) -> None:
    reference = Reference(Repository(f"127.0.0.1:{unused_port()}", "team/app"), "1.0")
    with pytest.raises(RegistryUnavailableError, match="connection refused"):
        upstream.head_manifest(reference)


def test_unresolvable_host_is_named_in_the_error(upstream: UpstreamRegistry) -> None:
    with pytest.raises(RegistryUnavailableError, match=r"name cannot be resolved|connection refused"):
        upstream.head_manifest(Reference(Repository("no-such-host.invalid", "team/app"), "1.0"))


def test_impossible_host_name_is_an_unavailable_registry(upstream: UpstreamRegistry) -> None:
    with pytest.raises(RegistryUnavailableError):
        upstream.head_manifest(Reference(Repository(f"{'x' * 70}.invalid", "team/app"), "1.0"))


def test_host_without_tls_is_asked_three_times_at_most(registry: FakeRegistry) -> None:
    time = FakeTime()
    upstream = upstream_of(time=time, plain_http=False)
    with pytest.raises(RegistryUnavailableError):
        upstream.head_manifest(registry.reference("team/app", "1.0"))
    assert len(time.slept) <= 2


def test_registry_that_sends_nothing_times_out(registry: FakeRegistry, gate: Callable[[], None]) -> None:
    upstream = upstream_of(timeouts=Timeouts(connect=1, read=0.1))
    registry.before("HEAD", "/manifests/", gate)
    with pytest.raises(RegistryTimeoutError):
        upstream.head_manifest(registry.reference("team/app", "1.0"))
    assert registry.count("HEAD") == 1


def test_answer_after_the_deadline_times_out(registry: FakeRegistry) -> None:
    registry.push(make_image([1] * 100), "team/app", "1.0")
    time = FakeTime()
    upstream = upstream_of(time=time, timeouts=Timeouts(total=50))

    def take_a_minute() -> None:
        time.now += 60

    registry.before("GET", "/manifests/", take_a_minute)
    with pytest.raises(RegistryTimeoutError, match="timed out after 50 seconds"):
        upstream.get_manifest(registry.reference("team/app", "1.0"))


def error_of(operation: str, registry: FakeRegistry, upstream: UpstreamRegistry) -> RegistryError:
    """Do something that fails, and return how."""
    with pytest.raises(RegistryError) as caught:
        _do(operation, registry, upstream)
    return caught.value


def _do(operation: str, registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    if operation == "open_blob":
        with upstream.open_blob(registry.repository("team/app"), last_blob(make_image())) as pieces:
            list(pieces)
    else:
        getattr(upstream, operation)(registry.reference("team/app", "1.0"))


def unused_port() -> int:
    """Find an unused port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
