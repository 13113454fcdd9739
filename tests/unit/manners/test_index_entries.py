"""What an entry of an index, or a layer, is: a manifest, a blob to copy, or a layer to leave where it is."""

import json
from typing import Any

import pytest

from local.images import make_index
from pullahead.errors import ManifestRefusedError, MissingContentError, NotFoundError, UnsupportedMediaTypeError
from pullahead.oci import digest_of, media_types
from pullahead.standalone.copy_image import CopyOptions
from tests.unit.manners.conftest import Command, CopyCommand
from tests.unit.manners.copying import IMAGE, assert_copied, assert_not_published, copy
from tests.unit.manners.registry import ImperfectRegistry, error_reply

CACHE_CONFIG = b'{"layers": [], "records": []}'
LAYER = b"the bytes of a cached layer"
OTHER = b"something else"


def entry(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def cache(*entries: dict[str, Any]) -> dict[str, Any]:
    """Make an index as BuildKit writes its cache."""
    return {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": list(entries)}


BUILDKIT = cache(
    entry("application/vnd.oci.image.layer.v1.tar+gzip", LAYER),
    entry("application/vnd.buildkit.cacheconfig.v0", CACHE_CONFIG),
)


@pytest.fixture(autouse=True)
def held(source: ImperfectRegistry) -> None:
    for content in (LAYER, CACHE_CONFIG, OTHER):
        source.hold_blob(content)


def test_buildkit_cache_is_copied(
    copy_command: CopyCommand, source: ImperfectRegistry, target: ImperfectRegistry
) -> None:
    digest = source.hold_manifest(BUILDKIT, media_types.OCI_INDEX)
    assert copy_command("--json").document["digest"] == digest
    assert target.blobs == {digest_of(LAYER): LAYER, digest_of(CACHE_CONFIG): CACHE_CONFIG}
    assert source.count("", f"/manifests/{digest_of(LAYER)}") == 0


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.example.unheard-of.v1",
        "application/octet-stream",
        "text/plain",
        min(media_types.FOREIGN_LAYERS),
    ],
)
def test_entry_of_another_type_is_a_blob(source: ImperfectRegistry, target: ImperfectRegistry, media_type: str) -> None:
    digest = source.hold_manifest(cache(entry(media_type, OTHER)), media_types.OCI_INDEX)
    assert copy(source, target).digest == digest
    assert target.blobs == {digest_of(OTHER): OTHER}


def test_index_may_name_manifests_and_blobs(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    image = entry(media_types.OCI_MANIFEST, IMAGE.root.content)
    source.hold_manifest(cache(image, entry("application/x", OTHER)), media_types.OCI_INDEX)
    copy(source, target)
    assert {*IMAGE.blobs, digest_of(OTHER)} == set(target.blobs)
    assert ("mirror/app", IMAGE.digest) in target.manifests


def test_selected_platforms_leave_the_blobs_of_an_index_out(
    source: ImperfectRegistry, target: ImperfectRegistry
) -> None:
    platform = {"os": "linux", "architecture": "amd64"}
    image = {**entry(media_types.OCI_MANIFEST, IMAGE.root.content), "platform": platform}
    source.hold_manifest(cache(image, {**entry("application/x", OTHER), "platform": platform}), media_types.OCI_INDEX)
    copy(source, target, options=CopyOptions(("linux/amd64",), threads=1))
    assert_copied(target)
    assert digest_of(OTHER) not in target.blobs


def test_missing_blob_of_an_index_is_an_error(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    source.hold_manifest(cache(entry("application/x", b"nowhere")), media_types.OCI_INDEX)
    with pytest.raises(NotFoundError, match=digest_of(b"nowhere")):
        copy(source, target)
    assert_not_published(target)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.artifact.manifest.v1+json",
        "application/vnd.cncf.oras.artifact.manifest.v1+json",
        media_types.DOCKER_SCHEMA1_SIGNED,
    ],
)
def test_entry_that_is_a_manifest_of_another_kind_is_refused(
    source: ImperfectRegistry, target: ImperfectRegistry, media_type: str
) -> None:
    source.hold_manifest(OTHER, media_type)
    source.hold_manifest(cache(entry(media_type, OTHER)), media_types.OCI_INDEX)
    with pytest.raises(UnsupportedMediaTypeError, match="cannot be copied"):
        copy(source, target)
    assert_not_published(target)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(400, "MANIFEST_INVALID", ManifestRefusedError), (404, "MANIFEST_UNKNOWN", MissingContentError)],
)
def test_target_that_refuses_such_an_index_is_quoted(
    source: ImperfectRegistry, target: ImperfectRegistry, status: int, code: str, kind: type[Exception]
) -> None:
    source.hold_manifest(BUILDKIT, media_types.OCI_INDEX)
    target.on("PUT", "/manifests/", error_reply(status, code, "an index of layers is not supported here"))
    with pytest.raises(kind, match=f"{code} an index of layers is not supported here"):
        copy(source, target)


