"""Uploads side by side, and memory that does not grow with a layer."""

import hashlib
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import requests
from botocore.exceptions import ClientError

from local.tests.ecr.harness import (
    MIB,
    RunningEcr,
    begin,
    digest_of,
    image_manifest,
    put,
    send_part,
    upload,
)

REPOSITORY = "team/app"
TIMEOUT = 30
MEMORY_MIB = 16  # werkzeug alone takes 10 MB, to drain connections; the blob has 48
PIECE = bytes(range(256)) * 1024  # 256 KiB


def large_body(size_mib: int) -> Iterator[bytes]:
    return (PIECE for _ in range(size_mib * 4))


def push_large(registry: RunningEcr, size_mib: int) -> str:
    """Stream a blob in by /v2, chunked."""
    digest = f"sha256:{hashlib.sha256(PIECE * size_mib * 4).hexdigest()}"
    headers = registry.authorization()
    location = requests.post(
        f"{registry.url}/v2/{REPOSITORY}/blobs/uploads/", headers=headers, timeout=TIMEOUT
    ).headers["Location"]
    tracemalloc.start()
    response = requests.put(
        location, params={"digest": digest}, data=large_body(size_mib), headers=headers, timeout=TIMEOUT
    )
    assert response.status_code == 201
    return digest


def peak_mib() -> float:
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / MIB


def test_two_layers_interleaved_do_not_mix(registry: RunningEcr) -> None:
    def send(letter: bytes) -> str:
        return upload(registry.client, REPOSITORY, letter * (11 * MIB), part_bytes=5 * MIB)

    with ThreadPoolExecutor(2) as threads:
        digests = list(threads.map(send, (b"a", b"b")))
    assert digests == [digest_of(b"a" * (11 * MIB)), digest_of(b"b" * (11 * MIB))]


def test_same_part_sent_twice_at_once_is_taken_once(registry: RunningEcr) -> None:
    upload_id = begin(registry.client, REPOSITORY)

    def send(_number: int) -> str:
        try:
            send_part(registry.client, REPOSITORY, upload_id, 0, bytes(MIB))
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "taken"

    with ThreadPoolExecutor(4) as threads:
        outcomes = sorted(threads.map(send, range(4)))
    assert outcomes == [*["InvalidLayerPartException"] * 3, "taken"]


def test_same_layer_completed_twice_at_once_is_there_once(registry: RunningEcr) -> None:
    def send(_number: int) -> str:
        try:
            return upload(registry.client, REPOSITORY, b"raced")
        except ClientError as error:
            return error.response["Error"]["Code"]

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(send, range(4)))
    assert outcomes.count(digest_of(b"raced")) == 1
    assert outcomes.count("LayerAlreadyExistsException") == 3


def test_same_image_put_twice_at_once_sends_one_event(registry: RunningEcr) -> None:
    upload(registry.client, REPOSITORY, b"config")
    upload(registry.client, REPOSITORY, b"layer")

    def send(_number: int) -> str:
        try:
            return put(registry.client, REPOSITORY, image_manifest(b"config", [b"layer"]), "latest")
        except ClientError as error:
            return error.response["Error"]["Code"]

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(send, range(4)))
    assert outcomes.count("ImageAlreadyExistsException") == 3
    assert len(registry.events) == 1


def test_large_blob_is_never_in_memory_on_its_way_in(registry: RunningEcr) -> None:
    push_large(registry, 48)
    assert peak_mib() < MEMORY_MIB


def test_large_blob_is_never_in_memory_on_its_way_out(registry: RunningEcr) -> None:
    digest = push_large(registry, 48)
    upload(registry.client, REPOSITORY, b"config")
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": 48 * MIB}
    put(registry.client, REPOSITORY, image_manifest(b"config", [], layers=[layer]), "latest")
    answer = registry.client.get_download_url_for_layer(repositoryName=REPOSITORY, layerDigest=digest)
    tracemalloc.reset_peak()
    hasher = hashlib.sha256()
    with requests.get(answer["downloadUrl"], stream=True, timeout=TIMEOUT) as response:
        for piece in response.iter_content(MIB):
            hasher.update(piece)
    assert f"sha256:{hasher.hexdigest()}" == digest
    assert peak_mib() < MEMORY_MIB


def test_parts_are_let_go_once_they_are_written(registry: RunningEcr) -> None:
    part = bytes(10 * MIB)
    upload_id = begin(registry.client, REPOSITORY)
    tracemalloc.start()
    for number in range(4):
        send_part(registry.client, REPOSITORY, upload_id, number * len(part), part)
    held = tracemalloc.get_traced_memory()[0] / MIB
    tracemalloc.stop()
    assert held < 10
