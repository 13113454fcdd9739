"""The payload that cosign 2 signs: which image it names, by digest and by repository. Pure.

Source: cosign 2, specs/SIGNATURE_SPEC.md ("Simple Signing"); containers/image, docs/containers-signature.5.md.
"""

from collections.abc import Collection
from typing import Any, Final

from pullahead.admission.signatures.strict_json import read_object
from pullahead.admission.signatures.verdict import RefusedError
from pullahead.oci import Digest, InvalidReferenceError, Repository, parse_reference

_TYPES: Final = frozenset({"cosign container image signature", "atomic container signature"})


def check_payload(payload: bytes, image: Digest, repositories: Collection[Repository]) -> None:
    """Check that a payload is of an image in one of some repositories. Raises RefusedError."""
    document = read_object(payload, "its payload", folded=True)
    critical = _object(document, "critical")
    if critical.get("type") not in _TYPES:
        raise RefusedError(f"its payload is no signature of an image, but {critical.get('type')!r}")
    signed = _object(critical, "image").get("docker-manifest-digest")
    if signed != image:
        raise RefusedError(f"it is of {signed}, not of this image")
    name = _object(critical, "identity").get("docker-reference")
    repository = _repository(name)
    if repository not in repositories:
        wanted = " or ".join(sorted(map(str, repositories)))
        raise RefusedError(f"it is of an image of {name}, not of {wanted}")


def _object(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key)
    if not isinstance(found, dict):
        raise RefusedError(f"its payload has no {key}")
    return found


def _repository(name: object) -> Repository | None:
    if not isinstance(name, str):
        return None
    try:
        return parse_reference(name, default_tag=None).repository
    except InvalidReferenceError:
        return None
