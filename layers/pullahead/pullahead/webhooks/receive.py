"""Take a webhook: who calls, what is named, which rules follow it; then one check, and nothing else.

In this order, so that a stranger costs nothing: size, sender, secret, payload, rules, replay, and only then the windows
and the queue. No registry is ever asked here, and of the body only names are taken that a rule follows already.

The secrets of senders of webhooks, asked for seldom: whoever calls must not make us ask AWS each time.
"""

import threading
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from pullahead.checks.ports import CheckQueue, EventWindows, WindowDecision
from pullahead.clock import Clock
from pullahead.errors import ConfigError, StorageError
from pullahead.messages import CheckRequest, ListRequest, Queued
from pullahead.oci import Reference
from pullahead.rules.mirror_key import RecordKey
from pullahead.rules.model import Rules
from pullahead.rules.ports import ActiveRules
from pullahead.rules.upstream_index import FollowedTag, UpstreamIndex
from pullahead.webhooks.authentication import proves_any
from pullahead.webhooks.http import (
    RefusedWebhookError,
    WebhookOutcome,
    WebhookRequest,
    WebhookResponse,
    read_webhook_request,
    refuse,
    unavailable,
)
from pullahead.webhooks.ports import ReplayGuard, WebhookSecrets
from pullahead.webhooks.senders import Sender, sender_of

KEPT_FOR = timedelta(minutes=5)
AGAIN_AFTER = timedelta(minutes=1)
"""How soon they may be read again because a call does not fit: a secret may have been replaced just now."""
FAILED_FOR = timedelta(seconds=10)
"""How long a failure is the answer: a secret that is wrong must cost no more than one that is right."""


class SecretCache:
    """Keeps what was read; from any thread."""

    def __init__(self, secrets: WebhookSecrets, clock: Clock) -> None:
        self._secrets, self._clock = secrets, clock
        self._lock = threading.Lock()
        self._known: tuple[bytes, ...] = ()
        self._asked_at: datetime | None = None
        self._failure: StorageError | ConfigError | None = None

    def get(self) -> tuple[bytes, ...]:
        """Give the secrets. Raises: StorageError where none were ever read; ConfigError."""
        return self._not_older_than(KEPT_FOR)

    def get_newer(self) -> tuple[bytes, ...]:
        """Give the secrets after a call did not fit those that `get` gave. Raises: as `get`."""
        return self._not_older_than(AGAIN_AFTER)

    def _not_older_than(self, age: timedelta) -> tuple[bytes, ...]:
        with self._lock:
            now = self._clock()
            kept_for = FAILED_FOR if self._failure is not None else age
            if self._asked_at is None or now - self._asked_at >= kept_for:
                self._ask(now)
            if self._failure is not None:
                raise self._failure.with_traceback(None)  # else every raise would make it longer
            return self._known

    def _ask(self, now: datetime) -> None:
        self._asked_at, self._failure = now, None
        try:
            self._known = self._secrets.read_webhook_secrets()
        except StorageError as error:
            self._failure = None if self._known else error  # what is known is good; it is asked for again as if read
        except ConfigError as error:
            self._failure = error


MAX_REFERENCES: Final = 100
MAX_FOLLOWS: Final = 100
"""How many mirrors and listings one call may wake; the schedule finds the others."""
_MAX_UNSENT: Final = 10_000


