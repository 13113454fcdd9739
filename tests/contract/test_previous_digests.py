"""A deployment pinned by digest goes on pulling what a moved tag served: the local ECR, with its lifecycle."""

from collections.abc import Iterator

import pytest

from local.ecr.lifecycle import expire_images
from local.images import LocalImage
from local.tests.ecr.harness import RunningEcr, running_ecr
from pullahead.ecr.target import EcrTarget
from pullahead.rules.model import KeepPrevious
from tests.contract.referrers.plain_client import PlainReferrersClient
from tests.contract.target_bench import ecr_bench, without_waits
from tests.fakes.samples import REPOSITORY
from tests.unit.refresh.test_keep_previous import IMAGES, Moves

EXPIRE_UNTAGGED_DAYS = 30  # the parameter's default


@pytest.fixture(scope="module")
def ecr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEcr]:
    with running_ecr(tmp_path_factory.mktemp("ecr")) as running:
        yield running


class MovesInEcr(Moves):
    """The same in the local ECR, whose lifecycle policy runs once a day."""

    def __init__(self, ecr: RunningEcr, keep_previous: KeepPrevious | None) -> None:
        super().__init__(keep_previous)
        self.ecr, self.bench = ecr, ecr_bench(ecr)
        self.in_ecr = EcrTarget(ecr.client, without_waits(), expire_untagged_days=EXPIRE_UNTAGGED_DAYS)
        self.in_ecr.ensure_repository(REPOSITORY)
        self.copied_to = self.in_ecr

    def upload(self, image: LocalImage) -> None:
        for digest in image.blobs.keys() - self.in_ecr.present_blobs(REPOSITORY, list(image.blobs)):
            self.bench.upload(image.read_blob(digest))

    def days(self, count: int) -> None:
        for _ in range(count):
            self.ecr.clock.advance(days=1)
            expire_images(self.ecr.ecr.registry, REPOSITORY, self.ecr.clock.now())

    def is_pullable(self, image: LocalImage) -> bool:
        client = PlainReferrersClient(self.ecr.url, REPOSITORY, self.ecr.authorization())
        try:
            client.pull_all(image.digest)
        except AssertionError:
            return False
        return True


@pytest.mark.parametrize(("keep_previous", "kept"), [(KeepPrevious(), True), (None, False)])
def test_digest_is_pullable_after_five_moves_and_90_days(
    ecr: RunningEcr, keep_previous: KeepPrevious | None, kept: bool
) -> None:
    moves = MovesInEcr(ecr, keep_previous)
    for image in IMAGES:
        moves.move(image)
        moves.days(1)
    moves.days(90)
    assert [moves.is_pullable(image) for image in IMAGES] == [*[kept] * 5, True]
