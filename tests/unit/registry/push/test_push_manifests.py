"""Manifests that a registry is given, and tags that it is asked for: what its answers are taken for."""

import pytest

from local.images import make_image
from pullahead.errors import (
    AccessDeniedError,
    ConflictError,
    DigestMismatchError,
    ManifestRefusedError,
    MissingContentError,
    NotFoundError,
    RegistryError,
    RegistryUnavailableError,
    SigningDeniedError,
    TagImmutableError,
)
from pullahead.oci import media_types
from pullahead.oci.registries import TaggedManifest
from pullahead.registry.http import MAX_ANSWER_BYTES
from tests.unit.registry.push.harness import REPOSITORY, Reply, ScriptedRegistry, oci_error, target_of

IMAGE, OTHER = make_image(seed=1), make_image(seed=2)
TAG = f"/v2/{REPOSITORY}/manifests/1.0$"


def serving(digest: str) -> Reply:
    return Reply(200, {"Docker-Content-Digest": digest})


def test_manifest_is_sent_byte_for_byte(registry: ScriptedRegistry) -> None:
    registry.on("PUT", TAG, Reply(201))
    registry.on("PUT", f"/manifests/{IMAGE.digest}$", Reply(201, {"Docker-Content-Digest": IMAGE.digest}))
    for tag in ("1.0", None):
        target_of(registry).put_manifest(REPOSITORY, IMAGE.root, tag)
    for asked in registry.asked:
        assert (asked.body, asked.headers["Content-Type"]) == (IMAGE.root.content, IMAGE.root.descriptor.media_type)


@pytest.mark.parametrize("status", [200, 202, 204])
@pytest.mark.parametrize(("tag", "version"), [(None, ""), ("1.0", ""), ("1.0", '"v7"')])
def test_manifest_is_stored_though_the_answer_is_not_201(
    registry: ScriptedRegistry, status: int, tag: str | None, version: str
) -> None:
    """Quay answers 202, and so did distribution before 2.1."""
    registry.on("PUT", "/manifests/", Reply(status))
    target_of(registry).put_manifest(REPOSITORY, IMAGE.root, tag, if_version=version)
    assert len(registry.asked) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (oci_error(400, "MANIFEST_BLOB_UNKNOWN"), MissingContentError),
        (oci_error(404, "MANIFEST_BLOB_UNKNOWN"), MissingContentError),
        (oci_error(404, "BLOB_UNKNOWN"), MissingContentError),
        (oci_error(400, "MANIFEST_UNKNOWN"), MissingContentError),
        (oci_error(400, "DIGEST_INVALID"), DigestMismatchError),
        (oci_error(400, "MANIFEST_INVALID"), ManifestRefusedError),
        (oci_error(400, "WHAT"), ManifestRefusedError),
        (Reply(400, {}, b"\xff{"), ManifestRefusedError),
        (Reply(413), ManifestRefusedError),
        (Reply(415), ManifestRefusedError),
        (oci_error(404, "NAME_UNKNOWN"), NotFoundError),
        (Reply(404), NotFoundError),
        (oci_error(401, "MANIFEST_INVALID"), AccessDeniedError),
        (oci_error(403, "DENIED", "not yours"), AccessDeniedError),
        (oci_error(403, "DENIED", f"User: {'r' * 300} may not perform: signer:SignPayload"), SigningDeniedError),
        (oci_error(400, "TAG_INVALID", "The tag cannot be overwritten because it is immutable"), TagImmutableError),
        (oci_error(409, "CONFLICT", "tag 1.0 is immutable"), TagImmutableError),
        (oci_error(412, "PRECONDITION", "configured as immutable"), TagImmutableError),
        (oci_error(403, "DENIED", "Not enough permissions to overwrite artifact"), TagImmutableError),
        (oci_error(500, "UNKNOWN", "immutable"), RegistryUnavailableError),
    ],
)
def test_refusal_becomes_its_error(registry: ScriptedRegistry, reply: Reply, kind: type[RegistryError]) -> None:
    registry.on("PUT", TAG, *[reply] * (3 if reply.status >= 500 else 1))
    if kind is TagImmutableError:
        registry.on("HEAD", TAG, serving(OTHER.digest))
    with pytest.raises(kind) as caught:
        target_of(registry).put_manifest(REPOSITORY, IMAGE.root, "1.0")
    assert type(caught.value) is kind


