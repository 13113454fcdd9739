"""Compiled rules: files that were parsed once, in a form that is decoded in a small part of the time. Pure.

What rules have in common, as they take it from `defaults`, is in the form once: it may be long, such as ten signers,
and there may be 100,000 rules.

The schedule compiles and the other functions decode. Whoever cannot be sure of a form does not use it: one of another
version of Pullahead, or of another shape of these types, or one that is not whole.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from msgspec import inspect, msgpack

from pullahead import __version__
from pullahead.oci.registries import RepositorySettings
from pullahead.rules.admission_policy import AdmissionPolicy
from pullahead.rules.model import ReferrersPolicy, Rule, Rules, Source, UpstreamSettings
from pullahead.rules.named_mirrors import NamedMirrors
from pullahead.rules.sources.findings import Findings

FORM: Final = 1
"""Raise it where the same files mean something else than before, though the types are the same."""


class CompiledRules(NamedTuple):
    """Rules, and what they were made of: files by their fingerprint, and findings.

    `external`: the files are not those of the deployment, but of `RulesUri`. `notices` are those of combining sources.
    """

    source: str
    external: bool
    rules: Rules
    findings: Findings = Findings()
    notices: tuple[str, ...] = ()


class _Shared(NamedTuple):
    """What may be long in a rule, and the same in many. The defaults are those of a rule."""

    immutable_tags: tuple[str, ...] = ()
    settings: RepositorySettings | None = None
    referrers: ReferrersPolicy = ReferrersPolicy()
    admit: AdmissionPolicy | None = None


class _Envelope(msgspec.Struct, array_like=True):
    version: str
    sha256: bytes
    body: bytes


class _Body(msgspec.Struct, array_like=True):
    source: str
    external: bool
    digest: str
    rules: tuple[Rule, ...]  # without what is shared
    shared: tuple[_Shared, ...]
    shared_by: tuple[int, ...]  # by rule: the place in `shared`; empty where no rule has any
    upstreams: tuple[UpstreamSettings, ...]
    opted_out: frozenset[str]
    sources: frozenset[Source]
    skipped: Mapping[str, str]
    findings: Findings
    notices: tuple[str, ...]


@lru_cache(maxsize=1)
def compiled_version() -> str:
    """Name what reads and writes a form: a change of any of its types is another version."""
    shape = hashlib.sha256(repr(inspect.type_info(_Body)).encode()).hexdigest()
    return f"{FORM} {__version__} {shape[:16]}"


def encode_compiled(compiled: CompiledRules) -> bytes:
    """Encode rules; all of their mirrors are named by rules."""
    rules = compiled.rules
    shared, shared_by = _shared_by(rules.rules)
    body = msgpack.encode(
        _Body(
            compiled.source,
            compiled.external,
            rules.digest,
            tuple(rule._replace(**_NOTHING) for rule in rules.rules) if shared_by else rules.rules,
            shared,
            shared_by,
            rules.upstreams,
            rules.opted_out,
            rules.sources,
            rules.skipped,
            compiled.findings,
            compiled.notices,
        )
    )
    return msgpack.encode(_Envelope(compiled_version(), hashlib.sha256(body).digest(), body))


def _shared_by(rules: Sequence[Rule]) -> tuple[tuple[_Shared, ...], tuple[int, ...]]:
    """Find what rules share, and the place of what each has; nothing where all of it is as no rule says."""
    known: dict[tuple[int, ...], int] = {}  # by the objects, most of which are those of the defaults
    places: dict[bytes, int] = {}
    found: list[_Shared] = []
    by_rule: list[int] = []
    for rule in rules:
        parts = _Shared(rule.immutable_tags, rule.settings, rule.referrers, rule.admit)
        objects = tuple(map(id, parts))
        if objects not in known:
            known[objects] = places.setdefault(msgpack.encode(parts), len(found))
            found += [parts] if known[objects] == len(found) else []
        by_rule.append(known[objects])
    return ((), ()) if found in ([], [_Shared()]) else (tuple(found), tuple(by_rule))


def _with_shared(rule: Rule, shared: _Shared) -> Rule:
    """Put what is shared into a rule, by its place among the fields: `_replace` takes four times as long."""
    immutable_tags, settings, referrers, admit = shared
    return Rule(*rule[:7], immutable_tags, settings, *rule[9:12], referrers, *rule[13:16], admit)


_NOTHING: Final = _Shared()._asdict()


def decode_compiled(content: bytes) -> CompiledRules | None:
    """Decode a form; None for one of another version, or one that is damaged: it is to be compiled again."""
    try:
        envelope = msgpack.decode(content, type=_Envelope)
        if envelope.version != compiled_version() or hashlib.sha256(envelope.body).digest() != envelope.sha256:
            return None
        body = msgpack.decode(envelope.body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    declared = body.rules
    if body.shared_by:
        places = zip(declared, body.shared_by, strict=True)
        declared = tuple(_with_shared(rule, body.shared[place]) for rule, place in places)
    rules = Rules(
        NamedMirrors(declared),
        body.upstreams,
        body.digest,
        declared,
        body.opted_out,
        body.sources,
        skipped=body.skipped,
    )
    return CompiledRules(body.source, body.external, rules, body.findings, body.notices)
