"""Finds what runs have made, by name and tag, and removes it: after a run, an interrupt, or a run that was killed.

What has not the name of a run is never touched, nor is a stack, a log group or a full bucket without the tag of a run.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from tests.live.account import Account
from tests.live.naming import PREFIX, TAG, Run, run_of
from tests.live.waiting import Waits

RESTORE_TAG: Final = f"{TAG}-restore"
"""The key of the tag on a run's bucket that says which account setting to restore, as NAME=VALUE."""

_LOG_PATHS: Final = ("", "/aws/vendedlogs/states/")  # where the template puts them
_STACK_SECONDS: Final = 1800.0
_STACK_TRIES: Final = 2
_GONE_SECONDS: Final = 120.0
_BATCH: Final = 1000
_DELETED: Final = "DELETE_COMPLETE"


class Leftover(NamedTuple):
    """One thing that a run has made."""

    kind: str
    name: str


class NotRemovedError(Exception):
    """Something was not removed; the message says why."""


_FAILURES: Final = (ClientError, BotoCoreError, NotRemovedError)


class Kind(NamedTuple):
    """One kind of thing: its name in listings, how all of them are listed, and how one is removed."""

    plural: str
    names: Callable[[Account], Iterable[str]]
    remove: Callable[[Account, str, Waits], None]
    run_of: Callable[[str], Run | None] = run_of


def clean(account: Account, run: Run | None, waits: Waits, tell: Callable[[str], None]) -> list[str]:
    """Remove what one run has made, or all runs, and tell what is left; return what that is, and why."""
    left = _clean(account, run, waits, tell)
    for each in left:
        tell(f"NOT REMOVED: {each}")
    return left


def _clean(account: Account, run: Run | None, waits: Waits, tell: Callable[[str], None]) -> list[str]:
    whose = run.name if run is not None else "all runs"
    tell(f"removing what {whose} made")
    failures = _remove(account, run, waits, tell)
    try:
        # SQS lists a queue for up to a minute after it was deleted.
        left = leftovers(account, run) if failures else _left_in_the_end(account, run, waits)
    except _FAILURES as error:
        return [*failures, f"what is left was not listed: {error}"]
    names = [each.kind for each in left]
    tell(f"left of {whose}: " + " · ".join(f"{names.count(kind.plural)} {kind.plural}" for kind in KINDS))
    return [*failures, *(f"{each.kind}: {each.name} is still there" for each in left)]


def leftovers(account: Account, run: Run | None = None) -> list[Leftover]:
    """List what is there of one run, or of all, in the order in which it is removed."""
    return [Leftover(kind.plural, name) for kind in KINDS for name in kind.names(account) if _is_of(kind, name, run)]


def _left_in_the_end(account: Account, run: Run | None, waits: Waits) -> list[Leftover]:
    gone = waits.until(lambda: None if leftovers(account, run) else True, _GONE_SECONDS)
    return [] if gone is not None else leftovers(account, run)


def _remove(account: Account, run: Run | None, waits: Waits, tell: Callable[[str], None]) -> list[str]:
    failures = []
    for kind in KINDS:
        try:
            names = [name for name in kind.names(account) if _is_of(kind, name, run)]
        except _FAILURES as error:
            failures.append(f"{kind.plural} were not listed: {error}")
            continue
        for name in names:
            tell(f"  {kind.plural}: {name}")
            try:
                kind.remove(account, name, waits)
            except _FAILURES as error:
                failures.append(f"{kind.plural}: {name}: {error}")
    return failures


def _is_of(kind: Kind, name: str, run: Run | None) -> bool:
    owner = kind.run_of(name)
    return owner is not None and run in (None, owner)


# --- stacks -----------------------------------------------------------------------------------------------------------


def _stacks(account: Account) -> Iterator[str]:
    for page in account.client("cloudformation").get_paginator("describe_stacks").paginate():
        for stack in page["Stacks"]:
            tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
            # One of which only a change set was made has no resources yet, and may have no tags.
            if tags.get(TAG) == stack["StackName"] or stack["StackStatus"] == "REVIEW_IN_PROGRESS":
                yield stack["StackName"]


def _remove_stack(account: Account, name: str, waits: Waits) -> None:
    cloudformation = account.client("cloudformation")
    stack_id = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
    tries = int(_begin_deletion(cloudformation, stack_id))

    def ended() -> str | None:
        nonlocal tries
        described = cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]
        status: str = described["StackStatus"]
        if status == _DELETED:
            return ""
        if status == "DELETE_FAILED" and tries >= _STACK_TRIES:
            return f"{status}: {described.get('StackStatusReason', 'no reason')}"
        if status != "DELETE_IN_PROGRESS":
            tries += _begin_deletion(cloudformation, stack_id)
        return None

    waited = waits.until(ended, _STACK_SECONDS)
    if waited is None or waited.value:
        raise NotRemovedError(waited.value if waited is not None else f"it is not deleted after {_STACK_SECONDS:.0f} s")


def _begin_deletion(cloudformation: Any, stack_id: str) -> bool:
    """Begin to delete a stack; a stack that is rolled back or updated at the moment cannot be deleted yet."""
    try:
        cloudformation.delete_stack(StackName=stack_id)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return False
    return True


# --- events -----------------------------------------------------------------------------------------------------------


def _rules(account: Account) -> Iterator[str]:
    for page in account.client("events").get_paginator("list_rules").paginate(NamePrefix=PREFIX):
        yield from (rule["Name"] for rule in page["Rules"])


