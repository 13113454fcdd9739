"""What upstream does with a tag, hour by hour, as tests of admission write it down: `0 A, 5 B, 6 A` and the like."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pullahead.admission.seen_digests import (
    Change,
    SeenDigests,
    TakenBack,
    after_admitted,
    after_gone,
    after_missing,
    after_served,
)
from pullahead.oci import Digest
from tests.fakes.samples import digest, root

START = datetime(2026, 3, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    """Name the moment so many hours after the start."""
    return START + timedelta(hours=hours)


def steps_of(story: str) -> Iterator[tuple[float, str]]:
    """Read the steps of a story: the hour of each, and what happens."""
    for step in filter(None, map(str.strip, story.split(","))):
        hour, _, what = step.partition(" ")
        yield float(hour), what


def step(before: SeenDigests, what: str, now: datetime) -> Change:
    """Let one thing happen: `A` is served, `gone` is the tag, `-A` is missing by digest, `+A` is published."""
    if what == "gone":
        return after_gone(before, now)
    if what.startswith("-"):
        return after_missing(before, digest(what[1:]), now)
    if what.startswith("+"):
        return Change(after_admitted(before, root(what[1:]), now))
    return after_served(before, root(what), now)


def told(story: str, before: SeenDigests | None = None) -> tuple[SeenDigests, tuple[TakenBack, ...]]:
    """Let a story happen; return what is remembered, and all that was told as taken back."""
    seen, news = before or SeenDigests(), list[TakenBack]()
    for hour, what in steps_of(story):
        change = step(seen, what, at(hour))
        seen = change.after
        news += change.news
    return seen, tuple(news)


def after(story: str) -> SeenDigests:
    """Let a story happen; return what is remembered."""
    return told(story)[0]


def name_of(known: Digest | None, names: str = "ABCDEFGHNP") -> str:
    """Name a digest by the letter of the story, `-` for none."""
    return next((name for name in names if digest(name) == known), "-")
