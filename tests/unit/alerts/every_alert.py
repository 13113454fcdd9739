"""Every alert as people read it. To write the approved texts anew, from the root of the repository:
`PYTHONPATH=layers/pullahead python -m tests.unit.alerts.every_alert > tests/unit/alerts/every_alert.txt`.

Read the file before you commit it, as somebody would who is woken by it at 3 am.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from msgspec import structs

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
    AlertKind.RULES_SKIPPED: (
        "some rules",
        (
            "skipped: base images: 210987654321.dkr.ecr.eu-west-1.amazonaws.com is ECR in another account "
            "(210987654321), and the rules name no role for it.\n"
            "Create a role there that may pull and trusts Pullahead's roles (see docs/policies.md).\n"
            "Set it as `credentials` of this host in the rules, and add it to the parameter UpstreamRoles; or remove "
            "the rule."
        ),
    ),
    AlertKind.NOT_CHECKED: ("mirrors", "no checks have been sent since then"),
}
OVER = {AlertKind.RULES_BROKEN: "the rules", AlertKind.RULES_SKIPPED: "all rules"}
OF_RULES = (AlertKind.UNLISTED, AlertKind.DEMAND_LIMIT)
CAUSES = {
    AlertKind.RECORD_DAMAGED: "DecodeError: Input data was truncated",
    AlertKind.STALE: "reading a blob of {} failed: the connection broke (HTTP 502).",
    AlertKind.UPSTREAM_UNREACHABLE: "HEAD manifest of {} failed: service unavailable (HTTP 503).",
    AlertKind.RATE_LIMITED: "HEAD manifest of {} failed: too many requests (HTTP 429); sent without a credential.",
    AlertKind.ACCESS_DENIED: (
        "HEAD manifest of {} at the upstream failed: token service auth.docker.io: access denied (UNAUTHORIZED "
        "incorrect username or password) (HTTP 401); sent as user robot of the secret ecr-pullthroughcache/docker-hub. "
        "It does not accept this user name, password or token: mistyped, expired or revoked?"
    ),
    AlertKind.BLOCKED: "writing the manifest of {} failed: the tag is immutable (HTTP 400). Make it mutable.",
    AlertKind.GONE: "HEAD manifest of {} failed: not found (HTTP 404); sent without a credential.",
    AlertKind.NOT_FOUND: (
        "upstream has no tag `{tag}`; check its spelling (reading the manifest of {} at the upstream failed: not found "
        "(MANIFEST_UNKNOWN manifest unknown) (HTTP 404); sent without a credential)"
    ),
    AlertKind.UNLISTED: "listing the tags of {} failed: it lists 2 tags, and min_tags is 10.",
    AlertKind.DRIFT: "ECR serves sha256:2222, but sha256:1111 was published",
    AlertKind.CACHE_FAILED: "UpstreamAccessDenied: the credentials were refused",
    AlertKind.REFERRERS_FAILED: "put manifest of mirror/alpine@sha256:3333 at the target failed: unsupported (405)",
    AlertKind.PIN_MOVED: "upstream serves sha256:4444; the rules pin sha256:3333",
    AlertKind.HELD: "sha256:5555 waits until a person admits it",
    AlertKind.WITHDRAWN: "upstream took back sha256:5555, which was first seen at 2026-11-23 21:40",
    AlertKind.DEMAND_LIMIT: "docker-hub/a:1 was pulled, but 100 mirrors were added today (daily_limit)",
}


NEVER_OVER = frozenset({AlertKind.RETIRED, AlertKind.RECORD_DAMAGED})
"""Kinds that say that something has happened."""


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
        mirror = ServiceSubject(OVER[kind]) if kind in OVER else mirror
        return Alert(AlertKind.RECOVERED, mirror, upstream, NOW - lasted, NOW, of=kind)
    return Alert(kind, mirror, upstream, NOW - lasted, NOW, detail.format(upstream, tag=f"3.{number + 20}"))


def notice(kind: AlertKind, count: int = 1, *, over: bool = False, still_open: int | None = None) -> Notice:
    """Make a message about mirrors, or about the end of their trouble."""
    members = tuple(alert(kind, number, over=over) for number in range(min(count, 10)))
    open_count = still_open if still_open is not None else 0 if over else count
    copied = 0 if kind in OF_PULLAHEAD or kind in OF_RULES or kind is AlertKind.NOT_FOUND else count
    uncopied = count if kind is AlertKind.NOT_FOUND else 0
    incident = f"{kind}#docker.io#"
    made = Notice(members[0].kind, kind, incident, members, count, open_count, NOW)
    return made._replace(copied=copied, uncopied=uncopied)


def notice_of_a_rule(kind: AlertKind, *, over: bool = False) -> Notice:
    """Make a message about trouble of the registry that only the listing of a rule has."""
    made = notice(kind, over=over)
    member = structs.replace(made.members[0], mirror=RuleKey("mirror/alpine", "team-a"), upstream="docker.io/team/a")
    return made._replace(members=(member,), rules=1, copied=0)


def every_notice() -> Iterator[Notice]:
    """Make a message of every kind."""
    for kind in AlertKind:
        if kind is AlertKind.RECOVERED:
            continue
        yield notice(kind)
        if kind not in NEVER_OVER:
            yield notice(kind, over=True)
        if kind not in OF_PULLAHEAD:
            yield notice(kind, 500, still_open=0 if kind in NEVER_OVER else 520)
        if kind not in OF_PULLAHEAD and kind not in NEVER_OVER:
            yield notice(kind, 12, over=True, still_open=3)
    yield notice(AlertKind.DRIFT)._replace(restored=True)
    for kind in (AlertKind.STALE, AlertKind.UPSTREAM_UNREACHABLE, AlertKind.ACCESS_DENIED):
        yield notice(kind)._replace(copied=0, uncopied=1)
        yield notice(kind, 500)._replace(copied=0, uncopied=500)
        yield notice(kind, 500)._replace(copied=497, uncopied=3)
    for kind in (AlertKind.UPSTREAM_UNREACHABLE, AlertKind.ACCESS_DENIED):
        yield notice_of_a_rule(kind)
        yield notice_of_a_rule(kind, over=True)
        yield notice(kind, 12)._replace(copied=10, rules=2)


def every_text() -> str:
    """Write all messages, one below the other."""
    return "\n".join(
        f"{'=' * 100}\n{subject_of(each)}\n{attributes_of(each)}\n{'-' * 100}\n{text_of(each)}\n"
        for each in every_notice()
    )


if __name__ == "__main__":
    print(every_text(), end="")
