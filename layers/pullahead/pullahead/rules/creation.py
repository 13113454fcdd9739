"""How a target repository is to be made: `create`. Decides what ECR would refuse, while people still look.

Source: Amazon ECR API reference, CreateRepository, ImageTagMutabilityExclusionFilter, PutLifecyclePolicy and
SetRepositoryPolicy; AWS General Reference, "Tagging AWS resources".
"""

import json
import re
from collections.abc import Mapping

from pullahead.oci.registries import RepositorySettings
from pullahead.rules.fields import (
    Place,
    Problems,
    read_entries,
    read_field,
    read_fields,
    read_fitting,
    read_flag,
    read_list,
    read_optional,
    read_text,
)
from pullahead.rules.keys import CREATE, EXCEPTED_MUTABILITIES, MAX_MUTABILITY_FILTERS, MUTABILITIES
from pullahead.rules.plain import read_plain
from pullahead.rules.yaml_document import Mapping as MappingNode
from pullahead.rules.yaml_document import quoted

_AWS_MANAGED_KEYS = frozenset({"aws/ecr", "alias/aws/ecr"})
_KMS_KEY = re.compile(r"[A-Za-z0-9:/_-]{1,2048}")
_FILTER = re.compile(r"[0-9a-zA-Z._*-]{1,128}")
_MAX_TAGS, _MAX_KEY, _MAX_VALUE = 50, 128, 256
_TAG_TEXT = re.compile(r"[\w\s+\-=.:/@]*")
_TAG_ADVICE = (
    f"Up to {_MAX_KEY} characters of a key and {_MAX_VALUE} of a value: letters, digits, spaces and + - = . _ : / @; "
    "a key does not begin with aws:."
)
_MAX_LIFECYCLE_POLICY, _MAX_REPOSITORY_POLICY = 30_720, 10_240
_IMMUTABLE = "IMMUTABLE"


def read_creation(place: Place, base: RepositorySettings | None, problems: Problems) -> RepositorySettings:
    """Read `create`; what it does not say stays as in `base`."""
    fields = read_fields(place, CREATE, problems)
    settings = base or RepositorySettings()
    mutability = read_optional(fields, "tag_mutability", _mutability, problems)
    immutable, filters = mutability or (settings.immutable_tags, settings.mutable_tag_filters)
    return RepositorySettings(
        read_field(fields, "tags", _tags, problems, absent=settings.tags),
        _or(read_optional(fields, "kms_key", _kms_key, problems), settings.kms_key),
        read_field(fields, "scan_on_push", read_flag, problems, absent=settings.scan_on_push),
        immutable,
        filters,
        _or(_lifecycle_policy(fields, problems), settings.lifecycle_policy),
        _or(_repository_policy(fields, problems), settings.repository_policy),
    )


def _or(text: str | None, otherwise: str | None) -> str | None:
    return otherwise if text is None else text


def _tags(place: Place, problems: Problems) -> tuple[tuple[str, str], ...]:
    entries = read_entries(place, problems) or {}
    if len(entries) > _MAX_TAGS:
        problems.add(place, f"it has {len(entries)} tags", f"AWS allows {_MAX_TAGS} of a resource.")
    tags = []
    for key, entry in entries.items():
        at = Place(entry.value, f"{place.path}[{quoted(key)}]")
        value = read_text(at, problems)
        if not _is_tag_text(key, _MAX_KEY) or not key or key.lower().startswith("aws:"):
            problems.add(entry.key, f"{quoted(key)} is no key of a tag that AWS allows", _TAG_ADVICE)
        elif value is not None and not _is_tag_text(value, _MAX_VALUE):
            problems.add(at, f"{quoted(value)} is no value of a tag that AWS allows", _TAG_ADVICE)
        elif value is not None:
            tags.append((key, value))
    return tuple(tags)


def _is_tag_text(text: str, longest: int) -> bool:
    return len(text) <= longest and _TAG_TEXT.fullmatch(text) is not None


def _kms_key(place: Place, problems: Problems) -> str | None:
    hint = "Write its ARN, its ID, alias/NAME, or alias/aws/ecr."
    text = read_fitting(place, _KMS_KEY.fullmatch, problems, wrong="is no KMS key", hint=hint)
    return "" if text in _AWS_MANAGED_KEYS else text


def _mutability(place: Place, problems: Problems) -> tuple[bool, tuple[str, ...]] | None:
    if not isinstance(place.node, MappingNode):
        word = read_text(place, problems)
        if word in MUTABILITIES:
            return word == _IMMUTABLE, ()
        if word is not None:
            problems.add(place, f"{quoted(word)} is not known", _mutability_advice())
        return None
    entries = read_entries(place, problems) or {}
    if len(entries) != 1 or next(iter(entries)) not in EXCEPTED_MUTABILITIES:
        problems.add(place, "it is not one of the known settings with exclusions", _mutability_advice())
        return None
    ((word, entry),) = entries.items()
    at = Place(entry.value, f"{place.path}.{word}")
    filters = read_list(at, _filter, problems)
    if not 1 <= len(filters) <= MAX_MUTABILITY_FILTERS:
        problems.add(at, f"it has {len(filters)} filters", f"ECR allows 1 to {MAX_MUTABILITY_FILTERS}.")
    return word.startswith(_IMMUTABLE), filters


def _mutability_advice() -> str:
    return f'Write {" or ".join(MUTABILITIES)}, or {{{EXCEPTED_MUTABILITIES[1]}: ["latest*"]}}.'


def _filter(place: Place, problems: Problems) -> str | None:
    hint = "Letters, digits, dots, dashes, _ and *."
    return read_fitting(place, _FILTER.fullmatch, problems, wrong="is no filter that ECR allows", hint=hint)


def _lifecycle_policy(fields: Mapping[str, Place], problems: Problems) -> str | None:
    return _policy(fields.get("lifecycle_policy"), "rules", _MAX_LIFECYCLE_POLICY, problems)


def _repository_policy(fields: Mapping[str, Place], problems: Problems) -> str | None:
    return _policy(fields.get("repository_policy"), "Statement", _MAX_REPOSITORY_POLICY, problems)


def _policy(place: Place | None, must_have: str, longest: int, problems: Problems) -> str | None:
    """Read a policy, as YAML or as JSON text, and write it as JSON."""
    if place is None:
        return None
    value = read_plain(place, problems) if isinstance(place.node, MappingNode) else _json(place, problems)
    if value is None:
        return None
    if not isinstance(value, dict) or must_have not in value:
        problems.add(place, f"it is no such policy: there is no {must_have} in it", "See the ECR User Guide.")
        return None
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if len(text) > longest:
        problems.add(place, f"it has {len(text)} characters as JSON", f"ECR allows {longest}.")
    return text


def _json(place: Place, problems: Problems) -> object:
    text = read_text(place, problems)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        at = f": {error.msg}, line {error.lineno} of it" if isinstance(error, json.JSONDecodeError) else ""
        problems.add(place, f"it is no JSON{at}", "Write it as YAML, or mend it.")
    except RecursionError:
        problems.add(place, "it is nested too deeply")
    return None
