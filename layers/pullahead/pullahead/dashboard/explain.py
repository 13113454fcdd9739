"""Explain the state of a mirror, or of a rule's listing: the verdict of a check, step by step. Pure.

A tag that a rule could have selected, and did not, is explained, too.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from pullahead.admission.gates import (
    OF_SIGNATURE,
    HeldReason,
    Occasion,
    hold_of,
    require_age,
    require_scan,
    require_signature,
)
from pullahead.admission.seen_digests import SeenDigest, SeenDigests
from pullahead.admission.signature_evidence import evidence_for
from pullahead.checks.timetable import next_check, next_listing
from pullahead.dashboard.find_subjects import NamedImage, has_served
from pullahead.dashboard.states import meaning_of, trigger_text
from pullahead.mirrors.judge import Observation, absence_text, is_denied, judge, pace_text
from pullahead.mirrors.missing import PruneReason
from pullahead.mirrors.pinned import moved_text
from pullahead.mirrors.previous import still_kept
from pullahead.mirrors.record import WAITING, MirrorRecord, Record, RuleRecord, State, Trigger, WaitingDigest
from pullahead.mirrors.refresh_outcome import TRIES_OF_NEW_DIGESTS, is_new_try
from pullahead.mirrors.refresh_pace import paced_until
from pullahead.oci import Digest, parse_reference
from pullahead.rules.admission_policy import AdmissionPolicy, ScanPolicy
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rule, Rules, rule_named
from pullahead.rules.published_tags import published_from
from pullahead.rules.signature_policy import SignaturePolicy
from pullahead.rules.tag_patterns import selection_text, why_unmatched
from pullahead.text import count_text, moment_text, one_line, size_text, span_text

_MAX_TAGS_SHOWN = 20
_MAX_SIGNERS_CHARACTERS = 400
_MOST_WAITING, _MOST_TAKEN_BACK, _MOST_DECISIONS = 10, 3, 5
_SKIPPED = "nothing until its rule can be followed"


class Step(NamedTuple):
    """One step of an explanation: what it is about, and the text."""

    about: str
    text: str


class Selection(NamedTuple):
    """Whether the rules select a tag; None where that is not known, or does not take a listing. And why."""

    is_selected: bool | None = None
    text: str = ""


class MirrorFacts(NamedTuple):
    """What is known of a mirror: its rule, its record, what was observed just now, if anything; whether its rule is
    paused, whether the rule's listing selected it, and why the rule cannot be followed."""

    mirror: Mirror | None
    record: MirrorRecord | None
    seen: Observation | None = None
    is_paused: bool = False
    selection: Selection = Selection()
    skipped: str = ""


class ListedRule(NamedTuple):
    """A rule that selects tags, and the record of its listing."""

    rule: Rule
    listing: Record | None = None


def explain_selection(target: str, candidates: list[ListedRule], now: datetime) -> Selection:
    """Explain whether rules that publish into the repository of a tag in ECR select it, and if not, why."""
    selections = [_selection(target, each, now) for each in candidates if each.rule.tags.patterns]
    chosen = next((each for each in selections if each.is_selected), None)
    if chosen is not None or not selections:
        return chosen or Selection()
    is_known = all(each.is_selected is False for each in selections)
    return Selection(False if is_known else None, "; ".join(each.text for each in selections))


def _selection(target: str, listed: ListedRule, now: datetime) -> Selection:
    rule, listing = listed
    tag = published_from(rule.tags.template, target)
    if tag is None:
        return Selection(False, f"{target} is no name that rule {rule.name} gives, which has as: {rule.tags.template}")
    unmatched = why_unmatched(rule.tags, tag)
    if unmatched:
        return Selection(False, f"{tag} is {unmatched} (rule {rule.name})")
    if not isinstance(listing, RuleRecord):
        due = f"its tags are listed first after {moment_text(next_listing(rule, now))}"
        return Selection(None, f"{tag} fits rule {rule.name}, but {due}")
    if tag in listing.followed or tag in rule.tags.names:
        return Selection(True)
    failing = f"{meaning_of(listing)}: {listing.cause.rstrip('.')}" if listing.state is not State.FRESH else ""
    if rule.tags.newest is not None and listing.followed:
        others = _joined(listing.followed)
        since = f"; since then, {failing}" if failing else ""
        return Selection(False, f"{tag} fits, but newest: {rule.tags.newest} chose {others} (rule {rule.name}){since}")
    if failing:
        return Selection(None, f"{tag} fits rule {rule.name}, but {failing}")
    if not listing.followed:
        return Selection(None, f"{tag} fits rule {rule.name}; what the rule selects is too much to be kept, or nothing")
    return Selection(False, f"{tag} fits rule {rule.name}, but upstream did not list it when it was last asked")


