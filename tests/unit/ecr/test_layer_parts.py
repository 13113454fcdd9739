"""Parts spliced into boto3's own call: the same bytes on the wire as boto3 would send, also for concurrent calls."""

import base64
import json
import random
import threading
from collections.abc import Iterator
from typing import Any, cast

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HTTPHeaders
from botocore.exceptions import ConnectionClosedError

from pullahead.ecr.layer_parts import PartBody, PartUploads, with_part

PART = bytes(range(256)) * 5
LONG_PART = random.Random(7).randbytes(192 * 1024 * 3 + 1)  # noqa: S311 - three slices and a byte


def sent(body: object) -> bytes:
    """What goes over the wire: all that is there to read."""
    return body if isinstance(body, bytes) else b"".join(iter(cast("PartBody", body).read, b""))


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
        self.requests.append(request)
        self.bodies.append(json.loads(sent(request.body)))
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


@pytest.mark.parametrize("part", [PART, LONG_PART, LONG_PART[:-1], b"", b"a"])
def test_part_is_sent_as_boto3_itself_would_send_it(wire: Wire, part: bytes) -> None:
    assert PartUploads(wire.client).send("mirror/app", "upload-1", 100, part) == 100 + len(part) - 1
    wire.client.upload_layer_part(
        repositoryName="mirror/app",
        uploadId="upload-1",
        partFirstByte=100,
        partLastByte=100 + len(part) - 1,
        layerPartBlob=part,
    )
    ours, theirs = wire.bodies
    assert ours == theirs
    first, second = (request.headers["Content-Length"] for request in wire.requests)
    assert first == second


def test_other_calls_of_the_same_client_are_not_changed(wire: Wire) -> None:
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
def test_part_is_sent_whatever_json_botocore_writes(separators: tuple[str, str]) -> None:
    body = json.dumps({"uploadId": "u", "layerPartBlob": "", "partFirstByte": 0}, separators=separators).encode()
    assert json.loads(sent(with_part(body, PART))) == {
        "uploadId": "u",
        "layerPartBlob": base64.b64encode(PART).decode(),
        "partFirstByte": 0,
    }


def test_body_that_is_read_again_is_the_same_and_has_its_length() -> None:
    body = PartBody(b'{"layerPartBlob": "', LONG_PART, b'"}')
    first = sent(body)
    assert body.seek(0) == body.tell() == 0
    assert sent(body) == first
    assert len(body) == len(first)
    assert base64.b64decode(json.loads(first)["layerPartBlob"]) == LONG_PART


def test_body_is_only_read_from_its_beginning() -> None:
    body = PartBody(b"{", LONG_PART, b"}")
    body.read()
    with pytest.raises(ValueError, match="from its beginning"):
        body.tell()
    with pytest.raises(ValueError, match="from its beginning"):
        body.seek(1)


def test_part_whose_connection_breaks_is_sent_again(wire: Wire) -> None:
    breaks = iter([ConnectionClosedError(endpoint_url="https://test"), None])

    def answer(request: AWSPreparedRequest, **_: object) -> None:
        cast("PartBody", request.body).read()
        if (error := next(breaks)) is not None:
            raise error
        request.reset_stream()

    wire.client.meta.events.register_first("before-send.ecr", answer)
    PartUploads(wire.client).send("mirror/app", "upload-1", 0, LONG_PART)
    (body,) = wire.bodies
    assert base64.b64decode(body["layerPartBlob"]) == LONG_PART
