"""A policy of signatures as people write it, in YAML: who must have signed, and what must be attested.

Keys and their types are Structs, as in `file_format`; every problem is reported with its line. It is a file of its own,
or the section `verify` of rules, which alone may name keys of KMS.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pullahead.errors import ConfigError
from pullahead.oci import InvalidReferenceError, Repository, parse_reference
from pullahead.rules.problems import Problem, RulesError
from pullahead.rules.signature_policy import (
    MAX_PATTERN_CHARACTERS,
    AttestationDemand,
    KeylessSigner,
    KeySigner,
    KmsSigner,
    SignaturePolicy,
    Signer,
    check_issuer,
    check_name,
    check_pattern,
    check_source,
)
from pullahead.rules.struct_reader import InvalidValueError, Problems, Wording, YamlLocation, read_struct
from pullahead.rules.yaml_document import DocumentError, compose

ReadKey = Callable[[str], str]
"""Read the file of a key by its name. Raises ConfigError."""

_MAX_SIGNERS: Final = 10
_MAX_ATTESTATIONS: Final = 10
_MAX_REPOSITORIES: Final = 10
_PEM: Final = "-----BEGIN "
_KEY_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_KMS_KEY: Final = re.compile(
    r"alias/[A-Za-z0-9/_-]{1,250}|arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(?:key|alias)/[A-Za-z0-9/_-]{1,250}"
)
_KEY_HINT: Final = "Write the public key's PEM text, or the name of its file in this folder, such as cosign.pub."
_KMS_KEY_HINT: Final = "Write a key of KMS as alias/NAME, or its ARN."
_KMS_HINT: Final = (
    "Save its public key (cosign public-key --key awskms:///alias/NAME > cosign.pub), and name that file."
)


def _about(description: str) -> Meta:
    return Meta(description=description)


def _by(check: Callable[[str], None], hint: str = "") -> Meta:
    """Describe a text that a function checks, which raises ValueError."""

    def check_text(text: str) -> None:
        try:
            check(text)
        except ValueError as error:
            raise InvalidValueError(str(error), hint) from None

    return Meta(max_length=MAX_PATTERN_CHARACTERS, extra=Wording("is too long", hint, check_text).extra)


def _check_key(text: str) -> None:
    if text.startswith(("alias/", "arn:")) or "://" in text:
        if _KMS_KEY.fullmatch(text) is None:
            raise InvalidValueError("it is no key of AWS KMS", _KMS_KEY_HINT)
        return
    if not text.strip().startswith(_PEM) and _KEY_FILE.fullmatch(text) is None:
        raise InvalidValueError("it is neither a key nor the name of a file", _KEY_HINT)


def _check_repository(text: str) -> None:
    try:
        parse_reference(text, default_tag=None)
    except InvalidReferenceError as error:
        raise InvalidValueError(error.cause, error.advice) from None


_Identity = Annotated[str, _by(check_pattern, "Write the whole of it; * is any text without / and @, ** any text.")]
_Issuer = Annotated[str, _by(check_issuer)]
_Predicate = Annotated[str, _by(check_name, "Write it like https://slsa.dev/provenance/v1.")]
_Source = Annotated[str, _by(check_source)]
_Key = Annotated[
    str, Meta(max_length=16_384, extra=Wording("is too long", _KEY_HINT, _check_key, is_secret=True).extra)
]
_Repository = Annotated[str, Meta(extra=Wording("", "", _check_repository).extra)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    hints: ClassVar[Mapping[str, str]] = {}


class KeylessOptions(_Section, frozen=True):
    """A signer without a key."""

    hints = dict.fromkeys(("subject", "san", "certificateidentity", "identityregexp"), "Did you mean identity?") | {
        "certificateoidcissuer": "Did you mean issuer?"
    }

    issuer: Annotated[_Issuer, _about("Who vouched for the identity: exactly this URL.")]
    identity: Annotated[
        _Identity,
        _about("Whom the certificate names: all of it. `*` is any text without / and @, `**` any text."),
    ]


class SignerOptions(_Section, frozen=True):
    """A signer: without a key, or with one."""

    hints = dict.fromkeys(("publickey", "keys", "pem"), "Did you mean key?")

    keyless: Annotated[KeylessOptions | UnsetType, _about("An identity that Sigstore certified.")] = UNSET
    key: Annotated[
        _Key | UnsetType,
        _about("A public key: its PEM text, the name of its file, or in rules a key of KMS (alias/NAME, or an ARN)."),
    ] = UNSET


_Signer = Annotated[SignerOptions, Meta(extra=Wording(one_key=True).extra)]
_Signers = Annotated[
    tuple[_Signer, ...],
    Meta(
        min_length=1,
        max_length=_MAX_SIGNERS,
        extra=Wording(hint=f"Write 1 to {_MAX_SIGNERS}, each as {{keyless: …}} or {{key: …}}.").extra,
    ),
]


class AttestationOptions(_Section, frozen=True):
    """An attestation that must be there."""

    hints = dict.fromkeys(("predicate", "predicatetype"), "Did you mean type?")

    type: Annotated[_Predicate, _about("Its predicate type, such as https://slsa.dev/provenance/v1.")]
    builder: Annotated[_Identity | UnsetType, _about("The builder that an SLSA provenance must name.")] = UNSET
    source: Annotated[_Source | UnsetType, _about("The repository that an SLSA provenance must name.")] = UNSET
    any: Annotated[_Signers | UnsetType, _about("Who may sign it, in place of those of `verify`.")] = UNSET


class VerifyOptions(_Section, frozen=True):
    """What admits an image."""

    hints = dict.fromkeys(("signers", "authorities", "keyless", "key"), "Did you mean any?")

    any: Annotated[_Signers, _about("Whom to trust: one of these must have signed.")]
    attestations: Annotated[
        tuple[AttestationOptions, ...],
        Meta(
            max_length=_MAX_ATTESTATIONS,
            description="Each of these must be there, in place of a signature.",
            extra=Wording(hint=f"Write at most {_MAX_ATTESTATIONS}.").extra,
        ),
    ] = ()
    signed_as: Annotated[
        tuple[_Repository, ...],
        Meta(
            max_length=_MAX_REPOSITORIES,
            description="Repositories that a signature of cosign 2 may name, beside upstream's.",
            extra=Wording(hint=f"Write at most {_MAX_REPOSITORIES}.").extra,
        ),
    ] = ()


def load_signature_policy(text: str, *, source: str, read_key: ReadKey) -> SignaturePolicy:
    """Read a policy; `source` names it in messages. Raises RulesError with every problem."""
    problems = Problems()
    try:
        document = compose(text)
    except DocumentError as error:
        raise RulesError(source, [Problem(error.line, "", error.message, error.hint)]) from None
    if document is None:
        raise RulesError(source, [Problem(1, "", "the file is empty", "Write any: with whom to trust.")])
    top = YamlLocation(document)
    written = read_struct(top, VerifyOptions, problems)
    read_signer = partial(_key_of_file, problems, read_key)
    policy = None if written is None or problems.found else policy_at(top, written, read_signer)
    if policy is None or problems.found:
        raise RulesError(source, problems.found)
    return policy


def rules_policy(at: YamlLocation, written: VerifyOptions, read_key: ReadKey, problems: Problems) -> SignaturePolicy:
    """Make the policy of a section of rules, in which no problem was found; adds those of its keys."""
    return policy_at(at, written, partial(_key_of_rules, problems, read_key))


_ReadSigner = Callable[[YamlLocation, str], Signer]


def policy_at(top: YamlLocation, written: VerifyOptions, read_key: _ReadSigner) -> SignaturePolicy:
    """Make the policy that is written at a location, in which no problem was found."""
    demands = tuple(
        AttestationDemand(
            each.type,
            None if isinstance(each.builder, UnsetType) else each.builder,
            None if isinstance(each.source, UnsetType) else each.source,
            () if isinstance(each.any, UnsetType) else _signers(at, each.any, read_key),
        )
        for at, each in zip(top.below("attestations").items, written.attestations, strict=True)
    )
    return SignaturePolicy(_signers(top, written.any, read_key), demands, tuple(map(_repository, written.signed_as)))


def _signers(at: YamlLocation, written: tuple[SignerOptions, ...], read_key: _ReadSigner) -> tuple[Signer, ...]:
    items = at.below("any").items
    return tuple(_signer(item, each, read_key) for item, each in zip(items, written, strict=True))


def _signer(at: YamlLocation, written: SignerOptions, read_key: _ReadSigner) -> Signer:
    if not isinstance(written.keyless, UnsetType):
        return KeylessSigner(written.keyless.issuer, written.keyless.identity)
    return read_key(at.below("key"), "" if isinstance(written.key, UnsetType) else written.key)


def _key_of_rules(problems: Problems, read_key: ReadKey, at: YamlLocation, written: str) -> Signer:
    if _KMS_KEY.fullmatch(written):
        return KmsSigner(written)
    return _key(problems, read_key, at, written, f"in line {at.node.line} of the rules")


def _key_of_file(problems: Problems, read_key: ReadKey, at: YamlLocation, written: str) -> Signer:
    if _KMS_KEY.fullmatch(written):
        problems.add(at, "keys of a KMS are not asked for", _KMS_HINT)
        return KmsSigner(written)
    return _key(problems, read_key, at, written, f"of line {at.node.line}")


def _key(problems: Problems, read_key: ReadKey, at: YamlLocation, written: str, name: str) -> KeySigner:
    """Read a key; `name` is what a text is called, which has no file."""
    if written.strip().startswith(_PEM):
        return KeySigner(written, name)
    try:
        return KeySigner(read_key(written), written)
    except ConfigError as error:
        problems.add(at, str(error), _KEY_HINT)
        return KeySigner("", written)


def _repository(text: str) -> Repository:
    return parse_reference(text, default_tag=None).repository
