"""When a check asks ECR what a tag serves: twice an hour by the schedule, and whenever something has changed.

Each call of DescribeImages is a management event, which a second trail of CloudTrail bills.
"""

from datetime import timedelta

import pytest

from local.images import make_image, make_index
from pullahead.checks.check import CheckMirrors, CheckResult
from pullahead.checks.timetable import ECR_ASKED_EVERY, next_listing
from pullahead.errors import AccessDeniedError, NotFoundError, RegistryUnavailableError, Side
from pullahead.messages import CheckRequest
from pullahead.mirrors.outcome_event import OutcomeKind
from pullahead.mirrors.record import State
from pullahead.oci import parse_reference
from pullahead.rules.model import Mirror
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.checks import FIRST, SECOND, CheckingService
from tests.fakes.samples import REPOSITORY, UPSTREAM, failed, mirror, rule, rules

EVERY = timedelta(minutes=15)
DAY = timedelta(days=1)


def fresh(*mirrors: Mirror) -> CheckingService:
    """Make a service whose mirrors were found fresh; the schedule's next check of the first asks ECR nothing."""
    service = CheckingService(mirrors or (mirror(),))
    for each in service.rules.mirrors:
        service.publish(tag=each.tag)
    service.check(*(each.tag for each in service.rules.mirrors))
    service.settle_referrers()
    service.pass_time(asks_ecr=False)
    service.script.resume()
    return service


def questions(service: CheckingService) -> int:
    return service.script.count("published_digests")


def ask(service: CheckingService, reason: str = "schedule", **more: object) -> CheckResult:
    """Check the one mirror as if something else than a schedule had asked."""
    request = {"reason": reason, "repository": REPOSITORY, "tags": ["1.0"], "asked_at": service.clock().isoformat()}
    (result,) = service.use_case(CheckRequest.from_event({**request, **more}))
    return result


def found_within(service: CheckingService, state: State) -> timedelta:
    """Check by the schedule until the mirror is found in a state; tell how long that has taken."""
    began = service.clock()
    while service.check_one().state is not state:
        assert service.clock() - began < DAY
        service.clock.advance(seconds=EVERY.total_seconds())
    return service.clock() - began


@pytest.mark.parametrize("minutes", [5, 7, 15, 20, 30])
def test_day_of_checks_asks_ecr_twice_an_hour(minutes: int) -> None:
    service = CheckingService([mirror(check_every=timedelta(minutes=minutes))])
    service.publish()
    service.check()
    service.settle_referrers()
    service.script.resume()
    checks = DAY // timedelta(minutes=minutes)
    for _ in range(checks):
        service.clock.advance(minutes=minutes)
        assert service.check_one().state is State.FRESH
    assert questions(service) in (47, 48, 49)
    assert (service.upstream.heads, service.records.writes) == (checks, 0)


def test_rare_check_asks_ecr_each_time() -> None:
    service = CheckingService([mirror(check_every=timedelta(hours=2))])
    service.publish()
    service.check()
    service.script.resume()
    for _ in range(12):
        service.clock.advance(hours=2)
        service.check()
    assert questions(service) == 12


class TestLostEvents:
    """What somebody changed in ECR while EventBridge lost its event."""

    def test_overwritten_tag_is_found_and_restored_within_half_an_hour(self) -> None:
        service = fresh()
        service.publish(SECOND)
        assert found_within(service, State.STALE) <= ECR_ASKED_EVERY
        assert service.alerts == ["DRIFT"]
        (request,) = service.refreshes.requests.values()
        assert request.root.digest == FIRST.digest

    def test_deleted_tag_is_found_and_restored_within_half_an_hour(self) -> None:
        service = fresh()
        service.target.delete_tag(REPOSITORY, "1.0")
        assert found_within(service, State.MISSING) <= ECR_ASKED_EVERY
        assert len(service.refreshes.requests) == 1

    def test_immutable_tag_that_was_deleted_is_found_within_half_an_hour(self) -> None:
        service = fresh(mirror(immutable=True))
        service.target.delete_tag(REPOSITORY, "1.0")
        assert found_within(service, State.MISSING) <= ECR_ASKED_EVERY

    def test_denied_access_to_ecr_is_found_within_half_an_hour(self) -> None:
        service = fresh()
        service.script.fail("published_digests", failed(AccessDeniedError, side=Side.TARGET))
        assert found_within(service, State.BLOCKED) <= ECR_ASKED_EVERY

    def test_answer_about_another_tag_of_the_repository_is_used(self) -> None:
        service = fresh(mirror("1.0"), mirror("1.1"), mirror("1.2"))
        service.upstream.serve(SECOND, "ghcr.io/team/app:1.0")
        service.publish(SECOND, "1.1")
        service.publish(SECOND, "1.2")
        states = {result.mirror.tag: result.state for result in service.check("1.0", "1.1", "1.2")}
        assert states == dict.fromkeys(("1.0", "1.1", "1.2"), State.STALE)
        assert questions(service) == 1


