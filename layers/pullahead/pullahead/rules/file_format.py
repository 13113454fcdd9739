"""The rules file, version 1: keys, types, limits and descriptions of each section, and the JSON Schema made of them.

Decides what one value may be. What several of them mean together (that two rules do not collide, say) is `load`'s.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from pullahead.oci import InvalidReferenceError, find_digest, parse_host
from pullahead.oci.ecr_registry import parse_ecr_host
from pullahead.oci.platforms import PLATFORM_PATTERN, parse_platform
from pullahead.oci.reference import TAG_ADVICE, is_tag
from pullahead.rules.admission_policy import AdmissionMode, FirstCopy, Serve, Severity
from pullahead.rules.model import DEFAULT_DAILY_LIMIT, DEFAULT_MAX_LAYER_BYTES, WhenDeleted
from pullahead.rules.problems import quoted, suggestion
from pullahead.rules.published_tags import SAME_NAME, is_template, publish_as, unknown_placeholder
from pullahead.rules.repository_names import (
    NAMESPACE,
    PLACEHOLDERS,
    REPOSITORY_ADVICE,
    is_repository_name,
    placeholders,
)
from pullahead.rules.signature_rules import VerifyOptions
from pullahead.rules.struct_reader import InvalidValueError, Wording
from pullahead.rules.tag_patterns import (
    MAX_PATTERN_CHARACTERS,
    WILDCARDS,
    InvalidPatternError,
    PatternKind,
    TagPattern,
    check_pattern,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MAX_NAME = 128
_MAX_RESERVE = 0.9
_MAX_CA_CHARACTERS = 65_536
_MAX_TAG_KEY, _MAX_TAG_VALUE = 128, 256  # AWS General Reference, "Tagging AWS resources"
_RESOURCE_TAG_TEXT = re.compile(r"[\w\s+\-=.:/@]*")
_SEQUENCE, _BIT_STRING = 0x30, 0x03  # ITU-T X.690
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_PATH_GLOB = r"[a-z0-9._/*?\[\]!-]{1,256}"
_TAG_CHARACTERS = r"^[A-Za-z0-9_.*?\[\]!-]+$"
# AWS Secrets Manager API reference, CreateSecret, Name; a colon is in ARNs only.
_SECRET = r"[A-Za-z0-9/_+=.@-]{1,512}|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[!-~]{1,600}"  # noqa: S105
_ROLE = r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,600}"

# --- Durations --------------------------------------------------------------------------------------------------------

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_DURATION = "".join(f"([0-9]{{1,6}}{unit})?" for unit, _ in _UNITS)


def parse_duration(text: str) -> timedelta | None:
    """Parse a duration such as 90s, 5m or 1h30m, the largest unit first; None for any other text."""
    match = re.fullmatch(_DURATION, text) if text else None
    if match is None:
        return None
    counts = (int(count[:-1]) if count else 0 for count in match.groups())
    return timedelta(seconds=sum(count * seconds for count, (_, seconds) in zip(counts, _UNITS, strict=True)))


def format_duration(duration: timedelta) -> str:
    """Write a duration as rules do, in whole seconds."""
    left = int(duration.total_seconds())
    parts = []
    for unit, seconds in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _check_duration(text: str, *, shortest: timedelta, longest: timedelta) -> None:
    duration = parse_duration(text)
    if duration is None or not shortest <= duration <= longest:
        raise InvalidValueError(
            f"{text} is out of range", f"Write {format_duration(shortest)} to {format_duration(longest)}."
        )


def parse_late(text: str) -> timedelta | None:
    """Parse how long late referrers are looked for: zero is never, None always."""
    return None if text == "always" else parse_duration(text) or timedelta()


_LATE_WORDS = ("always", "never")


def _check_late(text: str) -> None:
    if text not in _LATE_WORDS:
        _check_duration(text, shortest=timedelta(minutes=1), longest=timedelta(days=3650))


_SIZE_UNITS = {
    f"{prefix}{unit}": base**power
    for power, prefix in enumerate("MGT", start=2)
    for unit, base in (("B", 1000), ("iB", 1024))
}
_SIZE = rf"([1-9][0-9]{{0,5}}) ?({'|'.join(_SIZE_UNITS)})"
_SMALLEST_SIZE, _LARGEST_IMAGE = "1MB", "10TiB"
_LARGEST_LAYER = f"{DEFAULT_MAX_LAYER_BYTES // 1024**2}MiB"


def parse_size(text: str) -> int | None:
    """Parse a size such as 500MB or 20GiB, in bytes; None for any other text."""
    match = re.fullmatch(_SIZE, text)
    return None if match is None else int(match[1]) * _SIZE_UNITS[match[2]]


def format_size(size: int) -> str:
    """Write a size in bytes, of those that rules can say, as rules do."""
    units = sorted(_SIZE_UNITS.items(), key=lambda unit: -unit[1])
    return next(f"{size // count}{unit}" for unit, count in units if size % count == 0)


def _check_size(text: str, *, largest: str) -> None:
    size = parse_size(text)
    if size is None or size > (parse_size(largest) or 0):
        raise InvalidValueError(f"{text} is out of range", f"Write {_SMALLEST_SIZE} to {largest}.")


def _check_prune_after(text: str) -> None:
    if text != "never":
        _check_duration(text, shortest=timedelta(days=7), longest=timedelta(days=3650))


_OF_RANGES = "<>=~^ "
_OF_EXPRESSIONS = "\\()+$^|"
"""Characters that ranges and expressions have; neither tags nor globs do."""

# --- Checks of single values ------------------------------------------------------------------------------------------


def _check_pattern(kind: PatternKind, text: str) -> None:
    try:
        check_pattern(TagPattern(kind, text))
    except InvalidPatternError as error:
        raise InvalidValueError(f"invalid {kind} {quoted(text)}: {error.cause}", error.advice) from error


_check_tag_glob = partial(_check_pattern, PatternKind.GLOB)
_check_regex = partial(_check_pattern, PatternKind.REGEX)
_check_range = partial(_check_pattern, PatternKind.SEMVER)


def _check_tag(text: str) -> None:
    if is_tag(text):
        return
    if "@" in text:
        tag, _, digest = text.partition("@")
        is_pinned = is_tag(tag) and find_digest(digest) is not None
        hint = "Pinning is for `tags`." if is_pinned else _PIN_HINT
        raise InvalidValueError(f"{quoted(text)} is not a valid tag", hint)
    is_other = _is_range(text) or any(character in text for character in _OF_EXPRESSIONS)
    if is_other or not any(wildcard in text for wildcard in WILDCARDS):
        raise InvalidValueError(f"{quoted(text)} is not a valid tag", _tag_hint(text))
    _check_tag_glob(text)


def _check_tag_or_pin(text: str) -> None:
    tag, at, digest = text.partition("@")
    if not (at and is_tag(tag) and find_digest(digest) is not None):
        _check_tag(text)


def _tag_hint(text: str) -> str:
    """Guess what is meant by a text that is no tag."""
    tag = text.rpartition(":")[2]
    if len(text) > MAX_PATTERN_CHARACTERS or not text.isprintable():
        return TAG_ADVICE
    if _is_range(text):
        otherwise = " If an expression is meant, write {regex: …}." if text.startswith("^") else ""
        return f'Write it as a range: {{semver: "{text}"}}.{otherwise}'
    if any(character in text for character in _OF_EXPRESSIONS):
        return f"Write it as an expression: {{regex: '{text}'}}."
    if ":" in text and is_tag(tag):
        return f'Write the tag alone: "{tag}".'
    return f"{TAG_ADVICE} Or write a glob, {{regex: …}} or {{semver: …}}."


def _is_range(text: str) -> bool:
    """Tell whether a text is a range of versions, and no glob."""
    if not any(sign in text for sign in _OF_RANGES):
        return False
    try:
        check_pattern(TagPattern(PatternKind.SEMVER, text))
    except InvalidPatternError:
        return False
    return True


def _check_published_name(text: str) -> None:
    """Check the name in ECR that one tag is given: a tag, or a template of one."""
    if not is_tag(publish_as(text, "x")) or unknown_placeholder(text) is not None:
        raise InvalidValueError(f"{quoted(text)} is not a valid tag", TAG_ADVICE)


def _check_tag_template(text: str) -> None:
    unknown = unknown_placeholder(text)
    if unknown is not None:
        raise InvalidValueError(f"unknown placeholder {quoted('{' + unknown + '}')}", "A template of tags has {tag}.")
    if SAME_NAME not in text:
        hint = 'Write {tag} in it, or give one tag its own name: {name: "1.27", as: "stable"}.'
        raise InvalidValueError("every tag of the rule would be published as one", hint)
    if not is_template(text):
        raise InvalidValueError(f"{quoted(text)} gives no valid tags", f"Write {{tag}} once. {TAG_ADVICE}")


def _check_pull_glob(text: str) -> None:
    path, colon, tag = text.partition(":")
    if re.fullmatch(_PATH_GLOB, path) is None:
        hint = "Write the path as upstream has it, without the host: library/*, or team/app:v* with a glob of tags."
        raise InvalidValueError(f"{quoted(path)} matches no upstream path", hint)
    if colon:
        _check_tag_glob(tag)


def _check_template(text: str) -> None:
    names = placeholders(text)
    for name in names:
        if name not in PLACEHOLDERS:
            hint = suggestion(name, PLACEHOLDERS, of="placeholders")
            raise InvalidValueError(f"unknown placeholder {quoted('{' + name + '}')}", hint)
    host, _, rest = text.partition("/")
    if rest and parse_ecr_host(host) is not None:
        hint = f"Write {rest}: tags are published in the ECR of the stack's account and Region."
        raise InvalidValueError(f"{quoted(host)} is a registry, not part of a repository's name", hint)
    if not names and not is_repository_name(text):
        hint = "Write it without a tag and without a registry's host." if ":" in text else REPOSITORY_ADVICE
        raise InvalidValueError(f"{quoted(text)} is not a valid ECR repository name", hint)


def _check_namespace(text: str) -> None:
    if not text.endswith(NAMESPACE):
        hint = "End it in /*, as in docker.io/*; `allow` then says which repositories."
        raise InvalidValueError(f"{quoted(text)} is one repository", hint)


def _check_name(text: str) -> None:
    if not text.isprintable() or text.strip() != text or not 0 < len(text) <= _MAX_NAME:
        raise InvalidValueError(f"{quoted(text)} is not a valid name", _NAME_HINT)


def _check_host(text: str) -> None:
    try:
        parse_host(text)
    except InvalidReferenceError as error:
        raise InvalidValueError(error.cause, error.advice) from error


def _check_share(text: str) -> None:
    if float(text.rstrip("%")) > _MAX_RESERVE * 100:
        raise InvalidValueError(f"{text} is out of range", _SHARE_HINT)


def _check_certificates(text: str) -> None:
    if "PRIVATE KEY" in text:
        raise InvalidValueError("it contains a private key", "Remove it, and replace the key: rules are not secret.")
    if len(text) > _MAX_CA_CHARACTERS:
        raise InvalidValueError(f"it has more than {_MAX_CA_CHARACTERS} characters")
    found = _CERTIFICATE.findall(text)
    if not found or text.count("-----BEGIN CERTIFICATE-----") != len(found) or not all(map(_is_der, found)):
        raise InvalidValueError(
            "it is not a PEM certificate",
            "Write `ca: |` and below it, indented, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----.",
        )


def _is_der(encoded: str) -> bool:
    """Tell whether a text is a certificate in DER: content, algorithm and signature (RFC 5280, section 4.1)."""
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
        ((tag, fields),) = _read_der(content)
        return tag == _SEQUENCE and [tag for tag, _ in _read_der(fields)] == [_SEQUENCE, _SEQUENCE, _BIT_STRING]
    except (binascii.Error, ValueError):
        return False


def _read_der(content: bytes) -> list[tuple[int, bytes]]:
    """Read the elements (ITU-T X.690, 8.1: tag, length, content) that bytes consist of. Raises ValueError."""
    elements = []
    while content:
        if len(content) < 2:
            raise ValueError("it ends in the middle of an element")
        length, start = content[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(content[2:start])
        if start + length > len(content):
            raise ValueError("it ends in the middle of an element")
        elements.append((content[0], content[start : start + length]))
        content = content[start + length :]
    return elements


def _check_platform(text: str) -> None:
    named = str(parse_platform(text))
    if named != text:
        raise InvalidValueError(f"no index has the platform {quoted(text)}", f"Write {named}.")


def _check_resource_tag_key(text: str) -> None:
    if not text or text.lower().startswith("aws:") or not _is_resource_tag_text(text, _MAX_TAG_KEY):
        raise InvalidValueError(f"{quoted(text)} is not a valid key of a resource tag", _RESOURCE_TAG_HINT)


def _check_resource_tag_value(text: str) -> None:
    if not _is_resource_tag_text(text, _MAX_TAG_VALUE):
        raise InvalidValueError(f"{quoted(text)} is not a valid value of a resource tag", _RESOURCE_TAG_HINT)


def _is_resource_tag_text(text: str, longest: int) -> bool:
    return len(text) <= longest and _RESOURCE_TAG_TEXT.fullmatch(text) is not None


# --- Types of single values -------------------------------------------------------------------------------------------

_NAME_HINT = f"Write 1 to {_MAX_NAME} characters on one line, without spaces at the ends."
_SHARE_HINT = f"Write a percentage like 10%, up to {_MAX_RESERVE:.0%}."
_RESOURCE_TAG_HINT = (
    f"AWS allows keys of up to {_MAX_TAG_KEY} characters and values of up to {_MAX_TAG_VALUE}: letters, digits, spaces "
    "and + - = . _ : / @; a key does not begin with aws:."
)
_SECRET_HINT = "Keep the credentials in AWS Secrets Manager, and write the secret's name here, never its content."  # noqa: S105
_ROLE_HINT = "Write it like arn:aws:iam::123456789012:role/NAME."
_PIN_HINT = "A tag is pinned as TAG@sha256:<64 hex digits>; a digest without a tag belongs into `digests`."
_PLATFORM_HINT = "Write each like linux/amd64 or linux/arm/v7."
_PATH_GLOB_HINT = "Write it like team-a/* (a star spans slashes)."


def _matching(pattern: str, wrong: str, hint: str, **more: Any) -> Meta:
    """Describe a string that a pattern matches as a whole; `more` of Wording."""
    return Meta(pattern=f"^({pattern})$", extra=Wording(wrong, hint, **more).extra)


def _checked_by(check: Callable[[str], None], hint: str = "", **schema: Any) -> Meta:
    """Describe a string that a function checks; editors know of `schema` alone."""
    return Meta(extra_json_schema=schema, extra=Wording("", hint, check).extra)


def _duration(shortest: timedelta, longest: timedelta) -> Meta:
    check = partial(_check_duration, shortest=shortest, longest=longest)
    return _matching(f"(?=.){_DURATION}", "is not a duration", "Write it like 90s, 5m, 1h30m or 1d.", check=check)


def _size(largest: str) -> Meta:
    check = partial(_check_size, largest=largest)
    return _matching(_SIZE, "is not a size", "Write it like 500MB or 20GiB.", check=check)


_CheckEvery = Annotated[str, _duration(timedelta(minutes=1), timedelta(hours=24))]
_AlertAfter = Annotated[str, _duration(timedelta(minutes=1), timedelta(days=30))]
_Late = Annotated[
    str,
    _matching(
        f"always|never|(?=.){_DURATION}",
        "is not a duration",
        "Write always, never, or how long after a new digest, like 1d or 30d.",
        check=_check_late,
    ),
]
_LayerSize = Annotated[str, _size(_LARGEST_LAYER)]
_ImageSize = Annotated[str, _size(_LARGEST_IMAGE)]
_ExpireAfter = Annotated[str, _duration(timedelta(days=1), timedelta(days=365))]
_Count = Annotated[int, Meta(ge=0, le=100_000)]
_AtLeastOne = Annotated[int, Meta(ge=1, le=100_000)]
_MaxTags = Annotated[int, Meta(ge=1, le=20_000)]
_KeepFor = Annotated[str, _duration(timedelta(days=1), timedelta(days=3650))]
_PruneAfter = Annotated[
    str,
    _matching(
        f"never|(?=.){_DURATION}", "is not a duration", "Write never, or a time like 30d.", check=_check_prune_after
    ),
]
_PruneShare = Annotated[
    str, _matching(r"[1-9]%|[1-4][0-9]%|50%", "is not a share", "Write a percentage from 1% to 50%, such as 10%.")
]
_MinAge = Annotated[str, _duration(timedelta(), timedelta(days=365))]
_Grace = Annotated[str, _duration(timedelta(), timedelta(days=30))]
DEFAULT_GRACE = timedelta(hours=1)
_ScanWait = Annotated[str, _duration(timedelta(minutes=5), timedelta(days=7))]
_Vulnerability = Annotated[
    str,
    _matching(
        r"CVE-[0-9]{4}-[0-9]{4,19}|(?![Cc][Vv][Ee])[A-Za-z0-9][A-Za-z0-9.:_-]{3,63}",
        "is not the name of a vulnerability",
        "Write all of it, as the finding does, such as CVE-2026-1234. Parts, patterns and other letters match nothing.",
    ),
]
_KeptCount = Annotated[int, Meta(ge=0, le=50)]
_DailyLimit = Annotated[int, Meta(ge=1, le=10_000)]
_Days = Annotated[int, Meta(ge=0, le=3_650)]
_Rate = Annotated[float, Meta(gt=0, le=1_000)]
_Version = Annotated[
    Literal[1], Meta(extra=Wording("is not a supported version", "Write version: 1, without quotes.").extra)
]
_Name = Annotated[str, _checked_by(_check_name, minLength=1, maxLength=_MAX_NAME)]
_Namespace = Annotated[str, _checked_by(_check_namespace, pattern=r"/\*$")]
_Template = Annotated[str, _checked_by(_check_template, 'Quote it: "{registry}/{path}".', minLength=1)]
_Platform = Annotated[str, _matching(PLATFORM_PATTERN, "is not a platform", _PLATFORM_HINT, check=_check_platform)]
_Tag = Annotated[str, _checked_by(_check_tag, pattern=_TAG_CHARACTERS, maxLength=MAX_PATTERN_CHARACTERS)]
_TagGlob = Annotated[str, _checked_by(_check_tag_glob, pattern=_TAG_CHARACTERS, maxLength=MAX_PATTERN_CHARACTERS)]
_Glob = Annotated[str, _checked_by(_check_tag_glob, minLength=1, maxLength=MAX_PATTERN_CHARACTERS)]
_Regex = Annotated[str, _checked_by(_check_regex, minLength=1, maxLength=MAX_PATTERN_CHARACTERS)]
_Range = Annotated[str, _checked_by(_check_range, minLength=1, maxLength=MAX_PATTERN_CHARACTERS)]
_ExactName = Annotated[str, _matching(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", "is not a valid tag", TAG_ADVICE)]
_PIN = r"(@(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
_ExactTag = Annotated[
    str, _matching(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}{_PIN}", "is not a valid tag", f"{TAG_ADVICE} {_PIN_HINT}")
]
_TagText = Annotated[str, _checked_by(_check_tag_or_pin, pattern=rf"^[A-Za-z0-9_.*?\[\]!-]+{_PIN}$")]
_Sha256 = Annotated[
    str,
    _matching(r"sha256:[0-9a-f]{64}", "is not a digest", "Write sha256: and 64 lower-case hexadecimal digits."),
]
_PublishedName = Annotated[
    str, _checked_by(_check_published_name, pattern=r"^[A-Za-z0-9_{][A-Za-z0-9._{}-]*$", maxLength=128)
]
_TagTemplate = Annotated[
    str, _checked_by(_check_tag_template, pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]*)?\{tag\}[A-Za-z0-9._-]*$")
]
_PullGlob = Annotated[str, _checked_by(_check_pull_glob, minLength=1)]
_RepositoryGlob = Annotated[str, _matching(_PATH_GLOB, "matches no ECR repository", _PATH_GLOB_HINT)]
_PathGlob = Annotated[str, _matching(_PATH_GLOB, "matches no repository path", _PATH_GLOB_HINT)]
_KmsKey = Annotated[
    str,
    _matching(r"[A-Za-z0-9:/_-]{1,2048}", "is not a KMS key", "Write its ARN, its ID, alias/NAME, or alias/aws/ecr."),
]
_MutabilityFilter = Annotated[
    str,
    _matching(r"[0-9a-zA-Z._*-]{1,128}", "is not a valid filter", "ECR allows letters, digits, dots, dashes, _ and *."),
]
_ResourceTagKey = Annotated[str, _checked_by(_check_resource_tag_key)]
_ResourceTagValue = Annotated[str, _checked_by(_check_resource_tag_value)]
_ArtifactType = Annotated[
    str,
    _matching(
        r"[!-~]{1,255}",
        "is not an artifact type",
        "Write it like application/spdx+json or https://slsa.dev/provenance/*; a star stands for anything.",
    ),
]
_OneOrMoreArtifactTypes = Annotated[
    tuple[_ArtifactType, ...],
    Meta(min_length=1, max_length=100, extra=Wording(hint="Write copy: false to copy none.").extra),
]
_Policy = str | dict[str, Any]
_Secret = Annotated[
    str, _matching(_SECRET, "is neither the name nor the ARN of a secret", _SECRET_HINT, is_secret=True)
]
_Role = Annotated[str, _matching(_ROLE, "is not the ARN of an IAM role", _ROLE_HINT, is_secret=True)]
_Certificates = Annotated[str, _checked_by(_check_certificates, pattern="-----BEGIN CERTIFICATE-----")]
_Host = Annotated[str, _checked_by(_check_host, minLength=1)]
_Share = Annotated[str, _matching(r"[0-9]{1,2}(\.[0-9])?%", "is not a percentage", _SHARE_HINT, check=_check_share)]
_OneOrMorePullGlobs = Annotated[
    tuple[_PullGlob, ...], Meta(min_length=1, extra=Wording(hint='Write allow: ["library/*"], for example.').extra)
]
_OneOrMoreFilters = Annotated[
    tuple[_MutabilityFilter, ...],
    Meta(min_length=1, max_length=5, extra=Wording(hint="ECR allows 1 to 5 filters.").extra),
]
_ResourceTags = Annotated[
    dict[_ResourceTagKey, _ResourceTagValue],
    Meta(max_length=50, extra=Wording(hint="AWS allows 50 tags on a resource.").extra),
]

# --- Sections ---------------------------------------------------------------------------------------------------------
# A field that is UNSET was left out, or is invalid and reported. A section is None where its content is commented out.


def _about(description: str) -> Meta:
    return Meta(description=description)


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys that may stand together."""

    hints: ClassVar[Mapping[str, str]] = {}
    """For keys that people write in place of these: in lower case, without dashes and underscores."""