def test_immutable_tag_that_names_this_manifest_already_is_a_success(registry: ScriptedRegistry) -> None:
    registry.on("PUT", TAG, oci_error(400, "TAG_INVALID", "the tag is immutable"))
    registry.on("HEAD", TAG, serving(IMAGE.digest))
    target_of(registry).put_manifest(REPOSITORY, IMAGE.root, "1.0")


def test_word_immutable_about_a_digest_is_not_about_a_tag(registry: ScriptedRegistry) -> None:
    registry.on("PUT", "/manifests/sha256", oci_error(400, "MANIFEST_INVALID", "already exists as immutable"))
    with pytest.raises(ManifestRefusedError):
        target_of(registry).put_manifest(REPOSITORY, IMAGE.root, None)


def test_registry_that_stored_other_bytes_is_an_error(registry: ScriptedRegistry) -> None:
    registry.on("PUT", TAG, Reply(201, {"Docker-Content-Digest": OTHER.digest}))
    with pytest.raises(DigestMismatchError):
        target_of(registry).put_manifest(REPOSITORY, IMAGE.root, "1.0")


def test_put_that_meets_passing_trouble_is_retried(registry: ScriptedRegistry) -> None:
    registry.on("PUT", TAG, Reply(503), Reply(502), Reply(201))
    target_of(registry).put_manifest(REPOSITORY, IMAGE.root, "1.0")


class TestPublishedDigests:
    def test_one_head_for_each_tag_is_enough(self, registry: ScriptedRegistry) -> None:
        registry.on("HEAD", "/manifests/1.0$", serving(IMAGE.digest))
        registry.on("HEAD", "/manifests/2.0$", serving(OTHER.digest))
        registry.on("HEAD", "/manifests/3.0$", Reply(404))
        found = target_of(registry).published_digests(REPOSITORY, ["1.0", "2.0", "3.0"])
        assert found == {"1.0": IMAGE.digest, "2.0": OTHER.digest}
        assert {asked.headers["Accept"] for asked in registry.asked} == {media_types.ACCEPT}

    def test_head_without_digest_is_replaced_by_get(self, registry: ScriptedRegistry) -> None:
        registry.on("HEAD", TAG, Reply(200))
        registry.on("GET", TAG, Reply(200, {}, IMAGE.root.content))
        assert target_of(registry).published_digests(REPOSITORY, ["1.0"]) == {"1.0": IMAGE.digest}

    def test_endless_manifest_is_refused(self, registry: ScriptedRegistry) -> None:
        registry.on("HEAD", TAG, Reply(200))
        registry.on("GET", TAG, Reply(200, {}, b"x" * (MAX_ANSWER_BYTES + 1)))
        with pytest.raises(RegistryError, match="has more than"):
            target_of(registry).published_digests(REPOSITORY, ["1.0"])

    def test_malformed_digest_header_counts_as_absent(self, registry: ScriptedRegistry) -> None:
        registry.on("HEAD", TAG, serving("sha256:beef"))
        registry.on("GET", TAG, Reply(200, {}, IMAGE.root.content))
        assert target_of(registry).published_digests(REPOSITORY, ["1.0"]) == {"1.0": IMAGE.digest}

    @pytest.mark.parametrize("header", ["{0}, {0}", '"{0}"', "{0}, "])
    def test_digest_header_in_other_forms_is_read(self, registry: ScriptedRegistry, header: str) -> None:
        registry.on("HEAD", TAG, serving(header.format(IMAGE.digest)))
        assert target_of(registry).published_digests(REPOSITORY, ["1.0"]) == {"1.0": IMAGE.digest}

    @pytest.mark.parametrize("status", [401, 403])
    def test_refused_head_and_get_are_an_error(self, registry: ScriptedRegistry, status: int) -> None:
        registry.on("HEAD", TAG, Reply(status))
        registry.on("GET", TAG, Reply(status))
        with pytest.raises(AccessDeniedError):
            target_of(registry).published_digests(REPOSITORY, ["1.0"])

    @pytest.mark.parametrize("status", [401, 403])
    def test_refusal_with_a_challenge_is_not_followed_by_a_get(self, registry: ScriptedRegistry, status: int) -> None:
        registry.on("HEAD", TAG, Reply(status, {"WWW-Authenticate": "Basic"}))
        with pytest.raises(AccessDeniedError):
            target_of(registry).published_digests(REPOSITORY, ["1.0"])


