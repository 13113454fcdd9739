"""CloudTrail's events about pulls: decoded or ignored, whatever they hold."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.oci.reference import is_tag
from pullahead.on_demand.cloudtrail import MAX_EVENT_BYTES, IgnoredPull, Pull, read_pull
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.repository_names import is_repository_name

EVENTS = Path(__file__).parents[3] / "events"
NODE = "arn:aws:iam::123456789012:role/node"
DIGEST = "sha256:" + "0123456789abcdef" * 4


def sample(name: str = "batch_get_image") -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"cloudtrail.{name}.json").read_text(encoding="utf-8"))
    return event


def changed(path: str, value: Any) -> str:
    """Change one field of the sample; None takes it out."""
    event = sample()
    *way, last = path.split(".")
    at = event
    for name in way:
        at = at[name]
    at[last] = value
    if value is None:
        del at[last]
    return json.dumps(event)


def ignored(text: str | bytes, *own_roles: str) -> str:
    read = read_pull(text, own_roles)
    assert isinstance(read, IgnoredPull), read
    return read.reason


def pulled(text: str | bytes) -> Pull:
    read = read_pull(text)
    assert isinstance(read, Pull), read
    return read


def test_pull_has_repository_tag_time_and_role() -> None:
    read = pulled(json.dumps(sample()))
    assert (read.repository, read.tags, read.missing) == ("mirror/hub/library/alpine", ("3.20",), False)
    assert (read.at.isoformat(), read.by) == ("2026-11-24T09:06:12+00:00", NODE)
    assert read.keys == (MirrorKey("mirror/hub/library/alpine", "3.20"),)


def test_pull_from_a_missing_repository_is_marked_missing() -> None:
    assert pulled(json.dumps(sample("batch_get_image.missing_repository"))).missing


def test_tags_and_digests_are_listed_once() -> None:
    ids = [{"imageTag": "b"}, {"imageDigest": DIGEST}, {"imageTag": "a", "imageDigest": DIGEST}, {"imageTag": "b"}]
    read = pulled(changed("detail.requestParameters.imageIds", [*ids, {"imageDigest": DIGEST}]))
    assert (read.tags, read.digests) == (("b", "a"), (DIGEST,))
    assert [key.tag for key in read.keys] == ["b", "a", f"digest-{DIGEST.removeprefix('sha256:')}"]


@pytest.mark.parametrize(
    "ids", [[], [{"imageDigest": "sha256:12"}], [{"imageDigest": 3}], [{"imageTag": "no tag"}], [{"imageTag": 3}], [{}]]
)
def test_pull_without_a_tag_or_a_digest_is_ignored(ids: Any) -> None:
    assert "digest" in ignored(changed("detail.requestParameters.imageIds", ids))


def test_own_pull_is_ignored() -> None:
    assert "Pullahead's own" in ignored(json.dumps(sample()), "arn:aws:iam::123456789012:role/other", NODE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("detail.userIdentity.invokedBy", "pullthroughcache.ecr.amazonaws.com"),
        ("detail.userIdentity.invokedBy", "replication.ecr.amazonaws.com"),
        (
            "detail.userIdentity.sessionContext.sessionIssuer.arn",
            "arn:aws:iam::1:role/aws-service-role/inspector2.amazonaws.com/AWSServiceRoleForAmazonInspector2",
        ),
    ],
)
def test_pull_by_an_aws_service_is_ignored(field: str, value: str) -> None:
    assert "AWS service" in ignored(changed(field, value))


@pytest.mark.parametrize("code", ["AccessDenied", "AccessDeniedException", "ThrottlingException", ""])
def test_denied_pull_is_ignored(code: str) -> None:
    assert "refused" in ignored(changed("detail.errorCode", code))


@pytest.mark.parametrize(
    ("field", "value"),
    [("detail.eventName", "GetDownloadUrlForLayer"), ("detail.eventSource", "s3.amazonaws.com")],
)
def test_other_calls_are_ignored(field: str, value: str) -> None:
    assert "not BatchGetImage" in ignored(changed(field, value))


def test_registry_of_another_account_is_ignored() -> None:
    assert "another account" in ignored(changed("detail.requestParameters.registryId", "210987654321"))
    assert pulled(changed("detail.requestParameters.registryId", None)).tags == ("3.20",)


@pytest.mark.parametrize("name", ["", "x", "../etc", "Mirror/App", "a//b", "a" * 300, "mirror/hub/{path}"])
def test_invalid_repository_name_is_ignored(name: str) -> None:
    assert "not a valid repository name" in ignored(changed("detail.requestParameters.repositoryName", name))


@pytest.mark.parametrize(
    "field",
    [
        "detail",
        "account",
        "detail.userIdentity",
        "detail.requestParameters",
        "detail.requestParameters.imageIds",
        "detail.requestParameters.repositoryName",
        "detail.eventTime",
        "detail.eventName",
    ],
)
@pytest.mark.parametrize("value", [None, 1, ["x"]])
def test_event_in_another_format_is_ignored(field: str, value: Any) -> None:
    assert "not a pull" in ignored(changed(field, value))


def test_pull_by_an_identity_without_an_arn_is_accepted() -> None:
    assert pulled(changed("detail.userIdentity", {"type": "Unknown"})).by == "somebody"
    assert pulled(changed("detail.userIdentity", {"arn": NODE, "sessionContext": {}})).by == NODE


def test_more_images_than_a_call_takes_are_ignored() -> None:
    assert "not a pull" in ignored(changed("detail.requestParameters.imageIds", [{"imageTag": "a"}] * 101))


def test_too_large_text_is_ignored() -> None:
    assert "larger" in ignored(changed("id", "x" * MAX_EVENT_BYTES))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", b"\xff\xfe", "[" * 100_000, '{"detail": {}}', "\ud800"])
def test_text_that_is_not_an_event_is_ignored(text: str | bytes) -> None:
    ignored(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
places = st.sampled_from(
    [
        "account",
        "detail.eventName",
        "detail.eventTime",
        "detail.errorCode",
        "detail.userIdentity",
        "detail.userIdentity.arn",
        "detail.userIdentity.sessionContext",
        "detail.requestParameters",
        "detail.requestParameters.repositoryName",
        "detail.requestParameters.registryId",
        "detail.requestParameters.imageIds",
    ]
)


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_any_text_is_ignored(text: str | bytes) -> None:
    assert isinstance(read_pull(text), IgnoredPull)


@given(places, json_values)
def test_any_value_anywhere_is_ignored_or_a_pull_with_valid_names(place: str, value: Any) -> None:
    read = read_pull(changed(place, value))
    if isinstance(read, Pull):
        assert is_repository_name(read.repository)
        assert read.tags
        assert all(map(is_tag, read.tags))
        assert read.at.tzinfo is not None