def _hints(**words: str) -> dict[str, str]:
    """Hint at a key for each of the words, separated by spaces, that mean it elsewhere."""
    return {word: f"Did you mean {key}?" for key, others in words.items() for word in others.split()}


_CREDENTIALS_HINT = (
    "Keep credentials in AWS Secrets Manager, and write the secret's name: upstreams: {HOST: {credentials: NAME}}; see "
    "docs/private-upstreams.md."
)
_CREDENTIAL_HINTS = dict.fromkeys(
    ("accesstoken", "auth", "auths", "credentials", "login", "pass", "password", "secret", "token", "user", "username"),
    _CREDENTIALS_HINT,
)


_ONE_KEY = Meta(extra=Wording(one_key=True).extra)


class Pattern(_Section, frozen=True):
    """A pattern of tags."""

    hints = _hints(
        glob="globs pattern wildcard",
        regex="expression match re regexes regexp",
        semver="range semverrange version versions",
    )

    glob: Annotated[_Glob | UnsetType, _about("Tags that match a glob: `*`, `?`, `[a-z]`, `[!a-z]`.")] = UNSET
    regex: Annotated[
        _Regex | UnsetType,
        _about("Tags that a regular expression (RE2: no look-around, no back references) matches as a whole."),
    ] = UNSET
    semver: Annotated[
        _Range | UnsetType,
        _about('Versions in a range: ">=3.18 <4", "~1.2", "^1.2", "1.x", "1.2 - 1.4", "1.x || 3.x".'),
    ] = UNSET


