"""What goes wrong in a chaos run, by chance, and how often it did. Every choice is the seed's."""

import random
import threading
from collections import Counter
from datetime import datetime
from typing import Any, Final

from local.aws.service_faults import ServiceCall, ServiceFault
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import MirrorRecord, State
from tests.chaos.world import TAG, ChaosMirror, World

_REVIEW: Final = "ReviewRecords"
_FUNCTIONS: Final = ("CheckFreshness", "PlanCopy", "CopyBlobs", "PublishImage", "RecordOutcome", _REVIEW)
_OF_SERVICES: Final = {
    ServiceFault.THROTTLED: 0.02,
    ServiceFault.FAILED: 0.01,
    ServiceFault.ANSWER_LOST: 0.01,
}
"""How many of the requests of functions go wrong."""
_DRIPPED_BYTES_PER_SECOND: Final = 600
_ECR_FAULTS: Final = (
    ("UploadLayerPart", "ServerException"),
    ("PutImage", "ServerException"),
    ("DescribeImages", "ThrottlingException"),
    ("BatchCheckLayerAvailability", "ThrottlingException"),
)


class Troubles:
    """Makes trouble. `done` counts what was made."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world, self._chance = world, chance
        self._lock = threading.Lock()  # requests come on many threads
        self.done: Counter[str] = Counter()
        self.poisoned: dict[ChaosMirror, datetime] = {}  # and since when its record had been kept
        self._order = random.Random(chance.random())  # noqa: S311
        self._has_published = False  # since the schedule last ran

    def services(self, *, on: bool) -> None:
        """Let AWS's services throttle, fail and lose answers, or work."""
        self._world.aws.service_faults.decide = self._decide if on else lambda _call: None

    def next_schedule(self) -> None:
        """Note that the schedule is about to run, and with it a review that has published nothing."""
        with self._lock:
            self._has_published = False

    def _decide(self, call: ServiceCall) -> ServiceFault | None:
        """Choose a fault. No answer of SNS is lost: a message whose answer is lost is published again, by design."""
        with self._lock:
            self._has_published = self._has_published or call.service == "sns"
            lot = self._order.random()
            for fault, share in _OF_SERVICES.items():
                if lot < share and (call.service, fault) != ("sns", ServiceFault.ANSWER_LOST):
                    self.done[f"requests to AWS: {fault.value}"] += 1
                    return fault
                lot -= share
        return None

    def sick_upstreams(self, number: int, rounds: int) -> None:
        """Let the upstreams be as sick as they are in this round. One vanishes for good in the middle."""
        upstreams = self._world.upstreams
        upstreams["flapping"].down = number % 2 == 1
        upstreams["dripping"].limit_bytes_per_second = _DRIPPED_BYTES_PER_SECOND
        upstreams["vanishing"].down = number >= rounds // 2
        self.done["rounds in which an upstream was down"] += number % 2 == 1 or number >= rounds // 2
        self.done["rounds in which an upstream dripped"] += 1

    def lie(self, mirror: ChaosMirror) -> None:
        """Let an upstream serve other bytes than the newest image of a mirror has."""
        image = self._world.served[mirror.key][-1]
        layer = max(image.blobs, key=lambda digest: len(image.read_blob(digest)))
        self._world.upstreams[mirror.manner].lie_blob(layer, bytes(reversed(image.read_blob(layer))))
        self.done["blobs that an upstream lied about"] += 1

    def ecr(self) -> None:
        """Let some calls of ECR fail, before or after they took effect."""
        for operation, code in _ECR_FAULTS:
            after = self._chance.random() < 0.5
            self._world.aws.ecr.faults.add(operation, code, times=1, after=after)
            self.done["calls of ECR that failed"] += 1

    def kill(self) -> None:
        """Kill what runs of some function at this moment; of which one, if several run, is chance.

        No review is killed that may have published a message and not noted it yet: it is published again, by design
        (ADR 12).
        """
        for name in self._chance.sample(_FUNCTIONS, len(_FUNCTIONS)):
            if name == _REVIEW and self._has_published:
                continue
            killed = self._world.aws.kill_function(self._world.deployment.function(name))
            self.done["functions killed"] += killed
            if killed:
                return

    def messages(self) -> None:
        """Send checks again, twice and in another order, and messages that mean nothing or are not known yet."""
        now = self._world.aws.clock.now()
        checks = [
            CheckRequest(reason="schedule", repository=mirror.repository, tags=(TAG,), asked_at=now).to_json()
            for mirror in self._chance.sample(self._world.mirrors, min(6, len(self._world.mirrors)))
        ]
        checks += checks
        self._chance.shuffle(checks)
        self.done["checks repeated and reordered"] += len(checks)
        self._world.send([*checks[:3], "{", *checks[3:]])
        self.done["messages that mean nothing"] += 1

    def poison(self, mirror: ChaosMirror) -> None:
        """Damage the record of a mirror in the table, if it has one that is settled."""
        client, table = self._world.aws.client("dynamodb"), self._world.table
        key = {"pk": {"S": f"mirror#{mirror.key}"}}
        record = self._world.record(mirror)
        if record is None or record.state is not State.FRESH or mirror in self.poisoned:
            return
        item = client.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
        client.put_item(TableName=table, Item=self._damaged(item))
        self.poisoned[mirror] = kept_since(record)
        self.done["records poisoned"] += 1

    def _damaged(self, item: dict[str, Any]) -> dict[str, Any]:
        text = item["record"]["S"]
        damages: tuple[dict[str, Any], ...] = (
            {"record": {"S": text[: len(text) // 2]}},
            {"record": {"N": "7"}},
            {"record": {"S": "[" * 50_000}},
            {"record": {"S": text + " " * (390_001 - len(text))}},
        )
        return {**item, **self._chance.choice(damages)}


def kept_since(record: MirrorRecord) -> datetime:
    """Return when a record was begun."""
    return record.past[0].since if record.past else record.since
