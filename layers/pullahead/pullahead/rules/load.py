"""Rules files → rules. Decides what a file may say, and which rules may not meet; does not know where it came from.

Strict: what is not understood is a problem, never ignored, and all problems are reported at once, each with its line.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import Any, NamedTuple, TypeGuard, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from pullahead.oci import InvalidReferenceError, Reference, Repository, digest_of, parse_host, parse_reference
from pullahead.oci.reference import is_tag
from pullahead.oci.registries import RepositorySettings
from pullahead.rules.file_format import (
    Creation,
    Credential,
    Defaults,
    HostSettings,
    MirrorRule,
    MutabilityExclusions,
    OnDemandRule,
    Options,
    Pattern,
    ReferrerOptions,
    RulesDocument,
    Sources,
    TagOrPattern,
    format_duration,
    parse_duration,
    parse_late,
    parse_size,
)
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import (
    DEFAULT_ALERT_AFTER,
    DEFAULT_CHECK_EVERY,
    CredentialSource,
    OnDemand,
    RateLimit,
    ReferrersPolicy,
    Rule,
    Rules,
    SizeLimits,
    Source,
    UpstreamSettings,
    WhenDeleted,
)
from pullahead.rules.named_mirrors import NamedMirrors
from pullahead.rules.repository_names import (
    DISTINGUISHING,
    NAMESPACE,
    REPOSITORY_ADVICE,
    fill,
    is_repository_name,
    placeholders,
)
from pullahead.rules.struct_reader import Problems, YamlLocation, read_entries, read_items, read_struct
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection, matches
from pullahead.rules.text import RulesText, folder_of
from pullahead.rules.yaml_document import (
    DocumentError,
    Mapping,
    NodeCount,
    Problem,
    RulesError,
    Scalar,
    compose,
    quoted,
)

MAX_NAMED_TAGS = 200_000

_STAND_IN = "xx"  # ECR's names have two characters or more
_SAMPLE = Repository("ghcr.io", "team/app")
_AWS_MANAGED_KEYS = frozenset({"aws/ecr", "alias/aws/ecr"})
# Amazon ECR API reference, PutLifecyclePolicy and SetRepositoryPolicy.
_MAX_LIFECYCLE_POLICY, _MAX_REPOSITORY_POLICY = 30_720, 10_240

_SKOPEO_KEYS = ("images", "images-by-tag-regex", "images-by-semver")  # skopeo-sync(1), below a registry's host

_T = TypeVar("_T")


def load_rules(text: str, *, source: str) -> Rules:
    """Read a rules file; `source` names it in messages. Raises RulesError with every problem."""
    return load_rules_files([RulesText(source, text)])


def load_rules_files(files: Sequence[RulesText]) -> Rules:
    """Read files, one or more, as if they were one.

    What is a section of its own (`defaults`, `sources`) may be in one of them, and is for all; lists are joined, and so
    are `upstreams`. Raises RulesError with every problem, each with its file and line.
    """
    problems = Problems()
    documents = _compose_all(files, problems)
    rules = _Loader(problems).load(documents) if not problems.found else None
    if rules is None or problems.found:
        raise RulesError(folder_of(files), problems.found)
    return rules


class _Document(NamedTuple):
    """One file. `name` is empty where it is the only one."""

    name: str
    top: YamlLocation


def _compose_all(files: Sequence[RulesText], problems: Problems) -> list[_Document]:
    documents, count, are_several = [], NodeCount(), len(files) > 1
    for file in files:
        name = file.name if are_several else ""
        try:
            document = compose(file.text, count=count)
        except DocumentError as error:
            problems.found.append(Problem(error.line, "", error.message, error.hint, name))
            continue
        if document is None:
            hint = "Write version: 1 and mirrors: [] for no rules."
            problems.found.append(Problem(1, "", "the file is empty", hint, name))
        else:
            documents.append(_Document(name, YamlLocation(document)))
    return documents


class _ResolvedOptions(NamedTuple):
    """The options of a rule, with those of the defaults where it does not set its own."""

    repository: str = "{registry}/{path}"  # empty where it is invalid
    check_every: timedelta = DEFAULT_CHECK_EVERY
    alert_after: timedelta = DEFAULT_ALERT_AFTER
    platforms: tuple[str, ...] = ()
    immutable_tags: tuple[str, ...] = ()
    prereleases: bool = False
    min_tags: int = 0
    creation: RepositorySettings | None = None
    when_deleted: WhenDeleted = WhenDeleted.RESTORE
    referrers: ReferrersPolicy = ReferrersPolicy()
    sizes: SizeLimits = SizeLimits()


class _Place(NamedTuple):
    """Where something is written."""

    file: str
    line: int

    def seen_from(self, file: str) -> str:
        return f"line {self.line}" if file == self.file else f"line {self.line} of {self.file}"


class _Loader:
    """Reads files. Remembers what first claims a name, a tag, or a repository that patterns publish into."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._defaults = _ResolvedOptions()
        self._sections: dict[str, _Place] = {}
        self._hosts: dict[str, _Place] = {}
        self._names: dict[str, _Place] = {}
        self._tags: dict[MirrorKey, _Place] = {}
        self._choosing: dict[str, tuple[Repository, _Place]] = {}

    def load(self, documents: Sequence[_Document]) -> Rules:
        read = [(name, top, document) for name, top in documents if (document := self._document(name, top)) is not None]
        for name, top, document in read:
            self._problems.file = name
            if document.defaults is not None and self._is_only_section(top, "defaults"):
                self._defaults = self._read_defaults(top.below("defaults"), document.defaults)
            if document.sources is not None:
                self._is_only_section(top, "sources")
        upstreams = tuple(chain(*(self._each(name, top, "upstreams", self._upstreams) for name, top, _ in read)))
        on_demand = tuple(chain(*(self._each(name, top, "on_demand", self._on_demand_rules) for name, top, _ in read)))
        mirrors = tuple(chain(*(self._each(name, top, "mirrors", self._mirror_rules) for name, top, _ in read)))
        sources = next((document.sources for _, _, document in read if document.sources is not None), None)
        ignored = chain(*(document.ignore or () for _, _, document in read))
        return self._joined(upstreams, mirrors, on_demand, frozenset(ignored), sources or Sources())

    def _document(self, name: str, top: YamlLocation) -> RulesDocument | None:
        self._problems.file = name
        if other := _other_tool(top):
            hint = "Convert it: pullahead import FILE > rules.yaml."
            self._problems.add(top, f"it is a file of {other}, not of rules", hint)
            return None
        return read_struct(top, RulesDocument, self._problems, skip=("upstreams", "mirrors", "on_demand"))

    def _each(
        self, name: str, top: YamlLocation, key: str, read: Callable[[YamlLocation | None], Iterable[_T]]
    ) -> tuple[_T, ...]:
        """Read a section of one file."""
        self._problems.file = name
        return tuple(read(top.find(key)))

    def _is_only_section(self, top: YamlLocation, key: str) -> bool:
        """Claim a section that only one of several files may have, and that is for all of them."""
        entries = top.node.entries if isinstance(top.node, Mapping) else ()
        line = next((name.line for name, _ in entries if isinstance(name, Scalar) and name.text == key), top.node.line)
        place = self._sections.setdefault(key, _Place(self._problems.file, line))
        if place.file == self._problems.file:
            return True
        message = f"{key} are already on {place.seen_from(self._problems.file)}, for the rules of all files"
        at = top.below(key)
        self._problems.add(at._replace(node=at.node._replace(line=line)), message, f"Keep `{key}` in one file.")
        return False

    def _joined(
        self,
        upstreams: tuple[UpstreamSettings, ...],
        mirrors: tuple[Rule, ...],
        on_demand: tuple[Rule, ...],
        ignored: frozenset[str],
        sources: Sources,
    ) -> Rules:
        rules = (*_named(mirrors, set(self._names)), *on_demand)
        named = NamedMirrors(rules)
        if len(named) > MAX_NAMED_TAGS:
            message = f"{len(named):,} tags are named, and one stack mirrors at most {MAX_NAMED_TAGS:,} that are"
            self._problems.file = ""
            self._problems.found.append(Problem(1, "mirrors", message, "Split the rules between two stacks."))
        read = Rules(named, upstreams, "", rules, ignored, _sources(sources))
        return replace(read, digest=_digest(read))

    def _items(self, at: YamlLocation | None) -> tuple[YamlLocation, ...]:
        return () if at is None or at.is_empty else read_items(at, self._problems)

    # --- Rules ---

    def _mirror_rules(self, at: YamlLocation | None) -> Iterator[Rule]:
        return filter(None, map(self._mirror_rule, self._items(at)))

    def _on_demand_rules(self, at: YamlLocation | None) -> Iterator[Rule]:
        return filter(None, map(self._on_demand_rule, self._items(at)))

    def _mirror_rule(self, at: YamlLocation) -> Rule | None:
        before = len(self._problems.found)
        written = read_struct(at, MirrorRule, self._problems)
        if written is None:
            return None
        name = self._claimed_name(at, written.name)
        upstream = self._upstream(at, written.upstream)
        options = self._options(at, written, self._defaults, before)
        tags = self._selection(at, written, options, before)
        target = self._target(at, options.repository, upstream)
        if target is None:
            return None
        self._claim_tags(at.below("tags"), target)
        if upstream is None:
            return None
        if tags.patterns or _is_namespace(upstream):
            self._claim_target(at, target, upstream)
        return _rule(name, upstream, options.repository if _is_namespace(upstream) else target, tags, options)

    def _on_demand_rule(self, at: YamlLocation) -> Rule | None:
        before = len(self._problems.found)
        written = read_struct(at, OnDemandRule, self._problems)
        if written is None:
            return None
        name = self._claimed_name(at, written.name)
        upstream = self._namespace(at, written.upstream, may_be_registry=True)
        options = self._options(at, written, self._defaults, before)
        target = self._target(at, options.repository, upstream)
        if target is None or upstream is None or not name:
            return None
        self._claim_target(at, target, upstream)
        limits = (written.daily_limit, _duration(written.expire_after))
        on_demand = OnDemand(_given(written.allow, ()), written.deny, *limits)
        return _rule(name, upstream, options.repository, TagSelection(), options)._replace(on_demand=on_demand)

    def _claimed_name(self, at: YamlLocation, name: str | UnsetType) -> str:
        """Claim a name that no other rule has; empty where the rule has none."""
        if isinstance(name, UnsetType):
            return ""
        here = at.below("name")
        if name in self._names:
            self._problems.add(
                here, f"{quoted(name)} is already the name of the rule on {self._shown(self._names[name])}"
            )
        self._names.setdefault(name, self._place(here))
        return name

    def _place(self, at: YamlLocation) -> _Place:
        return _Place(self._problems.file, at.node.line)

    def _shown(self, place: _Place) -> str:
        return place.seen_from(self._problems.file)

    def _claim_tags(self, at: YamlLocation, target: str) -> None:
        """Claim every tag that is named, also where other tags of the rule are invalid."""
        for item in at.items:
            if not isinstance(item.node, Scalar) or item.node.kind != "str" or not is_tag(item.node.text):
                continue
            key = MirrorKey(target, item.node.text)
            if key in self._tags:
                message = f"{key} is already on {self._shown(self._tags[key])}"
                self._problems.add(item, message, "A tag can follow one upstream only.")
            self._tags.setdefault(key, self._place(item))

    def _claim_target(self, at: YamlLocation, target: str, upstream: Repository) -> None:
        """Claim a repository (of a namespace, what its repositories' names have in common) for tags that are chosen."""
        here = at.below("repository")
        other, place = self._choosing.setdefault(target, (upstream, self._place(here)))
        if other != upstream:
            self._problems.add(
                here,
                f"{target} may get the same tag from {other}, by the rule on {self._shown(place)}",
                "Rules with patterns need a repository of their own for each upstream.",
            )

    # --- Upstream and target ---

    def _upstream(self, at: YamlLocation, text: str | UnsetType) -> Repository | None:
        if isinstance(text, UnsetType):
            return None
        if text.endswith(NAMESPACE):
            return self._namespace(at, text)
        here = at.below("upstream")
        if _is_host_alone(text):
            hint = f"Write {text}/PATH. An official image of Docker Hub is docker.io/library/NAME."
            self._problems.add(here, f"{quoted(text)} is a registry, without a repository", hint)
            return None
        reference = self._reference(at, text)
        if reference is None:
            return None
        if reference.digest is not None:
            self._problems.add(here, "a digest never moves", "Write the repository alone, and its tags under `tags`.")
        elif reference.tag is not None:
            self._problems.add(here, "the tag does not belong here", f'Move it to tags: ["{reference.tag}"].')
        return reference.repository

    def _namespace(
        self, at: YamlLocation, text: str | UnsetType, *, may_be_registry: bool = False
    ) -> Repository | None:
        """Read what stands for all repositories below a path, or for all of a registry."""
        if isinstance(text, UnsetType):
            return None
        above = text.removesuffix(NAMESPACE)
        reference = self._reference(at, f"{above}/{_STAND_IN}", is_namespace=True)
        if reference is None:
            return None
        registry, path = reference.repository
        if path.removeprefix("library/") != _STAND_IN or above.rpartition("/")[2] == "library":
            return Repository(registry, f"{path.removesuffix(_STAND_IN)}*")
        if may_be_registry:
            return Repository(registry, "*")
        hint = "Write a namespace of it, like quay.io/prometheus/*."
        self._problems.add(at.below("upstream"), "it is a whole registry", hint)
        return None

    def _reference(self, at: YamlLocation, text: str, *, is_namespace: bool = False) -> Reference | None:
        try:
            return parse_reference(text, default_tag=None)
        except InvalidReferenceError as error:
            advice = error.advice.replace(f"/{_STAND_IN}.", "/*.") if is_namespace else error.advice
            if "*" in text:
                advice = "A star stands for a whole namespace, at the end only: quay.io/prometheus/*."
            self._problems.add(at.below("upstream"), f"invalid reference: {error.cause}", advice)
            return None

    def _target(self, at: YamlLocation, template: str, upstream: Repository | None) -> str | None:
        """Name the repository, or for a namespace what its repositories' names have in common."""
        if upstream is None or not template:
            return template if template and not placeholders(template) else None
        if not _is_namespace(upstream):
            target = fill(template, upstream)
            return target if self._is_allowed(at, target, template) else None
        if not any(name in DISTINGUISHING for name in placeholders(template)):
            message = "all repositories of the namespace would be published into one"
            self._problems.add(at.below("repository"), message, "Write {path} or {name} in it.")
            return None
        one = Repository(upstream.registry, upstream.path.replace("*", _STAND_IN))
        return fill(template, upstream) if self._is_allowed(at, fill(template, one), template) else None

    def _is_allowed(self, at: YamlLocation, repository: str, template: str) -> bool:
        if is_repository_name(repository):
            return True
        message = f"{template} gives {quoted(repository)}, which is not a valid ECR repository name"
        self._problems.add(at.below("repository"), message, REPOSITORY_ADVICE)
        return False

    # --- Options ---

    def _read_defaults(self, at: YamlLocation, written: Defaults) -> _ResolvedOptions:
        options = self._options(at, written, _ResolvedOptions(), len(self._problems.found))
        here, template = at.find("repository"), options.repository
        if here is None:
            return options
        is_distinguishing = any(name in DISTINGUISHING for name in placeholders(template))
        if template and not is_distinguishing:
            self._problems.add(here, "every rule would publish into one repository", "Write {path} or {name} in it.")
        if is_distinguishing and self._is_allowed(at, fill(template, _SAMPLE), template):
            return options
        return options._replace(repository=_ResolvedOptions().repository)  # one problem, and not one for every rule

    def _options(self, at: YamlLocation, written: Options, base: _ResolvedOptions, before: int) -> _ResolvedOptions:
        is_invalid = isinstance(written.repository, UnsetType) and at.find("repository") is not None
        choosing = written if isinstance(written, Defaults) else Defaults()
        options = _ResolvedOptions(
            "" if is_invalid else _given(written.repository, base.repository),
            _duration(written.check_every, base.check_every),
            _duration(written.alert_after, base.alert_after),
            _given(written.platforms, base.platforms),
            _given(written.immutable_tags, base.immutable_tags),
            _given(choosing.prereleases, base.prereleases),
            _given(choosing.min_tags, base.min_tags),
            self._creation(at, written.create, base.creation),
            _given(written.when_deleted, base.when_deleted),
            self._referrers(at, written.referrers, base.referrers),
            SizeLimits(
                _size(written.max_layer_size, base.sizes.layer), _size(written.max_image_size, base.sizes.image)
            ),
        )
        self._compare_times(at, options, before)
        return options

    def _compare_times(self, at: YamlLocation, options: _ResolvedOptions, before: int) -> None:
        if options.alert_after >= options.check_every or not self._is_valid(at, before, "check_every", "alert_after"):
            return
        here = at.find("alert_after") or at.find("check_every")
        if here is not None:
            shortest = format_duration(options.check_every)
            self._problems.add(
                here,
                f"alert_after ({format_duration(options.alert_after)}) is shorter than check_every ({shortest})",
                f"Write alert_after: {shortest} or longer.",
            )

    def _referrers(
        self, at: YamlLocation, written: ReferrerOptions | UnsetType, base: ReferrersPolicy
    ) -> ReferrersPolicy:
        """Read which referrers to copy; a rule that sets one of the keys keeps the others of the defaults."""
        if isinstance(written, UnsetType):
            return base
        copy = _given(written.copy, base.copy)
        for key in ("exclude", "late"):
            if copy is False and getattr(written, key) is not UNSET:
                message = "it has no effect, since copy is false"
                self._problems.add(at.below("referrers").below(key), message, "Remove one of the two.")
        late = base.late if isinstance(written.late, UnsetType) else parse_late(written.late)
        return ReferrersPolicy(copy, _given(written.exclude, base.exclude), late)

    def _is_valid(self, at: YamlLocation, before: int, *keys: str) -> bool:
        """Tell whether no problem was found in the values of some keys."""
        found = self._problems.found[before:]
        paths = tuple(f"{at.path}.{key}" for key in keys) if found else ()
        return not any(problem.path.startswith(paths) for problem in found)

    # --- Tags ---

    def _selection(self, at: YamlLocation, written: MirrorRule, options: _ResolvedOptions, before: int) -> TagSelection:
        items = _given(written.tags, ())
        names = tuple(item for item in items if _is_name(item))
        patterns = tuple(_pattern(item) for item in items if not _is_name(item))
        exclude = tuple(map(_pattern, _given(written.exclude, ())))
        if items and self._is_valid(at, before, "tags", "exclude", "newest", "min_tags", "prereleases"):
            self._check_effect(at, written, patterns, exclude)
        newest: int | None = _given(written.newest, None)
        min_tags = options.min_tags if patterns else 0
        return TagSelection(names, patterns, exclude, options.prereleases, newest, min_tags)

    def _check_effect(
        self, at: YamlLocation, written: MirrorRule, patterns: tuple[TagPattern, ...], exclude: tuple[TagPattern, ...]
    ) -> None:
        choosing = {"exclude": written.exclude, "newest": written.newest, "min_tags": written.min_tags}
        for key, value in choosing.items() if not patterns else ():
            if value is not UNSET:
                hint = "Add a pattern to `tags`, or leave it out."
                self._problems.add(at.below(key), "it has no effect, since `tags` has no pattern", hint)
        has_range = any(pattern.kind is PatternKind.SEMVER for pattern in (*patterns, *exclude))
        chooses_newest = bool(patterns) and written.newest is not UNSET
        if written.prereleases is not UNSET and not has_range and not chooses_newest:
            message = "it has no effect, since no pattern is a semver range and there is no `newest`"
            self._problems.add(at.below("prereleases"), message, "Leave it out.")
        for item in at.below("tags").items if exclude else ():
            if not isinstance(item.node, Scalar) or not is_tag(item.node.text):
                continue
            if any(matches(pattern, item.node.text, prereleases=True) for pattern in exclude):
                message = f"{quoted(item.node.text)} is both named and excluded"
                self._problems.add(item, message, "Remove one of the two.")

    # --- New repositories ---

    def _creation(
        self, at: YamlLocation, written: Creation | UnsetType, base: RepositorySettings | None
    ) -> RepositorySettings | None:
        if isinstance(written, UnsetType):
            return base
        at, settings = at.below("create"), base or RepositorySettings()
        mutability = written.tag_mutability
        immutable, filters = settings.immutable_tags, settings.mutable_tag_filters
        if isinstance(mutability, MutabilityExclusions):
            immutable = not isinstance(mutability.immutable, UnsetType)
            filters = _given(mutability.immutable if immutable else mutability.mutable, ())
        elif not isinstance(mutability, UnsetType):
            immutable, filters = mutability == "IMMUTABLE", ()
        kms_key = _given(written.kms_key, settings.kms_key)
        lifecycle = self._policy(at, "lifecycle_policy", written.lifecycle_policy, "rules", _MAX_LIFECYCLE_POLICY)
        if not isinstance(written.expire_untagged_days, UnsetType) and lifecycle is not None:
            message = "it has no effect, since lifecycle_policy decides what expires"
            self._problems.add(at.below("expire_untagged_days"), message, "Remove one of the two.")
        access = self._policy(at, "repository_policy", written.repository_policy, "Statement", _MAX_REPOSITORY_POLICY)
        return RepositorySettings(
            tuple(_given(written.tags, dict(settings.tags)).items()),
            "" if kms_key in _AWS_MANAGED_KEYS else kms_key,
            _given(written.scan_on_push, settings.scan_on_push),
            immutable,
            filters,
            lifecycle or settings.lifecycle_policy,
            access or settings.repository_policy,
            _given(written.expire_untagged_days, settings.expire_untagged_days),
        )

    def _policy(
        self, at: YamlLocation, key: str, written: str | dict[str, Any] | UnsetType, required: str, longest: int
    ) -> str | None:
        """Write a policy, given as YAML or as JSON text, as JSON."""
        if isinstance(written, UnsetType):
            return None
        here = at.below(key)
        policy = self._json(here, written) if isinstance(written, str) else written
        if policy is None:
            return None
        if not isinstance(policy, dict) or required not in policy:
            self._problems.add(here, f"the policy has no {required}", "See the Amazon ECR User Guide.")
            return None
        text = json.dumps(policy, separators=(",", ":"), ensure_ascii=False)
        if len(text) > longest:
            self._problems.add(here, f"the policy has {len(text)} characters as JSON", f"ECR allows {longest}.")
        return text

    def _json(self, at: YamlLocation, text: str) -> object:
        try:
            return json.loads(text)
        except ValueError as error:
            detail = f": {error.msg}, line {error.lineno} of it" if isinstance(error, json.JSONDecodeError) else ""
            self._problems.add(at, f"invalid JSON{detail}", "Correct it, or write it as YAML.")
        except RecursionError:
            self._problems.add(at, "the policy is nested too deeply")
        return None

    # --- Upstream hosts ---

    def _upstreams(self, at: YamlLocation | None) -> Iterator[UpstreamSettings]:
        entries = {} if at is None or at.is_empty else read_entries(at, self._problems)
        for written, entry in entries.items():
            settings = read_struct(entry.value, HostSettings, self._problems)
            try:
                host = parse_host(written)
            except InvalidReferenceError as error:
                self._problems.add(entry.key, error.cause, error.advice)
                continue
            before = self._hosts.setdefault(host, self._place(entry.key))
            if before.file != self._problems.file:
                message = f"{host} already has settings on {self._shown(before)}"
                self._problems.add(entry.key, message, "Keep all settings of a host in one file.")
            elif before != self._place(entry.key):
                self._problems.add(entry.key, f"{host} already has settings, under another of its names")
            if settings is not None:
                yield _upstream_settings(host, settings)


