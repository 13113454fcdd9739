"""Find what may prove who made an image: bundles among its referrers, and what cosign 2 keeps. All of it is bounded.

What a listing says of a referrer decides only whether it is read at all. Each is read when it is asked for: the first
one that satisfies costs no more.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from pullahead.admission.signatures.bundle import BUNDLE_PREFIX, MAX_BUNDLE_BYTES
from pullahead.admission.signatures.cosign2 import CosignTag
from pullahead.admission.signatures.verdict import Evidence, RefusedError, refused, unreadable
from pullahead.errors import (
    DigestMismatchError,
    NotFoundError,
    PullaheadError,
    ResponseTooLargeError,
    UnsupportedMediaTypeError,
)
from pullahead.oci import (
    Descriptor,
    Digest,
    InvalidManifestError,
    RawManifest,
    Reference,
    algorithm_of,
    digest_of,
    parse_manifest,
)
from pullahead.oci.media_types import INDEXES
from pullahead.oci.referrers import Referrer, fallback_tag, read_referrer
from pullahead.oci.registries import BlobReader, ReferrersReader
from pullahead.text import one_line

MAX_CANDIDATES: Final = 100
"""Referrers that are read of one image, and signatures under cosign 2's tag; most images have one to five."""
MAX_BYTES: Final = 32 * 1024 * 1024
"""Of the manifests and blobs of all referrers together, and as much under the tag."""
_UNSPECIFIC: Final = ("application/vnd.oci.empty.v1+json", "application/vnd.oci.image.", "application/vnd.docker.")
_HOSTILE: Final = (NotFoundError, DigestMismatchError, ResponseTooLargeError, UnsupportedMediaTypeError)
"""What a registry answers for good: asking again does not help."""


class SignatureReader(ReferrersReader, BlobReader, Protocol):
    """Reads what upstream keeps beside an image."""


class BundleCandidate(NamedTuple):
    """The bytes of a bundle, and where they are kept."""

    source: str
    content: bytes


class Cosign2Candidate(NamedTuple):
    """A layer that cosign 2 has written, and its annotations."""

    source: str
    content: bytes
    annotations: Mapping[str, str]


Candidate = BundleCandidate | Cosign2Candidate


class _Layer(Descriptor, frozen=True, rename="camel"):
    annotations: dict[str, Any] | None = None


class _Wire(msgspec.Struct):
    layers: list[_Layer] | None = None  # Go writes an empty list as null


def find_candidates(
    image: Reference, digest: Digest, reader: SignatureReader, predicates: Collection[str], kind: CosignTag
) -> Iterator[Candidate | Evidence]:
    """Yield what may prove something, and evidence of what cannot be read or is not what it says.

    What names other predicate types than `predicates` is left out. `kind` is which of cosign 2's tags is looked for.
    """
    return _Search(image, digest, reader, frozenset(predicates), kind).run()


