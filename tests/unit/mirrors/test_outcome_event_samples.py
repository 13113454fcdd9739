"""The samples in events/ are what the code sends, and both are what the published schema says."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from msgspec import structs

from local.outcome_schema import schema_text
from pullahead.admission.seen_digests import SeenDigest, SeenDigests, after_gone
from pullahead.messages import ReferrersOutcome
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.missing import Missing, PruneReason
from pullahead.mirrors.outbox import with_outcome_events, with_pruning, with_scan
from pullahead.mirrors.outcome_event import OutcomeEvent, OutcomeKind, Scan
from pullahead.mirrors.record import LastRefresh, MirrorRecord, MovedAway, State, WaitingDigest
from pullahead.mirrors.referrers import KnownReferrers
from pullahead.oci import Descriptor
from pullahead.oci.media_types import OCI_INDEX
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.samples import digest

ROOT: Final = Path(__file__).parents[3]
SCHEMA: Final = ROOT / "docs/outcome-event.schema.json"
BEGAN: Final = datetime(2026, 11, 24, 9, 0, 5, tzinfo=UTC)
KEY, RULE = MirrorKey("mirror/nginx", "1.27"), "docker.io/library/nginx"
OLD, NEW = digest("nginx-1.27.2"), digest("nginx-1.27.3")
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:pullahead-refresh:mirror-nginx-1-27-2-9f86d081884c7d65"
LATE_EXECUTION = f"{EXECUTION[:-16]}60303ae22b998861"
FRESH = MirrorRecord(
    KEY, f"{RULE}:1.27", State.FRESH, BEGAN - timedelta(days=20), None, upstream_digest=OLD, published_digest=OLD
)


def sample_events() -> dict[str, OutcomeEvent]:
    """Let a mirror fall behind for long, be refreshed and scanned, and go."""
    late, done = BEGAN + timedelta(minutes=95), BEGAN + timedelta(minutes=96, seconds=30)
    signed = KnownReferrers(NEW, done, ReferrersOutcome("3fb1", 1, 2204), execution=EXECUTION)
    last = LastRefresh(done, 41.5, 5790.0, 71_823_104, EXECUTION, NEW)
    stale = next_of(FRESH, BEGAN, state=State.STALE, since=BEGAN, unfresh_since=BEGAN, upstream_digest=NEW)
    alerted = stale.with_changes(alerted=(AlertKind.STALE,), outbox=())
    again = {
        "state": State.FRESH,
        "since": done,
        "unfresh_since": None,
        "alerted": (),
        "last_refresh": last,
        "referrers": signed,
    }
    fresh = next_of(alerted, done, published_digest=NEW, **again)
    counts = {"HIGH": 1, "MEDIUM": 4, "UNTRIAGED": 2}
    scanned = with_scan(fresh, Scan(NEW, counts, late + timedelta(minutes=3)), RULE, late + timedelta(minutes=3))
    more = KnownReferrers(NEW, done, ReferrersOutcome("9c40", 2, 81_920), execution=LATE_EXECUTION)
    attested = next_of(scanned.with_changes(outbox=()), late + timedelta(minutes=20), referrers=more)
    gone_at = BEGAN + timedelta(days=9)
    gone = next_of(scanned.with_changes(outbox=()), gone_at, state=State.GONE, since=gone_at, unfresh_since=gone_at)
    pinned = structs.replace(FRESH, upstream=f"{RULE}:1.27@{OLD}")
    moved = next_of(pinned, BEGAN, moved_away=MovedAway(OLD, NEW, BEGAN))
    removed_at = gone_at + timedelta(days=31)
    missing = Missing(PruneReason.GONE, gone_at + timedelta(hours=12), 31, removed_at)
    due = with_pruning(gone.with_changes(outbox=()), OutcomeKind.PRUNE_DUE, missing, RULE, removed_at)
    removed = gone.with_changes(outbox=(), published_digest=None)
    pruned = with_pruning(removed, OutcomeKind.PRUNED, missing, RULE, removed_at)
    young = SeenDigests((SeenDigest(Descriptor(OCI_INDEX, NEW, 1200), BEGAN),))
    waiting = WaitingDigest(NEW, BEGAN, BEGAN + timedelta(days=3))
    held = next_of(FRESH, BEGAN, state=State.COOLING, since=BEGAN, admission=young, waiting=waiting)
    admitted_at = BEGAN + timedelta(days=3, seconds=40)
    admitted = structs.replace(young, seen=(structs.replace(young.seen[0], admitted=True),))
    serving = {"published_digest": NEW, "upstream_digest": NEW, "waiting": None, "admission": admitted}
    let_in = next_of(held.with_changes(outbox=()), admitted_at, **serving)
    taken_back = after_gone(young, BEGAN + timedelta(hours=5)).after
    withdrawn = next_of(held.with_changes(outbox=()), BEGAN + timedelta(hours=5), admission=taken_back, waiting=None)
    records = (held, let_in, withdrawn, stale, scanned, attested, gone, moved, due, pruned)
    events = [event for record in records for event in record.outbox]
    return {event.kind.value.removeprefix("Mirror ").lower().replace(" ", "_"): event for event in events}


def next_of(record: MirrorRecord, at: datetime, **changes: Any) -> MirrorRecord:
    return with_outcome_events(record, record.with_changes(**changes), RULE, at)


def sample(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((ROOT / f"events/outcome.{name}.json").read_text(encoding="utf-8"))
    return read


def detail_of(event: OutcomeEvent) -> dict[str, Any]:
    """Read a detail as it is on the wire."""
    read: dict[str, Any] = json.loads(msgspec.json.encode(event.detail))
    return read


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    document = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document, format_checker=Draft202012Validator.FORMAT_CHECKER)


def test_published_schema_is_that_of_the_code() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), (
        "write it anew: PYTHONPATH=layers/pullahead python -m local.outcome_schema > docs/outcome-event.schema.json"
    )


def test_there_is_a_sample_of_every_kind_and_no_other() -> None:
    names = {path.name.split(".")[1] for path in (ROOT / "events").glob("outcome.*.json")}
    kinds = {kind.value.removeprefix("Mirror ").lower().replace(" ", "_") for kind in OutcomeKind}
    assert names == kinds == sample_events().keys()


@pytest.mark.parametrize("name", sorted(sample_events()))
def test_sample_equals_the_event_of_the_code(name: str, schema: Draft202012Validator) -> None:
    event, shown = sample_events()[name], sample(name)
    assert list(schema.iter_errors(shown)) == []
    assert shown["detail"] == detail_of(event)
    assert (shown["source"], shown["detail-type"]) == ("pullahead", event.kind.value)
    assert datetime.fromisoformat(shown["time"]) == event.at


@pytest.mark.parametrize(
    "change",
    [
        {"version": "2"},
        {"digest": "latest"},
        {"reason": "boredom"},
        {"lag-seconds": -1},
        {"scan-findings": {"HIGH": "1"}},
        {"since": "yesterday"},
    ],
)
def test_schema_rejects_invalid_events(change: dict[str, Any], schema: Draft202012Validator) -> None:
    shown = sample("refreshed")
    shown["detail"] |= change
    assert len(list(schema.iter_errors(shown))) == 1


@pytest.mark.parametrize("field", ["version", "id", "mirror", "repository", "tag", "upstream", "reason"])
def test_schema_requires_the_fields_that_are_always_sent(field: str, schema: Draft202012Validator) -> None:
    assert all(field in detail_of(event) for event in sample_events().values())
    shown = sample("gone")
    del shown["detail"][field]
    assert len(list(schema.iter_errors(shown))) == 1
