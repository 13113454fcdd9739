"""`pullahead copy` with layouts and with --all-tags: what is copied, what fails, and how wrong usage is refused."""

from pathlib import Path

import pytest

from local.artifacts import cosign2_signature, sbom
from local.images import make_image, make_index
from local.registry import FakeRegistry
from pullahead.cli.main import main
from pullahead.oci.referrers import fallback_tag
from tests.unit.cli.conftest import Run
from tests.unit.layouts.layouts import lacks, named, opened, write_archive, write_layout

AMD64, ARM64 = make_image([7000], seed=1), make_image([8000], seed=2, platform="linux/arm64")
INDEX, OTHER = make_index([AMD64, ARM64]), make_image([500], seed=3)


@pytest.fixture
def source(registry: FakeRegistry) -> str:
    registry.push(INDEX, "team/app", "1.0")
    registry.push(OTHER, "team/app", "2.0")
    registry.push(OTHER, "team/app", "latest")
    return f"{registry.host}/team/app"


def test_image_of_a_registry_gets_its_tag_in_a_layout(run: Run, source: str, tmp_path: Path) -> None:
    ran = run("copy", f"{source}:1.0", f"oci:{tmp_path}/images")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"copied {source}:1.0 to oci:{tmp_path}/images:1.0\n")
    assert lacks(tmp_path / "images", INDEX, "1.0") == []
    assert run("copy", f"{source}:1.0", f"oci:{tmp_path}/images").out.startswith("nothing to do: ")


def test_name_and_platform_are_chosen(run: Run, source: str, tmp_path: Path) -> None:
    assert run("copy", f"{source}:1.0", f"oci:{tmp_path}/images:arm", "--platform", "arm64").code == 0
    assert lacks(tmp_path / "images", ARM64, "arm") == []


def test_only_image_of_a_layout_or_archive_is_copied_without_a_name(run: Run, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "images", {"1.0": INDEX})
    archive = write_archive(layout, tmp_path / "images.tar")
    for number, name in enumerate([f"oci:{layout}", f"oci-archive:{archive}", f"docker-archive:{archive}:1.0"]):
        assert run("copy", name, f"oci:{tmp_path}/copy:{number}", insecure=()).code == 0
        assert lacks(tmp_path / "copy", INDEX, str(number)) == []


def test_image_by_digest_needs_a_name(run: Run, source: str, tmp_path: Path) -> None:
    ran = run("copy", f"{source}@{ARM64.digest}", f"oci:{tmp_path}/images")
    assert ran.code == 2
    assert f"write oci:{tmp_path}/images:TAG" in ran.err
    assert run("copy", f"{source}@{ARM64.digest}", f"oci:{tmp_path}/images:x").code == 0
    assert lacks(tmp_path / "images", ARM64, "x") == []


def test_all_tags_are_copied_into_a_layout_and_only_new_ones_again(run: Run, source: str, tmp_path: Path) -> None:
    ran = run("copy", "--all-tags", source, f"oci:{tmp_path}/images", "--json")
    assert ran.code == 0
    document = ran.document
    assert (document["source"], document["target"]) == (source, f"oci:{tmp_path}/images")
    assert [(each["tag"], each["digest"], each["error"]) for each in document["tags"]] == [
        ("1.0", INDEX.digest, None),
        ("2.0", OTHER.digest, None),
        ("latest", OTHER.digest, None),
    ]
    totals = document["totals"]
    assert (totals["tags"], totals["copied"], totals["already_there"], totals["failed"]) == (3, 3, 0, 0)
    sent = {digest: image.read_blob(digest) for image in (INDEX, OTHER) for digest in image.blobs}
    assert totals["bytes_copied"] == sum(map(len, sent.values()))
    for name, image in {"1.0": INDEX, "2.0": OTHER, "latest": OTHER}.items():
        assert lacks(tmp_path / "images", image, name) == []
    again = run("copy", "--all-tags", source, f"oci:{tmp_path}/images")
    assert "3 tags" in again.out
    assert "0 copied, 3 already there, 0 failed" in again.out