def _joined(tags: tuple[str, ...]) -> str:
    shown = tags[:_MAX_TAGS_SHOWN]
    if len(tags) > len(shown):
        return f"{', '.join(shown)} and {len(tags) - len(shown)} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def explain_image(named: NamedImage, home: str, record: MirrorRecord | None) -> list[Step]:
    """Explain what an image's address says beside the mirror: its registry, and its digest."""
    steps = []
    if named.ecr is not None and home and home != f"{named.ecr.account} {named.ecr.region}":
        where = f"account {named.ecr.account}, Region {named.ecr.region}"
        steps.append(Step("registry", f"the address is in {where}, and this stack writes to another registry: {home}"))
    if named.digest is not None:
        steps.append(Step("image", _digest_text(named.digest, record)))
    return steps


def _digest_text(digest: Digest, record: MirrorRecord | None) -> str:
    if record is None or not has_served(record, digest):
        return f"{digest} is not recorded: it is older, or the manifest of one platform of an index, or of another tag"
    if digest == record.published_digest:
        return f"{digest} is what ECR serves now"
    kept = next((each for each in record.kept if each.digest == digest), None)
    if kept is not None:
        return f"{digest} is what ECR served until {moment_text(kept.at)}; {kept.tag} keeps it"
    if digest == record.previous_digest:
        return f"{digest} is what ECR served before; the tag has moved since: a new pull gets another image"
    return f"{digest} is what upstream served when it was last checked, and not what ECR serves"


def explain_listing(listed: ListedRule, now: datetime, *, is_paused: bool, skipped: str = "") -> list[Step]:
    """Explain the listing of a rule, or that it names all its tags."""
    rule, record = listed
    follows = f"{rule.name} (from {rule.source.value}) follows {rule.upstream} in {rule.repository}"
    options = f"every {span_text(rule.check_every)}, alert after {span_text(rule.alert_after)}"
    steps = [Step("rule", f"{follows}: {options}{_inactive_text(skipped, is_paused=is_paused)}")]
    if rule.tags.patterns or rule.tags.named:
        steps.append(Step("selects", selection_text(rule.tags)))
    if record is not None:
        since = f"since {moment_text(record.since)} ({span_text(now - record.since)})"
        cause = f": {record.cause}" if record.cause and record.state is not State.FRESH else ""
        steps.append(Step("verdict", f"{record.state.value} {since}: {meaning_of(record)}{cause}"))
        steps += _alert_steps(record)
    if isinstance(record, RuleRecord):
        what = "repositories" if rule.is_namespace else "tags"
        kept = _joined(record.followed) if record.followed else "nothing, or too much to be kept"
        steps.append(Step(what, f"{len(record.followed)} selected: {kept}" if record.followed else kept))
    next_text = _SKIPPED if skipped else _next_listing_text(rule, now, is_paused=is_paused)
    return [*steps, Step("next", next_text)]


def _inactive_text(skipped: str, *, is_paused: bool) -> str:
    return f"; skipped: {skipped}" if skipped else "; paused" if is_paused else ""


def _next_listing_text(rule: Rule, now: datetime, *, is_paused: bool) -> str:
    if is_paused:
        return f"nothing until `pullahead resume {rule.name}`"
    if rule.on_demand is not None:
        return "nothing until somebody pulls a tag that it allows"
    if not rule.tags.patterns and not rule.is_namespace:
        return "its tags are named, so that nothing is listed; each is checked when it is due"
    return f"the next listing is due at {moment_text(next_listing(rule, now))}, and checks what it selects"


