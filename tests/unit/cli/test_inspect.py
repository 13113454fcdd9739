"""`pullahead inspect`: the tree of what a reference names, also where parts of it are missing or false."""

import json
from pathlib import Path

import pytest

from local.artifacts import cosign2_signature, notation_signature, sbom
from local.images import LocalImage, make_image, make_index
from local.registry import FakeRegistry
from pullahead.oci import RawManifest, describe, digest_of, media_types
from pullahead.oci.referrers import fallback_tag
from tests.unit.cli.conftest import Run
from tests.unit.layouts.layouts import write_archive, write_layout

AMD64 = make_image([70_000, 1_000], seed=1)
ARM64 = make_image([80_000, AMD64.read_blob(list(AMD64.blobs)[1])], seed=2, platform="linux/arm64/v8")
INDEX = make_index([AMD64, ARM64])
SIGNATURE = digest_of(b"signature")


@pytest.fixture(autouse=True)
def pushed(registry: FakeRegistry) -> None:
    registry.push(INDEX, "team/app", "1.0")


def reference(registry: FakeRegistry, tag: str = "1.0") -> str:
    return f"{registry.host}/team/app:{tag}"


def of_documents(*documents: object) -> LocalImage:
    """Make something to push of manifests as they are written; the last one is its root."""
    contents = [json.dumps(document).encode() for document in documents]
    raws = [RawManifest(describe(content, media_types.OCI_INDEX), content) for content in contents]
    return LocalImage(raws[-1], {raw.descriptor.digest: raw for raw in raws}, {})


