"""Find the mirrors, or the rules, that a person names: by names in ECR, or by an image's address in ECR or upstream.

A pod names its image by ECR's host, with a tag, a digest or both; people also paste the upstream's name. Pure.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from pullahead.mirrors.record import MirrorRecord, Record, RuleRecord
from pullahead.mirrors.rule_record import rule_key
from pullahead.oci import Digest, Reference, Repository, parse_reference
from pullahead.oci.ecr_registry import EcrRegistry, parse_ecr_host
from pullahead.oci.reference import InvalidReferenceError
from pullahead.rules.mirror_key import MirrorKey, RecordKey
from pullahead.rules.model import Rule, Rules, rule_named
from pullahead.rules.published_tags import publish_as
from pullahead.rules.repository_names import is_repository_name
from pullahead.rules.upstream_index import UpstreamIndex

_SCHEME = re.compile(r"(?:docker|docker-pullable|oci|https?)://")
_LISTING = re.compile(r"(?P<repository>\S+) \((?P<rule>.+)\)(?::\*)?")
_MAX_MIRRORS = 10  # that one name may mean


class NamedImage(NamedTuple):
    """What a person named: a repository, and a tag, a digest, or neither; or the listing of a rule.

    `ecr` is set where an address names a private registry of ECR. `ecr_name` is the repository's name in ECR, if what
    was written can be one; `repository` is what docker reads of it.
    """

    text: str
    repository: Repository
    ecr_name: str = ""
    tag: str | None = None
    digest: Digest | None = None
    ecr: EcrRegistry | None = None
    rule: str = ""


class Subjects(NamedTuple):
    """What was found: mirrors, selected or not, and rules whose listings were named. At most ten of each; `more` says
    whether there are others."""

    mirrors: tuple[MirrorKey, ...] = ()
    rules: tuple[Rule, ...] = ()
    more: bool = False


LoadMirrors = Callable[[Collection[MirrorKey]], Mapping[MirrorKey, MirrorRecord]]
LoadRecord = Callable[[RecordKey], Record | None]


def parse_named_image(text: str) -> NamedImage:
    """Read what a person names. Raises InvalidReferenceError."""
    plain = _SCHEME.sub("", text.strip())
    if listing := _LISTING.fullmatch(plain):
        return NamedImage(text, Repository("", listing["repository"]), rule=listing["rule"])
    repository, tag, digest = parse_reference(plain, default_tag=None)
    ecr = parse_ecr_host(repository.registry)
    written = plain.partition("@")[0].removesuffix(f":{tag}")
    name = repository.path if ecr is not None else written if is_repository_name(written) else ""
    return NamedImage(plain, repository, name, tag, digest, ecr)


def parse_mirror_name(text: str) -> MirrorKey:
    """Read the name of one mirror: REPOSITORY:TAG, or its address in ECR. Raises InvalidReferenceError."""
    named = parse_named_image(text)
    if not named.ecr_name or named.tag is None or (named.digest is not None and named.ecr is None):
        raise InvalidReferenceError(
            repr(text[:160]), "it names no mirror", "Write REPOSITORY:TAG as in ECR, such as mirror/python:3.13."
        )
    return MirrorKey(named.ecr_name, named.tag)


class SubjectFinder:
    """Finds what a name means, by the rules and the records."""

    def __init__(self, rules: Rules, load: LoadMirrors, load_one: LoadRecord) -> None:
        self._rules, self._load, self._load_one = rules, load, load_one

    def __call__(self, named: NamedImage) -> Subjects:
        """Find the subjects of a name; none where neither rules nor records know it. Raises: StorageError."""
        if named.rule:
            rules = [each for each in self._rules.rules_of(named.repository.path) if each.name == named.rule]
            return _bounded((), rules or [each for each in (rule_named(named.rule, self._rules),) if each])
        found = self._in_ecr(named.ecr_name, named) if named.ecr_name else Subjects()
        return found if found.mirrors or found.rules or named.ecr is not None else self._upstream(named)

    def _in_ecr(self, repository: str, named: NamedImage) -> Subjects:
        rules = self._rules.rules_of(repository)
        if named.tag is not None:
            key = MirrorKey(repository, named.tag)
            is_known = bool(rules) or self._rules.find(repository, named.tag) is not None or self._load([key])
            return Subjects((key,) if is_known else ())
        if named.digest is not None:
            known = self._load(self._keys_of(rules))
            return _bounded([key for key, record in known.items() if has_served(record, named.digest)], ())
        return _bounded((), rules)

    def _upstream(self, named: NamedImage) -> Subjects:
        index = UpstreamIndex(self._rules)
        naming = (rule for rule in self._rules.rules if rule.upstream == named.repository)
        rules = list({rule_key(rule): rule for rule in (*naming, *index.rules_of(named.repository))}.values())
        if named.tag is not None:
            followed = index.of(Reference(named.repository, named.tag))
            keys = [MirrorKey(each.repository, each.tag) for each in followed]
            others = (MirrorKey(rule.repository, publish_as(rule.tags.template, named.tag)) for rule in rules)
            return _bounded(keys or list(others), ())
        if named.digest is not None:
            known = self._load(self._keys_of(rules))
            return _bounded([key for key, record in known.items() if has_served(record, named.digest)], ())
        return _bounded((), rules)

    def _keys_of(self, rules: Collection[Rule]) -> list[MirrorKey]:
        """List the mirrors that rules name, or have selected."""
        keys: dict[MirrorKey, None] = {}
        for rule in rules:
            keys.update((MirrorKey(rule.repository, each.target), None) for each in rule.tags.named)
            listing = self._load_one(rule_key(rule)) if rule.tags.patterns else None
            if isinstance(listing, RuleRecord):
                chosen = (publish_as(rule.tags.template, tag) for tag in listing.followed)
                keys.update((MirrorKey(rule.repository, tag), None) for tag in chosen)
        return list(keys)


def has_served(record: MirrorRecord, digest: Digest) -> bool:
    """Whether a digest is one of those that a mirror's record knows."""
    filtered = record.filtered.upstream_digest if record.filtered is not None else None
    kept = (each.digest for each in record.kept)
    return digest in (record.published_digest, record.previous_digest, record.upstream_digest, filtered, *kept)


def _bounded(mirrors: Collection[MirrorKey], rules: Collection[Rule]) -> Subjects:
    more = len(mirrors) > _MAX_MIRRORS or len(rules) > _MAX_MIRRORS
    return Subjects(tuple(mirrors)[:_MAX_MIRRORS], tuple(rules)[:_MAX_MIRRORS], more)