def explain(key: MirrorKey, known: MirrorFacts, rules: Rules, now: datetime) -> list[Step]:
    """Explain the state of a mirror."""
    mirror, record, reason = known.mirror, known.record, ""
    if known.seen is not None and mirror is not None:
        verdict = judge(known.seen, record, mirror, now)
        record, reason = verdict.record, verdict.reason
    steps = [Step("rule", _rule_text(key, known, rules))]
    if known.selection.text:
        steps.append(Step("selection", known.selection.text))
    if record is None:
        return [*steps, Step("next", _first_check_text(known, now))]
    return [
        *steps,
        Step("upstream", _upstream_text(record)),
        Step("ECR", _ecr_text(record)),
        Step("verdict", _verdict_text(record, reason, now)),
        *(_trigger_steps(record) if known.seen is None else ()),
        *_refresh_steps(record),
        *_admission_steps(record, mirror, now),
        *_referrers_steps(record, mirror),
        *_kept_steps(record, mirror, now),
        *_pruning_steps(record, rules),
        *_alert_steps(record),
        Step("next", _next_text(record, known, now)),
    ]


def _rule_text(key: MirrorKey, known: MirrorFacts, rules: Rules) -> str:
    mirror = known.mirror
    if mirror is None:
        return f"no rule selects {key}" if known.selection.text else f"no rule follows {key}"
    rule = rule_named(mirror.rule, rules)
    source = f" (from {rule.source.value})" if rule is not None else ""
    if rule is not None and known.selection.text:
        return f"{mirror.rule}{source} selects tags of {mirror.upstream.repository}: {selection_text(rule.tags)}"
    options = [f"every {span_text(mirror.check_every)}", f"alert after {span_text(mirror.alert_after)}"]
    options += [f"only {', '.join(mirror.platforms)}"] if mirror.platforms else []
    options += ["immutable"] if mirror.immutable else []
    inactive = _inactive_text(known.skipped, is_paused=known.is_paused)
    return f"{mirror.rule or key}{source} follows {mirror.upstream}: {', '.join(options)}{inactive}"


def _upstream_text(record: MirrorRecord) -> str:
    before = f"; it last served {record.upstream_digest}" if record.upstream_digest is not None else ""
    if record.state is State.GONE and not record.was_seen:
        return f"{parse_reference(record.upstream).repository} {absence_text(record).removeprefix('upstream ')}"
    if record.state is State.GONE:
        return f"{record.upstream} no longer has the tag{before}"
    if record.state is State.UNKNOWN:
        return f"{(record.error or 'not checked').rstrip('.')}{before}"
    current = record.admission.current if record.admission is not None else None
    if current is not None and current.digest != record.upstream_digest:
        may = (
            f"the tag may serve {record.upstream_digest}"
            if record.upstream_digest is not None
            else "it may not be served"
        )
        return f"{record.upstream} serves {current.digest}; {may}"
    if record.upstream_digest is None:
        return f"{record.upstream} has not been checked yet"
    if record.moved_away is not None:
        return f"{record.upstream}: {moved_text(record.moved_away)}, since {moment_text(record.moved_away.since)}"
    if parse_reference(record.upstream).digest is not None:
        return f"{record.upstream} is pinned by the rules"
    return f"{record.upstream} serves {record.upstream_digest}"


def _ecr_text(record: MirrorRecord) -> str:
    if record.published_digest is None:
        return "ECR does not have the tag" if record.previous_digest is None else "ECR no longer has the tag"
    wanted = record.wanted_digest
    if record.platforms and record.published_digest == wanted and wanted != record.upstream_digest:
        return f"ECR serves {record.published_digest}, upstream's index filtered to {', '.join(record.platforms)}"
    if record.upstream_digest is None:
        return f"ECR serves {record.published_digest}"
    is_same = record.published_digest == (wanted or record.upstream_digest)
    return f"ECR serves {record.published_digest}, which is {'the same digest' if is_same else 'another digest'}"


def _trigger_steps(record: MirrorRecord) -> list[Step]:
    text = trigger_text(record.trigger, record.sender)
    if record.trigger is Trigger.REFRESH and record.past:
        led = trigger_text(record.past[-1].trigger, record.past[-1].sender)
        text = f"{text}, triggered by {led}" if led else text
    return [Step("trigger", text)] if text else []