def _upstream_settings(host: str, written: HostSettings) -> UpstreamSettings:
    secrets = (Credential(secret=written.credentials),) if isinstance(written.credentials, str) else written.credentials
    limit = written.rate_limit
    return UpstreamSettings(
        host,
        written.plain_http,
        written.private_addresses,
        tuple(CredentialSource(_given(each.secret, ""), each.path, _given(each.role, None)) for each in secrets),
        _given(written.ca, None),
        tuple(map(parse_host, written.token_hosts)),
        RateLimit(_given(limit.requests_per_second, None), float(limit.reserve.rstrip("%")) / 100),
        written.credentials_for_resource_tags,
    )


def _other_tool(at: YamlLocation) -> str | None:
    """Name the tool whose file this is, if it is one that can be imported."""
    if at.find("mirrors") is not None:
        return None
    if at.find("sync") is not None:
        return "regsync"
    entries = at.node.entries if isinstance(at.node, Mapping) else ()
    hosts = (YamlLocation(value) for _, value in entries)
    is_skopeo = any(host.find(key) is not None for host in hosts for key in _SKOPEO_KEYS)
    return "skopeo sync" if is_skopeo else None


def _sources(written: Sources) -> frozenset[Source]:
    is_on = {Source.PULL_THROUGH_CACHE: written.pull_through_cache, Source.RESOURCE_TAGS: written.resource_tags}
    return frozenset(source for source in Source if is_on.get(source, True))


