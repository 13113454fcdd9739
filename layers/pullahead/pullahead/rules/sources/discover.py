"""Look what AWS itself says should be followed. Decides what is asked, and which repositories are within reach.

What cannot be asked now stays as it was found before, so that a throttled or refused call makes no rules vanish.

Gather the rules from everywhere and write down what the other functions need. Only the schedule does this.

AWS is asked every few minutes and by one function, whatever the number of processes that need the rules.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeVar

from pullahead.clock import Clock
from pullahead.errors import StorageError
from pullahead.rules.model import Rules, Source
from pullahead.rules.ports import ActiveRules, CachedRepositories, RulesFile, RulesStateStore, TaggedRepositories
from pullahead.rules.sources.combine import Gathered, gather_rules, is_opted_out
from pullahead.rules.sources.external_file import ExternalRules, read_external_rules
from pullahead.rules.sources.findings import CachedRepository, CacheRule, Findings, TaggedRepository
from pullahead.rules.sources.pull_through_cache import rule_for
from pullahead.rules.sources.resource_tags import MARKS, READ, is_ignored, names_upstream
from pullahead.rules.sources.state import FollowedText, RulesState

MAX_CACHED_REPOSITORIES = 5_000
_THREADS = 8

_T = TypeVar("_T")


class WritableRepositories(NamedTuple):
    """Which repositories the template lets Pullahead write: patterns as at the end of an ARN."""

    targets: tuple[str, ...] = ("*",)
    cached: tuple[str, ...] = ("*",)

    @property
    def patterns(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.targets, *self.cached)

    def covers(self, repository: str) -> bool:
        """Tell whether a repository may be written."""
        return any(fnmatchcase(repository, pattern) for pattern in self.patterns)


class Discovered(NamedTuple):
    """What was found, and what people should know: what could not be asked, and what is out of reach."""

    findings: Findings
    told: tuple[str, ...] = ()


class DiscoverSources:
    """The use case, with the ports that it looks through."""

    def __init__(self, cached: CachedRepositories, tagged: TaggedRepositories, reach: WritableRepositories) -> None:
        self._cached, self._tagged, self._reach = cached, tagged, reach

    def __call__(self, declared: Rules, before: Findings) -> Discovered:
        """Look through the sources that the rules file leaves on."""
        told: list[str] = []
        marked = _try("resource tags", self._marked, before.tagged, told)
        tagged = tuple(self._heeded(marked, declared, told))
        if Source.PULL_THROUGH_CACHE not in declared.sources:
            return Discovered(Findings(tagged=tagged), tuple(told))
        passed_over = frozenset(repository.name for repository in marked if is_ignored(repository))

        def is_wanted(name: str) -> bool:
            return name not in passed_over and not is_opted_out(name, declared)

        known = (before.cache_rules, before.cached)
        rules, cached = _try("pull through cache rules", lambda: self._look(is_wanted, told), known, told)
        within = self._reach.patterns if rules else ()
        return Discovered(Findings(rules, cached, tagged, within), tuple(told))

    def _marked(self) -> tuple[TaggedRepository, ...]:
        found = {repository.name: repository for repository in self._tagged.repositories_with(MARKS)}
        return tuple(
            TaggedRepository(name, {key: found[name].tags[key] for key in READ if key in found[name].tags})
            for name in sorted(found)
        )

    def _heeded(
        self, marked: Sequence[TaggedRepository], declared: Rules, told: list[str]
    ) -> Iterator[TaggedRepository]:
        for repository in marked:
            if is_ignored(repository):
                yield repository
            elif Source.RESOURCE_TAGS in declared.sources and names_upstream(repository):
                if self._reach.covers(repository.name):
                    yield repository
                else:
                    told.append(
                        f"{repository.name}: its resource tags name an upstream, but the parameter TargetRepositories "
                        "does not cover it, so it is not followed. Widen the parameter, or take the tags away."
                    )

    def _look(
        self, is_wanted: Callable[[str], bool], told: list[str]
    ) -> tuple[tuple[CacheRule, ...], tuple[CachedRepository, ...]]:
        rules = tuple(sorted(self._cached.cache_rules(), key=lambda rule: rule.prefix))
        if not rules:
            return (), ()
        followed: list[str] = []
        out_of_reach: dict[CacheRule, list[str]] = {}
        for name in sorted(filter(is_wanted, self._cached.repository_names())):
            rule = rule_for(name, rules)
            if rule is not None and self._reach.covers(name):
                followed.append(name)
            elif rule is not None:
                out_of_reach.setdefault(rule, []).append(name)
        told += [_out_of_reach(rule, names) for rule, names in out_of_reach.items()]
        if left_out := followed[MAX_CACHED_REPOSITORIES:]:
            told.append(
                f"pull through cache rules: more than {MAX_CACHED_REPOSITORIES} repositories are cached; {left_out[0]} "
                "and what comes after it is not followed. Name repositories under `ignore` in the rules."
            )
        return rules, tuple(self._with_tags(followed[:MAX_CACHED_REPOSITORIES]))

    def _with_tags(self, names: Sequence[str]) -> Iterator[CachedRepository]:
        with ThreadPoolExecutor(_THREADS) as pool:
            for name, tags in zip(names, pool.map(self._cached.tags_of, names), strict=True):
                if tags:
                    yield CachedRepository(name, tuple(sorted(tags)))


def _try(what: str, look: Callable[[], _T], before: _T, told: list[str]) -> _T:
    try:
        return look()
    except StorageError as error:
        told.append(f"{what} could not be read, and stay as they were: {error}")
        return before


def _out_of_reach(rule: CacheRule, names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    wanted = f"{rule.prefix}/*" if rule.prefix else "them"
    return (
        f"pull through cache rule {rule.name}: {names[0]}{more} are not followed, since the parameter "
        f"PullThroughCacheRepositories does not cover them. Add {wanted} to it."
    )


FIND_EVERY = timedelta(minutes=4)
"""Shorter than five minutes, so that a schedule that fires every five finds each time, also a little early."""

Finds = Callable[[Rules, Findings], Discovered]


class GatherRules:
    """The use case, with the ports that it reads and writes."""

    def __init__(
        self,
        file: ActiveRules,
        text: RulesFile | None,
        find: Finds,
        standing: RulesStateStore,
        clock: Clock,
    ) -> None:
        self._file, self._text, self._find = file, text, find
        self._standing, self._clock = standing, clock
        self._found: Discovered | None = None
        self._found_at: datetime | None = None

    def __call__(self) -> Gathered:
        """Return the rules in force, and what was not told yet.

        Raises: ConfigError with every problem where no good rules are known; StorageError.
        """
        now = self._clock()
        stored = self._standing.load()
        before = stored or RulesState()
        followed = self._follow(before.text, now)
        found = self._find_sometimes(followed.rules, before.findings, now)
        gathered = gather_rules(followed.rules, found.findings)
        told = tuple(dict.fromkeys((*found.told, *gathered.told)))
        standing = RulesState(text=followed.text, findings=found.findings, told=told)
        if standing != stored:
            self._standing.save(standing)
        return Gathered(gathered.rules, tuple(text for text in told if text not in before.told))

    def _follow(self, before: FollowedText, now: datetime) -> ExternalRules:
        if self._text is None:
            return ExternalRules(FollowedText(), self._file())
        return read_external_rules(before, self._text, now)

    def _find_sometimes(self, declared: Rules, before: Findings, now: datetime) -> Discovered:
        if self._found is None or self._found_at is None or now - self._found_at >= FIND_EVERY:
            self._found, self._found_at = self._find(declared, before), now
        return self._found
