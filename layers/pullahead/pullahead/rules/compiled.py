"""Compiled rules: files that were parsed once, in a form that is decoded in a small part of the time. Pure.

The schedule compiles and the other functions decode. Whoever cannot be sure of a form does not use it: one of another
version of Pullahead, or of another shape of these types, or one that is not whole.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from msgspec import inspect, msgpack

from pullahead import __version__
from pullahead.rules.model import Rule, Rules, Source, UpstreamSettings
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


class _Envelope(msgspec.Struct, array_like=True):
    version: str
    sha256: bytes
    body: bytes


class _Body(msgspec.Struct, array_like=True):
    source: str
    external: bool
    digest: str
    rules: tuple[Rule, ...]
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
    body = msgpack.encode(
        _Body(
            compiled.source,
            compiled.external,
            rules.digest,
            rules.rules,
            rules.upstreams,
            rules.opted_out,
            rules.sources,
            rules.skipped,
            compiled.findings,
            compiled.notices,
        )
    )
    return msgpack.encode(_Envelope(compiled_version(), hashlib.sha256(body).digest(), body))


def decode_compiled(content: bytes) -> CompiledRules | None:
    """Decode a form; None for one of another version, or one that is damaged: it is to be compiled again."""
    try:
        envelope = msgpack.decode(content, type=_Envelope)
        if envelope.version != compiled_version() or hashlib.sha256(envelope.body).digest() != envelope.sha256:
            return None
        body = msgpack.decode(envelope.body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    rules = Rules(
        NamedMirrors(body.rules),
        body.upstreams,
        body.digest,
        body.rules,
        body.opted_out,
        body.sources,
        skipped=body.skipped,
    )
    return CompiledRules(body.source, body.external, rules, body.findings, body.notices)
