"""How the ECR target calls ECR: how often, and how it translates ECR's errors and missing answers."""

import socket
from collections.abc import Sequence

import pytest
from botocore.exceptions import BotoCoreError, ConnectTimeoutError, NoCredentialsError, ReadTimeoutError

from local.ecr.faults import Call
from local.images import LocalImage, make_image
from local.tests.ecr.harness import RunningEcr, ecr_client
from pullahead.ecr.errors import MEANING, translated
from pullahead.ecr.target import EcrTarget
from pullahead.errors import (
    AccessDeniedError,
    DigestMismatchError,
    ManifestRefusedError,
    MissingContentError,
    NotFoundError,
    RateLimitedError,
    RegistryError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    Side,
    SigningDeniedError,
    TagImmutableError,
    UploadLostError,
)
from pullahead.oci import RawManifest, describe, media_types
from pullahead.oci.registries import RepositorySettings
from tests.contract.target_bench import without_waits

REPOSITORY = "mirror/app"
IMAGE = make_image([b"layer"], seed=1)

EXPECTED: dict[str, type[RegistryError]] = {
    "RepositoryNotFoundException": NotFoundError,
    "UploadNotFoundException": UploadLostError,
    "LayerPartTooSmallException": UploadLostError,
    "InvalidLayerException": DigestMismatchError,
    "ImageDigestDoesNotMatchException": DigestMismatchError,
    "LayersNotFoundException": MissingContentError,
    "ReferencedImagesNotFoundException": MissingContentError,
    "ImageTagAlreadyExistsException": TagImmutableError,
    "InvalidParameterException": ManifestRefusedError,
    "ValidationException": ManifestRefusedError,
    "EmptyUploadException": ManifestRefusedError,
    "LimitExceededException": RateLimitedError,
    "ThrottlingException": RateLimitedError,
    "TooManyRequestsException": RateLimitedError,
    "KmsException": AccessDeniedError,
    "AccessDeniedException": AccessDeniedError,
    "UnrecognizedClientException": AccessDeniedError,
    "ExpiredTokenException": RegistryUnavailableError,
    "RequestTimeoutException": RegistryTimeoutError,
    "RequestAbortedException": RegistryUnavailableError,
    "RequestExpired": RegistryUnavailableError,
    "ServerException": RegistryUnavailableError,
}
UNNAMED: dict[str, type[RegistryError]] = {
    "InternalFailure": RegistryUnavailableError,
    "ServiceUnavailableException": RegistryUnavailableError,
    "NobodyKnowsException": AccessDeniedError,  # refused, for a reason that a human must read
}


@pytest.fixture(autouse=True)
def repository(ecr: RunningEcr) -> None:
    ecr.client.create_repository(repositoryName=REPOSITORY)
    ecr.ecr.calls.clear()


@pytest.fixture
def target(ecr: RunningEcr) -> EcrTarget:
    return EcrTarget(ecr.client, without_waits())


def push(target: EcrTarget, image: LocalImage, *tags: str) -> None:
    for digest in image.blobs:
        upload = target.begin_upload(REPOSITORY)
        content = image.read_blob(digest)
        target.upload_part(REPOSITORY, upload, 0, content)
        target.complete_upload(REPOSITORY, upload, describe(content, "layer"))
    for tag in tags:
        target.put_manifest(REPOSITORY, image.root, tag)


def test_every_translation_is_expected_here() -> None:
    assert EXPECTED.keys() == MEANING.keys()


@pytest.mark.parametrize(("code", "kind"), (EXPECTED | UNNAMED).items())
def test_error_of_ecr_is_translated(ecr: RunningEcr, target: EcrTarget, code: str, kind: type[RegistryError]) -> None:
    ecr.ecr.faults.add("InitiateLayerUpload", code, message="as ECR says it")
    with pytest.raises(RegistryError) as caught:
        target.begin_upload(REPOSITORY)
    assert type(caught.value) is kind
    assert (caught.value.side, caught.value.reference) == (Side.TARGET, REPOSITORY)
    assert f"{code}: as ECR says it (HTTP " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", ["AccessDeniedException", "InvalidParameterException", "NobodyKnowsException"])
