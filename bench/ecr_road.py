"""`python -m bench.ecr_road ROAD URL ROUNDS`: the client's CPU for 10 MiB into the local ECR, as a JSON list of ms.

Counts sending alone: the bytes lie in memory, and neither reading nor hashing them is in it.
"""

import base64
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from mypy_boto3_ecr import ECRClient

from local.aws import ACCESS_KEY, REGION, SECRET_KEY
from local.images import SparseBlob
from pullahead.oci import Descriptor
from pullahead.ports import Offered, StreamsBlobs
from pullahead.registry.credentials import Credential
from pullahead.targets.ecr import EcrTarget
from pullahead.targets.oci import OciTarget

_MIB = 1024 * 1024
_PART_BYTES = 10 * _MIB
_PARTS = 8
_REPOSITORY = "bench/road"
_MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

Send = Callable[[SparseBlob, list[bytes]], None]


def measure_road(send: Send, rounds: int, first_seed: int) -> list[float]:
    """Send a blob of its own in each round, after one that warms up; returns CPU milliseconds for 10 MiB."""
    return [_cpu_ms(send, seed) for seed in range(first_seed, first_seed + rounds + 1)][1:]


def _cpu_ms(send: Send, seed: int) -> float:
    blob = SparseBlob(_PARTS * _PART_BYTES, seed)
    pieces = list(blob.pieces())
    _ = blob.digest  # hashed now, not while the clock runs
    began = time.process_time()
    send(blob, pieces)
    return (time.process_time() - began) * 1000 / _PARTS


def by_parts(client: ECRClient) -> Send:
    """Send by the layer-part API."""
    target = EcrTarget(client)

    def send(blob: SparseBlob, pieces: list[bytes]) -> None:
        per_part = _PART_BYTES // _MIB
        parts = [b"".join(pieces[start : start + per_part]) for start in range(0, len(pieces), per_part)]
        upload = target.begin_upload(_REPOSITORY)
        for number, part in enumerate(parts):
            target.upload_part(_REPOSITORY, upload, number * _PART_BYTES, part)
        target.complete_upload(_REPOSITORY, upload, _describe(blob))

    return send


def streamed(client: ECRClient) -> Send:
    """Send in one stream through the registry's own API, with a token of its own."""
    (token,) = client.get_authorization_token()["authorizationData"]
    username, _, secret = base64.b64decode(token["authorizationToken"]).decode().partition(":")
    credential = Credential(username, secret)
    host = urlsplit(client.meta.endpoint_url).netloc
    target: StreamsBlobs = OciTarget(host, plain_http=True, credentials=lambda _: credential)

    def send(blob: SparseBlob, pieces: list[bytes]) -> None:
        @contextlib.contextmanager
        def open_pieces() -> Iterator[Iterator[bytes]]:
            yield iter(pieces)

        offered = target.stream_blob(_REPOSITORY, _describe(blob), open_pieces)
        if offered is not Offered.COPIED:
            raise RuntimeError(f"the blob was not sent: {offered}")

    return send


ROADS: Mapping[str, Callable[[ECRClient], Send]] = {"streamed": streamed, "parts": by_parts}


def _describe(blob: SparseBlob) -> Descriptor:
    return Descriptor(_MEDIA_TYPE, blob.digest, blob.size)


def _client(url: str) -> ECRClient:
    return boto3.client(
        "ecr",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(connect_timeout=5, read_timeout=60),
    )


def main(road: str, url: str, rounds: int) -> None:
    """Print the list."""
    client = _client(url)
    EcrTarget(client).ensure_repository(_REPOSITORY)
    print(json.dumps(measure_road(ROADS[road](client), rounds, first_seed=1000 * list(ROADS).index(road))))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
