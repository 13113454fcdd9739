"""What lists and removes tags: the fake of the unit tests, and Amazon ECR (the strict local one)."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import pytest

from local import artifacts
from local.images import LocalImage, make_image, make_index
from local.tests.ecr.harness import RunningEcr, running_ecr
from pullahead.ecr.tags import EcrTags
from pullahead.ecr.target import EcrTarget
from pullahead.errors import AccessDeniedError
from pullahead.oci.referrers import cosign_tags, read_referrer
from pullahead.retention.ports import Removal, TagLister, TagRemover
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
        if tag is not None:
            fake.served.setdefault(REPOSITORY, {})[tag] = image.digest
        if (subject := read_referrer(image.root).subject) is not None:
            fake.referrers.setdefault(subject, []).append(image.digest)

    def has(image: LocalImage) -> bool:
        return image.digest in fake.served[REPOSITORY].values() or any(
            image.digest in each for each in fake.referrers.values()
        )

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
    assert world.tags.remove(REPOSITORY, Removal("1.0", IMAGE.digest)) == ("1.0",)
    assert world.tags.list_tags(REPOSITORY) == {"1": IMAGE.digest, SIGNATURE_TAG: SIGNATURE.digest}
    assert world.has(IMAGE)


def test_with_the_last_tag_go_the_manifest_its_signature_and_its_referrers(world: World) -> None:
    world.push(IMAGE, "1.0")
    world.push(OTHER, "2.0")
    world.push(SIGNATURE, SIGNATURE_TAG)
    world.push(SBOM, None)
    removal = Removal("1.0", IMAGE.digest, (SIGNATURE_TAG,), with_referrers=True)
    removed = world.tags.remove(REPOSITORY, removal)
    assert {"1.0", SIGNATURE_TAG, SBOM.digest} <= set(removed)
    assert world.tags.list_tags(REPOSITORY) == {"2.0": OTHER.digest}
    assert [world.has(each) for each in (IMAGE, SBOM, OTHER)] == [False, False, True]


def test_referrers_of_referrers_go_too(world: World) -> None:
    for image, tag in ((IMAGE, "1.0"), (OTHER, "2.0"), (SBOM, None), (SIGNED_SBOM, None), (OTHER_SBOM, None)):
        world.push(image, tag)
    removed = world.tags.remove(REPOSITORY, Removal("1.0", IMAGE.digest, with_referrers=True))
    assert set(removed) == {"1.0", SBOM.digest, SIGNED_SBOM.digest}
    assert [world.has(each) for each in (SBOM, SIGNED_SBOM, OTHER_SBOM)] == [False, False, True]


def test_referrer_that_has_a_tag_stays_with_what_refers_to_it(world: World) -> None:
    world.push(IMAGE, "1.0")
    world.push(SBOM, "sbom")
    world.push(SIGNED_SBOM, None)
    removal = Removal("1.0", IMAGE.digest, with_referrers=True, tagged=frozenset({SBOM.digest}))
    assert world.tags.remove(REPOSITORY, removal) == ("1.0",)
    assert [world.has(each) for each in (SBOM, SIGNED_SBOM)] == [True, True]


def test_tag_that_has_moved_or_is_gone_is_left_alone(world: World) -> None:
    world.push(OTHER, "1.0")
    assert world.tags.remove(REPOSITORY, Removal("1.0", IMAGE.digest, (), with_referrers=True)) == ()
    assert world.tags.remove(REPOSITORY, Removal("9.9", OTHER.digest)) == ()
    assert world.tags.list_tags(REPOSITORY) == {"1.0": OTHER.digest}


def test_what_an_index_refers_to_is_left_to_it(world: World) -> None:
    index = make_index([IMAGE])
    world.push(IMAGE, "1.0")
    world.push(index, "1.0-all")
    if isinstance(world.tags, FakeTags):
        world.tags.in_index.add(IMAGE.digest)
    assert world.tags.remove(REPOSITORY, Removal("1.0", IMAGE.digest)) == ()
    assert world.tags.list_tags(REPOSITORY)["1.0"] == IMAGE.digest


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
