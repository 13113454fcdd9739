"""The list of rules. Decides which upstreams are allowed, where each rule publishes, and which rules may not meet."""

from collections.abc import Iterable, Iterator, Mapping

from pullahead.oci import InvalidReferenceError, Reference, Repository, parse_reference
from pullahead.rules.choosing import Chosen, read_chosen
from pullahead.rules.fields import (
    Place,
    Problems,
    is_empty,
    read_fields,
    read_fitting,
    read_items,
    read_optional,
    read_text,
)
from pullahead.rules.keys import MAX_NAME_CHARACTERS, MIRROR
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Rule
from pullahead.rules.options import DEFAULT_ALERT_AFTER, DEFAULT_CHECK_EVERY, Options, read_options
from pullahead.rules.problems import quoted
from pullahead.rules.repository_names import NAMESPACE, TELLING_APART, fill, placeholders
from pullahead.rules.tag_patterns import TagSelection
from pullahead.rules.values import REPOSITORY_ADVICE, is_repository_name

__all__ = [
    "DEFAULT_ALERT_AFTER",
    "DEFAULT_CHECK_EVERY",
    "Claims",
    "claim_target",
    "make_rule",
    "read_name",
    "read_namespace",
    "read_rules",
    "read_target",
]

_STAND_IN = "x"


class Claims:
    """Who names, publishes and chooses what, by the line that says so first."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.tags: dict[MirrorKey, int] = {}
        self.choosing: dict[str, tuple[Repository, int]] = {}


def read_rules(place: Place, defaults: Options, claims: Claims, problems: Problems) -> tuple[Rule, ...]:
    """Read the list of rules, beside what others have claimed."""
    if is_empty(place.node):
        return ()
    read = [_rule(item, defaults, claims, problems) for item in read_items(place, problems)]
    return tuple(_named(filter(None, read), set(claims.names)))


def _rule(place: Place, defaults: Options, claims: Claims, problems: Problems) -> Rule | None:
    fields = read_fields(place, MIRROR, problems)
    name = read_name(fields, claims, problems)
    upstream = read_optional(fields, "upstream", _upstream, problems)
    options = read_options(fields, defaults, problems)
    chosen = read_chosen(fields, options, problems)
    target = read_target(fields.get("repository", place), options.repository, upstream, problems)
    if target is None:
        return None
    _claim_tags(chosen, target, claims, problems)
    if upstream is None:
        return None
    if chosen.selection.patterns or _is_namespace(upstream):
        claim_target(fields.get("repository", place), target, upstream, claims, problems)
    repository = options.repository if _is_namespace(upstream) else target
    return make_rule(name or "", upstream, repository, chosen.selection, options)


def make_rule(name: str, upstream: Repository, repository: str, tags: TagSelection, options: Options) -> Rule:
    """Make a rule of what was read."""
    return Rule(
        name,
        upstream,
        repository,
        tags,
        options.check_every,
        options.alert_after,
        options.platforms,
        options.immutable_tags,
        options.settings,
        when_deleted=options.when_deleted,
    )


def _named(rules: Iterable[Rule], taken: set[str]) -> Iterator[Rule]:
    """Name what has no name by its upstream, and each by another name."""
    for rule in rules:
        name, count = rule.name or str(rule.upstream), 1
        while not rule.name and name in taken:
            count += 1
            name = f"{rule.upstream} ({count})"
        taken.add(name)
        yield rule._replace(name=name)


def read_name(fields: Mapping[str, Place], claims: Claims, problems: Problems) -> str | None:
    """Read what a rule is called, which no other rule is; None where it does not say."""
    name = read_optional(fields, "name", _name, problems)
    if name is not None:
        _claim_name(fields["name"], name, claims, problems)
    return name


def _name(place: Place, problems: Problems) -> str | None:
    hint = f"Write 1 to {MAX_NAME_CHARACTERS} characters on one line."
    return read_fitting(place, _is_name, problems, wrong="is no name of a rule", hint=hint)


def _is_name(text: str) -> bool:
    return text.isprintable() and text.strip() == text and 0 < len(text) <= MAX_NAME_CHARACTERS


def _upstream(place: Place, problems: Problems) -> Repository | None:
    text = read_text(place, problems)
    if text is None:
        return None
    if text.endswith(NAMESPACE):
        return read_namespace(place, text.removesuffix(NAMESPACE), problems)
    reference = _reference(place, text, problems)
    if reference is None:
        return None
    if reference.digest is not None:
        problems.add(
            place, "a digest never moves, so there is nothing to keep fresh", "Name the repository alone, and tags."
        )
    elif reference.tag is not None:
        problems.add(place, "the tag does not belong here", f'Move it to tags: ["{reference.tag}"].')
    return reference.repository


def read_namespace(place: Place, above: str, problems: Problems, *, whole: bool = False) -> Repository | None:
    """Read what stands for all repositories below it; `whole`: also for all of a registry."""
    reference = _reference(place, f"{above}/{_STAND_IN}", problems)
    if reference is None:
        return None
    registry, path = reference.repository
    if path.removeprefix("library/") == _STAND_IN and above.rpartition("/")[2] != "library":
        if whole:
            return Repository(registry, "*")
        problems.add(place, "it names a whole registry", "Name a namespace of it, like quay.io/prometheus/*.")
        return None
    return Repository(registry, f"{path.removesuffix(_STAND_IN)}*")


def _reference(place: Place, text: str, problems: Problems) -> Reference | None:
    try:
        return parse_reference(text, default_tag=None)
    except InvalidReferenceError as error:
        advice = "A star stands for a whole namespace only, at the end: quay.io/prometheus/*." if "*" in text else ""
        problems.add(place, f"it is no reference: {error.cause}", advice or error.advice)
        return None


def read_target(place: Place, template: str, upstream: Repository | None, problems: Problems) -> str | None:
    """Name the repository, or for a namespace what its repositories' names have in common."""
    if upstream is None or not template:
        return template if template and not placeholders(template) else None
    if not _is_namespace(upstream):
        return _allowed(place, fill(template, upstream), template, problems)
    if not any(name in TELLING_APART for name in placeholders(template)):
        problems.add(place, "all repositories of the namespace would publish into one", "Write {path} or {name} in it.")
        return None
    one = Repository(upstream.registry, upstream.path.replace("*", _STAND_IN))
    return fill(template, upstream) if _allowed(place, fill(template, one), template, problems) else None