def _verdict_text(record: MirrorRecord, reason: str, now: datetime) -> str:
    # The step about upstream says why it is UNKNOWN.
    cause = "" if record.state is State.UNKNOWN else reason or record.cause
    if record.state is State.GONE:
        cause = f"{meaning_of(record)} ({record.cause.rstrip('.')})" if record.cause else ""
    why = cause or meaning_of(record)
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


def _admission_steps(record: MirrorRecord, mirror: Mirror | None, now: datetime) -> list[Step]:
    """Say what the rule demands of a digest, which digests wait, and what each gate says of them."""
    policy, seen = mirror.admit if mirror is not None else None, record.admission
    if policy is None or mirror is None or mirror.pin is not None:
        return []
    demands = [f"min_age {span_text(policy.min_age)}"] if policy.min_age else []
    demands += [_signers_text(policy.verify)] if policy.verify is not None else []
    demands += [_scan_text(policy.scan)] if policy.scan is not None else []
    demands += ["approve"] if policy.approve else []
    text = f"{policy.mode.value}: {', '.join(demands)}; serve {policy.serve.value}"
    steps = [Step("admission", text)]
    if seen is None:
        return steps
    served = record.upstream_digest if record.published_digest is not None and record.serves_what_it_may else None
    steps += [Step("waits", line) for line in _waiting_lines(seen, policy, served, now)]
    if record.waiting is not None and record.waiting.reported:
        steps.append(Step("reported", f"the tag is not held: {record.waiting.text}, if the rule enforced it"))
    for each in reversed(seen.taken_back[-_MOST_TAKEN_BACK:]):
        was = "it had been admitted" if each.admitted else "the tag never served it"
        steps.append(Step("taken back", f"{each.digest}, by {moment_text(each.at)}; {was}"))
    for decision in reversed(seen.decisions[-_MOST_DECISIONS:]):
        verb, why = "admitted" if decision.admits else "rejected", f": {decision.reason}" if decision.reason else ""
        steps.append(Step("decided", f"{decision.digest} was {verb} by {decision.by}, {moment_text(decision.at)}{why}"))
    return steps


def _signers_text(policy: SignaturePolicy) -> str:
    """Say whose signature is demanded, and what must be attested."""
    signers = " or ".join(map(str, policy.signers))
    attested = "".join(f", attested {each.predicate_type}" for each in policy.attestations)
    return one_line(f"verify: signed by {signers}{attested}", _MAX_SIGNERS_CHARACTERS)


def _waiting_lines(seen: SeenDigests, policy: AdmissionPolicy, served: Digest | None, now: datetime) -> list[str]:
    """Say of each digest that is newer than what may be served, newest first, what each gate says of it.

    `served` is the one that the tag serves, where the rule only reports.
    """
    after = seen.seen[(seen.last_admitted + 1 if seen.last_admitted is not None else 0) :]
    lines = []
    for each in reversed(after[-_MOST_WAITING:]):
        ages = f"first seen at {moment_text(each.first_at)}, {span_text(each.age(now))} ago"
        left = "" if each.replaced_at is None else f", replaced upstream at {moment_text(each.replaced_at)}"
        copied = "its bytes are in ECR" if each.copied else "its bytes are not in ECR yet"
        copied = "the tag serves it" if each.digest == served else copied
        lines.append(f"{each.digest}: {ages}{left}; {copied}; {_gates_text(each, seen, policy, now)}")
    return lines


def _gates_text(digest: SeenDigest, seen: SeenDigests, policy: AdmissionPolicy, now: datetime) -> str:
    hold = hold_of(digest, seen, policy, Occasion(now))
    decision = seen.decision_of(digest.digest)
    if decision is not None:
        return f"{'admitted' if decision.admits else 'rejected'} by {decision.by}"
    if hold is None and policy.verify is None:
        return "every gate lets it pass"
    asks = hold is not None and hold.because is HeldReason.WAITING_APPROVAL  # a person is asked last
    gates = [_age_text(digest, policy, now), _signature_text(digest, policy, now), _scanned_text(digest, policy, now)]
    return "; ".join(filter(None, [*gates, "approval: waits for `pullahead admit`" if asks else ""]))


def _age_text(digest: SeenDigest, policy: AdmissionPolicy, now: datetime) -> str:
    hold = require_age(digest, policy, Occasion(now))
    if hold is None or hold.until is None:
        return "age: old enough" if policy.min_age else ""
    return f"age: old enough at {moment_text(hold.until)}"


