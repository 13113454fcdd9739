"""Expire images by the lifecycle policies of repositories, when a test says so; ECR does it within a day.

Source: Amazon ECR User Guide, "Lifecycle policy properties". Knows what our own policy says: untagged images, by
`sinceImagePulled` or `sinceImagePushed`, in days. Refuses others. What an index names does not expire before the index,
nor what refers to an image before that.
"""

import json
from datetime import datetime, timedelta

from local.ecr.images import ImageId, delete_image
from local.ecr.repositories import Image, Registry, Repository

_POLICY = "lifecyclePolicyText"


def expire_images(registry: Registry, name: str, now: datetime) -> list[str]:
    """Delete what a repository's policy expires, and return the digests. Raises ValueError for a policy not known."""
    with registry.lock:
        repository = registry.get(name)
        rules = json.loads(repository.documents.get(_POLICY, '{"rules": []}'))["rules"]
        expired: list[str] = []
        for rule in sorted(rules, key=lambda each: each["rulePriority"]):
            selection = rule["selection"]
            said = (selection["tagStatus"], selection["countUnit"], rule["action"]["type"])
            if said != ("untagged", "days", "expire"):
                raise ValueError(f"not known here: {rule}")
            for image in list(repository.images.values()):
                since = _since(repository, image, selection["countType"])
                if now - since > timedelta(days=selection["countNumber"]) and not _is_needed(repository, image):
                    delete_image(repository, ImageId(image.digest, None))
                    expired.append(image.digest)
        return expired


def _since(repository: Repository, image: Image, count_type: str) -> datetime:
    if count_type == "sinceImagePushed":
        return image.pushed_at
    if count_type == "sinceImagePulled":
        return repository.pulled_at.get(image.digest, image.pushed_at)
    raise ValueError(f"not known here: {count_type}")


def _is_needed(repository: Repository, image: Image) -> bool:
    has_tag, has_parent = bool(repository.tags_of(image.digest)), bool(repository.parents_of(image.digest))
    return has_tag or has_parent or image.manifest.subject in repository.images