class TagItem(Pattern, frozen=True):
    """A pattern of tags; or a tag, and the name that it has in ECR."""

    hints = Pattern.hints | {"tag": "Did you mean name?", "to": "Did you mean as?", "target": "Did you mean as?"}

    name: Annotated[_ExactTag | UnsetType, _about("A tag upstream, or `TAG@DIGEST` to pin it.")] = UNSET
    published_as: Annotated[
        _PublishedName | UnsetType,
        _about("With `name`: the tag in ECR. It may have `{tag}`, upstream's name."),
    ] = field(default=UNSET, name="as")


def _check_tag_item(item: TagItem) -> None:
    written = [item.glob, item.regex, item.semver, item.name]
    if sum(each is not UNSET for each in written) != 1:
        raise InvalidValueError("expected exactly one key", "Write one of glob, regex, semver, or name with as.")
    if item.name is UNSET and item.published_as is not UNSET:
        hint = 'Give the whole rule a template, as: "{tag}-mirror", or name the tag: {name: TAG, as: TAG}.'
        raise InvalidValueError("a pattern cannot have a name in ECR", hint)


TagOrPattern = _Tag | Annotated[Pattern, _ONE_KEY]
TagOrItem = _TagText | Annotated[TagItem, Meta(extra=Wording(check=_check_tag_item).extra)]
_OneOrMoreTags = Annotated[
    tuple[TagOrItem, ...], Meta(min_length=1, extra=Wording(hint='Write tags: ["latest"], for example.').extra)
]