def _signature_text(digest: SeenDigest, policy: AdmissionPolicy, now: datetime) -> str:
    """Say what was found of a digest's signatures, and when it is looked again."""
    if policy.verify is None:
        return ""
    hold, known = require_signature(digest, policy, Occasion(now)), evidence_for(policy.verify, digest.signature)
    if known is None:
        found = "not looked at by the rule as it is now"
    else:
        why = f": {known.why}" if known.why else ""
        found = f"{known.outcome}, looked at {moment_text(known.at)}{why}"
    until = f"; it may come until {moment_text(hold.until)}" if hold is not None and hold.until is not None else ""
    again = f"; looked at again after {moment_text(known.again_at)}" if known is not None and not known.admits else ""
    return f"signature: {found}{until}{again}"


def _scan_text(policy: ScanPolicy) -> str:
    fixable = " that are fixable" if policy.fixable_only else ""
    exempt = f", but for {len(policy.exempt)} that are exempt" if policy.exempt else ""
    return f"scan: no {' or '.join(policy.block)} findings{fixable}{exempt}"


def _scanned_text(digest: SeenDigest, policy: AdmissionPolicy, now: datetime) -> str:
    """Say what the scan of a digest has found, or why there is no result."""
    if policy.scan is None:
        return ""
    hold = require_scan(digest, policy, Occasion(now))
    known = digest.scan
    if hold is None:
        return f"scan: clean, {known.text}" if known is not None else "scan: clean"
    state = hold.because.value if hold.because is not None else f"until {moment_text(hold.until or now)}"
    return f"scan: {state}, {hold.why}"


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


def _kept_steps(record: MirrorRecord, mirror: Mirror | None, now: datetime) -> list[Step]:
    """List what the tag served before, and which of it the rules still keep."""
    if not record.kept:
        return []
    kept = still_kept(record.kept, mirror.keep_previous if mirror is not None else None, now)
    shown = [f"{each.tag}, since {moment_text(each.at)}" for each in reversed(kept)]
    over = len(record.kept) - len(kept)
    return [Step("previous", "; ".join([*shown, *([f"{over} no longer kept by the rules"] if over else [])]))]


def _pruning_steps(record: MirrorRecord, rules: Rules) -> list[Step]:
    """Say since when a tag is missing from what its rule chooses, and what the rule's `prune` does about it."""
    missing = record.missing
    if missing is None:
        return []
    what = "gone upstream" if missing.reason is PruneReason.GONE else "not chosen by its rule"
    since = f"{what} since {moment_text(missing.since)}"
    if missing.removed_at is not None:
        return [
            Step("pruning", f"removed from ECR by its rule's `prune` at {moment_text(missing.removed_at)}: {since}")
        ]
    policy = next((rule.prune for rule in rules.rules_of(record.key.repository) if rule.prune is not None), None)
    seen = f"{since}, as sound listings of {count_text(missing.days, 'day')} say"
    if policy is None:
        return [Step("pruning", f"{seen}; no rule prunes it any more")]
    after = policy.gone if missing.reason is PruneReason.GONE else policy.unchosen
    does = "removed from ECR" if policy.deletes else "reported, not removed (mode: report),"
    when = f"{does} after {span_text(after)}" if after is not None else "never removed"
    return [Step("pruning", f"{seen}; {when}; `pullahead prune --dry-run` says what holds it")]


def _alert_steps(record: Record) -> list[Step]:
    """List the last alerts: when each was sent, whether it is over, and those that are not sent yet."""
    lines = [
        f"{sent.kind.value}, {moment_text(sent.at)}{'' if sent.kind in record.open_alerts else ' (over)'}"
        for sent in record.told
    ]
    known = {sent.kind for sent in record.told}
    lines += [f"{kind.value}, not sent yet" for kind in record.open_alerts if kind not in known]
    return [Step("alerts", "; ".join(lines))] if lines else []


def _first_check_text(known: MirrorFacts, now: datetime) -> str:
    if known.selection.is_selected is False:
        return "nothing: no rule selects it. Name the tag in the rules, or select more tags"
    if known.mirror is None:
        return "nothing: add the tag to the rules, and deploy them"
    if known.skipped:
        return _SKIPPED
    if known.is_paused:
        return "nothing until the rule is resumed"
    if known.mirror.on_demand:
        return "nothing until somebody pulls it"
    if known.selection.text:
        return "it is checked once a listing selects it"
    return f"{_check_text(known.mirror, now)}, the first one"


