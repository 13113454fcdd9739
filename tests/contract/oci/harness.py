"""Registries that are up, and the bytes of blobs."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from typing import NamedTuple

from local.images import LocalImage, make_image
from local.tests.ecr.harness import MIB, RunningEcr
from pullahead.oci import Descriptor, Digest, RawManifest, Reference, Repository, describe, digest_of, media_types
from pullahead.oci.registries import Upload
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential
from pullahead.registry.push import OciTarget
from pullahead.rules.model import UpstreamSettings

HOME, OTHER_HOME = "mirror/app", "mirror/other"
IMAGE, OTHER = make_image([b"layer one"], seed=1), make_image([b"layer two"], seed=2)
PART = b"p" * (5 * MIB)


@dataclasses.dataclass
class Pieces:
    """A blob's bytes, and how often they were asked for."""

    content: bytes
    fails: Exception | None = None
    opened: int = 0

    @property
    def blob(self) -> Descriptor:
        return Descriptor("application/octet-stream", digest_of(self.content), len(self.content))

    @contextlib.contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        self.opened += 1
        yield self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        half = len(self.content) // 2
        yield self.content[:half]
        if self.fails is not None:
            raise self.fails
        yield self.content[half:]


class Registry(NamedTuple):
    """A registry that is up, and who we are to it."""

    host: str
    credential: Credential | None = None
    ecr: RunningEcr | None = None

    def target(self, credential: Credential | None = None, *, asks_presence: bool = True) -> OciTarget:
        found = credential or self.credential
        return OciTarget(self.host, plain_http=True, credentials=lambda _: found, asks_presence=asks_presence)

    def read(self, blob: Descriptor, repository: str = HOME) -> bytes:
        """Read a blob, as part of an image: ECR hands out no others."""
        document = {"schemaVersion": 2, "config": describe_blob(blob), "layers": [describe_blob(blob)]}
        content = json.dumps(document).encode()
        manifest = RawManifest(describe(content, media_types.OCI_MANIFEST), content)
        self.target().put_manifest(repository, manifest, None)
        with self.upstream().open_blob(Repository(self.host, repository), blob) as pieces:
            return b"".join(pieces)

    def upstream(self) -> UpstreamRegistry:
        settings = UpstreamSettings(self.host, plain_http=True)
        return UpstreamRegistry(lambda _: settings, credentials=lambda _: self.credential)

    def serves(self, image: LocalImage, tag: str) -> bool:
        reference = Reference(Repository(self.host, HOME), tag)
        return self.upstream().get_manifest(reference) == image.root


def describe_blob(blob: Descriptor) -> dict[str, object]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


def push(target: OciTarget, image: LocalImage, tag: str | None) -> None:
    for digest in image.blobs:
        pieces = Pieces(image.read_blob(digest))
        target.stream_blob(HOME, pieces.blob, pieces.open)
    for digest, manifest in image.manifests.items():
        target.put_manifest(HOME, manifest, tag if digest == image.digest else None)


def has(registry: Registry, digest: Digest, repository: str = HOME) -> bool:
    return registry.target().present_blobs(repository, [digest]) == {digest}


def begun(registry: Registry, part: bytes) -> tuple[OciTarget, Upload]:
    """Begin an upload and send its first part."""
    target = registry.target()
    upload = target.begin_upload(HOME)
    assert target.upload_part(HOME, upload, 0, part) == len(part)
    return target, upload
