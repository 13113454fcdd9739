"""The mirrors that rules name exactly: each is made when it is asked for, as most functions need a few of very many."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, overload

from pullahead.oci import Repository
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.published_tags import SAME_NAME, NamedTag, publish_as, published_from

if TYPE_CHECKING:
    from pullahead.rules.model import Mirror, Rule


class NamedTags(NamedTuple):
    """Tags of one repository that one rule names, by their names in ECR.

    `sources` are their names upstream, in the same order, where these may differ; a digest without a tag has none.
    """

    rule: str
    upstream: Repository
    repository: str
    check_every: timedelta
    tags: tuple[str, ...]
    sources: tuple[str | None, ...] = ()

    def targets_of(self, tag: str) -> "Iterator[str]":
        """List the names in ECR of an upstream tag."""
        if not self.sources:
            yield from (tag,) if tag in self.tags else ()
            return
        yield from (target for target, source in zip(self.tags, self.sources, strict=True) if source == tag)


class NamedMirrors(Sequence["Mirror"]):
    """The mirrors of the tags that rules name, after those that are given as they are. Immutable."""

    def __init__(self, rules: "Sequence[Rule]" = (), given: "Sequence[Mirror]" = ()) -> None:
        self._rules = tuple(rule for rule in rules if _names_tags(rule) and not rule.is_namespace)
        self._given = tuple(given)

    @classmethod
    def of(cls, mirrors: "Sequence[Mirror]") -> "NamedMirrors":
        """Return mirrors as they are if they are of this kind already."""
        return mirrors if isinstance(mirrors, cls) else cls((), mirrors)

    def followed_by(self, rules: "Sequence[Rule]") -> "NamedMirrors":
        """Add the mirrors that more rules name."""
        return NamedMirrors((*self._rules, *rules), self._given)

    @cached_property
    def groups(self) -> tuple[NamedTags, ...]:
        """List the tags that are named, by rule; they cost little, however many there are."""
        given = (
            NamedTags(
                each.rule,
                each.upstream.repository,
                each.repository,
                each.check_every,
                (each.tag,),
                () if each.upstream.tag == each.tag else (each.upstream.tag,),
            )
            for each in self._given
        )
        return (*given, *map(_group_of, self._rules))

    def find(self, key: MirrorKey) -> "Mirror | None":
        """Find the mirror that publishes a tag."""
        given = self._given_by_key.get(key)
        if given is not None:
            return given
        named = self._index_of(key.repository)
        if (renamed := named.renamed.get(key.tag)) is not None:
            rule, tag = renamed
            return rule.mirror_as(tag, is_named=True)
        found = named.names.get(key.tag)
        if found is None:
            return None
        return found.mirror(published_from(found.tags.template, key.tag) or key.tag, is_named=True)

    def of_upstream(self, repository: Repository) -> "Iterator[Mirror]":
        """Make the mirrors that follow an upstream repository."""
        yield from (each for each in self._given if each.upstream.repository == repository)
        for rule in self._rules:
            if rule.upstream == repository:
                yield from _mirrors_of(rule)

    def with_changes(
        self, of_rule: "Callable[[Rule], Rule]", of_mirror: "Callable[[Mirror], Mirror]"
    ) -> "NamedMirrors":
        """Change every rule, and every mirror that is given."""
        return NamedMirrors(tuple(map(of_rule, self._rules)), tuple(map(of_mirror, self._given)))

    def of_rules(self, names: frozenset[str]) -> "NamedMirrors":
        """Keep the mirrors of some rules."""
        return NamedMirrors(
            [rule for rule in self._rules if rule.name in names], [each for each in self._given if each.rule in names]
        )

    def without_signatures(self) -> "NamedMirrors":
        """The same where no rule demands signatures."""
        return NamedMirrors(
            [each.without_signatures for each in self._rules], [each.without_signatures for each in self._given]
        )

    def __len__(self) -> int:
        return len(self._given) + sum(len(rule.tags.names) + len(rule.tags.renamed) for rule in self._rules)

    def __iter__(self) -> "Iterator[Mirror]":
        yield from self._given
        for rule in self._rules:
            yield from _mirrors_of(rule)

    @overload
    def __getitem__(self, index: int) -> "Mirror": ...

    @overload
    def __getitem__(self, index: slice) -> "Sequence[Mirror]": ...

    def __getitem__(self, index: int | slice) -> "Mirror | Sequence[Mirror]":
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash((self._rules, self._given))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} mirrors)"

    def _index_of(self, repository: str) -> "_Index":
        """Index the tags of a repository when the first of them is looked up."""
        index = self._by_tag.get(repository)
        if index is None:
            named = self._by_repository.get(repository, ())
            index = _Index(
                {target: rule for rule in reversed(named) for target in _targets(rule)},
                {each.target: (rule, each) for rule in reversed(named) for each in rule.tags.renamed},
            )
            if named:  # what nobody named is asked for by events, and is not remembered
                self._by_tag[repository] = index
        return index

    @cached_property
    def _by_tag(self) -> "dict[str, _Index]":
        return {}

    @cached_property
    def _by_repository(self) -> "Mapping[str, Sequence[Rule]]":
        grouped: dict[str, list[Rule]] = {}
        for rule in self._rules:
            grouped.setdefault(rule.repository, []).append(rule)
        return grouped

    @cached_property
    def _given_by_key(self) -> "Mapping[MirrorKey, Mirror]":
        return {each.key: each for each in self._given}


class _Index(NamedTuple):
    """The tags of one repository: the rules of those that have a template's names, and what the others follow."""

    names: "Mapping[str, Rule]"
    renamed: "Mapping[str, tuple[Rule, NamedTag]]"


def _names_tags(rule: "Rule") -> bool:
    return bool(rule.tags.names or rule.tags.renamed)


def _targets(rule: "Rule") -> Sequence[str]:
    """List the names in ECR that a rule's template gives."""
    if rule.tags.template == SAME_NAME:
        return rule.tags.names
    return [publish_as(rule.tags.template, name) for name in rule.tags.names]


def _group_of(rule: "Rule") -> NamedTags:
    keeps_names = rule.tags.template == SAME_NAME and not rule.tags.renamed
    tags = rule.tags.names if keeps_names else tuple(each.target for each in rule.tags.named)
    sources = () if keeps_names else tuple(each.name for each in rule.tags.named)
    return NamedTags(rule.name, rule.upstream, rule.repository, rule.check_every, tags, sources)


def _mirrors_of(rule: "Rule") -> "Iterator[Mirror]":
    yield from (rule.mirror(tag, is_named=True) for tag in rule.tags.names)
    yield from (rule.mirror_as(each, is_named=True) for each in rule.tags.renamed)
