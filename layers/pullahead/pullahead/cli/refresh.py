"""`pullahead refresh`: a check of a mirror, or a listing of a rule's tags, requested by hand and followed to its end.

The check notes its result in the mirror's record, and so does the refresh that it starts. Nothing depends on the
command: if it is interrupted, the stack goes on.
"""

import argparse
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from pullahead.cli.options import add_output_options, describe, parsed_by
from pullahead.cli.output import DONE, FAILED, said_if_interrupted, say, write_document, write_result, write_text
from pullahead.cli.stack import (
    DeployedStack,
    add_rules_option,
    add_stack_options,
    deployed_stack,
    now,
)
from pullahead.clock import Clock
from pullahead.dashboard.find_subjects import NamedImage, SubjectFinder, parse_mirror_name, parse_named_image
from pullahead.dashboard.states import meaning_of
from pullahead.errors import ConfigError, StorageError
from pullahead.messages import MAX_TAGS_PER_CHECK, CheckRequest, ListRequest
from pullahead.mirrors.record import ON_TIME, LastRefresh, ManualCheck, MirrorRecord, RuleRecord
from pullahead.mirrors.rule_record import needs_listing, rule_key
from pullahead.oci import Digest
from pullahead.refresh.plan import CopyPlan, plan_key
from pullahead.refresh.ports import StartResult
from pullahead.refresh.request import execution_name
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.model import Rule, Rules
from pullahead.text import count_text, size_text, span_text

_CHECKED_WITHIN = timedelta(minutes=10)
_RECORDED_WITHIN = timedelta(seconds=30)  # after the end of an execution
_REPORT_EVERY = timedelta(seconds=10)
_POLL_SECONDS = 1.0
_NO_DIGEST = Digest("")
_MAX_TIMEOUT_SECONDS = 12 * 3600  # as long as a refresh may run


