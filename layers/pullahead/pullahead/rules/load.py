"""The rules file → rules. Decides what a file may say, and which rules may not meet; does not know where it came from.

Strict: what is not understood is a problem, never ignored, and all problems are reported at once, each with its line.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from pullahead.oci import (
    InvalidReferenceError,
    Reference,
    Repository,
    digest_of,
    find_digest,
    parse_digest,
    parse_host,
    parse_reference,
)
from pullahead.oci.reference import is_tag
from pullahead.oci.registries import RepositorySettings
from pullahead.rules.file_format import (
    Creation,
    Credential,
    Defaults,
    DigestItem,
    HostSettings,
    KeepPreviousOptions,
    MirrorRule,
    MutabilityExclusions,
    OnDemandRule,
    Options,
    Pattern,
    ReferrerOptions,
    RulesDocument,
    Sources,
    TagItem,
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
    KeepPrevious,
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
from pullahead.rules.published_tags import (
    SAME_NAME,
    NamedTag,
    digest_tag,
    may_give_one_name,
    publish_as,
    published_from,
)
from pullahead.rules.repository_names import (
    DISTINGUISHING,
    NAMESPACE,
    REPOSITORY_ADVICE,
    fill,
    is_repository_name,
    placeholders,
)
from pullahead.rules.struct_reader import Problems, YamlLocation, read_entries, read_items, read_struct
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection, allows, matches
from pullahead.rules.yaml_document import DocumentError, Mapping, Problem, RulesError, Scalar, compose, quoted

_STAND_IN = "xx"  # ECR's names have two characters or more
_SAMPLE = Repository("ghcr.io", "team/app")
_AWS_MANAGED_KEYS = frozenset({"aws/ecr", "alias/aws/ecr"})
# Amazon ECR API reference, PutLifecyclePolicy and SetRepositoryPolicy.
_MAX_LIFECYCLE_POLICY, _MAX_REPOSITORY_POLICY = 30_720, 10_240

_SKOPEO_KEYS = ("images", "images-by-tag-regex", "images-by-semver")  # skopeo-sync(1), below a registry's host

_T = TypeVar("_T")


def load_rules(text: str, *, source: str) -> Rules:
    """Read a rules file; `source` names it in messages. Raises RulesError with every problem."""
    try:
        document = compose(text)
    except DocumentError as error:
        raise RulesError(source, [Problem(error.line, "", error.message, error.hint)]) from error
    if document is None:
        hint = "Write version: 1 and mirrors: [] for no rules."
        raise RulesError(source, [Problem(1, "", "the file is empty", hint)])
    problems = Problems()
    rules = _Loader(problems).load(YamlLocation(document))
    if problems.found:
        raise RulesError(source, problems.found)
    return rules


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
    keep_previous: KeepPrevious | None = None


class _NamedItem(NamedTuple):
    """An item of `tags` that names a tag: where it is, what it follows, and under which name in ECR."""

    at: YamlLocation
    upstream: Repository | None
    tag: NamedTag


class _ChoosingRule(NamedTuple):
    """A rule that chooses tags by patterns: where it is, and the repository that it publishes into."""

    at: YamlLocation
    target: str
    upstream: Repository
    tags: TagSelection


class _Loader:
    """Reads one file. Remembers which line first claims a name, a tag, or a repository that patterns publish into."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._defaults = _ResolvedOptions()
        self._lines_of_names: dict[str, int] = {}
        self._named_items: dict[MirrorKey, _NamedItem] = {}
        self._choosing_rules: list[_ChoosingRule] = []
        self._choosing: dict[str, tuple[Repository, int]] = {}

    def load(self, at: YamlLocation) -> Rules:
        if other := _other_tool(at):
            hint = "Convert it: pullahead import FILE > rules.yaml."
            self._problems.add(at, f"it is a file of {other}, not of rules", hint)
            return Rules((), (), "")
        document = read_struct(at, RulesDocument, self._problems, skip=("upstreams", "mirrors", "on_demand"))
        if document is None:
            return Rules((), (), "")
        if document.defaults is not None:
            self._defaults = self._read_defaults(at.below("defaults"), document.defaults)
        upstreams = tuple(self._upstreams(at.find("upstreams")))
        on_demand = [self._on_demand_rule(item) for item in self._items(at.find("on_demand"))]
        mirrors = [self._mirror_rule(item) for item in self._items(at.find("mirrors"))]
        self._check_published_names()
        rules = (*_named(filter(None, mirrors), set(self._lines_of_names)), *filter(None, on_demand))
        read = Rules(
            tuple(mirror for rule in rules if not rule.is_namespace for mirror in rule.named_mirrors),
            upstreams,
            "",
            rules,
            frozenset(document.ignore or ()),
            _sources(document.sources or Sources()),
        )
        return replace(read, digest=_digest(read))

    def _items(self, at: YamlLocation | None) -> tuple[YamlLocation, ...]:
        return () if at is None or at.is_empty else read_items(at, self._problems)

    # --- Rules ---

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
        for key in ("tags", "digests"):
            self._claim_tags(at.find(key), target, upstream, tags.template)
        if upstream is None:
            return None
        if _is_namespace(upstream):
            self._refuse_digests(at)
        if tags.patterns or _is_namespace(upstream):
            self._claim_target(at, target, upstream)
            self._choosing_rules.append(_ChoosingRule(at, target, upstream, tags))
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
        if name in self._lines_of_names:
            line = self._lines_of_names[name]
            self._problems.add(here, f"{quoted(name)} is already the name of the rule on line {line}")
        self._lines_of_names.setdefault(name, here.node.line)
        return name

    def _refuse_digests(self, at: YamlLocation) -> None:
        """Report digests in a rule of many repositories, of which only one can have the manifest."""
        for item in (*at.below("tags").items, *at.below("digests").items):
            named = _named_tag(item, SAME_NAME)
            if named is not None and named.digest is not None:
                message = "a digest is of one repository, and the rule is for a whole namespace"
                self._problems.add(item, message, "Write a rule for that repository.")

    def _claim_tags(self, at: YamlLocation | None, target: str, upstream: Repository | None, template: str) -> None:
        """Claim every tag that is named, by its name in ECR, also where other tags of the rule are invalid."""
        for item in at.items if at is not None else ():
            named = _named_tag(item, template)
            if named is None:
                continue
            key = MirrorKey(target, named.target)
            first = self._named_items.setdefault(key, _NamedItem(item, upstream, named))
            if first.at is not item:
                message = f"{key} is already on line {first.at.node.line}"
                self._problems.add(item, message, "A tag can follow one upstream only.")

    def _check_published_names(self) -> None:
        """Report names in ECR that two upstream tags would have, of which one at least does not keep its own name."""
        by_target: dict[str, list[_ChoosingRule]] = {}
        for rule in self._choosing_rules:
            for other in by_target.setdefault(rule.target, []):
                if may_give_one_name(rule.tags.template, other.tags.template):
                    self._problems.add(
                        rule.at.below("as"),
                        f"{rule.target} may get one tag from two tags of upstream: by {rule.tags.template}, and by "
                        f"{other.tags.template} of the rule on line {other.at.below('as').node.line}",
                        "Give the rules repositories of their own, or templates that begin or end differently.",
                    )
                    break
            by_target[rule.target].append(rule)
        for key, named in self._named_items.items():
            for rule in by_target.get(key.repository, ()):
                self._check_named_and_chosen(key, named, rule)

    def _check_named_and_chosen(self, key: MirrorKey, named: _NamedItem, rule: _ChoosingRule) -> None:
        chosen = published_from(rule.tags.template, key.tag)
        keeps_names = rule.tags.template == SAME_NAME and named.tag.name == named.tag.target
        is_same = (rule.upstream, chosen) == (named.upstream, named.tag.name)
        if chosen is None or keeps_names or is_same or not allows(rule.tags, chosen):
            return
        line = rule.at.below("tags").node.line
        source = quoted(named.tag.name or str(named.tag.digest))
        self._problems.add(
            named.at,
            f"{key} follows {source} here, and {quoted(chosen)} by the patterns on line {line}",
            f'Exclude it there, exclude: ["{chosen}"], or publish one of them under another name.',
        )

    def _claim_target(self, at: YamlLocation, target: str, upstream: Repository) -> None:
        """Claim a repository (of a namespace, what its repositories' names have in common) for tags that are chosen."""
        here = at.below("repository")
        other, line = self._choosing.setdefault(target, (upstream, here.node.line))
        if other != upstream:
            self._problems.add(
                here,
                f"{target} may get the same tag from {other}, by the rule on line {line}",
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
            _keep_previous(written.keep_previous, base.keep_previous),
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
        if at.find("tags") is None and at.find("digests") is None:
            self._problems.add(at, "tags is missing")
        items = _given(written.tags, ())
        template = _given(written.published_as, SAME_NAME)
        names = tuple(item for item in items if isinstance(item, str) and is_tag(item))
        digests = (_digest_item(item) for item in _given(written.digests, ()))
        renamed = tuple(filter(None, (*(_renamed(item, template) for item in items), *digests)))
        patterns = tuple(_pattern(item) for item in items if item not in names and _renamed(item, template) is None)
        exclude = tuple(map(_pattern, _given(written.exclude, ())))
        if items and self._is_valid(at, before, "tags", "exclude", "newest", "min_tags", "prereleases"):
            self._check_effect(at, written, patterns, exclude)
        newest: int | None = _given(written.newest, None)
        min_tags = options.min_tags if patterns else 0
        return TagSelection(names, patterns, exclude, options.prereleases, newest, min_tags, template, renamed)

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
        hosts: set[str] = set()
        entries = {} if at is None or at.is_empty else read_entries(at, self._problems)
        for written, entry in entries.items():
            settings = read_struct(entry.value, HostSettings, self._problems)
            try:
                host = parse_host(written)
            except InvalidReferenceError as error:
                self._problems.add(entry.key, error.cause, error.advice)
                continue
            if host in hosts:
                self._problems.add(entry.key, f"{host} already has settings, under another of its names")
            hosts.add(host)
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
        keep_previous=options.keep_previous,
    )


