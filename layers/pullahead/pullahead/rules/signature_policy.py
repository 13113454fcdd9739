"""Who must have signed an image, and what must be attested of it. Pure data, and how names are matched.

A name is exact, or a pattern of the whole name: `*` is any text without `/` and `@`, `**` any text. All else stands for
itself: there are no regular expressions, in which a dot matches more than a dot.
"""

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from pullahead.oci import Repository

FORM: Final = 1
"""Raise it where the same policy means something else than before: what was proven by the other one is void."""

MAX_PATTERN_CHARACTERS: Final = 1024
MAX_NAME_CHARACTERS: Final = 4096
_MAX_WILDCARDS: Final = 8
_PRINTABLE: Final = re.compile(r"[!-~]+")
_STAR: Final = re.compile(r"\*+")
_PART: Final = re.compile(r"\*+|[^*]", re.DOTALL)


class KeylessSigner(msgspec.Struct, frozen=True, tag="keyless"):
    """An identity that a certificate of Fulcio names (a pattern), and who vouches for it: an issuer's exact URL."""

    issuer: str
    identity: str

    def __str__(self) -> str:
        return f"{self.identity} (issuer {self.issuer})"

    def is_named_by(self, identity: str, issuer: str) -> bool:
        """Tell whether a certificate's identity and issuer are this signer's."""
        return issuer == self.issuer and matches_pattern(identity, self.identity)


class KeySigner(msgspec.Struct, frozen=True, tag="key"):
    """Whoever holds the private key of a public one, which is PEM text. `name` is what people call it."""

    pem: str
    name: str

    def __str__(self) -> str:
        return f"the key {self.name}"


class KmsSigner(msgspec.Struct, frozen=True, tag="kms"):
    """Whoever may sign with a key of AWS KMS, which is named by its alias or ARN. Only `verify_image` asks for it."""

    key_id: str

    def __str__(self) -> str:
        return f"the key {self.key_id} of KMS"


Signer = KeylessSigner | KeySigner | KmsSigner


class AttestationDemand(NamedTuple):
    """An attestation that must be there: its predicate type, and of an SLSA provenance the builder and the source.

    `builder` and `source` are patterns; None: not asked for. `signers`, if there are any, sign it in place of the
    policy's.
    """

    predicate_type: str
    builder: str | None = None
    source: str | None = None
    signers: tuple[Signer, ...] = ()


class SignaturePolicy(NamedTuple):
    """What admits an image: a signature by one of `signers`; with `attestations`, each of these instead.

    `signed_as` are repositories that a signature may name beside the one that the image is read from.
    """

    signers: tuple[Signer, ...]
    attestations: tuple[AttestationDemand, ...] = ()
    signed_as: tuple[Repository, ...] = ()

    @property
    def every_signer(self) -> tuple[Signer, ...]:
        """Every signer that is trusted with something, once."""
        every = (*self.signers, *(signer for demand in self.attestations for signer in demand.signers))
        return tuple(dict.fromkeys(every))

    @property
    def without_key_names(self) -> "SignaturePolicy":
        """The same without what people call its keys, which proves nothing."""
        attestations = tuple(each._replace(signers=_without_names(each.signers)) for each in self.attestations)
        return self._replace(signers=_without_names(self.signers), attestations=attestations)

    @property
    def needs_trust_root(self) -> bool:
        """Tell whether somebody is trusted who signs without a key."""
        return any(isinstance(signer, KeylessSigner) for signer in self.every_signer)


@lru_cache(maxsize=256)
def fingerprint_of(policy: SignaturePolicy) -> str:
    """Identify a policy by all that it says, keys included: 16 hex digits."""
    return hashlib.sha256(msgspec.json.encode((FORM, policy.without_key_names))).hexdigest()[:16]


def _without_names(signers: tuple[Signer, ...]) -> tuple[Signer, ...]:
    return tuple(KeySigner(each.pem.strip(), "") if isinstance(each, KeySigner) else each for each in signers)


def with_keys_of_kms(policy: SignaturePolicy, read_key: Callable[[str], str]) -> SignaturePolicy:
    """Put the public keys, as PEM text, in place of those that are named in KMS. Raises what `read_key` raises."""

    def resolved(signers: tuple[Signer, ...]) -> tuple[Signer, ...]:
        return tuple(
            KeySigner(read_key(each.key_id), each.key_id) if isinstance(each, KmsSigner) else each for each in signers
        )

    attestations = tuple(each._replace(signers=resolved(each.signers)) for each in policy.attestations)
    return policy._replace(signers=resolved(policy.signers), attestations=attestations)


def matches_pattern(name: str, pattern: str) -> bool:
    """Tell whether a pattern matches a whole name. Takes time in proportion to the lengths of both."""
    if len(name) > MAX_NAME_CHARACTERS:
        return False
    parts = _PART.findall(pattern)
    positions = _without_text(parts, {0})
    for letter in name:
        after: set[int] = set()
        for at in positions:
            part = parts[at] if at < len(parts) else ""
            if part == "**" or (part == "*" and letter not in "/@"):
                after.add(at)
            elif part == letter:
                after.add(at + 1)
        positions = _without_text(parts, after)
        if not positions:
            return False
    return len(parts) in positions


def _without_text(parts: list[str], positions: set[int]) -> set[int]:
    """Add the positions that are reached by wildcards that match nothing."""
    reached = set(positions)
    for at in positions:
        following = at
        while following < len(parts) and parts[following] in ("*", "**"):
            following += 1
            reached.add(following)
    return reached


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that no name matches, or names of anybody. Raises ValueError."""
    check_name(pattern)
    stars = _STAR.findall(pattern)
    if any(len(star) > 2 for star in stars):
        raise ValueError("write * for any text without / and @, or ** for any text")
    if len(stars) > _MAX_WILDCARDS:
        raise ValueError(f"it has more than {_MAX_WILDCARDS} wildcards")
    if stars and "*" in _authority(pattern):
        raise ValueError("a wildcard may not stand for the host or domain: whoever has another one would match")
    if "**" in stars and "://" not in pattern:
        raise ValueError("** is for URLs: write * for what stands before the @")


def check_name(name: str) -> None:
    """Refuse what is no name of a signer, issuer or predicate. Raises ValueError."""
    if not name:
        raise ValueError("it is empty")
    if len(name) > MAX_PATTERN_CHARACTERS:
        raise ValueError(f"it has {len(name)} characters; the limit is {MAX_PATTERN_CHARACTERS}")
    if _PRINTABLE.fullmatch(name) is None:
        raise ValueError("it has spaces, control characters or characters beyond ASCII")


def check_issuer(issuer: str) -> None:
    """Refuse what is no issuer's exact URL. Raises ValueError."""
    check_name(issuer)
    if "*" in issuer:
        raise ValueError("an issuer is one exact URL, without wildcards")
    if not issuer.startswith(("https://", "http://")):
        raise ValueError("an issuer is a URL, such as https://token.actions.githubusercontent.com")


def check_source(source: str) -> None:
    """Refuse what is no pattern of a repository's URL. Raises ValueError."""
    check_pattern(source if "://" in source else f"https://{source}")
    if "@" in source:
        raise ValueError("a source is a repository, such as https://github.com/org/app, without what was checked out")


def _authority(pattern: str) -> str:
    """The part of a name that says whose it is: a URL's scheme and host, else what follows the last @."""
    scheme, is_url, rest = pattern.partition("://")
    if is_url:
        host, slash, _ = rest.partition("/")
        return f"{scheme}{host}" if slash else pattern
    return pattern.rpartition("@")[2]
