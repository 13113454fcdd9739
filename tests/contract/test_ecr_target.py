"""What every target does: the fake of the unit tests, Amazon ECR (the strict local one), and OCI layouts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.images import make_image, make_index
from local.tests.ecr.harness import RunningEcr, running_ecr
from pullahead.errors import (
    DigestMismatchError,
    ManifestRefusedError,
    MissingContentError,
    NotFoundError,
    RegistryUnavailableError,
    TagImmutableError,
    UploadLostError,
)
from pullahead.oci import digest_of
from pullahead.oci.registries import RepositorySettings, Target, Upload
from tests.contract.target_bench import Bench, ecr_bench, fake_bench, layout_bench
from tests.fakes.copies import describe_blob
from tests.fakes.samples import REPOSITORY

IMAGE, OTHER = make_image([b"layer one"], seed=1), make_image([b"layer two"], seed=2)


@pytest.fixture(scope="module")
def ecr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEcr]:
    with running_ecr(tmp_path_factory.mktemp("ecr")) as running:
        yield running


@pytest.fixture(params=["fake", "ecr", "layout"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "ecr":
        made = ecr_bench(request.getfixturevalue("ecr"))
    else:
        made = fake_bench() if request.param == "fake" else layout_bench(tmp_path)
    made.target.ensure_repository(REPOSITORY)
    return made


of_registries = pytest.mark.parametrize("bench", ["fake", "ecr"], indirect=True)
"""Layouts have no settings, no immutable tags, no parts of a least size, and lose no answers."""


class TestPublishedDigests:
    def test_missing_repository_serves_nothing(self, bench: Bench) -> None:
        assert bench.target.published_digests("mirror/nowhere", ["1.0", "2.0"]) == {}

    def test_missing_tag_is_left_out_and_the_others_are_found(self, bench: Bench) -> None:
        bench.push(IMAGE, "1.0")
        assert bench.served("1.0") == {"1.0": IMAGE.digest}
        assert bench.served("2.0") == {}
        assert bench.served("2.0", "1.0", "3.0") == {"1.0": IMAGE.digest}

    def test_only_the_tags_that_were_asked_for_are_returned(self, bench: Bench) -> None:
        bench.push(IMAGE, "1.0")
        bench.push(IMAGE, "1")
        bench.push(OTHER, "2.0")
        assert bench.served("1", "2.0") == {"1": IMAGE.digest, "2.0": OTHER.digest}

    def test_moved_tag_serves_its_new_digest(self, bench: Bench) -> None:
        bench.push(IMAGE, "1.0")
        bench.push(OTHER, "1.0")
        assert bench.served() == {"1.0": OTHER.digest}

    @pytest.mark.parametrize("missing", [True, False])
    def test_any_number_of_tags_is_found(self, bench: Bench, missing: bool) -> None:
        bench.push(IMAGE)
        tags = [f"t{n}" for n in range(101)]
        for tag in tags:
            bench.target.put_manifest(REPOSITORY, IMAGE.root, tag)
        asked = [*tags, "missing"] if missing else tags
        assert bench.served(*asked) == dict.fromkeys(tags, IMAGE.digest)


@pytest.mark.parametrize("settings", [None, RepositorySettings(immutable_tags=True)])
def test_existing_repository_is_not_changed(bench: Bench, settings: RepositorySettings | None) -> None:
    bench.push(IMAGE, "1.0")
    bench.target.ensure_repository(REPOSITORY, settings)
    assert bench.served() == {"1.0": IMAGE.digest}
    bench.push(OTHER, "1.0")
    assert bench.served() == {"1.0": OTHER.digest}


@of_registries
def test_repository_is_created_with_its_settings(bench: Bench) -> None:
    bench.target.ensure_repository(
        "mirror/strict", RepositorySettings(immutable_tags=True, mutable_tag_filters=("l*",))
    )
    strict = bench._replace(repository="mirror/strict")
    for tag in ("1.0", "latest"):
        strict.push(IMAGE, tag)
    strict.push(OTHER, "latest")
    with pytest.raises(TagImmutableError):
        strict.push(OTHER, "1.0")
    assert strict.served("1.0", "latest") == {"1.0": IMAGE.digest, "latest": OTHER.digest}


class TestPresentBlobs:
    def test_only_blobs_of_the_same_repository_are_present(self, bench: Bench) -> None:
        bench.target.ensure_repository("mirror/other")
        here = bench.upload(b"here")
        assert bench.target.present_blobs(REPOSITORY, [here, digest_of(b"nowhere")]) == {here}
        assert bench.target.present_blobs("mirror/other", [here]) == frozenset()

    def test_any_number_of_digests_is_looked_up(self, bench: Bench) -> None:
        here = bench.upload(b"here")
        digests = [digest_of(b"%d" % n) for n in range(150)]
        assert bench.target.present_blobs(REPOSITORY, [*digests, here]) == {here}

    def test_missing_repository_is_not_found(self, bench: Bench) -> None:
        with pytest.raises(NotFoundError):
            bench.target.present_blobs("mirror/nowhere", [digest_of(b"x")])


class TestUpload:
    def test_parts_become_a_blob(self, bench: Bench) -> None:
        digest = bench.upload(b"a" * bench.part, b"b" * bench.part, b"the end")
        assert bench.target.present_blobs(REPOSITORY, [digest]) == {digest}

    def test_received_bytes_are_those_of_whole_parts(self, bench: Bench) -> None:
        size = bench.part + 3
        upload = bench.send()
        assert bench.target.received_bytes(REPOSITORY, upload, size) == 0
        bench.target.upload_part(REPOSITORY, upload, 0, b"a" * bench.part)
        assert bench.target.received_bytes(REPOSITORY, upload, size) == bench.part
        bench.target.upload_part(REPOSITORY, upload, bench.part, b"end")
        assert bench.target.received_bytes(REPOSITORY, upload, size) == size

    def test_upload_is_unchanged_after_its_received_bytes_were_asked_for(self, bench: Bench) -> None:
        upload = bench.send(b"only part")
        for _ in range(2):
            bench.target.received_bytes(REPOSITORY, upload, 9)
        bench.target.complete_upload(REPOSITORY, upload, describe_blob(b"only part"))

    def test_part_that_is_not_the_next_one_is_answered_with_the_expected_offset(self, bench: Bench) -> None:
        upload = bench.send(b"a" * bench.part)
        assert bench.target.upload_part(REPOSITORY, upload, bench.part + 7, b"gap") == bench.part
        assert bench.target.upload_part(REPOSITORY, upload, 0, b"again") == bench.part
        assert bench.target.upload_part(REPOSITORY, upload, bench.part, b"next") == bench.part + 4
        bench.target.complete_upload(REPOSITORY, upload, describe_blob(b"a" * bench.part + b"next"))

    def test_first_part_has_to_begin_at_zero(self, bench: Bench) -> None:
        assert bench.target.upload_part(REPOSITORY, bench.send(), 10, b"x") == 0

    @of_registries
    def test_part_whose_answer_was_lost_is_stored(self, bench: Bench) -> None:
        upload = bench.send()
        bench.lose_answer("upload_part")
        with pytest.raises(RegistryUnavailableError):
            bench.target.upload_part(REPOSITORY, upload, 0, b"once")
        assert bench.target.received_bytes(REPOSITORY, upload, 4) == 4
        assert bench.target.upload_part(REPOSITORY, upload, 0, b"once") == 4
        bench.target.complete_upload(REPOSITORY, upload, describe_blob(b"once"))

    @of_registries
    def test_completion_whose_answer_was_lost_succeeds_the_second_time(self, bench: Bench) -> None:
        """Else the whole blob would be sent again."""
        upload = bench.send(b"once")
        bench.lose_answer("complete_upload")
        with pytest.raises(RegistryUnavailableError):
            bench.target.complete_upload(REPOSITORY, upload, describe_blob(b"once"))
        bench.target.complete_upload(REPOSITORY, upload, describe_blob(b"once"))

    def test_upload_of_a_present_blob_succeeds(self, bench: Bench) -> None:
        assert bench.upload(b"twice") == bench.upload(b"twice")

    def test_wrong_digest_is_refused_and_no_blob_is_stored(self, bench: Bench) -> None:
        upload = bench.send(b"truth")
        lie = describe_blob(b"lying")
        with pytest.raises(DigestMismatchError):
            bench.target.complete_upload(REPOSITORY, upload, lie)
        assert bench.target.present_blobs(REPOSITORY, [lie.digest, digest_of(b"truth")]) == frozenset()

    @of_registries
    def test_small_part_in_the_middle_loses_the_upload(self, bench: Bench) -> None:
        upload = bench.send(b"small", b"last")
        with pytest.raises(UploadLostError):
            bench.target.complete_upload(REPOSITORY, upload, describe_blob(b"smalllast"))

    def test_empty_blob_is_refused(self, bench: Bench) -> None:
        with pytest.raises(ManifestRefusedError):
            bench.target.complete_upload(REPOSITORY, bench.send(), describe_blob(b""))


@pytest.fixture(params=["received_bytes", "upload_part", "complete_upload"])
def go_on(request: pytest.FixtureRequest) -> Callable[[Target, str, Upload], object]:
    calls: dict[str, Callable[[Target, str, Upload], object]] = {
        "received_bytes": lambda target, repository, upload: target.received_bytes(repository, upload, 5),
        "upload_part": lambda target, repository, upload: target.upload_part(repository, upload, 4, b"x"),
        "complete_upload": lambda target, repository, upload: target.complete_upload(
            repository, upload, describe_blob(b"part")
        ),
    }
    return calls[request.param]


GoOn = Callable[[Target, str, Upload], object]


def test_unknown_upload_is_lost(bench: Bench, go_on: GoOn) -> None:
    upload = bench.send(b"part")
    bench.forget_uploads()
    with pytest.raises(UploadLostError):
        go_on(bench.target, REPOSITORY, upload)


def test_upload_of_another_repository_is_lost(bench: Bench, go_on: GoOn) -> None:
    bench.target.ensure_repository("mirror/other")
    with pytest.raises(UploadLostError):
        go_on(bench.target, "mirror/other", bench.send(b"part"))


def test_upload_to_a_missing_repository_is_not_found(bench: Bench, go_on: GoOn) -> None:
    with pytest.raises(NotFoundError):
        go_on(bench.target, "mirror/nowhere", bench.send(b"part"))
    with pytest.raises(NotFoundError):
        bench.target.begin_upload("mirror/nowhere")


class TestPutManifest:
    def test_index_is_put_after_its_children_with_its_tag_only(self, bench: Bench) -> None:
        index = make_index([IMAGE, OTHER])
        bench.push(index, "1.0")
        assert bench.served("1.0", "latest") == {"1.0": index.digest}

    @pytest.mark.parametrize("media", ["oci", "docker"])
    def test_digest_of_the_exact_bytes_is_served(self, bench: Bench, media: str) -> None:
        image = make_image([b"layer"], seed=3, media="docker" if media == "docker" else "oci")
        bench.push(image, "1.0")
        assert bench.served() == {"1.0": digest_of(image.root.content)}

    def test_same_manifest_can_be_put_again(self, bench: Bench) -> None:
        for _ in range(2):
            bench.push(IMAGE, "1.0")
            bench.push(IMAGE)
        assert bench.served() == {"1.0": IMAGE.digest}

    @of_registries
    def test_put_whose_answer_was_lost_succeeds_the_second_time(self, bench: Bench) -> None:
        bench.lose_answer("put_manifest")
        with pytest.raises(RegistryUnavailableError):
            bench.push(IMAGE, "1.0")
        bench.push(IMAGE, "1.0")
        assert bench.served() == {"1.0": IMAGE.digest}

    def test_manifest_with_a_missing_blob_is_refused_and_the_tag_does_not_move(self, bench: Bench) -> None:
        bench.push(IMAGE, "1.0")
        with pytest.raises(MissingContentError):
            bench.target.put_manifest(REPOSITORY, OTHER.root, "1.0")
        assert bench.served() == {"1.0": IMAGE.digest}

    def test_index_with_a_missing_child_is_refused(self, bench: Bench) -> None:
        with pytest.raises(MissingContentError):
            bench.target.put_manifest(REPOSITORY, make_index([IMAGE]).root, "1.0")
        assert bench.served() == {}

    @of_registries
    def test_immutable_tag_is_not_moved(self, bench: Bench) -> None:
        bench.push(IMAGE, "1.0")
        bench.make_immutable()
        with pytest.raises(TagImmutableError):
            bench.push(OTHER, "1.0")
        bench.push(IMAGE, "1.0")
        bench.push(OTHER, "2.0")
        assert bench.served("1.0", "2.0") == {"1.0": IMAGE.digest, "2.0": OTHER.digest}

    def test_bytes_of_another_digest_are_refused(self, bench: Bench) -> None:
        bench.push(IMAGE, "1.0")
        with pytest.raises(DigestMismatchError):
            bench.target.put_manifest(REPOSITORY, OTHER.root._replace(content=IMAGE.root.content), "1.0")

    def test_missing_repository_is_not_found(self, bench: Bench) -> None:
        with pytest.raises(NotFoundError):
            bench.target.put_manifest("mirror/nowhere", IMAGE.root, "1.0")
