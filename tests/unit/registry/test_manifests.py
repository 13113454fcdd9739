"""Manifests from registries that leave things out, contradict themselves or lie."""

import json
from typing import Any

import pytest

from local.images import LocalImage, SparseBlob, make_image, make_index
from local.registry import FakeRegistry
from pullahead.errors import (
    DigestMismatchError,
    NotFoundError,
    RegistryError,
    ResponseTooLargeError,
    UnsupportedMediaTypeError,
)
from pullahead.oci import MAX_MANIFEST_BYTES, Digest, RawManifest, describe, digest_of, media_types
from pullahead.registry.client import UpstreamRegistry

IMAGE = make_index([make_image(seed=1)])
WRONG = digest_of(b"something else")


@pytest.fixture(autouse=True)
def pushed(registry: FakeRegistry) -> None:
    registry.push(IMAGE, "team/app", "1.0")


def serve(registry: FakeRegistry, content: bytes, media_type: str | None, digest: str | None = None) -> None:
    """Answer HEAD and GET of a manifest with this."""
    headers = {"Content-Type": media_type, "Docker-Content-Digest": digest}
    sent = {name: value for name, value in headers.items() if value is not None}
    registry.fail(None, "/manifests/", 200, times=9, headers=sent, body=content)


def refusals(registry: FakeRegistry, upstream: UpstreamRegistry, digest: Digest | None = None) -> list[RegistryError]:
    """Ask by HEAD and by GET, which must both fail, and return how."""
    reference = registry.reference("team/app", "1.0", digest)
    caught = []
    for ask in (upstream.head_manifest, upstream.get_manifest):
        with pytest.raises(RegistryError) as refused:
            ask(reference)
        caught.append(refused.value)
    return caught


