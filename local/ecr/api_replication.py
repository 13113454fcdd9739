"""The operations of the ECR API on replication, which happens at once among the Regions that are open here.

Rules: ECR user guide, "Private image replication", "Replicating image deletions" and "Replication backfill". What is
replicated is not replicated on; a destination repository that is missing is created with ECR's defaults.
"""

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from local.ecr.errors import EcrError, invalid_parameter
from local.ecr.events import image_event, replication_event
from local.ecr.identity import ACCOUNT_ID, DEFAULT_PAGE
from local.ecr.images import ImageFailureError, ImageId, delete_image, find_image, put_image
from local.ecr.manifests import Manifest
from local.ecr.paging import page_of
from local.ecr.repositories import Layer, Mutability, Registry, Repository
from local.ecr.store import BlobStore

Parameters = Mapping[str, Any]
Answer = dict[str, Any]
Emit = Callable[[dict[str, Any]], None]

_EXISTS = "ImageAlreadyExistsException"


class RegionalRegistry(NamedTuple):
    """A registry as replication sees it: at either end."""

    region: str
    registry: Registry
    store: BlobStore
    emit: Emit


class _Copied(NamedTuple):
    manifests: Sequence[Manifest]  # children first, the root last
    layers: Mapping[str, Layer]


class ReplicationOperations:
    """What the API does with the replication from one registry."""

    def __init__(
        self, here: RegionalRegistry, find: Callable[[str], RegionalRegistry], now: Callable[[], datetime]
    ) -> None:
        self._here, self._find, self._now = here, find, now
        self._rules: list[Answer] = []
        self._backfills: dict[str, Answer] = {}

    def table(self) -> dict[str, Callable[[Parameters], Answer]]:
        """List the operations by their names in the API."""
        return {
            "PutReplicationConfiguration": self.put,
            "DescribeRegistry": self.describe,
            "StartReplicationBackfill": self.start_backfill,
            "StopReplicationBackfill": self.stop_backfill,
            "ListReplicationBackfills": self.list_backfills,
            "DescribeReplicationBackfillResults": self.describe_backfill,
        }

    def clear(self) -> None:
        """Forget the rules and the backfills."""
        self._rules, self._backfills = [], {}

    def put(self, p: Parameters) -> Answer:
        """PutReplicationConfiguration."""
        rules = p["replicationConfiguration"]["rules"]
        for destination in (each for rule in rules for each in rule["destinations"]):
            if destination["registryId"] != ACCOUNT_ID or destination["region"] == self._here.region:
                raise invalid_parameter(f"The local ECR does not replicate from {self._here.region} to {destination}")
        self._rules = list(rules)
        return {"replicationConfiguration": {"rules": self._rules}}

    def describe(self, _p: Parameters) -> Answer:
        """DescribeRegistry."""
        return {"registryId": ACCOUNT_ID, "replicationConfiguration": {"rules": self._rules}}

    def start_backfill(self, p: Parameters) -> Answer:
        """StartReplicationBackfill: it is complete when the answer comes."""
        destination = p["destination"]
        if not any(destination in rule["destinations"] for rule in self._rules):
            raise invalid_parameter(f"The destination {destination} is in no replication rule")
        there = self._find(destination["region"])
        results = [
            self._copy(there, repository.name, ImageId(digest, tag))
            for repository in self._here.registry
            if any(destination in rule["destinations"] for rule in self._rules_of(repository.name))
            for tag, digest in sorted(repository.tags.items())
        ]
        failed = sum(result["status"] == "FAILED" for result in results)
        moment = self._now().timestamp()
        backfill = {
            "replicationBackfillId": str(uuid.uuid4()),
            "destination": destination,
            "status": "COMPLETE",
            "progress": {
                "totalReplicationCount": len(results),
                "completedReplicationCount": len(results) - failed,
                "failedReplicationCount": failed,
            },
            "startedAt": moment,
            "endedAt": moment,
            "results": results,
        }
        self._backfills[backfill["replicationBackfillId"]] = backfill
        shown = ("replicationBackfillId", "destination", "startedAt")
        return {"registryId": ACCOUNT_ID, **{name: backfill[name] for name in shown}, "status": "PREPARING"}

    def stop_backfill(self, p: Parameters) -> Answer:
        """StopReplicationBackfill: it has always ended before."""
        backfill = self._backfill(p)
        message = f"The replication backfill is {backfill['status']}"
        raise EcrError("ReplicationBackfillInvalidStatusException", message)

    def list_backfills(self, _p: Parameters) -> Answer:
        """ListReplicationBackfills."""
        found = [
            {name: value for name, value in each.items() if name != "results"} for each in self._backfills.values()
        ]
        return {"registryId": ACCOUNT_ID, "backfills": found}

    def describe_backfill(self, p: Parameters) -> Answer:
        """DescribeReplicationBackfillResults."""
        backfill, wanted = self._backfill(p), p.get("resultStatusFilter")
        results = [each for each in backfill["results"] if wanted in (None, each["status"])]
        page = page_of(
            list(enumerate(results)),
            lambda each: f"{each[0]:08}",
            p.get("maxResults", DEFAULT_PAGE),
            p.get("nextToken"),
        )
        return {"registryId": ACCOUNT_ID, **backfill, "results": [each for _, each in page.items], **page.token}

    def replicate(self, repository: str, image: ImageId) -> None:
        """Replicate what was pushed."""
        for rule in self._rules_of(repository):
            for destination in rule["destinations"]:
                self._copy(self._find(destination["region"]), repository, image)

    def replicate_deletion(self, repository: str, gone: ImageId) -> None:
        """Replicate what was deleted, where a rule says so: a tag, or with its last tag the image and all its tags."""
        source = self._here.registry.find(repository)
        is_whole = source is None or gone.digest not in source.images
        for rule in self._rules_of(repository):
            if rule.get("deleteReplication", {}).get("enabled", False):
                for destination in rule["destinations"]:
                    self._delete(self._find(destination["region"]), repository, gone, is_whole=is_whole)

    def _copy(self, there: RegionalRegistry, name: str, image: ImageId) -> Answer:
        read = self._read(name, image.digest or "")
        for digest in read.layers:
            if not there.store.blob_path(digest).exists():
                shutil.copyfile(self._here.store.blob_path(digest), there.store.blob_path(digest))
        failure = ""
        with there.registry.lock:
            target = there.registry.find(name) or self._create(there.registry, name)
            target.layers.update(
                {digest: layer for digest, layer in read.layers.items() if digest not in target.layers}
            )
            *children, root = read.manifests
            for child in children:
                self._put(target, child, None)
            failure = self._put(target, root, image.tag)
        if not failure:
            there.emit(image_event("PUSH", name, root.digest, image.tag, self._now()))
        there.emit(replication_event(name, image.to_api(), self._here.region, self._now(), succeeded=not failure))
        failed = {"failureCode": failure} if failure else {}
        return {
            "repositoryName": name,
            "imageId": image.to_api(),
            "status": "FAILED" if failure else "COMPLETE",
            **failed,
        }

    def _put(self, target: Repository, manifest: Manifest, tag: str | None) -> str:
        try:
            put_image(target, manifest, tag, None, self._now())
        except EcrError as error:
            return "" if error.code == _EXISTS else error.code.removesuffix("Exception")
        return ""

    def _delete(self, there: RegionalRegistry, name: str, gone: ImageId, *, is_whole: bool) -> None:
        with there.registry.lock:
            target = there.registry.find(name)
            if target is None:
                return
            try:
                find_image(target, gone if not is_whole else ImageId(gone.digest, None))
                deleted = delete_image(target, ImageId(gone.digest, None) if is_whole else gone)
            except ImageFailureError:  # it is not there, or the tag is another image's by now
                return
        for each in deleted:
            there.emit(image_event("DELETE", name, each.digest or "", each.tag, self._now()))

    def _read(self, name: str, digest: str) -> _Copied:
        with self._here.registry.lock:
            repository = self._here.registry.get(name)
            manifests = list(_with_children(repository, digest))
            layers = {blob.digest: repository.layers[blob.digest] for manifest in manifests for blob in manifest.blobs}
        return _Copied(manifests, layers)

    def _create(self, registry: Registry, name: str) -> Repository:
        made = Repository(name, self._now(), Mutability(), False, {"encryptionType": "AES256"}, {})
        registry.add(made)
        return made

    def _rules_of(self, repository: str) -> Iterator[Answer]:
        for rule in self._rules:
            filters = rule.get("repositoryFilters", [])
            if not filters or any(repository.startswith(each["filter"]) for each in filters):
                yield rule

    def _backfill(self, p: Parameters) -> Answer:
        found = self._backfills.get(p["replicationBackfillId"])
        if found is None:
            message = f"There is no replication backfill '{p['replicationBackfillId']}'"
            raise EcrError("ReplicationBackfillNotFoundException", message)
        return found


def _with_children(repository: Repository, digest: str) -> Iterator[Manifest]:
    manifest = repository.images[digest].manifest
    for child in manifest.children:
        yield from _with_children(repository, child.digest)
    yield manifest