def index_of(*children: object) -> dict[str, object]:
    return {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": children}


def child(digest: str, **more: object) -> dict[str, object]:
    return {"mediaType": media_types.OCI_INDEX, "digest": digest, "size": 10, **more}


def test_tree_shows_every_manifest_and_blob(registry: FakeRegistry, run: Run) -> None:
    ran = run("inspect", reference(registry))
    lines = ran.out.splitlines()
    assert (ran.code, ran.err, lines[0]) == (0, "", reference(registry))
    assert lines[1].startswith(f"index {INDEX.digest} ")
    assert [line.split()[2] for line in lines if line.startswith("  manifest ")] == ["linux/amd64", "linux/arm64/v8"]
    assert {line.split()[1] for line in lines if line.startswith("    blob ")} == set(INDEX.blobs)
    assert lines[-1] == "3 manifests, 5 blobs, 148.2 KiB"


def test_blob_of_two_platforms_is_counted_once(registry: FakeRegistry, run: Run) -> None:
    document = run("inspect", reference(registry), "--json").document
    assert document["blobs"] == len(INDEX.blobs)
    assert document["bytes"] == sum(len(blob) for blob in INDEX.blobs.values())


def test_json_document_has_every_manifest_and_blob(registry: FakeRegistry, run: Run) -> None:
    document = run("inspect", reference(registry), "--json").document
    assert (document["reference"], document["digest"]) == (reference(registry), INDEX.digest)
    root, amd64, arm64 = document["manifests"]
    assert root["manifests"] == [amd64["digest"], arm64["digest"]] == [AMD64.digest, ARM64.digest]
    assert (root["platform"], amd64["platform"], arm64["platform"]) == (None, "linux/amd64", "linux/arm64/v8")
    assert [blob["digest"] for blob in amd64["blobs"]] == list(AMD64.blobs)
    assert [blob["size"] for blob in amd64["blobs"]] == [len(blob) for blob in AMD64.blobs.values()]


def test_each_manifest_is_read_once_and_no_blob(registry: FakeRegistry, run: Run) -> None:
    run("inspect", reference(registry))
    assert registry.count("GET", "/manifests/(?!sha256-)") == 3
    assert registry.count("GET", "/referrers/") == 3
    assert registry.count("GET", "/blobs/") == 0


def test_only_the_chosen_platform_is_read(registry: FakeRegistry, run: Run) -> None:
    document = run("inspect", reference(registry), "--platform", "linux/arm64", "--json").document
    assert document["digest"] == ARM64.digest
    assert registry.count("GET", f"/manifests/{AMD64.digest}") == 0


def test_missing_platform_fails_and_names_those_there_are(registry: FakeRegistry, run: Run) -> None:
    failure = run("inspect", reference(registry), "--platform", "windows/amd64").failure
    assert "linux/amd64, linux/arm64/v8" in failure


def test_referrers_are_shown(registry: FakeRegistry, run: Run) -> None:
    entry = child(SIGNATURE, artifactType="application/vnd.example.sig")
    headers = {"Content-Type": media_types.OCI_INDEX}
    body = json.dumps(index_of(entry)).encode()
    registry.fail("GET", f"/referrers/{ARM64.digest}", 200, headers=headers, body=body, times=2)
    assert f"    referrer {SIGNATURE} application/vnd.example.sig" in run("inspect", reference(registry)).out
    arm64 = run("inspect", reference(registry), "--json").document["manifests"][2]
    assert [found["digest"] for found in arm64["referrers"]] == [SIGNATURE]


def test_too_many_referrers_are_refused(registry: FakeRegistry, run: Run) -> None:
    headers = {"Content-Type": media_types.OCI_INDEX}
    for node in range(3):
        entries = (child(digest_of(f"{node} {number}".encode())) for number in range(4000))
        body = json.dumps(index_of(*entries)).encode()
        registry.fail("GET", "/referrers/", 200, headers=headers, body=body)
    assert "referrers" in run("inspect", reference(registry)).failure


def test_denied_referrers_leave_the_rest_of_the_tree(registry: FakeRegistry, run: Run) -> None:
    registry.fail("GET", "/referrers/", 403, times=3)
    ran = run("inspect", reference(registry))
    assert ran.code == 0
    assert ran.out.count("referrers unknown: ") == 3
    assert "3 manifests, 5 blobs" in ran.out


def test_manifest_that_is_not_found_leaves_the_rest_of_the_tree(registry: FakeRegistry, run: Run) -> None:
    registry.content.delete_manifest("team/app", ARM64.digest)
    ran = run("inspect", reference(registry))
    assert (ran.code, ran.out.count("(not found)")) == (0, 1)
    document = run("inspect", reference(registry), "--json").document
    assert [manifest["present"] for manifest in document["manifests"]] == [True, True, False]


def test_repeated_manifest_is_drawn_once(registry: FakeRegistry, run: Run) -> None:
    inner = of_documents(index_of())
    outer = of_documents(index_of(), index_of(child(inner.digest)), index_of(child(inner.digest)))
    twice = of_documents(index_of(), index_of(child(inner.digest), child(outer.digest)))
    for image in (outer, twice):
        registry.push(image, "team/app", "nested")
    lines = run("inspect", reference(registry, "nested")).out.splitlines()
    assert [line.endswith("(see above)") for line in lines if inner.digest in line] == [False, True]
    assert registry.count("GET", f"/manifests/{inner.digest}") == 1


def test_too_deep_nesting_is_refused(registry: FakeRegistry, run: Run) -> None:
    image = of_documents(index_of())
    documents: list[object] = [index_of()]
    for _ in range(30):
        documents.append(index_of(child(image.digest)))
        image = of_documents(*documents)
    registry.push(image, "team/app", "deep")
    assert "nested" in run("inspect", reference(registry, "deep")).failure
    assert registry.count("GET", "/manifests/") <= 21


def test_too_large_index_is_refused(registry: FakeRegistry, run: Run) -> None:
    image = of_documents(index_of(*(child(digest_of(str(number).encode())) for number in range(1001))))
    registry.push(image, "team/app", "wide")
    assert "more than 1000" in run("inspect", reference(registry, "wide")).failure
    assert registry.count("GET") == 1


def test_too_many_bytes_of_manifests_are_refused(registry: FakeRegistry, run: Run) -> None:
    leaves = [of_documents({**index_of(), "annotations": {"x": f"{n}{'y' * 4_000_000}"}}) for n in range(30)]
    image = of_documents(index_of(*(child(leaf.digest) for leaf in leaves)))
    for pushed_one in (*leaves, image):
        registry.push(pushed_one, "team/app", "heavy")
    assert "bytes together" in run("inspect", reference(registry, "heavy")).failure
    assert registry.count("GET", "/manifests/") == 17  # the root, and two rounds of eight


@pytest.mark.parametrize(
    "entry", [child(digest_of(b"x"), platform=3), child("sha256:0"), {"digest": 3}, child(digest_of(b"x"), size=-1)]
)
def test_malformed_index_is_refused(registry: FakeRegistry, run: Run, entry: object) -> None:
    registry.push(of_documents(index_of(entry)), "team/app", "odd")
    assert "inspect of" in run("inspect", reference(registry, "odd")).failure


def test_control_characters_in_a_platform_are_removed(registry: FakeRegistry, run: Run) -> None:
    entry = child(digest_of(b"x"), platform={"os": "\x1b[2J\n", "architecture": "x"})
    registry.push(of_documents(index_of(entry)), "team/app", "odd")
    ran = run("inspect", reference(registry, "odd"))
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "\x1b" not in run("inspect", reference(registry, "odd"), "--platform", "a/b").failure


def test_quiet_writes_nothing(registry: FakeRegistry, run: Run) -> None:
    assert run("inspect", reference(registry), "--quiet") == (0, "", "")


def test_tags_of_cosign_are_shown(registry: FakeRegistry, run: Run) -> None:
    signature = cosign2_signature(AMD64.root.descriptor)
    tag = f"{fallback_tag(AMD64.digest)}.sig"
    registry.push(signature, "team/app", tag)
    assert f"    tag {tag} {signature.digest}" in run("inspect", reference(registry)).out.splitlines()
    _, amd64, _ = run("inspect", reference(registry), "--json").document["manifests"]
    assert [(each["tag"], each["digest"]) for each in amd64["tagged"]] == [(tag, signature.digest)]


def test_both_sides_are_compared(registry: FakeRegistry, run: Run) -> None:
    registry.referrers_page = 10
    registry.push(INDEX, "mirror/app", "1.0")
    shared, missing = sbom(INDEX.root.descriptor), notation_signature(AMD64.root.descriptor)
    own = cosign2_signature(ARM64.root.descriptor)
    registry.push(shared, "team/app")
    registry.push(shared, "mirror/app")
    registry.push(missing, "team/app")
    registry.push(own, "mirror/app", f"{fallback_tag(ARM64.digest)}.sig")
    copy = f"{registry.host}/mirror/app:1.0"
    lines = run("inspect", reference(registry), copy).out.splitlines()
    assert f"  {INDEX.digest}: 1 at both sides" in lines
    assert f"    only at {registry.host}/team/app: {missing.digest}" in lines
    assert f"    only at {registry.host}/mirror/app: {fallback_tag(ARM64.digest)}.sig@{own.digest}" in lines
    assert lines[-1] == f"1 at both sides, 1 missing at {copy}"
    document = run("inspect", reference(registry), copy, "--json").document["copy"]
    assert document["reference"] == copy
    by_subject = {each["subject"]: each for each in document["referrers"]}
    assert by_subject[INDEX.digest]["both"] == [shared.digest]
    assert by_subject[AMD64.digest]["missing"] == [missing.digest]


def test_copy_whose_referrers_may_not_be_listed_is_unknown(registry: FakeRegistry, run: Run) -> None:
    registry.fail("GET", "/mirror/app/referrers/", 403, times=10)
    lines = run("inspect", reference(registry), f"{registry.host}/mirror/app:1.0").out.splitlines()
    assert any(line.startswith(f"  {INDEX.digest}: unknown: listing referrers") for line in lines)


@pytest.mark.parametrize(
    "form", ["oci:{}:1.0", "oci:{}", "oci:{}@{}", "oci-archive:{}.tar:1.0", "docker-archive:{}.tar"]
)
def test_layouts_and_archives_are_inspected(run: Run, tmp_path: Path, form: str) -> None:
    folder = write_layout(tmp_path / "images", {"1.0": INDEX})
    write_archive(folder, tmp_path / "images.tar")
    name = form.format(folder, INDEX.digest)
    document = run("inspect", name, "--json", insecure=()).document
    assert (document["reference"], document["digest"]) == (name, INDEX.digest)
    assert [manifest["present"] for manifest in document["manifests"]] == [True] * 3
    only = run("inspect", name, "--platform", "linux/arm64", "--json", insecure=()).document
    assert only["digest"] == ARM64.digest


def test_layout_without_the_image_is_an_error(run: Run, tmp_path: Path) -> None:
    folder = write_layout(tmp_path / "images", {"1.0": INDEX})
    ran = run("inspect", f"oci:{folder}:2.0", insecure=())
    assert (ran.code, "the layout has no such image; it has 1.0" in ran.err) == (1, True)
    assert "it is no OCI layout" in run("inspect", f"oci:{tmp_path}/none", insecure=()).err


def test_registry_and_layout_are_compared(registry: FakeRegistry, run: Run, tmp_path: Path) -> None:
    registry.referrers_page = 10
    registry.push(sbom(INDEX.root.descriptor), "team/app")
    assert run("copy", reference(registry), f"oci:{tmp_path}/with", "--referrers").code == 0
    assert run("copy", reference(registry), f"oci:{tmp_path}/without").code == 0
    both = run("inspect", reference(registry), f"oci:{tmp_path}/with:1.0").out
    assert f"1 at both sides, 0 missing at oci:{tmp_path}/with:1.0" in both
    assert "0 at both sides, 1 missing" in run("inspect", reference(registry), f"oci:{tmp_path}/without:1.0").out