def _allowed(place: Place, repository: str, template: str, problems: Problems) -> str | None:
    if is_repository_name(repository):
        return repository
    problems.add(place, f"{template} gives {quoted(repository)}, which is no name that ECR allows", REPOSITORY_ADVICE)
    return None


def _is_namespace(upstream: Repository) -> bool:
    return upstream.path.endswith("*")


def _claim_name(place: Place, name: str, claims: Claims, problems: Problems) -> None:
    if name in claims.names:
        problems.add(place, f"{quoted(name)} is the name of the rule on line {claims.names[name]} already")
    else:
        claims.names[name] = place.node.line


def _claim_tags(chosen: Chosen, target: str, claims: Claims, problems: Problems) -> None:
    for place, tag in zip(chosen.names, chosen.selection.names, strict=True):
        key = MirrorKey(target, tag)
        if key in claims.tags:
            problems.add(
                place, f"{key} is named on line {claims.tags[key]} already", "A tag can follow one upstream only."
            )
        else:
            claims.tags[key] = place.node.line


def claim_target(place: Place, target: str, upstream: Repository, claims: Claims, problems: Problems) -> None:
    """Claim a repository, or what those of a namespace have in common, for tags that are chosen."""
    other, line = claims.choosing.setdefault(target, (upstream, place.node.line))
    if other != upstream:
        problems.add(
            place,
            f"{target} may get the same tag from {other}, by the rule on line {line}",
            "Rules that choose tags publish into a repository of their own for each upstream.",
        )
