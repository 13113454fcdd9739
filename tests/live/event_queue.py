"""A queue of the run's own that gets ECR's events about its repositories, and CloudTrail's about their pulls."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.live.account import Account
from tests.live.naming import TAG, Run
from tests.live.waiting import Waited, Waits

Event = Mapping[str, Any]

_OF_ECR: Final = [
    "ECR Image Action",
    "ECR Referrer Action",
    "ECR Pull Through Cache Action",
    "ECR Image Scan",
    "ECR Replication Action",
]
_NEW_SECONDS: Final = 300.0
_MAX_READS: Final = 50  # of ten messages each, for one look


class EventQueue:
    """Hears what happens to the repositories of a run. Events that were heard once can be looked for again."""

    def __init__(self, account: Account, run: Run, waits: Waits) -> None:
        self._account, self._run, self._waits = account, run, waits
        self._heard: list[Event] = []
        self._created = 0.0
        self._url = ""

    def create(self) -> None:
        """Make the queue and two rules, under names and tags by which they are found again."""
        events, sqs = self._account.client("events"), self._account.client("sqs")
        arn = self._account.arn("sqs", f"{self._run.name}-events")
        rules = self._account.arn("events", f"rule/{self._run.name}-*")
        allowed = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnLike": {"aws:SourceArn": rules}},
        }
        self._url = sqs.create_queue(
            QueueName=f"{self._run.name}-events",
            Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allowed]})},
            tags={TAG: self._run.name},
        )["QueueUrl"]
        for name, state, pattern in self._rules():
            events.put_rule(
                Name=name,
                State=state,
                EventPattern=json.dumps(pattern),
                Description="Events for `make live` of Pullahead",
                Tags=[{"Key": TAG, "Value": self._run.name}],
            )
            failed = events.put_targets(Rule=name, Targets=[{"Id": "events", "Arn": arn}])["FailedEntries"]
            if failed:
                raise RuntimeError(f"the rule {name} does not take its target: {failed[0]}")
        self._created = time.monotonic()

    def wait_until_in_effect(self) -> None:
        """Wait until rules that were just made pass events on."""
        # EventBridge API reference, PutRule: incoming events might not match at once; no time is said.
        self._waits.until(lambda: True if time.monotonic() - self._created > self._waits.quiet else None, _NEW_SECONDS)

    def wait(self, matches: Callable[[Event], bool], limit: float) -> Waited[Event] | None:
        """Wait for an event, for at most `limit` seconds."""
        return self._waits.until(lambda: self.find(matches), limit)

    def find(self, matches: Callable[[Event], bool]) -> Event | None:
        """Look whether an event has come."""
        self._read()
        return next((event for event in self._heard if matches(event)), None)

    def about(self, repository: str) -> list[Event]:
        """List ECR's own events about a repository that have come until now."""
        self._read()
        return [event for event in self._heard if event["detail"].get("repository-name") == repository]

    def _rules(self) -> list[tuple[str, str, Mapping[str, Any]]]:
        mine = [{"prefix": f"{self._run.name}/"}, {"prefix": f"{self._run.cache_prefix}/"}]
        pulls = {
            "source": ["aws.ecr"],
            "detail-type": ["AWS API Call via CloudTrail"],
            "detail": {"eventName": ["BatchGetImage"], "requestParameters": {"repositoryName": mine}},
        }
        of_ecr = {"source": ["aws.ecr"], "detail-type": _OF_ECR, "detail": {"repository-name": mine}}
        return [
            (f"{self._run.name}-ecr", "ENABLED", of_ecr),
            (f"{self._run.name}-pulls", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", pulls),
        ]

    def _read(self) -> None:
        sqs = self._account.client("sqs")
        for _ in range(_MAX_READS):
            messages = sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages", [])
            if not messages:
                return
            self._heard += [json.loads(message["Body"]) for message in messages]
            entries = [
                {"Id": str(number), "ReceiptHandle": each["ReceiptHandle"]} for number, each in enumerate(messages)
            ]
            sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)
