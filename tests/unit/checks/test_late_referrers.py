"""Referrers that come after their image: when they are looked for, what that costs, and what follows."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from local import artifacts
from local.images import LocalImage, make_image, make_index
from pullahead.checks.check import CheckResult
from pullahead.checks.late_referrers import LOOK_SECONDS, SECONDS_OF_LOOK
from pullahead.checks.looks import MAX_LOOKS
from pullahead.checks.put_back import LeftToSchedule
from pullahead.checks.upstream_pool import UpstreamPool
from pullahead.errors import AccessDeniedError, RegistryUnavailableError, StorageError
from pullahead.messages import CheckRequest, ReferrerNamed, ReferrersOutcome, RefreshRequest
from pullahead.mirrors.record import MirrorRecord, RuleRecord, State
from pullahead.mirrors.referrers import KnownReferrers, after_referrers
from pullahead.oci.referrers import fallback_tag
from pullahead.refresh.ports import StartResult
from pullahead.refresh.referrers import list_referrers
from pullahead.rules.mirror_key import RuleKey
from pullahead.rules.model import NO_REFERRERS, Mirror, ReferrersPolicy
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.checks import FIRST, CheckingService
from tests.fakes.memory import FakeClock
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, failed, mirror, rule, rules

BILL = artifacts.sbom(FIRST.root.descriptor)
SIGNATURE = artifacts.cosign2_signature(FIRST.root.descriptor)
EVERY = timedelta(minutes=15)


class Late:
    """A mirror whose image was copied just now, with the referrers that upstream had then."""

    def __init__(self, *mirrors: Mirror, image: LocalImage = FIRST) -> None:
        self.service = CheckingService(mirrors or None)
        self.image = image
        for each in self.service.rules.mirrors:
            self.service.upstream.serve(image, str(each.upstream))
            self.service.publish(image, each.tag)
            self.service.check(each.tag)
            self.copied(each)
        self.service.queue.sent.clear()
        self.service.script.resume()

    def push(self, artifact: LocalImage, tag: str | None = None) -> None:
        self.service.upstream.serve(artifact, f"ghcr.io/team/app{f':{tag}' if tag else f'@{artifact.digest}'}")

    def copied(self, of: Mirror, **changes: object) -> None:
        """Record that all that upstream has now was copied."""
        subjects = tuple(self.image.manifests)
        listing = list_referrers(of.upstream.at(self.image.digest), subjects, self.service.upstream, of.referrers)
        outcome = ReferrersOutcome(listing.fingerprint, len(listing.found), subjects=subjects)
        record = self.service.records.stored[of.key]
        assert isinstance(record, MirrorRecord)
        known = after_referrers(record.referrers, self.image.digest, outcome, f"run-{len(listing.found)}", self.now)
        self.service.records.stored[of.key] = record.with_changes(referrers=known, **changes)

    @property
    def now(self) -> datetime:
        return self.service.clock()

    def check(self, after: timedelta = EVERY) -> list[CheckResult]:
        """Let time pass, check as the schedule does, and look where that is due."""
        self.service.clock.advance(seconds=after.total_seconds())
        self.service.check(*(each.tag for each in self.service.rules.mirrors))
        return self.service.look_as_queued()

    @property
    def started(self) -> list[RefreshRequest]:
        return list(self.service.refreshes.requests.values())

    @property
    def known(self) -> KnownReferrers:
        known = self.service.record().referrers
        assert known is not None
        return known


class SlowRegistry:
    """Answers nothing, however long it is waited for. Implements `pullahead.checks.upstream_pool.Asking`."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock, self.asked = clock, 0

    def ask(self, _number: int, _ask: Callable[[], object]) -> None:
        self.asked += 1

    def answer(self, seconds: float) -> None:
        self._clock.advance(seconds=seconds)

    def close(self) -> None:
        """There is nothing to begin."""


