"""Names of layouts on the command line: what is one, and what stays a reference to a registry."""

import pytest

from pullahead.layouts.names import LayoutRepository, Transport, parse_location
from pullahead.oci import InvalidDigestError, Reference, digest_of, parse_reference

DIGEST = digest_of(b"x")


@pytest.mark.parametrize(
    ("text", "transport", "path", "name"),
    [
        ("oci:images", Transport.FOLDER, "images", None),
        ("oci:images:1.0", Transport.FOLDER, "images", "1.0"),
        ("oci:/tmp/a.b/images:v1", Transport.FOLDER, "/tmp/a.b/images", "v1"),
        ("oci:./images:", Transport.FOLDER, "./images", None),
        ("oci:dir:docker.io/library/alpine:3.20", Transport.FOLDER, "dir", "docker.io/library/alpine:3.20"),
        ("oci:dir:a@b", Transport.FOLDER, "dir", "a@b"),
        ("oci-archive:a.tar:v1", Transport.ARCHIVE, "a.tar", "v1"),
        ("docker-archive:a.tar", Transport.DOCKER_ARCHIVE, "a.tar", None),
    ],
)
def test_layout_has_a_path_and_perhaps_a_name(text: str, transport: Transport, path: str, name: str | None) -> None:
    reference = parse_location(text)
    assert isinstance(reference.repository, LayoutRepository)
    assert (reference.repository.transport, reference.repository.path) == (transport, path)
    assert (reference.tag, reference.digest) == (name, None)
    assert str(reference) == text.rstrip(":")


def test_image_of_a_layout_may_be_named_by_digest() -> None:
    reference = parse_location(f"oci:images@{DIGEST}")
    assert (reference.repository.path, reference.tag, reference.digest) == ("images", None, DIGEST)


@pytest.mark.parametrize("text", ["alpine", "oci/app:1", "localhost:5000/oci:1", "library/oci:1.0", "dir:1.0"])
def test_reference_to_a_registry_stays_one(text: str) -> None:
    reference = parse_location(text)
    assert not isinstance(reference.repository, LayoutRepository)
    assert reference == parse_reference(text, default_tag=None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("oci:", "the path is missing: write oci:PATH"),
        ("oci::v1", "the path is missing"),
        ("oci:dir:-v1", "invalid name"),
        ("oci:dir:a b", "invalid name"),
        ("oci:dir:" + "a" * 300, "invalid name"),
        ("dir:/tmp/x", "dir: is not supported; use a registry, oci:DIR"),
        ("docker-daemon:alpine:3.20", "docker-daemon: is not supported"),
        ("containers-storage:[x]alpine", "containers-storage: is not supported"),
    ],
)
def test_what_is_not_supported_is_refused_with_what_is(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_location(text)


def test_registry_of_the_scheme_oci_is_not_a_layout() -> None:
    with pytest.raises(Exception, match="a reference is not a URL"):
        parse_location("oci://ghcr.io/team/chart:1.0")


def test_invalid_digest_is_refused() -> None:
    with pytest.raises(InvalidDigestError):
        parse_location("oci:images@sha256:abc")


def test_two_layouts_are_equal_by_their_paths() -> None:
    assert parse_location("oci:a:1") == Reference(LayoutRepository("oci", "a"), "1")
