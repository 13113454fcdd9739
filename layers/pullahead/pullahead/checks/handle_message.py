"""Handle the messages of the checks queue: decode each once, and route it by what it asks for.

A message asks for a check of tags, for a listing of a rule's tags or for the start of waiting refreshes, or it is an
event of ECR that means one of these, or a finished scan.
"""

from collections.abc import Callable, Iterable, MutableMapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeGuard

from pullahead.checks.check import Checked, CheckMirrors, CheckResult
from pullahead.checks.ecr_events import AccountRegion, IgnoredEvent, read_ecr_event
from pullahead.checks.late_referrers import SECONDS_OF_LOOK, LookForReferrers
from pullahead.checks.listing import Listing, ListResult, ListTags
from pullahead.checks.ports import CheckQueue
from pullahead.checks.pull_through_cache import CacheFailed, cache_failures_of, record_cache_result
from pullahead.checks.put_back import LeftToSchedule, PutBack, put_back_look
from pullahead.checks.scans import MayWait
from pullahead.checks.upstream_pool import Backoffs, RemainingSeconds, UpstreamPool, without_end
from pullahead.clock import Clock
from pullahead.errors import PullaheadError
from pullahead.messages import (
    AwsEvent,
    CheckRequest,
    ListRequest,
    Queued,
    ReferrerNamed,
    ScanFinished,
    StartWaitingRequest,
    read_queued,
)
from pullahead.mirrors.store import RecordStore
from pullahead.refresh.ports import StartResult
from pullahead.refresh.queue import RefreshQueue, StartedWaiting

DecodedMessage = Queued | ScanFinished | IgnoredEvent | Exception
"""What a message asks for, or the error of decoding it."""

MessageResult = CheckResult | ListResult | StartedWaiting | CacheFailed | IgnoredEvent | PutBack | LeftToSchedule
"""One result of a message, for logs and metrics."""


def decode_message(body: str, home: AccountRegion) -> DecodedMessage:
    """Decode a message. Whoever handles an error raises it."""
    try:
        received = read_queued(body)
        return read_ecr_event(received, home) if isinstance(received, AwsEvent) else received
    except Exception as error:  # noqa: BLE001 - whatever one message does, the others of its batch are handled
        return error


class MessageOutcome(NamedTuple):
    """What became of a message: its results, and the error for which it is to be retried."""

    results: Sequence[MessageResult] = ()
    error: Exception | None = None


