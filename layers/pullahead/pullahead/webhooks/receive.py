"""Receive a webhook: authenticate it, find the mirrors that follow the tags it names, and queue their checks.

The order keeps requests of strangers cheap: size, sender, secret, payload, rules, replay, the limit of the sender, and
only then the event windows and the queue. No registry is asked, and a payload can only name tags that a rule already
follows.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pullahead.caching import Expiring, TtlCache
from pullahead.checks.ports import CheckQueue, EventWindows, WindowDecision
from pullahead.clock import Clock
from pullahead.errors import ConfigError, StorageError
from pullahead.messages import CheckRequest, ListRequest, Queued, ReferrerNamed
from pullahead.oci import Reference
from pullahead.oci.referrers import subject_of_tag
from pullahead.rules.mirror_key import RecordKey
from pullahead.rules.model import Rules
from pullahead.rules.ports import ActiveRules
from pullahead.rules.upstream_index import FollowedTag, UpstreamIndex
from pullahead.webhooks.authentication import proves_any
from pullahead.webhooks.http import (
    RETRY_AFTER_SECONDS,
    RefusedWebhookError,
    WebhookOutcome,
    WebhookRequest,
    WebhookResponse,
    read_webhook_request,
    refuse,
    unavailable,
)
from pullahead.webhooks.ports import CheckBudget, ReplayGuard, SecretSet, WebhookSecrets
from pullahead.webhooks.senders import Sender, sender_of

SECRETS_LIFETIME: Final = timedelta(minutes=5)
SECRETS_RELOAD_INTERVAL: Final = timedelta(minutes=1)
"""How soon secrets are read again because a request does not match: they may have been rotated just now."""
FAILURE_LIFETIME: Final = timedelta(seconds=10)
"""How long a failure is cached: a request with a wrong secret must cost no more than one with the right one."""


class _ReadSecrets(NamedTuple):
    result: SecretSet | StorageError | ConfigError
    at: datetime


class SecretCache:
    """Caches the webhook secrets, so that a caller cannot trigger an AWS call per request. For several threads."""

    def __init__(self, secrets: WebhookSecrets, clock: Clock) -> None:
        self._secrets, self._clock = secrets, clock
        self._cache = TtlCache[None, _ReadSecrets, datetime]()
        self._last_good: SecretSet | None = None

    def get(self) -> SecretSet:
        """Return the secrets. Raises: StorageError if none were ever read; ConfigError."""
        now = self._clock()
        result = self._cache.get_or_load(None, now, lambda: self._read(now)).result
        if isinstance(result, Exception):
            raise result.with_traceback(None)  # else every raise would make it longer
        return result

    def get_newer(self) -> SecretSet:
        """Return the secrets after a request did not match those that `get` returned. Raises: as `get`."""
        now = self._clock()
        cached = self._cache.get(None, now)
        if cached is not None and now - cached.at >= SECRETS_RELOAD_INTERVAL:
            self._cache.discard(None, cached)
        return self.get()

    def _read(self, now: datetime) -> Expiring[_ReadSecrets, datetime]:
        try:
            self._last_good = self._secrets.read_webhook_secrets()
        except (StorageError, ConfigError) as error:
            if isinstance(error, ConfigError) or self._last_good is None:
                return Expiring(_ReadSecrets(error, now), now + FAILURE_LIFETIME)
        return Expiring(_ReadSecrets(self._last_good, now), now + SECRETS_LIFETIME)


MAX_REFERENCES: Final = 100
MAX_FOLLOWED: Final = 100
"""How many mirrors and listings one request may have checked; the schedule checks the others."""
MAX_CHECKS_A_MINUTE: Final = 600
"""Of one kind of sender. A check is one request upstream at least; CI that pushes hundreds of tags stays below."""
_MAX_UNSENT: Final = 10_000


class ReceiveWebhook:
    """Receives webhooks."""

    def __init__(
        self,
        rules: ActiveRules,
        secrets: SecretCache,
        windows: EventWindows,
        queue: CheckQueue,
        replays: ReplayGuard,
        budget: CheckBudget,
        clock: Clock,
    ) -> None:
        self._rules, self._secrets = rules, secrets
        self._windows, self._queue, self._replays, self._budget, self._clock = windows, queue, replays, budget, clock
        self._indexed: tuple[Rules, UpstreamIndex] | None = None
        self._unsent: set[RecordKey] = set()  # their windows stay claimed, but their checks were not queued

    def __call__(self, event: object) -> WebhookResponse:
        """Respond to the event of a function URL. Raises InvalidEventError if it is none."""
        name = ""
        try:
            request = read_webhook_request(event)
            sender = sender_of(request)
            name = sender.name
            return self._respond(request, sender)._replace(sender=name)
        except RefusedWebhookError as refusal:
            return refusal.response._replace(sender=name)
        except (StorageError, ConfigError) as error:
            return unavailable(error)._replace(sender=name)

    def _respond(self, request: WebhookRequest, sender: Sender) -> WebhookResponse:
        now = self._clock()
        self._authenticate(request, sender, now)
        named = sender.read(request)
        if not named.references:
            return _ignored(named.ignored)
        index = self._index()
        references = named.references[:MAX_REFERENCES]
        followed = list({each.key: each for reference in references for each in index.of(reference)}.values())
        named_referrers = _referrers_named(references, index, now)
        if not followed and not named_referrers:
            return _not_followed(references, index, sender)
        identity = sender.identify(request)
        if identity is not None and self._replays.is_known(identity, now):
            raise refuse(409, WebhookOutcome.REPLAYED, "this request was accepted before")
        self._take_from_budget(sender, len(named_referrers), now)
        response = self._queue_checks(sender, followed[:MAX_FOLLOWED], now) if followed else _NO_CHECKS
        if named_referrers:
            self._queue.send(named_referrers)
            response = response._replace(body={**response.body, "referrers": len(named_referrers)})
        if identity is not None:  # only now, so that a request that failed may be retried
            self._replays.remember(identity, now)
        left_out = len(named.references) - len(references) + len(followed[MAX_FOLLOWED:])
        return response._replace(body={**response.body, "left_to_the_schedule": left_out}) if left_out else response

    def _authenticate(self, request: WebhookRequest, sender: Sender, now: datetime) -> None:
        secrets = self._secrets.get().of(sender.name)
        is_proven = proves_any(request, sender.proofs, secrets)
        if not is_proven and (newer := self._secrets.get_newer().of(sender.name)) != secrets:
            is_proven = proves_any(request, sender.proofs, newer)
        if not is_proven:
            raise refuse(401, WebhookOutcome.UNAUTHENTICATED, "the secret or signature is wrong")
        if not sender.is_timely(request, now):
            raise refuse(409, WebhookOutcome.REPLAYED, "the request was not signed within the last five minutes")

    def _index(self) -> UpstreamIndex:
        """Index the rules, once for as long as they are the same."""
        rules = self._rules()
        if self._indexed is None or self._indexed[0] is not rules:
            self._indexed = (rules, UpstreamIndex(rules))
        return self._indexed[1]

    def _take_from_budget(self, sender: Sender, checks: int, now: datetime) -> None:
        """Count checks that are about to be queued. What is merged is none."""
        if checks and not self._budget.take(sender.name, checks, now):
            raise _limited(sender)

    def _queue_checks(self, sender: Sender, followed: list[FollowedTag], now: datetime) -> WebhookResponse:
        """Claim the event windows, and queue checks: some now, some for when their windows end.

        Where nothing can be queued, the windows are released: the sender may repeat its request to another process.
        """
        if self._budget.is_spent(sender.name, now):
            raise _limited(sender)  # before windows are claimed and released, which costs two writes for each tag
        first, again, delay = list[FollowedTag](), list[FollowedTag](), 0
        try:
            for each in followed:
                claimed = self._windows.claim(each.key, now)
                if claimed.when is WindowDecision.RUN_NOW or each.key in self._unsent:
                    first.append(each)
                elif claimed.when is WindowDecision.RUN_LATER:
                    again.append(each)
                    delay = max(delay, claimed.delay_seconds)
            self._take_from_budget(sender, len(first) + len(again), now)
            self._send(first, sender.name, now)
            self._send(again, sender.name, now, delay)
        except (StorageError, RefusedWebhookError):
            self._release([*first, *again], now)
            raise
        self._unsent.difference_update(_keys(first))
        merged = len(followed) - len(first)
        outcome = WebhookOutcome.ACCEPTED if first else WebhookOutcome.MERGED
        return WebhookResponse(
            202, outcome, {"checks": len(first), "merged": merged}, mirrors=tuple(map(str, _keys(first)))
        )

    def _send(self, followed: list[FollowedTag], sender: str, now: datetime, delay: int = 0) -> None:
        if followed:
            self._queue.send(list(_messages(followed, sender, now)), delay)

    def _release(self, followed: list[FollowedTag], now: datetime) -> None:
        """Release the windows of checks that could not be queued, so that the sender's retry is not merged into them.

        Where that fails, too, at least this process does not merge it.
        """
        for key in _keys(followed):
            try:
                self._windows.release(key, now)
            except StorageError:
                if len(self._unsent) >= _MAX_UNSENT:
                    self._unsent.clear()
                self._unsent.add(key)


def _limited(sender: Sender) -> RefusedWebhookError:
    text = f"{sender.name} asks for more than {MAX_CHECKS_A_MINUTE} checks a minute; retry later"
    return refuse(429, WebhookOutcome.LIMITED, text, **{"retry-after": str(RETRY_AFTER_SECONDS)})


_NO_CHECKS = WebhookResponse(202, WebhookOutcome.ACCEPTED, {"checks": 0, "merged": 0})


def _referrers_named(references: Iterable[Reference], index: UpstreamIndex, now: datetime) -> list[ReferrerNamed]:
    """Make the messages for tags that keep what belongs to a digest, of repositories that a rule follows."""
    named = [
        ReferrerNamed(upstream=str(reference.repository), subject=subject, asked_at=now)
        for reference in references
        if (subject := subject_of_tag(reference.tag or "")) is not None and index.knows(reference.repository)
    ]
    return list(dict.fromkeys(named))


def _keys(followed: Iterable[FollowedTag]) -> tuple[RecordKey, ...]:
    return tuple(each.key for each in followed)


def _messages(followed: list[FollowedTag], sender: str, now: datetime) -> Iterator[Queued]:
    """Make the messages; the tags of one repository share one."""
    tags: dict[tuple[str, str | None, str | None], list[str]] = {}
    for each in followed:
        found = str(each.found) if each.found is not None else None
        if each.by_listing:
            yield ListRequest(rule=each.rule, asked_at=now, upstream=found, sender=sender)
        else:
            group = (each.repository, each.rule if found is not None else None, found)
            tags.setdefault(group, []).append(each.tag)
    for (repository, rule, found), some in tags.items():
        yield CheckRequest(
            reason="webhook",
            repository=repository,
            tags=tuple(some),  # at most MAX_FOLLOWED, which is as many as one check may have
            asked_at=now,
            rule=rule,
            upstream=found,
            settled=True,
            sender=sender,
        )


def _not_followed(references: tuple[Reference, ...], index: UpstreamIndex, sender: Sender) -> WebhookResponse:
    if any(index.knows(reference.repository) for reference in references):
        return _ignored("no rule follows this tag")
    text = "no rule follows this repository"
    if sender.repeats_refusals:
        return WebhookResponse(200, WebhookOutcome.UNKNOWN, {"ignored": text})
    raise refuse(404, WebhookOutcome.UNKNOWN, text)


def _ignored(why: str) -> WebhookResponse:
    return WebhookResponse(200, WebhookOutcome.IGNORED, {"ignored": why})
