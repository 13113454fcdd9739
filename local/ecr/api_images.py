"""The operations of the ECR API on images, which /v2 calls too. Refuses to know the rules: those are in images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from local.ecr.errors import EcrError, invalid_parameter
from local.ecr.events import image_event
from local.ecr.identity import ACCOUNT_ID, DEFAULT_PAGE
from local.ecr.images import ImageFailureError, ImageId, delete_image, find_image, put_image
from local.ecr.manifests import Manifest, parse_manifest
from local.ecr.paging import page_of
from local.ecr.repositories import Image, Registry, Repository

Parameters = Mapping[str, Any]
Answer = dict[str, Any]
Emit = Callable[[dict[str, Any]], None]
OnImage = Callable[[str, ImageId], None]
"""Called with a repository's name and an image of it."""

_DEFAULT_REFERRERS_PAGE = 20
_PULL_TIME_PRECISION = timedelta(hours=24)  # lastRecordedPullTime is refreshed about once a day


def _nobody_minds(_repository: str, _image: ImageId) -> None:
    pass


class ImageOperations:
    """What the API does with images. Events go out after the change, outside the lock."""

    def __init__(
        self,
        registry: Registry,
        now: Callable[[], datetime],
        emit: Emit,
        fetch_missing: OnImage = _nobody_minds,
        pushed: OnImage = _nobody_minds,
        deleted: OnImage = _nobody_minds,
    ) -> None:
        self._registry = registry
        self._now = now
        self._emit = emit
        self._fetch_missing = fetch_missing
        self._pushed, self._deleted = pushed, deleted

    def table(self) -> dict[str, Callable[[Parameters], Answer]]:
        """List the operations by their names in the API."""
        return {
            "PutImage": self.put,
            "BatchGetImage": self.get,
            "DescribeImages": self.describe,
            "ListImages": self.list_ids,
            "BatchDeleteImage": self.delete,
            "ListImageReferrers": self.list_referrers,
        }

    def put(self, p: Parameters) -> Answer:
        """PutImage."""
        raw = p["imageManifest"].encode()
        repository, tag = self._get(p), p.get("imageTag")
        image = self.push(repository.name, raw, p.get("imageManifestMediaType"), tag, p.get("imageDigest"))
        return {"image": _served(repository.name, ImageId(image.digest, tag), image)}

    def push(self, name: str, raw: bytes, media_type: str | None, tag: str | None, digest: str | None) -> Image:
        """Keep a manifest and its tag, then say so."""
        manifest = parse_manifest(raw, media_type)
        with self._registry.lock:
            now = self._now()
            image = put_image(self._registry.get(name), manifest, tag, digest, now)
        self._emit(image_event("PUSH", name, image.digest, tag, now))
        self._pushed(name, ImageId(image.digest, tag))
        return image

    def pull(self, name: str, wanted: ImageId) -> Image:
        """Give an image, and record that it was pulled.

        Raises:
            ImageFailureError: the repository has no such image.
        """
        self._fetch_missing(name, wanted)
        return self._pulled(name, wanted)

    def get(self, p: Parameters) -> Answer:
        """BatchGetImage."""
        for wanted in map(ImageId.of, p["imageIds"]):
            self._fetch_missing(p["repositoryName"], wanted)  # it may make the repository
        name, accepted = self._get(p).name, p.get("acceptedMediaTypes")
        images: list[Answer] = []
        failures: list[Answer] = []
        for wanted in map(ImageId.of, p["imageIds"]):
            try:
                image = self._pulled(name, wanted)
                _check_accepted(image.manifest, accepted)
            except ImageFailureError as failure:
                failures.append(_failed(wanted, failure))
            else:
                images.append(_served(name, ImageId(image.digest, wanted.tag), image))
        return {"images": images, "failures": failures}

    def describe(self, p: Parameters) -> Answer:
        """DescribeImages: one image that is not there fails the whole call."""
        with self._registry.lock:
            repository = self._get(p)
            if "imageIds" in p:
                if "maxResults" in p or "nextToken" in p:
                    raise invalid_parameter("maxResults and nextToken cannot be used with imageIds")
                found = _all_found(repository, map(ImageId.of, p["imageIds"]))
                return {"imageDetails": [_detail(repository, image) for image in found]}
            chosen = [image for image in repository.images.values() if _passes(repository, image, p.get("filter", {}))]
            page = page_of(chosen, _by_arrival, p.get("maxResults", DEFAULT_PAGE), p.get("nextToken"))
            return {"imageDetails": [_detail(repository, image) for image in page.items], **page.token}

    def list_ids(self, p: Parameters) -> Answer:
        """ListImages."""
        with self._registry.lock:
            repository = self._get(p)
            chosen = [image for image in repository.images.values() if _passes(repository, image, p.get("filter", {}))]
            ids = [(i, tag) for i in chosen for tag in sorted(repository.tags_of(i.digest)) or [""]]
        page = page_of(
            ids, lambda i: f"{_by_arrival(i[0])}/{i[1]}", p.get("maxResults", DEFAULT_PAGE), p.get("nextToken")
        )
        return {"imageIds": [ImageId(i.digest, tag or None).to_api() for i, tag in page.items], **page.token}

    def delete(self, p: Parameters) -> Answer:
        """BatchDeleteImage."""
        name = self._get(p).name
        deleted: list[ImageId] = []
        failures: list[Answer] = []
        for wanted in map(ImageId.of, p["imageIds"]):
            try:
                with self._registry.lock:
                    deleted += delete_image(self._registry.get(name), wanted)
            except ImageFailureError as failure:
                failures.append(_failed(wanted, failure))
        for gone in deleted:
            self._emit(image_event("DELETE", name, gone.digest or "", gone.tag, self._now()))
            self._deleted(name, gone)
        return {"imageIds": [gone.to_api() for gone in deleted], "failures": failures}

    def list_referrers(self, p: Parameters) -> Answer:
        """ListImageReferrers."""
        types = p.get("filter", {}).get("artifactTypes")
        found = self.referrers(self._get(p).name, p["subjectId"]["imageDigest"], types)
        page = page_of(found, _by_arrival, p.get("maxResults", _DEFAULT_REFERRERS_PAGE), p.get("nextToken"))
        return {"referrers": [referrer(image) | {"artifactStatus": "ACTIVE"} for image in page.items], **page.token}

    def referrers(self, name: str, subject: str, types: Sequence[str] | None) -> list[Image]:
        """List the images whose subject is a digest, in the order of their arrival."""
        with self._registry.lock:
            images = self._registry.get(name).images.values()
            found = [image for image in images if image.manifest.subject == subject]
        return [image for image in found if types is None or image.manifest.artifact_type in types]

    def _pulled(self, name: str, wanted: ImageId) -> Image:
        with self._registry.lock:
            repository = self._registry.get(name)
            image = find_image(repository, wanted)
            pulled_at = repository.pulled_at.get(image.digest)
            if pulled_at is None or self._now() - pulled_at >= _PULL_TIME_PRECISION:
                repository.pulled_at[image.digest] = self._now()
        return image

    def _get(self, p: Parameters) -> Repository:
        return self._registry.get(p["repositoryName"], p.get("registryId"))


