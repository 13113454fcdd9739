"""in-toto statements: of which image they speak, and what SLSA provenance says of builder and source. Pure.

Sources: in-toto attestation framework, spec/v1/statement.md and envelope.md; SLSA provenance v1 and v0.2; GitHub's
build type https://actions.github.io/buildtypes/workflow/v1.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from pullahead.admission.signatures.strict_json import read_object, value_at
from pullahead.admission.signatures.verdict import RefusedError
from pullahead.oci import Digest, algorithm_of
from pullahead.rules.signature_policy import AttestationDemand, matches_pattern

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
COSIGN_SIGN: Final = "https://sigstore.dev/cosign/sign/v1"
"""The predicate type of cosign 3's signature of an image, which attests nothing."""

MAX_SUBJECTS: Final = 1024
_STATEMENTS: Final = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
_SLSA_V1: Final = "https://slsa.dev/provenance/v1"
_SLSA_V02: Final = "https://slsa.dev/provenance/v0.2"


class Statement(NamedTuple):
    """What was signed: of which kind it is, how many things it speaks of, and what it says."""

    predicate_type: str
    subjects: int
    predicate: Any


def read_statement(payload_type: str, payload: bytes, image: Digest) -> Statement:
    """Read a statement about an image. Raises RefusedError where it is none, or speaks of others only."""
    if payload_type != PAYLOAD_TYPE:
        raise RefusedError(f"its payload is of type {payload_type!r}, and no in-toto statement")
    document = read_object(payload, "its statement", folded=False)
    if document.get("_type") not in _STATEMENTS:
        raise RefusedError(f"it is an in-toto statement of an unknown type: {document.get('_type')!r}")
    predicate_type = document.get("predicateType")
    if not isinstance(predicate_type, str):
        raise RefusedError("its statement names no predicate type")
    subjects = document.get("subject")
    if not isinstance(subjects, list) or not subjects:
        raise RefusedError("its statement names no subject")
    if len(subjects) > MAX_SUBJECTS:
        raise RefusedError(f"its statement names {len(subjects)} subjects; the limit is {MAX_SUBJECTS}")
    named = [_digest_in(subject, image) for subject in subjects]
    if image not in named:
        more = f" and {len(named) - 1} others" if len(named) > 1 else ""
        raise RefusedError(f"it is of {named[0] or 'something without such a digest'}{more}, not of this image")
    if predicate_type == COSIGN_SIGN and len(named) > 1:
        raise RefusedError(f"it signs {len(named)} subjects at once; a signature of an image names one")
    return Statement(predicate_type, len(named), document.get("predicate"))


def _digest_in(subject: Any, image: Digest) -> str:
    """The digest of a subject by the image's algorithm; "" if it has none."""
    digests = subject.get("digest") if isinstance(subject, dict) else None
    if not isinstance(digests, dict):
        raise RefusedError("its statement has a subject without digests")
    algorithm = algorithm_of(image)
    value = digests.get(algorithm)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RefusedError("its statement has a digest that is no text")
    return f"{algorithm}:{value}"


def check_demand(statement: Statement, demand: AttestationDemand) -> str:
    """Check what an attestation says; returns that in words. Raises RefusedError."""
    if statement.predicate_type != demand.predicate_type:
        raise RefusedError(f"it attests {statement.predicate_type}, not {demand.predicate_type}")
    said = []
    if demand.builder is not None:
        builder = _builder_of(statement)
        if not matches_pattern(builder, demand.builder):
            raise RefusedError(f"its builder is {builder}, not {demand.builder}")
        said.append(f"built by {builder}")
    if demand.source is not None:
        wanted = plain_source(demand.source)
        sources = sorted(set(_sources_of(statement)))
        if not sources:
            raise RefusedError("it names no source where SLSA provenance names it")
        if other := [source for source in sources if not matches_pattern(source, wanted)]:
            raise RefusedError(f"its source is {other[0]}, not {wanted}")
        said.append(f"from {sources[0]}")
    return " ".join(said)


def _builder_of(statement: Statement) -> str:
    at = {_SLSA_V1: ("runDetails", "builder", "id"), _SLSA_V02: ("builder", "id")}.get(statement.predicate_type)
    if at is None:
        raise RefusedError(f"{statement.predicate_type} names no builder that could be compared")
    found = _text_at(statement.predicate, *at)
    if not found:
        raise RefusedError(f"it names no builder at {'.'.join(at)}")
    return found


def _sources_of(statement: Statement) -> Iterator[str]:
    """Yield every source that a provenance claims: they may not contradict each other."""
    predicate = statement.predicate
    if statement.predicate_type == _SLSA_V1:
        parameters = ("buildDefinition", "externalParameters")
        claims = [
            _text_at(predicate, *parameters, "workflow", "repository"),
            _text_at(predicate, *parameters, "source"),
            _text_at(predicate, *parameters, "source", "uri"),
            _first_uri(value_at(predicate, "buildDefinition", "resolvedDependencies")),
        ]
    elif statement.predicate_type == _SLSA_V02:
        claims = [
            _text_at(predicate, "invocation", "configSource", "uri"),
            _first_uri(value_at(predicate, "materials")),
        ]
    else:
        raise RefusedError(f"{statement.predicate_type} names no source that could be compared")
    return (plain_source(claim) for claim in claims if claim)


def plain_source(uri: str) -> str:
    """Write a repository's URL in one way: without `git+`, what was checked out, and `.git`."""
    address = uri.removeprefix("git+")
    if "://" not in address:
        address = f"https://{address}"
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    path = path.partition("@")[0].partition("#")[0].rstrip("/").removesuffix(".git")
    return f"{scheme}://{host}{slash}{path}"


def _text_at(document: Any, *keys: str) -> str:
    found = value_at(document, *keys)
    return found if isinstance(found, str) else ""


def _first_uri(listed: Any) -> str:
    return _text_at(listed[0], "uri") if isinstance(listed, list) and listed else ""
