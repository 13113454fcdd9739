"""Lock files: rules in which every tag has its digest. They are rules files like any other. Pure.

What is written is read back and compared, so that no option of a rule is lost unnoticed.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

from pullahead.errors import ConfigError
from pullahead.oci import Digest
from pullahead.oci.registries import RepositorySettings
from pullahead.rules.admission_policy import AdmissionPolicy
from pullahead.rules.file_format import format_duration, format_size
from pullahead.rules.load import load_rules
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import (
    NO_REFERRERS,
    CredentialSource,
    Mirror,
    RateLimit,
    ReferrersPolicy,
    Rule,
    Rules,
    SizeLimits,
    Source,
    UpstreamSettings,
)
from pullahead.rules.problems import MAX_DOCUMENT_BYTES, RulesError
from pullahead.rules.published_tags import digest_tag
from pullahead.rules.signature_policy import KeylessSigner, KmsSigner, SignaturePolicy, Signer

_HEADING = """\
# Written by `pullahead plan --lock`: every tag is pinned to the digest that upstream served. It is a rules file:
# validate, plan, sync and deploy it. Write it anew from the rules that it was made of.
"""


class LockedTag(NamedTuple):
    """A mirror, and the digest that upstream serves under its tag."""

    mirror: Mirror
    digest: Digest


def write_lock(rules: Rules, tags: Iterable[LockedTag], *, max_bytes: int = MAX_DOCUMENT_BYTES) -> str:
    """Write a lock file of at most `max_bytes`. Raises ConfigError where the rules cannot be written as one file."""
    by_rule: dict[str, dict[tuple[str, str], list[LockedTag]]] = {rule.name: {} for rule in rules.rules}
    for tag in tags:
        place = (str(tag.mirror.upstream.repository), tag.mirror.repository)
        by_rule[tag.mirror.rule].setdefault(place, []).append(tag)
    document: dict[str, Any] = {"version": 1}
    if rules.upstreams:
        document["upstreams"] = {each.host: _upstream(each) for each in rules.upstreams}
    sources = {source.value.replace("-", "_"): False for source in Source if source not in rules.sources}
    document |= {"sources": sources} if sources else {}
    document |= {"ignore": sorted(rules.opted_out)} if rules.opted_out else {}
    document["mirrors"] = [
        _mirror(rule, place, locked)
        for rule in rules.rules
        if rule.on_demand is None
        for place, locked in by_rule[rule.name].items()
    ]
    on_demand = [_on_demand(rule) for rule in rules.rules if rule.on_demand is not None]
    document |= {"on_demand": on_demand} if on_demand else {}
    text = _HEADING + "\n".join(_lines(document)) + "\n"
    if (size := len(text.encode())) > max_bytes:
        limit = f"a rules file may have {max_bytes} bytes, and the lock has {size}"
        raise ConfigError(f"{limit}. Lock fewer rules with --only.")
    _prove(text, rules, [locked for places in by_rule.values() for some in places.values() for locked in some])
    return text


def _prove(text: str, rules: Rules, tags: list[LockedTag]) -> None:
    """Read a lock back. Raises ConfigError where it does not say what the rules do."""
    try:
        read = load_rules(text, source="the lock")
    except RulesError as error:
        raise ConfigError(f"the rules cannot be locked: {error}") from error
    locked = {each.mirror.key: _plain(each.mirror, each.digest) for each in tags}
    if (
        {each.key: _plain(each, each.pin) for each in read.mirrors} != locked
        or _creations(read, locked) != _creations(rules, locked)
        or _settings(read) != _settings(rules)
        or _bounds(read) != _bounds(rules)
    ):
        raise ConfigError("the rules have an option that a lock file does not hold; please report it, with the rules")


def _plain(mirror: Mirror, digest: Digest | None) -> Mirror:
    """Leave out what differs though it means the same: how the tag was chosen, and options without effect."""
    pinned = mirror.upstream._replace(digest=digest)
    return mirror._replace(
        upstream=pinned,
        rule="",
        listed=False,
        referrers=_effective(mirror.referrers),
        admit=_without_key_names(mirror.admit),
    )


def _without_key_names(policy: AdmissionPolicy | None) -> AdmissionPolicy | None:
    if policy is None or policy.verify is None:
        return policy
    return policy._replace(verify=policy.verify.without_key_names)


def _effective(policy: ReferrersPolicy) -> ReferrersPolicy:
    return policy if policy.copies_any else NO_REFERRERS


def _creations(rules: Rules, keys: Iterable[MirrorKey]) -> dict[MirrorKey, RepositorySettings | None]:
    return {key: rules.creation_of(key.repository, key.tag) for key in keys}


def _settings(rules: Rules) -> Rules:
    return replace(rules, rules=(), mirrors=(), digest="")


def _bounds(rules: Rules) -> dict[str, Rule]:
    on_demand = (rule for rule in rules.rules if rule.on_demand is not None)
    return {
        rule.name: rule._replace(referrers=_effective(rule.referrers), admit=_without_key_names(rule.admit))
        for rule in on_demand
    }


def _mirror(rule: Rule, place: tuple[str, str], tags: list[LockedTag]) -> dict[str, Any]:
    upstream, repository = place
    name = f"{rule.name} ({repository})" if rule.is_namespace else rule.name
    item: dict[str, Any] = {"name": name, "upstream": upstream, "repository": repository, **_options(rule)}
    named = [_tag(each) for each in tags if each.mirror.upstream.tag is not None]
    digests = [_digest(each) for each in tags if each.mirror.upstream.tag is None]
    return item | ({"tags": named} if named else {}) | ({"digests": digests} if digests else {})


def _tag(locked: LockedTag) -> str | dict[str, str]:
    mirror = locked.mirror
    pinned = f"{mirror.upstream.tag}@{locked.digest}"
    return pinned if mirror.upstream.tag == mirror.tag else {"name": pinned, "as": mirror.tag}


def _digest(locked: LockedTag) -> str | dict[str, str]:
    tag = locked.mirror.tag
    return locked.digest if tag == digest_tag(locked.digest).target else {"digest": locked.digest, "as": tag}


def _options(rule: Rule) -> dict[str, Any]:
    options: dict[str, Any] = {
        "check_every": format_duration(rule.check_every),
        "alert_after": format_duration(rule.alert_after),
        "when_deleted": rule.when_deleted.value,
        "referrers": _referrers(rule.referrers),
    }
    options |= {"platforms": list(rule.platforms)} if rule.platforms else {}
    options |= {"immutable_tags": list(rule.immutable_tags)} if rule.immutable_tags else {}
    if rule.sizes != SizeLimits():
        options |= {"max_layer_size": format_size(rule.sizes.layer), "max_image_size": format_size(rule.sizes.image)}
    if (kept := rule.keep_previous) is not None:
        options["keep_previous"] = {"count": kept.most, "for": format_duration(kept.keep_for)}
    if (admit := rule.admit) is not None:
        options["admit"] = {
            "mode": admit.mode.value,
            "min_age": format_duration(admit.min_age),
            "serve": admit.serve.value,
            "first_copy": admit.first_copy.value,
            "approve": admit.approve,
        }
        options["admit"] |= {"verify": _verify(admit.verify, admit.grace)} if admit.verify is not None else {}
        if (scan := admit.scan) is not None:
            options["admit"] |= {
                "scan": {
                    "block": [each.value for each in scan.block],
                    "fixable_only": scan.fixable_only,
                    "wait": format_duration(scan.wait),
                },
                "exempt": list(scan.exempt),
            }
    return options | ({"create": _creation(rule.settings)} if rule.settings is not None else {})


def _verify(policy: SignaturePolicy, grace: timedelta) -> dict[str, Any]:
    verify: dict[str, Any] = {"any": _signers(policy.signers), "grace": format_duration(grace)}
    if policy.attestations:
        verify["attestations"] = [
            {"type": each.predicate_type}
            | ({"builder": each.builder} if each.builder is not None else {})
            | ({"source": each.source} if each.source is not None else {})
            | ({"any": _signers(each.signers)} if each.signers else {})
            for each in policy.attestations
        ]
    return verify | ({"signed_as": [str(each) for each in policy.signed_as]} if policy.signed_as else {})


def _signers(signers: Iterable[Signer]) -> list[dict[str, Any]]:
    """Write signers; keys as text, since a file may say something else later."""
    return [
        {"keyless": {"issuer": each.issuer, "identity": each.identity}}
        if isinstance(each, KeylessSigner)
        else {"key": each.key_id if isinstance(each, KmsSigner) else each.pem}
        for each in signers
    ]


def _on_demand(rule: Rule) -> dict[str, Any]:
    assert rule.on_demand is not None  # noqa: S101 - the caller has chosen it
    bounds = rule.on_demand
    return {
        "name": rule.name,
        "upstream": str(rule.upstream),
        "repository": rule.repository,
        **_options(rule),
        "allow": list(bounds.allow),
        "deny": list(bounds.deny),
        "daily_limit": bounds.daily_limit,
        "expire_after": format_duration(bounds.expire_after),
    }


def _referrers(policy: ReferrersPolicy) -> dict[str, Any]:
    if policy.copy is False:
        return {"copy": False}
    late = "always" if policy.late is None else format_duration(policy.late) if policy.late else "never"
    copy = list(policy.copy) if isinstance(policy.copy, tuple) else True
    return {"copy": copy, "exclude": list(policy.exclude), "late": late}


def _creation(settings: RepositorySettings) -> dict[str, Any]:
    mutability: Any = "IMMUTABLE" if settings.immutable_tags else "MUTABLE"
    if settings.mutable_tag_filters:
        mutability = {f"{mutability}_WITH_EXCLUSION": list(settings.mutable_tag_filters)}
    created: dict[str, Any] = {"scan_on_push": settings.scan_on_push, "tag_mutability": mutability}
    created |= {"tags": dict(settings.tags)} if settings.tags else {}
    created |= {"kms_key": settings.kms_key or "alias/aws/ecr"} if settings.kms_key is not None else {}
    for key in ("lifecycle_policy", "repository_policy", "expire_untagged_days"):
        value = getattr(settings, key)
        created |= {key: value} if value is not None else {}
    return created


def _upstream(settings: UpstreamSettings) -> dict[str, Any]:
    written: dict[str, Any] = {
        "plain_http": settings.plain_http,
        "private_addresses": settings.private_addresses,
        "credentials_for_resource_tags": settings.for_resource_tags,
    }
    written |= {"credentials": [_credential(each) for each in settings.credentials]} if settings.credentials else {}
    written |= {"ca": settings.ca} if settings.ca is not None else {}
    written |= {"token_hosts": list(settings.token_hosts)} if settings.token_hosts else {}
    return written | {"rate_limit": _rate_limit(settings.rate_limit)}


def _credential(source: CredentialSource) -> dict[str, str]:
    named = {"path": source.path, "secret": source.secret, "role": source.role}
    return {key: value for key, value in named.items() if value}


def _rate_limit(limit: RateLimit) -> dict[str, Any]:
    pace = {} if limit.requests_per_second is None else {"requests_per_second": limit.requests_per_second}
    return {**pace, "reserve": f"{limit.reserve * 100:.3g}%"}


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Write YAML: lists of tags and digests with a line for each, everything else as JSON, which YAML includes."""
    for key, value in document.items():
        if key in ("mirrors", "on_demand") and value:
            yield f"{key}:"
            for item in value:
                yield from _item_lines(item)
        elif key == "upstreams":
            yield f"{key}:"
            yield from (f"  {_json(host)}: {_json(settings)}" for host, settings in value.items())
        else:
            yield f"{key}: {_json(value)}"


def _item_lines(item: Mapping[str, Any]) -> Iterator[str]:
    for number, (key, value) in enumerate(item.items()):
        start = "  - " if number == 0 else "    "
        if key in ("tags", "digests"):
            yield f"{start}{key}:"
            yield from (f"      - {_json(each)}" for each in value)
        else:
            yield f"{start}{key}: {_json(value)}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
