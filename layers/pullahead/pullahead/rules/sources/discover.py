"""Find rules in AWS, combine them with the rules file, and store the state that other functions need.

Only the schedule does this, every few minutes. Where a call fails, earlier findings stay, so that throttling removes
no rules.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeVar

from pullahead.clock import Clock
from pullahead.errors import StorageError
from pullahead.rules.compiled import CompiledRules
from pullahead.rules.model import Rules, Source
from pullahead.rules.ports import (
    CachedRepositories,
    CompiledRulesStore,
    RulesFile,
    RulesStateStore,
    TaggedRepositories,
)
from pullahead.rules.sources.combine import Gathered, gather_rules, is_opted_out
from pullahead.rules.sources.external_file import ExternalRules, read_external_rules
from pullahead.rules.sources.findings import (
    UNKNOWN_RIGHTS,
    CachedRepository,
    CacheRule,
    Findings,
    PullRights,
    TaggedRepository,
)
from pullahead.rules.sources.pull_through_cache import rule_for
from pullahead.rules.sources.resource_tags import MARKS, READ, is_ignored, names_upstream
from pullahead.rules.sources.state import FollowedText, RulesState
from pullahead.rules.text import RulesText, fingerprint_of
from pullahead.text import one_line

MAX_CACHED_REPOSITORIES = 5_000
_THREADS = 8

_T = TypeVar("_T")


class WritableRepositories(NamedTuple):
    """Which repositories Pullahead may write: patterns as at the end of an ARN."""

    targets: tuple[str, ...] = ("*",)
    cached: tuple[str, ...] = ("*",)

    @property
    def patterns(self) -> tuple[str, ...]:
        """All patterns."""
        return (*self.targets, *self.cached)

    def covers(self, repository: str) -> bool:
        """Tell whether a repository may be written."""
        return any(fnmatchcase(repository, pattern) for pattern in self.patterns)


class Discovered(NamedTuple):
    """Findings, and notices: calls that failed, and repositories that the parameters do not cover."""

    findings: Findings
    notices: tuple[str, ...] = ()


class DiscoverSources:
    """Finds what pull through cache rules and resource tags add."""

    def __init__(
        self,
        cached: CachedRepositories,
        tagged: TaggedRepositories,
        reach: WritableRepositories,
        rights: PullRights = UNKNOWN_RIGHTS,
    ) -> None:
        self._cached, self._tagged, self._reach, self._rights = cached, tagged, reach, rights

    def __call__(self, declared: Rules, before: Findings) -> Discovered:
        """Read the sources that the rules file leaves on."""
        notices: list[str] = []
        marked = _try("resource tags", self._marked, before.tagged, notices)
        tagged = tuple(self._relevant(marked, declared, notices))
        if Source.PULL_THROUGH_CACHE not in declared.sources:
            return Discovered(Findings(tagged=tagged, rights=self._rights), tuple(notices))
        ignored = frozenset(repository.name for repository in marked if is_ignored(repository))

        def is_wanted(name: str) -> bool:
            return name not in ignored and not is_opted_out(name, declared)

        known = (before.cache_rules, before.cached)
        rules, cached = _try("pull through cache rules", lambda: self._look(is_wanted, notices), known, notices)
        within = self._reach.patterns if rules else ()
        return Discovered(Findings(rules, cached, tagged, within, self._rights), tuple(notices))

    def _marked(self) -> tuple[TaggedRepository, ...]:
        found = {repository.name: repository for repository in self._tagged.repositories_with(MARKS)}
        return tuple(
            TaggedRepository(name, {key: found[name].tags[key] for key in READ if key in found[name].tags})
            for name in sorted(found)
        )

    def _relevant(
        self, marked: Sequence[TaggedRepository], declared: Rules, notices: list[str]
    ) -> Iterator[TaggedRepository]:
        for repository in marked:
            if is_ignored(repository):
                yield repository
            elif Source.RESOURCE_TAGS in declared.sources and names_upstream(repository):
                if self._reach.covers(repository.name):
                    yield repository
                else:
                    notices.append(
                        f"{repository.name}: its resource tags name an upstream, but the parameter TargetRepositories "
                        "does not cover it, so it is not followed. Extend the parameter, or remove the tags."
                    )

    def _look(
        self, is_wanted: Callable[[str], bool], notices: list[str]
    ) -> tuple[tuple[CacheRule, ...], tuple[CachedRepository, ...]]:
        rules = tuple(sorted(self._cached.cache_rules(), key=lambda rule: rule.prefix))
        if not rules:
            return (), ()
        covered: list[str] = []
        uncovered: dict[CacheRule, list[str]] = {}
        for name in sorted(filter(is_wanted, self._cached.repository_names())):
            rule = rule_for(name, rules)
            if rule is not None and self._reach.covers(name):
                covered.append(name)
            elif rule is not None:
                uncovered.setdefault(rule, []).append(name)
        notices += [_uncovered_notice(rule, names) for rule, names in uncovered.items()]
        if left_out := covered[MAX_CACHED_REPOSITORIES:]:
            notices.append(
                f"pull through cache rules: more than {MAX_CACHED_REPOSITORIES} repositories are cached; {left_out[0]} "
                "and those after it are not followed. Add repositories to `ignore` in the rules."
            )
        return rules, tuple(self._with_tags(covered[:MAX_CACHED_REPOSITORIES]))

    def _with_tags(self, names: Sequence[str]) -> Iterator[CachedRepository]:
        with ThreadPoolExecutor(_THREADS) as pool:
            for name, tags in zip(names, pool.map(self._cached.tags_of, names), strict=True):
                if tags:
                    yield CachedRepository(name, tuple(sorted(tags)))


def _try(what: str, look: Callable[[], _T], before: _T, notices: list[str]) -> _T:
    try:
        return look()
    except StorageError as error:
        notices.append(f"{what} could not be read; the earlier findings stay in use: {error}")
        return before


def _uncovered_notice(rule: CacheRule, names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    wanted = f"{rule.prefix}/*" if rule.prefix else "them"
    return (
        f"pull through cache rule {rule.name}: {names[0]}{more} are not followed, since the parameter "
        f"PullThroughCacheRepositories does not cover them. Add {wanted} to it."
    )


FIND_EVERY = timedelta(minutes=4)
"""Less than five minutes, so that a schedule of five minutes that fires a little early does not skip."""

Finds = Callable[[Rules, Findings], Discovered]


class CompiledStores(NamedTuple):
    """Where compiled rules are stored: those that the files declare, and those of all sources together."""

    declared: CompiledRulesStore
    combined: CompiledRulesStore


class GatherRules:
    """Combines all sources and stores the state of the rules. Files and findings that did not change are not read anew.

    `files` returns the files of the deployment; `text` is an external file, which takes their place.
    """

    def __init__(
        self,
        files: Callable[[], Sequence[RulesText]],
        text: RulesFile | None,
        find: Finds,
        stored: RulesStateStore,
        compiled: CompiledStores,
        clock: Clock,
    ) -> None:
        self._files, self._text, self._find = files, text, find
        self._stored, self._compiled, self._clock = stored, compiled, clock
        self._declared: CompiledRules | None = None
        self._discovered: Discovered | None = None
        self._found_at: datetime | None = None

    def __call__(self) -> Gathered:
        """Return the rules in force, and notices that were not reported yet.

        Raises: ConfigError with every problem where there are no valid rules yet; StorageError.
        """
        now = self._clock()
        last = self._stored.load()
        before = last or RulesState()
        followed = self._follow(before.text, now)
        found = self._discover(followed.rules, before.findings, now)
        gathered = self._combine(followed.rules, found.findings)
        notices = tuple(dict.fromkeys(map(one_line, (*found.notices, *gathered.notices))))
        state = RulesState(text=followed.text, findings=found.findings, notices=notices)
        if state != last:
            self._stored.save(state)
        return Gathered(gathered.rules, tuple(text for text in notices if text not in before.notices))

    def _follow(self, before: FollowedText, now: datetime) -> ExternalRules:
        if self._text is None:
            return ExternalRules(FollowedText(), self._compile(self._files()))
        return read_external_rules(before, self._text, now, self._compile)

    def _compile(self, files: Sequence[RulesText]) -> Rules:
        """Compile files, unless that was done before."""
        source, is_external = fingerprint_of(files), self._text is not None

        def is_of(compiled: CompiledRules | None) -> bool:
            return compiled is not None and (compiled.source, compiled.external) == (source, is_external)

        if not is_of(self._declared):
            self._declared = self._compiled.declared.load()
        if self._declared is None or not is_of(self._declared):
            from pullahead.rules.load import load_rules_files  # noqa: PLC0415 - only what changed is parsed

            declared = CompiledRules(source, is_external, load_rules_files(files))
            self._compiled.declared.save(declared)
            self._declared = declared
        return self._declared.rules

    def _combine(self, declared: Rules, findings: Findings) -> Gathered:
        """Combine all sources, unless that was done before with the same."""
        assert self._declared is not None  # noqa: S101 - it was compiled just before
        made_of = (self._declared.source, self._declared.external, findings)
        known = self._compiled.combined.load()  # another process may have written it
        if known is None or (known.source, known.external, known.findings) != made_of:
            gathered = gather_rules(declared, findings)
            known = CompiledRules(*made_of[:2], gathered.rules, findings, gathered.notices)
            self._compiled.combined.save(known)
        return Gathered(known.rules, known.notices)

    def _discover(self, declared: Rules, before: Findings, now: datetime) -> Discovered:
        if self._discovered is None or self._found_at is None or now - self._found_at >= FIND_EVERY:
            self._discovered, self._found_at = self._find(declared, before), now
        return self._discovered
