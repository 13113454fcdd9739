"""What lists and removes tags: the fake of the unit tests, and Amazon ECR (the strict local one)."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import NamedTuple, Protocol

import pytest

from local import artifacts
from local.ecr.errors import EcrError
from local.ecr.faults import Call
from local.images import LocalImage, make_image, make_index
from local.tests.ecr.harness import RunningEcr, running_ecr
from pullahead.ecr.tags import EcrTags
from pullahead.ecr.target import EcrTarget
from pullahead.errors import AccessDeniedError
from pullahead.oci import parse_manifest
from pullahead.oci.referrers import cosign_tags, read_referrer
from pullahead.retention.ports import Removal, Removed, TagLister, TagRemover
from tests.contract.target_bench import Bench, ecr_bench
from tests.fakes.samples import REPOSITORY
from tests.fakes.tags import FakeTags

IMAGE, OTHER = make_image([b"one"], seed=1), make_image([b"two"], seed=2)
SBOM = artifacts.sbom(IMAGE.root.descriptor)
SIGNED_SBOM, OTHER_SBOM = artifacts.notation_signature(SBOM.root.descriptor), artifacts.sbom(OTHER.root.descriptor)
SIGNATURE = artifacts.cosign2_signature(IMAGE.root.descriptor, "key-1", certificate=False)
SIGNATURE_TAG = cosign_tags(IMAGE.digest)[0]


class Tags(TagLister, TagRemover, Protocol):
    """Both ports."""


class World(NamedTuple):
    tags: Tags
    push: Callable[[LocalImage, str | None], object]
    has: Callable[[LocalImage], bool]


@pytest.fixture(scope="module")
def ecr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEcr]:
    with running_ecr(tmp_path_factory.mktemp("ecr")) as running:
        yield running


def _in_memory() -> World:
    fake = FakeTags()

    def push(image: LocalImage, tag: str | None) -> None:
        parsed = parse_manifest(image.root.content, image.root.descriptor.media_type)
        if parsed.children:
            fake.children[image.digest] = [each.digest for each in parsed.children]
        if tag is not None:
            fake.served.setdefault(REPOSITORY, {})[tag] = image.digest
        if (subject := read_referrer(image.root).subject) is not None:
            fake.referrers.setdefault(subject, []).append(image.digest)

    def has(image: LocalImage) -> bool:
        untagged = (*fake.referrers.values(), *fake.children.values())
        return image.digest in fake.served[REPOSITORY].values() or any(image.digest in each for each in untagged)

    return World(fake, push, has)


def _of_ecr(running: RunningEcr) -> World:
    bench: Bench = ecr_bench(running)
    bench.target.ensure_repository(REPOSITORY)
    target = EcrTarget(running.client)

    def has(image: LocalImage) -> bool:
        return target.holds_manifest(REPOSITORY, image.digest)

    return World(EcrTags(running.client), bench.push, has)


@pytest.fixture(params=["fake", "ecr"])
def world(request: pytest.FixtureRequest) -> World:
    return _in_memory() if request.param == "fake" else _of_ecr(request.getfixturevalue("ecr"))


def test_every_tag_is_listed_with_its_digest(world: World) -> None:
    world.push(IMAGE, "1.0")
    world.push(IMAGE, "1")
    world.push(OTHER, "2.0")
    assert world.tags.list_tags(REPOSITORY) == {"1.0": IMAGE.digest, "1": IMAGE.digest, "2.0": OTHER.digest}


def test_missing_repository_has_no_tags(world: World) -> None:
    assert world.tags.list_tags("mirror/nowhere") == {}


def test_removing_one_of_two_tags_keeps_the_manifest_and_its_signature(world: World) -> None:
    world.push(IMAGE, "1.0")
    world.push(IMAGE, "1")
    world.push(SIGNATURE, SIGNATURE_TAG)
    assert world.tags.remove(REPOSITORY, Removal("1.0", IMAGE.digest)) == Removed(("1.0",))
    assert world.tags.list_tags(REPOSITORY) == {"1": IMAGE.digest, SIGNATURE_TAG: SIGNATURE.digest}
    assert world.has(IMAGE)


def test_with_the_last_tag_go_the_manifest_its_signature_and_its_referrers(world: World) -> None:
    world.push(IMAGE, "1.0")
    world.push(OTHER, "2.0")
    world.push(SIGNATURE, SIGNATURE_TAG)
    world.push(SBOM, None)
    removal = Removal("1.0", IMAGE.digest, (SIGNATURE_TAG,), with_manifest=True)
    removed = world.tags.remove(REPOSITORY, removal).names
    assert {"1.0", SIGNATURE_TAG, SBOM.digest} <= set(removed)
    assert world.tags.list_tags(REPOSITORY) == {"2.0": OTHER.digest}
    assert [world.has(each) for each in (IMAGE, SBOM, OTHER)] == [False, False, True]


def test_referrers_of_referrers_go_too(world: World) -> None:
    for image, tag in ((IMAGE, "1.0"), (OTHER, "2.0"), (SBOM, None), (SIGNED_SBOM, None), (OTHER_SBOM, None)):
        world.push(image, tag)
    removed = world.tags.remove(REPOSITORY, Removal("1.0", IMAGE.digest, with_manifest=True)).names
    assert set(removed) == {"1.0", SBOM.digest, SIGNED_SBOM.digest}
    assert [world.has(each) for each in (SBOM, SIGNED_SBOM, OTHER_SBOM)] == [False, False, True]


def test_referrer_that_has_a_tag_stays_with_what_refers_to_it(world: World) -> None:
    world.push(IMAGE, "1.0")
    world.push(SBOM, "sbom")
    world.push(SIGNED_SBOM, None)
    removal = Removal("1.0", IMAGE.digest, with_manifest=True, tagged=frozenset({SBOM.digest}))
    assert world.tags.remove(REPOSITORY, removal) == Removed(("1.0",))
    assert [world.has(each) for each in (SBOM, SIGNED_SBOM)] == [True, True]


def test_tag_that_has_moved_or_is_gone_is_left_alone(world: World) -> None:
    world.push(OTHER, "1.0")
    assert world.tags.remove(REPOSITORY, Removal("1.0", IMAGE.digest, (), with_manifest=True)) == Removed()
    assert world.tags.remove(REPOSITORY, Removal("9.9", OTHER.digest)) == Removed()
    assert world.tags.list_tags(REPOSITORY) == {"1.0": OTHER.digest}


def test_what_an_index_refers_to_is_left_to_it(world: World) -> None:
    index = make_index([IMAGE])
    world.push(IMAGE, "1.0")
    world.push(index, "1.0-all")
    assert world.tags.remove(REPOSITORY, Removal("1.0", IMAGE.digest)) == Removed()
    assert world.tags.list_tags(REPOSITORY)["1.0"] == IMAGE.digest


def test_children_of_an_index_go_with_it_and_with_what_refers_to_them_unless_they_are_needed(world: World) -> None:
    """One has a tag, one is another index's, too, and one is of this index alone."""
    tagged, shared = OTHER, make_image([b"three"], seed=3)
    index, other = make_index([IMAGE, tagged, shared]), make_index([shared, make_image([b"four"], seed=4)])
    world.push(tagged, "2.0")
    world.push(index, "1.0")
    world.push(other, "other")
    shared_sbom = artifacts.sbom(shared.root.descriptor)
    for referrer in (SBOM, SIGNED_SBOM, OTHER_SBOM, shared_sbom):
        world.push(referrer, None)
    removal = Removal("1.0", index.digest, with_manifest=True, tagged=frozenset({tagged.digest, other.digest}))
    removed = world.tags.remove(REPOSITORY, removal)
    assert (removed.children, removed.error) == ((IMAGE.digest,), None)
    assert set(removed.names) == {"1.0", IMAGE.digest, SBOM.digest, SIGNED_SBOM.digest}
    there = [IMAGE, SBOM, SIGNED_SBOM, tagged, shared, OTHER_SBOM, shared_sbom]
    assert [world.has(each) for each in there] == [False, False, False, True, True, True, True]