def _keep_previous(written: KeepPreviousOptions | UnsetType, base: KeepPrevious | None) -> KeepPrevious | None:
    if isinstance(written, UnsetType):
        return base
    return KeepPrevious(written.count, _duration(written.keep_for)) if written.count else None


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


def _renamed(item: str | Pattern, template: str) -> NamedTag | None:
    """Read a tag that has a name of its own in ECR, or is pinned."""
    if isinstance(item, str):
        return _pinned(item, template) if "@" in item else None
    if not isinstance(item, TagItem) or isinstance(item.name, UnsetType):
        return None
    return _pinned(item.name, _given(item.published_as, template))


def _digest_item(item: str | DigestItem) -> NamedTag | None:
    if isinstance(item, str):
        return digest_tag(parse_digest(item))
    digest = _given(item.digest, "")
    return digest_tag(parse_digest(digest), _given(item.published_as, "")) if digest else None


def _pinned(text: str, template: str) -> NamedTag:
    """Read a valid tag, with or without the digest that it is pinned to."""
    tag, at, digest = text.partition("@")
    return NamedTag(tag, publish_as(template, tag), parse_digest(digest) if at else None)


def _named_tag(item: YamlLocation, template: str) -> NamedTag | None:
    """Read an item that names a tag, as far as it can be read: other parts of it may be invalid."""
    name: YamlLocation | None = item
    published_as: YamlLocation | None = None
    if not isinstance(item.node, Scalar):
        name, published_as = item.find("name") or item.find("digest"), item.find("as")
    if name is None or not isinstance(name.node, Scalar) or name.node.kind != "str":
        return None
    written = published_as.node.text if published_as is not None and isinstance(published_as.node, Scalar) else template
    tag, at, digest = name.node.text.partition("@")
    pin = find_digest(digest if at else tag)
    if is_tag(tag):
        return NamedTag(tag, publish_as(written, tag), pin) if pin is not None or not at else None
    return digest_tag(pin, "" if published_as is None else written) if pin is not None and not at else None


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
        names=tuple(sorted(tags.names)),
        patterns=tuple(sorted(tags.patterns)),
        exclude=tuple(sorted(tags.exclude)),
        renamed=tuple(sorted(tags.renamed, key=str)),
    )
    # What was pulled is recorded under the name of its rule.
    return _json_text(rule._replace(name="" if rule.on_demand is None else rule.name, tags=selection))


def _json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()
