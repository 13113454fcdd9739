"""Every alert as people read it. To write the approved texts anew, from the root of the repository:
`PYTHONPATH=layers/pullahead python -m tests.unit.alerts.every_alert > tests/unit/alerts/every_alert.txt`.

Read the file before you commit it, as somebody would who is woken by it at 3 am.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pullahead.alerts.incidents import ServiceSubject
from pullahead.alerts.text import Notice, attributes_of, subject_of, text_of
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.rules.mirror_key import MirrorKey, RuleKey, Subject

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
LASTED = timedelta(hours=6, minutes=3)
OF_PULLAHEAD = {
    AlertKind.RULES_BROKEN: (
        "rules s3://team-rules/rules.yaml",
        "line 7: unknown key mirors. Did you mean mirrors?",
    ),
    AlertKind.RULES_EMPTY: ("the rules", "12 mirrors have records; the rules match none of them"),
    AlertKind.NOT_CHECKED: ("mirrors", "no checks have been sent since then"),
}
OF_RULES = (AlertKind.UNLISTED, AlertKind.DEMAND_LIMIT)
CAUSES = {
    AlertKind.STALE: "reading a blob of {} failed: the connection broke (HTTP 502).",
    AlertKind.UPSTREAM_UNREACHABLE: "HEAD manifest of {} failed: service unavailable (HTTP 503).",
    AlertKind.RATE_LIMITED: "HEAD manifest of {} failed: too many requests (HTTP 429).",
    AlertKind.BLOCKED: "writing the manifest of {} failed: the tag is immutable (HTTP 400). Make it mutable.",
    AlertKind.GONE: "HEAD manifest of {} failed: not found (HTTP 404).",
    AlertKind.UNLISTED: "listing the tags of {} failed: it lists 2 tags, and min_tags is 10.",
    AlertKind.DRIFT: "ECR serves sha256:2222, but sha256:1111 was published",
    AlertKind.CACHE_FAILED: "UpstreamAccessDenied: the credentials were refused",
    AlertKind.REFERRERS_FAILED: "put manifest of mirror/alpine@sha256:3333 at the target failed: unsupported (405)",
    AlertKind.DEMAND_LIMIT: "docker-hub/a:1 was pulled, but 100 mirrors were added today (daily_limit)",
}


def alert(kind: AlertKind, number: int = 0, *, over: bool = False, lasted: timedelta = LASTED) -> Alert:
    """Make the alert of one mirror, or its end."""
    mirror: Subject = MirrorKey("mirror/alpine", f"3.{number + 20}")
    upstream, detail = f"docker.io/library/alpine:3.{number + 20}", ""
    if kind in OF_RULES:
        mirror, upstream = RuleKey(f"mirror/alpine-{number + 20}", "team-a"), f"docker.io/team-a/alpine-{number + 20}"
    if kind in OF_PULLAHEAD:
        mirror, upstream, detail = ServiceSubject(OF_PULLAHEAD[kind][0]), "", OF_PULLAHEAD[kind][1]
    detail = CAUSES.get(kind, detail)
    if over:
        mirror = ServiceSubject("the rules") if kind is AlertKind.RULES_BROKEN else mirror
        return Alert(AlertKind.RECOVERED, mirror, upstream, NOW - lasted, NOW, of=kind)
    return Alert(kind, mirror, upstream, NOW - lasted, NOW, detail.format(upstream))


def notice(kind: AlertKind, count: int = 1, *, over: bool = False, still_open: int | None = None) -> Notice:
    """Make a message about mirrors, or about the end of their trouble."""
    members = tuple(alert(kind, number, over=over) for number in range(min(count, 10)))
    open_count = still_open if still_open is not None else 0 if over else count
    return Notice(members[0].kind, kind, f"{kind}#docker.io#", members, count, open_count, NOW)


def every_notice() -> Iterator[Notice]:
    """Make a message of every kind."""
    for kind in AlertKind:
        if kind is AlertKind.RECOVERED:
            continue
        yield notice(kind)
        if kind is not AlertKind.RETIRED:
            yield notice(kind, over=True)
        if kind not in OF_PULLAHEAD:
            yield notice(kind, 500, still_open=0 if kind is AlertKind.RETIRED else 520)
        if kind not in OF_PULLAHEAD and kind is not AlertKind.RETIRED:
            yield notice(kind, 12, over=True, still_open=3)
    yield notice(AlertKind.DRIFT)._replace(restored=True)


def every_text() -> str:
    """Write all messages, one below the other."""
    return "\n".join(
        f"{'=' * 100}\n{subject_of(each)}\n{attributes_of(each)}\n{'-' * 100}\n{text_of(each)}\n"
        for each in every_notice()
    )


if __name__ == "__main__":
    print(every_text(), end="")
