"""The place where moto's server hands requests over: what is not ours, what is not ECR's, what moto keeps."""

import json
from pathlib import Path
from typing import Any

import boto3
import moto.ecr.urls
import pytest
import requests
from botocore.session import get_session
from mypy_boto3_ecr import ECRClient

from local.ecr.responses import MOTO_VERSION, MotoMismatchError, answer, check_moto
from local.ecr.store import BlobStore
from local.tests.ecr.harness import RunningEcr, push, refused

REPOSITORY = "team/app"
TARGET = "AmazonEC2ContainerRegistry_V20150921."


def post(registry: RunningEcr, target: str, body: bytes, region: str = "eu-west-1") -> tuple[int, str]:
    """Send a raw request of the API and give its status and error code."""
    credential = f"AWS4-HMAC-SHA256 Credential=t/20260101/{region}/ecr/aws4_request, Signature=0"
    headers = {"X-Amz-Target": target, "Authorization": credential}
    response = requests.post(registry.url, data=body, headers=headers, timeout=10)
    return response.status_code, response.json()["__type"]


def test_unsupported_operation_is_refused_by_name(client: ECRClient) -> None:
    with refused("UnknownOperationException", "GetLifecyclePolicyPreview"):
        client.get_lifecycle_policy_preview(repositoryName=REPOSITORY)


def test_no_operation_of_ecr_is_a_server_error(registry: RunningEcr) -> None:
    operations = get_session().get_service_model("ecr").operation_names
    assert len(operations) > 50
    statuses = {name: answer(registry.ecr, {"x-amz-target": TARGET + name}, b"{}")[0] for name in operations}
    assert set(statuses.values()) == {200, 400}, statuses


@pytest.mark.parametrize(
    ("target", "body", "code"),
    [
        (TARGET + "NoSuchThing", b"{}", "UnknownOperationException"),
        ("Another_API.PutImage", b"{}", "UnknownOperationException"),
        (TARGET + "ListImages", b"not json", "SerializationException"),
        (TARGET + "ListImages", b"[]", "SerializationException"),
        (TARGET + "ListImages", b"{}", "InvalidParameterException"),
        (TARGET + "ListImages", b'{"repositoryName": 7}', "SerializationException"),
        (TARGET + "ListImages", b'{"repositoryName": "team/app", "maxResults": "9"}', "SerializationException"),
        (TARGET + "ListImages", b'{"repositoryName": "team/app", "maxResults": true}', "SerializationException"),
        (TARGET + "DeleteRepository", b'{"repositoryName": "team/app", "force": 1}', "SerializationException"),
        (TARGET + "DescribeRepositories", b'{"repositoryNames": "team/app"}', "SerializationException"),
    ],
)
def test_malformed_request_is_refused_clearly(registry: RunningEcr, target: str, body: bytes, code: str) -> None:
    assert post(registry, target, body) == (400, code)


def test_part_that_is_not_base64_is_refused(registry: RunningEcr) -> None:
    upload_id = registry.client.initiate_layer_upload(repositoryName=REPOSITORY)["uploadId"]
    part: dict[str, Any] = {"partFirstByte": 0, "partLastByte": 2, "layerPartBlob": "YWJj*"}
    body = json.dumps({"repositoryName": REPOSITORY, "uploadId": upload_id, **part}).encode()
    assert post(registry, TARGET + "UploadLayerPart", body) == (400, "SerializationException")


def test_registry_of_another_region_is_not_found(registry: RunningEcr) -> None:
    """Silently sharing one registry would hide a client that asks the wrong region."""
    assert post(registry, TARGET + "ListImages", b"{}", "us-east-1") == (400, "UnrecognizedClientException")


def test_other_services_are_moto_s(registry: RunningEcr) -> None:
    keys: Any = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    sqs = boto3.client("sqs", region_name="eu-west-1", endpoint_url=registry.url, **keys)
    assert sqs.create_queue(QueueName="checks")["QueueUrl"].endswith("/checks")


def test_reset_of_moto_leaves_the_registry_whole(registry: RunningEcr) -> None:
    push(registry.client, REPOSITORY, "one", "latest")
    assert requests.post(f"{registry.url}/moto-api/reset", timeout=10).status_code == 200
    (image,) = registry.client.list_images(repositoryName=REPOSITORY)["imageIds"]
    assert image["imageTag"] == "latest"


def test_another_moto_is_refused_at_the_start() -> None:
    check_moto(MOTO_VERSION, moto.ecr.urls.url_paths)
    with pytest.raises(MotoMismatchError, match=r"moto 5\.2\.5, which is pinned; this is 5\.3\.0"):
        check_moto("5.3.0", moto.ecr.urls.url_paths)
    with pytest.raises(MotoMismatchError, match="url_paths"):
        check_moto(MOTO_VERSION, {"{0}/$": None, "{0}/v2$": None})


def test_what_an_earlier_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("kept")
    upload_id, path = BlobStore(tmp_path).begin_upload()
    assert path.exists()
    again = BlobStore(tmp_path)
    assert not path.exists()
    assert (tmp_path / "clock").read_text() == "kept"
    assert again.begin_upload()[0] != upload_id
