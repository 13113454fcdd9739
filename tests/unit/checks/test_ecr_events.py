"""What ECR's events mean: each sample by its kind, and anything else no more than a typed answer."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pullahead.checks.ecr_events import AccountRegion, EcrMessage, IgnoredEvent, IgnoredReason, read_ecr_event
from pullahead.errors import InvalidEventError
from pullahead.messages import AwsEvent, CacheFailure, CheckRequest, ScanFinished, read_queued
from pullahead.oci import digest_of
from tests.architecture.source import ROOT

HOME = AccountRegion("123456789012", "eu-west-1")
AT = datetime(2026, 11, 24, 9, 6, 12, tzinfo=UTC)
SAMPLES: dict[str, Any] = {
    path.name.removeprefix("ecr.").removesuffix(".json"): json.loads(path.read_text(encoding="utf-8"))
    for path in (ROOT / "events").glob("ecr.*.json")
}
INSPECTED: dict[str, Any] = {
    name: json.loads((ROOT / f"events/inspector.{name}.json").read_text(encoding="utf-8"))
    for name in ("scan", "finding")
}
DIGEST = SAMPLES["push"]["detail"]["image-digest"]


def meaning(event: object) -> EcrMessage:
    """Read an event as it comes out of the queue."""
    received = read_queued(json.dumps(event))
    assert isinstance(received, AwsEvent)
    return read_ecr_event(received, HOME)


def changed(name: str, **detail: object) -> dict[str, Any]:
    """Change the detail of a sample; None takes a field away."""
    fields = SAMPLES[name]["detail"] | {key.replace("_", "-"): value for key, value in detail.items()}
    return {**SAMPLES[name], "detail": {key: value for key, value in fields.items() if value is not None}}


class TestMeaning:
    @pytest.mark.parametrize(("name", "reason"), [("push", "push"), ("delete", "delete")])
    def test_push_and_deletion_become_checks(self, name: str, reason: Any) -> None:
        assert meaning(SAMPLES[name]) == CheckRequest(reason, "mirror/alpine", ("3.20",), AT, DIGEST)

    def test_referrer_with_a_tag_is_a_push(self) -> None:
        found = meaning(SAMPLES["referrer"])
        assert isinstance(found, CheckRequest)
        assert (found.reason, found.tags) == ("push", (SAMPLES["referrer"]["detail"]["image-tag"],))

    def test_replicated_tag_is_a_push_that_names_its_source(self) -> None:
        digest = SAMPLES["replication"]["detail"]["image-digest"]
        assert meaning(SAMPLES["replication"]) == CheckRequest(
            "push", "mirror/alpine", ("3.20",), AT, digest, replicated_from="111122223333 in us-west-2"
        )

    def test_cached_tag_becomes_a_check(self) -> None:
        assert meaning(SAMPLES["pull_through_cache.success"]) == CheckRequest(
            "cache", "docker-hub/library/alpine", ("3.20",), AT, DIGEST
        )

    def test_cache_failure_becomes_a_check_with_its_reason(self) -> None:
        failure = CacheFailure(
            "UpstreamAccessDenied",
            "The upstream registry refused the credentials in the secret of the pull through cache rule",
        )
        assert meaning(SAMPLES["pull_through_cache.failure"]) == CheckRequest(
            "cache", "docker-hub/library/alpine", ("3.20",), AT, cache_failure=failure
        )

    def test_finished_scan_has_its_counts(self) -> None:
        assert meaning(SAMPLES["image_scan"]) == ScanFinished(
            "mirror/alpine", DIGEST, ("3.20",), {"CRITICAL": 1, "MEDIUM": 4}, AT
        )

    def test_finished_scan_of_an_untagged_image_names_no_tag(self) -> None:
        found = meaning(changed("image_scan", image_tags=[]))
        assert found == ScanFinished("mirror/alpine", DIGEST, (), {"CRITICAL": 1, "MEDIUM": 4}, AT)

    @pytest.mark.parametrize("name", ["scan", "finding"])
    def test_event_of_inspector_names_the_image_and_no_tag(self, name: str) -> None:
        """So that nothing is recorded of it: its counts have other names than ECR's."""
        assert meaning(INSPECTED[name]) == ScanFinished("mirror/alpine", DIGEST, (), {}, AT)


