"""JSON as Go writes and reads it: null for an empty list, names in any letters where that is safe."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from pullahead.errors import RegistryError, UnsupportedMediaTypeError
from pullahead.oci import media_types
from pullahead.standalone.copy_image import CopyOptions
from tests.unit.manners.conftest import CopyCommand
from tests.unit.manners.copying import IMAGE, assert_copied, assert_not_published, copy, reader, reference
from tests.unit.manners.registry import Asked, ImperfectRegistry, Reply, error_reply, json_reply

MANIFEST: dict[str, Any] = json.loads(IMAGE.root.content)
CHILD: dict[str, Any] = {
    "mediaType": media_types.OCI_MANIFEST,
    "digest": IMAGE.digest,
    "size": len(IMAGE.root.content),
    "platform": {"os": "linux", "architecture": "amd64"},
}
INDEX: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [CHILD]}

OF_MANIFESTS = ["annotations", "artifactType", "subject", "manifests", "mediaType", "blobs"]
OF_INDEXES = ["annotations", "artifactType", "subject", "layers", "config", "mediaType"]
OF_DESCRIPTORS = ["annotations", "urls", "data", "platform", "artifactType"]
OF_PLATFORMS = ["variant", "os.version", "os.features", "features"]


@pytest.mark.parametrize("name", OF_MANIFESTS)
def test_null_in_a_manifest_is_as_good_as_absent(
    source: ImperfectRegistry, target: ImperfectRegistry, name: str
) -> None:
    digest = source.hold_manifest({**MANIFEST, name: None}, media_types.OCI_MANIFEST)
    assert copy(source, target).digest == digest
    assert set(IMAGE.blobs) <= set(target.blobs)


@pytest.mark.parametrize("name", OF_DESCRIPTORS)
def test_null_in_a_descriptor_is_as_good_as_absent(
    source: ImperfectRegistry, target: ImperfectRegistry, name: str
) -> None:
    layers = [{**layer, name: None} for layer in MANIFEST["layers"]]
    config = {**MANIFEST["config"], name: None}
    digest = source.hold_manifest({**MANIFEST, "layers": layers, "config": config}, media_types.OCI_MANIFEST)
    assert copy(source, target).digest == digest
    assert set(IMAGE.blobs) <= set(target.blobs)


@pytest.mark.parametrize("name", OF_INDEXES)
def test_null_in_an_index_is_as_good_as_absent(source: ImperfectRegistry, target: ImperfectRegistry, name: str) -> None:
    digest = source.hold_manifest({**INDEX, name: None}, media_types.OCI_INDEX)
    assert copy(source, target).digest == digest
    assert set(IMAGE.blobs) <= set(target.blobs)


@pytest.mark.parametrize("platforms", [(), ("linux/amd64",)])
@pytest.mark.parametrize("name", OF_PLATFORMS)
def test_null_in_a_platform_is_as_good_as_absent(
    source: ImperfectRegistry, target: ImperfectRegistry, name: str, platforms: tuple[str, ...]
) -> None:
    child = {**CHILD, "platform": {**CHILD["platform"], name: None}}
    source.hold_manifest({**INDEX, "manifests": [child]}, media_types.OCI_INDEX)
    copy(source, target, options=CopyOptions(platforms, threads=1))
    assert set(IMAGE.blobs) <= set(target.blobs)


@pytest.mark.parametrize("document", [{"layers": None}, {"layers": None, "config": None}, {"layers": []}])
def test_artifact_without_layers_is_copied(
    source: ImperfectRegistry, target: ImperfectRegistry, document: Mapping[str, Any]
) -> None:
    digest = source.hold_manifest({**MANIFEST, **document}, media_types.OCI_MANIFEST)
    assert copy(source, target).digest == digest


def test_empty_index_is_copied(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    digest = source.hold_manifest({**INDEX, "manifests": None}, media_types.OCI_INDEX)
    assert copy(source, target).digest == digest


def inserted(text: str, before: str, document: Mapping[str, Any] = MANIFEST) -> bytes:
    """Write a document with some text before one of its keys."""
    written = json.dumps(document)
    assert written.count(f'"{before}":') >= 1
    return written.replace(f'"{before}":', f'{text}, "{before}":', 1).encode()


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        pytest.param(json.dumps(MANIFEST).replace('"layers"', '"Layers"').encode(), "'Layers'", id="Layers"),
        pytest.param(json.dumps(MANIFEST).replace('"config"', '"CONFIG"').encode(), "'CONFIG'", id="CONFIG"),
        pytest.param(json.dumps(INDEX).replace('"manifests"', '"Manifests"').encode(), "'Manifests'", id="Manifests"),
        pytest.param(json.dumps(MANIFEST).replace('"digest"', '"Digest"', 1).encode(), "'Digest'", id="Digest"),
        pytest.param(json.dumps(MANIFEST).replace('"layers"', '"layer\u017f"').encode(), "layer", id="long s"),
        pytest.param(inserted('"layers": []', "layers"), "the same key twice", id="twice"),
        pytest.param(inserted('"l\\u0061yers": []', "layers"), "the same key twice", id="escaped twin"),
        pytest.param(inserted('"Layers": []', "layers"), "'Layers'", id="twin in other letters"),
        pytest.param(inserted('"L\\u0041YERS": []', "layers"), "'LAYERS'", id="escaped twin in other letters"),
        pytest.param(inserted('"URLS": ["https://x"]', "digest"), "'URLS'", id="URLS of a layer"),
        pytest.param(inserted('"size": 1', "size"), "the same key twice", id="two sizes"),
        pytest.param(inserted('"OS": "windows"', "os", INDEX), "'OS'", id="OS of a platform"),
        pytest.param(inserted('"MEDIATYPE": "x"', "mediaType"), "'MEDIATYPE'", id="MEDIATYPE"),
    ],
)
def test_manifest_that_clients_read_differently_is_refused(
    copy_command: CopyCommand, source: ImperfectRegistry, target: ImperfectRegistry, content: bytes, cause: str
) -> None:
    media_type = media_types.OCI_INDEX if b'anifests"' in content else media_types.OCI_MANIFEST
    source.hold_manifest(content, media_type)
    ran = copy_command()
    assert cause in ran.failure
    assert_not_published(target)


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ({**INDEX, "layers": MANIFEST["layers"]}, media_types.OCI_INDEX),
        ({**INDEX, "config": MANIFEST["config"]}, media_types.OCI_INDEX),
        ({**MANIFEST, "manifests": [CHILD]}, media_types.OCI_MANIFEST),
        ({**MANIFEST, "mediaType": media_types.OCI_INDEX}, media_types.OCI_INDEX),
        ({**INDEX, "mediaType": media_types.OCI_MANIFEST}, media_types.OCI_MANIFEST),
    ],
)
def test_document_of_both_kinds_is_refused(
    source: ImperfectRegistry, target: ImperfectRegistry, document: Mapping[str, Any], media_type: str
) -> None:
    source.hold_manifest(document, media_type)
    with pytest.raises(UnsupportedMediaTypeError, match="index"):
        copy(source, target)
    assert_not_published(target)


def test_annotations_may_have_names_in_any_letters(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    annotations = {"Layers": "3", "layers": "4", "CONFIG": "x"}
    digest = source.hold_manifest({**MANIFEST, "annotations": annotations}, media_types.OCI_MANIFEST)
    assert copy(source, target).digest == digest


@pytest.mark.parametrize(
    ("document", "tags"),
    [
        ({"tags": None}, ()),
        ({"name": None, "tags": ["1.0"], "child": None, "manifest": None}, ("1.0",)),
        ({"Name": "app", "Tags": ["1.0"]}, ("1.0",)),
        ({"TAGS": ["1.0"], "tags": None}, ("1.0",)),
        (None, ()),
    ],
)
def test_tags_are_listed_whatever_the_letters_of_names(
    source: ImperfectRegistry, document: object, tags: tuple[str, ...]
) -> None:
    source.on("GET", "tags/list", json_reply(document))
    assert reader().list_tags(reference(source).repository) == tags


def test_repositories_are_listed_whatever_the_letters_of_names(source: ImperfectRegistry) -> None:
    source.on("GET", "_catalog", json_reply({"Repositories": ["team/app"], "repositories": None}))
    assert reader().list_repositories(source.host, "team") == ("team/app",)


@pytest.mark.parametrize("document", [{"manifests": None}, {}, {"Manifests": None, "annotations": None}])
def test_null_referrers_are_none(source: ImperfectRegistry, document: Mapping[str, Any]) -> None:
    source.on("GET", "/referrers/", json_reply(document, {"Content-Type": media_types.OCI_INDEX}))
    assert reader().list_referrers(reference(source), IMAGE.digest) == ()


@pytest.mark.parametrize(
    "answer",
    [
        {"token": "t", "access_token": None, "expires_in": None, "issued_at": None},
        {"Token": "t"},
        {"ACCESS_TOKEN": "t", "token": None},
        {"token": "", "access_token": "t"},
        {"token": 3, "access_token": "t"},
        {"token": "t", "expires_in": "soon"},
        {"token": "t", "expires_in": {}},
        {"token": "t", "expires_in": "300"},
        {"token": "t", "expires_in": -1},
        {"token": "t", "expires_in": 10**400},
    ],
)
def test_token_is_read_whatever_else_is_answered(
    source: ImperfectRegistry, target: ImperfectRegistry, answer: Mapping[str, Any]
) -> None:
    def challenge(asked: Asked) -> Reply | None:
        if asked.authorization == "Bearer t" or asked.path == "/token":
            return None
        return Reply(401, {"WWW-Authenticate": f'Bearer realm="{source.url}/token"'})

    source.on("", "", challenge)
    source.on("GET", "^/token", json_reply(answer))
    copy(source, target)
    assert_copied(target)


@pytest.mark.parametrize(
    "document",
    [
        {"errors": [{"code": "DENIED", "message": "no such user", "detail": None}]},
        {"errors": [{"code": "DENIED", "message": None}, {"message": "no such user"}]},
        {"Errors": [{"Code": "DENIED", "Message": "no such user"}]},
        {"errors": [None, 3, {"code": 3, "message": "no such user"}], "message": None},
    ],
)
def test_explanation_is_read_whatever_else_is_answered(source: ImperfectRegistry, document: object) -> None:
    source.on("", "/manifests/", Reply(403, {}, json.dumps(document).encode()))
    with pytest.raises(RegistryError, match="no such user"):
        reader().get_manifest(reference(source))


@pytest.mark.parametrize("document", [{"errors": None}, {"errors": "x"}, [], None, {"errors": [[]]}])
def test_answer_without_an_explanation_keeps_its_status(source: ImperfectRegistry, document: object) -> None:
    source.on("", "/manifests/", Reply(403, {}, json.dumps(document).encode()))
    with pytest.raises(RegistryError, match=r"access denied \(HTTP 403\)"):
        reader().get_manifest(reference(source))


def test_listing_that_is_an_error_is_no_empty_listing(source: ImperfectRegistry) -> None:
    source.on("GET", "tags/list", error_reply(200, "DENIED", "not for you"))
    with pytest.raises(RegistryError, match="DENIED not for you"):
        reader().list_tags(reference(source).repository)