def test_missing_permission_to_sign_is_an_error_of_its_own_that_says_what_to_do(
    ecr: RunningEcr, target: EcrTarget, code: str
) -> None:
    words = (
        "User: arn:aws:sts::123456789012:assumed-role/a/b is not authorized to perform: signer:SignPayload on a profile"
    )
    push(target, IMAGE)
    ecr.ecr.faults.add("PutImage", code, message=words)
    with pytest.raises(SigningDeniedError) as caught:
        target.put_manifest(REPOSITORY, IMAGE.root, "1.0")
    assert f"put manifest of {REPOSITORY}:1.0 at the target failed: {code}: {words}" in str(caught.value)
    assert "allow signer:SignPayload on the rule's signing profile" in str(caught.value)
    assert "parameter SigningProfiles" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectTimeoutError(endpoint_url="https://ecr"), RegistryTimeoutError),
        (ReadTimeoutError(endpoint_url="https://ecr"), RegistryTimeoutError),
        (NoCredentialsError(), RegistryUnavailableError),
    ],
)
def test_error_of_the_client_is_translated(error: BotoCoreError, kind: type[RegistryError]) -> None:
    with pytest.raises(RegistryError) as caught, translated("describe", REPOSITORY):
        raise error
    assert type(caught.value) is kind


def test_refused_connection_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(RegistryUnavailableError):
        EcrTarget(ecr_client(f"http://127.0.0.1:{port}")).begin_upload(REPOSITORY)


def test_missing_answer_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = ecr_client(f"http://127.0.0.1:{silent.getsockname()[1]}", read_timeout=0.2)
        with pytest.raises(RegistryTimeoutError):
            EcrTarget(client).begin_upload(REPOSITORY)


class TestPublishedDigests:
    def test_hundred_tags_are_one_call(self, ecr: RunningEcr, target: EcrTarget) -> None:
        tags = [f"t{n}" for n in range(100)]
        push(target, IMAGE, *tags)
        ecr.ecr.calls.clear()
        assert target.published_digests(REPOSITORY, tags) == dict.fromkeys(tags, IMAGE.digest)
        assert ecr.ecr.calls.operations() == ["DescribeImages"]

    def test_one_missing_tag_is_one_call(self, ecr: RunningEcr, target: EcrTarget) -> None:
        assert target.published_digests(REPOSITORY, ["missing"]) == {}
        assert ecr.ecr.calls.operations() == ["DescribeImages"]

    def test_missing_tag_among_others_costs_one_list(self, ecr: RunningEcr, target: EcrTarget) -> None:
        push(target, IMAGE, "1.0")
        ecr.ecr.calls.clear()
        assert target.published_digests(REPOSITORY, ["1.0", "missing"]) == {"1.0": IMAGE.digest}
        assert ecr.ecr.calls.operations() == ["DescribeImages", "ListImages"]

    @pytest.mark.parametrize("missing", [0, 1, 250])
    @pytest.mark.parametrize(("existing", "most"), [(10_000, 11), (1000, 20), (950, 20)])
    def test_tags_of_a_whole_repository_cost_few_calls_even_where_some_are_missing(
        self, ecr: RunningEcr, target: EcrTarget, existing: int, most: int, missing: int
    ) -> None:
        push(target, IMAGE, "t0")
        tags = [f"t{n}" for n in range(existing)]
        ecr.ecr.registry.get(REPOSITORY).tags.update(dict.fromkeys(tags, IMAGE.digest))
        ecr.ecr.calls.clear()
        asked = [*tags[:500], *(f"missing{n}" for n in range(missing)), *tags[500:]]
        assert target.published_digests(REPOSITORY, asked) == dict.fromkeys(tags, IMAGE.digest)
        assert len(ecr.ecr.calls.operations()) <= most

    def test_last_tag_that_alone_is_missing_costs_no_list(self, ecr: RunningEcr, target: EcrTarget) -> None:
        push(target, IMAGE, *(f"t{n}" for n in range(100)))
        ecr.ecr.calls.clear()
        asked = [*(f"t{n}" for n in range(100)), "missing"]
        assert len(target.published_digests(REPOSITORY, asked)) == 100
        assert ecr.ecr.calls.operations() == ["DescribeImages", "DescribeImages"]

    def test_missing_repository_is_one_call_even_for_many_tags(self, ecr: RunningEcr, target: EcrTarget) -> None:
        assert target.published_digests("mirror/nowhere", [f"t{n}" for n in range(250)]) == {}
        assert ecr.ecr.calls.operations() == ["DescribeImages"]

    def test_repository_deleted_between_two_calls_serves_nothing(self, ecr: RunningEcr, target: EcrTarget) -> None:
        push(target, IMAGE, "1.0")

        def vanish(_call: Call) -> None:
            ecr.ecr.call("DeleteRepository", {"repositoryName": REPOSITORY, "force": True})

        ecr.ecr.faults.before("ListImages", vanish, times=1)
        assert target.published_digests(REPOSITORY, ["1.0", "missing"]) == {}

    @pytest.mark.parametrize("operation", ["DescribeImages", "ListImages"])
    def test_throttling_is_an_error(self, ecr: RunningEcr, target: EcrTarget, operation: str) -> None:
        ecr.ecr.faults.add(operation, "ThrottlingException")
        with pytest.raises(RateLimitedError):
            target.published_digests(REPOSITORY, ["1.0", "2.0"])