class TestVersions:
    """A registry that knows versions of a tag, by entity tags (RFC 9110, section 13.1.1)."""

    def test_version_is_that_of_the_read(self, registry: ScriptedRegistry) -> None:
        headers = {"Content-Type": IMAGE.root.descriptor.media_type, "ETag": '"v7"'}
        registry.on("GET", TAG, Reply(200, headers, IMAGE.root.content))
        assert target_of(registry).read_manifest(REPOSITORY, "1.0") == TaggedManifest(IMAGE.root, '"v7"')

    def test_bytes_that_are_not_what_was_promised_are_refused(self, registry: ScriptedRegistry) -> None:
        headers = {"Content-Type": IMAGE.root.descriptor.media_type, "Docker-Content-Digest": OTHER.digest}
        registry.on("GET", TAG, Reply(200, headers, IMAGE.root.content))
        with pytest.raises(DigestMismatchError):
            target_of(registry).read_manifest(REPOSITORY, "1.0")

    def test_version_is_a_condition_of_the_write(self, registry: ScriptedRegistry) -> None:
        registry.on("PUT", TAG, Reply(201), Reply(201))
        for version in ('"v7"', ""):
            target_of(registry).put_manifest(REPOSITORY, IMAGE.root, "1.0", if_version=version)
        assert [asked.headers.get("If-Match") for asked in registry.asked] == ['"v7"', None]

    @pytest.mark.parametrize("meanwhile", [Reply(200, {"ETag": '"v8"'}, IMAGE.root.content), Reply(404)])
    def test_failed_condition_is_a_conflict(self, registry: ScriptedRegistry, meanwhile: Reply) -> None:
        registry.on("PUT", TAG, Reply(412))
        registry.on("GET", TAG, meanwhile)
        with pytest.raises(ConflictError):
            target_of(registry).put_manifest(REPOSITORY, IMAGE.root, "1.0", if_version='"v7"')

    @pytest.mark.parametrize("status", [400, 405, 412, 417, 501])
    def test_condition_that_is_refused_though_it_holds_is_left_out(
        self, registry: ScriptedRegistry, status: int
    ) -> None:
        registry.on("PUT", TAG, Reply(status), Reply(201))
        registry.on("GET", TAG, Reply(200, {"ETag": '"v7"'}, IMAGE.root.content))
        target_of(registry).put_manifest(REPOSITORY, IMAGE.root, "1.0", if_version='"v7"')
        assert [asked.headers.get("If-Match") for asked in registry.asked] == ['"v7"', None, None]

    def test_immutable_tag_is_not_called_a_conflict(self, registry: ScriptedRegistry) -> None:
        """Harbor answers 412 to any write."""
        registry.on("PUT", TAG, *[oci_error(412, "PRECONDITION", "configured as immutable")] * 2)
        registry.on("GET", TAG, Reply(200, {"ETag": '"v7"'}, OTHER.root.content))
        registry.on("HEAD", TAG, Reply(200, {"Docker-Content-Digest": OTHER.digest}))
        with pytest.raises(TagImmutableError):
            target_of(registry).put_manifest(REPOSITORY, IMAGE.root, "1.0", if_version='"v7"')

    def test_weak_entity_tag_is_no_condition(self, registry: ScriptedRegistry) -> None:
        registry.on("PUT", TAG, Reply(201))
        target_of(registry).put_manifest(REPOSITORY, IMAGE.root, "1.0", if_version='W/"v7"')
        assert registry.asked[0].headers.get("If-Match") is None


@pytest.mark.parametrize(
    ("reply", "lists"),
    [
        (Reply(200, {"Content-Type": media_types.OCI_INDEX}, b'{"manifests": []}'), True),
        (Reply(200, {"Content-Type": "text/html"}, b"<html>"), False),
        *((Reply(status), False) for status in (400, 404, 405, 501)),
    ],
)
def test_registry_shows_whether_it_lists_referrers(registry: ScriptedRegistry, reply: Reply, lists: bool) -> None:
    registry.on("GET", "/referrers/", reply)
    assert target_of(registry).lists_referrers(REPOSITORY, IMAGE.digest) is lists


def test_refused_listing_of_referrers_is_an_error(registry: ScriptedRegistry) -> None:
    registry.on("GET", "/referrers/", Reply(403))
    with pytest.raises(AccessDeniedError):
        target_of(registry).lists_referrers(REPOSITORY, IMAGE.digest)
