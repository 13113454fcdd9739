"""Explain how a mirror stands, step by step: the rule, upstream, ECR, the verdict, and what happens next.

By what is remembered, or by what was just seen; nothing is asked and nothing written here.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from pullahead.checks.schedule import next_moment
from pullahead.dashboard.states import APPEARANCES
from pullahead.mirrors.judge import Observation, judge
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rules
from pullahead.text import moment_text, span_text


class Step(NamedTuple):
    """One step of an explanation: what it is about, and what is the case."""

    about: str
    text: str


class Known(NamedTuple):
    """What is known of a mirror: its rule's wish, its record, and what was seen just now, if anybody looked."""

    mirror: Mirror | None
    record: MirrorRecord | None
    seen: Observation | None = None
    is_paused: bool = False


def explain(key: MirrorKey, known: Known, rules: Rules, now: datetime) -> list[Step]:
    """Explain how a mirror stands."""
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
        *_told_steps(record),
        Step("next", _next_text(record, known, now)),
    ]


def _rule_text(key: MirrorKey, known: Known, rules: Rules) -> str:
    mirror = known.mirror
    if mirror is None:
        return f"no rule follows {key}"
    rule = next((rule for rule in rules.rules if rule.name == mirror.rule), None)
    source = f" (from {rule.source.value})" if rule is not None else ""
    wishes = [f"every {span_text(mirror.check_every)}", f"alert after {span_text(mirror.alert_after)}"]
    wishes += [f"only {', '.join(mirror.platforms)}"] if mirror.platforms else []
    wishes += ["immutable"] if mirror.immutable else []
    paused = "; it is paused" if known.is_paused else ""
    return f"{mirror.rule or key}{source} follows {mirror.upstream}: {', '.join(wishes)}{paused}"


def _upstream_text(record: MirrorRecord) -> str:
    before = f"; before, it served {record.upstream_digest}" if record.upstream_digest is not None else ""
    if record.state is State.GONE:
        return f"{record.upstream} no longer has the tag{before}"
    if record.state is State.UNKNOWN:
        return f"{(record.error or 'it was not asked').rstrip('.')}{before}"
    if record.upstream_digest is None:
        return f"{record.upstream} has not answered yet"
    return f"{record.upstream} serves {record.upstream_digest}"


def _ecr_text(record: MirrorRecord) -> str:
    if record.published_digest is None:
        return "ECR does not have the tag"
    wanted = record.wanted_digest
    if record.platforms and record.published_digest == wanted and wanted != record.upstream_digest:
        return f"ECR serves {record.published_digest}, made of upstream's for {', '.join(record.platforms)}"
    is_same = record.published_digest == (wanted or record.upstream_digest)
    return f"ECR serves {record.published_digest}, which is {'the same' if is_same else 'another one'}"


def _verdict_text(record: MirrorRecord, reason: str, now: datetime) -> str:
    # Why it is UNKNOWN is upstream's own step.
    cause = "" if record.state is State.UNKNOWN else reason or record.cause
    why = cause or APPEARANCES[record.state].means
    since = f"since {moment_text(record.since)} ({span_text(now - record.since)})"
    unfresh = record.unfresh_since
    late = f"; not fresh for {span_text(now - unfresh)}" if unfresh is not None and unfresh != record.since else ""
    return f"{record.state.value} {since}{late}: {why}"


def _refresh_steps(record: MirrorRecord) -> list[Step]:
    steps = []
    if (last := record.last_refresh) is not None:
        took, lag = span_text(timedelta(seconds=last.seconds)), span_text(timedelta(seconds=last.lag_seconds))
        text = (
            f"{moment_text(last.ended_at)}, {last.bytes_copied:,} bytes in {took}, {lag} after it was seen to be late"
        )
        steps.append(Step("last refresh", f"{text}; {last.execution}"))
    if (failure := record.failure) is not None:
        times = f"{failure.count} in a row" if failure.count > 1 else "once"
        steps.append(Step("failed refresh", f"{failure.kind}, {times}: {failure.text}"))
    return steps


def _told_steps(record: MirrorRecord) -> list[Step]:
    """Say of what people were told and when, whether or not it is over, and what they are still to be told."""
    lines = [
        f"{told.kind.value}, {moment_text(told.at)}{'' if told.kind in record.alerted else ' (over)'}"
        for told in record.told
    ]
    known = {told.kind for told in record.told}
    lines += [f"{kind.value}, not yet" for kind in record.alerted if kind not in known]
    return [Step("told", "; ".join(lines))] if lines else []


def _first_check_text(known: Known, now: datetime) -> str:
    if known.mirror is None:
        return "nothing: name the tag in the rules, and deploy them"
    return (
        "nothing until the rule is resumed" if known.is_paused else f"{_check_text(known.mirror, now)}, the first one"
    )


def _next_text(record: MirrorRecord, known: Known, now: datetime) -> str:
    if known.mirror is None:
        forgotten = f"; it is forgotten from {moment_text(record.expires_at)} on" if record.expires_at else ""
        return f"nothing: no rule follows it any more, and its copy stays{forgotten}"
    if known.is_paused:
        return f"nothing until `pullahead resume {known.mirror.rule}`; ECR goes on serving the last copy"
    check = _check_text(known.mirror, now)
    if record.state in (State.FRESH, State.GONE, State.UNKNOWN, State.DELETED):
        return {
            State.DELETED: f"{check}; a refresh when upstream moves, or by `pullahead refresh`",
            State.FRESH: f"{check}; a refresh as soon as upstream moves",
            State.GONE: f"{check}; the copy in ECR stays, and a refresh follows if the tag comes back",
            State.UNKNOWN: f"{check}; the copy in ECR stays until upstream answers",
        }[record.state]
    failure = record.failure
    if failure is None:
        return f"a refresh is under way, waits for a slot, or starts with the next check; {check}"
    if failure.retry_at <= now:
        return f"the next check tries again; {check}"
    retry = f"tried again from {moment_text(failure.retry_at)} on, or at once when upstream moves"
    mend = "; mend the cause first" if failure.blocking else ""
    return f"{retry}{mend}; `pullahead refresh` does not wait"


def _check_text(mirror: Mirror, now: datetime) -> str:
    return f"the next check is due at {moment_text(next_moment(mirror, now))}"
