"""How many requests a registry is sent: who waits, who is deferred, and for how long.

One state per registry and process, for the requests that we send there of our own accord. Wherever a registry leads us,
by a redirect, as its token service or by a manifest's URL, what is said of limits is said to that registry alone: it
has a state of its own for each such host. Otherwise a registry could lead us to others until these refuse us, and their
own mirrors would wait. Limits of a host that we also ask ourselves are kept by whoever leads us there, too.

What a host itself says comes first: Retry-After, and what is left of its limit. Its answers also set how many requests
are under way at once: the window is halved by 429 and 503, and widened slowly. Only registries that publish a rate are
kept to one from the beginning; any other host is asked as fast as it answers, within a generous rate, or the one that
the rules set. A request that cannot go in time fails with RateLimitedError.

The clock must go on while the process sleeps, as a Lambda function does between its invocations: limits last for
hours. Requests go in order of arrival, and no lock is held during a wait.

Sources: Docker documentation, "Pull usage and limits" (`ratelimit-remaining: 20;w=21600`); IETF draft "RateLimit header
fields for HTTP", versions 03 to 10; GitLab documentation, "Rate limits" (a moment for RateLimit-Reset); X-RateLimit-*.
"""

import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urlsplit

from pullahead.errors import DeferredError, RateLimitedError
from pullahead.mirrors.rate_limit_budget import RemainingQuota, retry_in_words
from pullahead.oci.reference import DOCKER_HUB
from pullahead.registry.errors import retry_after_seconds
from pullahead.registry.hosts import registry_at
from pullahead.registry.request import Request, first_of
from pullahead.registry.shared_rates import SharedRate, TakeRequests
from pullahead.rules.request_rates import Rate, rate_of

if TYPE_CHECKING:
    from pullahead.rules.model import RateLimit


_LONGEST_WAIT_SECONDS = 3600.0


