"""Handle the messages of the checks queue: decode each once, and route it by what it asks for.

A message asks for a check of tags, for a listing of a rule's tags or for the start of waiting refreshes, or it is an
event of ECR that means one of these, or a finished scan.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from pullahead.checks.check import CheckMirrors, CheckResult
from pullahead.checks.ecr_events import AccountRegion, IgnoredEvent, read_ecr_event
from pullahead.checks.late_referrers import LookForReferrers
from pullahead.checks.listing import ListResult, ListTags
from pullahead.checks.prefetch import PrefetchedRecords
from pullahead.checks.pull_through_cache import CacheFailed, cache_failures_of, record_cache_result
from pullahead.checks.select import MirrorSelector
from pullahead.clock import Clock
from pullahead.errors import ConfigError, InvalidEventError, StorageError
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
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Rules

DecodedMessage = Queued | ScanFinished | IgnoredEvent | InvalidEventError
"""What a message asks for, or the error of decoding it."""

MessageResult = CheckResult | ListResult | StartedWaiting | CacheFailed | IgnoredEvent
"""One result of a message, for logs and metrics."""


def decode_message(body: str, home: AccountRegion) -> DecodedMessage:
    """Decode a message. Whoever handles an InvalidEventError raises it."""
    try:
        received = read_queued(body)
        return read_ecr_event(received, home) if isinstance(received, AwsEvent) else received
    except InvalidEventError as error:
        return error


class MessageDecoder:
    """Decodes the messages of a batch, and prefetches the records that its events will need."""

    def __init__(
        self, rules: Callable[[], Rules], records: PrefetchedRecords, select: MirrorSelector, home: AccountRegion
    ) -> None:
        self._rules, self._records, self._select, self._home = rules, records, select, home

    def __call__(self, bodies: Iterable[str]) -> Mapping[str, DecodedMessage]:
        """Decode messages, by their bodies. Records that cannot be read now are read by each message."""
        messages = {body: decode_message(body, self._home) for body in dict.fromkeys(bodies)}
        self._records.expect(())
        if len(messages) > 1:
            with suppress(ConfigError, StorageError):
                self._records.expect(self._mirrors_of_events(messages.values()))
        return messages

    def _mirrors_of_events(self, messages: Iterable[DecodedMessage]) -> Iterator[MirrorKey]:
        rules = self._rules()
        for message in messages:
            if isinstance(message, CheckRequest) and _is_event(message):
                yield from (mirror.key for mirror in self._select.named_by(message, rules))


class MessageHandler:
    """Handles one message at a time.

    `use_rules_of` makes the rules at least as new as a moment. `record_scan` records a finished scan.
    """

    def __init__(
        self,
        use_rules_of: Callable[[datetime], None],
        records: RecordStore,
        check_mirrors: CheckMirrors,
        list_tags: ListTags,
        look_for_referrers: LookForReferrers,
        refresh_queue: RefreshQueue,
        record_scan: Callable[[ScanFinished], object],
        clock: Clock,
    ) -> None:
        self._use_rules_of, self._records, self._check_mirrors = use_rules_of, records, check_mirrors
        self._look_for_referrers = look_for_referrers
        self._list_tags, self._refresh_queue, self._record_scan = list_tags, refresh_queue, record_scan
        self._clock = clock

    def __call__(self, message: DecodedMessage) -> Sequence[MessageResult]:
        """Handle one message.

        Raises: InvalidEventError for a message that could not be decoded; ConfigError, StorageError, ConflictError and
        what ECR raises where nothing was done.
        """
        if isinstance(message, InvalidEventError):
            raise message
        if isinstance(message, IgnoredEvent):
            return [message]
        if isinstance(message, ScanFinished):
            self._record_scan(message)
            return []
        if isinstance(message, StartWaitingRequest):
            return [self._refresh_queue.start_waiting(message.ended, count=not message.ended)]
        if isinstance(message, ListRequest):
            self._use_rules_of(message.asked_at)  # the sender may know of a rule that was found just now
            result = self._list_tags(message)
            return [] if result is None else [result]
        if isinstance(message, ReferrerNamed):
            return self._with_waiting(self._look_for_referrers.named(message))
        return self._check(message)

    def _check(self, request: CheckRequest) -> Sequence[MessageResult]:
        if not _is_event(request):
            self._use_rules_of(request.asked_at)
        if request.reason == "referrers":
            return self._with_waiting(self._look_for_referrers(request))
        results = self._check_mirrors(request)
        if request.reason == "cache":
            record_cache_result(request, [result.mirror for result in results], self._records, self._clock())
        return [*self._with_waiting(results), *cache_failures_of(request)]

    def _with_waiting(self, results: Sequence[CheckResult]) -> list[MessageResult]:
        """Start waiting refreshes where one of the results has to wait."""
        waits = any(result.started is StartResult.WAITING for result in results)
        return [*results, *([self._refresh_queue.start_waiting()] if waits else [])]


def _is_event(request: CheckRequest) -> bool:
    return request.reason not in ("schedule", "manual")
