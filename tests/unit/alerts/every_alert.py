"""Every alert as people read it: from the root of the repository,
`PYTHONPATH=layers/pullahead python -m tests.unit.alerts.every_alert > FILE`, and FILE becomes `every_alert.txt`.

Whoever changes a text reads the file as a stranger would, before it is approved.
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
        "line 7: 'mirors' is not known. Did you mean mirrors?",
    ),
    AlertKind.RULES_EMPTY: ("the rules", "none of the 12 mirrors that Pullahead knows is followed"),
    AlertKind.NOT_CHECKED: ("mirrors", "the last checks were sent then"),
}
OF_RULES = (AlertKind.UNLISTED, AlertKind.DEMAND_LIMIT)
CAUSES = {
    AlertKind.STALE: "get_blob of {} at the upstream failed: the connection broke (HTTP 502).",
    AlertKind.UPSTREAM_UNREACHABLE: "head_manifest of {} at the upstream failed: it does not answer (HTTP 503).",
    AlertKind.RATE_LIMITED: "head_manifest of {} at the upstream failed: too many requests (HTTP 429).",
    AlertKind.BLOCKED: "put_manifest of {} at the target failed: the tag is immutable (HTTP 400). Make it mutable.",
    AlertKind.GONE: "head_manifest of {} at the upstream failed: there is no such tag (HTTP 404).",
    AlertKind.UNLISTED: "list_tags of {} at the upstream failed: it lists 2 tags, and min_tags is 10.",
    AlertKind.DRIFT: "ECR serves sha256:2222, where sha256:1111 was published",
    AlertKind.CACHE_FAILED: "UpstreamAccessDenied: the credentials were refused",
    AlertKind.DEMAND_LIMIT: "docker-hub/a:1 was pulled, and 100 new mirrors were made today already",
}


def alert(kind: AlertKind, number: int = 0, *, over: bool = False, lasted: timedelta = LASTED) -> Alert:
    """Make what is told of one mirror, or that it is over."""
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


def notice(kind: AlertKind, count: int = 1, *, over: bool = False, standing: int | None = None) -> Notice:
    """Make a message about mirrors, or that it is over for them."""
    members = tuple(alert(kind, number, over=over) for number in range(min(count, 10)))
    stand = standing if standing is not None else 0 if over else count
    return Notice(members[0].kind, kind, f"{kind}#docker.io#", members, count, stand, NOW)


def every_notice() -> Iterator[Notice]:
    """Make every message that there is."""
    for kind in AlertKind:
        if kind is AlertKind.RECOVERED:
            continue
        yield notice(kind)
        if kind is not AlertKind.RETIRED:
            yield notice(kind, over=True)
        if kind not in OF_PULLAHEAD:
            yield notice(kind, 500, standing=0 if kind is AlertKind.RETIRED else 520)
        if kind not in OF_PULLAHEAD and kind is not AlertKind.RETIRED:
            yield notice(kind, 12, over=True, standing=3)
    yield notice(AlertKind.DRIFT)._replace(restored=True)


def every_text() -> str:
    """Write them all below each other."""
    return "\n".join(
        f"{'=' * 100}\n{subject_of(each)}\n{attributes_of(each)}\n{'-' * 100}\n{text_of(each)}\n"
        for each in every_notice()
    )


if __name__ == "__main__":
    print(every_text(), end="")
