"""Find what belongs to an image: its referrers, theirs, and cosign's tags; choose by policy, and read what is chosen.

A listing costs one request for each page of referrers of a manifest, and one HEAD for each of cosign's three tags. What
cannot be listed or read is a failure that is reported; nothing here raises what a registry raises.

Sources: as `oci.referrers`.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

import msgspec

from pullahead.errors import PullaheadError, RateLimitedError
from pullahead.messages import Trouble
from pullahead.oci import Descriptor, Digest, InvalidManifestError, RawManifest, Reference, parse_manifest
from pullahead.oci.referrers import Referrer, ReferrerContent, cosign_tags, matches_any, read_referrer
from pullahead.oci.registries import ManifestReader, ReferrersReader
from pullahead.rules.model import ReferrersPolicy

MAX_SUBJECTS: Final = 100
"""Manifests of an image whose referrers are listed, the root first; the largest public indexes have some dozens."""
MAX_DEPTH: Final = 3
"""A signature of an SBOM of an image is at depth 2."""
MAX_REFERRERS: Final = 1000
MAX_BYTES: Final = 1024 * 1024 * 1024
"""Of the blobs of all referrers of an image together."""
MAX_MANIFEST_BYTES: Final = 16 * 1024 * 1024
"""Of the manifests of all referrers of an image together: they are stored in one object."""
_MAX_CHILDREN: Final = 100  # of a referrer that is an index
_THREADS: Final = 8

_Asked = TypeVar("_Asked")
_Answered = TypeVar("_Answered")


class Listed(NamedTuple):
    """A manifest that was found to belong to `subject`: listed as its referrer, or under `tag`, which is cosign's."""

    subject: Digest
    descriptor: Descriptor
    kinds: frozenset[str] = frozenset()
    tag: str | None = None


class Listing(NamedTuple):
    """What belongs to some manifests, subjects before what refers to them; what could not be listed; which limits were
    reached."""

    found: tuple[Listed, ...] = ()
    excluded: int = 0
    troubles: tuple[Trouble, ...] = ()
    limits: tuple[str, ...] = ()
    policy: ReferrersPolicy = ReferrersPolicy()

    @property
    def fingerprint(self) -> str:
        """Identify what was found by which policy: the same digests, subjects and tags give the same."""
        lines = sorted(f"{each.subject} {each.descriptor.digest} {each.tag or ''}" for each in self.found)
        lines.append(f"{self.policy.copy} {self.policy.exclude}")
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:24]


def list_referrers(
    source: Reference, subjects: Sequence[Digest], upstream: ReferrersReader, policy: ReferrersPolicy
) -> Listing:
    """List what belongs to the manifests of an image, and to what belongs to them, within the limits."""
    if not policy.copies_any:
        return Listing()
    with ThreadPoolExecutor(_THREADS) as pool:
        return _Lister(source, upstream, policy, pool).walk(subjects)


def count_referrers(source: Reference, upstream: ReferrersReader, policy: ReferrersPolicy) -> int:
    """Count what belongs to a manifest that is not copied; what cannot be listed counts as nothing."""
    if not policy.copies_any or source.digest is None:
        return 0
    with ThreadPoolExecutor(_THREADS) as pool:
        return _Lister(source, upstream, policy, pool).count_direct(source.digest)