class DigestItem(_Section, frozen=True):
    """A digest, and the tag that it has in ECR."""

    digest: Annotated[_Sha256 | UnsetType, _about("The digest of a manifest.")]
    published_as: Annotated[_ExactName | UnsetType, _about("The tag in ECR.")] = field(default=UNSET, name="as")


_OneOrMoreDigests = Annotated[
    tuple[_Sha256 | DigestItem, ...],
    Meta(min_length=1, max_length=1000, extra=Wording(hint="Write digests: [sha256:…].").extra),
]


class MutabilityExclusions(_Section, frozen=True):
    """Tag mutability with exclusions, in ECR's words."""

    mutable: Annotated[_OneOrMoreFilters | UnsetType, _about("Globs of tags that may not move.")] = field(
        default=UNSET, name="MUTABLE_WITH_EXCLUSION"
    )
    immutable: Annotated[_OneOrMoreFilters | UnsetType, _about("Globs of tags that may move.")] = field(
        default=UNSET, name="IMMUTABLE_WITH_EXCLUSION"
    )


_MUTABILITY_WORDING = Wording(
    "is not a tag mutability", 'Write MUTABLE or IMMUTABLE, or {IMMUTABLE_WITH_EXCLUSION: ["latest*"]}.'
)
_Mutability = (
    Annotated[Literal["MUTABLE", "IMMUTABLE"], Meta(extra=_MUTABILITY_WORDING.extra)]
    | Annotated[MutabilityExclusions, _ONE_KEY]
)