class _Search:
    def __init__(
        self,
        image: Reference,
        digest: Digest,
        reader: SignatureReader,
        predicates: frozenset[str],
        kind: CosignTag,
    ) -> None:
        self._image, self._digest, self._reader, self._predicates = image, digest, reader, predicates
        self._kind = kind
        self._candidates_left, self._bytes_left = MAX_CANDIDATES, MAX_BYTES

    def run(self) -> Iterator[Candidate | Evidence]:
        yield from self._referrers()
        # Whoever writes very many referrers hides no signature under the tag.
        self._candidates_left, self._bytes_left = MAX_CANDIDATES, MAX_BYTES
        yield from self._tagged()

    def _referrers(self) -> Iterator[Candidate | Evidence]:
        try:
            listed = self._reader.list_referrers(self._image, self._digest)
        except PullaheadError as error:
            yield _failed("its referrers", error)
            return
        # Those that say what they are come first.
        likely = sorted((each for each in listed if self._may_prove(each)), key=_is_unspecific)
        for number, referrer in enumerate(likely):
            if self._candidates_left <= 0:
                yield refused("", f"{len(likely) - number} of its {len(listed)} referrers were not looked at: too many")
                return
            self._candidates_left -= 1
            source = f"referrer {referrer.descriptor.digest}"
            try:
                raw = self._read_manifest(self._image.at(referrer.descriptor.digest))
                if self._has_wanted_predicate(self._kinds(raw)):
                    yield from self._layers(source, raw)
            except (RefusedError, InvalidManifestError) as error:
                yield refused(source, error)
            except PullaheadError as error:
                yield _failed(source, error)

    def _tagged(self) -> Iterator[Candidate | Evidence]:
        tag = f"{fallback_tag(self._digest)}{self._kind.suffix}"
        source = f"tag {tag}"
        try:
            found = self._reader.find_manifest(Reference(self._image.repository, tag))
            if found is None:
                return
            yield from self._layers(source, self._read_manifest(self._image.at(found.digest)))
        except (RefusedError, InvalidManifestError) as error:
            yield refused(source, error)
        except PullaheadError as error:
            yield _failed(source, error)

    def _may_prove(self, referrer: Referrer) -> bool:
        kinds = {referrer.artifact_type, *referrer.kinds} - {""}
        if not self._has_wanted_predicate(kinds):
            return False
        is_bundle = any(kind.startswith(BUNDLE_PREFIX) for kind in kinds)
        return is_bundle or self._kind.artifact_type in kinds or _is_unspecific(referrer)

    def _kinds(self, raw: RawManifest) -> Collection[str]:
        """Read what kinds of artifact a referrer is. Raises RefusedError for one of another image."""
        content = read_referrer(raw)
        if content.subject != self._digest:
            raise RefusedError("it is listed for this image, and names another one as its subject")
        return content.kinds

    def _has_wanted_predicate(self, kinds: Collection[str]) -> bool:
        """Tell whether nothing speaks against reading it: what it names as its predicate type, if anything."""
        predicates = {kind for kind in kinds if "://" in kind}
        return not predicates or bool(predicates & self._predicates)

    def _read_manifest(self, reference: Reference) -> RawManifest:
        raw = self._reader.get_manifest(reference)
        self._take(len(raw.content))
        if raw.descriptor.media_type in INDEXES:
            raise RefusedError("it is an index, and no artifact")
        parse_manifest(raw.content, raw.descriptor.media_type)  # raises for what clients would read differently
        return raw

    def _layers(self, source: str, raw: RawManifest) -> Iterator[Candidate | Evidence]:
        try:
            layers = msgspec.json.decode(raw.content, type=_Wire).layers or []
        except msgspec.DecodeError as error:
            raise RefusedError(f"its layers cannot be read: {error}") from None
        bundles = [layer for layer in layers if layer.media_type.startswith(BUNDLE_PREFIX)]
        if bundles:
            if len(layers) != 1:
                raise RefusedError(f"it has {len(layers)} layers; a bundle is one")
            yield BundleCandidate(source, self._read_blob(bundles[0], MAX_BUNDLE_BYTES))
            return
        signatures = [layer for layer in layers if layer.media_type == self._kind.media_type]
        for number, layer in enumerate(signatures):
            if self._candidates_left <= 0:
                yield refused(source, f"{len(signatures) - number} of its signatures were not looked at: too many")
                return
            texts = {key: value for key, value in (layer.annotations or {}).items() if isinstance(value, str)}
            if not self._has_wanted_predicate({texts.get("predicateType", "")}):
                continue
            self._candidates_left -= 1
            yield self._cosign2(f"{source}, signature {number + 1}", layer, texts)

    def _cosign2(self, source: str, layer: _Layer, annotations: Mapping[str, str]) -> Candidate | Evidence:
        try:
            content = self._read_blob(layer, self._kind.max_bytes)
        except RefusedError as error:
            return refused(source, error)
        except PullaheadError as error:
            return _failed(source, error)
        return Cosign2Candidate(source, content, annotations)

    def _read_blob(self, layer: _Layer, most: int) -> bytes:
        if layer.size > most:
            raise RefusedError(f"it is said to have {layer.size} bytes; the limit is {most}, and it is not read")
        self._take(layer.size)
        blob = Descriptor(layer.media_type, layer.digest, layer.size)
        content = bytearray()
        with self._reader.open_blob(self._image.repository, blob) as pieces:
            for piece in pieces:
                content += piece
                if len(content) > layer.size:
                    break
        if len(content) != layer.size or digest_of(bytes(content), algorithm_of(layer.digest)) != layer.digest:
            raise RefusedError("its bytes do not have the size and the digest that its manifest names")
        return bytes(content)

    def _take(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise RefusedError(f"what belongs to the image has more than {MAX_BYTES} bytes; it is not read")


def _is_unspecific(referrer: Referrer) -> bool:
    """Tell whether a listing leaves open what a referrer is: cosign may name its type in the config alone."""
    kinds = {referrer.artifact_type, *referrer.kinds} - {""}
    return all(kind.startswith(_UNSPECIFIC) or "://" in kind for kind in kinds)


def is_hostile(error: PullaheadError) -> bool:
    """Tell whether a registry answers so for good: asking it again does not help."""
    return isinstance(error, _HOSTILE)


def _failed(source: str, error: PullaheadError) -> Evidence:
    text = one_line(str(error))
    return refused(source, text) if is_hostile(error) else unreadable(source, text)
