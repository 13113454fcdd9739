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

from pullahead.errors import ConfigError
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
from pullahead.rules.admission_policy import DEFAULT_BLOCK, AdmissionPolicy, ScanPolicy
from pullahead.rules.file_format import (
    DEFAULT_GRACE,
    AdmitOptions,
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
    PruneOptions,
    ReferrerOptions,
    RulesDocument,
    RuleVerifyOptions,
    ScanOptions,
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
    Prune,
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
from pullahead.rules.problems import Problem, RulesError, quoted
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
    PATH,
    REPOSITORY_ADVICE,
    NameSet,
    fill,
    is_repository_name,
    placeholders,
)
from pullahead.rules.signature_policy import SignaturePolicy
from pullahead.rules.signature_rules import rules_policy
from pullahead.rules.struct_reader import Problems, YamlLocation, read_entries, read_items, read_struct
from pullahead.rules.tag_patterns import DEFAULT_MAX_TAGS, PatternKind, TagPattern, TagSelection, allows, matches
from pullahead.rules.text import KEY_SUFFIX, RulesText, folder_of, is_key_file
from pullahead.rules.yaml_document import DocumentError, Mapping, NodeCount, Scalar, compose

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


def load_rules_files(files: Sequence[RulesText], *, max_named_tags: int = MAX_NAMED_TAGS) -> Rules:
    """Read files, one or more, as if they were one. Those of public keys are what the others may name.

    What is a section of its own (`defaults`, `sources`) may be in one of them, and is for all; lists are joined, and so
    are `upstreams`. Raises RulesError with every problem, each with its file and line.
    """
    problems = Problems()
    written = [file for file in files if not is_key_file(file.name)]
    keys = _Keys([file for file in files if is_key_file(file.name)])
    documents = _compose_all(written, problems)
    rules = _Loader(problems, keys, max_named_tags).load(documents) if not problems.found else None
    if rules is None or problems.found:
        raise RulesError(folder_of(written), problems.found)
    return rules


class _Keys:
    """The files of public keys that came with the rules, by their names."""

    def __init__(self, files: Sequence[RulesText]) -> None:
        self._files = files

    def __call__(self, name: str) -> str:
        """Return the text of a key. Raises ConfigError."""
        if not name.endswith(KEY_SUFFIX):
            raise ConfigError(f"the name of a key's file ends in {KEY_SUFFIX}")
        found = {file.text for file in self._files if file.name.rpartition("/")[2] == name}
        if len(found) == 1:
            return found.pop()
        raise ConfigError(f"there is {'more than one' if found else 'no'} file {name} beside the rules")


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
    max_tags: int = DEFAULT_MAX_TAGS
    creation: RepositorySettings | None = None
    when_deleted: WhenDeleted = WhenDeleted.RESTORE
    referrers: ReferrersPolicy = ReferrersPolicy()
    sizes: SizeLimits = SizeLimits()
    keep_previous: KeepPrevious | None = None
    prune: Prune | None = None
    admit: AdmissionPolicy | None = None


class _NamingRule(NamedTuple):
    """The tags that a rule names: where they are, and how they are published."""

    file: str
    at: YamlLocation
    target: str
    upstream: Repository | None
    template: str


class _ChoosingRule(NamedTuple):
    """A rule that chooses tags by patterns: where it is, and the repository that it publishes into."""

    file: str
    at: YamlLocation
    target: str
    upstream: Repository
    tags: TagSelection


class _FileLine(NamedTuple):
    """Where something is written."""

    file: str
    line: int

    def seen_from(self, file: str) -> str:
        return f"line {self.line}" if file == self.file else f"line {self.line} of {self.file}"


class _Claim(NamedTuple):
    """The repositories that a rule publishes into, from which upstream, and the place that says so."""

    template: str
    upstream: Repository
    names: NameSet
    place: _FileLine
    on_demand: bool

    @property
    def is_namespace(self) -> bool:
        return _is_namespace(self.upstream)

    def publishes(self, upstream: Repository, target: str) -> bool:
        """Whether the namespace has an upstream repository, and publishes it into the target."""
        is_within = upstream.path.startswith(self.upstream.path.removesuffix("*"))
        return upstream.registry == self.upstream.registry and is_within and fill(self.template, upstream) == target


