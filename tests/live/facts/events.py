"""Facts about the events by which Pullahead is told of pushes, deletions, scans and pulls."""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from botocore.exceptions import ClientError

from local.images import make_image, make_index
from pullahead.checks.ecr_events import IgnoredEvent, IgnoredReason
from pullahead.messages import CheckRequest, ScanFinished
from pullahead.oci import media_types
from pullahead.on_demand.cloudtrail import Pull, read_pull
from tests.live.event_queue import Event
from tests.live.fact import Finding, Section, UnmetError
from tests.live.facts.pull_through_cache import decoded
from tests.live.facts.stack import mirrored
from tests.live.site import Site, refusal
from tests.live.upstreams import MIRRORED
from tests.live.waiting import Waited

SECTION: Final = Section("Events", hears_events=True)

_GUIDE: Final = "Amazon ECR User Guide, Amazon ECR events and EventBridge"
_READER: Final = ("checks/ecr_events.py", "template.yaml")
_LOCAL: Final = ("local/ecr/events.py",)
_EVENT_SECONDS: Final = 180.0
_SCAN_SECONDS: Final = 300.0
_TRAIL_SECONDS: Final = 600.0
_NO_TRAIL_SECONDS: Final = 30.0
_ENHANCED: Final = ("ValidationException", "UnsupportedImageTypeException", "LimitExceededException")


def _image_action(repository: str, digest: str, action: str) -> Any:
    def matches(event: Event) -> bool:
        detail = event["detail"]
        found = (detail.get("repository-name"), detail.get("image-digest"), detail.get("action-type"))
        return event["detail-type"] in ("ECR Image Action", "ECR Referrer Action") and found == (
            repository,
            digest,
            action,
        )

    return matches


def _heard(site: Site, repository: str, digest: str, action: str) -> Waited[Event] | None:
    return site.events.wait(_image_action(repository, digest, action), _EVENT_SECONDS)


_SILENCE: Final = Finding(False, f"no event within {_EVENT_SECONDS:.0f} s")


@SECTION.fact(
    "A push is told by `ECR Image Action` with action-type PUSH, repository, digest and tag, within seconds.",
    source=_GUIDE,
    relied_on_by=_READER,
    emulated_in=_LOCAL,
)
def push_event(site: Site) -> Finding:
    image, repository = make_image(seed=40), site.repository("events")
    site.push(image, repository, "v1")
    waited = _heard(site, repository, image.digest, "PUSH")
    if waited is None:
        return _SILENCE
    request = decoded(site, waited.value)
    agrees = isinstance(request, CheckRequest) and (request.reason, request.tags) == ("push", ("v1",))
    return Finding(agrees, f"{waited.after}, {waited.value['detail-type']}, resources {waited.value['resources']}")


@SECTION.fact(
    "A deleted tag is told by the same event with action-type DELETE and the tag.",
    source=_GUIDE,
    relied_on_by=_READER,
    emulated_in=_LOCAL,
)
def delete_event(site: Site) -> Finding:
    image, repository = make_image(seed=41), site.repository("events")
    site.push(image, repository, "gone")
    site.ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "gone"}])
    waited = _heard(site, repository, image.digest, "DELETE")
    if waited is None:
        return _SILENCE
    request = decoded(site, waited.value)
    agrees = isinstance(request, CheckRequest) and (request.reason, request.tags) == ("delete", ("gone",))
    return Finding(agrees, f"{waited.after}, image-tag {waited.value['detail'].get('image-tag')}")


class _ToldOfIndex(NamedTuple):
    """What ECR tells of an index that is pushed with a tag."""

    root: Event
    child: Event


def _told_of_index(site: Site) -> _ToldOfIndex:
    """Push an index, once. Raises TimeoutError if one of its manifests is not told of."""

    def push() -> _ToldOfIndex:
        child, repository = make_image(seed=42), site.repository("events")
        index = make_index([child, make_image(seed=43)])
        site.push(index, repository, "index")
        heard = [_heard(site, repository, digest, "PUSH") for digest in (index.digest, child.digest)]
        root, other = (each.value if each is not None else None for each in heard)
        if root is None or other is None:
            raise TimeoutError(f"index told of: {root is not None}, child: {other is not None}, {_SILENCE.seen}")
        return _ToldOfIndex(root, other)

    return site.once("index", push)


