"""Put the referrers that were copied: each after its subject, and where the target lists none, into the fallback tag.

One that cannot be put is reported, and holds nothing back. Tags are never taken from others: the index under a fallback
tag only grows, and cosign's tag is moved only where nothing that it names would be lost.

Sources: OCI distribution specification 1.1, "Pushing Manifests with Subject" and "Referrers Tag Schema".
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from pullahead.clock import Wait
from pullahead.errors import ConflictError, PullaheadError
from pullahead.messages import Trouble
from pullahead.oci import MAX_MANIFEST_BYTES, Digest, InvalidManifestError, RawManifest, parse_manifest
from pullahead.oci.media_types import INDEXES
from pullahead.oci.referrers import entries_of, fallback_tag, listing_entry, with_entries
from pullahead.oci.registries import ReferrersTarget
from pullahead.refresh.referrers import ReadReferrer, trouble_of

_MAX_WRITES: Final = 6  # of one fallback tag, which others write at the same time
_MAX_FAILURES: Final = 3  # in a row of the target itself; the others would only take the time of the image


class PutReferrers(NamedTuple):
    """What the target has now of some referrers: how many, of how many bytes; and why it lacks the others."""

    copied: int
    bytes: int
    troubles: tuple[Trouble, ...]


def put_referrers(
    repository: str,
    referrers: Sequence[ReadReferrer],
    target: ReferrersTarget,
    failed_blobs: Mapping[Digest, str],
    wait: Wait,
) -> PutReferrers:
    """Put referrers whose blobs were copied, but for `failed_blobs`, each with the reason."""
    putting = _Putting(repository, target, failed_blobs)
    put = list(putting.put_each(referrers))
    putting.keep_tags(put, wait)
    sizes = {descriptor.digest: descriptor.size for one in put for descriptor, _ in one.manifests}
    sizes |= {blob.digest: blob.size for one in put for blob in one.blobs}
    return PutReferrers(len(put), sum(sizes.values()), tuple(putting.troubles))


class _Putting:
    def __init__(self, repository: str, target: ReferrersTarget, failed_blobs: Mapping[Digest, str]) -> None:
        self._repository, self._target, self._failed_blobs = repository, target, failed_blobs
        self._left_out: set[Digest] = set()
        self._failures = 0  # of the target, in a row
        self.troubles: list[Trouble] = []

    def put_each(self, referrers: Sequence[ReadReferrer]) -> Iterator[ReadReferrer]:
        """Put every referrer that can be put, and yield it."""
        try:
            present = self._present([one for one in referrers if one.tag is None])
            tagged = [one.tag for one in referrers if one.tag is not None]
            tags = self._target.published_digests(self._repository, tagged) if tagged else {}
        except PullaheadError as error:
            self.troubles += [trouble_of(error)] * len(referrers)
            return
        for one in referrers:
            trouble = self._cause(one)
            if trouble is None and one.root.descriptor.digest not in present:
                trouble = self._try(one, tags)
            if trouble is None:
                yield one
            else:
                self._left_out.add(one.root.descriptor.digest)
                self.troubles.append(trouble)

    def keep_tags(self, put: Sequence[ReadReferrer], wait: Wait) -> None:
        """Keep fallback tags, where the target does not list referrers itself."""
        by_subject: dict[Digest, dict[Digest, bytes]] = {}
        for one in put:
            if one.tag is None:
                by_subject.setdefault(one.subject, {})[one.root.descriptor.digest] = listing_entry(one.root)
        try:
            if not by_subject or self._target.lists_referrers(self._repository, next(iter(by_subject))):
                return
        except PullaheadError as error:
            self.troubles.append(trouble_of(error))
            return
        for subject, entries in by_subject.items():
            try:
                keep_fallback_tag(self._repository, subject, entries, self._target, wait)
            except PullaheadError as error:
                self.troubles.append(trouble_of(error))

    def _present(self, untagged: Sequence[ReadReferrer]) -> frozenset[Digest]:
        digests = [one.root.descriptor.digest for one in untagged]
        return frozenset(self._target.present_manifests(self._repository, digests)) if digests else frozenset()

    def _cause(self, one: ReadReferrer) -> Trouble | None:
        """Return why a referrer is not even tried."""
        name = f"the referrer {one.root.descriptor.digest} of {one.subject}"
        broken = next(
            (self._failed_blobs[blob.digest] for blob in one.blobs if blob.digest in self._failed_blobs), None
        )
        if broken is not None:
            kind, _, text = broken.partition(": ")
            return Trouble(kind, f"{name} lacks a blob: {text}")
        if one.subject in self._left_out:
            return Trouble("NotFoundError", f"{name} was not copied, since that was not")
        if self._failures >= _MAX_FAILURES:
            return Trouble("RegistryUnavailableError", f"{name} was not put, after {_MAX_FAILURES} others had failed")
        return None

    def _try(self, one: ReadReferrer, tags: Mapping[str, Digest]) -> Trouble | None:
        try:
            self._put(one, tags.get(one.tag) if one.tag is not None else None)
        except PullaheadError as error:
            self._failures = self._failures + 1 if error.retryable else 0
            return trouble_of(error)
        self._failures = 0
        return None

    def _put(self, one: ReadReferrer, tagged: Digest | None) -> None:
        if tagged == one.root.descriptor.digest:
            return
        version = ""
        if one.tag is not None and tagged is not None:
            version = self._check_replaceable(one.tag, one.root)
        for descriptor, content in one.manifests[:-1]:
            self._target.put_manifest(self._repository, RawManifest(descriptor, content), None)
        self._target.put_manifest(self._repository, one.root, one.tag, if_version=version)

    def _check_replaceable(self, tag: str, new: RawManifest) -> str:
        """Check that moving one of cosign's tags loses no signature that others have put there; return its version.

        Raises: ConflictError, and what the target raises.
        """
        held = self._target.read_manifest(self._repository, tag)
        if held is None:
            return ""
        lost = _layers_of(held.manifest) - _layers_of(new)
        if lost:
            raise ConflictError(
                f"{self._repository}:{tag} at the target holds {len(lost)} of its own that upstream's {tag} does not "
                "hold, and was not overwritten. Keep signatures of your own as referrers (cosign 3), or exclude this."
            )
        return held.version


def _layers_of(manifest: RawManifest) -> frozenset[Digest]:
    parsed = parse_manifest(manifest.content, manifest.descriptor.media_type)
    return frozenset(each.digest for each in (*parsed.blobs[1:], *parsed.children))


def keep_fallback_tag(
    repository: str, subject: Digest, added: Mapping[Digest, bytes], target: ReferrersTarget, wait: Wait
) -> None:
    """Add referrers to the index under a subject's fallback tag, and lose nothing that others add at the same time.

    After each write the tag is read twice, with a wait between: who wrote at the same moment may have read before. What
    was seen there once is put back with the same write. Raises: what the target raises, InvalidManifestError, and
    ConflictError where others write all the time.
    """
    tag, wanted = fallback_tag(subject), dict(added)
    has_written = is_confirmed = False
    for attempt in range(1, _MAX_WRITES + 1):
        held = target.read_manifest(repository, tag)
        if held is not None:
            _check_index(repository, tag, held.manifest)
            wanted |= entries_of(held.manifest.content)
        made = with_entries(held.manifest.content if held is not None else None, wanted)
        if made is None:
            if not has_written or is_confirmed:
                return
            is_confirmed = True
            wait(1)
            continue
        if len(made.content) > MAX_MANIFEST_BYTES:
            raise InvalidManifestError(f"{repository}:{tag} would have more than {MAX_MANIFEST_BYTES} bytes")
        try:
            target.put_manifest(repository, made, tag, if_version=held.version if held is not None else "")
        except ConflictError:
            wait(attempt)
        has_written, is_confirmed = True, False
    raise ConflictError(f"{repository}:{tag} was changed by others {_MAX_WRITES} times in a row")


def _check_index(repository: str, tag: str, manifest: RawManifest) -> None:
    if manifest.descriptor.media_type not in INDEXES:
        raise InvalidManifestError(f"{repository}:{tag} at the target is no index of referrers, and was left as it is")