def test_tag_that_fails_stops_no_other(run: Run, registry: FakeRegistry, source: str, tmp_path: Path) -> None:
    digest = list(AMD64.blobs)[1]
    registry.lie_blob(digest, b"x" * 7000)
    ran = run("copy", "--all-tags", source, f"oci:{tmp_path}/images", "--quiet")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("pullahead: 1.0 failed: ")
    assert "at the source failed" in ran.err
    assert ran.err.count("\n") == 1
    for name in ("2.0", "latest"):
        assert lacks(tmp_path / "images", OTHER, name) == []


def test_all_tags_of_a_layout_are_its_names(run: Run, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "images", {"1.0": INDEX, "docker.io/library/alpine:3": OTHER, "2.0": OTHER})
    ran = run("copy", "--all-tags", f"oci:{layout}", f"oci:{tmp_path}/copy", "--json", insecure=())
    assert [each["tag"] for each in ran.document["tags"]] == ["1.0", "2.0"]


BILL, SIGNATURE = sbom(INDEX.root.descriptor), cosign2_signature(AMD64.root.descriptor)


def test_referrers_are_kept_by_their_tags_and_copied_on(
    run: Run, registry: FakeRegistry, source: str, tmp_path: Path
) -> None:
    registry.referrers_page = 10
    registry.push(BILL, "team/app")
    registry.push(SIGNATURE, "team/app", f"{fallback_tag(AMD64.digest)}.sig")
    first, second = f"oci:{tmp_path}/first", f"oci:{tmp_path}/second"
    assert run("copy", "--referrers", f"{source}:1.0", first, "--json").document["referrers"]["copied"] == 2
    assert (
        run("copy", "--referrers", f"{first}:1.0", second, "--json", insecure=()).document["referrers"]["copied"] == 2
    )
    for folder in (tmp_path / "first", tmp_path / "second"):
        assert lacks(folder, INDEX, "1.0") == []
        assert lacks(folder, SIGNATURE, f"{fallback_tag(AMD64.digest)}.sig") == []
        listed = opened(folder).list_referrers(named(folder, "1.0"), INDEX.digest)
        assert [referrer.descriptor for referrer in listed] == [BILL.root.descriptor]


def test_referrer_that_fails_is_reported_of_its_tag(
    run: Run, registry: FakeRegistry, source: str, tmp_path: Path
) -> None:
    registry.referrers_page = 10
    registry.push(BILL, "team/app")
    registry.content.delete_blob("team/app", list(BILL.blobs)[-1])
    ran = run("copy", "--all-tags", "--referrers", source, f"oci:{tmp_path}/images", "--json")
    assert ran.code == 1
    assert [BILL.digest in line for line in ran.err.splitlines() if line.startswith("pullahead: 1.0: ")] == [True]
    first, *others = ran.document["tags"]
    assert (first["tag"], first["error"], first["referrers"]["failed"]) == ("1.0", None, 1)
    assert [each["referrers"]["failed"] for each in others] == [0, 0]
    assert lacks(tmp_path / "images", INDEX, "1.0") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--all-tags", "a:1", "b"], "SOURCE is a repository, without a tag"),
        (["--all-tags", "a", "b:1"], "TARGET is a repository, without a tag"),
        (["--all-tags", "a", "oci:b:1"], "TARGET is a repository, without a tag"),
        (["--foreign-layers", "oci:a", "b"], "--foreign-layers needs a registry as SOURCE"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(run: Run, arguments: list[str], words: str) -> None:
    ran = run("copy", *arguments, insecure=())
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a", "docker-archive:b.tar"], "docker-archive: can be read only; copy to oci:DIR"),
        (["a", "oci-archive:b.tar"], "oci-archive: can be read only"),
        (["dir:/a", "b"], "dir: is not supported"),
        (["a", "oci:"], "the path is missing"),
    ],
)
def test_what_is_not_supported_is_wrong_usage(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["copy", *arguments])
    assert exited.value.code == 2
    assert words in capsys.readouterr().err


def test_layout_that_is_missing_fails(run: Run, tmp_path: Path) -> None:
    failure = run("copy", f"oci:{tmp_path}/nowhere:1.0", f"oci:{tmp_path}/images", insecure=()).failure
    assert "at the source failed: it is no OCI layout" in failure
