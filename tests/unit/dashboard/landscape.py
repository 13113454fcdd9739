"""A plausible set of mirrors with a week behind them, the same in every run. Asserts nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pullahead.dashboard.mirror_rows import Snapshot
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.record import LastRefresh, MirrorRecord, RefreshFailure, State, Transition
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.samples import digest

NOW = datetime(2026, 11, 24, 9, 40, tzinfo=UTC)
ENDPOINT = "arn:aws:lambda:eu-west-1:123456789012:function:pullahead-ShowMirrors"
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:pullahead-refresh:mirror-app-1-0"

_REPOSITORIES = {
    "docker.io/library/alpine": ("3.18", "3.19", "3.20", "3.21", "latest"),
    "docker.io/library/python": ("3.11-slim", "3.12-slim", "3.13-slim"),
    "docker.io/library/postgres": ("15", "16", "17"),
    "quay.io/prometheus/prometheus": ("v2.53.0", "v3.0.0"),
    "ghcr.io/fluxcd/source-controller": ("v1.4.1",),
    "registry.k8s.io/pause": ("3.9", "3.10"),
    "public.ecr.aws/eks/coredns": ("v1.11.3",),
    "gcr.io/distroless/static-debian12": ("latest", "nonroot"),
}
_TROUBLE = {
    "mirror/library/postgres:15": (
        State.BLOCKED,
        timedelta(days=2, hours=7),
        "put_manifest of mirror/library/postgres:15 refused: the tag is immutable. Make the tag mutable in ECR",
    ),
    "mirror/fluxcd/source-controller:v1.4.1": (State.GONE, timedelta(days=1, hours=3), ""),
    "mirror/library/alpine:latest": (
        State.STALE,
        timedelta(hours=3, minutes=12),
        "get_manifest of docker.io/library/alpine:latest failed: 429 Too Many Requests",
    ),
    "mirror/library/python:3.13-slim": (State.STALE, timedelta(minutes=4), ""),
    "mirror/eks/coredns:v1.11.3": (State.MISSING, timedelta(minutes=2), ""),
    "mirror/prometheus/prometheus:v3.0.0": (
        State.UNKNOWN,
        timedelta(minutes=41),
        "head_manifest of quay.io/prometheus/prometheus:v3.0.0 failed: 503 Service Unavailable",
    ),
}


def fresh(key: str, upstream: str = "docker.io/library/app:1.0", age: timedelta = timedelta(days=3)) -> MirrorRecord:
    """Make the record of a fresh mirror that was copied some time ago."""
    refresh = LastRefresh(NOW - age, 12.5, 95.0, 52_428_800, EXECUTION)
    wanted = digest(key)
    return MirrorRecord(
        MirrorKey.parse(key),
        upstream,
        State.FRESH,
        NOW - age,
        None,
        upstream_digest=wanted,
        published_digest=wanted,
        last_refresh=refresh,
        episode=1,
        version=4,
    )


def troubled(record: MirrorRecord, state: State, lasts: timedelta, cause: str = "") -> MirrorRecord:
    """Make a record of the same mirror in another state."""
    since, blocking = NOW - lasts, state is State.BLOCKED
    failure = RefreshFailure(digest("new"), "E", cause, blocking, 3, NOW + timedelta(minutes=25)) if cause else None
    unheard = state is State.UNKNOWN
    return record.with_changes(
        state=state,
        since=since,
        unfresh_since=since,
        failure=None if unheard else failure,
        error=cause if unheard else None,
        last_refresh=None if state is State.MISSING else record.last_refresh,
        alerted=(AlertKind.BLOCKED,) if blocking else (),
    )


def landscape() -> Snapshot:
    """Show some twenty mirrors of eight repositories, with the past of each."""
    records = list(_records())
    return Snapshot(records, NOW - timedelta(minutes=2), NOW, tuple(_past(records)))


def _records() -> Iterator[MirrorRecord]:
    ages = iter(timedelta(hours=5 + 17 * number) for number in range(100))
    for upstream, tags in _REPOSITORIES.items():
        repository = "mirror/" + upstream.partition("/")[2]
        for tag in tags:
            key = f"{repository}:{tag}"
            record = fresh(key, f"{upstream}:{tag}", next(ages))
            yield troubled(record, *_TROUBLE[key]) if key in _TROUBLE else record


def _past(records: list[MirrorRecord]) -> Iterator[Transition]:
    """Let every mirror have been stale now and then, some for longer."""
    for number, record in enumerate(records):
        yield Transition(NOW - timedelta(days=9), record.key, State.FRESH)
        for turn in range(3):
            begins = NOW - timedelta(days=6.5 - 2 * turn, hours=(number * 7) % 23)
            lasts = timedelta(minutes=20 + (number * 53 + turn * 211) % 500)
            yield Transition(begins, record.key, State.UNKNOWN if number % 5 == 0 else State.STALE)
            yield Transition(begins + lasts, record.key, State.FRESH)
