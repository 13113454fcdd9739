"""The layer-part API: parts in sequence, digests of real bytes, layers known per repository."""

import json
from typing import Any

import pytest
import requests
from mypy_boto3_ecr import ECRClient

from local.ecr.errors import EcrError
from local.tests.ecr.harness import (
    MIB,
    OCI_LAYER,
    RunningEcr,
    begin,
    digest_of,
    ecr_client,
    image_manifest,
    push,
    put,
    refused,
    send_cut_request,
    send_part,
    upload,
)

REPOSITORY = "team/app"
UNKNOWN_UPLOAD = "00000000-0000-4000-8000-000000000000"


def available(client: ECRClient, digest: str, repository: str = REPOSITORY) -> str:
    answer = client.batch_check_layer_availability(repositoryName=repository, layerDigests=[digest])
    assert answer["failures"] == []
    return answer["layers"][0]["layerAvailability"]


def complete(client: ECRClient, upload_id: str, digest: str) -> str:
    answer = client.complete_layer_upload(repositoryName=REPOSITORY, uploadId=upload_id, layerDigests=[digest])
    return answer["layerDigest"]


def test_parts_make_a_layer_with_the_digest_of_its_bytes(client: ECRClient) -> None:
    data = b"a" * (5 * MIB) + b"the end"
    answer = client.initiate_layer_upload(repositoryName=REPOSITORY)
    assert answer["partSize"] == 10_485_760
    assert send_part(client, REPOSITORY, answer["uploadId"], 0, data[: 5 * MIB]) == 5 * MIB - 1
    assert send_part(client, REPOSITORY, answer["uploadId"], 5 * MIB, data[5 * MIB :]) == len(data) - 1
    assert complete(client, answer["uploadId"], digest_of(data)) == digest_of(data)
    answer_2 = client.batch_check_layer_availability(repositoryName=REPOSITORY, layerDigests=[digest_of(data)])
    assert answer_2["layers"][0]["layerSize"] == len(data)


def test_out_of_order_part_is_refused_with_the_expected_offset(client: ECRClient) -> None:
    upload_id = begin(client, REPOSITORY)
    send_part(client, REPOSITORY, upload_id, 0, b"12345")
    with refused("InvalidLayerPartException") as caught:
        send_part(client, REPOSITORY, upload_id, 6, b"7")
    error: Any = caught.value.response
    assert error["registryId"] == "123456789012"
    assert error["repositoryName"] == REPOSITORY
    assert error["uploadId"] == upload_id
    assert error["lastValidByteReceived"] == 4
    assert send_part(client, REPOSITORY, upload_id, error["lastValidByteReceived"] + 1, b"6") == 5


def test_first_part_that_does_not_begin_at_zero_is_refused_with_the_offset(client: ECRClient) -> None:
    with refused("InvalidLayerPartException") as caught:
        send_part(client, REPOSITORY, begin(client, REPOSITORY), 10, b"x")
    error: Any = caught.value.response
    assert error["lastValidByteReceived"] + 1 == 0


def test_repeated_part_after_a_lost_answer_is_not_appended_twice(registry: RunningEcr) -> None:
    client = registry.client
    upload_id = begin(client, REPOSITORY)
    registry.ecr.faults.add("UploadLayerPart", "ServerException", after=True)
    with refused("ServerException"):
        send_part(client, REPOSITORY, upload_id, 0, b"once")
    with refused("InvalidLayerPartException"):
        send_part(client, REPOSITORY, upload_id, 0, b"once")
    assert complete(client, upload_id, digest_of(b"once")) == digest_of(b"once")


def test_part_with_fewer_bytes_than_it_says_is_refused(client: ECRClient) -> None:
    upload_id = begin(client, REPOSITORY)
    with refused("InvalidLayerPartException"):
        client.upload_layer_part(
            repositoryName=REPOSITORY, uploadId=upload_id, partFirstByte=0, partLastByte=9, layerPartBlob=b"short"
        )


def test_part_above_20_mib_is_refused_by_the_shape(registry: RunningEcr) -> None:
    client = ecr_client(registry.url, parameter_validation=False)
    with refused("InvalidParameterException", "20971520"):
        send_part(client, REPOSITORY, begin(client, REPOSITORY), 0, bytes(20 * MIB + 1))


