"""What the fake registry holds: repositories of manifests, tags and blobs. Knows nothing of HTTP."""

import threading
from dataclasses import dataclass, field

from local.images import Blob, LocalImage
from pullahead.oci import Digest, RawManifest
from pullahead.oci.referrers import read_referrer


@dataclass
class _Repository:
    manifests: dict[Digest, RawManifest] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)
    blobs: dict[Digest, Blob] = field(default_factory=dict)


class Content:
    """Repositories by name. Every method may be called while requests are being answered."""

    def __init__(self) -> None:
        self._repositories: dict[str, _Repository] = {}
        self._lock = threading.Lock()

    def push(self, image: LocalImage, repository: str, tag: str | None) -> None:
        """Store everything of an image, and move the tag to its root."""
        with self._lock:
            held = self._repositories.setdefault(repository, _Repository())
            held.manifests.update(image.manifests)
            held.blobs.update(image.blobs)
            if tag is not None:
                held.tags[tag] = image.digest

    def tag(self, repository: str, tag: str, digest: Digest) -> None:
        """Move a tag to a manifest that the repository has. Raises KeyError where it has none."""
        with self._lock:
            held = self._repositories[repository]
            held.tags[tag] = held.manifests[digest].descriptor.digest

    def delete_tag(self, repository: str, tag: str) -> None:
        """Take a tag away; what it named stays. Raises KeyError where there is no such tag."""
        with self._lock:
            del self._repositories[repository].tags[tag]

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """Take a manifest and its tags away. Raises KeyError where there is no such manifest."""
        with self._lock:
            held = self._repositories[repository]
            del held.manifests[digest]
            held.tags = {tag: named for tag, named in held.tags.items() if named != digest}

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """Take a blob away. Raises KeyError where there is no such blob."""
        with self._lock:
            del self._repositories[repository].blobs[digest]

    def find_manifest(self, repository: str, name: str) -> RawManifest | None:
        """Find a manifest by tag or digest."""
        with self._lock:
            held = self._repositories.get(repository, _Repository())
            return held.manifests.get(held.tags.get(name, Digest(name)))

    def list_referrers(self, repository: str, digest: str) -> list[RawManifest]:
        """List the manifests whose subject is a digest, in the order of their coming."""
        with self._lock:
            held = self._repositories.get(repository, _Repository())
            return [manifest for manifest in held.manifests.values() if read_referrer(manifest).subject == digest]

    def find_blob(self, repository: str, digest: str) -> Blob | None:
        """Find a blob."""
        with self._lock:
            return self._repositories.get(repository, _Repository()).blobs.get(Digest(digest))

    def list_repositories(self) -> list[str]:
        """List the repositories in order."""
        with self._lock:
            return sorted(self._repositories)

    def list_tags(self, repository: str) -> list[str] | None:
        """List the tags of a repository in order, or None where there is no such repository."""
        with self._lock:
            held = self._repositories.get(repository)
            return None if held is None else sorted(held.tags)
