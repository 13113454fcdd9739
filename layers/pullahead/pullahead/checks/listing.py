"""List the tags that a rule selects from, and queue checks of the selected ones. Exact names are never listed.

A rule for a namespace is listed in two steps: its repositories, and then the tags of each. So a message leads to
messages in the same queue twice at most; AWS Lambda stops loops of sixteen (AWS Lambda Developer Guide, "Recursive loop
detection").
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from msgspec import structs

from pullahead.caching import Expiring, TtlCache
from pullahead.checks.check import remember_access
from pullahead.checks.ports import CheckQueue
from pullahead.checks.put_back import PutBack, put_back_listing
from pullahead.checks.upstream_pool import NotAsked, Question, UpstreamPool
from pullahead.clock import Clock
from pullahead.errors import ConfigError, ListingTooLongError, NewerRecordError, PullaheadError, RateLimitedError
from pullahead.messages import MAX_TAGS_PER_CHECK, CheckRequest, ListRequest, Queued
from pullahead.mirrors.demand import DemandsLookup
from pullahead.mirrors.namespace_owners import keep_owners, owns
from pullahead.mirrors.rate_limit_budget import was_not_sent
from pullahead.mirrors.record import ManualCheck, Record, RuleRecord, State
from pullahead.mirrors.rule_record import ListingOutcome, judge_listing, needs_listing, rule_key
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.oci import Repository
from pullahead.oci.reference import TAG_ADVICE, is_tag
from pullahead.oci.registries import Upstream
from pullahead.rules.mirror_key import RuleKey
from pullahead.rules.model import OnDemand, Rule, Rules, expanded_for, rule_named
from pullahead.rules.published_tags import publish_as
from pullahead.rules.tag_patterns import select

_SHARED_FOR = timedelta(minutes=1)
_MAX_SHARED = 20  # listings, of which each may have 200,000 tags
_MAX_REPOSITORIES = 1000
_FEWEST_TAGS = 20  # that every repository of a namespace may have chosen, however many share `max_tags`


class ListResult(NamedTuple):
    """The result of one listing. `changed`: it selected something else, or it fails, or no longer does.

    Unlike a check, it never has an `error`: a failed listing is recorded, and not retried at once.
    """

    listing: RuleKey
    state: State
    reason: str
    queued: int = 0  # tags, or repositories of a namespace
    changed: bool = False
    error: None = None


def no_demands(_rule: Rule, _bounds: OnDemand, _now: datetime) -> DemandsLookup:
    """Know of no demands, as where no service processes pulls."""
    return DemandsLookup(0, 0)


class ListTags:
    """Lists the tags, or the repositories, of rules."""

    def __init__(
        self,
        rules: Callable[[], Rules],
        upstream: Upstream,
        records: RecordStore,
        queue: CheckQueue,
        clock: Clock,
        demanded: Callable[[Rule, OnDemand, datetime], DemandsLookup] = no_demands,
        *,
        list_seconds: float = float("inf"),
        forget_access: Callable[[Repository], None] = remember_access,
    ) -> None:
        """`list_seconds` is how long one listing may take, with all its pages. `forget_access` makes the next request
        to an upstream repository look up its credential again."""
        self._rules, self._upstream, self._records = rules, upstream, records
        self._queue, self._clock, self._demanded = queue, clock, demanded
        self._list_seconds, self._forget_access = list_seconds, forget_access
        self._listings = TtlCache[Repository, tuple[str, ...], datetime](_MAX_SHARED)

    def __call__(self, request: ListRequest, pool: UpstreamPool | None = None) -> ListResult | None:
        """List, record and queue checks; None where the rule no longer exists, or is inactive.

        Where the listing fails, what the last one selected is checked. Raises: StorageError, ConflictError.
        """
        pool, listing = pool or UpstreamPool(self._clock), Listing(request, may_be_put_back=False)
        self._begin(listing, pool)
        pool.run()
        if listing.error is not None:
            raise listing.error
        return listing.result

    def begin(self, request: ListRequest, pool: UpstreamPool) -> "Listing":
        """Begin a listing. When the pool runs, it is recorded and leads to checks; or it is put back into the queue."""
        listing = Listing(request)
        self._begin(listing, pool)
        return listing

    def _begin(self, listing: "Listing", pool: UpstreamPool) -> None:
        with listing.errors():
            rule, found = self._rule_of(listing.request)
            if rule is not None:
                self._begin_for(rule, found, listing, pool)

    def _begin_for(self, rule: Rule, found: str | None, listing: "Listing", pool: UpstreamPool) -> None:
        now = self._clock()
        if rule.on_demand is not None:
            demanded = self._demanded(rule, rule.on_demand, now)
            changed = demanded.forgotten > 0
            listing.result = ListResult(rule_key(rule), State.FRESH, "demanded", demanded.followed, changed)
            return
        if not needs_listing(rule):
            requests = list(_requests(rule, found, (), listing.request, now))
            self._queue.send(requests)
            listing.result = ListResult(rule_key(rule), State.FRESH, "all tags are named", len(requests))
            return
        if listing.request.manual:  # the person may just have corrected the credential
            self._forget_access(rule.upstream)
            self._listings.discard_where(lambda repository, _: repository == rule.upstream)

        def conclude(listed: ListingOutcome | Exception | NotAsked) -> None:
            with listing.errors():
                if isinstance(listed, Exception) and not isinstance(listed, PullaheadError):
                    raise listed
                listing.put_back = self._put_back(listed, listing)
                if listing.put_back is None and not isinstance(listed, NotAsked):
                    outcome = ListingOutcome(None, listed) if isinstance(listed, PullaheadError) else listed
                    listing.result = self._follow(rule, found, outcome, listing.request)

        registry, ask = rule.upstream.registry, partial(self._list, rule)
        pool.add(Question(registry, "listing", str(rule.upstream), self._list_seconds, ask, conclude))

    def _put_back(self, listed: object, listing: "Listing") -> PutBack | None:
        """Put a request back for which upstream could not be asked now, unless the schedule queues it anew before."""
        is_limited = isinstance(listed, RateLimitedError) and was_not_sent(listed)
        if not listing.may_be_put_back or not (is_limited or isinstance(listed, NotAsked)):
            return None
        seconds = (listed.retry_after_seconds or 0.0) if isinstance(listed, RateLimitedError) else None
        put = put_back_listing(listing.request, seconds, self._rules(), self._clock())
        if put is not None:
            self._queue.send([put.request], put.delay_seconds)
        return put

    def _follow(self, rule: Rule, found: str | None, listed: ListingOutcome, request: ListRequest) -> ListResult:
        before: Record | None = None
        now = self._clock()
        named = _named_repositories(self._rules()) if rule.is_namespace else {}

        def judged(known: Record | None) -> RuleRecord:
            return judge_listing(keep_owners(listed, known, rule, named), known, rule, now)

        record = judged(None)

        def change(known: Record | None) -> RuleRecord:
            nonlocal before, record
            before, record = known, judged(known)
            if request.manual:
                record = record.with_changes(manual=ManualCheck(request.asked_at, now, record.error or "listed"))
            return record

        stored = update_record(self._records, rule_key(rule), change)
        followed = record.followed
        self._queue.send(list(_requests(rule, found, followed, request, now)))
        changed = before is None or stored is None or stored.version != before.version
        return ListResult(record.key, record.state, record.error or "listed", len(followed), changed)

    def _rule_of(self, request: ListRequest) -> tuple[Rule | None, str | None]:
        """Find the rule, expanded for the repository of its namespace that the request names, and that repository."""
        rules = self._rules()
        rule = rule_named(request.rule, rules) if not rules.is_inactive(request.rule) else None
        if rule is None or request.upstream is None or not rule.is_namespace:
            return rule, None
        expanded = expanded_for(request.upstream, rule)
        if expanded is None:
            return None, None
        known = self._known(rule)
        if not owns(expanded.upstream.path, known):
            return None, None
        return _with_share(expanded, rule, known), request.upstream

    def _known(self, namespace: Rule) -> Record | None:
        """Load the record of a namespace; None also where only a newer version can read it."""
        try:
            return self._records.load_one(rule_key(namespace))
        except NewerRecordError:
            return None

    def _list(self, rule: Rule) -> ListingOutcome:
        if rule.is_namespace:
            return self._list_repositories(rule)
        return _with_valid_tags(select(rule.tags, self._list_tags(rule.upstream)), rule)

    def _list_repositories(self, rule: Rule) -> ListingOutcome:
        namespace = rule.upstream
        paths = self._upstream.list_repositories(namespace.registry, namespace.path.removesuffix("/*"))
        if len(paths) > _MAX_REPOSITORIES:
            raise ListingTooLongError(
                f"{namespace} has {len(paths)} repositories, and a rule may follow at most {_MAX_REPOSITORIES}. Name "
                "the repositories, or a narrower namespace."
            )
        return _with_valid_names(paths, rule)

    def _list_tags(self, repository: Repository) -> tuple[str, ...]:
        """List tags, or reuse a listing of the last minute: rules of one repository come together."""
        now = self._clock()
        return self._listings.get_or_load(
            repository, now, lambda: Expiring(self._upstream.list_tags(repository), now + _SHARED_FOR)
        )


class Listing:
    """A listing that was begun: its result when it has ended, the error for which it is to be retried, or how it was
    put back."""

    def __init__(self, request: ListRequest, *, may_be_put_back: bool = True) -> None:
        self.request, self.may_be_put_back = request, may_be_put_back
        self.result: ListResult | None = None
        self.put_back: PutBack | None = None
        self.error: Exception | None = None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Note what is raised."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - its message is retried
            self.error = error


def _named_repositories(rules: Rules) -> dict[str, Repository]:
    """Find the upstream of each repository that a rule names: of 100,000 rules, that takes a while."""
    return {each.repository: each.upstream for each in rules.rules if not each.is_namespace}


def _with_valid_names(paths: tuple[str, ...], rule: Rule) -> ListingOutcome:
    """Leave out repositories for which the rule's template gives no name that ECR allows; return the error, too."""
    named, error = [], None
    for path in paths:
        try:
            rule.expand(path)
            named.append(path)
        except ConfigError as refusal:
            error = error or refusal
    return ListingOutcome(tuple(named), error)


