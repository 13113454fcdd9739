"""Whole blobs into ECR in one stream, and mounted from a repository that has them."""

import pytest

from local.tests.ecr.harness import RunningEcr
from pullahead.ecr.streams import EcrMounts, EcrStreams
from pullahead.ecr.target import EcrTarget
from pullahead.errors import AccessDeniedError, NotFoundError, RegistryUnavailableError
from pullahead.oci.registries import Offered
from tests.contract.oci.harness import HOME, IMAGE, OTHER_HOME, Pieces

DIGESTS = list(IMAGE.blobs)
BLOBS = {digest: Pieces(IMAGE.read_blob(digest)) for digest in DIGESTS}


@pytest.fixture(autouse=True)
def repositories(ecr: RunningEcr) -> None:
    for name in (HOME, OTHER_HOME):
        ecr.client.create_repository(repositoryName=name)


def streams_of(ecr: RunningEcr) -> EcrStreams:
    return EcrStreams(ecr.client, ecr.clock.now)


def mounts_of(ecr: RunningEcr) -> EcrMounts:
    return EcrMounts(ecr.client, EcrTarget(ecr.client), ecr.clock.now)


def allow_mounts(ecr: RunningEcr) -> None:
    ecr.client.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")


def push(ecr: RunningEcr, repository: str) -> None:
    """Push the image, so that its blobs belong to one."""
    streams, target = streams_of(ecr), EcrTarget(ecr.client)
    for pieces in BLOBS.values():
        assert streams.stream_blob(repository, pieces.blob, pieces.open) is Offered.COPIED
    target.put_manifest(repository, IMAGE.root, "1.0")


def test_blob_that_was_streamed_is_present(ecr: RunningEcr) -> None:
    push(ecr, HOME)
    assert EcrTarget(ecr.client).present_blobs(HOME, DIGESTS) == set(DIGESTS)


def test_blob_takes_two_requests_and_all_blobs_one_login(ecr: RunningEcr) -> None:
    streams = streams_of(ecr)
    for pieces in BLOBS.values():
        streams.stream_blob(HOME, pieces.blob, pieces.open)
    count = ecr.ecr.calls.count
    assert count("GetAuthorizationToken") == 1
    assert count("v2:StartUpload") == count("v2:FinishUpload") == len(BLOBS)
    assert count("UploadLayerPart") == 0


def test_login_is_renewed_before_it_expires(ecr: RunningEcr) -> None:
    streams = streams_of(ecr)
    first, second, *_ = BLOBS.values()
    streams.stream_blob(HOME, first.blob, first.open)
    ecr.clock.advance(hours=11, minutes=31)
    streams.stream_blob(HOME, second.blob, second.open)
    assert ecr.ecr.calls.count("GetAuthorizationToken") == 2
    ecr.clock.advance(hours=20)  # the function was frozen meanwhile
    assert streams.stream_blob(OTHER_HOME, second.blob, second.open) is Offered.COPIED


@pytest.mark.parametrize(
    ("code", "kind"), [("AccessDeniedException", AccessDeniedError), ("ServerException", RegistryUnavailableError)]
)
def test_refused_login_is_an_error(ecr: RunningEcr, code: str, kind: type[Exception]) -> None:
    ecr.ecr.faults.add("GetAuthorizationToken", code)
    pieces = BLOBS[DIGESTS[0]]
    with pytest.raises(kind, match="log in"):
        streams_of(ecr).stream_blob(HOME, pieces.blob, pieces.open)
    assert pieces.opened == 0 or ecr.ecr.calls.count("v2:StartUpload") == 0


def test_repository_that_is_missing_is_not_found(ecr: RunningEcr) -> None:
    pieces = BLOBS[DIGESTS[0]]
    with pytest.raises(NotFoundError):
        streams_of(ecr).stream_blob("mirror/missing", pieces.blob, pieces.open)


class TestMounts:
    def test_no_repository_is_asked_where_the_account_does_not_mount(self, ecr: RunningEcr) -> None:
        push(ecr, OTHER_HOME)
        mounts = mounts_of(ecr)
        ecr.ecr.calls.clear()
        assert mounts.find_mounts(DIGESTS, [OTHER_HOME]) == mounts.find_mounts(DIGESTS, [OTHER_HOME]) == {}
        assert ecr.ecr.calls.operations() == ["GetAccountSetting"]

    def test_account_setting_is_read_again_after_ten_minutes(self, ecr: RunningEcr) -> None:
        push(ecr, OTHER_HOME)
        mounts = mounts_of(ecr)
        assert mounts.find_mounts(DIGESTS, [OTHER_HOME]) == {}
        allow_mounts(ecr)
        ecr.clock.advance(minutes=9, seconds=59)
        assert mounts.find_mounts(DIGESTS, [OTHER_HOME]) == {}
        ecr.clock.advance(seconds=1)
        assert mounts.find_mounts(DIGESTS, [OTHER_HOME]).keys() == set(DIGESTS)

    def test_blobs_of_another_repository_are_mounted_without_a_byte(self, ecr: RunningEcr) -> None:
        allow_mounts(ecr)
        push(ecr, OTHER_HOME)
        found = mounts_of(ecr).find_mounts(DIGESTS, ["mirror/missing", OTHER_HOME])
        assert found == dict.fromkeys(DIGESTS, OTHER_HOME)
        streams = streams_of(ecr)
        for digest in DIGESTS:
            pieces = Pieces(IMAGE.read_blob(digest))
            assert streams.stream_blob(HOME, pieces.blob, pieces.open, found[digest]) is Offered.MOUNTED
            assert pieces.opened == 0
        EcrTarget(ecr.client).put_manifest(HOME, IMAGE.root, "1.0")

    def test_blob_of_no_image_is_sent_rather_than_mounted(self, ecr: RunningEcr) -> None:
        allow_mounts(ecr)
        pieces = Pieces(b"of no image")
        streams = streams_of(ecr)
        streams.stream_blob(OTHER_HOME, pieces.blob, pieces.open)
        assert streams.stream_blob(HOME, pieces.blob, pieces.open, OTHER_HOME) is Offered.COPIED

    def test_no_more_than_ten_repositories_are_asked(self, ecr: RunningEcr) -> None:
        allow_mounts(ecr)
        ecr.ecr.calls.clear()
        assert mounts_of(ecr).find_mounts(DIGESTS, [f"mirror/{number}" for number in range(100)]) == {}
        assert ecr.ecr.calls.count("BatchCheckLayerAvailability") == 10

    def test_search_ends_with_the_last_blob(self, ecr: RunningEcr) -> None:
        allow_mounts(ecr)
        push(ecr, OTHER_HOME)
        ecr.ecr.calls.clear()
        mounts_of(ecr).find_mounts(DIGESTS, [OTHER_HOME, HOME])
        assert ecr.ecr.calls.count("BatchCheckLayerAvailability") == 1

    @pytest.mark.parametrize("code", ["InvalidParameterException", "ValidationException"])
    def test_region_without_the_setting_does_not_mount(self, ecr: RunningEcr, code: str) -> None:
        ecr.ecr.faults.add("GetAccountSetting", code)
        assert mounts_of(ecr).find_mounts(DIGESTS, [OTHER_HOME]) == {}

    def test_ecr_is_not_called_where_no_blob_is_missing(self, ecr: RunningEcr) -> None:
        ecr.ecr.calls.clear()
        assert mounts_of(ecr).find_mounts([], [OTHER_HOME]) == mounts_of(ecr).find_mounts(DIGESTS, []) == {}
        assert ecr.ecr.calls.operations() == []
