"""StartImageScan: a basic scan that finds nothing and is done at once. Its event is what follows.

Source: ECR API reference, StartImageScan: an image, not an index.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from local.ecr.errors import EcrError
from local.ecr.events import scan_event
from local.ecr.identity import ACCOUNT_ID
from local.ecr.images import ImageFailureError, ImageId, find_image
from local.ecr.repositories import Registry


class ScanOperations:
    """What the API does with scans."""

    def __init__(self, registry: Registry, now: Callable[[], datetime], emit: Callable[[dict[str, Any]], None]) -> None:
        self._registry, self._now, self._emit = registry, now, emit

    def table(self) -> dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        """List the operations by their names in the API."""
        return {"StartImageScan": self.start}

    def start(self, p: Mapping[str, Any]) -> dict[str, Any]:
        """StartImageScan."""
        wanted = ImageId.of(p["imageId"])
        with self._registry.lock:
            repository = self._registry.get(p["repositoryName"], p.get("registryId"))
            try:
                image = find_image(repository, wanted)
            except ImageFailureError as failure:
                raise EcrError("ImageNotFoundException", failure.reason) from failure
            tags = sorted(repository.tags_of(image.digest))
        if image.manifest.children:
            raise EcrError("UnsupportedImageTypeException", "An index cannot be scanned; scan its images")
        self._emit(scan_event(repository.name, image.digest, tags, {}, self._now()))
        return {
            "registryId": ACCOUNT_ID,
            "repositoryName": repository.name,
            "imageId": ImageId(image.digest, wanted.tag).to_api(),
            "imageScanStatus": {"status": "IN_PROGRESS"},
        }
