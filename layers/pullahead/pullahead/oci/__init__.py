"""The vocabulary of OCI registries: digests, references, descriptors, manifests. Pure."""

from pullahead.oci.digest import Digest, InvalidDigestError, algorithm_of, digest_of, find_digest, parse_digest, short
from pullahead.oci.manifest import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    InvalidManifestError,
    Manifest,
    RawManifest,
    describe,
    parse_manifest,
    sniff_media_type,
)
from pullahead.oci.reference import InvalidReferenceError, Reference, Repository, parse_host, parse_reference

__all__ = [
    "MAX_MANIFEST_BYTES",
    "Descriptor",
    "Digest",
    "InvalidDigestError",
    "InvalidManifestError",
    "InvalidReferenceError",
    "Manifest",
    "RawManifest",
    "Reference",
    "Repository",
    "algorithm_of",
    "describe",
    "digest_of",
    "find_digest",
    "parse_digest",
    "parse_host",
    "parse_manifest",
    "parse_reference",
    "short",
    "sniff_media_type",
]