class TestCosts:
    def test_settled_digest_costs_one_head_and_no_write(self) -> None:
        late = Late()
        late.check(timedelta(days=2))
        late.service.script.resume()
        looks = asked = 0
        for _ in range(95):
            late.service.script.resume()
            looks += bool(late.check())
            questions = late.service.script.count("published_digests")
            if not late.service.script.count("list_referrers"):
                assert (
                    sorted(late.service.script.calls) == ["head_manifest", "load"] + ["published_digests"] * questions
                )
            assert late.service.records.writes == 0
            asked += questions
        assert looks <= 1
        assert asked in (47, 48)  # every half an hour

    def test_look_that_finds_nothing_new_writes_nothing(self) -> None:
        late = Late()
        (result,) = late.check()
        assert (result.reason, result.changed, late.started) == ("no late referrers", False, [])
        script = late.service.script
        assert script.count("list_referrers", "find_manifest") == 4
        assert script.count("get_manifest", "save", "start") == 0

    def test_looks_come_with_each_check_then_hourly_then_daily(self) -> None:
        late = Late()
        looks = [bool(late.check()) for _ in range(4 * 24 * 3)]
        assert looks[:4] == [True] * 4
        assert sum(looks[4:96]) == 23
        assert sum(looks[96:]) == 2

    def test_tags_of_one_digest_share_a_look(self) -> None:
        late = Late(*(mirror(tag) for tag in ("1.0", "1", "latest")))
        assert len(late.check()) == 3
        assert late.service.script.count("list_referrers") == 1

    def test_looks_of_many_mirrors_are_spread_over_messages(self) -> None:
        late = Late(*(mirror(f"1.{number}") for number in range(MAX_LOOKS + 5)))
        late.service.clock.advance(minutes=15)
        late.service.check(*(each.tag for each in late.service.rules.mirrors))
        assert [len(request.tags) for request in late.service.queue.sent] == [MAX_LOOKS, 5]

    @pytest.mark.parametrize("policy", [NO_REFERRERS, ReferrersPolicy(late=timedelta())])
    def test_rule_may_do_without(self, policy: ReferrersPolicy) -> None:
        late = Late(mirror()._replace(referrers=policy))
        late.push(BILL)
        assert [late.check() for _ in range(10)] == [[]] * 10

    def test_other_events_lead_to_no_look(self) -> None:
        late = Late()
        late.service.check(pushed=FIRST.digest)
        assert late.service.queue.sent == []

    def test_manual_check_looks(self) -> None:
        late = Late()
        late.check(timedelta(days=3))
        late.service.use_case(CheckRequest("manual", REPOSITORY, ("1.0",), late.now))
        assert [request.reason for request in late.service.queue.sent] == ["referrers"]