class TestHasRepository:
    def test_one_call_tells_whether_it_exists(self, ecr: RunningEcr, target: EcrTarget) -> None:
        assert (target.has_repository(REPOSITORY), target.has_repository("mirror/nowhere")) == (True, False)
        assert ecr.ecr.calls.operations() == ["DescribeRepositories", "DescribeRepositories"]

    def test_throttling_is_an_error(self, ecr: RunningEcr, target: EcrTarget) -> None:
        ecr.ecr.faults.add("DescribeRepositories", "ThrottlingException")
        with pytest.raises(RateLimitedError):
            target.has_repository(REPOSITORY)


class TestEnsureRepository:
    def test_existing_repository_takes_one_call(self, ecr: RunningEcr, target: EcrTarget) -> None:
        target.ensure_repository(REPOSITORY)
        assert ecr.ecr.calls.operations() == ["DescribeRepositories"]

    def test_repository_created_meanwhile_is_not_changed(self, ecr: RunningEcr, target: EcrTarget) -> None:
        ecr.ecr.faults.add("DescribeRepositories", "RepositoryNotFoundException")
        target.ensure_repository(REPOSITORY, RepositorySettings(lifecycle_policy="{}"))
        assert ecr.ecr.calls.operations() == ["DescribeRepositories", "CreateRepository"]

    def test_repository_created_meanwhile_by_the_template_is_not_changed(
        self, ecr: RunningEcr, target: EcrTarget
    ) -> None:
        ecr.ecr.faults.add("DescribeRepositories", "RepositoryNotFoundException")
        target.ensure_repository(REPOSITORY)
        assert ecr.ecr.calls.operations()[-1] == "CreateRepository"

    def test_refusal_says_what_to_do(self, ecr: RunningEcr, target: EcrTarget) -> None:
        ecr.ecr.faults.add("CreateRepository", "AccessDeniedException")
        with pytest.raises(AccessDeniedError, match="Allow the caller this action"):
            target.ensure_repository("mirror/new")


class TestPutManifest:
    def test_media_type_is_sent_where_the_manifest_does_not_contain_it(self, target: EcrTarget) -> None:
        """ECR refuses it otherwise: aws/aws-sdk#193."""
        push(target, IMAGE)
        content = IMAGE.root.content.replace(f'"mediaType": "{media_types.OCI_MANIFEST}",'.encode(), b"", 1)
        assert content != IMAGE.root.content
        manifest = RawManifest(describe(content, media_types.OCI_MANIFEST), content)
        target.put_manifest(REPOSITORY, manifest, "1.0")
        assert target.published_digests(REPOSITORY, ["1.0"]) == {"1.0": manifest.descriptor.digest}

    def test_manifest_that_is_not_utf_8_is_refused(self, ecr: RunningEcr, target: EcrTarget) -> None:
        content = b'{"schemaVersion": 2, "note": "\xff"}'
        manifest = RawManifest(describe(content, media_types.OCI_MANIFEST), content)
        with pytest.raises(ManifestRefusedError, match="not UTF-8"):
            target.put_manifest(REPOSITORY, manifest, "1.0")
        assert ecr.ecr.calls.operations() == []


