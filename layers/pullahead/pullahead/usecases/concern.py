"""Which events concern a mirror, as far as its record tells: the cheap test before anything is asked. Pure."""

from pullahead.freshness.records import Record, State
from pullahead.messages import CheckRequest
from pullahead.rules.model import Mirror, Rules, Source
from pullahead.usecases.meant import is_chosen


def concerns(request: CheckRequest, mirror: Mirror, rules: Rules, known: Record | None) -> bool:
    """Whether a check is to be made. What the schedule or a person asks for always is, and what was decided before."""
    if request.is_settled:
        return True
    if request.reason == "push":
        return _is_news(request, known) if known is not None else not is_chosen(mirror, rules)
    if request.reason == "delete":
        return known is not None and known.state is not State.DELETED and not _is_cached(mirror, rules)
    if request.reason == "cache":
        return request.cache_failure is not None or known is None or _ends_failure(known) or _is_news(request, known)
    return True


def _is_news(request: CheckRequest, known: Record) -> bool:
    """Whether ECR serves something else now than it is known to serve, or than it is to serve.

    What a refresh that is under way was to put is none: how that ended is recorded a moment later.
    A slow refresh may put, and record, what upstream has left behind: that is to be made right at once.
    """
    if request.digest is None or request.digest != known.wanted_digest:
        return True
    is_awaited = known.state in (State.MISSING, State.STALE)
    return not is_awaited and not (known.state is State.FRESH and known.published_digest == request.digest)


def _ends_failure(known: Record) -> bool:
    return known.cache_failure is not None


def _is_cached(mirror: Mirror, rules: Rules) -> bool:
    """Whether only a pull through cache rule names the tag: what is cached no more is followed no more."""
    rule = rules.find_rule(mirror.repository, mirror.tag)
    return rule is not None and rule.source is Source.PULL_THROUGH_CACHE
