"""A target to be put to the test, the fake one or ECR, with hands on what lies behind it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from local.images import LocalImage
from local.tests.ecr.harness import MIB, RunningEcr
from pullahead.ecr.quotas import EcrPace
from pullahead.ecr.target import EcrTarget
from pullahead.errors import RegistryUnavailableError, Side
from pullahead.layouts.target import OciLayoutTarget
from pullahead.oci import Digest
from pullahead.oci.registries import Target, Upload
from tests.fakes.copies import describe_blob
from tests.fakes.samples import REPOSITORY, failed
from tests.fakes.target import FakeTarget
from tests.unit.registry.harness import FakeTime

_API = {"upload_part": "UploadLayerPart", "complete_upload": "CompleteLayerUpload", "put_manifest": "PutImage"}


class Bench(NamedTuple):
    """A target with a repository, by default `mirror/app`, and hands on what lies behind it."""

    target: Target
    part: int  # the fewest bytes of a part that is not the last
    forget_uploads: Callable[[], object]
    make_immutable: Callable[[], object]
    lose_answer: Callable[[str], object]
    repository: str = REPOSITORY

    def send(self, *parts: bytes) -> Upload:
        upload, sent = self.target.begin_upload(self.repository), 0
        for part in parts:
            assert self.target.upload_part(self.repository, upload, sent, part) == sent + len(part)
            sent += len(part)
        return upload

    def upload(self, *parts: bytes) -> Digest:
        blob = describe_blob(b"".join(parts))
        self.target.complete_upload(self.repository, self.send(*parts), blob)
        return blob.digest

    def push(self, image: LocalImage, tag: str | None = None) -> None:
        present = self.target.present_blobs(self.repository, list(image.blobs))
        for digest in image.blobs.keys() - present:
            self.upload(image.read_blob(digest))
        for digest, manifest in image.manifests.items():
            self.target.put_manifest(self.repository, manifest, tag if digest == image.digest else None)

    def served(self, *tags: str) -> dict[str, Digest]:
        return dict(self.target.published_digests(self.repository, tags or ("1.0",)))


def without_waits() -> EcrPace:
    """Keep ECR's quotas in a time of its own, which costs none."""
    time = FakeTime()
    return EcrPace(time, time.sleep)


def fake_bench() -> Bench:
    target = FakeTarget()
    return Bench(
        target,
        target.part_size,
        target.forget_uploads,
        lambda: target.make_immutable(REPOSITORY),
        lambda operation: target.script.fail(operation, failed(RegistryUnavailableError, side=Side.TARGET), after=True),
    )


def layout_bench(root: Path) -> Bench:
    """Make a target of layouts in a folder; what only registries have is not asked of it."""

    def forget_uploads() -> None:
        for path in root.rglob(".pullahead-*"):
            path.unlink()

    return Bench(OciLayoutTarget(root), 10, forget_uploads, _is_of_registries, _is_of_registries)


def _is_of_registries(*_: object) -> None:
    raise NotImplementedError


def ecr_bench(running: RunningEcr) -> Bench:
    running.restart()
    return Bench(
        EcrTarget(running.client, without_waits()),
        5 * MIB,
        running.ecr.forget_uploads,
        lambda: running.client.put_image_tag_mutability(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE"),
        lambda operation: running.ecr.faults.add(_API[operation], "ServerException", after=True),
    )