def test_request_above_any_part_is_refused_before_it_is_read(registry: RunningEcr) -> None:
    with refused("RequestEntityTooLargeException"):
        send_part(registry.client, REPOSITORY, begin(registry.client, REPOSITORY), 0, bytes(25 * MIB))
    assert registry.ecr.calls.count("UploadLayerPart") == 0


def test_small_part_in_the_middle_is_found_at_the_end(client: ECRClient) -> None:
    upload_id = begin(client, REPOSITORY)
    send_part(client, REPOSITORY, upload_id, 0, b"small")
    send_part(client, REPOSITORY, upload_id, 5, b"last")
    with refused("LayerPartTooSmallException"):
        complete(client, upload_id, digest_of(b"smalllast"))


def test_wrong_digest_is_refused_and_the_layer_is_not_there(client: ECRClient) -> None:
    """Stock moto takes any digest."""
    upload_id = begin(client, REPOSITORY)
    send_part(client, REPOSITORY, upload_id, 0, b"truth")
    with refused("InvalidLayerException"):
        complete(client, upload_id, digest_of(b"lie"))
    assert available(client, digest_of(b"lie")) == "UNAVAILABLE"
    assert available(client, digest_of(b"truth")) == "UNAVAILABLE"


def test_upload_without_parts_is_empty(client: ECRClient) -> None:
    with refused("EmptyUploadException"):
        complete(client, begin(client, REPOSITORY), digest_of(b""))


def test_layer_that_exists_is_an_error(client: ECRClient) -> None:
    upload(client, REPOSITORY, b"twice")
    with refused("LayerAlreadyExistsException"):
        upload(client, REPOSITORY, b"twice")


@pytest.mark.parametrize("repository", [REPOSITORY, "team/other"])
def test_upload_id_that_is_unknown_or_of_another_repository_is_not_found(client: ECRClient, repository: str) -> None:
    client.create_repository(repositoryName="team/other")
    upload_id = UNKNOWN_UPLOAD if repository == REPOSITORY else begin(client, REPOSITORY)
    with refused("UploadNotFoundException", upload_id):
        send_part(client, repository, upload_id, 0, b"x")
    with refused("UploadNotFoundException", upload_id):
        client.complete_layer_upload(repositoryName=repository, uploadId=upload_id, layerDigests=[digest_of(b"x")])


def test_upload_that_ecr_forgot_is_not_found(registry: RunningEcr) -> None:
    upload_id = begin(registry.client, REPOSITORY)
    send_part(registry.client, REPOSITORY, upload_id, 0, b"x")
    registry.ecr.forget_uploads()
    with refused("UploadNotFoundException"):
        send_part(registry.client, REPOSITORY, upload_id, 1, b"y")


def test_upload_that_ecr_forgets_while_a_part_comes_in_is_not_found(registry: RunningEcr) -> None:
    uploads = registry.ecr.uploads
    upload = uploads.begin(REPOSITORY)
    uploads.forget()
    with pytest.raises(EcrError, match="UploadNotFoundException"):
        uploads.append(upload, 0, (b"x",))
    with pytest.raises(EcrError, match="UploadNotFoundException"):
        uploads.complete(upload, [digest_of(b"x")])


def test_part_4201_exceeds_the_limit(registry: RunningEcr) -> None:
    upload_id = begin(registry.client, REPOSITORY)
    registry.ecr.uploads.find(REPOSITORY, upload_id).part_ends.extend([0] * 4199)
    send_part(registry.client, REPOSITORY, upload_id, 0, b"4200")
    with refused("LimitExceededException", "4200"):
        send_part(registry.client, REPOSITORY, upload_id, 4, b"4201")


def test_layer_above_52000_mib_exceeds_the_limit(registry: RunningEcr) -> None:
    upload_id = begin(registry.client, REPOSITORY)
    registry.ecr.uploads.find(REPOSITORY, upload_id).size_bytes = 52_000 * MIB - 1
    with refused("LimitExceededException", str(52_000 * MIB)):
        send_part(registry.client, REPOSITORY, upload_id, 52_000 * MIB - 1, b"xx")