class TestPresentManifests:
    IMAGES = tuple(make_image(seed=seed) for seed in range(2, 22))
    DIGESTS = tuple(image.digest for image in IMAGES)

    def put(self, target: EcrTarget, images: Sequence[LocalImage]) -> None:
        for image in images:
            push(target, image)
            target.put_manifest(REPOSITORY, image.root, None)

    def calls(self, ecr: RunningEcr) -> int:
        return ecr.ecr.calls.count("DescribeImages")

    def test_one_call_tells_that_nothing_was_put_yet(self, ecr: RunningEcr, target: EcrTarget) -> None:
        assert list(target.present_manifests(REPOSITORY, self.DIGESTS)) == []
        assert self.calls(ecr) == 1

    def test_missing_repository_has_none(self, target: EcrTarget) -> None:
        assert list(target.present_manifests("mirror/nowhere", self.DIGESTS)) == []

    @pytest.mark.parametrize("count", [1, 2, 7, 19, 20])
    def test_manifests_of_an_interrupted_publish_are_found_in_few_calls(
        self, ecr: RunningEcr, target: EcrTarget, count: int
    ) -> None:
        self.put(target, self.IMAGES[:count])
        assert target.present_manifests(REPOSITORY, self.DIGESTS) == self.DIGESTS[:count]
        assert self.calls(ecr) <= 1 + len(self.DIGESTS).bit_length()

    def test_more_manifests_than_one_call_takes_are_looked_up(self, target: EcrTarget) -> None:
        self.put(target, self.IMAGES[:1])
        assert target.present_manifests(REPOSITORY, self.DIGESTS[:1] * 250) == self.DIGESTS[:1] * 250

    def test_manifests_after_a_missing_one_do_not_count(self, target: EcrTarget) -> None:
        self.put(target, [*self.IMAGES[:3], *self.IMAGES[4:]])
        assert target.present_manifests(REPOSITORY, self.DIGESTS) == self.DIGESTS[:3]

    def test_error_that_says_nothing_of_images_is_raised(self, ecr: RunningEcr, target: EcrTarget) -> None:
        ecr.ecr.faults.add("DescribeImages", "AccessDeniedException")
        with pytest.raises(AccessDeniedError):
            target.present_manifests(REPOSITORY, self.DIGESTS)


def test_received_bytes_are_asked_for_with_one_byte_that_is_not_stored(ecr: RunningEcr, target: EcrTarget) -> None:
    upload = target.begin_upload(REPOSITORY)
    target.upload_part(REPOSITORY, upload, 0, b"whole")
    assert target.received_bytes(REPOSITORY, upload, 5) == 5
    asked = [call.parameters for call in ecr.ecr.calls if call.operation == "UploadLayerPart"][-1]
    assert asked["partFirstByte"] == asked["partLastByte"] > 5


@pytest.mark.parametrize("code", ["InvalidParameterException", "ValidationException", "NobodyKnowsException"])
def test_other_refusal_of_that_byte_means_that_the_upload_is_lost(
    ecr: RunningEcr, target: EcrTarget, code: str
) -> None:
    upload = target.begin_upload(REPOSITORY)
    ecr.ecr.faults.add("UploadLayerPart", code)
    with pytest.raises(UploadLostError, match=code):
        target.received_bytes(REPOSITORY, upload, 5)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDeniedException", AccessDeniedError),
        ("RepositoryNotFoundException", NotFoundError),
        ("RequestAbortedException", RegistryUnavailableError),
    ],
)
def test_refusal_that_is_not_about_the_upload_keeps_its_meaning(
    ecr: RunningEcr, target: EcrTarget, code: str, kind: type[RegistryError]
) -> None:
    upload = target.begin_upload(REPOSITORY)
    ecr.ecr.faults.add("UploadLayerPart", code)
    with pytest.raises(kind):
        target.received_bytes(REPOSITORY, upload, 5)


def test_byte_taken_beyond_the_end_of_the_blob_is_an_error(target: EcrTarget) -> None:
    upload = target.begin_upload(REPOSITORY)
    target.upload_part(REPOSITORY, upload, 0, b"much longer")
    with pytest.raises(RegistryError, match="beyond the end of the blob"):
        target.received_bytes(REPOSITORY, upload, len(b"much longer") - 1)


def test_question_for_one_manifest_is_one_call_and_no_pull(ecr: RunningEcr, target: EcrTarget) -> None:
    assert not target.holds_manifest(REPOSITORY, IMAGE.digest)
    assert not target.holds_manifest("mirror/missing", IMAGE.digest)
    assert ecr.ecr.calls.operations() == ["DescribeImages"] * 2
    push(target, IMAGE, "1.0")
    ecr.ecr.calls.clear()
    assert target.holds_manifest(REPOSITORY, IMAGE.digest)
    assert ecr.ecr.calls.operations() == ["DescribeImages"]