class _Lister:
    """Lists level by level, several manifests at once."""

    def __init__(
        self, source: Reference, upstream: ReferrersReader, policy: ReferrersPolicy, pool: ThreadPoolExecutor
    ) -> None:
        self._source, self._upstream, self._policy, self._pool = source, upstream, policy, pool
        self._found: dict[tuple[Digest, Digest, str | None], Listed] = {}
        self._troubles: list[Trouble] = []
        self._limits: list[str] = []
        self._excluded = 0
        self._is_down = False  # the registry does not answer for now, and is not asked for every manifest

    def walk(self, subjects: Sequence[Digest]) -> Listing:
        if len(subjects) > MAX_SUBJECTS:
            self._limits.append(
                f"it has {len(subjects)} manifests; referrers of the first {MAX_SUBJECTS} are looked for"
            )
        level = list(dict.fromkeys(subjects))[:MAX_SUBJECTS]
        seen = set(level)
        with_tags = frozenset(level)  # cosign's tags may be there of the image, and of what stands under such a tag
        for depth in range(MAX_DEPTH + 1):
            # The first one alone: it shows whether the registry answers at all.
            below = [*self._each(self._by_api, level[:1]), *self._each(self._by_api, level[1:])]
            below += [*self._each(self._by_tags, _tags_of(level, with_tags))]
            if depth == MAX_DEPTH:
                if any(below):
                    self._limits.append(f"referrers of referrers are copied to a depth of {MAX_DEPTH}")
                break
            new = [each for some in below for each in some if self._add(each)]
            with_tags = frozenset(each.descriptor.digest for each in new if each.tag is not None)
            level = [digest for digest in dict.fromkeys(each.descriptor.digest for each in new) if digest not in seen]
            seen.update(level)
            if not level or len(self._found) >= MAX_REFERRERS:
                break
        limits = tuple(dict.fromkeys(self._limits))
        return Listing(tuple(self._found.values()), self._excluded, tuple(self._troubles), limits, self._policy)

    def count_direct(self, subject: Digest) -> int:
        found = [*self._each(self._by_api, [subject]), *self._each(self._by_tags, _tags_of([subject], [subject]))]
        return sum(map(len, found))

    def _each(self, ask: Callable[[_Asked], list[Listed] | Trouble], asked: Iterable[_Asked]) -> Iterator[list[Listed]]:
        for answered in self._pool.map(ask, asked):
            if isinstance(answered, Trouble):
                self._troubles.append(answered)
            else:
                yield answered

    def _by_api(self, subject: Digest) -> list[Listed] | Trouble:
        if self._is_down:
            return []
        try:
            referrers = self._upstream.list_referrers(self._source, subject)
        except PullaheadError as error:
            return self._trouble(error)
        return [Listed(subject, each.descriptor, _kinds(each)) for each in referrers]

    def _by_tags(self, asked: tuple[Digest, str]) -> list[Listed] | Trouble:
        subject, tag = asked
        if self._is_down:
            return []
        try:
            found = self._upstream.find_manifest(Reference(self._source.repository, tag))
        except PullaheadError as error:
            return self._trouble(error)
        return [] if found is None else [Listed(subject, found, tag=tag)]

    def _trouble(self, error: PullaheadError) -> Trouble:
        self._is_down = self._is_down or error.retryable or isinstance(error, RateLimitedError)
        return trouble_of(error)

    def _add(self, listed: Listed) -> bool:
        """Add what was found, unless its kind is known to be left out, it is there already, or it is one too many."""
        key = (listed.subject, listed.descriptor.digest, listed.tag)
        if key in self._found:
            return False
        if matches_any(listed.kinds, self._policy.exclude):
            self._excluded += 1
            return False
        if len(self._found) >= MAX_REFERRERS:
            self._limits.append(f"it has more than {MAX_REFERRERS} referrers; {MAX_REFERRERS} are copied")
            return False
        self._found[key] = listed
        return True


def _tags_of(subjects: Iterable[Digest], with_tags: Collection[Digest]) -> list[tuple[Digest, str]]:
    return [(subject, tag) for subject in subjects if subject in with_tags for tag in cosign_tags(subject)]


def _kinds(referrer: Referrer) -> frozenset[str]:
    return referrer.kinds or frozenset({referrer.artifact_type} - {""})


class ReadReferrer(msgspec.Struct, frozen=True):
    """A referrer to copy, whose manifests were read: its children first, if it is an index, and its root last."""

    subject: Digest
    manifests: tuple[tuple[Descriptor, bytes], ...]
    blobs: tuple[Descriptor, ...]
    tag: str | None = None  # cosign's, under which it is found

    @property
    def root(self) -> RawManifest:
        """The referrer itself."""
        return RawManifest(*self.manifests[-1])


