"""Referrers: the manifests that belong to another one, how they are found, and what kinds of artifact they are. Pure.

A referrer names its subject. A registry lists it by the Referrers API, or clients keep it in an index under the
subject's fallback tag. cosign 2 names no subject: it keeps signature, attestations and SBOM under tags of their own.

Sources: OCI image specification 1.1, manifest.md ("subject", "artifactType") and image-index.md; OCI distribution
specification 1.1, "Listing Referrers", "Pushing Manifests with Subject" and "Referrers Tag Schema"; cosign 2,
specs/SIGNATURE_SPEC.md and specs/SBOM_SPEC.md; sigstore's bundle specification ("dev.sigstore.bundle").
"""

import re
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

import msgspec

from pullahead.oci.digest import Digest, InvalidDigestError, parse_digest
from pullahead.oci.manifest import Descriptor, InvalidManifestError, RawManifest, describe
from pullahead.oci.media_types import OCI_INDEX

COSIGN_SUFFIXES: Final = (".sig", ".att", ".sbom")

_TAG_OF_SUBJECT: Final = re.compile(r"(sha256|sha512)-([0-9a-f]{64})(\.sig|\.att|\.sbom)?")
_PREDICATE_TYPES: Final = ("dev.sigstore.bundle.predicateType", "predicateType", "in-toto.io/predicate-type")
_MAX_KIND_CHARACTERS: Final = 255
_MAX_KINDS: Final = 100  # of one manifest; real ones have two or three


class Referrer(NamedTuple):
    """A manifest that refers to another one, as a listing describes it. `kinds` is what the listing says that it is."""

    descriptor: Descriptor
    artifact_type: str
    kinds: frozenset[str] = frozenset()


class ReferrerContent(NamedTuple):
    """What the bytes of a referrer say: its subject, if it names one, and what kinds of artifact it is."""

    subject: Digest | None
    kinds: frozenset[str]


def fallback_tag(digest: Digest) -> str:
    """Name the tag under which clients keep referrers if the registry has no API for them."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


def cosign_tags(digest: Digest) -> tuple[str, ...]:
    """Name the tags under which cosign 2 keeps what belongs to a manifest."""
    return tuple(f"{fallback_tag(digest)}{suffix}" for suffix in COSIGN_SUFFIXES)


def subject_of_tag(tag: str) -> str | None:
    """Return how the digest begins whose referrers a tag keeps (of sha512 a tag has only half); None for other tags."""
    match = _TAG_OF_SUBJECT.fullmatch(tag)
    return f"{match[1]}:{match[2]}" if match is not None else None


class _Typed(msgspec.Struct, rename="camel"):
    media_type: str = ""
    annotations: dict[str, Any] | None = None


class _Wire(msgspec.Struct, rename="camel"):
    artifact_type: str | None = None
    config: _Typed | None = None
    layers: list[_Typed] | None = None
    subject: Descriptor | None = None
    annotations: dict[str, Any] | None = None


def read_referrer(manifest: RawManifest) -> ReferrerContent:
    """Read subject and kinds from a manifest's bytes. Raises InvalidManifestError."""
    wire = _decode(manifest.content)
    try:
        subject = parse_digest(wire.subject.digest) if wire.subject is not None else None
    except InvalidDigestError as error:
        raise InvalidManifestError(f"its subject cannot be verified: {error}") from error
    typed = [wire.config] if wire.config is not None else []
    layers = wire.layers or []
    kinds = [wire.artifact_type or "", *(each.media_type for each in (*typed, *layers))]
    annotated = [wire.annotations, *(layer.annotations for layer in layers)]
    return ReferrerContent(subject, kinds_of(kinds, annotated))


def kinds_of(types: Iterable[str], annotated: Iterable[Mapping[str, Any] | None]) -> frozenset[str]:
    """Collect what may be said of an artifact's kind: types, and the predicate types in annotations."""
    predicates = (found.get(name) for found in annotated if found for name in _PREDICATE_TYPES)
    every = (*types, *(each for each in predicates if isinstance(each, str)))
    kinds = dict.fromkeys(each for each in every if 0 < len(each) <= _MAX_KIND_CHARACTERS)
    return frozenset(list(kinds)[:_MAX_KINDS])


def matches_any(kinds: Collection[str], globs: Collection[str]) -> bool:
    """Tell whether one of the kinds matches one of the globs."""
    return any(fnmatchcase(kind, glob) for kind in kinds for glob in globs)


def _decode(content: bytes) -> _Wire:
    try:
        return msgspec.json.decode(content, type=_Wire)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidManifestError(f"invalid JSON: {error}") from error


# --- The index under a fallback tag -----------------------------------------------------------------------------------


class _IndexEntry(msgspec.Struct):
    digest: str


class _Index(msgspec.Struct):
    manifests: list[msgspec.Raw] | None = None  # Go writes an empty list as null


def listing_entry(manifest: RawManifest) -> bytes:
    """Describe a referrer as a listing does: with its artifact type and annotations. Raises InvalidManifestError."""
    wire = _decode(manifest.content)
    config = wire.config.media_type if wire.config is not None else ""
    described: dict[str, Any] = msgspec.to_builtins(manifest.descriptor)
    if artifact_type := wire.artifact_type or config:
        described["artifactType"] = artifact_type
    if wire.annotations:
        described["annotations"] = wire.annotations
    return msgspec.json.encode(described)


def entries_of(content: bytes) -> dict[Digest, bytes]:
    """Return the entries of the index under a fallback tag as they are written, by digest.

    Raises InvalidManifestError.
    """
    entries = _entries(content)
    return {Digest(digest): bytes(entry) for digest, entry in zip(_digests(entries), entries, strict=True)}


def with_entries(content: bytes | None, added: Mapping[Digest, bytes]) -> RawManifest | None:
    """Add referrers to the index under a fallback tag, or to a new one; None where it names them all already.

    Everything else in it, whoever wrote it, is kept byte for byte. Raises InvalidManifestError.
    """
    fields: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    entries: list[msgspec.Raw] = []
    if content is not None:
        entries = _entries(content)
        fields = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    known = frozenset(_digests(entries))
    new = [msgspec.Raw(entry) for digest, entry in added.items() if digest not in known]
    if not new:
        return None
    fields["manifests"] = [*entries, *new]
    made = msgspec.json.encode(fields)
    return RawManifest(describe(made, OCI_INDEX), made)


def _entries(content: bytes) -> list[msgspec.Raw]:
    try:
        return msgspec.json.decode(content, type=_Index).manifests or []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidManifestError(f"invalid index: {error}") from error


def _digests(entries: Iterable[msgspec.Raw]) -> list[str]:
    try:
        return [msgspec.json.decode(entry, type=_IndexEntry).digest for entry in entries]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidManifestError(f"invalid index: {error}") from error
