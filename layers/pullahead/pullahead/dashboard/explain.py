"""Explain the state of a mirror step by step: the rule, upstream, ECR, the verdict, and what happens next.

The explanation is made from the record, or from what was just observed; nothing is read or written here.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from pullahead.checks.schedule import next_moment
from pullahead.dashboard.states import STATE_MEANINGS
from pullahead.mirrors.judge import Observation, judge
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rules
from pullahead.text import moment_text, size_text, span_text


class Step(NamedTuple):
    """One step of an explanation: what it is about, and the text."""

    about: str
    text: str


class Known(NamedTuple):
    """What is known of a mirror: its rule, its record, and what was observed just now, if anything."""

    mirror: Mirror | None
    record: MirrorRecord | None
    seen: Observation | None = None
    is_paused: bool = False


def explain(key: MirrorKey, known: Known, rules: Rules, now: datetime) -> list[Step]:
    """Explain the state of a mirror."""
    mirror, record, reason = known.mirror, known.record, ""
    if known.seen is not None and mirror is not None:
        verdict = judge(known.seen, record, mirror, now)
        record, reason = verdict.record, verdict.reason
    steps = [Step("rule", _rule_text(key, known, rules))]
    if record is None:
        return [*steps, Step("next", _first_check_text(known, now))]
    return [
        *steps,
        Step("upstream", _upstream_text(record)),
        Step("ECR", _ecr_text(record)),
        Step("verdict", _verdict_text(record, reason, now)),
        *_refresh_steps(record),
        *_referrers_steps(record, mirror),
        *_alert_steps(record),
        Step("next", _next_text(record, known, now)),
    ]


def _rule_text(key: MirrorKey, known: Known, rules: Rules) -> str:
    mirror = known.mirror
    if mirror is None:
        return f"no rule follows {key}"
    rule = next((rule for rule in rules.rules if rule.name == mirror.rule), None)
    source = f" (from {rule.source.value})" if rule is not None else ""
    options = [f"every {span_text(mirror.check_every)}", f"alert after {span_text(mirror.alert_after)}"]
    options += [f"only {', '.join(mirror.platforms)}"] if mirror.platforms else []
    options += ["immutable"] if mirror.immutable else []
    paused = "; paused" if known.is_paused else ""
    return f"{mirror.rule or key}{source} follows {mirror.upstream}: {', '.join(options)}{paused}"


def _upstream_text(record: MirrorRecord) -> str:
    before = f"; it last served {record.upstream_digest}" if record.upstream_digest is not None else ""
    if record.state is State.GONE:
        return f"{record.upstream} no longer has the tag{before}"
    if record.state is State.UNKNOWN:
        return f"{(record.error or 'not checked').rstrip('.')}{before}"
    if record.upstream_digest is None:
        return f"{record.upstream} has not been checked yet"
    return f"{record.upstream} serves {record.upstream_digest}"


def _ecr_text(record: MirrorRecord) -> str:
    if record.published_digest is None:
        return "ECR does not have the tag"
    wanted = record.wanted_digest
    if record.platforms and record.published_digest == wanted and wanted != record.upstream_digest:
        return f"ECR serves {record.published_digest}, upstream's index filtered to {', '.join(record.platforms)}"
    is_same = record.published_digest == (wanted or record.upstream_digest)
    return f"ECR serves {record.published_digest}, which is {'the same digest' if is_same else 'another digest'}"


def _verdict_text(record: MirrorRecord, reason: str, now: datetime) -> str:
    # The step about upstream says why it is UNKNOWN.
    cause = "" if record.state is State.UNKNOWN else reason or record.cause
    why = cause or STATE_MEANINGS[record.state]
    since = f"since {moment_text(record.since)} ({span_text(now - record.since)})"
    unfresh = record.unfresh_since
    late = f"; not fresh for {span_text(now - unfresh)}" if unfresh is not None and unfresh != record.since else ""
    return f"{record.state.value} {since}{late}: {why}"


def _refresh_steps(record: MirrorRecord) -> list[Step]:
    steps = []
    if (last := record.last_refresh) is not None:
        took, lag = span_text(timedelta(seconds=last.seconds)), span_text(timedelta(seconds=last.lag_seconds))
        text = f"{moment_text(last.ended_at)}, {last.bytes_copied:,} bytes in {took}, {lag} after it became stale"
        steps.append(Step("last refresh", f"{text}; {last.execution}"))
    if (failure := record.failure) is not None:
        times = f"{failure.count} in a row" if failure.count > 1 else "once"
        steps.append(Step("failed refresh", f"{failure.kind}, {times}: {failure.text}"))
    return steps


def _referrers_steps(record: MirrorRecord, mirror: Mirror | None) -> list[Step]:
    """Count what refers to the image, and say what of it is not copied, and why."""
    if mirror is not None and not mirror.referrers.copies_any:
        return [Step("referrers", "not copied: the rule says so")]
    known = record.referrers
    if known is None:
        return [Step("referrers", "not looked for yet")] if record.published_digest is not None else []
    if known.digest != record.upstream_digest:
        return [Step("referrers", "those of upstream's new digest are copied with it")]
    outcome = known.outcome
    parts = [f"{outcome.copied} in ECR ({size_text(outcome.bytes)})"]
    parts += [f"{outcome.excluded} left out by type"] if outcome.excluded else []
    if outcome.not_applicable:
        parts.append(f"{outcome.not_applicable} of upstream's whole index, not applicable to the platforms")
    parts += [f"{outcome.failed} failed"] if outcome.failed else []
    steps = [Step("referrers", "; ".join([", ".join(parts), *outcome.limits]))]
    if outcome.failed:
        causes = "; ".join(f"{each.kind}: {each.text.rstrip('.')}" for each in outcome.troubles)
        retry = f"; retried after {moment_text(known.retry_at)}" if known.retry_at is not None else ""
        steps.append(Step("failed referrers", f"{causes}{retry}"))
    return steps


def _alert_steps(record: MirrorRecord) -> list[Step]:
    """List the last alerts: when each was sent, whether it is over, and those that are not sent yet."""
    lines = [
        f"{sent.kind.value}, {moment_text(sent.at)}{'' if sent.kind in record.open_alerts else ' (over)'}"
        for sent in record.told
    ]
    known = {sent.kind for sent in record.told}
    lines += [f"{kind.value}, not sent yet" for kind in record.open_alerts if kind not in known]
    return [Step("alerts", "; ".join(lines))] if lines else []


def _first_check_text(known: Known, now: datetime) -> str:
    if known.mirror is None:
        return "nothing: add the tag to the rules, and deploy them"
    return (
        "nothing until the rule is resumed" if known.is_paused else f"{_check_text(known.mirror, now)}, the first one"
    )


def _next_text(record: MirrorRecord, known: Known, now: datetime) -> str:
    if known.mirror is None:
        forgotten = f"; its record is deleted after {moment_text(record.expires_at)}" if record.expires_at else ""
        return f"nothing: no rule follows it any more; its copy stays in ECR{forgotten}"
    if known.is_paused:
        return f"nothing until `pullahead resume {known.mirror.rule}`; ECR keeps serving the last copy"
    check = _check_text(known.mirror, now)
    if record.state in (State.FRESH, State.GONE, State.UNKNOWN, State.DELETED):
        return {
            State.DELETED: f"{check}; a refresh when upstream moves, or on `pullahead refresh`",
            State.FRESH: f"{check}; a refresh when upstream moves",
            State.GONE: f"{check}; the copy in ECR stays; a refresh follows if the tag exists again",
            State.UNKNOWN: f"{check}; ECR keeps serving the last copy until upstream answers",
        }[record.state]
    failure = record.failure
    if failure is None:
        return f"a refresh is running, is waiting, or starts with the next check; {check}"
    if failure.retry_at <= now:
        return f"retried at the next check; {check}"
    retry = f"retried after {moment_text(failure.retry_at)}, or at once when upstream moves"
    fix = "; fix the cause first" if failure.blocking else ""
    return f"{retry}{fix}; `pullahead refresh` does not wait"


def _check_text(mirror: Mirror, now: datetime) -> str:
    return f"the next check is due at {moment_text(next_moment(mirror, now))}"