def _rule(name: str, upstream: Repository, repository: str, tags: TagSelection, options: _ResolvedOptions) -> Rule:
    return Rule(
        name,
        upstream,
        repository,
        tags,
        options.check_every,
        options.alert_after,
        options.platforms,
        options.immutable_tags,
        options.creation,
        when_deleted=options.when_deleted,
        referrers=options.referrers,
        sizes=options.sizes,
    )


def _named(rules: Iterable[Rule], taken: set[str]) -> Iterator[Rule]:
    """Name rules without a name after their upstream, each differently."""
    for rule in rules:
        name, count = rule.name or str(rule.upstream), 1
        while not rule.name and name in taken:
            count += 1
            name = f"{rule.upstream} ({count})"
        taken.add(name)
        yield rule._replace(name=name)


def _is_host_alone(text: str) -> bool:
    """Tell a registry's host from a repository of Docker Hub, none of which has a dot in its name."""
    name = text.partition(":")[0]
    if "." not in name and name != "localhost":
        return False
    try:
        parse_host(text)
    except InvalidReferenceError:
        return False
    return True


def _is_namespace(upstream: Repository) -> bool:
    return upstream.path.endswith("*")


def _is_name(item: TagOrPattern) -> TypeGuard[str]:
    return isinstance(item, str) and is_tag(item)


