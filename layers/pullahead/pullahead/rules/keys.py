"""The keys of a rules file, each declared once: the loader knows by them what may stand where, the schema shows them.

Decides names, forms and descriptions. What a form cannot say (that two rules do not meet, say) is the loader's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from pullahead.rules.model import WhenDeleted
from pullahead.rules.tag_patterns import MAX_PATTERN_CHARACTERS, PatternKind

Form = Mapping[str, Any]
"""What a value may look like, in the words of JSON Schema."""

MAX_NAME_CHARACTERS = 128
MAX_COUNT = 100_000
MUTABILITIES = ("MUTABLE", "IMMUTABLE")
EXCEPTED_MUTABILITIES = ("MUTABLE_WITH_EXCLUSION", "IMMUTABLE_WITH_EXCLUSION")
MAX_MUTABILITY_FILTERS = 5
MAX_REQUESTS_PER_SECOND = 1_000
MAX_DAILY_LIMIT = 10_000


class Key(NamedTuple):
    """A key, what it is for, and what its value may look like."""

    name: str
    description: str
    form: Form
    required: bool = False


@dataclass(frozen=True)
class Section:
    """The keys that may stand together."""

    keys: tuple[Key, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every key's name."""
        return tuple(key.name for key in self.keys)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The names of the keys that must be there."""
        return tuple(key.name for key in self.keys if key.required)

    @property
    def form(self) -> dict[str, Any]:
        """What a mapping of these keys looks like."""
        properties = {key.name: {"description": key.description, **key.form} for key in self.keys}
        form: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**form, "required": list(self.required)} if self.required else form


def _list_of(form: Form, **more: Any) -> Form:
    return {"type": "array", "items": form, **more}


def _either(*forms: Form) -> Form:
    return {"anyOf": list(forms)}


def _map_of(form: Form, **more: Any) -> Form:
    return {"type": "object", "additionalProperties": form, **more}


def _or_empty(form: Form) -> Form:
    """Also nothing, as when all that stood there was commented out."""
    return {**form, "type": [form["type"], "null"]}


_TEXT: Form = {"type": "string", "minLength": 1}
_FLAG: Form = {"type": "boolean"}
_COUNT: Form = {"type": "integer", "minimum": 0, "maximum": MAX_COUNT}
_DURATION: Form = {"type": "string", "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$", "minLength": 2}
_PATTERN: Form = {"type": "string", "minLength": 1, "maxLength": MAX_PATTERN_CHARACTERS}
_TAG_OR_GLOB: Form = {"type": "string", "pattern": r"^[A-Za-z0-9_.*?\[\]!-]+$", "maxLength": MAX_PATTERN_CHARACTERS}
_POLICY: Form = {"type": ["string", "object"], "minLength": 2}

_ONE_PATTERN: Form = {
    "type": "object",
    "properties": {
        PatternKind.GLOB.value: {"description": "Tags that fit a glob: `*`, `?`, `[a-z]`, `[!a-z]`.", **_PATTERN},
        PatternKind.REGEX.value: {
            "description": "Tags that a regular expression describes as a whole; matched in linear time, so without "
            "looking around and back references.",
            **_PATTERN,
        },
        PatternKind.SEMVER.value: {
            "description": 'Versions in a range: ">=3.18 <4", "~1.2", "^1.2", "1.x", "1.2 - 1.4", "1.x || 3.x".',
            **_PATTERN,
        },
    },
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
_ONE_TAG = _either(_TAG_OR_GLOB, _ONE_PATTERN)

CREATE = Section(
    (
        Key("tags", "Resource tags.", _map_of({"type": "string"}, maxProperties=50)),
        Key(
            "kms_key",
            "Encrypt with this KMS key: its ARN, ID or alias, or `alias/aws/ecr` for the key that AWS manages. "
            "AES-256 where it is left out.",
            _TEXT,
        ),
        Key("scan_on_push", "Scan what is pushed.", _FLAG),
        Key(
            "tag_mutability",
            "Whether tags may move, in ECR's words; with exclusions as `{IMMUTABLE_WITH_EXCLUSION: [GLOB, …]}`.",
            _either(
                {"enum": list(MUTABILITIES)},
                {
                    "type": "object",
                    "properties": {
                        word: _list_of(
                            {"type": "string", "pattern": "^[0-9a-zA-Z._*-]{1,128}$"},
                            minItems=1,
                            maxItems=MAX_MUTABILITY_FILTERS,
                        )
                        for word in EXCEPTED_MUTABILITIES
                    },
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ),
        ),
        Key("lifecycle_policy", "ECR's lifecycle policy, as YAML or as JSON text.", _POLICY),
        Key("repository_policy", "Who may do what with the repository (IAM), as YAML or as JSON text.", _POLICY),
    )
)

_OPTIONS = (
    Key(
        "repository",
        "The ECR repository that tags are published in, under the same names: a name, or a template with `{registry}`, "
        "`{path}` and `{name}` (the last segment of the path).",
        _TEXT,
    ),
    Key("check_every", "How often upstream is asked: 1m to 24h.", _DURATION),
    Key("alert_after", "How long a tag may not be fresh before people are told: check_every to 30d.", _DURATION),
    Key(
        "platforms",
        "Keep these platforms of an index only; the index is then a smaller one, with a digest of its own. "
        "Every platform where it is empty or left out.",
        _list_of({"type": "string", "pattern": "^[a-z0-9]+(/[A-Za-z0-9._-]+){1,2}$"}),
    ),
    Key(
        "immutable_tags",
        "Globs of tags that never move upstream: once such a tag is there, it is not asked for again.",
        _list_of(_TAG_OR_GLOB),
    ),
    Key(
        "when_deleted",
        "What becomes of a tag that somebody deletes from ECR: `restore` it at once, or `leave` it deleted until "
        "upstream moves.",
        {"enum": [choice.value for choice in WhenDeleted]},
    ),
    Key("prereleases", "Whether `semver` patterns take prereleases, and so every version with a suffix.", _FLAG),
    Key(
        "min_tags",
        "How many tags must fit the patterns at least. Fewer are upstream's mistake: what was followed before stays "
        "followed, and people are told.",
        _COUNT,
    ),
    Key(
        "create",
        "How the target repository is made where it is missing. ECR's repository creation template with the longest "
        "prefix decides where neither the rule nor `defaults` has it.",
        CREATE.form,
    ),
)

DEFAULTS = Section(_OPTIONS)

MIRROR = Section(
    (
        Key(
            "name",
            "What messages call the rule; the upstream repository where it is left out.",
            {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS},
        ),
        Key(
            "upstream",
            "The upstream repository as people write it, without a tag; or `quay.io/prometheus/*` for all below.",
            _TEXT,
            required=True,
        ),
        Key(
            "tags",
            "The tags to follow: exact names, globs, and mappings with one of glob, regex, semver.",
            _list_of(_ONE_TAG, minItems=1),
            required=True,
        ),
        Key("exclude", "Tags that patterns must not choose, written as `tags` are.", _list_of(_ONE_TAG)),
        Key(
            "newest",
            "Follow only so many of the tags that the patterns choose: the newest by version, else by name.",
            {**_COUNT, "minimum": 1},
        ),
        *_OPTIONS,
    )
)

ON_DEMAND = Section(
    (
        Key(
            "name",
            "What messages call the rule, and by what is remembered what was pulled.",
            {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS},
            required=True,
        ),
        Key(
            "upstream",
            "Where pulls are answered from: all of a registry, like `docker.io/*`, or of a namespace.",
            {"type": "string", "pattern": r"/\*$"},
            required=True,
        ),
        Key(
            "allow",
            "Globs of upstream paths that may be pulled, each with `:` and a glob of tags or without; a star spans "
            "slashes.",
            _list_of(_TEXT, minItems=1),
            required=True,
        ),
        Key("deny", "Globs of what may not be pulled although `allow` has it.", _list_of(_TEXT)),
        Key(
            "daily_limit",
            "How many new mirrors may be made a day, counted in UTC.",
            {**_COUNT, "minimum": 1, "maximum": MAX_DAILY_LIMIT},
        ),
        Key("expire_after", "What nobody pulled for so long is no longer followed: 1d to 365d.", _DURATION),
        *(key for key in _OPTIONS if key.name not in ("prereleases", "min_tags")),
    )
)

CREDENTIAL = Section(
    (
        Key("path", "A glob of upstream repositories' paths that it is for; all where it is left out.", _TEXT),
        Key("secret", "The name or ARN of a secret in AWS Secrets Manager.", _TEXT),
        Key("role", "The ARN of an IAM role to assume: for ECR in another account, or to read the secret.", _TEXT),
    )
)

RATE_LIMIT = Section(
    (
        Key(
            "requests_per_second",
            "Send no more requests than so many a second.",
            {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_REQUESTS_PER_SECOND},
        ),
        Key(
            "reserve",
            "The share of the host's own limit that is left to others.",
            {"type": "string", "pattern": r"^[0-9]{1,2}(\.[0-9])?%$"},
        ),
    )
)

UPSTREAM = Section(
    (
        Key("plain_http", "Talk to this host without TLS. Nothing then proves who answers.", _FLAG),
        Key("private_addresses", "Allow the host to have addresses that are not public.", _FLAG),
        Key(
            "credentials",
            "The secret in AWS Secrets Manager that holds the account; or a list of them by path, the first that fits "
            "counts.",
            _either(_TEXT, _list_of(CREDENTIAL.form, minItems=1)),
        ),
        Key(
            "ca",
            "Certificates (PEM) to trust for this host, instead of those that are usually trusted.",
            {"type": "string", "pattern": "-----BEGIN CERTIFICATE-----"},
        ),
        Key("token_hosts", "Other hosts whose token services may have this host's credentials.", _list_of(_TEXT)),
        Key("rate_limit", "How hard the host may be pressed.", RATE_LIMIT.form),
    )
)

SOURCES = Section(
    (
        Key("pull_through_cache", "Follow what ECR's pull through cache rules have cached.", _FLAG),
        Key("resource_tags", "Follow repositories whose resource tags name an upstream.", _FLAG),
    )
)

DOCUMENT = Section(
    (
        Key("version", "The version of this format.", {"const": 1}, required=True),
        Key("defaults", "What holds for every rule that does not say otherwise.", _or_empty(DEFAULTS.form)),
        Key(
            "upstreams",
            "Settings of upstream hosts, by host (with its port, if it has one).",
            _or_empty(_map_of(UPSTREAM.form)),
        ),
        Key("sources", "Where else rules come from.", _or_empty(SOURCES.form)),
        Key(
            "ignore",
            "Globs of target repositories that are not followed although a pull through cache rule or resource tags "
            "name them.",
            _or_empty(_list_of(_TEXT)),
        ),
        Key("mirrors", "The rules.", _or_empty(_list_of(MIRROR.form)), required=True),
        Key(
            "on_demand",
            "Rules that mirror what is pulled from ECR and is not there yet; what `mirrors` names is theirs.",
            _or_empty(_list_of(ON_DEMAND.form)),
        ),
    )
)