class MessageHandler:
    """Handles the messages of a batch together: each fails alone, and what there is no time for is put back.

    `use_rules_of` makes the rules at least as new as a moment. `record_scan` records a finished scan, and names the
    checks that it causes; what it reads of a repository is shared by the scans of a batch.
    """

    def __init__(
        self,
        use_rules_of: Callable[[datetime], None],
        records: RecordStore,
        check_mirrors: CheckMirrors,
        list_tags: ListTags,
        look_for_referrers: LookForReferrers,
        refresh_queue: RefreshQueue,
        record_scan: Callable[[ScanFinished, MutableMapping[str, MayWait]], Iterable[CheckRequest | LeftToSchedule]],
        queue: CheckQueue,
        clock: Clock,
    ) -> None:
        self._use_rules_of, self._records, self._queue = use_rules_of, records, queue
        self._check_mirrors, self._list_tags, self._look_for_referrers = check_mirrors, list_tags, look_for_referrers
        self._refresh_queue, self._record_scan, self._clock = refresh_queue, record_scan, clock
        self._backoffs = Backoffs()
        self._backoffs_of_looks = Backoffs()  # a registry may list referrers slowly, and answer checks at once

    def __call__(
        self, messages: Sequence[DecodedMessage], remaining_seconds: RemainingSeconds = without_end
    ) -> list[MessageOutcome]:
        """Handle messages; the outcomes are in their order. `remaining_seconds` is the time of the function.

        If something unforeseen stops the batch, each message is handled alone: what is done twice changes nothing.
        """
        try:
            return self._handle_together(messages, remaining_seconds)
        except Exception as error:  # noqa: BLE001 - it fails the message that causes it
            if len(messages) == 1:
                return [MessageOutcome(error=error)]
            return [self([message], remaining_seconds)[0] for message in messages]

    def _handle_together(
        self, messages: Sequence[DecodedMessage], remaining_seconds: RemainingSeconds
    ) -> list[MessageOutcome]:
        pool = self.make_pool(self._backoffs, remaining_seconds)
        outcomes, listings = dict[int, MessageOutcome](), dict[int, Listing]()
        may_wait: dict[str, MayWait] = {}  # for a scan, by repository
        checks, looks = dict[int, CheckRequest](), dict[int, CheckRequest | ReferrerNamed]()
        for number, message in enumerate(messages):
            if isinstance(message, ListRequest):
                self._use_rules_of(message.asked_at)  # the sender may know of a rule that was found just now
                listings[number] = self._list_tags.begin(message, pool)
            elif isinstance(message, ReferrerNamed) or _is_look(message):
                looks[number] = message
            elif isinstance(message, CheckRequest):
                checks[number] = message
            else:
                outcomes[number] = _outcome(partial(self._handle_alone, message, may_wait))
        outcomes |= zip(checks, self._check(list(checks.values()), pool), strict=True)
        pool.run()
        for number, listing in listings.items():
            results = [each for each in (listing.result, listing.put_back) if each is not None]
            outcomes[number] = MessageOutcome(results, listing.error)
        for number, look in looks.items():  # they take many requests, and nobody waits for them
            outcomes[number] = _outcome(partial(self._look, look, remaining_seconds))
        return [outcomes[number] for number in range(len(messages))]

    def make_pool(self, backoffs: Backoffs, remaining_seconds: RemainingSeconds) -> UpstreamPool:
        """Make what asks registries for one batch."""
        return UpstreamPool(self._clock, backoffs, remaining_seconds)

    def _handle_alone(self, message: DecodedMessage, may_wait: MutableMapping[str, MayWait]) -> Sequence[MessageResult]:
        if isinstance(message, Exception):
            raise message
        if isinstance(message, IgnoredEvent):
            return [message]
        if isinstance(message, ScanFinished):
            return self._after_scan(message, may_wait)
        if isinstance(message, StartWaitingRequest):
            return [self._start_waiting(message.ended, count=not message.ended and not message.again)]
        return []

    def _after_scan(self, finished: ScanFinished, may_wait: MutableMapping[str, MayWait]) -> Sequence[MessageResult]:
        left = []
        for each in self._record_scan(finished, may_wait):
            if isinstance(each, CheckRequest):
                self._queue.send([each])
            else:
                left.append(each)
        return left

    def _look(
        self, request: CheckRequest | ReferrerNamed, remaining_seconds: RemainingSeconds
    ) -> Sequence[MessageResult]:
        if remaining_seconds() < SECONDS_OF_LOOK:
            return [self._look_later(request)]
        pool = self.make_pool(self._backoffs_of_looks, remaining_seconds)
        if isinstance(request, ReferrerNamed):
            looks = self._look_for_referrers.named(request, pool, remaining_seconds)
        else:
            looks = self._look_for_referrers(request, pool, remaining_seconds)
        left = [self._look_later(each) for each in looks.left]
        started = [self._start_waiting()] if any(map(_waits, looks.results)) else []
        return [*looks.results, *left, *looks.to_schedule, *started]

    def _start_waiting(self, ended: str = "", *, count: bool = False) -> StartedWaiting:
        started = self._refresh_queue.start_waiting(ended, count=count)
        if started.more:
            self._queue.send([StartWaitingRequest(again=True)])
        return started

    def _look_later(self, request: CheckRequest | ReferrerNamed) -> PutBack | LeftToSchedule:
        later = put_back_look(request, self._clock())
        return self._send(later) if isinstance(later, PutBack) else later

    def _check(self, requests: Sequence[CheckRequest], pool: UpstreamPool) -> list[MessageOutcome]:
        if not requests:
            return []
        for request in requests:
            if not _is_event(request):
                self._use_rules_of(request.asked_at)
        try:
            checked = self._check_mirrors.check(requests, pool)
        except PullaheadError as error:  # without rules, no check can be made
            return [MessageOutcome(error=error)] * len(requests)
        outcomes = [self._after(request, each) for request, each in zip(requests, checked, strict=True)]
        waiting = [number for number, outcome in enumerate(outcomes) if any(map(_waits, outcome.results))]
        if waiting:
            started = _outcome(lambda: [self._start_waiting()])
            for number in waiting[:1] if started.error is None else waiting:
                before = outcomes[number]
                outcomes[number] = MessageOutcome((*before.results, *started.results), before.error or started.error)
        return outcomes

    def _after(self, request: CheckRequest, checked: Checked) -> MessageOutcome:
        if checked.error is not None or any(result.error is not None for result in checked.results):
            return MessageOutcome(checked.results, checked.error)  # all of it is retried

        def finish() -> Sequence[MessageResult]:
            if request.reason == "cache":
                keys = [result.mirror for result in checked.results]
                record_cache_result(request, keys, self._records, self._clock())
            return [*cache_failures_of(request), *map(self._send, checked.put_back)]

        finished = _outcome(finish)
        return MessageOutcome((*checked.results, *finished.results), finished.error)

    def _send(self, put_back: PutBack) -> PutBack:
        self._queue.send([put_back.request], put_back.delay_seconds)
        return put_back


def _outcome(handle: Callable[[], Sequence[MessageResult]]) -> MessageOutcome:
    try:
        return MessageOutcome(handle())
    except Exception as error:  # noqa: BLE001 - it fails its message, which is retried
        return MessageOutcome(error=error)


def _waits(result: MessageResult) -> bool:
    return isinstance(result, CheckResult) and result.started is StartResult.WAITING


def _is_look(message: DecodedMessage) -> TypeGuard[CheckRequest]:
    return isinstance(message, CheckRequest) and message.reason == "referrers"


def _is_event(request: CheckRequest) -> bool:
    return request.reason not in ("schedule", "manual")