class Creation(_Section, frozen=True):
    """How a missing target repository is created."""

    tags: Annotated[_ResourceTags | UnsetType, _about("Resource tags.")] = UNSET
    kms_key: Annotated[
        _KmsKey | UnsetType,
        _about("KMS key: its ARN, ID or alias, or `alias/aws/ecr` for the AWS managed key. AES-256 by default."),
    ] = UNSET
    scan_on_push: Annotated[bool | UnsetType, _about("Scan images when they are pushed.")] = UNSET
    tag_mutability: Annotated[
        _Mutability | UnsetType,
        _about("Whether tags may move, in ECR's words; with exclusions: `{IMMUTABLE_WITH_EXCLUSION: [GLOB, …]}`."),
    ] = UNSET
    lifecycle_policy: Annotated[_Policy | UnsetType, _about("ECR lifecycle policy, as YAML or as JSON text.")] = UNSET
    expire_untagged_days: Annotated[
        _Days | UnsetType,
        _about("Days without a pull after which ECR expires an untagged image; 0 for never."),
    ] = UNSET
    repository_policy: Annotated[
        _Policy | UnsetType, _about("IAM policy of the repository, as YAML or as JSON text.")
    ] = UNSET


class ReferrerOptions(_Section, frozen=True):
    """Which signatures, SBOMs and other artifacts that refer to an image are copied with it."""

    copy: Annotated[
        bool | _OneOrMoreArtifactTypes | UnsetType,
        _about("Whether to copy them; or globs of the artifact types to copy. All by default."),
    ] = UNSET
    exclude: Annotated[tuple[_ArtifactType, ...] | UnsetType, _about("Globs of artifact types to leave out.")] = UNSET
    late: Annotated[
        _Late | UnsetType,
        _about(
            "How long after a new digest to look for late ones: `always`, `never`, or a duration. With each check for "
            "an hour, then hourly for a day, then daily."
        ),
    ] = UNSET


