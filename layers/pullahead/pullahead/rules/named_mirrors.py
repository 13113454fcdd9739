"""The mirrors that rules name exactly: each is made when it is asked for, as most functions need a few of very many."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, overload

from pullahead.oci import Repository
from pullahead.rules.mirror_key import MirrorKey

if TYPE_CHECKING:
    from pullahead.rules.model import Mirror, Rule


class NamedTags(NamedTuple):
    """Tags of one repository that one rule names."""

    rule: str
    upstream: Repository
    repository: str
    check_every: timedelta
    tags: tuple[str, ...]


class NamedMirrors(Sequence["Mirror"]):
    """The mirrors of the tags that rules name, after those that are given as they are. Immutable."""

    def __init__(self, rules: "Sequence[Rule]" = (), given: "Sequence[Mirror]" = ()) -> None:
        self._rules = tuple(rule for rule in rules if rule.tags.names and not rule.is_namespace)
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
            NamedTags(each.rule, each.upstream.repository, each.repository, each.check_every, (each.tag,))
            for each in self._given
        )
        named = (
            NamedTags(rule.name, rule.upstream, rule.repository, rule.check_every, rule.tags.names)
            for rule in self._rules
        )
        return (*given, *named)

    def find(self, key: MirrorKey) -> "Mirror | None":
        """Find the mirror that publishes a tag."""
        given = self._given_by_key.get(key)
        if given is not None:
            return given
        rule = self._rules_of(key.repository).get(key.tag)
        return rule.mirror(key.tag, is_named=True) if rule is not None else None

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

    def __len__(self) -> int:
        return len(self._given) + sum(len(rule.tags.names) for rule in self._rules)

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

    def _rules_of(self, repository: str) -> "Mapping[str, Rule]":
        """Index the tags of a repository when the first of them is looked up."""
        tags = self._by_tag.get(repository)
        if tags is None:
            named = self._by_repository.get(repository, ())
            tags = {tag: rule for rule in reversed(named) for tag in rule.tags.names}
            if named:  # what nobody named is asked for by events, and is not remembered
                self._by_tag[repository] = tags
        return tags

    @cached_property
    def _by_tag(self) -> "dict[str, Mapping[str, Rule]]":
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


def _mirrors_of(rule: "Rule") -> "Iterator[Mirror]":
    return (rule.mirror(tag, is_named=True) for tag in rule.tags.names)
