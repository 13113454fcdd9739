"""Referrers from registries with the API, without it, and with something else in its place."""

import json

import pytest

from local.images import make_image
from local.registry import FakeRegistry
from pullahead.errors import AccessDeniedError, RegistryError, RegistryUnavailableError, ResponseTooLargeError
from pullahead.oci import Digest, digest_of, media_types
from pullahead.oci.referrers import Referrer, fallback_tag
from pullahead.registry.client import UpstreamRegistry

SUBJECT = make_image(seed=1)
SIGNATURE = digest_of(b"signature")
SBOM = digest_of(b"sbom")


def listing(*digests: str, artifact_type: str | None = "application/vnd.example.sig") -> bytes:
    """Write an index of referrers."""
    entry = {"mediaType": media_types.OCI_MANIFEST, "size": 10}
    kind = {"artifactType": artifact_type} if artifact_type else {}
    manifests = [{**entry, **kind, "digest": digest} for digest in digests]
    document = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": manifests}
    return json.dumps(document).encode()


def serve(registry: FakeRegistry, body: bytes, link: str = "", path: str = "/referrers/") -> None:
    """Answer the next listing with this."""
    headers = {"Content-Type": media_types.OCI_INDEX, **({"Link": link} if link else {})}
    registry.fail("GET", path, 200, headers=headers, body=body)


def referrers(registry: FakeRegistry, upstream: UpstreamRegistry, digest: Digest = SUBJECT.digest) -> list[Digest]:
    """List the digests of referrers."""
    found: tuple[Referrer, ...] = upstream.list_referrers(registry.reference("team/app", "1.0"), digest)
    return [referrer.descriptor.digest for referrer in found]


def test_referrers_are_listed_by_the_api(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    serve(registry, listing(SIGNATURE), '<?page=2>; rel="next"')
    serve(registry, listing(SBOM, SIGNATURE))
    assert referrers(registry, upstream) == [SIGNATURE, SBOM]
    assert [request.path for request in registry.requests] == [f"/v2/team/app/referrers/{SUBJECT.digest}"] * 2


def test_artifact_type_is_kept(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    serve(registry, listing(SIGNATURE))
    (found,) = upstream.list_referrers(registry.reference("team/app", "1.0"), SUBJECT.digest)
    assert found.artifact_type == "application/vnd.example.sig"
    assert found.descriptor.size == 10


def test_empty_listing_needs_no_fallback(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    serve(registry, listing())
    assert referrers(registry, upstream) == []
    assert registry.count("GET") == 1


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_fallback_tag_is_read(registry: FakeRegistry, upstream: UpstreamRegistry, status: int) -> None:
    registry.fail("GET", "/referrers/", status)
    serve(registry, listing(SIGNATURE), path="/manifests/sha256-")
    assert referrers(registry, upstream) == [SIGNATURE]
    assert registry.requests[-1].path == f"/v2/team/app/manifests/{fallback_tag(SUBJECT.digest)}"
    assert registry.count("GET") == 2


def test_html_in_place_of_the_api_leads_to_the_fallback(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.fail("GET", "/referrers/", 200, headers={"Content-Type": "text/html"}, body=b"<html>hello</html>")
    serve(registry, listing(SIGNATURE), path="/manifests/sha256-")
    assert referrers(registry, upstream) == [SIGNATURE]


def test_no_referrers_are_an_empty_list(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    assert referrers(registry, upstream) == []
    assert registry.count("GET") == 2


def test_refusal_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.fail("GET", "/referrers/", 403)
    with pytest.raises(AccessDeniedError):
        referrers(registry, upstream)
    assert registry.count("GET") == 1


@pytest.mark.parametrize("body", [b"<html>", b'{"manifests": 3}'])
def test_listing_that_is_not_understood_is_an_error(
    registry: FakeRegistry, upstream: UpstreamRegistry, body: bytes
) -> None:
    serve(registry, body)
    with pytest.raises(RegistryUnavailableError):
        referrers(registry, upstream)


def test_listing_without_end_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    for number in range(4):
        digests = [digest_of(f"{number} {each}".encode()) for each in range(3000)]
        serve(registry, listing(*digests), f'<?page={number}>; rel="next"')
    with pytest.raises(ResponseTooLargeError):
        referrers(registry, upstream)


def test_circle_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    for _ in range(3):
        serve(registry, listing(SIGNATURE), '<?page=1>; rel="next"')
    with pytest.raises(RegistryError, match="circle"):
        referrers(registry, upstream)
    assert registry.count("GET") == 2


def test_fallback_tag_of_sha512_is_cut() -> None:
    digest = digest_of(b"x", "sha512")
    assert fallback_tag(digest) == f"sha512-{digest.partition(':')[2][:64]}"
    assert fallback_tag(SIGNATURE) == SIGNATURE.replace(":", "-")