def test_media_type_of_a_layer_is_what_a_manifest_calls_it(client: ECRClient) -> None:
    push(client, REPOSITORY, "one", "latest")
    answer = client.batch_check_layer_availability(
        repositoryName=REPOSITORY, layerDigests=[digest_of(b"layer of one"), upload(client, REPOSITORY, b"unnamed")]
    )
    assert [layer["mediaType"] for layer in answer["layers"]] == [
        OCI_LAYER,
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ]


def test_layer_of_another_repository_is_unavailable_here(client: ECRClient) -> None:
    """Stock moto answers with a failure instead of UNAVAILABLE."""
    client.create_repository(repositoryName="team/other")
    digest = upload(client, REPOSITORY, b"mine")
    assert available(client, digest) == "AVAILABLE"
    assert available(client, digest, "team/other") == "UNAVAILABLE"


def test_malformed_digest_is_a_failure_not_an_exception(client: ECRClient) -> None:
    answer = client.batch_check_layer_availability(repositoryName=REPOSITORY, layerDigests=["sha256:short"])
    assert answer["layers"] == []
    assert answer["failures"][0]["failureCode"] == "InvalidLayerDigest"


def test_more_than_100_digests_are_refused(registry: RunningEcr) -> None:
    client = ecr_client(registry.url, parameter_validation=False)
    digests = [digest_of(str(n).encode()) for n in range(101)]
    with refused("InvalidParameterException", "layerDigests"):
        client.batch_check_layer_availability(repositoryName=REPOSITORY, layerDigests=digests)
    assert (
        len(client.batch_check_layer_availability(repositoryName=REPOSITORY, layerDigests=digests[1:])["layers"]) == 100
    )


def test_client_killed_inside_a_part_leaves_the_upload_as_it_was(registry: RunningEcr) -> None:
    upload_id = begin(registry.client, REPOSITORY)
    part = {"partFirstByte": 0, "partLastByte": 3, "layerPartBlob": "YWJjZA=="}
    body = json.dumps({"repositoryName": REPOSITORY, "uploadId": upload_id, **part}).encode()
    head = {
        "X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.UploadLayerPart",
        "Authorization": "AWS4-HMAC-SHA256 Credential=t/20260101/eu-west-1/ecr/aws4_request",
        "Content-Length": str(len(body)),
    }
    send_cut_request(registry.url, "POST", "/", head, body[:-5])
    assert send_part(registry.client, REPOSITORY, upload_id, 0, b"rest") == 3
    assert complete(registry.client, upload_id, digest_of(b"rest")) == digest_of(b"rest")


def test_uploaded_bytes_come_back(client: ECRClient) -> None:
    """Stock moto throws them away, and GetDownloadUrlForLayer is a 500."""
    manifest = push(client, REPOSITORY, "kept", "latest")
    digest = json.loads(manifest)["layers"][0]["digest"]
    url = client.get_download_url_for_layer(repositoryName=REPOSITORY, layerDigest=digest)["downloadUrl"]
    assert requests.get(url, timeout=10).content == b"layer of kept"


def test_layer_that_no_image_refers_to_is_inaccessible(client: ECRClient) -> None:
    digest = upload(client, REPOSITORY, b"orphan")
    with refused("LayerInaccessibleException"):
        client.get_download_url_for_layer(repositoryName=REPOSITORY, layerDigest=digest)


def test_download_url_of_a_missing_layer_is_refused(client: ECRClient) -> None:
    with refused("LayersNotFoundException"):
        client.get_download_url_for_layer(repositoryName=REPOSITORY, layerDigest=digest_of(b"nothing"))


def test_layer_stays_when_its_upload_is_repeated_in_another_repository(client: ECRClient) -> None:
    client.create_repository(repositoryName="team/other")
    for repository in (REPOSITORY, "team/other"):
        upload(client, repository, b"config")
        upload(client, repository, b"shared")
        put(client, repository, image_manifest(b"config", [b"shared"]), "latest")
    for repository in (REPOSITORY, "team/other"):
        answer = client.get_download_url_for_layer(repositoryName=repository, layerDigest=digest_of(b"shared"))
        assert requests.get(answer["downloadUrl"], timeout=10).content == b"shared"
