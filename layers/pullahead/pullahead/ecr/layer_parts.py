"""UploadLayerPart without boto3's JSON serializer, which spends most of a part's CPU on a search for escapes in base64.

The call is boto3's own, with an empty part: the same signing, retries and errors. Just before it is signed and sent,
its body is replaced by one that encodes the real part while it is read. Base64 has nothing that JSON would escape.
"""

import json
import threading
from typing import TYPE_CHECKING, Any

import pybase64

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient


_EVENT = "before-call.ecr.UploadLayerPart"
_EMPTY = b'"layerPartBlob": ""'
_OPENED = b'"layerPartBlob": "'
_SLICE_BYTES = 192 * 1024  # a multiple of three, so that the slices' base64 can be joined


class PartUploads:
    """Sends parts with one client. Thread-safe: the part of a call is known to its own thread only."""

    def __init__(self, client: "ECRClient") -> None:
        self._client = client
        self._current = threading.local()
        client.meta.events.register(_EVENT, self._splice)

    def send(self, repository: str, upload_id: str, first_byte: int, part: bytes | memoryview) -> int:
        """Send one part and return the offset of the last byte that ECR has. Raises what boto3 raises."""
        self._current.part = part
        try:
            answer = self._client.upload_layer_part(
                repositoryName=repository,
                uploadId=upload_id,
                partFirstByte=first_byte,
                partLastByte=first_byte + len(part) - 1,
                layerPartBlob=b"",
            )
        finally:
            self._current.part = None
        return answer["lastByteReceived"]

    def _splice(self, params: dict[str, Any], **_: object) -> None:
        part = getattr(self._current, "part", None)
        if part is None:  # another call with this client
            return
        params["body"] = with_part(params["body"], part)


class PartBody:
    """A body of a known length that botocore reads twice: once to sign it, once to send it.

    It is encoded each time, a slice at a time: half the CPU of encoding it once into 28 MB of new memory for a part of
    10 MiB. A read returns one slice whatever size was asked for.
    """

    def __init__(self, head: bytes, part: bytes | memoryview, tail: bytes) -> None:
        self._part = memoryview(part)
        self._head, self._tail = head, tail
        self._slices = range(0, len(part), _SLICE_BYTES)
        self._next = 0

    def __len__(self) -> int:
        return len(self._head) + (len(self._part) + 2) // 3 * 4 + len(self._tail)

    def read(self, _size: int = -1) -> bytes:
        """Return the next slice; b"" at the end."""
        number, self._next = self._next, self._next + 1
        if number == 0:
            return self._head
        if number <= len(self._slices):
            first = self._slices[number - 1]
            encoded: bytes = pybase64.b64encode(self._part[first : first + _SLICE_BYTES])
            return encoded
        return self._tail if number == len(self._slices) + 1 else b""

    def tell(self) -> int:
        """Return 0 at the beginning, the only position at which botocore asks."""
        if self._next:
            raise ValueError("the body of a part can only be read from its beginning")
        return 0

    def seek(self, position: int) -> int:
        """Return to the beginning."""
        if position:
            raise ValueError("the body of a part can only be read from its beginning")
        self._next = 0
        return 0


def with_part(body: bytes, part: bytes | memoryview) -> bytes | PartBody:
    """Put a part into the body of a call that was serialized without one."""
    head, found, tail = body.partition(_EMPTY)
    if found:
        return PartBody(head + _OPENED, part, b'"' + tail)
    # The Lambda runtime brings its own botocore, which may write its JSON differently one day: slower, and still right.
    return json.dumps({**json.loads(body), "layerPartBlob": pybase64.b64encode(part).decode()}).encode()
