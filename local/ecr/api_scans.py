"""Basic scans: StartImageScan and DescribeImageScanFindings. A scan is done at once; its event is what follows.

It finds what `vulnerable` says of the image, else nothing. Sources: ECR API reference, StartImageScan (an image, by its
tag or its digest, once in 24 hours, also where it was scanned on push), DescribeImageScanFindings.
"""

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from local.ecr.errors import EcrError, invalid_parameter
from local.ecr.events import scan_event
from local.ecr.identity import ACCOUNT_ID
from local.ecr.images import ImageFailureError, ImageId, find_image
from local.ecr.repositories import Image, Registry, Repository

_AGAIN_AFTER = timedelta(hours=24)
_DEFAULT_PAGE = 100


class _Scan(NamedTuple):
    completed_at: datetime
    findings: Sequence[Mapping[str, Any]]

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(finding["severity"] for finding in self.findings))


class ScanOperations:
    """What the API does with scans."""

    def __init__(self, registry: Registry, now: Callable[[], datetime], emit: Callable[[dict[str, Any]], None]) -> None:
        self._registry, self._now, self._emit = registry, now, emit
        self._scans: dict[tuple[str, str], _Scan] = {}
        self._found: dict[str, Sequence[Mapping[str, Any]]] = {}

    def table(self) -> dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        """List the operations by their names in the API."""
        return {"StartImageScan": self.start, "DescribeImageScanFindings": self.describe}

    def clear(self) -> None:
        """Forget all scans, and what they are to find."""
        self._scans.clear()
        self._found.clear()

    def vulnerable(self, digest: str, *findings: Mapping[str, Any]) -> None:
        """Let every scan of an image find something from now on."""
        self._found[digest] = findings

    def pushed(self, name: str, pushed: ImageId) -> None:
        """Scan what was pushed, where the repository is scanned on push; as often, it is not scanned again."""
        repository = self._registry.get(name)
        image = repository.images.get(pushed.digest or "")
        if image is None or not repository.scan_on_push or image.manifest.children:
            return
        if (name, image.digest) not in self._scans:
            self._scan(repository, image)

    def start(self, p: Mapping[str, Any]) -> dict[str, Any]:
        """StartImageScan."""
        repository, image, wanted = self._find(p)
        if image.manifest.children:
            raise EcrError("UnsupportedImageTypeException", "An index cannot be scanned; scan its images")
        known = self._scans.get((repository.name, image.digest))
        if known is not None and self._now() < known.completed_at + _AGAIN_AFTER:
            message = "The scan quota per image has been exceeded. Wait and try again."
            raise EcrError("LimitExceededException", message)
        self._scan(repository, image)
        return {**_named(repository, image, wanted), "imageScanStatus": {"status": "IN_PROGRESS"}}

    def describe(self, p: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeImageScanFindings."""
        repository, image, wanted = self._find(p)
        scan = self._scans.get((repository.name, image.digest))
        if scan is None:
            message = f"Image scan does not exist for the image with '{wanted.to_api()}' in '{repository.name}'"
            raise EcrError("ScanNotFoundException", message)
        start, size = _start_of(p.get("nextToken")), p.get("maxResults", _DEFAULT_PAGE)
        findings = list(scan.findings[start : start + size])
        more = {"nextToken": _token_of(start + size)} if start + size < len(scan.findings) else {}
        found = {
            "imageScanCompletedAt": scan.completed_at.timestamp(),
            "vulnerabilitySourceUpdatedAt": scan.completed_at.timestamp(),
            "findingSeverityCounts": scan.counts,
            "findings": findings,
        }
        status = {"status": "COMPLETE", "description": "The scan was completed successfully."}
        return {**_named(repository, image, wanted), "imageScanStatus": status, "imageScanFindings": found, **more}

    def _find(self, p: Mapping[str, Any]) -> tuple[Repository, Image, ImageId]:
        wanted = ImageId.of(p["imageId"])
        with self._registry.lock:
            repository = self._registry.get(p["repositoryName"], p.get("registryId"))
            try:
                return repository, find_image(repository, wanted), wanted
            except ImageFailureError as failure:
                raise EcrError("ImageNotFoundException", failure.reason) from failure

    def _scan(self, repository: Repository, image: Image) -> None:
        now = self._now()
        scan = self._scans[repository.name, image.digest] = _Scan(now, self._found.get(image.digest, ()))
        tags = sorted(repository.tags_of(image.digest))
        self._emit(scan_event(repository.name, image.digest, tags, scan.counts, now))


def _named(repository: Repository, image: Image, wanted: ImageId) -> dict[str, Any]:
    return {
        "registryId": ACCOUNT_ID,
        "repositoryName": repository.name,
        "imageId": ImageId(image.digest, wanted.tag).to_api(),
    }


def _token_of(start: int) -> str:
    return base64.b64encode(f"findings:{start}".encode()).decode()


def _start_of(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.b64decode(token, validate=True).decode().removeprefix("findings:"))
    except ValueError as error:
        raise invalid_parameter("Invalid parameter: nextToken") from error
