"""Hold what the registry knows: repositories, their images, tags and layers. Refuses to know of requests and bytes.

Everything is in memory and guarded by `Registry.lock`; the bytes are in the blob store.
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from local.ecr.errors import EcrError, repository_not_found
from local.ecr.identity import ACCOUNT_ID
from local.ecr.manifests import Manifest


class Layer(NamedTuple):
    """A blob that a repository has."""

    size_bytes: int
    media_type: str


class Image(NamedTuple):
    """A manifest that a repository has. `sequence` orders them by arrival."""

    manifest: Manifest
    pushed_at: datetime
    sequence: int

    @property
    def digest(self) -> str:
        """Give the digest of the manifest's exact bytes."""
        return self.manifest.digest


class Mutability(NamedTuple):
    """Which tags may move (ECR user guide, "Preventing image tags from being overwritten")."""

    mode: str = "MUTABLE"
    exclusions: tuple[str, ...] = ()

    def is_immutable(self, tag: str) -> bool:
        """Say whether a tag, once given, must stay where it is."""
        excluded = any(fnmatchcase(tag, wildcard) for wildcard in self.exclusions)
        return self.mode.startswith("IMMUTABLE") != excluded


@dataclass
class Repository:
    """One repository."""

    name: str
    created_at: datetime
    mutability: Mutability
    scan_on_push: bool
    encryption: Mapping[str, str]
    resource_tags: dict[str, str]
    images: dict[str, Image] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)  # tag → digest
    layers: dict[str, Layer] = field(default_factory=dict)
    pulled_at: dict[str, datetime] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)  # policies, kept as they were given
    next_sequence: int = 0

    def tags_of(self, digest: str) -> list[str]:
        """List the tags that point to a digest."""
        return [tag for tag, target in self.tags.items() if target == digest]

    def parents_of(self, digest: str) -> list[str]:
        """List the indexes that have a digest as child."""
        indexes = (image for image in self.images.values() if image.manifest.children)
        return [i.digest for i in indexes if any(child.digest == digest for child in i.manifest.children)]

    def refers_to_layer(self, digest: str) -> bool:
        """Say whether an image of this repository uses a layer (or config)."""
        return any(blob.digest == digest for image in self.images.values() for blob in image.manifest.blobs)


class Registry:
    """All repositories."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._repositories: dict[str, Repository] = {}

    def get(self, name: str, registry_id: str | None = None) -> Repository:
        """Give a repository.

        Raises:
            EcrError: RepositoryNotFoundException.
        """
        with self.lock:
            if registry_id not in (None, ACCOUNT_ID) or name not in self._repositories:
                raise repository_not_found(name, registry_id or ACCOUNT_ID)
            return self._repositories[name]

    def find(self, name: str) -> Repository | None:
        """Give a repository, or None."""
        with self.lock:
            return self._repositories.get(name)

    def add(self, repository: Repository) -> None:
        """Keep a new repository.

        Raises:
            EcrError: RepositoryAlreadyExistsException.
        """
        name = repository.name
        with self.lock:
            if name in self._repositories:
                message = f"The repository with name '{name}' already exists in the registry with id '{ACCOUNT_ID}'"
                raise EcrError("RepositoryAlreadyExistsException", message)
            self._repositories[name] = repository

    def remove(self, name: str) -> None:
        """Forget a repository and all that is in it."""
        with self.lock:
            del self._repositories[name]

    def clear(self) -> None:
        """Forget all repositories."""
        with self.lock:
            self._repositories.clear()

    def __iter__(self) -> Iterator[Repository]:
        with self.lock:
            return iter(sorted(self._repositories.values(), key=lambda repository: repository.name))