def _collide(namespace: _Claim, other: _Claim) -> bool:
    """Whether a namespace and another rule may publish two upstreams into one repository."""
    if namespace.upstream == other.upstream or not namespace.names.overlaps(other.names):
        return False
    if other.is_namespace:
        # Of one registry, the same template with the whole path gives each repository its own name.
        is_same_name = namespace.upstream.registry == other.upstream.registry and namespace.template == other.template
        return not (is_same_name and PATH in placeholders(namespace.template))
    return not namespace.on_demand and not namespace.publishes(other.upstream, fill(other.template, other.upstream))


class _Loader:
    """Reads files. Remembers what first claims a name, a tag, or a repository that patterns publish into."""

    def __init__(self, problems: Problems, read_key: Callable[[str], str], max_named_tags: int) -> None:
        self._problems, self._read_key, self._max_named_tags = problems, read_key, max_named_tags
        self._defaults = _ResolvedOptions()
        self._sections: dict[str, _FileLine] = {}
        self._hosts: dict[str, _FileLine] = {}
        self._names: dict[str, _FileLine] = {}
        self._tags: dict[MirrorKey, _FileLine] = {}
        self._choosing: dict[str, tuple[Repository, _FileLine]] = {}
        self._naming_rules: list[_NamingRule] = []
        self._choosing_rules: list[_ChoosingRule] = []
        self._claims: list[_Claim] = []
        self._namespaces: list[_Claim] = []

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
        place = self._sections.setdefault(key, _FileLine(self._problems.file, line))
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
        self._check_published_names()
        rules = (*_named(mirrors, set(self._names)), *on_demand)
        named = NamedMirrors(rules)
        if len(named) > self._max_named_tags:
            most = f"{self._max_named_tags:,}"
            message = f"{len(named):,} tags are named, and one stack mirrors at most {most} that are"
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
        for key in ("tags", "digests"):
            self._claim_tags(at.find(key), target, upstream, tags.template)
        if upstream is None:
            return None
        if _is_namespace(upstream):
            self._refuse_digests(at)
            if tags.patterns and written.prune is not UNSET:
                message = "it has no effect, since the upstream is a namespace"
                hint = "Name the repository in a rule of its own, or leave it out."
                self._problems.add(at.below("prune"), message, hint)
        if tags.patterns or _is_namespace(upstream):
            self._claim_target(at, target, upstream)
            self._choosing_rules.append(_ChoosingRule(self._problems.file, at, target, upstream, tags))
        self._claim_names(at, options.repository, upstream)
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
        self._claim_names(at, options.repository, upstream, on_demand=True)
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

    def _place(self, at: YamlLocation) -> _FileLine:
        return _FileLine(self._problems.file, at.node.line)

    def _shown(self, place: _FileLine) -> str:
        return place.seen_from(self._problems.file)

    def _refuse_digests(self, at: YamlLocation) -> None:
        """Report digests in a rule of many repositories, of which only one can have the manifest."""
        for item in (*at.below("tags").items, *at.below("digests").items):
            named = _named_tag(item, SAME_NAME)
            if named is not None and named.digest is not None:
                message = "a digest is of one repository, and the rule is for a whole namespace"
                self._problems.add(item, message, "Write a rule for that repository.")

    def _claim_tags(self, at: YamlLocation | None, target: str, upstream: Repository | None, template: str) -> None:
        """Claim every tag that is named, by its name in ECR, also where other tags of the rule are invalid."""
        if at is None:
            return
        self._naming_rules.append(_NamingRule(self._problems.file, at, target, upstream, template))
        for item in at.items:
            named = _named_tag(item, template)
            if named is None:
                continue
            key = MirrorKey(target, named.target)
            if key in self._tags:
                message = f"{key} is already on {self._shown(self._tags[key])}"
                self._problems.add(item, message, "A tag can follow one upstream only.")
            self._tags.setdefault(key, self._place(item))

    def _check_published_names(self) -> None:
        """Report names in ECR that two upstream tags would have, of which one at least does not keep its own name."""
        by_target: dict[str, list[_ChoosingRule]] = {}
        for rule in self._choosing_rules:
            others = by_target.setdefault(rule.target, [])
            meets = (each for each in others if may_give_one_name(rule.tags.template, each.tags.template))
            if (other := next(meets, None)) is not None:
                self._report_templates(rule, other)
            others.append(rule)
        for naming in self._naming_rules:
            for rule in by_target.get(naming.target, ()):
                self._check_named_and_chosen(naming, rule)

    def _report_templates(self, rule: _ChoosingRule, other: _ChoosingRule) -> None:
        self._problems.file = rule.file
        place = _FileLine(other.file, other.at.below("as").node.line).seen_from(rule.file)
        self._problems.add(
            rule.at.below("as"),
            f"{rule.target} may get one tag from two tags of upstream: by {rule.tags.template}, and by "
            f"{other.tags.template} of the rule on {place}",
            "Give the rules repositories of their own, or templates that begin or end differently.",
        )

    def _check_named_and_chosen(self, naming: _NamingRule, rule: _ChoosingRule) -> None:
        self._problems.file = naming.file
        place = _FileLine(rule.file, rule.at.below("tags").node.line).seen_from(naming.file)
        for item in naming.at.items:
            named = _named_tag(item, naming.template)
            chosen = published_from(rule.tags.template, named.target) if named is not None else None
            if named is None or chosen is None:
                continue
            keeps_names = rule.tags.template == SAME_NAME and named.name == named.target
            is_same = (rule.upstream, chosen) == (naming.upstream, named.name)
            if keeps_names or is_same or not allows(rule.tags, chosen):
                continue
            source = quoted(named.name or str(named.digest))
            key = MirrorKey(naming.target, named.target)
            self._problems.add(
                item,
                f"{key} follows {source} here, and {quoted(chosen)} by the patterns on {place}",
                f'Exclude it there, exclude: ["{chosen}"], or publish one of them under another name.',
            )

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

    def _claim_names(self, at: YamlLocation, template: str, upstream: Repository, *, on_demand: bool = False) -> None:
        """Claim all repositories that a template may name; refuse one that another upstream may be published into.

        What is on demand gives way to repositories that a rule names: nobody but those who pull chooses there.
        """
        here = at.below("repository") if at.find("repository") is not None else at.below("upstream")
        claim = _Claim(template, upstream, NameSet(template, upstream), self._place(here), on_demand)
        others = self._claims if claim.is_namespace else self._namespaces
        collides = (each for each in others if _collide(*((claim, each) if claim.is_namespace else (each, claim))))
        first = next(collides, None)
        if first is not None and not self._is_reported(here, "may get the same tag"):
            self._problems.add(
                here,
                f"{fill(template, upstream)} may also be published from {first.upstream}, by the rule on "
                f"{self._shown(first.place)}",
                "Write {registry} and {path} in `repository`, or another prefix.",
            )
        self._claims.append(claim)
        if claim.is_namespace:
            self._namespaces.append(claim)

    def _is_reported(self, at: YamlLocation, words: str) -> bool:
        return any(problem.path == at.path and words in problem.message for problem in self._problems.found)

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
            _given(choosing.max_tags, base.max_tags),
            self._creation(at, written.create, base.creation),
            _given(written.when_deleted, base.when_deleted),
            self._referrers(at, written.referrers, base.referrers),
            SizeLimits(
                _size(written.max_layer_size, base.sizes.layer), _size(written.max_image_size, base.sizes.image)
            ),
            _keep_previous(written.keep_previous, base.keep_previous),
            _prune(written.prune, base.prune),
            self._admit(at, written.admit, base.admit, before),
        )
        self._compare_times(at, options, before)
        self._compare_expiry(at, options)
        return options

    def _compare_expiry(self, at: YamlLocation, options: _ResolvedOptions) -> None:
        """What waits is in ECR without a tag, and must not expire there before it may be served."""
        expires = options.creation.expire_untagged_days if options.creation is not None else None
        min_age = options.admit.min_age if options.admit is not None else timedelta()
        if not expires or timedelta(days=expires) > min_age:
            return
        here = at.find("create") or at.find("admit")
        if here is not None:
            self._problems.add(
                here,
                f"ECR would expire what waits for min_age ({format_duration(min_age)}) after {expires} days",
                f"Write expire_untagged_days: {min_age.days + 1} or more, or 0 for never.",
            )

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

    def _admit(
        self, at: YamlLocation, written: AdmitOptions | UnsetType, base: AdmissionPolicy | None, before: int
    ) -> AdmissionPolicy | None:
        """Read what a digest must have; a rule that sets one of the keys keeps the others of the defaults."""
        if isinstance(written, UnsetType):
            return base
        here = at.below("admit")
        demanding = ("min_age", "approve", "verify", "scan", "exempt")
        if base is None and all(here.find(key) is None for key in demanding):
            self._problems.add(here, "it has no effect, since it demands nothing", "Write min_age: 3d, for example.")
        known = base or AdmissionPolicy()
        verify, grace = self._verify(here, written.verify, known, before)
        min_age = None if isinstance(written.min_age, UnsetType) else parse_duration(written.min_age)
        return AdmissionPolicy(
            _given(written.mode, known.mode),
            known.min_age if min_age is None else min_age,
            _given(written.serve, known.serve),
            _given(written.first_copy, known.first_copy),
            _given(written.approve, known.approve),
            verify,
            grace,
            self._scan(here, written, known.scan),
        )

    def _scan(self, here: YamlLocation, written: AdmitOptions, base: ScanPolicy | None) -> ScanPolicy | None:
        """Read which findings hold a digest; a rule that sets one of the keys keeps the others of the defaults."""
        if isinstance(written.scan, UnsetType):
            options, scan = ScanOptions(), base
        else:
            options, scan = written.scan, base or ScanPolicy()
        block = _given(options.block, scan.block if scan is not None else ())
        if scan is None or not block:
            if not isinstance(written.exempt, UnsetType) and written.exempt:
                hint = f"Write scan: {{block: [{DEFAULT_BLOCK[0]}]}}, or remove exempt."
                self._problems.add(here.below("exempt"), "it has no effect, since no scan is asked", hint)
            return None
        return ScanPolicy(
            tuple(sorted(set(block))),
            _given(options.fixable_only, scan.fixable_only),
            _duration(options.wait, scan.wait),
            tuple(sorted(set(_given(written.exempt, scan.exempt)))),
        )

    def _verify(
        self,
        at: YamlLocation,
        written: "RuleVerifyOptions | str | UnsetType",
        base: AdmissionPolicy,
        before: int,
    ) -> tuple[SignaturePolicy | None, timedelta]:
        """Read who must have signed a digest, and how long it may wait for that; a rule's takes the defaults' place."""
        if isinstance(written, UnsetType):
            return base.verify, base.grace
        if isinstance(written, str) or not self._is_valid(at, before, "verify"):
            return None, timedelta()
        policy = rules_policy(at.below("verify"), written, self._read_key, self._problems)
        grace = parse_duration(written.grace)
        return policy, DEFAULT_GRACE if grace is None else grace

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
        names = tuple(item for item in items if _is_name(item))
        digests = (_digest_item(item) for item in _given(written.digests, ()))
        renamed = tuple(filter(None, (*(_renamed(item, template) for item in items), *digests)))
        patterns = tuple(_pattern(item) for item in items if not _is_name(item) and _renamed(item, template) is None)
        exclude = tuple(map(_pattern, _given(written.exclude, ())))
        if items and self._is_valid(at, before, "tags", "exclude", "newest", "min_tags", "max_tags", "prereleases"):
            self._check_effect(at, written, patterns, exclude)
        newest: int | None = _given(written.newest, None)
        min_tags = options.min_tags if patterns else 0
        if patterns and newest is not None and newest > options.max_tags and self._is_valid(at, before, "max_tags"):
            hint = f"Write max_tags: {newest}, or a smaller `newest`."
            self._problems.add(at.below("newest"), f"it is more than max_tags, which is {options.max_tags}", hint)
        return TagSelection(
            names, patterns, exclude, options.prereleases, newest, min_tags, options.max_tags, template, renamed
        )

    def _check_effect(
        self, at: YamlLocation, written: MirrorRule, patterns: tuple[TagPattern, ...], exclude: tuple[TagPattern, ...]
    ) -> None:
        choosing: dict[str, object] = {"exclude": written.exclude, "newest": written.newest, "prune": written.prune}
        choosing |= {"min_tags": written.min_tags, "max_tags": written.max_tags}
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
        keep_previous=options.keep_previous,
        prune=options.prune,
        admit=options.admit if options.admit is not None and options.admit.demands_anything else None,
    )


def _prune(written: PruneOptions | UnsetType, base: Prune | None) -> Prune | None:
    if isinstance(written, UnsetType):
        return base
    gone, unchosen = (None if text == "never" else parse_duration(text) for text in (written.gone, written.unchosen))
    return Prune(gone, unchosen, written.mode == "delete", int(written.at_most.rstrip("%")) / 100)


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
    """Hash what the rules mean, not how they are written: comments, order, names and spelled-out defaults.

    Each rule is hashed by itself: its meaning has all of the defaults, which may be 2 KB, times 100,000.
    """
    meaning = [
        sorted(digest_of(_meaning(rule).encode()) for rule in rules.rules),
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
