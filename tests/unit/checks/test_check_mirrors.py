"""What a check does and what it costs, when all is well."""

from dataclasses import replace

import pytest

from local.images import make_image, make_index
from pullahead.mirrors.record import Published, State
from pullahead.oci import parse_digest
from pullahead.refresh.ports import StartResult
from tests.fakes.checks import FIRST, SECOND, CheckingService
from tests.fakes.samples import KEY, UPSTREAM, mirror


def test_fresh_tag_that_stays_fresh_costs_one_head_and_no_get_and_no_write() -> None:
    service = CheckingService()
    service.publish()
    service.check()
    for asks_ecr, questions in ((True, ["published_digests"]), (False, [])):
        service.pass_time(asks_ecr=asks_ecr)
        service.script.resume()
        result = service.check_one()
        assert (result.state, result.started, result.error) == (State.FRESH, None, None)
        assert (service.upstream.heads, service.upstream.gets) == (1, 0)
        assert (service.records.writes, service.script.count("start", "publish")) == (0, 0)
        assert sorted(service.script.calls) == ["head_manifest", "load", *questions]


def test_hundred_fresh_tags_cost_one_request_to_ecr_and_one_to_the_store() -> None:
    tags = [str(n) for n in range(100)]
    service = CheckingService([mirror(tag) for tag in tags])
    for tag in tags:
        service.publish(tag=tag)
    service.check(*tags)
    service.settle_referrers()
    service.script.resume()
    assert [result.state for result in service.check(*tags)] == [State.FRESH] * 100
    assert (service.script.count("published_digests"), service.script.count("load")) == (1, 1)
    assert service.upstream.heads == len(service.script.calls) - 2 == 100


def test_missing_tag_is_recorded_and_refreshed_by_digest() -> None:
    service = CheckingService()
    result = service.check_one()
    assert (result.state, result.started) == (State.MISSING, StartResult.STARTED)
    assert service.record().version == 1
    (request,) = service.refreshes.requests.values()
    assert (request.root, request.episode) == (FIRST.root.descriptor, 1)
    assert (request.repository, request.tag, request.upstream) == ("mirror/app", "1.0", UPSTREAM)
    assert request.stale_since == service.clock()
    assert str(request.source) == f"ghcr.io/team/app@{FIRST.digest}"


def test_moved_upstream_starts_a_refresh_with_stale_since() -> None:
    service = CheckingService()
    service.publish()
    service.check()
    service.upstream.serve(SECOND, UPSTREAM)
    service.clock.advance(minutes=15)
    moved_at = service.clock()
    assert service.check_one().reason == "upstream moved"
    service.clock.advance(minutes=15)
    service.check()
    (request,) = service.refreshes.requests.values()
    assert (request.root.digest, request.stale_since) == (SECOND.digest, moved_at)


def test_same_message_twice_starts_one_refresh_and_writes_once() -> None:
    service = CheckingService()
    first, again = service.check_one(), service.check_one()
    assert first.started is StartResult.STARTED
    assert again.state is State.MISSING
    assert (len(service.refreshes.requests), service.records.writes) == (1, 1)


def test_unfollowed_tag_causes_no_request() -> None:
    service = CheckingService()
    assert service.check("nobody", "knows") == []
    assert service.check(repository="somebody/else") == []
    assert service.script.calls == []


def test_unfollowed_tag_does_not_stop_the_others() -> None:
    service = CheckingService()
    assert [result.mirror for result in service.check("nobody", "1.0", "knows")] == [KEY]


class TestPush:
    def test_own_push_causes_no_request_to_upstream(self) -> None:
        service = CheckingService()
        service.publish()
        service.check()
        service.script.resume()
        assert service.check(pushed=FIRST.digest) == []
        assert service.script.calls == ["load"]

    def test_push_by_others_is_refreshed(self) -> None:
        service = CheckingService()
        service.publish()
        service.check()
        service.publish(SECOND)
        result = service.check_one(pushed=SECOND.digest)
        assert (result.state, result.started) == (State.STALE, StartResult.STARTED)
        assert result.reason == "the tag was overwritten in ECR"
        (request,) = service.refreshes.requests.values()
        assert request.root.digest == FIRST.digest

    def test_push_of_a_running_refresh_is_ignored(self) -> None:
        """The next check finds a refresh whose end was not recorded, because its digest was pushed by others."""
        service = CheckingService()
        service.check()
        service.publish()
        assert service.check(pushed=FIRST.digest) == []
        assert service.check_one().state is State.FRESH

    def test_push_of_an_outdated_digest_is_checked(self) -> None:
        """A slow refresh put it, and recorded that it did."""
        service = CheckingService()
        service.publish()
        service.check()
        late = service.record().with_changes(upstream_digest=SECOND.digest)
        service.records.stored[KEY] = late
        service.upstream.serve(SECOND, UPSTREAM)
        assert service.check_one(pushed=FIRST.digest).started is StartResult.STARTED

    def test_own_push_into_an_unknown_mirror_is_checked(self) -> None:
        service = CheckingService()
        service.publish()
        service.check()
        service.records.stored[KEY] = service.record().with_changes(state=State.UNKNOWN, error_kind="RateLimitedError")
        assert service.check_one(pushed=FIRST.digest).state is State.FRESH

    def test_push_into_an_unchecked_mirror_is_checked(self) -> None:
        service = CheckingService()
        service.publish()
        assert service.check_one(pushed=FIRST.digest).state is State.FRESH