def referrer(image: Image) -> Answer:
    """Describe an image as a referrer, in the words that the API and OCI share."""
    manifest = image.manifest
    described = {"digest": image.digest, "mediaType": manifest.media_type, "size": len(manifest.raw)}
    if manifest.artifact_type:
        described["artifactType"] = manifest.artifact_type
    return described | ({"annotations": manifest.annotations} if manifest.annotations else {})


def _by_arrival(image: Image) -> str:
    return f"{image.sequence:012d}"


def _check_accepted(manifest: Manifest, accepted: Sequence[str] | None) -> None:
    if accepted is not None and manifest.media_type not in accepted:
        reason = f"Requested image found, but its media type '{manifest.media_type}' is not accepted"
        raise ImageFailureError("ImageNotFound", reason)


def _failed(wanted: ImageId, failure: ImageFailureError) -> Answer:
    return {"imageId": wanted.to_api(), "failureCode": failure.code, "failureReason": failure.reason}


def _served(name: str, image_id: ImageId, image: Image) -> Answer:
    return {
        "registryId": ACCOUNT_ID,
        "repositoryName": name,
        "imageId": image_id.to_api(),
        "imageManifest": image.manifest.raw.decode(),
        "imageManifestMediaType": image.manifest.media_type,
    }


def _all_found(repository: Repository, asked: Iterable[ImageId]) -> list[Image]:
    found: dict[str, Image] = {}
    for wanted in asked:
        try:
            image = find_image(repository, wanted)
        except ImageFailureError as failure:
            raise _described_failure(repository.name, wanted, failure) from failure
        found[image.digest] = image
    return list(found.values())


def _described_failure(name: str, wanted: ImageId, failure: ImageFailureError) -> EcrError:
    if failure.code in ("MissingDigestAndTag", "InvalidImageDigest"):
        return invalid_parameter(failure.reason)
    named = f"imageDigest:'{wanted.digest}', imageTag:'{wanted.tag}'"
    message = f"The image with imageId {{{named}}} does not exist within the repository with name '{name}'"
    return EcrError("ImageNotFoundException", f"{message} in the registry with id '{ACCOUNT_ID}'")


def _passes(repository: Repository, image: Image, wanted: Mapping[str, str]) -> bool:
    if wanted.get("imageStatus", "ACTIVE") not in ("ACTIVE", "ANY"):
        return False  # nothing is ever archived here
    tagged = wanted.get("tagStatus", "ANY")
    return tagged == "ANY" or (tagged == "TAGGED") == bool(repository.tags_of(image.digest))


def _detail(repository: Repository, image: Image) -> Answer:
    manifest = image.manifest
    optional: Answer = {
        "imageTags": sorted(repository.tags_of(image.digest)),
        "artifactMediaType": manifest.config.media_type if manifest.config else "",
        "subjectManifestDigest": manifest.subject,
    }
    if image.digest in repository.pulled_at:
        optional["lastRecordedPullTime"] = repository.pulled_at[image.digest].timestamp()
    return {
        "registryId": ACCOUNT_ID,
        "repositoryName": repository.name,
        "imageDigest": image.digest,
        "imageSizeInBytes": _size(repository, manifest),
        "imagePushedAt": image.pushed_at.timestamp(),
        "imageManifestMediaType": manifest.media_type,
        "imageStatus": "ACTIVE",
        **{name: value for name, value in optional.items() if value},
    }


def _size(repository: Repository, manifest: Manifest) -> int:
    """Add up an image; an index is as large as its largest child (ECR API reference, ImageDetail)."""
    children = (repository.images[child.digest].manifest for child in manifest.children)
    own = sum(repository.layers[blob.digest].size_bytes for blob in manifest.blobs)
    return max((_size(repository, child) for child in children), default=own)
