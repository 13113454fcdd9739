"""Parts spliced into boto3's own call: the same bytes on the wire as boto3 would send, whoever else uses the client."""

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HTTPHeaders

from pullahead.targets.ecr_parts import PartUploads, with_part

PART = bytes(range(256)) * 5


class Wire:
    """A client whose requests end here, with what was sent."""

    def __init__(self) -> None:
        self.client = boto3.client(
            "ecr", region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test"
        )
        self.bodies: list[dict[str, Any]] = []
        self.requests: list[AWSPreparedRequest] = []
        self.client.meta.events.register("before-send.ecr", self._answer)  # type: ignore[arg-type]  # it may answer

    def _answer(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        body = request.body
        assert isinstance(body, bytes)
        self.requests.append(request)
        self.bodies.append(json.loads(body))
        return _Answer(json.dumps({"lastByteReceived": self.bodies[-1]["partLastByte"]}).encode())


class _Answer(AWSResponse):
    def __init__(self, content: bytes) -> None:
        super().__init__("https://test", 200, HTTPHeaders(), None)
        self._content = content


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.client.close()


def test_part_is_sent_as_boto3_itself_would_send_it(wire: Wire) -> None:
    assert PartUploads(wire.client).send("mirror/app", "upload-1", 100, PART) == 100 + len(PART) - 1
    wire.client.upload_layer_part(
        repositoryName="mirror/app",
        uploadId="upload-1",
        partFirstByte=100,
        partLastByte=100 + len(PART) - 1,
        layerPartBlob=PART,
    )
    ours, theirs = wire.bodies
    assert ours == theirs
    first, second = (request.headers["Content-Length"] for request in wire.requests)
    assert first == second


def test_other_calls_of_the_same_client_are_left_alone(wire: Wire) -> None:
    parts = PartUploads(wire.client)
    parts.send("mirror/app", "upload-1", 0, PART)
    wire.client.upload_layer_part(
        repositoryName="mirror/app", uploadId="u", partFirstByte=0, partLastByte=2, layerPartBlob=b"abc"
    )
    assert base64.b64decode(wire.bodies[1]["layerPartBlob"]) == b"abc"


def test_two_threads_do_not_mix_their_parts(wire: Wire) -> None:
    parts = PartUploads(wire.client)
    both = threading.Barrier(2)

    def send(number: int) -> None:
        both.wait()
        for _ in range(20):
            parts.send("mirror/app", f"upload-{number}", 0, bytes([number]) * 1000)

    threads = [threading.Thread(target=send, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wire.bodies) == 40
    for body in wire.bodies:
        assert base64.b64decode(body["layerPartBlob"]) == bytes([int(body["uploadId"][-1])]) * 1000


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
def test_botocore_that_writes_json_in_another_way_is_served_too(separators: tuple[str, str]) -> None:
    body = json.dumps({"uploadId": "u", "layerPartBlob": "", "partFirstByte": 0}, separators=separators).encode()
    assert json.loads(with_part(body, PART)) == {
        "uploadId": "u",
        "layerPartBlob": base64.b64encode(PART).decode(),
        "partFirstByte": 0,
    }