class TestEventsOfInspector:
    @pytest.mark.parametrize(
        ("event", "why"),
        [
            (INSPECTED["finding"] | {"detail": {"status": "ACTIVE"}}, IgnoredReason.UNKNOWN),
            (INSPECTED["finding"] | {"detail": {"status": "CLOSED", "resources": []}}, IgnoredReason.UNKNOWN),
            (INSPECTED["finding"] | {"detail": {"status": "CLOSED", "resources": [{}]}}, IgnoredReason.MISNAMED),
            (INSPECTED["scan"] | {"detail": {}}, IgnoredReason.MISNAMED),
            (INSPECTED["scan"] | {"account": "210987654321"}, IgnoredReason.FOREIGN),
            (INSPECTED["scan"] | {"source": "aws.ecr"}, IgnoredReason.UNKNOWN),
            (SAMPLES["image_scan"] | {"source": "aws.inspector2"}, IgnoredReason.UNKNOWN),
        ],
    )
    def test_ignored_event_has_a_reason(self, event: dict[str, Any], why: IgnoredReason) -> None:
        found = meaning(event)
        assert isinstance(found, IgnoredEvent)
        assert found.why is why

    def test_other_form_is_an_error(self) -> None:
        with pytest.raises(InvalidEventError):
            meaning(INSPECTED["finding"] | {"detail": {"resources": "all"}})


class TestFailureOfTheCache:
    def test_reason_is_one_short_line_without_credentials(self) -> None:
        reason = "no\nway \x1b[31m https://cdn.example/blob?X-Amz-Signature=secret&b=1 " + "x" * 5000
        found = meaning(changed("pull_through_cache.failure", failure_reason=reason))
        assert isinstance(found, CheckRequest)
        assert found.cache_failure is not None
        said = found.cache_failure.reason
        assert said.startswith("no way [31m https://cdn.example/blob?… xxx")
        assert len(said) <= 300

    @pytest.mark.parametrize(("status", "code"), [("FAILED", "FAILED"), ("", "unknown"), (None, "unknown")])
    def test_missing_code_is_replaced_by_the_status(self, status: str | None, code: str) -> None:
        event = changed("pull_through_cache.failure", sync_status=status, failure_code=None, failure_reason=None)
        found = meaning(event)
        assert isinstance(found, CheckRequest)
        assert found.cache_failure == CacheFailure(code)


class TestIgnored:
    @pytest.mark.parametrize(
        ("event", "why"),
        [
            (SAMPLES["push"] | {"account": "999999999999"}, IgnoredReason.FOREIGN),
            (SAMPLES["push"] | {"region": "us-east-1"}, IgnoredReason.FOREIGN),
            (SAMPLES["push"] | {"source": "my.own"}, IgnoredReason.UNKNOWN),
            (SAMPLES["push"] | {"detail-type": "ECR Artifact Action"}, IgnoredReason.UNKNOWN),
            (changed("push", action_type="UPDATE_STORAGE_CLASS"), IgnoredReason.UNKNOWN),
            (changed("referrer", action_type="DELETE"), IgnoredReason.UNKNOWN),
            (changed("push", result="FAILURE"), IgnoredReason.FAILED),
            (changed("image_scan", scan_status="FAILED"), IgnoredReason.FAILED),
            (changed("push", image_tag=None), IgnoredReason.UNTAGGED),
            (changed("push", image_tag=""), IgnoredReason.UNTAGGED),
            (changed("referrer", image_tag=None), IgnoredReason.UNTAGGED),
            (changed("pull_through_cache.success", image_tag=None), IgnoredReason.UNTAGGED),
            (changed("replication", action_type="DELETE"), IgnoredReason.UNKNOWN),
            (changed("replication", result="FAILED"), IgnoredReason.FAILED),
            (changed("replication", image_tag=None), IgnoredReason.UNTAGGED),
            (changed("replication", source_account="a b"), IgnoredReason.MISNAMED),
            (changed("replication", source_region="<b>"), IgnoredReason.MISNAMED),
            (changed("replication", source_account="123456789012", source_region="eu-west-1"), IgnoredReason.FOREIGN),
            (changed("push", repository_name=None), IgnoredReason.MISNAMED),
            (changed("push", repository_name="Mirror/App"), IgnoredReason.MISNAMED),
            (changed("push", repository_name="a/../b"), IgnoredReason.MISNAMED),
            (changed("push", repository_name="a" * 257), IgnoredReason.MISNAMED),
            (changed("push", image_tag="*"), IgnoredReason.MISNAMED),
            (changed("push", image_tag="a" * 129), IgnoredReason.MISNAMED),
            (changed("push", image_digest="sha256:beef"), IgnoredReason.MISNAMED),
            (changed("image_scan", image_digest="beef"), IgnoredReason.MISNAMED),
            (changed("image_scan", repository_name="A"), IgnoredReason.MISNAMED),
        ],
    )
    def test_ignored_event_has_a_reason(self, event: dict[str, Any], why: IgnoredReason) -> None:
        found = meaning(event)
        assert isinstance(found, IgnoredEvent)
        assert found.why is why

    @pytest.mark.parametrize("name", ["a__b/c--d", "a.b_c-d/e", "0a"])
    def test_valid_name_is_not_ignored(self, name: str) -> None:
        assert isinstance(meaning(changed("push", repository_name=name)), CheckRequest)

    def test_event_without_a_digest_is_not_ignored(self) -> None:
        found = meaning(changed("delete", image_digest=None))
        assert isinstance(found, CheckRequest)
        assert found.digest is None