class TestImmutable:
    """A tag that never moves is not asked for upstream again once it is there: only ECR is looked at."""

    @pytest.fixture
    def service(self) -> CheckingService:
        made = CheckingService([mirror(immutable=True)])
        made.publish()
        made.check()
        made.script.resume()
        return made

    def test_fresh_immutable_tag_costs_no_head_and_no_write(self, service: CheckingService) -> None:
        for _ in range(10):
            result = service.check_one()
            assert (result.state, result.changed, result.error) == (State.FRESH, False, None)
        assert (service.upstream.heads, service.upstream.gets, service.records.writes) == (0, 0, 0)
        assert service.script.calls == ["load", "published_digests"] * 10

    def test_mutable_tag_among_immutable_ones_costs_one_head(self) -> None:
        tags = [str(n) for n in range(100)]
        service = CheckingService([*(mirror(tag, immutable=True) for tag in tags[1:]), mirror(tags[0])])
        for tag in tags:
            service.publish(tag=tag)
        service.check(*tags)
        assert service.upstream.heads == 100
        service.script.resume()
        assert {str(result.mirror) for result in service.check(*tags)} == {f"mirror/app:{tag}" for tag in tags}
        assert service.upstream.heads == 1

    def test_moved_immutable_tag_is_not_noticed(self, service: CheckingService) -> None:
        service.upstream.serve(SECOND, UPSTREAM)
        assert service.check_one().state is State.FRESH

    def test_deleted_immutable_tag_is_refreshed(self, service: CheckingService) -> None:
        service.target.delete_tag("mirror/app", "1.0")
        result = service.check_one()
        assert (result.state, result.started, service.upstream.heads) == (State.MISSING, StartResult.STARTED, 1)

    def test_overwritten_immutable_tag_is_refreshed(self, service: CheckingService) -> None:
        service.publish(SECOND)
        result = service.check_one()
        assert (result.state, result.started) == (State.STALE, StartResult.STARTED)

    def test_missing_immutable_tag_is_checked_until_it_exists(self) -> None:
        service = CheckingService([mirror(immutable=True)])
        service.check()
        service.check()
        assert service.upstream.heads == 2


class TestPlatforms:
    INDEX = make_index([FIRST, make_image(seed=2, platform="linux/arm64"), make_image(seed=3, platform="linux/s390x")])
    TWO = ("linux/amd64", "linux/arm64")

    def test_refresh_has_the_platforms_and_runs_once(self) -> None:
        service = CheckingService([mirror(platforms=self.TWO[::-1])])
        service.upstream.serve(self.INDEX, UPSTREAM)
        assert [service.check_one().started for _ in range(2)] == [StartResult.STARTED, StartResult.STARTED]
        (request,) = service.refreshes.requests.values()
        assert (request.root, request.platforms) == (self.INDEX.root.descriptor, self.TWO)

    def test_other_platforms_start_another_refresh(self) -> None:
        service = CheckingService([mirror(platforms=self.TWO)])
        service.upstream.serve(self.INDEX, UPSTREAM)
        service.check()
        service.rules = replace(service.rules, mirrors=(mirror(platforms=("linux/amd64",)),))
        assert service.check_one().started is StartResult.STARTED
        assert len(service.refreshes.requests) == 2

    def test_own_push_of_a_filtered_index_is_recognized(self) -> None:
        service = CheckingService([mirror(platforms=self.TWO)])
        service.upstream.serve(self.INDEX, UPSTREAM)
        service.publish(SECOND)
        service.check()
        made = Published(self.INDEX.digest, self.TWO, SECOND.digest)
        service.records.stored[KEY] = service.record().with_changes(state=State.FRESH, filtered=made)
        service.script.resume()
        assert service.check(pushed=SECOND.digest) == []
        assert service.script.calls == ["load"]
        assert service.check_one().state is State.FRESH


def test_changed_upstream_address_is_recorded() -> None:
    service = CheckingService()
    service.publish()
    service.check()
    moved = mirror()._replace(upstream=mirror().upstream._replace(tag="stable"))
    service.rules = replace(service.rules, mirrors=(moved,))
    service.upstream.serve(FIRST, "ghcr.io/team/app:stable")
    assert service.check_one().state is State.FRESH
    assert service.record().upstream == "ghcr.io/team/app:stable"


def test_digest_of_the_request_is_valid() -> None:
    service = CheckingService()
    service.check()
    (request,) = service.refreshes.requests.values()
    assert parse_digest(request.root.digest) == FIRST.root.descriptor.digest
    assert request.root.size == len(FIRST.root.content)
