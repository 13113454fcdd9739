"""A target registry in memory, as strict as ECR but with parts of a few bytes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import takewhile

from pullahead.errors import (
    ConflictError,
    DigestMismatchError,
    ManifestRefusedError,
    MissingContentError,
    NotFoundError,
    RegistryError,
    Side,
    TagImmutableError,
    UploadLostError,
)
from pullahead.oci import Descriptor, Digest, RawManifest, digest_of, parse_manifest
from pullahead.oci.registries import RepositorySettings, TaggedManifest, Upload
from tests.fakes.script import Script


@dataclass
class _Repository:
    blobs: dict[Digest, bytes] = field(default_factory=dict)
    manifests: dict[Digest, RawManifest] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)
    immutable: bool = False
    mutable_tags: tuple[str, ...] = ()  # wildcards

    def may_move(self, tag: str) -> bool:
        return not self.immutable or any(fnmatchcase(tag, wildcard) for wildcard in self.mutable_tags)


@dataclass
class _Upload:
    repository: str
    content: bytearray = field(default_factory=bytearray)
    part_bytes: list[int] = field(default_factory=list)


class FakeTarget:
    """Implements `pullahead.refresh.ports.PublishTarget`. Repositories are made by `ensure_repository`."""

    def __init__(self, script: Script | None = None, *, part_size: int = 10) -> None:
        self.script = script or Script()
        self.part_size = part_size
        self.has_referrers_api = True
        self.knows_versions = False
        self.bytes_received = 0  # of parts, also of those that were not stored
        self.pushes: list[tuple[Digest, str | None]] = []
        self.made_with: dict[str, RepositorySettings | None] = {}
        self._repositories: dict[str, _Repository] = {}
        self._uploads: dict[str, _Upload] = {}
        self._begun = 0

    def blobs(self, repository: str) -> Mapping[Digest, bytes]:
        """Show the blobs of a repository."""
        return self._repositories[repository].blobs

    def manifests(self, repository: str) -> Mapping[Digest, RawManifest]:
        """Show the manifests of a repository."""
        return self._repositories[repository].manifests

    def has_repository(self, repository: str) -> bool:
        """Look among the repositories."""
        with self.script.call("has_repository"):
            return repository in self._repositories

    def hold(self, repository: str, blobs: Mapping[Digest, bytes]) -> None:
        """Let a repository have blobs."""
        self._repositories[repository].blobs.update(blobs)

    def peek(self, repository: str, tag: str) -> RawManifest | None:
        """Show what a tag names, without a call."""
        known = self._repositories[repository]
        return known.manifests[known.tags[tag]] if tag in known.tags else None

    def hold_manifest(self, repository: str, manifest: RawManifest, tag: str) -> None:
        """Let a tag name a manifest, as another client would, without a call."""
        self._repositories[repository].manifests[manifest.descriptor.digest] = manifest
        self._repositories[repository].tags[tag] = manifest.descriptor.digest

    def make_immutable(self, repository: str) -> None:
        """Refuse to move tags from now on."""
        self._repositories[repository].immutable = True

    def move_tag(self, repository: str, tag: str, digest: Digest) -> None:
        """Move a tag as another client would."""
        self._repositories.setdefault(repository, _Repository()).tags[tag] = digest

    def delete_tag(self, repository: str, tag: str) -> None:
        """Delete a tag as another client would."""
        del self._repositories[repository].tags[tag]

    def forget_uploads(self) -> None:
        """Forget every open upload."""
        self._uploads.clear()

    def drop_repository(self, repository: str) -> None:
        """Delete a repository."""
        del self._repositories[repository]

    def published_digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        with self.script.call("published_digests"):
            existing = self._repositories.get(repository, _Repository()).tags
            return {tag: existing[tag] for tag in tags if tag in existing}

    def ensure_repository(self, repository: str, settings: RepositorySettings | None = None) -> None:
        with self.script.call("ensure_repository"):
            if repository not in self._repositories:
                made = _Repository()
                if settings is not None:
                    made.immutable, made.mutable_tags = settings.immutable_tags, settings.mutable_tag_filters
                self._repositories[repository] = made
                self.made_with[repository] = settings

    def present_blobs(self, repository: str, digests: Collection[Digest]) -> frozenset[Digest]:
        with self.script.call("present_blobs"):
            return frozenset(digests) & self._find("check blobs", repository).blobs.keys()

    def begin_upload(self, repository: str) -> Upload:
        with self.script.call("begin_upload"):
            self._find("begin upload", repository)
            self._begun += 1
            upload = Upload(f"upload-{self._begun}", self.part_size)
            self._uploads[upload.id] = _Upload(repository)
            return upload

    def received_bytes(self, repository: str, upload: Upload, size: int) -> int:  # noqa: ARG002 - the port has it
        with self.script.call("received_bytes"):
            return len(self._find_upload(repository, upload).content)

    def upload_part(self, repository: str, upload: Upload, first_byte: int, part: bytes | memoryview) -> int:
        with self.script.call("upload_part"):
            self.bytes_received += len(part)
            known = self._find_upload(repository, upload)
            if first_byte == len(known.content):
                known.content += part
                known.part_bytes.append(len(part))
            return len(known.content)

    def complete_upload(self, repository: str, upload: Upload, blob: Descriptor) -> None:
        with self.script.call("complete_upload"):
            blobs = self._find("complete upload", repository).blobs
            if upload.id not in self._uploads and blob.digest in blobs:
                return
            known = self._find_upload(repository, upload)
            if not known.part_bytes:
                raise _error(ManifestRefusedError, "complete upload", repository, "the upload is empty")
            if any(size < self.part_size for size in known.part_bytes[:-1]):
                raise _error(UploadLostError, "complete upload", repository, "a part in the middle is too small")
            content = bytes(known.content)
            if digest_of(content) != blob.digest:
                raise _error(DigestMismatchError, "complete upload", repository, f"it is {digest_of(content)}")
            blobs[blob.digest] = content
            del self._uploads[upload.id]

    def put_manifest(self, repository: str, manifest: RawManifest, tag: str | None, *, if_version: str = "") -> None:
        with self.script.call("put_manifest"):
            known = self._find("put manifest", repository)
            if self.knows_versions and if_version and known.tags.get(tag or "") != if_version:
                raise ConflictError(f"{repository}:{tag} was moved")
            digest = manifest.descriptor.digest
            if digest_of(manifest.content) != digest:
                raise _error(DigestMismatchError, "put manifest", repository, f"it is not {digest}")
            self._check_content(known, repository, manifest)
            if tag is not None and known.tags.get(tag, digest) != digest and not known.may_move(tag):
                raise _error(TagImmutableError, "put manifest", repository, f"{tag} may not be moved")
            known.manifests[digest] = manifest
            if tag is not None:
                known.tags[tag] = digest
            self.pushes.append((digest, tag))

    def read_manifest(self, repository: str, tag: str) -> TaggedManifest | None:
        with self.script.call("read_manifest"):
            known = self._repositories.get(repository, _Repository())
            digest = known.tags.get(tag)
            return None if digest is None else TaggedManifest(known.manifests[digest], digest)

    def lists_referrers(self, repository: str, digest: Digest) -> bool:  # noqa: ARG002 - the port has them
        with self.script.call("lists_referrers"):
            return self.has_referrers_api

    def present_manifests(self, repository: str, digests: Sequence[Digest]) -> Sequence[Digest]:
        with self.script.call("present_manifests"):
            held = self._repositories.get(repository, _Repository()).manifests
            return list(takewhile(lambda digest: digest in held, digests))

    def holds_manifest(self, repository: str, digest: Digest) -> bool:
        with self.script.call("holds_manifest"):
            return digest in self._repositories.get(repository, _Repository()).manifests

    def _check_content(self, known: _Repository, repository: str, manifest: RawManifest) -> None:
        named = parse_manifest(manifest.content, manifest.descriptor.media_type)
        missing = [blob.digest for blob in named.blobs if blob.digest not in known.blobs]
        missing += [child.digest for child in named.children if child.digest not in known.manifests]
        if missing:
            raise _error(MissingContentError, "put manifest", repository, f"it lacks {', '.join(missing)}")

    def _find(self, operation: str, repository: str) -> _Repository:
        if repository not in self._repositories:
            raise _error(NotFoundError, operation, repository, "there is no such repository")
        return self._repositories[repository]

    def _find_upload(self, repository: str, upload: Upload) -> _Upload:
        self._find("resume upload", repository)
        known = self._uploads.get(upload.id)
        if known is None or known.repository != repository:
            raise _error(UploadLostError, "resume upload", repository, f"{upload.id} is unknown")
        return known


def _error(kind: type[RegistryError], operation: str, repository: str, cause: str) -> RegistryError:
    return kind(cause, operation=operation, side=Side.TARGET, reference=repository)
