"""A service that notices pulls, with its ports in memory; its events are those of the local CloudTrail."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from local.ecr.trail import Trail
from pullahead.mirrors.demand import Demand
from pullahead.mirrors.record import MirrorRecord
from pullahead.oci import Digest
from pullahead.on_demand.notice_pulls import NoticedPulls, NoticePulls
from pullahead.rules.load import load_rules
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.demands import FakeDemands
from tests.fakes.memory import FakeCheckQueue, FakeClock, FakeRecords
from tests.fakes.script import Script

RULES = """\
version: 1
mirrors:
  - {upstream: ghcr.io/team/own, tags: ["1.0"], repository: mirror/hub/library/own}
on_demand:
  - name: hub
    upstream: docker.io/*
    repository: "mirror/hub/{path}"
    allow: ["library/*", "grafana/*:1*"]
    deny: ["library/docker", "*:*-rc*"]
    daily_limit: 3
"""
OWN_ROLE = "arn:aws:iam::123456789012:role/ours"
ALPINE = MirrorKey("mirror/hub/library/alpine", "3.20")


class Pulls:
    """The service. Each of its messages holds one event."""

    def __init__(self) -> None:
        self.script, self.clock = Script(), FakeClock()
        self.rules = load_rules(RULES, source="rules.yaml")
        self.demands, self.records = FakeDemands(self.script), FakeRecords(self.script)
        self.queue = FakeCheckQueue(self.script)
        self.held: set[tuple[str, str]] = set()  # what ECR has
        self.start()

    def start(self) -> None:
        """Start a new process."""
        self.notice = NoticePulls(
            lambda: self.rules,
            self.demands,
            self.records,
            self.queue,
            self.clock,
            frozenset({OWN_ROLE}),
            self.holds_manifest,
        )

    def holds_manifest(self, repository: str, digest: Digest) -> bool:
        with self.script.call("holds_manifest"):
            return (repository, digest) in self.held

    def pull(self, *names: str | MirrorKey, **more: Any) -> NoticedPulls:
        """Notice pulls of REPOSITORY:TAG, in one batch."""
        return self.notice({f"m{n}": self.message(str(name), **more) for n, name in enumerate(names)})

    def message(self, name: str, *, role: str = "node", at: datetime | None = None, missing: bool = False) -> str:
        events: list[dict[str, Any]] = []
        repository, _, digest = name.partition("@")
        image = {"imageDigest": digest}
        if not digest:
            repository, _, tag = name.rpartition(":")
            image = {"imageTag": tag}
        asked = {"repositoryName": repository, "imageIds": [image]}
        with Trail(lambda: at or self.clock(), events.append).pull(asked, role, by_docker=True):
            pass
        if missing:
            events[0]["detail"]["errorCode"] = "RepositoryNotFoundException"
        return json.dumps(events[0])

    def raise_limit(self, limit: int) -> None:
        """Raise the daily limit of new mirrors."""
        (rule,) = [rule for rule in self.rules.rules if rule.on_demand is not None]
        assert rule.on_demand is not None
        higher = rule._replace(on_demand=rule.on_demand._replace(daily_limit=limit))
        self.rules = replace(self.rules, rules=(*self.rules.rules[:-1], higher))

    @property
    def sent(self) -> list[str]:
        """List the references of the queued checks."""
        return [f"{request.repository}:{tag}" for request in self.queue.sent for tag in request.tags]

    def remember(self, record: MirrorRecord) -> None:
        self.records.stored[record.key] = record.with_changes(version=1)

    def stored(self, key: MirrorKey = ALPINE) -> Demand:
        return self.demands.stored[key]