class TokenBucket:
    """Lets requests go at a rate, after a burst. May be used by several threads.

    A turn is booked when it is asked for and slept until then, so that turns are taken in the order of their asking.
    It is the generic cell rate algorithm: one moment is all that is remembered.
    """

    def __init__(
        self, per_second: float, burst: int, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        if per_second <= 0 or burst < 1:
            raise ValueError(f"a bucket of {burst} at {per_second} a second lets nothing through")
        self._interval = 1.0 / per_second
        self._tolerance = (burst - 1) * self._interval
        self._clock, self._sleep = clock, sleep
        self._looked = clock()
        self._full_at = self._looked  # when the burst is whole again
        self._lock = threading.Lock()

    def wait(self, within: float) -> float | None:
        """Wait for a turn; if it would come only after `within` seconds, return when, and book nothing."""
        with self._lock:
            now = self._now()
            seconds = max(0.0, self._full_at - self._tolerance - now)
            if seconds > within:
                return seconds
            self._full_at = max(self._full_at, now) + self._interval
        if seconds:
            self._sleep(seconds)
        return None

    def _now(self) -> float:
        now = self._clock()
        if now < self._looked:  # the clock was put back: what was booked goes back with it
            self._full_at -= self._looked - now
        self._looked = now
        return now


class Slot:
    """A slot in a window, to be given back."""

    def __init__(self, size_age: int) -> None:
        self.size_age = size_age


class Window:
    """How many requests may be under way at once: halved when a registry is pressed too hard, and widened slowly.

    Additive increase, multiplicative decrease, as TCP's congestion avoidance (RFC 5681 section 3.1): one more for each
    windowful that went well. Complaints about requests that were sent before the last halving do not halve again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = float(most)
        self._halvings = 0
        self._under_way = 0
        self._waiting: deque[tuple[threading.Event, Slot]] = deque()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """How many may be under way now."""
        return int(self._size)

    def enter(self, within: float) -> Slot | None:
        """Wait for a slot; None if none becomes free within so many seconds."""
        with self._lock:
            if not self._waiting and self._under_way < int(self._size):
                self._under_way += 1
                return Slot(self._halvings)
            called, slot = threading.Event(), Slot(0)
            self._waiting.append((called, slot))
        if called.wait(min(within, _LONGEST_WAIT_SECONDS)):
            return slot
        with self._lock:
            if called.is_set():  # at the last moment
                return slot
            self._waiting.remove((called, slot))
            return None

    def leave(self, slot: Slot, *, went_well: bool | None) -> None:
        """Give a slot back; `went_well` is False if the registry complained, None if it did not answer."""
        with self._lock:
            self._under_way -= 1
            if went_well:
                self._size = min(float(self._most), self._size + 1.0 / self._size)
            elif went_well is False and slot.size_age == self._halvings:
                self._size = max(1.0, self._size / 2)
                self._halvings += 1
            self._call()

    def _call(self) -> None:
        while self._waiting and self._under_way < int(self._size):
            called, slot = self._waiting.popleft()
            slot.size_age = self._halvings
            self._under_way += 1
            called.set()


_MAX_SECONDS = 7 * 24 * 3600.0
_MOMENTS_FROM = 1_000_000_000.0  # a smaller number of seconds is a wait, a larger one a moment since 1970
_NUMBER = re.compile(r"\s*([0-9]{1,12})\s*(?=[;,]|$)")
_PAIRS = re.compile(r"\b([a-z]+)\s*=\s*([0-9]{1,12})\s*(?=[;,]|$)")


class RateLimitHeaders(NamedTuple):
    """How many requests of how many a registry still allows, and for how many seconds; None if it does not say."""

    remaining: int
    limit: int
    seconds: float | None = None


def read_reported(headers: Mapping[str, str], wall_time: float) -> RateLimitHeaders | None:
    """Read what an answer says of the limit; None if it says nothing that can be understood."""
    for prefix in ("RateLimit-", "X-RateLimit-"):
        remaining, limit = _first(headers.get(f"{prefix}Remaining")), _first(headers.get(f"{prefix}Limit"))
        if remaining is not None and limit:
            reset = _first(headers.get(f"{prefix}Reset"))
            window = _pairs(headers.get(f"{prefix}Remaining")) | _pairs(headers.get(f"{prefix}Limit"))
            return _reported(remaining, limit, window.get("w") if reset is None else reset, wall_time)
    return _read_combined(headers, wall_time)


def _read_combined(headers: Mapping[str, str], wall_time: float) -> RateLimitHeaders | None:
    said, policy = _pairs(headers.get("RateLimit")), _pairs(headers.get("RateLimit-Policy"))
    remaining, limit = said.get("r", said.get("remaining")), said.get("limit", policy.get("q"))
    if remaining is None or not limit:
        return None
    return _reported(remaining, limit, said.get("t", said.get("reset", policy.get("w"))), wall_time)


def _reported(remaining: int, limit: int, reset: int | None, wall_time: float) -> RateLimitHeaders:
    if reset is None:
        return RateLimitHeaders(min(remaining, limit), limit)
    seconds = reset - wall_time if reset >= _MOMENTS_FROM else float(reset)
    return RateLimitHeaders(min(remaining, limit), limit, min(max(seconds, 0.0), _MAX_SECONDS))


def _first(header: str | None) -> int | None:
    match = _NUMBER.match(header or "")
    return int(match[1]) if match else None


def _pairs(header: str | None) -> dict[str, int]:
    """Read parameters; of one given several times the first, which is the limit that is reached first."""
    return {name: int(value) for name, value in reversed(_PAIRS.findall((header or "").lower()))}


FOREVER = float("inf")

_MAX_REGISTRIES = 1000
_MAX_LED_TO = 20  # hosts to which one registry leads: its token service, storage, mirrors of both
_MAX_PAUSE_SECONDS = 3600.0  # then a host is asked again, whatever it asked for: that may be a mistake
_AT_ONCE = 64
_UNKNOWN_WINDOW_SECONDS = 3600.0  # for how long a limit is believed that does not say when it ends
_OLD_NEWS_SECONDS = 60.0
_PAGE_PATIENCE_SECONDS = 10.0
_OUTLASTED_SECONDS = 60.0  # by the tries of a refresh: about what refresh.asl.yaml, Retry, waits in all

_COMPLAINTS = frozenset({429, 503})
_MANIFEST = re.compile(r"/v2/.+/manifests/[^/]+")
_PACED = re.compile(r"/v2/.+/(?:manifests/[^/]+|referrers/[^/]+|tags/list)")
_HEAD_IS_FREE = frozenset({DOCKER_HUB})  # Docker documentation, "Pull usage and limits": a pull is a GET of a manifest


_GENEROUS = Rate(1000.0, 1000)  # a registry of one's own bears more than a process of ours ever sends


class _ReportedLimit(NamedTuple):
    """What a host said of its limit, and when."""

    remaining: int
    limit: int
    ends_at: float
    said_at: float
    end_is_said: bool


class _Timing(NamedTuple):
    clock: Callable[[], float]
    sleep: Callable[[float], None]


class _Host:
    """What is known of one host. The lock guards the pause and what the host reported."""

    def __init__(self, name: str, wanted: "RateLimit", time: _Timing, take: TakeRequests | None) -> None:
        self.name, self._time, self._take = name, time, take
        self.shared: SharedRate | None = None
        self.window = Window(_AT_ONCE)
        self.configure(wanted)
        self._paused_until = 0.0
        self._reported: _ReportedLimit | None = None
        self._lock = threading.Lock()

    def configure(self, wanted: "RateLimit") -> None:
        known = rate_of(self.name, wanted.requests_per_second)
        if known is not None and self._take is not None:
            self.shared = SharedRate(self.name, known, self._take, self._time.clock, self._time.sleep)
        else:
            self.shared = None
        rate = known or _GENEROUS
        self.wanted, self.reserve = wanted, wanted.reserve
        self.bucket = TokenBucket(rate.per_second, rate.burst, self._time.clock, self._time.sleep)

    def paused_for(self) -> float:
        with self._lock:
            return max(0.0, min(self._paused_until - self._time.clock(), _MAX_PAUSE_SECONDS))

    def reported(self) -> _ReportedLimit | None:
        with self._lock:
            return self._current()

    def exhausted(self) -> _ReportedLimit | None:
        """Return what the host reported, if one more request would break the reserve."""
        with self._lock:
            reported = self._current()
            return reported if reported is not None and self._is_exhausted(reported) else None

    def take_one(self) -> _ReportedLimit | None:
        """Take one of what is left; if that would break the reserve, return what the host reported instead."""
        with self._lock:
            reported = self._current()
            if reported is None:
                return None
            if self._is_exhausted(reported):
                return reported
            self._reported = reported._replace(remaining=reported.remaining - 1)
            return None

    def observe(self, status: int, headers: Mapping[str, str]) -> None:
        """Note what an answer says of limits."""
        now = self._time.clock()
        said, wait = read_reported(headers, now), retry_after_seconds(headers)
        with self._lock:
            if status in _COMPLAINTS and wait is not None:
                self._paused_until = max(self._paused_until, now + min(wait, _MAX_PAUSE_SECONDS))
            if said is not None:
                ends_at = now + (_UNKNOWN_WINDOW_SECONDS if said.seconds is None else said.seconds)
                self._reported = _ReportedLimit(said.remaining, said.limit, ends_at, now, said.seconds is not None)

    def _is_exhausted(self, reported: _ReportedLimit) -> bool:
        return reported.remaining - 1 < self.reserve * reported.limit

    def _current(self) -> _ReportedLimit | None:
        if self._reported is not None and self._time.clock() >= self._reported.ends_at:
            self._reported = None
        return self._reported


class _Registry:
    """What is known of one registry that we ask ourselves, and of the hosts to which it leads us."""

    def __init__(self, own: _Host) -> None:
        self.own = own
        self.led_to: OrderedDict[str, _Host] = OrderedDict()


class _HostStates(NamedTuple):
    """The state that a request counts in; and, where a registry led us to a host that we also ask ourselves, the state
    of that host."""

    counted: _Host
    own: _Host | None = None


NoteResponse = Callable[[int, Mapping[str, str]], None]
"""Called with the status and the headers of a response."""


class Limits:
    """Gives requests their turns. May be used by several threads."""

    def __init__(
        self,
        rate_limit_of: "Callable[[str], RateLimit]",
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        patience: float = FOREVER,
        take: TakeRequests | None = None,
    ) -> None:
        """`take` is how processes share the rates of registries; without it each has them for itself."""
        self._rate_limit_of, self._patience, self._take = rate_limit_of, patience, take
        self._time = _Timing(clock, sleep)
        self._registries: OrderedDict[str, _Registry] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, request: Request, within: float) -> Iterator[NoteResponse]:
        """Wait until a request may go, at most `within` seconds; call what is yielded with its answer.

        The slot in the window is given back with the answer's head: who reads one blob may wait for another, and would
        wait for ever if unread bodies held every slot. Raises RateLimitedError.
        """
        host, own = self._way_of(request)
        ends = self._time.clock() + min(within, self.patience_for(request))
        if own is not None:
            self._keep_limits_of(own, request, ends)
        self._take_one(host, request)
        self._sit_out_pause(host, request, ends)
        if _PACED.fullmatch(urlsplit(request.url).path):
            self._await_bucket(host, request, ends)
        slot = host.window.enter(max(0.0, ends - self._time.clock()))
        if slot is None:
            raise _too_late(request, f"too many requests to {host.name} are waiting for their answers", None)
        went_well: bool | None = None

        def answered(status: int, headers: Mapping[str, str]) -> None:
            nonlocal went_well
            went_well = status not in _COMPLAINTS
            host.observe(status, headers)

        try:
            yield answered
        finally:
            host.window.leave(slot, went_well=went_well)

    def patience_for(self, request: Request) -> float:
        """Tell for how many seconds a request waits for its turn: longer where others were sent for the same thing."""
        return max(self._patience, _PAGE_PATIENCE_SECONDS) if request.continues else self._patience

    def wants_news(self, request: Request) -> bool:
        """Tell whether a HEAD, which is free, may show that a request need not be deferred any more."""
        if not _counts(request):
            return False
        host = self._way_of(request).counted
        exhausted = host.exhausted()
        if exhausted is None or host.name not in _HEAD_IS_FREE:
            return False
        return self._time.clock() - exhausted.said_at >= _OLD_NEWS_SECONDS

    def quota(self, registry: str) -> RemainingQuota | None:
        """Tell what a registry's own limit leaves; None if it has said nothing that still holds."""
        with self._lock:
            known = self._registries.get(registry)
        host = None if known is None else known.own
        reported = None if host is None else host.reported()
        if host is None or reported is None:
            return None
        usable = max(0, int(reported.remaining - host.reserve * reported.limit))
        resets_at = datetime.fromtimestamp(reported.ends_at, UTC) if reported.end_is_said else None
        return RemainingQuota(reported.remaining, reported.limit, usable, resets_at)

    def _way_of(self, request: Request) -> _HostStates:
        asked, name = registry_at(urlsplit(first_of(request))), registry_at(urlsplit(request.url))
        with self._lock:
            registry = self._registries.get(asked)
            if registry is None:
                registry = self._registries[asked] = _Registry(self._new_host(asked))
            _use(self._registries, asked, _MAX_REGISTRIES)
            if name == asked:
                return _HostStates(self._configured(registry.own))
            if name not in registry.led_to:
                registry.led_to[name] = self._new_host(name)
            _use(registry.led_to, name, _MAX_LED_TO)
            known = self._registries.get(name)
            return _HostStates(self._configured(registry.led_to[name]), None if known is None else known.own)

    def _new_host(self, name: str) -> _Host:
        return _Host(name, self._rate_limit_of(name), self._time, self._take)

    def _configured(self, host: _Host) -> _Host:
        wanted = self._rate_limit_of(host.name)
        if host.wanted != wanted:  # the rules have changed
            host.configure(wanted)
        return host

    def _keep_limits_of(self, own: _Host, request: Request, ends: float) -> None:
        """Send nothing to a registry that has had enough, because another one leads us there."""
        exhausted = own.exhausted() if _counts(request) else None
        if exhausted is not None:
            raise self._exhausted(own, exhausted, request)
        self._sit_out_pause(own, request, ends)

    def _take_one(self, host: _Host, request: Request) -> None:
        exhausted = host.take_one() if _counts(request) else None
        if exhausted is not None:
            raise self._exhausted(host, exhausted, request)

    def _exhausted(self, host: _Host, reported: _ReportedLimit, request: Request) -> RateLimitedError:
        seconds = max(0.0, reported.ends_at - self._time.clock())
        left = f"{reported.remaining} of {host.name}'s limit of {reported.limit} requests are left"
        kept = f"a reserve of {host.reserve:.0%} is kept{retry_in_words(seconds)} at the latest"
        return request.inquiry.error(
            _kind(seconds),
            f"deferred, not sent: {left}, and {kept}",
            retry_after_seconds=seconds,
            advice=f"An account for {host.name}, or a smaller `reserve` of it in the rules, allows more.",
        )

    def _sit_out_pause(self, host: _Host, request: Request, ends: float) -> None:
        pause = host.paused_for()
        if pause > ends - self._time.clock():
            raise _too_late(request, f"{host.name} asked for a pause", pause)
        if pause:
            self._time.sleep(pause)

    def _await_bucket(self, host: _Host, request: Request, ends: float) -> None:
        within = max(0.0, ends - self._time.clock())
        if host.shared is None:
            too_long = host.bucket.wait(within)
        else:
            too_long = host.shared.wait(within, by_event=request.by_event)
        if too_long is not None:
            raise _too_late(request, f"the request rate for {host.name} is used up", too_long)


_Known = TypeVar("_Known")


def _use(known: OrderedDict[str, _Known], name: str, most: int) -> None:
    """Note that a name is used; forget those that were not used for longest."""
    known.move_to_end(name)
    while len(known) > most:
        known.popitem(last=False)


def _counts(request: Request) -> bool:
    return request.method == "GET" and _MANIFEST.fullmatch(urlsplit(request.url).path) is not None


def _too_late(request: Request, cause: str, retry_after: float | None) -> RateLimitedError:
    again = "" if retry_after is None else retry_in_words(retry_after)
    kind = _kind(retry_after or 0.0)
    return request.inquiry.error(kind, f"deferred, not sent: {cause}{again}", retry_after_seconds=retry_after)


def _kind(seconds: float) -> type[RateLimitedError]:
    return DeferredError if seconds > _OUTLASTED_SECONDS else RateLimitedError
