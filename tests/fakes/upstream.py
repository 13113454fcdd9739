"""An upstream registry in memory, which lies, cuts and forgets on demand."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from local.images import LocalImage
from pullahead.errors import DigestMismatchError, NotFoundError, RangeIgnoredError, RegistryUnavailableError, Side
from pullahead.mirrors.rate_limit_budget import RemainingQuota, UpstreamUse
from pullahead.oci import Descriptor, Digest, RawManifest, Reference, Repository, parse_reference
from pullahead.oci.referrers import Referrer, read_referrer
from tests.fakes.script import Script


class FakeUpstream:
    """Implements `pullahead.oci.registries.CopySource`. Tests set what it serves by `serve` and the like."""

    def __init__(self, script: Script | None = None, *, piece_bytes: int = 4) -> None:
        self.script = script or Script()
        self.piece_bytes = piece_bytes
        self.ignores_range = False
        self.bytes_sent = 0
        self.urls: dict[str, bytes] = {}  # what can be read by URL
        self.urls_asked: list[str] = []
        self.listed_kinds: dict[Digest, frozenset[str]] = {}  # of referrers; of the others a listing says nothing
        self.false_referrers: dict[Digest, list[Descriptor]] = {}  # listed for a subject that they do not name
        self.quotas: dict[str, RemainingQuota] = {}  # what registries say that they leave of their limits
        self.forgotten: list[Repository] = []  # whose access was forgotten
        self._manifests: dict[tuple[Repository, str], RawManifest] = {}
        self._blobs: dict[Digest, bytes] = {}
        self._cuts: deque[int] = deque()
        self._heads_taken = 0

    def serve(self, image: LocalImage, reference: str) -> None:
        """Hold an image under a tag."""
        name = parse_reference(reference)
        for digest, manifest in image.manifests.items():
            self._manifests[name.repository, digest] = manifest
        self._manifests[name.repository, name.locator] = image.root
        self._blobs.update({digest: image.read_blob(digest) for digest in image.blobs})

    def serve_blob(self, digest: Digest, content: bytes) -> None:
        """Hold bytes under a digest, true or not."""
        self._blobs[digest] = content

    def forget_blob(self, digest: Digest) -> None:
        """Lose a blob."""
        del self._blobs[digest]

    def serve_manifest(self, reference: str, manifest: RawManifest) -> None:
        """Hold one manifest, whatever it is."""
        name = parse_reference(reference)
        self._manifests[name.repository, name.locator] = manifest
        self._manifests[name.repository, manifest.descriptor.digest] = manifest

    def remove(self, reference: str) -> None:
        """Delete a tag or a manifest."""
        name = parse_reference(reference)
        del self._manifests[name.repository, name.locator]

    def remove_all(self) -> None:
        """Delete every tag and every manifest."""
        self._manifests.clear()

    def cut(self, *after_bytes: int) -> None:
        """Break the next streams, one each, after so many bytes."""
        self._cuts.extend(after_bytes)

    def forget_access(self, repository: Repository) -> None:
        """Note the repository."""
        self.forgotten.append(repository)

    def quota(self, registry: str) -> RemainingQuota | None:
        """Tell what is left of a registry's limit."""
        return self.quotas.get(registry)

    def take_use(self) -> tuple[UpstreamUse, ...]:
        """Tell how often it was asked; it says nothing of limits there."""
        heads, self._heads_taken = self.heads - self._heads_taken, self.heads
        return (UpstreamUse("upstream.example", "HEAD", heads),) if heads else ()

    @property
    def heads(self) -> int:
        """Count the HEADs of manifests."""
        return self.script.count("head_manifest")

    @property
    def gets(self) -> int:
        """Count the GETs, of manifests and blobs."""
        return self.script.count("get_manifest", "open_blob")

    def head_manifest(self, reference: Reference, *, by_event: bool = False) -> Descriptor:  # noqa: ARG002
        with self.script.call("head_manifest"):
            return self._manifest("head", reference).descriptor

    def list_tags(self, repository: Repository) -> tuple[str, ...]:
        with self.script.call("list_tags"):
            tags = tuple(name for each, name in self._manifests if each == repository and ":" not in name)
            if not tags:
                raise NotFoundError("not found", operation="list_tags", side=Side.UPSTREAM, reference=str(repository))
            return tags

    def list_referrers(self, subject: Reference, digest: Digest) -> tuple[Referrer, ...]:
        with self.script.call("list_referrers"):
            here = {
                manifest.descriptor.digest: manifest
                for (repository, _), manifest in self._manifests.items()
                if repository == subject.repository
            }
            read = [(manifest, read_referrer(manifest)) for manifest in here.values()]
            false = self.false_referrers.get(digest, [])
            # As a registry lists them: what only the bytes of the config or the layers say is not there.
            return tuple(
                Referrer(manifest.descriptor, "", self.listed_kinds.get(manifest.descriptor.digest, frozenset()))
                for manifest, content in read
                if content.subject == digest
            ) + tuple(Referrer(each, "") for each in false)

    def find_manifest(self, reference: Reference) -> Descriptor | None:
        with self.script.call("find_manifest"):
            found = self._manifests.get((reference.repository, reference.locator))
            return None if found is None else found.descriptor

    def list_repositories(self, registry: str, prefix: str) -> tuple[str, ...]:
        with self.script.call("list_repositories"):
            repositories = dict.fromkeys(repository for repository, _ in self._manifests)
            return tuple(
                each.path for each in repositories if each.registry == registry and each.path.startswith(f"{prefix}/")
            )

    def get_manifest(self, reference: Reference) -> RawManifest:
        with self.script.call("get_manifest"):
            return self._manifest("get", reference)

    @contextmanager
    def open_blob(
        self, repository: Repository, blob: Descriptor, first_byte: int = 0, end: int | None = None
    ) -> Iterator[Iterator[bytes]]:
        where = f"{repository}@{blob.digest}"
        with self.script.call("open_blob"):
            if blob.digest not in self._blobs:
                raise NotFoundError("not found", operation="read", side=Side.UPSTREAM, reference=where)
            if (first_byte or end is not None) and self.ignores_range:
                raise RangeIgnoredError("from the start", operation="read", side=Side.UPSTREAM, reference=where)
        yield self._stream(where, blob, first_byte, blob.size if end is None else end)

    @contextmanager
    def open_url(
        self, repository: Repository, url: str, blob: Descriptor, first_byte: int = 0, end: int | None = None
    ) -> Iterator[Iterator[bytes]]:
        self.urls_asked.append(url)
        with self.script.call("open_url"):
            if url not in self.urls:
                where = f"{repository} at {url}"
                raise NotFoundError("not found", operation="read", side=Side.UPSTREAM, reference=where)
        self._blobs[blob.digest] = self.urls[url]
        yield self._stream(url, blob, first_byte, blob.size if end is None else end)

    def _stream(self, where: str, blob: Descriptor, first_byte: int, asked_end: int) -> Iterator[bytes]:
        content = self._blobs[blob.digest]
        end = min(len(content), asked_end)
        cut_at = min(end, first_byte + self._cuts.popleft()) if self._cuts else None
        last = end if cut_at is None else cut_at
        for start in range(first_byte, last, self.piece_bytes):
            piece = content[start : min(start + self.piece_bytes, last)]
            self.bytes_sent += len(piece)
            yield piece
        if cut_at is not None or len(content) < asked_end:
            raise RegistryUnavailableError("broken off", operation="read", side=Side.UPSTREAM, reference=where)
        if asked_end == blob.size < len(content):
            raise DigestMismatchError("too long", operation="read", side=Side.UPSTREAM, reference=where)

    def _manifest(self, operation: str, reference: Reference) -> RawManifest:
        found = self._manifests.get((reference.repository, reference.locator))
        if found is None:
            raise NotFoundError(
                "not found", operation=operation, side=Side.UPSTREAM, reference=str(reference), status=404
            )
        return found