def test_plan_and_inspect_show_such_an_index(
    command: Command, source: ImperfectRegistry, target: ImperfectRegistry
) -> None:
    source.hold_manifest(BUILDKIT, media_types.OCI_INDEX)
    shown = command("inspect", f"{source.host}/team/app:1.0")
    assert (shown.code, "1 manifest, 2 blobs" in shown.out) == (0, True)


def image_of(**layer: Any) -> dict[str, Any]:
    """Make an image whose last layer is of a type that may not be distributed."""
    document: dict[str, Any] = json.loads(IMAGE.root.content)
    document["layers"][-1].update({"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"})
    document["layers"][-1].update(layer)
    return document


LAST = list(IMAGE.blobs)[-1]


@pytest.mark.parametrize("media_type", sorted(media_types.FOREIGN_LAYERS))
@pytest.mark.parametrize("urls", [{}, {"urls": []}, {"urls": None}, {"urls": [""]}, {"urls": ["ftp://x"]}])
def test_foreign_layer_without_a_url_is_copied(
    source: ImperfectRegistry, target: ImperfectRegistry, media_type: str, urls: dict[str, Any]
) -> None:
    digest = source.hold_manifest(image_of(mediaType=media_type, **urls), media_types.OCI_MANIFEST)
    summary = copy(source, target)
    assert (summary.digest, summary.blobs_foreign) == (digest, 0)
    assert LAST in target.blobs


def test_foreign_layer_without_a_url_that_the_source_lacks_is_an_error(
    source: ImperfectRegistry, target: ImperfectRegistry
) -> None:
    source.hold_manifest(image_of(), media_types.OCI_MANIFEST)
    del source.blobs[LAST]
    with pytest.raises(NotFoundError, match=LAST):
        copy(source, target)
    assert_not_published(target)