class KeepPreviousOptions(_Section, frozen=True):
    """What is kept of what a moved tag served, under `TAG--previous-<12 hex digits>`."""

    count: Annotated[_KeptCount, _about("How many digests of each tag to keep, the last ones: 0 keeps none.")] = 3
    keep_for: Annotated[_KeepFor, _about("For how long after the tag has moved: 1d to 3650d.")] = field(
        default="90d", name="for"
    )


class PruneOptions(_Section, frozen=True):
    """Which tags are removed from ECR, or reported, since upstream removed them or the rule no longer chooses them."""

    gone: Annotated[
        _PruneAfter,
        _about("How long upstream must not have listed a tag that the rule would choose: `never`, or 7d to 3650d."),
    ] = "30d"
    unchosen: Annotated[
        _PruneAfter, _about("How long the rule must not have chosen a tag: `never`, or 7d to 3650d.")
    ] = "30d"
    mode: Annotated[
        Literal["report", "delete"], _about("`report` says what would be removed; `delete` removes it.")
    ] = "report"
    at_most: Annotated[_PruneShare, _about("The largest share of the rule's tags to remove in a day: 1% to 50%.")] = (
        "10%"
    )


class RuleVerifyOptions(VerifyOptions, frozen=True, kw_only=True):
    """Who must have signed a digest, and what must be attested of it."""

    grace: Annotated[
        _Grace,
        _about("How long after a digest was first seen its signature may come, before people are told: 0s to 30d."),
    ] = format_duration(DEFAULT_GRACE)


_Exempt = Annotated[tuple[_Vulnerability, ...], Meta(max_length=100)]


class ScanOptions(_Section, frozen=True):
    """Which findings of ECR's or Amazon Inspector's scans hold a digest."""

    hints = _hints(
        block="fail failon severities severity threshold",
        fixable_only="fixable fixed ignoreunfixed onlyfixed",
        wait="grace timeout",
    )

    block: Annotated[
        tuple[Severity, ...] | UnsetType,
        _about("Severities that hold a digest; UNDEFINED and UNTRIAGED are one. `[]` asks for no scan."),
    ] = UNSET
    fixable_only: Annotated[
        bool | UnsetType,
        _about("`true`: not those findings of which Amazon Inspector says that there is no fix. ECR's do not say."),
    ] = UNSET
    wait: Annotated[
        _ScanWait | UnsetType,
        _about("How long after the copy a result may take before people are told that there is none: 5m to 7d."),
    ] = UNSET


class AdmitOptions(_Section, frozen=True):
    """What a digest must have before its tag may serve it. Its blobs are copied at once."""

    hints = _hints(
        approve="approval manual review",
        exempt="allow allowlist except ignore vex waive",
        first_copy="first firstcopy initial",
        min_age="age cooldown cooldownperiod delay minage minimumage minimumreleaseage quarantine",
        mode="dryrun report reportonly",
        scan="findings inspector scanning vulnerabilities",
        serve="newest",
        verify="signature signatures signed cosign sigstore",
    )

    mode: Annotated[
        AdmissionMode | UnsetType,
        _about("`enforce` lets the tag wait; `report` moves it at once, and says for what it would have waited."),
    ] = UNSET
    min_age: Annotated[
        _MinAge | UnsetType,
        _about(
            "How long ago Pullahead must have first seen a digest under its tag: up to 365d; 0s for no such condition."
        ),
    ] = UNSET
    serve: Annotated[
        Serve | UnsetType,
        _about(
            "`newest-eligible` serves the newest digest that is old enough, also after upstream has replaced it; "
            "`current` only what upstream serves."
        ),
    ] = UNSET
    first_copy: Annotated[
        FirstCopy | UnsetType,
        _about("`hold` lets a tag that was never copied wait like any other; `admit` does not."),
    ] = UNSET
    approve: Annotated[
        bool | UnsetType,
        _about("`true`: a person must admit each digest with `pullahead admit`, after `min_age`."),
    ] = UNSET
    verify: Annotated[
        RuleVerifyOptions | Literal["none"] | UnsetType,
        Meta(
            description="Who must have signed it, as docs/verify.md says; `none` for nobody, where the defaults do.",
            extra=Wording("is not a policy of signatures", "Write {any: [...]}, or none.").extra,
        ),
    ] = UNSET
    scan: Annotated[
        ScanOptions | UnsetType,
        _about("What ECR's or Amazon Inspector's scan of the copied image must not have found. No scan by default."),
    ] = UNSET
    exempt: Annotated[
        _Exempt | UnsetType,
        _about("Vulnerabilities that hold no digest, each by its whole name, such as CVE-2026-1234."),
    ] = UNSET