@SECTION.fact(
    "The children of an index are told of without a tag; the index with its tag.",
    source=_GUIDE,
    relied_on_by=_READER,
    emulated_in=_LOCAL,
)
def child_event(site: Site) -> Finding:
    told = _told_of_index(site)
    about_child = decoded(site, told.child)
    is_ignored = isinstance(about_child, IgnoredEvent) and about_child.why is IgnoredReason.UNTAGGED
    return Finding(
        is_ignored and isinstance(decoded(site, told.root), CheckRequest),
        f"child: image-tag {told.child['detail'].get('image-tag')!r}; index: {told.root['detail'].get('image-tag')!r}",
    )


@SECTION.fact(
    "EventBridge passes what is tagged by the stack's rules, and leaves out the children of an index.",
    source="Amazon EventBridge User Guide, Comparison operators; inferred for a missing field",
    relied_on_by=("template.yaml",),
    emulated_in=("local/aws/patterns.py",),
    needs_stack=True,
)
def rules_of_the_stack(site: Site) -> Finding:
    told = _told_of_index(site)
    expected = {("EcrImageRule", "index"): (told.root, True), ("EcrImageRule", "child"): (told.child, False)}
    for rule, kind in (("EcrCacheRule", "ECR Pull Through Cache Action"), ("EcrScanRule", "ECR Image Scan")):
        event = site.events.find(lambda each, kind=kind: each["detail-type"] == kind)  # type: ignore[misc]
        if event is not None:  # not in every account or Region
            expected[rule, kind] = (event, True)
    passed = {name: _passes(site, name[0], event) for name, (event, _) in expected.items()}
    seen = ", ".join(f"{rule}: {what} {'passed' if passed[rule, what] else 'left out'}" for rule, what in passed)
    return Finding(passed == {name: wanted for name, (_, wanted) in expected.items()}, seen)


def _passes(site: Site, rule: str, event: Event) -> bool:
    events = site.account.client("events")
    pattern = events.describe_rule(Name=site.stack.resources[rule])["EventPattern"]
    return bool(events.test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"])


@SECTION.fact(
    "A referrer that has a tag is told of by `ECR Image Action` or `ECR Referrer Action`, both with the tag.",
    source=f"{_GUIDE}; which of both is not documented",
    relied_on_by=_READER,
    emulated_in=_LOCAL,
)
def referrer_event(site: Site) -> Finding:
    repository = site.repository("events")
    subject = make_image(seed=44)
    site.push(subject, repository, "subject")
    document = json.loads(make_image(seed=45).root.content)
    document["subject"] = {
        "mediaType": media_types.OCI_MANIFEST,
        "digest": subject.digest,
        "size": len(subject.root.content),
    }
    for digest in make_image(seed=45).blobs:
        site.push_blob(make_image(seed=45).read_blob(digest), repository)
    put = site.ecr.put_image(
        repositoryName=repository,
        imageManifest=json.dumps(document),
        imageTag=f"{subject.digest.replace(':', '-')}.sig",
    )
    waited = _heard(site, repository, put["image"]["imageId"]["imageDigest"], "PUSH")
    if waited is None:
        return _SILENCE
    return Finding(
        isinstance(decoded(site, waited.value), CheckRequest), f"{waited.after}, {waited.value['detail-type']}"
    )


@SECTION.fact(
    "A basic scan that is complete is told by `ECR Image Scan` with tags and counts of findings.",
    source=_GUIDE,
    relied_on_by=("checks/ecr_events.py", "checks/scan_results.py", "template.yaml"),
    emulated_in=("local/ecr/events.py", "local/ecr/api_scans.py"),
    needs_stack=True,
)
def scan_event(site: Site) -> Finding:
    mirrored(site)
    repository = site.run.repository("alpine")
    digest = _tag_child(site, repository, "scanned")
    answer = refusal(lambda: site.ecr.start_image_scan(repositoryName=repository, imageId={"imageTag": "scanned"}))
    if answer.code in _ENHANCED:
        raise UnmetError(f"this registry does not scan on demand: {answer.text}")
    if answer.code:
        raise RuntimeError(answer.text)

    def is_scan(event: Event) -> bool:
        return (event["detail-type"], event["detail"].get("image-digest")) == ("ECR Image Scan", digest)

    waited = site.events.wait(is_scan, _SCAN_SECONDS)
    if waited is None:
        return Finding(False, f"no event within {_SCAN_SECONDS:.0f} s")
    scan, counts = decoded(site, waited.value), waited.value["detail"].get("finding-severity-counts")
    return Finding(isinstance(scan, ScanFinished) and "scanned" in scan.tags, f"{waited.after}, counts {counts}")


def _tag_child(site: Site, repository: str, tag: str) -> str:
    """Give a tag to the amd64 child of the mirrored index, since only a tagged image is told of with a tag."""
    (index,) = site.ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": MIRRORED.tag}])["images"]
    children: Sequence[Any] = json.loads(index["imageManifest"])["manifests"]
    child = next(each for each in children if each.get("platform", {}).get("architecture") == "amd64")
    (image,) = site.ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageDigest": child["digest"]}])[
        "images"
    ]
    refusal(
        lambda: site.ecr.put_image(
            repositoryName=repository,
            imageManifest=image["imageManifest"],
            imageManifestMediaType=image["imageManifestMediaType"],
            imageTag=tag,
        )
    )
    return str(child["digest"])