def _remove_rule(account: Account, name: str, _: Waits) -> None:
    events = account.client("events")
    targets = [target["Id"] for target in events.list_targets_by_rule(Rule=name)["Targets"]]
    if targets:
        events.remove_targets(Rule=name, Ids=targets)
    events.delete_rule(Name=name)


def _queues(account: Account) -> Iterator[str]:
    for page in account.client("sqs").get_paginator("list_queues").paginate(QueueNamePrefix=PREFIX):
        yield from (url.rpartition("/")[2] for url in page.get("QueueUrls", []))


def _remove_queue(account: Account, name: str, _: Waits) -> None:
    sqs = account.client("sqs")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])


# --- ECR --------------------------------------------------------------------------------------------------------------


def _cache_rules(account: Account) -> Iterator[str]:
    for page in account.client("ecr").get_paginator("describe_pull_through_cache_rules").paginate():
        yield from (rule["ecrRepositoryPrefix"] for rule in page["pullThroughCacheRules"])


def _remove_cache_rule(account: Account, name: str, _: Waits) -> None:
    account.client("ecr").delete_pull_through_cache_rule(ecrRepositoryPrefix=name)


def _templates(account: Account) -> Iterator[str]:
    for page in account.client("ecr").get_paginator("describe_repository_creation_templates").paginate():
        yield from (template["prefix"] for template in page["repositoryCreationTemplates"])


def _remove_template(account: Account, name: str, _: Waits) -> None:
    account.client("ecr").delete_repository_creation_template(prefix=name)


def _repositories(account: Account) -> Iterator[str]:
    for page in account.client("ecr").get_paginator("describe_repositories").paginate():
        yield from (repository["repositoryName"] for repository in page["repositories"])


def _remove_repository(account: Account, name: str, _: Waits) -> None:
    account.client("ecr").delete_repository(repositoryName=name, force=True)


# --- buckets and logs -------------------------------------------------------------------------------------------------


def _buckets(account: Account) -> Iterator[str]:
    s3 = account.client("s3")
    for name in (bucket["Name"] for bucket in s3.list_buckets()["Buckets"]):
        # Buckets of all Regions are listed; a run in another Region may still need its own.
        if run_of(name) and _region_of(s3, name) == account.region and (_is_tagged(s3, name) or _is_empty(s3, name)):
            yield name


def _region_of(s3: Any, bucket: str) -> str:
    return s3.get_bucket_location(Bucket=bucket).get("LocationConstraint") or "us-east-1"


def _is_tagged(s3: Any, bucket: str) -> bool:
    owner = run_of(bucket)
    return owner is not None and _bucket_tags(s3, bucket).get(TAG) == owner.name


def _is_empty(s3: Any, bucket: str) -> bool:
    """Tell whether a bucket has nothing in it, as one has whose run was killed before it gave the tag."""
    found = s3.list_object_versions(Bucket=bucket, MaxKeys=1)
    return not found.get("Versions") and not found.get("DeleteMarkers")


def _remove_bucket(account: Account, name: str, _: Waits) -> None:
    s3 = account.client("s3")
    if _is_tagged(s3, name):
        _restore_setting(account, _bucket_tags(s3, name).get(RESTORE_TAG, ""))
        _empty(s3, name)
    s3.delete_bucket(Bucket=name)  # without the tag only if it is empty


def _bucket_tags(s3: Any, name: str) -> dict[str, str]:
    try:
        found = s3.get_bucket_tagging(Bucket=name)["TagSet"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchTagSet":
            raise
        return {}
    return {tag["Key"]: tag["Value"] for tag in found}


def _empty(s3: Any, name: str) -> None:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
        for start in range(0, len(objects), _BATCH):
            failed = s3.delete_objects(
                Bucket=name, Delete={"Objects": objects[start : start + _BATCH], "Quiet": True}
            ).get("Errors")
            if failed:
                raise NotRemovedError(f"{failed[0]['Key']}: {failed[0].get('Code')} {failed[0].get('Message')}")


def _restore_setting(account: Account, text: str) -> None:
    """Set an account setting back to what it was before a run that was killed."""
    name, found, value = text.partition("=")
    if found:
        account.client("ecr").put_account_setting(name=name, value=value)


def _log_groups(account: Account) -> Iterator[str]:
    logs = account.client("logs")
    for path in _LOG_PATHS:
        for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=f"{path}{PREFIX}"):
            for group in page["logGroups"]:
                owner = run_of(group["logGroupName"].removeprefix(path))
                tags = logs.list_tags_for_resource(resourceArn=group["arn"].removesuffix(":*"))["tags"]
                if owner is not None and tags.get(TAG) == owner.name:
                    yield group["logGroupName"]


def _remove_log_group(account: Account, name: str, _: Waits) -> None:
    account.client("logs").delete_log_group(logGroupName=name)


def _run_of_log_group(name: str) -> Run | None:
    return next(filter(None, (run_of(name.removeprefix(path)) for path in _LOG_PATHS)), None)


KINDS: Final = (
    Kind("stacks", _stacks, _remove_stack),  # first, so that no function makes anything again
    Kind("event rules", _rules, _remove_rule),
    Kind("queues", _queues, _remove_queue),
    Kind("cache rules", _cache_rules, _remove_cache_rule),
    Kind("creation templates", _templates, _remove_template),
    Kind("repositories", _repositories, _remove_repository),
    Kind("buckets", _buckets, _remove_bucket),
    Kind("log groups", _log_groups, _remove_log_group, _run_of_log_group),
)
