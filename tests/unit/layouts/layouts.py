"""Layouts on disk, written as other tools do, and read by copies."""

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from local.images import LocalImage, pieces_of
from pullahead.clock import Wait
from pullahead.layouts.names import LayoutRepository
from pullahead.layouts.source import REF_NAME, OciLayoutSource, open_layout
from pullahead.layouts.target import OciLayoutTarget
from pullahead.oci import Digest, RawManifest, Reference
from pullahead.oci.registries import CopySource, CopyTarget
from pullahead.standalone.copy_image import CopyOptions, CopySummary, copy_image
from pullahead.standalone.sync import NoProgress


def blob_path(folder: Path, digest: Digest) -> Path:
    """Name the file of a blob."""
    return folder / "blobs" / digest.replace(":", "/")


def write_layout(folder: Path, images: Mapping[str, LocalImage]) -> Path:
    """Write images under names; one named "" has none."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    for image in images.values():
        for digest, manifest in image.manifests.items():
            blob_path(folder, digest).write_bytes(manifest.content)
        for digest, blob in image.blobs.items():
            blob_path(folder, digest).write_bytes(b"".join(pieces_of(blob)))
    write_index(folder, *(entry_of(image.root, name) for name, image in images.items()))
    return folder


def entry_of(root: RawManifest, name: str) -> dict[str, object]:
    """Describe a root as index.json does."""
    found = root.descriptor
    named = {"annotations": {REF_NAME: name}} if name else {}
    return {"mediaType": found.media_type, "digest": found.digest, "size": found.size, **named}


def write_index(folder: Path, *entries: Mapping[str, object]) -> None:
    """Write index.json."""
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))


def write_archive(folder: Path, file: Path, mode: str = "w") -> Path:
    """Put the files of a layout into an archive, as `tar cf FILE .` does."""
    with tarfile.open(file, mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, arcname=".")
    return file


def repository(path: Path, transport: str = "oci") -> LayoutRepository:
    return LayoutRepository(transport, str(path))


def opened(path: Path, transport: str = "oci") -> OciLayoutSource:
    return open_layout(repository(path, transport))


def named(path: Path, name: str | None, digest: Digest | None = None) -> Reference:
    return Reference(repository(path), name, digest)


def lacks(folder: Path, image: LocalImage, name: str) -> list[str]:
    """Name what a layout does not have byte for byte, the name included."""
    manifests = [
        digest for digest, raw in image.manifests.items() if blob_path(folder, digest).read_bytes() != raw.content
    ]
    blobs = [digest for digest in image.blobs if blob_path(folder, digest).read_bytes() != image.read_blob(digest)]
    served = OciLayoutTarget().published_digests(str(folder), [name])
    return [*manifests, *blobs, *([] if served == {name: image.digest} else ["name"])]


def never(_: int) -> None:
    raise AssertionError("nothing breaks here")


def copied(
    source: Reference, target: Reference, upstream: CopySource, destination: CopyTarget, wait: Wait = never
) -> CopySummary:
    """Copy with the clock standing still."""
    return copy_image(
        source,
        target,
        upstream=upstream,
        destination=destination,
        wait_after_break=wait,
        progress=NoProgress(),
        clock=lambda: 0.0,
        cpu_clock=lambda: 0.0,
        options=CopyOptions(),
    )