class TestAskedAtOnce:
    """What asks ECR although the schedule's check would not."""

    def test_nothing_but_the_schedule_relies_on_the_record(self) -> None:
        service = fresh()
        reasons = ("manual", "push", "delete", "cache", "webhook", "pull")
        for number, reason in enumerate(reasons, 1):
            assert ask(service, reason, settled=True).state is State.FRESH
            assert questions(service) == number
        assert ask(service, sender="github").state is State.FRESH  # a listing that a webhook asked for
        assert questions(service) == len(reasons) + 1
        ask(service)
        assert questions(service) == len(reasons) + 1

    def test_push_of_another_digest(self) -> None:
        service = fresh()
        service.publish(SECOND)
        assert service.check_one(pushed=SECOND.digest).state is State.STALE

    def test_first_check(self) -> None:
        service = CheckingService()
        service.publish()
        service.pass_time(asks_ecr=False)
        assert service.check_one().state is State.FRESH
        assert questions(service) == 1

    def test_upstream_that_moved_to_what_ecr_serves_already(self) -> None:
        """ECR's pull through cache, or a person, has brought it."""
        service = fresh()
        service.upstream.serve(SECOND, UPSTREAM)
        service.publish(SECOND)
        assert (service.check_one().state, questions(service)) == (State.FRESH, 1)
        assert service.record().published_digest == SECOND.digest
        assert not service.refreshes.requests

    @pytest.mark.parametrize(
        ("error", "state"), [(RegistryUnavailableError, State.UNKNOWN), (NotFoundError, State.GONE)]
    )
    def test_what_is_not_fresh_asks_at_each_check(
        self, error: type[RegistryUnavailableError | NotFoundError], state: State
    ) -> None:
        service = fresh()
        for number in (1, 2, 3):
            service.script.fail("head_manifest", failed(error))
            assert (service.check_one().state, questions(service)) == (state, number)

    def test_other_platforms(self) -> None:
        index = make_index([make_image(seed=1), make_image(seed=2, platform="linux/arm64")])
        service = fresh()
        service.rules = rules([mirror(platforms=("linux/arm64",))])
        service.upstream.serve(index, UPSTREAM)
        assert (service.check_one().state, questions(service)) == (State.STALE, 1)

    def test_pinned_tag_that_upstream_has_moved_away_from(self) -> None:
        pinned = mirror()._replace(upstream=parse_reference(f"{UPSTREAM}@{FIRST.digest}"))
        service = fresh(pinned)
        service.check()
        assert questions(service) == 0
        service.upstream.serve(SECOND, UPSTREAM)
        assert (service.check_one().state, questions(service)) == (State.FRESH, 1)
        assert [each.kind for each in service.outcomes.published][-1] is OutcomeKind.PIN_MOVED

    def test_record_that_was_written_meanwhile(self) -> None:
        """A check that is repeated after a conflict relies on nothing."""
        service = fresh()
        service.upstream.serve(SECOND, UPSTREAM)

        def somebody_writes() -> None:
            known = service.record()
            service.records.stored[known.key] = known.with_changes(version=known.version + 1)

        service.script.before("save", somebody_writes)
        assert service.check_one().state is State.STALE
        assert questions(service) == 2


def test_immutable_tag_costs_nothing_but_the_read_of_its_record() -> None:
    service = fresh(mirror(immutable=True))
    for _ in range(8):
        service.script.resume()
        service.pass_time(asks_ecr=False)
        assert service.check_one().state is State.FRESH
        assert service.script.calls == ["load"]
        service.script.resume()
        service.pass_time(asks_ecr=True)
        assert service.check_one().state is State.FRESH
        assert service.script.calls == ["load", "published_digests"]


def test_failed_question_is_repeated_by_the_same_message() -> None:
    service = fresh()
    service.pass_time(asks_ecr=True)
    service.script.fail("published_digests", failed(RegistryUnavailableError, side=Side.TARGET))
    request = CheckRequest("schedule", REPOSITORY, ("1.0",), service.clock())
    with pytest.raises(RegistryUnavailableError):
        service.use_case(request)
    service.clock.advance(minutes=12)  # when its message comes again
    service.publish(SECOND)
    (result,) = service.use_case(request)
    assert result.state is State.STALE


def test_listed_tags_are_asked_about_by_the_times_of_their_listing() -> None:
    service = CheckingService([])
    every = timedelta(minutes=7)
    declared = rule(tags=TagSelection(patterns=(TagPattern(PatternKind.GLOB, "*"),)), check_every=every)
    service.rules = rules([], "r", declared)
    service.use_case = CheckMirrors(lambda: service.rules, service.ports)
    service.upstream.serve(FIRST, UPSTREAM)
    service.publish()
    asked: list[int] = []
    listed_at = service.clock()
    for _ in range(DAY // every):
        listed_at = next_listing(declared, listed_at)
        service.clock.now = listed_at + timedelta(minutes=6)  # the schedule and the listing take some time
        before = questions(service)
        service.use_case(CheckRequest("schedule", REPOSITORY, ("1.0",), service.clock()))
        asked.append(questions(service) - before)
    assert sum(asked[1:]) in (47, 48)
    assert max(len(gap) for gap in "".join(map(str, asked)).split("1")) < ECR_ASKED_EVERY / every
