"""One unit of a copy between fakes that share a script."""

from collections.abc import Callable, Sequence

import msgspec

from pullahead.messages import UnitRequest
from pullahead.oci import Descriptor, digest_of
from pullahead.refresh.copy_unit import CopyUnit
from pullahead.refresh.plan import unit_key
from pullahead.refresh.progress import UnitProgress
from tests.fakes.memory import FakePlanStore
from tests.fakes.samples import REPOSITORY
from tests.fakes.script import Script
from tests.fakes.target import FakeTarget
from tests.fakes.upstream import FakeUpstream

LAYER = "application/vnd.oci.image.layer.v1.tar"


def describe_blob(content: bytes) -> Descriptor:
    """Make a layer's descriptor."""
    return Descriptor(LAYER, digest_of(content), len(content))


class UnitOfCopy:
    """A plan of one unit, an upstream that has its blobs, and a target that lacks them."""

    def __init__(self, *contents: bytes, part_size: int = 10, piece_bytes: int = 4, threads: int = 1) -> None:
        self.min_bytes_per_second = 0.0  # blobs are a few bytes here
        self.threads = threads
        self.script = Script()
        self.contents = contents
        self.blobs = tuple(map(describe_blob, contents))
        self.upstream = FakeUpstream(self.script, piece_bytes=piece_bytes)
        self.target = FakeTarget(self.script, part_size=part_size)
        self.plans = FakePlanStore(self.script)
        self.waits: list[int] = []
        for blob, content in zip(self.blobs, contents, strict=True):
            self.upstream.serve_blob(blob.digest, content)
        self.target.ensure_repository(REPOSITORY)
        self.plans.objects[unit_key("refresh-1", 0)] = msgspec.json.encode(UnitProgress(self.blobs))
        self.script.resume()
        self.request = UnitRequest(refresh="refresh-1", unit=0, repository=REPOSITORY, upstream="ghcr.io/team/app:1")

    def process(self) -> CopyUnit:
        """Start another process."""
        rate = self.min_bytes_per_second
        return CopyUnit(
            self.upstream, self.target, self.plans, self.waits.append, threads=self.threads, min_bytes_per_second=rate
        )

    def run(
        self, request: UnitRequest | None = None, remaining_seconds: Callable[[], float] = lambda: 900.0
    ) -> UnitRequest:
        """Run one round."""
        return self.process()(request or self.request, remaining_seconds)

    def is_copied(self) -> bool:
        """Tell whether the target has exactly the unit's bytes."""
        return self.target.blobs(REPOSITORY) == {
            blob.digest: content for blob, content in zip(self.blobs, self.contents, strict=True)
        }


class Countdown:
    """The time that a function has left, one value for each call; the last one repeats."""

    def __init__(self, answers: Sequence[float]) -> None:
        self._answers = list(answers)

    def __call__(self) -> float:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
