"""Read what ECR's basic scans, or Amazon Inspector's, have found in images, and start basic scans.

Both are answers of DescribeImageScanFindings, by the image's digest: no tag is needed. Sources: ECR API reference,
DescribeImageScanFindings, StartImageScan; ECR user guide, "Scan images for software vulnerabilities".
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from pullahead.admission.scans import MAX_FINDINGS, ImageScan, ScanFinding
from pullahead.ecr.errors import code_of, translated
from pullahead.errors import AccessDeniedError, ManifestRefusedError, NotFoundError
from pullahead.oci import Digest
from pullahead.text import one_line

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import DescribeImageScanFindingsResponseTypeDef

_PAGE = 1000
_BATCH = 100
_NO_SCAN, _NO_IMAGE = "ScanNotFoundException", "ImageNotFoundException"
_LIMIT, _UNSUPPORTED = "LimitExceededException", "UnsupportedImageTypeException"
_NOT_STARTED: Mapping[str, str] = {
    _LIMIT: "it has no scan yet, and ECR starts one a day",
    _UNSUPPORTED: "ECR cannot scan an image of its kind",
    "ValidationException": "it has no scan yet, and is scanned by Amazon Inspector alone",
    "ImageArchivedException": "it is archived, and not scanned",
    _NO_IMAGE: "ECR does not have it",
}
_MAX_TEXT = 200


class EcrImageScans:
    """Implements `pullahead.admission.scans.ImageScans`. Thread-safe.

    `starter` is the client that starts scans: it should try once, since ECR's refusal of a second scan in a day is
    no throttling, by which name botocore knows it.
    """

    def __init__(self, client: "ECRClient", starter: "ECRClient | None" = None) -> None:
        self._client, self._starter = client, starter or client

    def read(self, repository: str, images: Sequence[Digest]) -> Sequence[ImageScan]:
        """Call DescribeImageScanFindings for each, and StartImageScan where there is no scan; DescribeImages once."""
        read = [self._read(repository, image) for image in images]
        pushed = self._pushed(repository, [scan.digest for scan in read if not scan.trouble])
        return [scan if scan.trouble else self._dated(repository, scan, pushed) for scan in read]

    def _dated(self, repository: str, scan: ImageScan, pushed: Mapping[Digest, datetime]) -> ImageScan:
        """Say when an image was pushed; where that was after its scan, start another one."""
        at = pushed.get(scan.digest)
        if at is not None and scan.completed_at is not None and scan.completed_at < at:
            self._start(repository, scan.digest)
        return scan._replace(pushed_at=at)

    def _read(self, repository: str, image: Digest) -> ImageScan:
        try:
            pages = list(self._pages(repository, image))
        except AccessDeniedError as error:
            return ImageScan(image, trouble=f"its scan may not be read: {one_line(str(error), _MAX_TEXT)}")
        except (ManifestRefusedError, NotFoundError) as error:
            return ImageScan(image, trouble=f"its scan cannot be read: {one_line(str(error), _MAX_TEXT)}")
        except ClientError as error:
            if code_of(error) == _NO_IMAGE:
                return ImageScan(image, trouble=_NOT_STARTED[_NO_IMAGE], is_missing=True)
            return ImageScan(image, trouble=self._start(repository, image))
        if any(page.get("imageId", {}).get("imageDigest") != image for page in pages):
            return ImageScan(image, trouble="ECR answers about another digest")
        status = pages[-1].get("imageScanStatus", {})
        described = one_line(status.get("description", ""), _MAX_TEXT)
        name = one_line(status.get("status", ""), _MAX_TEXT)
        if name == "FAILED":
            return ImageScan(image, trouble=f"its scan has FAILED ({described}); {self._start(repository, image)}")
        try:
            return _scan_of(image, name, pages)
        except (AttributeError, KeyError, TypeError, ValueError):
            return ImageScan(image, trouble="ECR's answer about its scan has another form than is documented")

    def _pages(self, repository: str, image: Digest) -> Iterator["DescribeImageScanFindingsResponseTypeDef"]:
        """Read pages until the last one, or until there are more findings than are read."""
        token, count = "", 0
        passed = frozenset({_NO_SCAN, _NO_IMAGE})
        while True:
            with translated("describe scan", f"{repository}@{image}", passed):
                page = self._client.describe_image_scan_findings(
                    repositoryName=repository,
                    imageId={"imageDigest": image},
                    maxResults=_PAGE,
                    **({"nextToken": token} if token else {}),
                )
            yield page
            count += _PAGE
            token = page.get("nextToken") or ""
            if not token or count >= MAX_FINDINGS:
                return

    def _start(self, repository: str, image: Digest) -> str:
        """Start a basic scan; return what is said of an image whose scan has no result yet."""
        try:
            with translated("start scan", f"{repository}@{image}", frozenset(_NOT_STARTED)):
                self._starter.start_image_scan(repositoryName=repository, imageId={"imageDigest": image})
        except AccessDeniedError as error:
            return f"no scan may be started: {one_line(str(error), _MAX_TEXT)}"
        except (ManifestRefusedError, NotFoundError) as error:
            return f"no scan can be started: {one_line(str(error), _MAX_TEXT)}"
        except ClientError as error:
            return _NOT_STARTED[code_of(error)]
        return "its scan was just started"

    def _pushed(self, repository: str, images: Sequence[Digest]) -> Mapping[Digest, datetime]:
        """Say when images were pushed. If one is gone meanwhile, nothing is said of the others: no result, then."""
        found: dict[Digest, datetime] = {}
        for start in range(0, len(images), _BATCH):
            ids = [{"imageDigest": image} for image in images[start : start + _BATCH]]
            try:
                with translated("describe", repository, frozenset({_NO_IMAGE})):
                    answer = self._client.describe_images(repositoryName=repository, imageIds=ids)  # type: ignore[arg-type]
            except (ClientError, NotFoundError):
                continue
            details: Any = answer["imageDetails"]
            found.update((each["imageDigest"], each["imagePushedAt"]) for each in details if "imagePushedAt" in each)
        return found


def _scan_of(image: Digest, status: str, pages: "Sequence[Any]") -> ImageScan:
    completed_at, counts, findings = None, dict[str, int](), list[ScanFinding]()
    for page in pages:
        found = page.get("imageScanFindings")
        if found is None:
            if status in ("COMPLETE", "ACTIVE"):
                return ImageScan(image, trouble="ECR says that its scan is complete, and not what it found")
            continue
        completed_at = found.get("imageScanCompletedAt", completed_at)
        counts |= found.get("findingSeverityCounts", {})
        findings += [_basic(each) for each in found.get("findings", ())]
        findings += [_enhanced(each) for each in found.get("enhancedFindings", ()) if each.get("status") != "CLOSED"]
        if any(other not in (None, image) for each in found.get("enhancedFindings", ()) for other in _images(each)):
            return ImageScan(image, trouble="ECR answers with findings of another digest")
    return ImageScan(
        image,
        status,
        completed_at,
        findings=tuple(findings),
        counts=counts,
        is_truncated=bool(pages[-1].get("nextToken")),
    )


def _basic(finding: Mapping[str, Any]) -> ScanFinding:
    return ScanFinding(finding.get("name", ""), finding.get("severity", ""))


def _enhanced(finding: Mapping[str, Any]) -> ScanFinding:
    name = finding.get("packageVulnerabilityDetails", {}).get("vulnerabilityId", "") or finding.get("title", "")
    fix = {"YES": True, "PARTIAL": True, "NO": False}.get(finding.get("fixAvailable", ""))
    return ScanFinding(name, finding.get("severity", ""), fix)


def _images(finding: Mapping[str, Any]) -> Iterator[Any]:
    for resource in finding.get("resources", ()):
        yield resource.get("details", {}).get("awsEcrContainerImage", {}).get("imageHash")
