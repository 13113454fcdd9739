"""UploadLayerPart without boto3's JSON serialiser, which spends most of a part's CPU on looking for escapes in base64.

The call is boto3's own, with an empty part: same signing, same retries, same errors. Just before it is signed and sent,
the real part is put into the body. Base64 holds nothing that JSON would escape.
"""

import json
import threading
from typing import TYPE_CHECKING, Any

import pybase64

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

_EVENT = "before-call.ecr.UploadLayerPart"
_EMPTY = b'"layerPartBlob": ""'


class PartUploads:
    """Sends parts with one client, from several threads: each call's part is known to its own thread only."""

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
        if part is None:  # somebody else's call with this client
            return
        params["body"] = with_part(params["body"], part)


def with_part(body: bytes, part: bytes | memoryview) -> bytes:
    """Put a part into the body of a call that was serialised without one."""
    encoded = pybase64.b64encode(part)
    head, found, tail = body.partition(_EMPTY)
    if found:
        return b"".join((head, b'"layerPartBlob": "', encoded, b'"', tail))
    # The Lambda runtime brings its own botocore, which may come to write JSON in another way: slower, and as right.
    return json.dumps({**json.loads(body), "layerPartBlob": encoded.decode()}).encode()
