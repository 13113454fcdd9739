"""What ECR's scans say, in memory."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pullahead.admission.scans import ImageScan, ScanFinding
from pullahead.oci import Digest
from tests.fakes.memory import FakeClock
from tests.fakes.script import Script

CRITICAL: Final = ScanFinding("CVE-2026-1234", "CRITICAL")


class FakeImageScans:
    """Implements `pullahead.admission.scans.ImageScans`: an image without an answer here is just being scanned."""

    def __init__(self, script: Script, clock: FakeClock) -> None:
        self.script, self.clock = script, clock
        self.answers: dict[Digest, ImageScan] = {}
        self.read_images: list[Digest] = []

    def found(self, image: Digest, *findings: ScanFinding, at: datetime | None = None) -> None:
        """Let the scan of an image be complete."""
        now = at or self.clock()
        self.answers[image] = ImageScan(image, "COMPLETE", now, now, findings)

    def read(self, _repository: str, images: Sequence[Digest]) -> Sequence[ImageScan]:
        """Answer as scripted."""
        with self.script.call("read_scans"):
            self.read_images += images
            return [self.answers.get(image, ImageScan(image, "IN_PROGRESS")) for image in images]
