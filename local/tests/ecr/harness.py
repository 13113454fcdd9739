"""A strict local ECR in a real server, and what tests push into it."""

import base64
import hashlib
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from mypy_boto3_ecr import ECRClient
from werkzeug.serving import make_server

from local.ecr import StrictEcr, install
from local.ecr.v2 import V2Application
from local.serving import ServerThread

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
MIB = 1024 * 1024


class Clock:
    """A clock that is stopped until it is advanced."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 5, 10, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def advance(self, **duration: float) -> None:
        self.time += timedelta(**duration)


class RunningEcr(NamedTuple):
    """A server with the strict ECR in it, and a client for it. Nothing is retried, so that calls can be counted."""

    ecr: StrictEcr
    url: str
    client: ECRClient
    events: list[dict[str, Any]]
    clock: Clock

    def restart(self) -> None:
        """Give the next test an empty registry."""
        self.ecr.reset()
        self.events.clear()
        self.clock.time = Clock().time

    def authorization(self) -> dict[str, str]:
        token = self.client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        return {"Authorization": f"Basic {token}"}


@contextmanager
def running_ecr(data_dir: Path) -> Iterator[RunningEcr]:
    events: list[dict[str, Any]] = []
    clock, urls = Clock(), list[str]()
    ecr = install(data_dir, lambda: urls[0], clock.now, events.append)
    app = V2Application(DomainDispatcherApplication(create_backend_app), ecr)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    urls.append(f"http://127.0.0.1:{server.server_port}")
    thread = ServerThread(server)
    thread.start()
    running = RunningEcr(ecr, urls[0], ecr_client(urls[0]), events, clock)
    running.client.describe_repositories()  # moto makes its ECR app at the first request: bind it to this registry
    running.restart()
    yield running
    thread.stop()
    server.server_close()


def ecr_client(url: str, **config: Any) -> ECRClient:
    return boto3.client(
        "ecr",
        region_name="eu-west-1",
        endpoint_url=url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, **config),
    )


@contextmanager
def refused(code: str, about: str = "") -> Iterator[pytest.ExceptionInfo[ClientError]]:
    """Expect an exception of the ECR API by its name."""
    with pytest.raises(ClientError) as caught:
        yield caught
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    assert about in error["Message"]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def upload(client: ECRClient, repository: str, data: bytes, part_bytes: int = 10 * MIB) -> str:
    """Upload a layer by the layer-part API."""
    upload_id = begin(client, repository)
    for start in range(0, len(data), part_bytes):
        send_part(client, repository, upload_id, start, data[start : start + part_bytes])
    client.complete_layer_upload(repositoryName=repository, uploadId=upload_id, layerDigests=[digest_of(data)])
    return digest_of(data)


def begin(client: ECRClient, repository: str) -> str:
    return client.initiate_layer_upload(repositoryName=repository)["uploadId"]


def send_part(client: ECRClient, repository: str, upload_id: str, start: int, data: bytes) -> int:
    answer = client.upload_layer_part(
        repositoryName=repository,
        uploadId=upload_id,
        partFirstByte=start,
        partLastByte=start + len(data) - 1,
        layerPartBlob=data,
    )
    return answer["lastByteReceived"]


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def image_manifest(config: bytes, layers: Sequence[bytes], /, **more: Any) -> str:
    """Write a manifest with spaces and an order of our own, so that serialising it anew would change its digest."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "layers": [descriptor(layer, OCI_LAYER) for layer in layers],
        "config": descriptor(config, OCI_CONFIG),
        **more,
    }
    return json.dumps(document, indent=1) + "\n"


def index_manifest(children: Sequence[str]) -> str:
    manifests = [descriptor(child.encode(), OCI_MANIFEST) for child in children]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}, indent=3)


def push(client: ECRClient, repository: str, seed: str, tag: str | None = None) -> str:
    """Push a small image that is the seed's own, and give its manifest."""
    config, layer = f"config of {seed}".encode(), f"layer of {seed}".encode()
    known = {config, layer}
    answer = client.batch_check_layer_availability(
        repositoryName=repository, layerDigests=[digest_of(data) for data in known]
    )
    missing = {layer["layerDigest"] for layer in answer["layers"] if layer["layerAvailability"] == "UNAVAILABLE"}
    for data in known:
        if digest_of(data) in missing:
            upload(client, repository, data)
    manifest = image_manifest(config, [layer])
    put(client, repository, manifest, tag)
    return manifest


def put(client: ECRClient, repository: str, manifest: str, tag: str | None = None) -> str:
    tagged: Any = {} if tag is None else {"imageTag": tag}
    image = client.put_image(repositoryName=repository, imageManifest=manifest, **tagged)["image"]
    return image["imageId"]["imageDigest"]


def oci_error(response: requests.Response) -> tuple[int, str]:
    """Give the HTTP status and the OCI code of an error."""
    code: str = response.json()["errors"][0]["code"]
    return response.status_code, code


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def send_cut_request(url: str, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """Send a request whose body ends too early, as of a killed client, and wait until the server is done with it."""
    address = urlsplit(url)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {address.netloc}", *(f"{k}: {v}" for k, v in headers.items())]
    answer = b""
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(4096):
            answer += piece
    return answer