def _with_share(expanded: Rule, namespace: Rule, known: Record | None) -> Rule:
    """Give a repository of a namespace its share of the tags that the rule may choose."""
    count = max(1, len(known.followed)) if isinstance(known, RuleRecord) else 1
    most = max(_FEWEST_TAGS, namespace.tags.max_tags // count)
    tags = expanded.tags._replace(max_tags=min(namespace.tags.max_tags, most))
    return expanded._replace(tags=tags)


def _with_valid_tags(tags: tuple[str, ...], rule: Rule) -> ListingOutcome:
    """Leave out tags for which the rule's template gives no name that ECR allows; return the error, too."""
    named = tuple(tag for tag in tags if is_tag(publish_as(rule.tags.template, tag)))
    if len(named) == len(tags):
        return ListingOutcome(tags)
    longest = max(tags, key=len)
    return ListingOutcome(
        named,
        ConfigError(
            f"the rule {rule.name} publishes {rule.upstream}:{longest} as {publish_as(rule.tags.template, longest)}, "
            f"which is not a valid tag. {TAG_ADVICE}"
        ),
    )


def _requests(
    rule: Rule, found: str | None, followed: tuple[str, ...], request: ListRequest, now: datetime
) -> Iterator[Queued]:
    asked_at = request.asked_at if request.manual else now
    if rule.is_namespace:
        for path in followed:
            upstream = str(Repository(rule.upstream.registry, path))
            yield structs.replace(request, rule=rule.name, asked_at=asked_at, upstream=upstream)
        return
    # The schedule queues the tags that a rule names, except in namespaces, whose repositories it does not know.
    named = tuple(each.target for each in rule.tags.named) if found is not None else ()
    chosen = (publish_as(rule.tags.template, tag) for tag in followed)
    tags = tuple(dict.fromkeys((*named, *chosen)))
    for start in range(0, len(tags), MAX_TAGS_PER_CHECK):
        some = tags[start : start + MAX_TAGS_PER_CHECK]
        yield CheckRequest(
            reason="manual" if request.manual else "schedule",
            repository=rule.repository,
            tags=some,
            asked_at=asked_at,
            rule=rule.name if found is not None else None,
            upstream=found,
            sender=request.sender,
        )