def _pattern(item: TagOrPattern) -> TagPattern:
    if isinstance(item, Pattern):
        choices = ((kind, getattr(item, kind.value)) for kind in PatternKind)
        return next(TagPattern(kind, text) for kind, text in choices if text is not UNSET)
    return TagPattern(PatternKind.GLOB, item)


def _given(value: _T | UnsetType, default: _T) -> _T:
    return default if isinstance(value, UnsetType) else value


def _duration(text: str | UnsetType, default: timedelta = timedelta()) -> timedelta:
    return default if isinstance(text, UnsetType) else parse_duration(text) or default


def _size(text: str | UnsetType, default: int) -> int:
    return default if isinstance(text, UnsetType) else parse_size(text) or default


def _digest(rules: Rules) -> str:
    """Hash what the rules mean, not how they are written: comments, order, names and spelled-out defaults."""
    meaning = [
        sorted(map(_meaning, rules.rules)),
        sorted(map(_json_text, rules.upstreams)),
        sorted(rules.opted_out),
        sorted(rules.sources),
    ]
    return digest_of(_json_text(meaning).encode())


def _meaning(rule: Rule) -> str:
    tags = rule.tags
    selection = tags._replace(
        names=tuple(sorted(tags.names)), patterns=tuple(sorted(tags.patterns)), exclude=tuple(sorted(tags.exclude))
    )
    # What was pulled is recorded under the name of its rule.
    return _json_text(rule._replace(name="" if rule.on_demand is None else rule.name, tags=selection))


def _json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()
