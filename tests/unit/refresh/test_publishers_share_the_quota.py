"""Many refreshes publish at the same time: ECR's quota of PutImage delays them, and fails none.

Simulated time: ECR throttles the whole account, the SDK retries each call as it is configured, and Step Functions
retries the function as the state machine says. Each publisher has its own pace, as each runs in its own process.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from local.images import LocalImage, make_image, make_index
from pullahead.app.adapters import CLIENT_CONFIG
from pullahead.ecr.quotas import EcrPace
from pullahead.errors import RateLimitedError, Side
from pullahead.messages import PublishRequest, PublishResult
from pullahead.oci import Digest, RawManifest
from pullahead.refresh.plan import plan_copy
from pullahead.refresh.publish import publish_image
from pullahead.rules.model import NO_REFERRERS
from tests.architecture.sam_template import read_definition, real_template
from tests.fakes.memory import FakeClock, FakePlanStore, FakeRecords
from tests.fakes.refreshes import refresh_request
from tests.fakes.samples import REPOSITORY, UPSTREAM, mirror, rules
from tests.fakes.scheduler import Actor, Scheduler
from tests.fakes.target import FakeTarget
from tests.fakes.upstream import FakeUpstream

CHILDREN = 20
SDK_TRIES: int = CLIENT_CONFIG.retries["total_max_attempts"]  # type: ignore[attr-defined]  # set by botocore's decorator
PER_SECOND, BURST = 10.0, 10.0
"""Amazon ECR User Guide, "Amazon ECR service quotas": 10 a second; a larger burst is not documented."""
CALL_SECONDS = 0.1
LONGEST_SDK_DELAY = 20.0
"""AWS SDKs and Tools Reference, "Retry behavior": standard mode, b * 2^i seconds with b from 0 to 1."""
SDK_TOKENS, SDK_TOKENS_OF_A_RETRY = 500, 5
"""The same page: retries of a client end when its tokens are used up; a call that succeeds brings its own back."""


class Quota:
    """What the account may put."""

    def __init__(self) -> None:
        self._left, self._at = BURST, 0.0
        self.refused = 0

    def is_refused(self, now: float) -> bool:
        self._left, self._at = min(BURST, self._left + (now - self._at) * PER_SECOND), now
        if self._left < 1:
            self.refused += 1
            return True
        self._left -= 1
        return False


class ThrottledTarget(FakeTarget):
    """ECR through the SDK, of one process."""

    def __init__(self, publisher: "Publisher", quota: Quota) -> None:
        super().__init__()
        self._publisher, self._quota = publisher, quota
        self._pace = EcrPace(lambda: publisher.now, publisher.sleep)
        self._tokens = SDK_TOKENS

    def present_manifests(self, repository: str, digests: Sequence[Digest]) -> Sequence[Digest]:
        self._publisher.sleep(CALL_SECONDS)
        return super().present_manifests(repository, digests)

    def put_manifest(self, repository: str, manifest: RawManifest, tag: str | None, *, if_version: str = "") -> None:
        self._pace.manifest(repository)
        retry = 0
        while self._is_throttled():
            retry += 1
            if retry == SDK_TRIES or self._tokens < SDK_TOKENS_OF_A_RETRY:
                raise RateLimitedError("throttled", operation="put manifest", side=Side.TARGET, reference=repository)
            self._tokens -= SDK_TOKENS_OF_A_RETRY
            self._publisher.sleep(min(LONGEST_SDK_DELAY, self._publisher.chance() * 2 ** (retry - 1)))
        self._tokens = min(SDK_TOKENS, self._tokens + (SDK_TOKENS_OF_A_RETRY if retry else 1))
        super().put_manifest(repository, manifest, tag, if_version=if_version)

    def _is_throttled(self) -> bool:
        self._publisher.sleep(CALL_SECONDS)
        return self._quota.is_refused(self._publisher.now)


class Publisher:
    """One execution of the state machine, at its state PublishImage."""

    def __init__(self, number: int, image: LocalImage, quota: Quota, retry: Mapping[str, Any]) -> None:
        self.now = 0.0
        self.chance = random.Random(number).random  # noqa: S311 - the same delays each time
        self.retries = 0
        self.result: PublishResult | None = None
        self.actor = Actor(f"publisher {number}", lambda _: self._publish())
        self._retry = retry
        self._rules = rules([mirror()._replace(referrers=NO_REFERRERS)])
        self._target, self._plans, upstream = ThrottledTarget(self, quota), FakePlanStore(), FakeUpstream()
        upstream.serve(image, UPSTREAM)
        self._target.ensure_repository(REPOSITORY)
        request = refresh_request(image.root.descriptor)
        planned = plan_copy(request, self._rules, upstream, self._target, self._plans)
        self._target.hold(REPOSITORY, {digest: image.read_blob(digest) for digest in image.blobs})
        self._asked = PublishRequest(request, planned.root)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        with self.actor.call():
            pass

    def _publish(self) -> None:
        while self.result is None:
            try:
                ports = (self._rules, self._target, self._plans, FakeRecords(), FakeClock())
                self.result = publish_image(self._asked, *ports, self.sleep)
            except RateLimitedError:
                if self.retries == self._retry["MaxAttempts"]:
                    return
                delay = self._retry["IntervalSeconds"] * self._retry["BackoffRate"] ** self.retries
                self.retries += 1
                self.sleep(self.chance() * min(delay, self._retry["MaxDelaySeconds"]))


def earliest(publishers: Sequence[Publisher]) -> Callable[[int], int]:
    """Let the one continue whose time is the earliest."""

    def choose(_: int) -> int:
        running = [publisher for publisher in publishers if not publisher.actor.has_ended]
        return min(range(len(running)), key=lambda index: running[index].now)

    return choose


def retrier() -> Mapping[str, Any]:
    """Read how Step Functions retries a publish that ECR throttles."""
    state = read_definition(real_template())["States"]["PublishImage"]
    (found,) = (retry for retry in state["Retry"] if RateLimitedError.__name__ in retry["ErrorEquals"])
    assert found["JitterStrategy"] == "FULL"
    retry: Mapping[str, Any] = found
    return retry


def publish_at_once(count: int, retry: Mapping[str, Any]) -> tuple[list[Publisher], Quota]:
    quota = Quota()
    children = [make_image([b"layer"], seed=seed, platform=f"linux/v{seed}") for seed in range(CHILDREN)]
    publishers = [Publisher(number, make_index(children), quota, retry) for number in range(count)]
    scheduler = Scheduler(earliest(publishers))
    for publisher in publishers:
        scheduler.add(publisher.actor)
    scheduler.run()
    return publishers, quota


@pytest.mark.parametrize("count", [20, 100])
def test_publishers_of_many_manifests_are_delayed_by_the_quota_and_none_fails(count: int) -> None:
    publishers, quota = publish_at_once(count, retrier())
    assert [publisher.actor.name for publisher in publishers if publisher.result is None] == []
    assert quota.refused > count
    puts = count * (CHILDREN + 1)
    assert max(publisher.now for publisher in publishers) < 3 * puts / PER_SECOND


def test_publishers_that_are_retried_as_other_errors_are_throttle_each_other_into_failure() -> None:
    few = {**retrier(), "MaxAttempts": 5, "MaxDelaySeconds": 120}
    publishers, _ = publish_at_once(100, few)
    assert [publisher for publisher in publishers if publisher.result is None]