@SECTION.fact(
    "A pull by tag is told by CloudTrail's event `BatchGetImage`, if a trail logs management events.",
    source="AWS CloudTrail User Guide; Amazon EventBridge User Guide, Read-only management events",
    relied_on_by=("on_demand/cloudtrail.py", "template.yaml"),
    emulated_in=("local/ecr/trail.py",),
)
def pull_event(site: Site) -> Finding:
    repository, image = site.repository("events"), make_image(seed=46)
    site.push(image, repository, "pulled")
    site.ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": "pulled"}])

    def is_pull(event: Event) -> bool:
        asked = event["detail"].get("requestParameters") or {}
        return (event["detail-type"], asked.get("repositoryName")) == ("AWS API Call via CloudTrail", repository)

    has_trail = _has_trail(site)
    waited = site.events.wait(is_pull, _TRAIL_SECONDS if has_trail else _NO_TRAIL_SECONDS)
    if waited is None and not has_trail:
        raise UnmetError("no trail logs management events that read, as far as these credentials can see")
    if waited is None:
        return Finding(False, f"no event within {_TRAIL_SECONDS:.0f} s")
    pull = read_pull(json.dumps(waited.value))
    agrees = isinstance(pull, Pull) and pull.tags == ("pulled",) and not pull.missing
    return Finding(agrees, f"{waited.after}, {type(pull).__name__}")


def _has_trail(site: Site) -> bool:
    """Tell whether a trail logs management events that only read; one of which the user may not know does not count."""
    cloudtrail = site.account.client("cloudtrail")
    try:
        trails = cloudtrail.describe_trails()["trailList"]
    except ClientError:
        return False
    return any(_logs_reads(cloudtrail, trail["TrailARN"]) for trail in trails)


def _logs_reads(cloudtrail: Any, trail: str) -> bool:
    try:
        is_logging = cloudtrail.get_trail_status(Name=trail)["IsLogging"]
        selectors = cloudtrail.get_event_selectors(TrailName=trail)
    except ClientError:
        return False
    plain = [each["ReadWriteType"] for each in selectors.get("EventSelectors", []) if each["IncludeManagementEvents"]]
    fields = [field for each in selectors.get("AdvancedEventSelectors", []) for field in each["FieldSelectors"]]
    is_advanced = any(field["Field"] == "eventCategory" and "Management" in field.get("Equals", []) for field in fields)
    return bool(is_logging and ({"All", "ReadOnly"} & set(plain) or is_advanced))


SECTION.unchecked(
    "events-may-be-lost",
    "ECR sends events on a best-effort basis; a schedule checks what no event told of.",
    source="Amazon EventBridge User Guide, Events from AWS services",
    relied_on_by=("checks/schedule.py",),
    reason="a loss cannot be provoked",
)
SECTION.unchecked(
    "replication-event",
    "What replication writes is told in the destination's Region by `ECR Replication Action` with action-type "
    "REPLICATE, repository, tag, and where it comes from.",
    source=f"{_GUIDE}; the Region in which it arrives is inferred from its sample",
    relied_on_by=_READER,
    reason="replication is a setting of the whole registry, and writes to another Region, where nothing is cleaned",
)
SECTION.unchecked(
    "replicated-deletion",
    "What replication deletes is told by a DELETE event at most, which does not say that replication did it.",
    source="ECR API reference, ReplicationRule (deleteReplication); inferred from the fields of the event",
    relied_on_by=("checks/ecr_events.py", "aws/replications.py"),
    reason="replication is a setting of the whole registry, and writes to another Region, where nothing is cleaned",
)