class TestFinds:
    def test_late_referrer_is_copied_and_the_image_is_left_alone(self) -> None:
        late = Late()
        late.push(BILL)
        (result,) = late.check()
        assert (result.state, result.started, result.changed) == (State.FRESH, StartResult.STARTED, True)
        (request,) = late.started
        assert (request.root, request.tag) == (FIRST.root.descriptor, "1.0")
        assert request.late
        assert late.service.record().state is State.FRESH

    def test_late_tag_of_cosign_is_copied(self) -> None:
        late = Late()
        late.push(SIGNATURE, f"{fallback_tag(FIRST.digest)}.sig")
        late.check()
        assert len(late.started) == 1

    def test_same_finding_starts_one_execution(self) -> None:
        late = Late()
        late.push(BILL)
        late.check()
        late.check()
        assert len(late.started) == 1

    def test_each_other_finding_starts_another(self) -> None:
        late = Late()
        late.push(BILL)
        late.check()
        late.copied(mirror())
        late.push(SIGNATURE, f"{fallback_tag(FIRST.digest)}.sig")
        late.check()
        assert len({request.name for request in late.started}) == 2

    def test_late_referrer_of_a_referrer_is_copied(self) -> None:
        late = Late()
        late.push(BILL)
        late.copied(mirror())
        late.push(artifacts.notation_signature(BILL.root.descriptor))
        late.check()
        assert len(late.started) == 1

    def test_late_referrer_of_a_child_is_copied_without_a_read_of_the_index(self) -> None:
        child = make_image(seed=5)
        late = Late(image=make_index([child, make_image(seed=6, platform="linux/arm64")]))
        late.push(artifacts.sbom(child.root.descriptor))
        late.check()
        assert len(late.started) == 1
        assert late.service.script.count("get_manifest") == 0

    def test_mirror_of_an_older_version_is_looked_at_within_a_day(self) -> None:
        late = Late()
        late.push(BILL)
        late.service.records.stored[KEY] = late.service.record().with_changes(referrers=None)
        for _ in range(96):
            late.check()
        assert len(late.started) == 1

    def test_mirror_that_was_never_looked_at_and_has_none_is_recorded_once(self) -> None:
        late = Late()
        late.service.records.stored[KEY] = late.service.record().with_changes(referrers=None)
        for _ in range(96 * 2):
            late.check()
        assert late.started == []
        assert late.known.outcome.subjects == (FIRST.digest,)

    def test_digest_that_somebody_else_brought_is_looked_at_with_the_next_check(self) -> None:
        late = Late()
        other = make_image(seed=9)
        late.service.upstream.serve(other, UPSTREAM)
        late.service.publish(other)
        late.push(artifacts.sbom(other.root.descriptor))
        late.check()
        late.check()
        (request,) = late.started
        assert request.root.digest == other.digest

    def test_removed_referrers_are_noted_and_nothing_is_copied(self) -> None:
        late = Late()
        late.push(BILL)
        late.copied(mirror())
        late.service.upstream.remove(f"ghcr.io/team/app@{BILL.digest}")
        late.check()
        late.service.script.resume()
        (result,) = late.check()
        assert (late.started, result.changed) == ([], False)

    def test_rule_that_copies_other_types_is_a_reason_to_copy(self) -> None:
        late = Late()
        late.push(BILL)
        late.copied(mirror())
        late.service.rules = rules([mirror()._replace(referrers=ReferrersPolicy((artifacts.SPDX,)))])
        late.check()
        assert len(late.started) == 1

    def test_mirror_that_is_no_longer_fresh_is_left_to_its_refresh(self) -> None:
        late = Late()
        late.push(BILL)
        late.service.clock.advance(minutes=15)
        late.service.check()
        late.service.records.stored[KEY] = late.service.record().with_changes(state=State.STALE)
        (result,) = late.service.look_as_queued()
        assert (late.started, result.error) == ([], None)


class TestFailures:
    def test_failed_look_is_recorded_once_and_retried(self) -> None:
        late = Late()
        late.service.script.fail("list_referrers", failed(AccessDeniedError))
        (result,) = late.check()
        assert (result.error, result.changed) == (None, True)
        assert late.service.alerts == ["REFERRERS_FAILED"]
        assert late.known.retry_at == late.now + timedelta(minutes=5)
        late.push(BILL)
        late.check()
        assert len(late.started) == 1

    def test_registry_that_is_down_is_asked_once_and_not_for_each_mirror(self) -> None:
        late = Late(*(mirror(tag)._replace(platforms=(platform,)) for tag, platform in (("1", "a/b"), ("2", "c/d"))))
        down = failed(RegistryUnavailableError)
        late.service.script.fail("get_manifest", down, times=9)
        late.service.script.fail("list_referrers", down, times=9)
        late.service.records.stored = {
            key: record.with_changes(platforms=platforms)
            for (key, record), platforms in zip(late.service.records.stored.items(), (("a/b",), ("c/d",)), strict=True)
        }
        asked = CheckRequest("referrers", REPOSITORY, ("1", "2"), late.now)
        first, second = late.service.look(asked).results
        assert (first.deferred, second.deferred) == (False, True)
        assert late.service.script.count("list_referrers", "find_manifest", "get_manifest") == 1
        assert late.service.alerts == []  # not before alert_after

    def test_look_that_takes_too_long_is_given_up_and_the_registry_is_asked_for_no_other_mirror(self) -> None:
        late = Late(*(mirror(tag)._replace(platforms=(platform,)) for tag, platform in (("1", "a/b"), ("2", "c/d"))))
        late.service.records.stored = {
            key: record.with_changes(platforms=platforms)
            for (key, record), platforms in zip(late.service.records.stored.items(), (("a/b",), ("c/d",)), strict=True)
        }
        began, asking = late.now, SlowRegistry(late.service.clock)
        asked = CheckRequest("referrers", REPOSITORY, ("1", "2"), late.now)
        pool = UpstreamPool(late.service.clock, asking=asking)
        first, second = late.service.look(asked, pool).results
        assert (asking.asked, late.now - began) == (1, timedelta(seconds=LOOK_SECONDS))
        assert "did not answer within 60 seconds" in first.reason
        assert second.deferred

    def test_mirrors_for_which_there_is_no_time_are_left_for_another_message(self) -> None:
        tags = tuple(f"{number}" for number in range(100))
        late = Late(*(mirror(tag) for tag in tags))
        times = iter([SECONDS_OF_LOOK] * 20)
        looks = late.service.look(
            CheckRequest("referrers", REPOSITORY, tags, late.now), remaining_seconds=lambda: next(times, 0.0)
        )
        (left,) = looks.left
        assert (left.reason, left.repository, left.tags) == ("referrers", REPOSITORY, tags[21:])
        assert [result.mirror.tag for result in looks.results] == list(tags[:21])

    def test_copy_that_ended_without_an_outcome_is_tried_again_under_another_name(self) -> None:
        late = Late()
        late.push(BILL)
        late.check()
        (request,) = late.started
        late.service.refreshes.statuses[request.name] = StartResult.ENDED
        late.check()
        assert late.known.tries == 1
        late.check()
        assert len(late.started) == 2

    def test_copy_that_had_succeeded_before_is_not_run_again(self) -> None:
        late = Late()
        late.push(BILL)
        late.check()
        (request,) = late.started
        late.service.refreshes.statuses[request.name] = StartResult.SUCCEEDED
        late.check()
        late.service.script.resume()
        (result,) = late.check()
        assert (result.changed, late.service.script.count("start")) == (False, 0)

    def test_looks_that_cannot_be_queued_retry_the_check(self) -> None:
        late = Late()
        late.service.script.fail("send", StorageError("no"))
        late.service.clock.advance(minutes=15)
        results = late.service.check()
        assert [type(each.error) for each in results] == [type(None), StorageError]