class ReceiveWebhook:
    """The use case, with the ports that it asks and acts by."""

    def __init__(
        self,
        rules: ActiveRules,
        secrets: SecretCache,
        windows: EventWindows,
        queue: CheckQueue,
        calls: ReplayGuard,
        clock: Clock,
    ) -> None:
        self._rules, self._secrets = rules, secrets
        self._windows, self._queue, self._calls, self._clock = windows, queue, calls, clock
        self._indexed: tuple[Rules, UpstreamIndex] | None = None
        self._unsent: set[RecordKey] = set()  # claimed, and then not queued: nobody else will look

    def __call__(self, event: object) -> WebhookResponse:
        """Answer the event of a function URL. Raises InvalidEventError where it is none."""
        sender = ""
        try:
            call = read_webhook_request(event)
            by = sender_of(call)
            sender = by.name
            return self._answer(call, by)._replace(sender=sender)
        except RefusedWebhookError as refusal:
            return refusal.answer._replace(sender=sender)
        except (StorageError, ConfigError) as error:
            return unavailable(error)._replace(sender=sender)

    def _answer(self, call: WebhookRequest, sender: Sender) -> WebhookResponse:
        now = self._clock()
        self._authenticate(call, sender, now)
        named = sender.read(call)
        if not named.references:
            return _ignored(named.ignored)
        followers = self._followers()
        references = named.references[:MAX_REFERENCES]
        follows = list({follow.key: follow for each in references for follow in followers.of(each)}.values())
        if not follows:
            return _not_followed(references, followers, sender)
        identity = sender.identify(call)
        if identity is not None and self._calls.is_known(identity, now):
            raise refuse(409, WebhookOutcome.REPLAYED, "this call was taken already")
        answer = self._wake(follows[:MAX_FOLLOWS], now)
        if identity is not None:  # only now, so that a call that failed may be sent again
            self._calls.remember(identity, now)
        left_out = len(named.references) - len(references) + len(follows[MAX_FOLLOWS:])
        return answer._replace(told={**answer.told, "left_to_the_schedule": left_out}) if left_out else answer

    def _authenticate(self, call: WebhookRequest, sender: Sender, now: datetime) -> None:
        known = self._secrets.get()
        proven = proves_any(call, sender.proofs, known)
        if not proven and (newer := self._secrets.get_newer()) != known:
            proven = proves_any(call, sender.proofs, newer)
        if not proven:
            raise refuse(401, WebhookOutcome.UNAUTHENTICATED, "the secret or the signature is not right")
        if not sender.is_timely(call, now):
            raise refuse(409, WebhookOutcome.REPLAYED, "the call was not signed within the last five minutes")

    def _followers(self) -> UpstreamIndex:
        """Index the rules, once for as long as they are the same."""
        rules = self._rules()
        if self._indexed is None or self._indexed[0] is not rules:
            self._indexed = (rules, UpstreamIndex(rules))
        return self._indexed[1]

    def _wake(self, follows: list[FollowedTag], now: datetime) -> WebhookResponse:
        """Claim the windows, and queue what is to be looked at now, and once more when the windows are over."""
        first, again, delay = list[FollowedTag](), list[FollowedTag](), 0
        try:
            for follow in follows:
                claimed = self._windows.claim(follow.key, now)
                if claimed.when is WindowDecision.RUN_NOW or follow.key in self._unsent:
                    first.append(follow)
                elif claimed.when is WindowDecision.RUN_LATER:
                    again.append(follow)
                    delay = max(delay, claimed.delay_seconds)
            self._send(first, now)
            self._send(again, now, delay)
        except StorageError:
            self._note_unsent([*first, *again])
            raise
        self._unsent.difference_update(_keys(first))
        merged = len(follows) - len(first)
        outcome = WebhookOutcome.ACCEPTED if first else WebhookOutcome.MERGED
        return WebhookResponse(
            202, outcome, {"checks": len(first), "merged": merged}, mirrors=tuple(map(str, _keys(first)))
        )

    def _send(self, follows: list[FollowedTag], now: datetime, delay: int = 0) -> None:
        if follows:
            self._queue.send(list(_requests(follows, now)), delay)

    def _note_unsent(self, follows: list[FollowedTag]) -> None:
        """Let the sender's next try be followed, though its windows are claimed: it must not merge into nothing."""
        if len(self._unsent) >= _MAX_UNSENT:
            self._unsent.clear()
        self._unsent.update(_keys(follows))


def _keys(follows: Iterable[FollowedTag]) -> tuple[RecordKey, ...]:
    return tuple(follow.key for follow in follows)


def _requests(follows: list[FollowedTag], now: datetime) -> Iterator[Queued]:
    """Write the messages: of one repository, the tags together."""
    tags: dict[tuple[str, str | None, str | None], list[str]] = {}
    for follow in follows:
        found = str(follow.found) if follow.found is not None else None
        if follow.by_listing:
            yield ListRequest(rule=follow.rule, asked_at=now, upstream=found)
        else:
            place = (follow.repository, follow.rule if found is not None else None, found)
            tags.setdefault(place, []).append(follow.tag)
    for (repository, rule, found), some in tags.items():
        yield CheckRequest(
            reason="webhook",
            repository=repository,
            tags=tuple(some),  # no more than one call may wake, which is no more than one check may have
            asked_at=now,
            rule=rule,
            upstream=found,
            settled=True,
        )


def _not_followed(references: tuple[Reference, ...], followers: UpstreamIndex, sender: Sender) -> WebhookResponse:
    if any(followers.knows(reference.repository) for reference in references):
        return _ignored("no rule follows this tag")
    text = "no rule follows this repository"
    if sender.repeats_refusals:
        return WebhookResponse(200, WebhookOutcome.UNKNOWN, {"ignored": text})
    raise refuse(404, WebhookOutcome.UNKNOWN, text)


def _ignored(why: str) -> WebhookResponse:
    return WebhookResponse(200, WebhookOutcome.IGNORED, {"ignored": why})