class Options(_Section, frozen=True):
    """Keys of `defaults` and of every rule."""

    hints = _CREDENTIAL_HINTS | _hints(
        admit="admission cooldown minage minimumage",
        alert_after="alert alertafter",
        check_every="check every interval period poll refresh schedule",
        exclude="deny except ignore",
        newest="count keep last limit max",
        platforms="arch architecture architectures os platform",
        repository="dest destination target to",
        tags="allow filter include semver semverrange regex glob",
        upstream="from image registry source src",
    )
    hints |= {"repo": "Did you mean repository (in ECR) or upstream?"}

    repository: Annotated[
        _Template | UnsetType,
        _about(
            "ECR repository to publish the tags in, under the same names: a name, or a template with `{registry}`, "
            "`{path}` and `{name}` (the last segment of the path)."
        ),
    ] = UNSET
    check_every: Annotated[_CheckEvery | UnsetType, _about("How often to check upstream: 1m to 24h.")] = UNSET
    alert_after: Annotated[
        _AlertAfter | UnsetType, _about("How long a tag may be stale before an alert: check_every to 30d.")
    ] = UNSET
    platforms: Annotated[
        tuple[_Platform, ...] | UnsetType,
        _about("Platforms to keep of an index, which then has a digest of its own. All platforms if empty."),
    ] = UNSET
    immutable_tags: Annotated[
        tuple[_TagGlob, ...] | UnsetType,
        _about("Globs of tags that never move upstream: once such a tag is in ECR, upstream is not checked again."),
    ] = UNSET
    when_deleted: Annotated[
        WhenDeleted | UnsetType,
        _about("What to do when a tag is deleted from ECR: `restore` it, or `leave` it deleted until upstream moves."),
    ] = UNSET
    referrers: Annotated[
        ReferrerOptions | UnsetType,
        _about("Signatures, SBOMs and other artifacts that refer to the image, which are copied with it."),
    ] = UNSET
    max_layer_size: Annotated[
        _LayerSize | UnsetType,
        _about("Largest layer to copy, such as 20GiB: 1MB to ECR's limit, 52000MiB, which is the default."),
    ] = UNSET
    max_image_size: Annotated[
        _ImageSize | UnsetType,
        _about("Largest image to copy, all layers of all platforms together: 1MB to 10TiB; 500GiB by default."),
    ] = UNSET
    keep_previous: Annotated[
        KeepPreviousOptions | UnsetType,
        _about(
            "Keep what a tag served before it moved, for deployments that are pinned by digest. Nothing by default."
        ),
    ] = UNSET
    prune: Annotated[
        PruneOptions | UnsetType,
        _about(
            "Report, or remove from ECR, tags that upstream removed or that the rule no longer chooses. Nothing by "
            "default."
        ),
    ] = UNSET
    admit: Annotated[
        AdmitOptions | UnsetType,
        _about("What a digest must have before its tag may serve it. Nothing by default."),
    ] = UNSET
    create: Annotated[
        Creation | UnsetType,
        _about(
            "How a missing target repository is created. By default, ECR's repository creation template with the "
            "longest matching prefix decides."
        ),
    ] = UNSET


class Defaults(Options, frozen=True):
    """The section `defaults`."""

    prereleases: Annotated[
        bool | UnsetType,
        _about(
            "Whether `semver` matches prereleases, and so every version with a suffix; and whether `newest` counts "
            "prereleases that globs match."
        ),
    ] = UNSET
    max_tags: Annotated[
        _MaxTags | UnsetType,
        _about(
            "Most tags that patterns may choose, 1000 by default. With more, the tags followed so far stay followed, "
            "and an alert is sent. The repositories of a namespace share it."
        ),
    ] = UNSET
    min_tags: Annotated[
        _Count | UnsetType,
        _about(
            "Fewest tags that match the patterns. With fewer, tags followed so far stay followed, and an alert is sent."
        ),
    ] = UNSET


class MirrorRule(Defaults, frozen=True, kw_only=True):
    """An item of `mirrors`."""

    name: Annotated[_Name | UnsetType, _about("Name of the rule in messages; its upstream by default.")] = UNSET
    upstream: Annotated[
        str | UnsetType,
        _about("Upstream repository, without a tag; or `quay.io/prometheus/*` for all repositories below a path."),
    ]
    tags: Annotated[
        _OneOrMoreTags | UnsetType,
        _about(
            "Tags to follow: exact names, globs, and mappings with one of glob, regex, semver; or with the name of a "
            "tag and the name that it has in ECR. `TAG@sha256:…` pins a tag to a digest."
        ),
    ] = UNSET
    digests: Annotated[
        _OneOrMoreDigests | UnsetType,
        _about(
            "Digests to mirror without a tag of upstream; in ECR each has the tag `digest-<64 hex digits>`, or its own."
        ),
    ] = UNSET
    published_as: Annotated[
        _TagTemplate | UnsetType,
        _about("Template of the names of the tags in ECR, with `{tag}`. A tag that is given its own name keeps that."),
    ] = field(default=UNSET, name="as")
    exclude: Annotated[
        tuple[TagOrPattern, ...] | UnsetType, _about("Tags that patterns must not choose, written like `tags`.")
    ] = UNSET
    newest: Annotated[
        _AtLeastOne | UnsetType,
        _about("Follow only this many of the tags that patterns choose: the newest by version, else by name."),
    ] = UNSET


