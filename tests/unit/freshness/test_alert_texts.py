"""What people read: a subject that SNS takes, and a text that says what to do."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.freshness.alerts import Alert, AlertKind, subject_of, text_of

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
UPSTREAM = "docker.io/library/alpine:3.20"


def alert(
    kind: AlertKind, *, mirror: str = "mirror/alpine:3.20", lasted: timedelta = timedelta(), detail: str = ""
) -> Alert:
    return Alert(kind, mirror, UPSTREAM, NOW - lasted, NOW, detail)


@pytest.mark.parametrize("kind", AlertKind)
def test_text_names_mirror_upstream_cause_and_both_next_steps(kind: AlertKind) -> None:
    text = text_of(alert(kind, detail="the tag is immutable"))
    for wanted in ("mirror/alpine:3.20", UPSTREAM, "the tag is immutable", "2026-11-24 09:05 UTC", "Next:", "To do:"):
        assert wanted in text
    assert max(map(len, text.splitlines())) <= 130


def test_whole_text_as_it_is_sent() -> None:
    told = alert(AlertKind.UPSTREAM_UNREACHABLE, lasted=timedelta(hours=6, minutes=3), detail="it is down")
    assert text_of(told).splitlines() == [
        "mirror/alpine:3.20 cannot be checked: upstream does not answer.",
        "",
        "Mirror:    mirror/alpine:3.20",
        "Upstream:  docker.io/library/alpine:3.20",
        "Since:     2026-11-24 03:02 UTC (6 h 3 min)",
        "Cause:     it is down",
        "",
        (
            "Next:      Pullahead goes on asking at every check. "
            "ECR serves the last copy meanwhile; it may be out of date."
        ),
        (
            "To do:     See whether the upstream registry is down, or refuses Pullahead: "
            "rate limit, credentials, network."
        ),
    ]


def test_recovery_says_from_when_to_when() -> None:
    text = text_of(alert(AlertKind.RECOVERED, lasted=timedelta(days=2, hours=5)))
    assert "Not fresh: 2026-11-22 04:05 UTC to 2026-11-24 09:05 UTC (2 d 5 h)" in text


def test_no_cause_makes_no_empty_line() -> None:
    assert "Cause" not in text_of(alert(AlertKind.STALE))


@pytest.mark.parametrize(
    ("lasted", "span"),
    [
        (timedelta(), "(0 min)"),
        (timedelta(seconds=59), "(0 min)"),
        (timedelta(minutes=59, seconds=59), "(59 min)"),
        (timedelta(hours=1), "(1 h 0 min)"),
        (timedelta(days=1, minutes=30), "(1 d)"),
        (timedelta(days=30, hours=1), "(30 d 1 h)"),
        (timedelta(minutes=-5), "(0 min)"),  # the clock of another machine
    ],
)
def test_span_is_readable(lasted: timedelta, span: str) -> None:
    assert span in text_of(alert(AlertKind.STALE, lasted=lasted))


names = st.text("abz09/._-", min_size=1, max_size=150)


@given(st.sampled_from(AlertKind), st.builds("m{}:{}".format, names, names))
def test_subject_is_what_sns_takes_and_says_what_is_the_matter(kind: AlertKind, mirror: str) -> None:
    subject = subject_of(alert(kind, mirror=mirror))
    assert len(subject) <= 100
    assert subject.isascii()
    assert subject.isprintable()
    assert subject.startswith("Pullahead: " + mirror[:40])
    assert subject.endswith(subject_of(alert(kind, mirror="m")).removeprefix("Pullahead: m "))
