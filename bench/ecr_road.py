"""`python -m bench.ecr_road ROAD URL ROUNDS PARTS`: the client's CPU for 10 MiB into ECR over TLS, a JSON list of ms.

Counts sending alone: the bytes lie in memory, and neither reading nor hashing them is in it. All else of the bench
starts our program or its handlers; this module alone knows its insides.
"""

import contextlib
import http.client
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.authority import trust_whatever_asks

trust_whatever_asks()

import boto3  # noqa: E402 (what follows looks for certificates)
from botocore.config import Config  # noqa: E402
from mypy_boto3_ecr import ECRClient  # noqa: E402

from local.aws import ACCESS_KEY, REGION, SECRET_KEY  # noqa: E402
from local.images import SparseBlob  # noqa: E402
from pullahead.ecr.streams import EcrStreams  # noqa: E402
from pullahead.ecr.target import EcrTarget  # noqa: E402
from pullahead.oci import Descriptor  # noqa: E402
from pullahead.oci.registries import BlobStreams, Offered  # noqa: E402

_MIB = 1024 * 1024
_PART_BYTES = 10 * _MIB
_REPOSITORY = "bench/road"
_MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


class Content(NamedTuple):
    """A blob, cut beforehand as each road wants it."""

    blob: Descriptor
    pieces: list[bytes]
    parts: list[bytes]


Send = Callable[[Content], None]


def measure_road(send: Send, rounds: int, parts: int, first_seed: int) -> list[float]:
    """Send a blob of its own, of so many times 10 MiB, in each round, after one that warms up.

    Returns CPU milliseconds for 10 MiB.
    """
    return [_cpu_ms(send, parts, seed) for seed in range(first_seed, first_seed + rounds + 1)][1:]


def _cpu_ms(send: Send, parts: int, seed: int) -> float:
    content = _content(parts, seed)  # read, cut and hashed now, not while the clock runs
    began = time.process_time()
    send(content)
    return (time.process_time() - began) * 1000 / parts


def by_parts(client: ECRClient) -> Send:
    """Send by the layer-part API, as a unit does."""
    target = EcrTarget(client)

    def send(content: Content) -> None:
        upload = target.begin_upload(_REPOSITORY)
        for number, part in enumerate(content.parts):
            target.upload_part(_REPOSITORY, upload, number * _PART_BYTES, part)
        target.complete_upload(_REPOSITORY, upload, content.blob)

    return send


def by_boto3(client: ECRClient) -> Send:
    """Send by the layer-part API, as everybody would: the peer."""

    def send(content: Content) -> None:
        upload = client.initiate_layer_upload(repositoryName=_REPOSITORY)["uploadId"]
        for number, part in enumerate(content.parts):
            client.upload_layer_part(
                repositoryName=_REPOSITORY,
                uploadId=upload,
                partFirstByte=number * _PART_BYTES,
                partLastByte=(number + 1) * _PART_BYTES - 1,
                layerPartBlob=part,
            )
        client.complete_layer_upload(repositoryName=_REPOSITORY, uploadId=upload, layerDigests=[content.blob.digest])

    return send


def streamed(client: ECRClient) -> Send:
    """Send in one stream through the registry's own API."""
    target = _streaming_target(client)

    def send(content: Content) -> None:
        @contextlib.contextmanager
        def open_pieces() -> Iterator[Iterator[bytes]]:
            yield iter(content.pieces)

        offered = target.stream_blob(_REPOSITORY, content.blob, open_pieces)
        if offered is not Offered.COPIED:
            raise RuntimeError(f"the blob was not sent: {offered}")

    return send


def bare(client: ECRClient) -> Send:
    """Send in one stream by http.client, and prove nothing: the least that TLS takes of this machine."""
    host = urlsplit(client.meta.endpoint_url).netloc
    connection = http.client.HTTPSConnection(host, blocksize=_MIB, timeout=60)

    def send(content: Content) -> None:
        connection.request("POST", f"/v2/{_REPOSITORY}/blobs/uploads/")
        begun = connection.getresponse()
        begun.read()
        upload = urlsplit(begun.headers["Location"])
        separator = "&" if upload.query else "?"
        path = f"{upload.path}?{upload.query}".rstrip("?")
        length = {"Content-Length": str(content.blob.size)}
        connection.request("PUT", f"{path}{separator}digest={content.blob.digest}", iter(content.pieces), length)
        put = connection.getresponse()
        put.read()
        if put.status != 201:
            raise RuntimeError(f"the blob was not sent: HTTP {put.status}")

    return send


ROADS: Mapping[str, Callable[[ECRClient], Send]] = {
    "streamed": streamed,
    "parts": by_parts,
    "boto3": by_boto3,
    "bare": bare,
}


def _streaming_target(client: ECRClient) -> BlobStreams:
    return EcrStreams(client, lambda: datetime.now(UTC))


def _content(parts: int, seed: int) -> Content:
    blob = SparseBlob(parts * _PART_BYTES, seed)
    read = [blob.read(number * _PART_BYTES, _PART_BYTES) for number in range(parts)]
    return Content(Descriptor(_MEDIA_TYPE, blob.digest, blob.size), list(blob.pieces()), read)


def _client(url: str) -> ECRClient:
    return boto3.client(
        "ecr",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(connect_timeout=5, read_timeout=60),
    )


def main(road: str, url: str, rounds: int, parts: int) -> None:
    """Print the list."""
    client = _client(url)
    EcrTarget(client).ensure_repository(_REPOSITORY)
    print(json.dumps(measure_road(ROADS[road](client), rounds, parts, first_seed=1000 * list(ROADS).index(road))))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