class ReadReferrers(NamedTuple):
    """The referrers to copy, subjects before what refers to them, and what is not copied."""

    referrers: tuple[ReadReferrer, ...] = ()
    excluded: int = 0
    troubles: tuple[Trouble, ...] = ()
    limits: tuple[str, ...] = ()

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Every blob once."""
        every = (blob for referrer in self.referrers for blob in referrer.blobs)
        return tuple({blob.digest: blob for blob in every}.values())


def read_referrers(
    source: Reference, listing: Listing, upstream: ManifestReader, policy: ReferrersPolicy
) -> ReadReferrers:
    """Read the manifests of what was listed, and choose by what they say that they are."""
    with ThreadPoolExecutor(_THREADS) as pool:
        read = pool.map(lambda listed: _read(source, listed, upstream, policy), listing.found)
        return _choose(listing, list(zip(listing.found, read, strict=True)))


def _choose(listing: Listing, read: Sequence[tuple[Listed, "ReadReferrer | Trouble | None"]]) -> ReadReferrers:
    """Leave out what is not wanted, what refers to something left out, and what exceeds the limits."""
    chosen: list[ReadReferrer] = []
    troubles, limits, excluded = list(listing.troubles), list(listing.limits), listing.excluded
    left_out: set[Digest] = set()
    blobs: dict[Digest, int] = {}
    manifest_bytes = 0
    for listed, one in read:
        if isinstance(one, ReadReferrer) and listed.subject not in left_out:
            more = {blob.digest: blob.size for blob in one.blobs}
            size = sum(len(content) for _, content in one.manifests)
            if sum((blobs | more).values()) > MAX_BYTES or manifest_bytes + size > MAX_MANIFEST_BYTES:
                limits.append(
                    f"its referrers have more than {MAX_BYTES} bytes, or {MAX_MANIFEST_BYTES} of manifests; "
                    f"{listed.descriptor.digest} is left out"
                )
            else:
                blobs |= more
                manifest_bytes += size
                chosen.append(one)
                continue
        elif isinstance(one, Trouble):
            troubles.append(one)
        else:
            excluded += 1
        left_out.add(listed.descriptor.digest)
    return ReadReferrers(tuple(chosen), excluded, tuple(troubles), tuple(limits))


def _read(
    source: Reference, listed: Listed, upstream: ManifestReader, policy: ReferrersPolicy
) -> ReadReferrer | Trouble | None:
    """Read one referrer; None where its kind is not wanted."""
    reference = source.at(listed.descriptor.digest)
    try:
        root = upstream.get_manifest(reference)
        content = read_referrer(root)
        if not is_wanted(content.kinds | listed.kinds, policy):
            return None
        _check_subject(listed, content)
        return _with_children(source, listed, root, upstream)
    except InvalidManifestError as error:
        return Trouble("InvalidManifestError", f"the referrer {reference} cannot be copied: {error}")
    except PullaheadError as error:
        return trouble_of(error)


def _check_subject(listed: Listed, content: ReferrerContent) -> None:
    """Check that a referrer is one: what names another subject would be found by nobody in the target."""
    if listed.tag is None and content.subject != listed.subject:
        raise InvalidManifestError(f"it is listed for {listed.subject}, and names {content.subject} as its subject")


def _with_children(source: Reference, listed: Listed, root: RawManifest, upstream: ManifestReader) -> ReadReferrer:
    parsed = parse_manifest(root.content, root.descriptor.media_type)
    if len(parsed.children) > _MAX_CHILDREN:
        raise InvalidManifestError(f"it is an index of more than {_MAX_CHILDREN} manifests")
    manifests, blobs, foreign = [(root.descriptor, root.content)], list(parsed.blobs), parsed.foreign
    for child in reversed(parsed.children):
        raw = upstream.get_manifest(source.at(child.digest))
        below = parse_manifest(raw.content, raw.descriptor.media_type)
        if below.children:
            raise InvalidManifestError("it is an index of indexes")
        manifests.insert(0, (raw.descriptor, raw.content))
        blobs += below.blobs
        foreign |= below.foreign
    own = {blob.digest: blob for blob in blobs if blob.digest not in foreign}
    return ReadReferrer(listed.subject, tuple(manifests), tuple(own.values()), listed.tag)


def is_wanted(kinds: Collection[str], policy: ReferrersPolicy) -> bool:
    """Tell whether the policy copies an artifact of these kinds."""
    if matches_any(kinds, policy.exclude):
        return False
    return policy.copy if isinstance(policy.copy, bool) else matches_any(kinds, policy.copy)


def trouble_of(error: PullaheadError) -> Trouble:
    """Report an error as trouble with referrers."""
    return Trouble(type(error).__name__, str(error))