def test_foreign_layer_with_a_url_is_left_and_counted(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    digest = source.hold_manifest(image_of(urls=["https://example.com/layer"]), media_types.OCI_MANIFEST)
    summary = copy(source, target)
    assert (summary.digest, summary.blobs_foreign) == (digest, 1)
    assert LAST not in target.blobs


def test_layer_that_is_foreign_in_one_image_only_is_copied(
    source: ImperfectRegistry, target: ImperfectRegistry
) -> None:
    left = json.dumps(image_of(urls=["https://example.com/layer"])).encode()
    source.hold_manifest(left, media_types.OCI_MANIFEST)
    both = cache(entry(media_types.OCI_MANIFEST, left), entry(media_types.OCI_MANIFEST, IMAGE.root.content))
    source.hold_manifest(both, media_types.OCI_INDEX)
    assert copy(source, target).blobs_foreign == 0
    assert LAST in target.blobs


def test_index_of_indexes_is_copied(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    nested = make_index([make_index([IMAGE])])
    source.hold(nested)
    copy(source, target)
    assert_copied(target, nested)


IMAGE_ENTRY = entry(media_types.OCI_MANIFEST, IMAGE.root.content)
DOCUMENT: dict[str, Any] = json.loads(IMAGE.root.content)


@pytest.mark.parametrize(
    ("entries", "cause"),
    [
        ([{**IMAGE_ENTRY, "size": 5}], f"it has {len(IMAGE.root.content)} bytes, and sha256:.* says 5"),
        ([{**IMAGE_ENTRY, "size": 5}, IMAGE_ENTRY], "two different sizes"),
        ([IMAGE_ENTRY, {**IMAGE_ENTRY, "size": 5}], "two different sizes"),
        ([{**IMAGE_ENTRY, "mediaType": media_types.OCI_INDEX}], "its media type is .*manifest.*, and sha256:.* says"),
        ([{**IMAGE_ENTRY, "mediaType": media_types.DOCKER_LIST}], "its media type is .*manifest.*, and sha256:.* says"),
    ],
)
def test_entry_that_is_not_what_the_index_calls_it_is_refused(
    source: ImperfectRegistry, target: ImperfectRegistry, entries: list[dict[str, Any]], cause: str
) -> None:
    """Clients compare sizes, and take an index for a manifest or the other way round."""
    source.hold_manifest(cache(*entries), media_types.OCI_INDEX)
    with pytest.raises(UnsupportedMediaTypeError, match=cause):
        copy(source, target)
    assert_not_published(target)


def test_entry_may_be_called_a_manifest_of_the_other_kind(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    source.hold_manifest(cache({**IMAGE_ENTRY, "mediaType": media_types.DOCKER_MANIFEST}), media_types.OCI_INDEX)
    copy(source, target)
    assert ("mirror/app", IMAGE.digest) in target.manifests


@pytest.mark.parametrize("is_first", [True, False])
def test_layer_that_has_two_sizes_is_refused(
    source: ImperfectRegistry, target: ImperfectRegistry, is_first: bool
) -> None:
    wrong = [{**DOCUMENT["layers"][0], "size": 1}]
    layers = wrong + DOCUMENT["layers"] if is_first else DOCUMENT["layers"] + wrong
    source.hold_manifest({**DOCUMENT, "layers": layers}, media_types.OCI_MANIFEST)
    with pytest.raises(UnsupportedMediaTypeError, match="two different sizes"):
        copy(source, target)
    assert_not_published(target)


def test_layer_that_two_images_call_by_different_sizes_is_refused(
    source: ImperfectRegistry, target: ImperfectRegistry
) -> None:
    other = json.dumps({**DOCUMENT, "layers": [{**DOCUMENT["layers"][0], "size": 1}]}).encode()
    source.hold_manifest(other, media_types.OCI_MANIFEST, tag="other")
    both = cache(IMAGE_ENTRY, entry(media_types.OCI_MANIFEST, other))
    source.hold_manifest(both, media_types.OCI_INDEX)
    with pytest.raises(UnsupportedMediaTypeError, match="says another size"):
        copy(source, target)
    assert_not_published(target)


@pytest.mark.parametrize(
    "layers",
    [
        DOCUMENT["layers"] * 3,
        [*DOCUMENT["layers"], DOCUMENT["config"]],
        [*DOCUMENT["layers"], {**DOCUMENT["layers"][0], "mediaType": "application/x"}],
        [*DOCUMENT["layers"], entry("application/vnd.oci.image.layer.v1.tar", b"")],
        [{**layer, "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd"} for layer in DOCUMENT["layers"]],
        [{**layer, "mediaType": ""} for layer in DOCUMENT["layers"]],
        [{**layer, "data": "e30=", "urls": ["https://x"], "annotations": {"a": "b"}} for layer in DOCUMENT["layers"]],
    ],
)
def test_layers_of_any_kind_are_copied_once(
    source: ImperfectRegistry, target: ImperfectRegistry, layers: list[dict[str, Any]]
) -> None:
    source.hold_blob(b"")
    digest = source.hold_manifest({**DOCUMENT, "layers": layers}, media_types.OCI_MANIFEST)
    assert copy(source, target).digest == digest
    assert {layer["digest"] for layer in layers} | {DOCUMENT["config"]["digest"]} == set(target.blobs)
    assert target.count("PUT", "/blobs/") == len(target.blobs)


def test_indexes_may_be_nested_deeply(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    nested = IMAGE
    for _ in range(20):
        nested = make_index([nested])
    source.hold(nested)
    copy(source, target)
    assert_copied(target, nested)