class TestWebhooks:
    def named(self, late: Late, subject: str = FIRST.digest, upstream: str = "ghcr.io/team/app") -> list[CheckResult]:
        return late.service.look.named(ReferrerNamed(upstream, subject, late.now)).results

    def test_mirrors_that_serve_the_subject_are_looked_at_at_once(self) -> None:
        late = Late(*(mirror(tag) for tag in ("1.0", "1", "latest")))
        late.push(SIGNATURE, f"{fallback_tag(FIRST.digest)}.sig")
        assert len(self.named(late)) == 3
        assert {request.tag for request in late.started} == {"1.0", "1", "latest"}

    def test_child_is_a_subject(self) -> None:
        child = make_image(seed=5)
        late = Late(image=make_index([child]))
        late.push(artifacts.cosign2_signature(child.root.descriptor), f"{fallback_tag(child.digest)}.sig")
        assert len(self.named(late, child.digest)) == 1
        assert len(late.started) == 1

    def test_other_subjects_and_repositories_cost_one_read(self) -> None:
        late = Late()
        assert self.named(late, "sha256:" + "0" * 64) == []
        assert late.service.script.calls == ["load"]
        assert self.named(late, upstream="ghcr.io/team/other") == []
        assert late.service.script.calls == ["load"]

    def test_mirrors_beyond_the_limit_are_left_to_the_schedule_and_counted(self) -> None:
        late = Late()
        late.service.rules = rules([mirror(f"{number}") for number in range(1003)])
        looks = late.service.look.named(ReferrerNamed("ghcr.io/team/app", FIRST.digest, late.now))
        why = "more than 1,000 mirrors follow it, and a webhook has named one of its referrers"
        assert looks.to_schedule == (LeftToSchedule("ghcr.io/team/app", 3, why),)

    def test_tags_that_a_pattern_selected_are_found(self) -> None:
        late = Late()
        selection = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "1.*"),))
        late.service.rules = rules((), "rules-2", rule(tags=selection))
        key = RuleKey(REPOSITORY, "app")
        late.service.records.of_rules[key] = RuleRecord(
            key, "ghcr.io/team/app", State.FRESH, late.now, followed=("1.0",)
        )
        late.push(BILL)
        assert [result.mirror for result in self.named(late)] == [KEY]
        assert len(late.started) == 1