def test_unchanged_tag_costs_one_head(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    for _ in range(3):
        assert upstream.head_manifest(registry.reference("team/app", "1.0")) == IMAGE.root.descriptor
    assert [request.method for request in registry.requests] == ["HEAD"] * 3
    assert registry.connections == 1


def test_get_costs_one_request(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    for _ in range(3):
        assert upstream.get_manifest(registry.reference("team/app", "1.0")) == IMAGE.root
    assert [request.method for request in registry.requests] == ["GET"] * 3
    assert registry.connections == 1


def test_head_and_get_accept_the_same(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    reference = registry.reference("team/app", "1.0")
    upstream.head_manifest(reference)
    upstream.get_manifest(reference)
    assert [request.headers["accept"] for request in registry.requests] == [media_types.ACCEPT] * 2
    assert {request.headers["accept-encoding"] for request in registry.requests} == {"identity"}


def test_digest_wins_over_the_tag(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.push(make_image(seed=2), "team/app", "1.0")
    reference = registry.reference("team/app", "1.0", IMAGE.digest)
    assert upstream.head_manifest(reference) == IMAGE.root.descriptor
    assert upstream.get_manifest(reference) == IMAGE.root


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 501])
def test_refused_head_is_replaced_by_get(registry: FakeRegistry, upstream: UpstreamRegistry, status: int) -> None:
    registry.fail("HEAD", "/manifests/", status)
    assert upstream.head_manifest(registry.reference("team/app", "1.0")) == IMAGE.root.descriptor
    assert (registry.count("HEAD"), registry.count("GET")) == (1, 1)


def test_missing_tag_is_confirmed_by_get(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    with pytest.raises(NotFoundError):
        upstream.head_manifest(registry.reference("team/app", "2.0"))
    assert (registry.count("HEAD"), registry.count("GET")) == (1, 1)


def test_missing_digest_header_is_replaced_by_hashing(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.lie_digest_header = ""
    assert upstream.head_manifest(registry.reference("team/app", "1.0")) == IMAGE.root.descriptor
    assert upstream.get_manifest(registry.reference("team/app", "1.0")) == IMAGE.root
    assert (registry.count("HEAD"), registry.count("GET")) == (1, 2)


@pytest.mark.parametrize("length", ["?", "", "-1", "9" * 5000])
def test_missing_length_of_a_head_is_read_by_get(
    registry: FakeRegistry, upstream: UpstreamRegistry, length: str
) -> None:
    headers = {"Content-Type": media_types.OCI_INDEX, "Docker-Content-Digest": IMAGE.digest, "Content-Length": length}
    registry.fail("HEAD", "/manifests/", 200, headers=headers)
    assert upstream.head_manifest(registry.reference("team/app", "1.0")) == IMAGE.root.descriptor


@pytest.mark.parametrize("malformed", ["sha256:abc", "latest", "md5:d41d8cd98f00b204e9800998ecf8427e"])
def test_malformed_digest_header_counts_as_absent(
    registry: FakeRegistry, upstream: UpstreamRegistry, malformed: str
) -> None:
    registry.lie_digest_header = malformed
    reference = registry.reference("team/app", "1.0")
    assert upstream.head_manifest(reference) == IMAGE.root.descriptor
    assert upstream.get_manifest(reference) == IMAGE.root


@pytest.mark.parametrize("header", ["{0}, {0}", '"{0}"', "{0}, "])
def test_digest_header_in_other_forms_is_read(registry: FakeRegistry, upstream: UpstreamRegistry, header: str) -> None:
    registry.lie_digest_header = header.format(IMAGE.digest)
    assert upstream.head_manifest(registry.reference("team/app", "1.0")) == IMAGE.root.descriptor
    assert registry.count("GET") == 0


def test_two_digests_in_the_header_are_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.lie_digest_header = f"{IMAGE.digest}, {WRONG}"
    assert [type(error) for error in refusals(registry, upstream)] == [DigestMismatchError] * 2


@pytest.mark.parametrize(
    "content",
    [
        b'{"schemaVersion": 2, "layers": [], "layers": []}',
        b'{"schemaVersion": 2, "layers": [], "Layers": []}',
        b'{"schemaVersion": 2, "LAYERS": []}',
        b'{"schemaVersion": 2, "CONFIG": {}}',
        rb'{"schemaVersion": 2, "layer\u017f": []}',
        b'{"schemaVersion": 2, "config": {"Digest": "x"}}',
        b'{"schemaVersion": 2, "layers": [{"digest": "x", "digest": "y"}]}',
        b'{"schemaVersion": 2, "annotations": {"a": "1", "a": "2"}}',
        b'{"schemaVersion": 2, "x": {"y": 1, "y": 2}}',
    ],
)
def test_manifest_with_ambiguous_keys_is_refused(
    registry: FakeRegistry, upstream: UpstreamRegistry, content: bytes
) -> None:
    serve(registry, content, media_types.OCI_MANIFEST)
    with pytest.raises(UnsupportedMediaTypeError, match="key"):
        upstream.get_manifest(registry.reference("team/app", "1.0"))


def test_keys_of_annotations_may_be_any(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    content = b'{"schemaVersion": 2, "annotations": {"Layers": "1", "layers": "2", "OS": "3"}, "x": {"Config": 1}}'
    serve(registry, content, media_types.OCI_MANIFEST)
    assert upstream.get_manifest(registry.reference("team/app", "1.0")).content == content


def test_wrong_digest_header_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.lie_digest_header = WRONG
    with pytest.raises(DigestMismatchError, match=IMAGE.digest):
        upstream.get_manifest(registry.reference("team/app", "1.0"))


def test_other_digest_than_requested_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.lie_digest_header = WRONG
    assert [type(error) for error in refusals(registry, upstream, IMAGE.digest)] == [DigestMismatchError] * 2


@pytest.mark.parametrize("header", [None, WRONG])
def test_other_bytes_than_requested_are_an_error(
    registry: FakeRegistry, upstream: UpstreamRegistry, header: str | None
) -> None:
    serve(registry, make_image(seed=3).root.content, media_types.OCI_MANIFEST, header)
    with pytest.raises(DigestMismatchError):
        upstream.get_manifest(registry.reference("team/app", None, IMAGE.digest))


def test_sha512_can_be_requested(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    content = IMAGE.root.content
    sha512 = digest_of(content, "sha512")
    manifest = RawManifest(describe(content, media_types.OCI_INDEX, "sha512"), content)
    registry.push(LocalImage(manifest, {sha512: manifest}, {}), "team/app", "long")
    assert upstream.head_manifest(registry.reference("team/app", None, sha512)) == manifest.descriptor
    assert upstream.get_manifest(registry.reference("team/app", None, sha512)) == manifest
    assert upstream.get_manifest(registry.reference("team/app", "long")) == manifest


def test_sha256_in_answer_to_sha512_is_no_mismatch(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    serve(registry, IMAGE.root.content, media_types.OCI_INDEX, IMAGE.digest)
    sha512 = digest_of(IMAGE.root.content, "sha512")
    assert upstream.head_manifest(registry.reference("team/app", None, sha512)).digest == sha512
    assert upstream.get_manifest(registry.reference("team/app", None, sha512)).descriptor.digest == sha512


@pytest.mark.parametrize(
    "media_type",
    [None, "", "application/json", "text/plain; charset=utf-8", "application/octet-stream", "garbage"],
)
def test_generic_media_type_is_replaced_by_the_content(
    registry: FakeRegistry, upstream: UpstreamRegistry, media_type: str | None
) -> None:
    serve(registry, IMAGE.root.content, media_type, IMAGE.digest)
    reference = registry.reference("team/app", "1.0")
    assert upstream.head_manifest(reference) == IMAGE.root.descriptor
    assert upstream.get_manifest(reference) == IMAGE.root


def test_parameters_of_the_media_type_are_ignored(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    serve(registry, IMAGE.root.content, f"{media_types.OCI_INDEX.upper()} ; charset=utf-8", IMAGE.digest)
    assert upstream.head_manifest(registry.reference("team/app", "1.0")) == IMAGE.root.descriptor
    assert registry.count("GET") == 0


@pytest.mark.parametrize(
    "media_type",
    [
        media_types.DOCKER_SCHEMA1,
        media_types.DOCKER_SCHEMA1_SIGNED,
        "application/vnd.oci.artifact.manifest.v1+json",
        "text/html",
    ],
)
def test_media_type_that_cannot_be_copied_is_refused(
    registry: FakeRegistry, upstream: UpstreamRegistry, media_type: str
) -> None:
    serve(registry, IMAGE.root.content, media_type, IMAGE.digest)
    assert [type(error) for error in refusals(registry, upstream)] == [UnsupportedMediaTypeError] * 2


@pytest.mark.parametrize("sent", ["application/json", media_types.OCI_INDEX])
@pytest.mark.parametrize(
    "content",
    [b"", b"<html>Log in, please</html>", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"mediaType": 7}'],
    ids=["empty", "HTML", "list", "not UTF-8", "deep", "number"],
)
def test_content_that_is_not_a_manifest_is_refused(
    registry: FakeRegistry, upstream: UpstreamRegistry, content: bytes, sent: str
) -> None:
    serve(registry, content, sent)
    assert [type(error) for error in refusals(registry, upstream)] == [UnsupportedMediaTypeError] * 2


@pytest.mark.parametrize(
    "document", [{"schemaVersion": 1, "name": "old"}, {"schemaVersion": 2, "mediaType": "application/x-other"}]
)
def test_media_type_hidden_behind_a_generic_one_is_refused(
    registry: FakeRegistry, upstream: UpstreamRegistry, document: dict[str, Any]
) -> None:
    serve(registry, json.dumps(document).encode(), "application/json")
    assert [type(error) for error in refusals(registry, upstream)] == [UnsupportedMediaTypeError] * 2


def test_manifest_of_another_declared_media_type_is_refused(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    serve(registry, IMAGE.root.content, media_types.OCI_MANIFEST)  # the content says that it is an index
    assert [type(error) for error in refusals(registry, upstream)] == [UnsupportedMediaTypeError] * 2


@pytest.mark.parametrize("media_type", [media_types.OCI_INDEX, media_types.DOCKER_MANIFEST])
def test_manifest_without_a_declared_media_type_is_read(
    registry: FakeRegistry, upstream: UpstreamRegistry, media_type: str
) -> None:
    content = b'{"schemaVersion": 2, "manifests": [], "layers": []}'
    serve(registry, content, media_type)
    assert upstream.get_manifest(registry.reference("team/app", "1.0")).descriptor == describe(content, media_type)


def test_endless_manifest_is_refused(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    endless = {"Content-Type": media_types.OCI_INDEX, "Transfer-Encoding": "identity"}
    registry.fail("GET", "/manifests/", 200, headers={**endless, "Content-Length": ""}, body=SparseBlob(1 << 40))
    with pytest.raises(ResponseTooLargeError, match=str(MAX_MANIFEST_BYTES)):
        upstream.get_manifest(registry.reference("team/app", "1.0"))
    assert registry.requests[-1].bytes_sent < 64 * 1024 * 1024


def test_announced_giant_is_not_read(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    headers = {"Content-Type": media_types.OCI_INDEX, "Docker-Content-Digest": IMAGE.digest}
    registry.fail(None, "/manifests/", 200, times=2, headers=headers, body=SparseBlob(MAX_MANIFEST_BYTES + 1))
    assert [type(error) for error in refusals(registry, upstream)] == [ResponseTooLargeError] * 2


def test_largest_manifest_is_read(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    content = b'{"schemaVersion": 2}'.ljust(MAX_MANIFEST_BYTES)
    serve(registry, content, media_types.OCI_MANIFEST)
    assert len(upstream.get_manifest(registry.reference("team/app", "1.0")).content) == MAX_MANIFEST_BYTES


def test_manifest_cut_short_is_requested_again(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.cut("/manifests/", after_bytes=10)
    assert upstream.get_manifest(registry.reference("team/app", "1.0")) == IMAGE.root
    assert registry.count("GET") == 2