class TestShapeThatChanged:
    @pytest.mark.parametrize(
        "event",
        [
            SAMPLES["push"] | {"detail": "text"},
            SAMPLES["push"] | {"time": "yesterday"},
            SAMPLES["push"] | {"account": None},
            {"detail-type": "ECR Image Action"},
            {"detail-type": 7},
            changed("push", image_tag=7),
            changed("image_scan", finding_severity_counts=["HIGH"]),
            changed("image_scan", image_tags="3.20"),
        ],
    )
    def test_changed_shape_is_an_invalid_event_error(self, event: dict[str, Any]) -> None:
        with pytest.raises(InvalidEventError):
            meaning(event)

    @pytest.mark.parametrize("text", ['{"detail-type":' + "[" * 100_000, '{"a":' * 100_000])
    def test_deep_nesting_is_an_invalid_event_error(self, text: str) -> None:
        with pytest.raises(InvalidEventError):
            read_queued(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted({field for sample in SAMPLES.values() for field in sample["detail"]})
ENVELOPE = sorted(SAMPLES["push"])


@st.composite
def mutated(draw: st.DrawFn) -> object:
    """Change some fields of a sample, of its envelope or its detail, into anything."""
    sample = json.loads(json.dumps(SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))]))
    for field in draw(st.lists(st.sampled_from(FIELDS), max_size=4)):
        sample["detail"][field] = draw(JSON)
    for field in draw(st.lists(st.sampled_from(ENVELOPE), max_size=1)):
        sample[field] = draw(JSON)
    return sample


def is_typed(text: str | bytes) -> bool:
    """Whether a message comes to a typed answer, however little sense it makes."""
    try:
        received = read_queued(text)
        found = read_ecr_event(received, HOME) if isinstance(received, AwsEvent) else received
    except InvalidEventError:
        return True
    if isinstance(found, CheckRequest):
        # What is asked is what the queue carries: it can be sent again as it is.
        return read_queued(found.to_json()) == found
    return isinstance(found, IgnoredEvent | ScanFinished) or not isinstance(received, AwsEvent)


class TestFuzz:
    @given(mutated())
    @settings(max_examples=200)
    def test_mutated_sample_is_read_or_refused(self, event: object) -> None:
        assert is_typed(json.dumps(event))

    @given(JSON)
    @settings(max_examples=100)
    def test_any_json_is_read_or_refused(self, event: object) -> None:
        assert is_typed(json.dumps(event))

    @given(st.binary(max_size=200))
    @settings(max_examples=100)
    def test_any_bytes_are_read_or_refused(self, body: bytes) -> None:
        assert is_typed(body)

    @given(mutated().filter(lambda event: isinstance(event, dict)), st.text(max_size=30))
    @settings(max_examples=100)
    def test_ignored_event_fits_a_log_line(self, event: Any, kind: str) -> None:
        try:
            found = meaning(event | {"detail-type": kind + "\n" + "x" * 500})
        except InvalidEventError:
            return
        assert isinstance(found, IgnoredEvent)
        assert len(found.kind) <= 80
        assert found.kind.isprintable()


def test_digest_of_another_algorithm_is_read() -> None:
    found = meaning(changed("push", image_digest=digest_of(b"x", "sha512")))
    assert isinstance(found, CheckRequest)
