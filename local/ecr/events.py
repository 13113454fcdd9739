"""Write the events that ECR sends to EventBridge. Refuses to know who listens.

Shapes: Amazon ECR user guide, "Amazon ECR events and EventBridge".
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from local.ecr.identity import ACCOUNT_ID, repository_arn
from local.service_event import service_event


def image_event(action: str, repository: str, digest: str, tag: str | None, at: datetime) -> dict[str, Any]:
    """Describe a PUSH or DELETE of one manifest; a manifest without a tag, such as a child, has no image-tag."""
    return _event("ECR Image Action", _action(action, repository, digest, tag), at)


def referrer_event(repository: str, digest: str, tag: str | None, artifact_type: str, at: datetime) -> dict[str, Any]:
    """Describe a PUSH of a manifest that refers to another."""
    more = {
        "manifest-media-type": "application/vnd.oci.image.manifest.v1+json",
        "artifact-media-type": artifact_type,
    }
    return _event("ECR Referrer Action", {**_action("PUSH", repository, digest, tag), **more}, at)


def storage_class_event(repository: str, digest: str, tag: str | None, at: datetime) -> dict[str, Any]:
    """Describe that an image went into the archive."""
    detail = _action("UPDATE_STORAGE_CLASS", repository, digest, tag)
    return _event("ECR Image Action", {**detail, "target-storage-class": "ARCHIVE"}, at)


def cache_event(
    rule: Mapping[str, Any], repository: str, tag: str, outcome: Mapping[str, str], at: datetime
) -> dict[str, Any]:
    """Describe an attempt of the pull through cache; `outcome` is its status, with a digest or with why it failed."""
    detail = {
        "rule-version": "1",
        "ecr-repository-prefix": rule["ecrRepositoryPrefix"],
        "repository-name": repository,
        "upstream-registry-url": rule["upstreamRegistryUrl"],
        "image-tag": tag,
        **outcome,
    }
    return _event("ECR Pull Through Cache Action", detail, at, repository)


def replication_event(
    repository: str, image: Mapping[str, str], source_region: str, at: datetime, *, succeeded: bool
) -> dict[str, Any]:
    """Describe that a manifest was replicated into this registry, or could not be."""
    detail = {
        "result": "SUCCESS" if succeeded else "FAILED",
        "repository-name": repository,
        "image-digest": image["imageDigest"],
        "source-account": ACCOUNT_ID,
        "action-type": "REPLICATE",
        "source-region": source_region,
        **({"image-tag": image["imageTag"]} if "imageTag" in image else {}),
    }
    return _event("ECR Replication Action", detail, at, repository)


def scan_event(
    repository: str, digest: str, tags: Sequence[str], counts: Mapping[str, int], at: datetime
) -> dict[str, Any]:
    """Describe what a basic scan found; levels without findings are left out."""
    detail = {
        "scan-status": "COMPLETE",
        "repository-name": repository,
        "finding-severity-counts": {level: count for level, count in counts.items() if count},
        "image-digest": digest,
        "image-tags": list(tags),
    }
    return _event("ECR Image Scan", detail, at, repository)


def _action(action: str, repository: str, digest: str, tag: str | None) -> dict[str, Any]:
    detail = {"result": "SUCCESS", "repository-name": repository, "image-digest": digest, "action-type": action}
    return detail if tag is None else {**detail, "image-tag": tag}


def _event(kind: str, detail: Mapping[str, Any], at: datetime, repository: str | None = None) -> dict[str, Any]:
    """Put a detail into its envelope. Pushes and deletes name no resource: rules filter on detail.repository-name."""
    resources = [repository_arn(repository)] if repository is not None else []
    return service_event("aws.ecr", kind, detail, at, resources)