def _next_text(record: MirrorRecord, known: MirrorFacts, now: datetime) -> str:
    if known.mirror is None or known.selection.is_selected is False:
        forgotten = f"; its record is deleted after {moment_text(record.expires_at)}" if record.expires_at else ""
        what = "follows" if known.mirror is None else "selects"
        stays = "its copy stays in ECR" if record.missing is None else "ECR has its copy: see `pruning`"
        copy = stays if record.published_digest is not None else "ECR has no copy"
        again = "" if record.was_only_asked_for else " any more"
        return f"nothing: no rule {what} it{again}; {copy}{forgotten}"
    if known.skipped:
        return f"{_SKIPPED}; {_served_text(record)}"
    if known.is_paused:
        return f"nothing until `pullahead resume {known.mirror.rule}`; {_served_text(record)}"
    check = _check_text(known.mirror, now)
    if record.waiting is not None and record.state in WAITING:
        return f"{_end_of_wait_text(record.waiting, known.mirror)}; {_served_text(record)}; {check}"
    if record.state in (State.FRESH, State.GONE, State.UNKNOWN, State.DELETED):
        return {
            State.DELETED: f"{check}; a refresh when upstream moves, or on `pullahead refresh`",
            State.FRESH: f"{check}; a refresh when upstream moves",
            State.GONE: f"{check}; {_kept_text(record)}; a refresh follows if the tag exists again",
            State.UNKNOWN: f"{check}; until then, {_served_text(record)}{_corrected_text(record)}",
        }[record.state]
    return _next_refresh_text(record, check, now)


def _end_of_wait_text(waiting: WaitingDigest, mirror: Mirror) -> str:
    if waiting.until is None:
        if waiting.because in OF_SIGNATURE:
            return "a refresh when its signature is what the rule demands, or a person admits it"
        return "a refresh when a person admits it"
    asks = mirror.admit is not None and mirror.admit.approve
    what = "a person must admit it from" if asks else "a refresh at"
    return f"{what} {moment_text(waiting.until)}, if upstream leaves the digest"


def _next_refresh_text(record: MirrorRecord, check: str, now: datetime) -> str:
    failure, until = record.failure, paced_until(record.pace, record.upstream_digest, now)
    if failure is not None and now < failure.retry_at and not is_new_try(failure, record.upstream_digest):
        retry = f"retried after {moment_text(failure.retry_at)}"
        if failure.digests < TRIES_OF_NEW_DIGESTS:
            retry = f"{retry}, or at once when upstream moves"
        else:
            failed = f"refreshes to {failure.digests} digests in a row have failed"
            retry = f"{retry}, even if upstream moves again: {failed}"
        fix = "; fix the cause first" if failure.blocking else ""
        return f"{retry}{fix}; `pullahead refresh` does not wait"
    if until is not None:
        return f"{pace_text(until)}; `pullahead refresh` does not wait; {check}"
    if failure is not None and failure.retry_at <= now:
        return f"retried at the next check; {check}"
    return f"a refresh is running, is waiting, or starts with the next check; {check}"


def _served_text(record: MirrorRecord) -> str:
    if record.published_digest is None:
        return "there is nothing to pull: ECR has no copy"
    waiting = record.waiting
    is_rejected = waiting is not None and waiting.because is HeldReason.REJECTED and record.state is State.HELD
    if is_rejected and waiting is not None and waiting.digest == record.upstream_digest:
        return "ECR keeps serving it, as there is no other that the tag may serve: to stop that, delete the tag in ECR"
    return "ECR keeps serving the last copy"


def _corrected_text(record: MirrorRecord) -> str:
    return "; `pullahead refresh` uses a corrected credential at once" if is_denied(record) else ""


def _kept_text(record: MirrorRecord) -> str:
    if record.was_never_found:
        return "there is nothing to pull"
    return "the copy in ECR stays" if record.published_digest is not None else "ECR has no copy"


def _check_text(mirror: Mirror, now: datetime) -> str:
    return f"the next check is due at {moment_text(next_check(mirror, now))}"