def test_tags_of_signatures_are_removed_whatever_they_serve(world: World) -> None:
    world.push(IMAGE, "1.0")
    world.push(SIGNATURE, SIGNATURE_TAG)
    assert world.tags.remove_tags(REPOSITORY, [SIGNATURE_TAG]).names == (SIGNATURE_TAG,)
    assert world.tags.list_tags(REPOSITORY) == {"1.0": IMAGE.digest}


def test_failure_after_the_tag_is_gone_is_told_with_what_was_removed(ecr: RunningEcr) -> None:
    world = _of_ecr(ecr)
    world.push(IMAGE, "1.0")
    world.push(SBOM, None)
    calls = count(1)

    def refuse_the_second(_call: Call) -> None:
        if next(calls) > 1:
            raise EcrError("AccessDeniedException", "as scripted")

    ecr.ecr.faults.before("BatchDeleteImage", refuse_the_second)
    removed = world.tags.remove(REPOSITORY, Removal("1.0", IMAGE.digest, with_manifest=True))
    ecr.ecr.faults.clear()
    assert removed.names == ("1.0",)
    assert isinstance(removed.error, AccessDeniedError)


def test_refused_deletion_is_an_error_that_names_the_repository(ecr: RunningEcr) -> None:
    world = _of_ecr(ecr)
    world.push(IMAGE, "1.0")
    ecr.ecr.faults.add("BatchDeleteImage", "AccessDeniedException")
    with pytest.raises(AccessDeniedError, match=REPOSITORY):
        world.tags.remove(REPOSITORY, Removal("1.0", IMAGE.digest))
    ecr.ecr.faults.clear()
    assert world.tags.list_tags(REPOSITORY) == {"1.0": IMAGE.digest}


def test_tags_are_listed_page_by_page(ecr: RunningEcr) -> None:
    world = _of_ecr(ecr)
    for tag in ("1.0", "1.1", "1.2", "1.3", "1.4"):
        world.push(IMAGE, tag)
    assert len(EcrTags(ecr.client, page=2).list_tags(REPOSITORY)) == 5
