"""A plain OCI client, like docker or skopeo: independent of Pullahead, and verifies every digest.

Source: OCI distribution specification 1.1, "Pull" and "Push".
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urljoin

import requests

from local.images import LocalImage
from pullahead.oci import Descriptor, Digest, digest_of, media_types, parse_manifest

_PIECE_BYTES = 1024 * 1024
_TIMEOUT_SECONDS = 120


class WrongBytesError(Exception):
    """The registry sent something else than it promised."""


class Pulled(NamedTuple):
    """What a pull brought, every byte of it hashed."""

    digest: Digest
    manifests: int
    blobs: int
    bytes: int


class PlainClient:
    """Pulls from and pushes to one registry with a Basic token, as GetAuthorizationToken gives it.

    `proxy` is the URL of an HTTP proxy for all requests.
    """

    def __init__(self, url: str, token: str, proxy: str | None = None) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.proxies = {} if proxy is None else {"http": proxy}
        self._session.headers["Authorization"] = f"Basic {token}"

    def pull(self, repository: str, tag: str) -> Pulled:
        """Pull a tag with everything below it."""
        root, content = self._manifest(repository, tag)
        seen: dict[Digest, int] = {}
        manifests = 0
        waiting = [(root, content)]
        while waiting:
            media_type, content = waiting.pop()
            manifests += 1
            parsed = parse_manifest(content, media_type)
            waiting += [self._child(repository, child) for child in parsed.children]
            for blob in parsed.blobs:
                seen[blob.digest] = blob.size
                self._check_blob(repository, blob)
        return Pulled(digest_of(self._manifest(repository, tag)[1]), manifests, len(seen), sum(seen.values()))

    def push(self, image: LocalImage, repository: str, tag: str) -> None:
        """Push an image under a tag."""
        for digest in image.blobs:
            answer = self._ask("POST", f"{self._url}/v2/{repository}/blobs/uploads/")
            location = urljoin(self._url, answer.headers["Location"])
            joint = "&" if "?" in location else "?"
            self._ask("PUT", f"{location}{joint}digest={digest}", data=image.read_blob(digest))
        for digest, manifest in image.manifests.items():
            name = tag if digest == image.digest else digest
            headers = {"Content-Type": manifest.descriptor.media_type}
            self._ask("PUT", f"{self._url}/v2/{repository}/manifests/{name}", data=manifest.content, headers=headers)

    def _child(self, repository: str, child: Descriptor) -> tuple[str, bytes]:
        media_type, content = self._manifest(repository, child.digest)
        if digest_of(content) != child.digest:
            raise WrongBytesError(f"manifest {child.digest} has the digest {digest_of(content)}")
        return media_type, content

    def _manifest(self, repository: str, name: str) -> tuple[str, bytes]:
        answer = self._ask(
            "GET", f"{self._url}/v2/{repository}/manifests/{name}", headers={"Accept": media_types.ACCEPT}
        )
        return answer.headers["Content-Type"].partition(";")[0], answer.content

    def _check_blob(self, repository: str, blob: Descriptor) -> None:
        proof = hashlib.sha256()
        for piece in self._pieces(f"{self._url}/v2/{repository}/blobs/{blob.digest}"):
            proof.update(piece)
        if f"sha256:{proof.hexdigest()}" != blob.digest:
            raise WrongBytesError(f"blob {blob.digest} has the digest sha256:{proof.hexdigest()}")

    def _pieces(self, url: str) -> Iterator[bytes]:
        # requests drops Authorization when a redirect leads to another host, as the presigned URL wants it.
        with self._session.get(url, stream=True, timeout=_TIMEOUT_SECONDS) as answer:
            answer.raise_for_status()
            yield from answer.iter_content(_PIECE_BYTES)

    def _ask(
        self, method: str, url: str, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        answer = self._session.request(method, url, data=data, headers=headers, timeout=_TIMEOUT_SECONDS)
        answer.raise_for_status()
        return answer