class Ended(NamedTuple):
    """How a request ended: what became of the mirror, in words, its record then, and the refresh that was made."""

    text: str
    is_done: bool
    record: MirrorRecord | None = None
    refresh: LastRefresh | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Queue a check of a mirror and, if it is stale, a refresh; follow both, and say how they ended. The back-off "
        "after a failed refresh and the immutability of a tag are ignored, and credentials are read again; limits of "
        "the upstream registry are respected. Of a rule that selects tags, list these, and refresh what it selects. "
        "Interrupted, the command leaves the refresh running.",
        "refresh mirror/python:3.13",
        "refresh mirror/python",
        "refresh mirror/python:3.13 --no-wait",
        failed="Failure, or the mirror is neither fresh nor held back by its rule in the end",
    )
    parser.add_argument(
        "subject",
        metavar="NAME",
        type=parsed_by(_parse_subject),
        help="REPOSITORY:TAG as in Amazon ECR, or the image's address there; REPOSITORY for the tags that its rule "
        "selects, or a listing as `status` names it",
    )
    parser.add_argument("--no-wait", action="store_true", help="Return as soon as the check is queued")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_parse_timeout,
        default=3600,
        help="Follow for so long at most (default: 3600); the refresh goes on afterwards",
    )
    add_stack_options(parser)
    add_rules_option(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command against the deployed stack."""
    with deployed_stack(arguments) as stack:
        return request_refresh(arguments, stack)


def request_refresh(
    arguments: argparse.Namespace,
    stack: DeployedStack,
    clock: Clock = now,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Queue the check of a mirror, or the listing of a rule's tags, by an active rule, and follow it."""
    named: NamedImage = arguments.subject
    if _is_listing(named):
        return _request_listing(arguments, stack, clock, sleep)
    name = parse_mirror_name(named.text)
    rules = stack.rules(arguments.rules)
    mirror = rules.find(name.repository, name.tag)
    if mirror is None:
        raise ConfigError(f"no rule selects {name}; run `pullahead why {name}`, or `pullahead status` for all mirrors")
    _require_active(mirror.rule, rules, stack)
    request = CheckRequest(reason="manual", repository=name.repository, tags=(name.tag,), asked_at=clock())
    stack.queue.send([request])
    document = {"mirror": str(name), "upstream": str(mirror.upstream), "asked_at": request.asked_at}
    if arguments.no_wait:
        write_result(arguments, f"queued a check of {name}; it is refreshed from {mirror.upstream} if stale", document)
        return DONE
    report: Callable[[str], None] = _ignore if arguments.quiet else say
    report(f"queued a check of {name}; it is refreshed from {mirror.upstream} if stale")
    follower = RefreshFollower(stack, name, request.asked_at, report, clock, sleep)
    with said_if_interrupted(f"the check and the refresh of {name} go on; see `pullahead why {name}`"):
        ended = follower.follow(timedelta(seconds=arguments.timeout))
    if arguments.json:
        write_document(document | _document(ended))
    if not ended.is_done:
        say(ended.text)
    elif not arguments.json and not arguments.quiet:
        write_text(ended.text)
    return DONE if ended.is_done else FAILED


def _require_active(rule: str, rules: Rules, stack: DeployedStack) -> None:
    if rule in stack.pauses.paused_rules():
        raise ConfigError(f"rule {rule} is paused; run `pullahead resume {rule}` first")
    if rule in rules.skipped:
        raise ConfigError(f"rule {rule} is skipped: {rules.skipped[rule]}")


def _request_listing(
    arguments: argparse.Namespace, stack: DeployedStack, clock: Clock, sleep: Callable[[float], None]
) -> int:
    """Queue the listing of a rule, and follow it and the checks of the tags that it selects."""
    rules = stack.rules(arguments.rules)
    rule = _listing_rule(arguments.subject, rules, stack)
    _require_active(rule.name, rules, stack)
    key, asked_at = rule_key(rule), clock()
    declared = rules.named(rule.name)
    found = str(rule.upstream) if declared is not None and declared.is_namespace and not rule.is_namespace else None
    is_alone = found is None and not rule.is_namespace
    named = rule.tags.names if is_alone else ()  # a listing queues these of a namespace only
    checks = [
        CheckRequest("manual", rule.repository, named[start : start + MAX_TAGS_PER_CHECK], asked_at)
        for start in range(0, len(named), MAX_TAGS_PER_CHECK)
    ]
    stack.queue.send([ListRequest(rule=rule.name, asked_at=asked_at, upstream=found, manual=True), *checks])
    document: dict[str, Any] = {"listing": str(key), "upstream": str(rule.upstream), "asked_at": asked_at}
    queued = f"queued a listing of {rule.upstream}; what rule {rule.name} selects is refreshed if stale"
    if arguments.no_wait:
        write_result(arguments, queued, document)
        return DONE
    report: Callable[[str], None] = _ignore if arguments.quiet else say
    report(queued)
    until = asked_at + timedelta(seconds=arguments.timeout)
    with said_if_interrupted(f"the listing and what follows from it go on; see `pullahead why '{key}'`"):
        record = _follow_listing(stack, key, asked_at, min(until, asked_at + _CHECKED_WITHIN), clock, sleep)
        problem = _problem_of(key, record)
        tags = () if problem or record is None or rule.is_namespace else (*rule.tags.names, *record.followed)
        if not problem:
            what = "repositories" if rule.is_namespace else "tags"
            report(f"listed: {len(record.followed) if record is not None else 0} {what} selected")
        ends: dict[str, Ended] = {}
        for tag in dict.fromkeys(tags):
            name = MirrorKey(rule.repository, tag)
            ends[str(name)] = RefreshFollower(stack, name, asked_at, report, clock, sleep).follow(until - asked_at)
    if arguments.json:
        selected = list(record.followed) if record is not None else []
        ended = [{"mirror": name, **_document(end)} for name, end in ends.items()]
        write_document(document | {"selected": selected, "mirrors": ended, "error": problem or None})
    for end in ends.values():
        if not end.is_done:
            say(end.text)
        elif not arguments.json and not arguments.quiet:
            write_text(end.text)
    if problem:
        say(problem)
    elif rule.is_namespace and not arguments.json and not arguments.quiet:
        write_text(f"{key}: each repository is listed, and what is selected there refreshed if stale")
    return FAILED if problem or not all(end.is_done for end in ends.values()) else DONE


def _listing_rule(named: NamedImage, rules: Rules, stack: DeployedStack) -> Rule:
    """Find the one rule that is named and whose tags are listed. Raises ConfigError."""
    found = SubjectFinder(rules, stack.records.load, stack.records.load_one)(named).rules
    listed = [rule for rule in found if needs_listing(rule) and rule.on_demand is None]
    if len(listed) == 1:
        return listed[0]
    if listed:
        names = ", ".join(f"'{rule_key(rule)}'" for rule in listed)
        raise ConfigError(f"several rules publish into {named.text}; name one of {names}")
    if any(rule.on_demand is not None for rule in found):
        raise ConfigError(f"{named.text} follows what is pulled: there is nothing to list; name a tag")
    if found:
        raise ConfigError(f"the rules for {named.text} name their tags: there is nothing to list; name a tag")
    raise ConfigError(f"no rule publishes into {named.text}; run `pullahead status` for all mirrors")


def _follow_listing(
    stack: DeployedStack,
    key: RuleKey,
    asked_at: datetime,
    until: datetime,
    clock: Clock,
    sleep: Callable[[float], None],
) -> RuleRecord | None:
    """Wait until the listing has been made; None if it was not in time. Raises: StorageError."""
    while clock() < until:
        record = stack.records.load_one(key)
        if isinstance(record, RuleRecord) and record.manual is not None and record.manual.asked_at >= asked_at:
            return record
        sleep(_POLL_SECONDS)
    return None


def _problem_of(key: RuleKey, record: RuleRecord | None) -> str:
    if record is None:
        return (
            f"the listing for {key} has not run in time: a limit of upstream defers it, or check_freshness fails; see "
            "its log and `pullahead dead-letters list`"
        )
    if not record.error:
        return ""
    return f"{meaning_of(record)}: {record.error.rstrip('.')}; what was selected before is checked all the same"


class RefreshFollower:
    """Follows a requested check, and the refresh that it starts, by the mirror's record.

    The execution and its plan are only looked at for progress, where that is permitted.
    """

    def __init__(
        self,
        stack: DeployedStack,
        name: MirrorKey,
        asked_at: datetime,
        report: Callable[[str], None],
        clock: Clock,
        sleep: Callable[[float], None],
    ) -> None:
        self._stack, self._name, self._asked_at = stack, name, asked_at
        self._report, self._clock, self._sleep = report, clock, sleep
        self._reported, self._reported_at = "", asked_at
        self._is_checked = False
        self._planned: set[str] = set()
        self._execution_ended_at: datetime | None = None
        self._sees_executions = True

    def follow(self, timeout: timedelta) -> Ended:
        """Wait until the check, and then the refresh, has ended. Raises: StorageError."""
        while self._clock() - self._asked_at < timeout:
            ended = self._look()
            if ended is not None:
                return ended
            self._sleep(_POLL_SECONDS)
        what = "refresh" if self._is_checked else "check"
        return Ended(f"the {what} of {self._name} has not ended after {span_text(timeout)}; it goes on", is_done=False)

    def _look(self) -> Ended | None:
        record = self._stack.records.load([self._name]).get(self._name)
        note = record.manual if record is not None else None
        if record is None or note is None or note.asked_at < self._asked_at:
            return self._wait_for_check()
        if not note.started:
            return self._settled(record) or Ended(
                f"{self._name} is {record.state.value}: {note.result.rstrip('.')}", is_done=False, record=record
            )
        if not self._is_checked:
            self._is_checked = True
            self._report(f"checked: {note.result}")
        return self._end_of_refresh(record, note) or self._end_of_execution(record)

    def _wait_for_check(self) -> Ended | None:
        if self._clock() - self._asked_at < _CHECKED_WITHIN:
            self._say("waiting for the check")
            return None
        text = (
            f"the check of {self._name} has not run for {span_text(_CHECKED_WITHIN)}: a limit of upstream defers it, "
            "or check_freshness fails; see its log and `pullahead dead-letters list`"
        )
        return Ended(text, is_done=False)

    def _settled(self, record: MirrorRecord) -> Ended | None:
        if record.state not in ON_TIME:
            return None
        waits = f"; {record.waiting.text}" if record.waiting is not None and not record.waiting.reported else ""
        return Ended(f"{self._name} is {record.state.value}: {_serves(record)}{waits}", is_done=True, record=record)

    def _end_of_refresh(self, record: MirrorRecord, note: ManualCheck) -> Ended | None:
        last, failure = record.last_refresh, record.failure
        # Only moments of the stack are compared: the clock of this machine may be another.
        if last is not None and (last.ended_at >= note.at or last.execution.endswith(f":{_name_of(record)}")):
            took = span_text(timedelta(seconds=last.seconds))
            text = f"refreshed {self._name} from {record.upstream}: {_serves(record)}"
            return Ended(f"{text}; {size_text(last.bytes_copied)} copied in {took}", True, record, last)
        if failure is not None:
            retry = f"retried in {span_text(failure.retry_at - self._clock())}"
            text = f"the refresh of {self._name} failed: {failure.text.rstrip('.')}; {retry}"
            return Ended(text, is_done=False, record=record)
        return self._settled(record)

    def _end_of_execution(self, record: MirrorRecord) -> Ended | None:
        """Report how far the execution is; return that it ended without an outcome, once that is certain."""
        name = _name_of(record)
        state = self._state_of(name)
        if state is StartResult.RUNNING:
            self._report_plan(name)
            self._say("copying")
        elif state is None:
            self._say("waiting for a slot: other refreshes run" if self._sees_executions else "waiting for the refresh")
        elif self._execution_ended_at is None:
            self._execution_ended_at = self._clock()
        elif self._clock() - self._execution_ended_at >= _RECORDED_WITHIN:
            text = f"the refresh of {self._name} ended without an outcome: {meaning_of(record)}"
            return Ended(f"{text}; see execution {name} of the refresh state machine", is_done=False, record=record)
        return None

    def _state_of(self, name: str) -> StartResult | None:
        if not self._sees_executions:
            return None
        try:
            return self._stack.refreshes.state_of(name)
        except StorageError:  # not permitted, or for now: the record tells how it ends
            self._sees_executions = False
            return None

    def _report_plan(self, name: str) -> None:
        """Report once what is to be copied."""
        if name in self._planned:
            return
        try:
            plan = msgspec.json.decode(self._stack.plans.read(plan_key(name)), type=CopyPlan)
        except (StorageError, msgspec.DecodeError):  # it is not planned yet, or may not be read
            return
        self._planned.add(name)
        blobs = count_text(sum(map(len, plan.units)), "blob")
        self._report(f"{size_text(plan.bytes_missing)} to copy in {blobs}; ECR has {size_text(plan.bytes_present)}")

    def _say(self, what: str) -> None:
        """Report what is going on, when that changes and every ten seconds."""
        at = self._clock()
        if what == self._reported and at - self._reported_at < _REPORT_EVERY:
            return
        self._report(f"{what}, {span_text(at - self._asked_at)}")
        self._reported, self._reported_at = what, at


def _name_of(record: MirrorRecord) -> str:
    """Name the execution of the refresh that a record wants."""
    digest = record.upstream_digest or _NO_DIGEST  # a refresh has one
    return execution_name(record.key, digest, record.episode, record.platforms)


def _serves(record: MirrorRecord) -> str:
    return f"ECR serves {record.published_digest}" if record.published_digest is not None else meaning_of(record)


def _document(ended: Ended) -> dict[str, Any]:
    record, last = ended.record, ended.refresh
    return {
        "state": record.state if record is not None else None,
        "digest": record.published_digest if record is not None else None,
        "refreshed": last is not None,
        "bytes_copied": last.bytes_copied if last is not None else 0,
        "seconds": last.seconds if last is not None else None,
        "execution": last.execution if last is not None else None,
        "error": None if ended.is_done else ended.text,
    }


def _parse_subject(text: str) -> NamedImage:
    named = parse_named_image(text)
    if not _is_listing(named):
        parse_mirror_name(text)  # of anything else no mirror is told
    return named


def _is_listing(named: NamedImage) -> bool:
    return bool(named.rule) or (named.tag is None and named.digest is None)


def _parse_timeout(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_TIMEOUT_SECONDS:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a number of seconds from 1 to {_MAX_TIMEOUT_SECONDS}")
    return int(text)


def _ignore(_text: str) -> None:
    """Report nothing."""