class OnDemandRule(Options, frozen=True, kw_only=True):
    """An item of `on_demand`."""

    name: Annotated[_Name | UnsetType, _about("Name of the rule, in messages and for what was pulled.")]
    upstream: Annotated[
        _Namespace | UnsetType,
        _about("Where pulls are answered from: a registry, like `docker.io/*`, or a namespace of one."),
    ]
    allow: Annotated[
        _OneOrMorePullGlobs | UnsetType,
        _about("Globs of upstream paths that may be pulled, each with or without `:` and a glob of tags."),
    ]
    deny: Annotated[tuple[_PullGlob, ...], _about("Globs of what may not be pulled although `allow` has it.")] = ()
    daily_limit: Annotated[_DailyLimit, _about("Most mirrors to create a day (UTC).")] = DEFAULT_DAILY_LIMIT
    expire_after: Annotated[_ExpireAfter, _about("How long a mirror is followed after its last pull: 1d to 365d.")] = (
        "30d"
    )


class Credential(_Section, frozen=True):
    """An item of `credentials`."""

    hints = _CREDENTIAL_HINTS

    path: Annotated[_PathGlob, _about("Glob of the repository paths that the credentials are for.")] = "*"
    secret: Annotated[_Secret | UnsetType, _about("Name or ARN of a secret in AWS Secrets Manager.")] = UNSET
    role: Annotated[
        _Role | UnsetType, _about("ARN of an IAM role to assume: for ECR in another account, or to read the secret.")
    ] = UNSET


def _check_credential(credential: Credential) -> None:
    if credential.secret is UNSET and credential.role is UNSET:
        raise InvalidValueError(
            "secret and role are missing", "Write secret: NAME, or role: ARN for ECR in another account."
        )


_CheckedCredential = Annotated[Credential, Meta(extra=Wording(check=_check_credential).extra)]


class RateLimits(_Section, frozen=True):
    """The section `rate_limit`."""

    requests_per_second: Annotated[_Rate | UnsetType, _about("Most requests a second.")] = UNSET
    reserve: Annotated[_Share, _about("Share of the host's own rate limit to leave to others.")] = "10%"


class HostSettings(_Section, frozen=True):
    """Settings of one upstream host."""

    hints = _CREDENTIAL_HINTS | _hints(
        ca="cacert cacerts cafile certificate certificates regcert",
        plain_http="http insecure plainhttp",
        private_addresses="allowprivate private privateaddress",
        rate_limit="limit ratelimit reqpersec requestspersecond",
    )

    plain_http: Annotated[bool, _about("Use HTTP without TLS: nothing then proves which host answers.")] = False
    private_addresses: Annotated[bool, _about("Allow addresses that are not public.")] = False
    credentials: Annotated[
        _Secret | tuple[_CheckedCredential, ...],
        _about("Secret in AWS Secrets Manager; or a list of credentials, of which the first matching `path` counts."),
    ] = ()
    ca: Annotated[
        _Certificates | UnsetType, _about("CA certificates (PEM) to trust for this host, instead of the public ones.")
    ] = UNSET
    token_hosts: Annotated[
        tuple[_Host, ...], _about("Other hosts whose token services may get this host's credentials.")
    ] = ()
    rate_limit: Annotated[RateLimits, _about("Limits of the requests to this host.")] = RateLimits()
    credentials_for_resource_tags: Annotated[
        bool, _about("Use this host's credentials for mirrors that only the resource tags of a repository name, too.")
    ] = False


class Sources(_Section, frozen=True):
    """The section `sources`."""

    pull_through_cache: Annotated[bool, _about("Follow what ECR's pull through cache rules have cached.")] = True
    resource_tags: Annotated[bool, _about("Follow repositories whose resource tags name an upstream.")] = True


class RulesDocument(_Section, frozen=True, kw_only=True):
    """A rules file."""

    hints = _CREDENTIAL_HINTS | _hints(
        mirrors="images repositories repos rules",
        on_demand="ondemand",
        upstreams="creds hosts registries",
    )

    version: Annotated[_Version | UnsetType, _about("Version of the file format.")]
    defaults: Annotated[Defaults | None, _about("Options of every rule that does not set its own.")] = None
    upstreams: Annotated[dict[_Host, HostSettings] | None, _about("Settings of upstream hosts, by HOST[:PORT].")] = None
    sources: Annotated[Sources | None, _about("Where else rules come from.")] = None
    ignore: Annotated[
        tuple[_RepositoryGlob, ...] | None, _about("Globs of ECR repositories that only this file may add.")
    ] = None
    mirrors: Annotated[tuple[MirrorRule, ...] | UnsetType | None, _about("Rules that mirror tags.")]
    on_demand: Annotated[
        tuple[OnDemandRule, ...] | None, _about("Rules that mirror what is pulled from ECR and missing there.")
    ] = None


def schema_text() -> str:
    """Write the JSON Schema for editors. It refuses less than the loader: it sees one value at a time."""
    schema = msgspec.json.schema(RulesDocument)
    for section in (Pattern, MutabilityExclusions):  # msgspec leaves out what `Meta` says of a Struct in a union
        schema["$defs"][section.__name__] |= {"minProperties": 1, "maxProperties": 1}
    schema["$defs"]["MirrorRule"]["anyOf"] = [{"required": ["tags"]}, {"required": ["digests"]}]
    kinds = (*Pattern.__struct_encode_fields__, "name")
    schema["$defs"]["TagItem"] |= {
        "oneOf": [{"required": [kind]} for kind in kinds],
        "dependentRequired": {"as": ["name"]},
    }
    heading = {
        "$schema": DIALECT,
        "title": "Pullahead rules",
        "description": "What is mirrored into ECR. `pullahead validate` reports every mistake.",
    }
    return f"{json.dumps(heading | schema, indent=2, ensure_ascii=False)}\n"
