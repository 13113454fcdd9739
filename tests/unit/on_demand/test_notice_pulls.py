"""Pulls: a new one is checked once; a known one costs a share of a read, and a write a day."""

from datetime import timedelta

import pytest

from pullahead.errors import RateLimitedError
from pullahead.messages import CheckRequest
from pullahead.mirrors.demand import Demand
from pullahead.on_demand.notice_pulls import KNOWN_FOR
from pullahead.rules.load import load_rules
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.published_tags import digest_tag
from tests.fakes.pulls import ALPINE, RULES, Pulls
from tests.fakes.samples import digest, failed


def test_first_pull_is_stored_and_checked_at_once() -> None:
    pulls = Pulls()
    noticed = pulls.pull(ALPINE)
    now = pulls.clock()
    assert (noticed.seen, noticed.demanded, noticed.failures) == (1, (ALPINE,), {})
    assert pulls.queue.sent == [CheckRequest("pull", "mirror/hub/library/alpine", ("3.20",), now, settled=True)]
    assert pulls.stored() == Demand(ALPINE, "hub", now, now)
    assert pulls.demands.expiries[ALPINE] > now + timedelta(days=30)


def test_image_that_docker_pulls_by_head_and_get_is_demanded_once() -> None:
    pulls = Pulls()
    pulls.pull(ALPINE, ALPINE, ALPINE)
    pulls.start()
    pulls.pull(ALPINE)
    assert pulls.sent == [str(ALPINE)]
    assert (pulls.script.count("count_demand"), pulls.script.count("save_demand")) == (1, 1)


def test_pull_of_a_known_mirror_costs_one_read() -> None:
    pulls = Pulls()
    pulls.pull(ALPINE)
    pulls.start()
    pulls.script.calls.clear()
    assert pulls.pull(ALPINE, ALPINE).demanded == ()
    assert pulls.script.calls == ["load_demands"]


def test_pull_is_not_read_again_for_five_minutes() -> None:
    pulls = Pulls()
    pulls.pull(ALPINE)
    pulls.script.calls.clear()
    assert pulls.pull(ALPINE).seen == 1
    assert pulls.script.calls == []
    pulls.clock.now += KNOWN_FOR
    pulls.pull(ALPINE)
    assert pulls.script.calls == ["load_demands"]


@pytest.mark.parametrize(
    "name",
    [
        "mirror/hub/library/docker:28",  # denied
        "mirror/hub/library/alpine:3.21-rc1",  # denied by its tag
        "mirror/hub/grafana/grafana:9",  # another tag than is allowed
        "mirror/hub/evil/miner:latest",  # not allowed
        "mirror/other/library/alpine:3.20",  # of no rule
        "mirror/hub/library/own:1.0",  # named by another rule
    ],
)
def test_pull_that_no_on_demand_rule_allows_costs_nothing(name: str) -> None:
    pulls = Pulls()
    assert pulls.pull(name).seen == 0
    assert pulls.script.calls == []


@pytest.mark.parametrize("suffix", ["", ".sig", ".att", ".sbom"])
def test_pull_of_a_signature_costs_nothing_since_it_comes_with_its_image(suffix: str) -> None:
    name = f"mirror/hub/library/alpine:sha256-{'0a' * 32}{suffix}"
    pulls = Pulls()
    assert pulls.pull(name).seen == 0
    assert pulls.script.calls == []
    pulls.rules = load_rules(f"{RULES}    referrers: {{copy: false}}\n", source="rules.yaml")
    assert pulls.pull(name).seen == 1


def test_own_pulls_and_other_messages_cost_nothing() -> None:
    pulls = Pulls()
    noticed = pulls.notice({"a": pulls.message(str(ALPINE), role="ours"), "b": "{", "c": "null"})
    assert (noticed.seen, len(noticed.ignored), noticed.failures) == (0, 3, {})
    assert pulls.script.calls == []


def test_three_thousand_pulls_of_known_mirrors_cost_a_read_for_each_hundred() -> None:
    pulls = Pulls()
    pulls.raise_limit(10_000)
    names = [f"mirror/hub/library/app:{number}" for number in range(300)]
    for batch in _hundreds(names):
        pulls.pull(*batch)
    assert len(pulls.sent) == 300
    pulls.script.calls.clear()
    for number in range(10):
        pulls.clock.now += KNOWN_FOR
        if number == 5:
            pulls.start()
        for batch in _hundreds(names):
            pulls.pull(*batch)
    assert len(pulls.sent) == 300
    assert pulls.script.calls == ["load_demands"] * 30


def _hundreds(names: list[str]) -> list[list[str]]:
    return [names[start : start + 100] for start in range(0, len(names), 100)]


class TestNoting:
    def test_pull_is_noted_once_a_day(self) -> None:
        pulls = Pulls()
        pulls.pull(ALPINE)
        first = pulls.clock()
        for _ in range(48):
            pulls.clock.advance(hours=1)
            pulls.pull(ALPINE)
        assert pulls.stored().since == first + timedelta(days=2)
        assert pulls.script.count("save_demand") == 3
        assert pulls.sent == [str(ALPINE)]

    def test_late_message_keeps_the_time_of_the_last_pull(self) -> None:
        pulls = Pulls()
        pulls.pull(ALPINE)
        pulls.clock.advance(days=2)
        pulls.pull(ALPINE)
        noted = pulls.stored()
        pulls.start()
        pulls.pull(ALPINE, at=pulls.clock() - timedelta(days=1))
        assert pulls.stored() == noted

    def test_time_in_the_future_does_not_extend_a_demand(self) -> None:
        pulls = Pulls()
        pulls.pull(ALPINE, at=pulls.clock() + timedelta(days=900))
        assert pulls.stored().since == pulls.clock()

    def test_renamed_rule_takes_over_the_demand(self) -> None:
        pulls = Pulls()
        pulls.pull(ALPINE)
        pulls.rules = load_rules(RULES.replace("name: hub", "name: docker"), source="rules.yaml")
        pulls.start()
        assert pulls.pull(ALPINE, at=pulls.clock() - timedelta(hours=3)).demanded == ()
        assert (pulls.stored().rule, pulls.stored().since) == ("docker", pulls.clock())
        assert pulls.sent == [str(ALPINE)]

    def test_pull_noted_by_another_process_is_not_noted_again(self) -> None:
        pulls = Pulls()
        pulls.pull(ALPINE)
        pulls.clock.advance(days=2)
        pulls.start()
        theirs = pulls.stored()._replace(since=pulls.clock(), kept=True)
        pulls.script.before("save_demand", lambda: pulls.demands.stored.update({ALPINE: theirs}))
        assert pulls.pull(ALPINE).failures == {}
        assert pulls.stored() == theirs


def test_pull_of_a_kept_mirror_reads_no_record() -> None:
    pulls = Pulls()
    pulls.pull(ALPINE)
    pulls.demands.stored[ALPINE] = pulls.stored()._replace(kept=True)
    pulls.clock.advance(hours=23)
    pulls.script.calls.clear()
    pulls.pull(ALPINE)
    assert pulls.script.calls == ["load_demands"]


class TestDigests:
    """Pulls by digest: what ECR does not have is demanded; what it has is below some tag, and costs no more."""

    REPOSITORY = "mirror/hub/library/alpine"
    DIGEST = digest("pulled")
    KEY = MirrorKey(REPOSITORY, digest_tag(DIGEST).target)

    def test_digest_that_ecr_does_not_have_is_demanded_and_checked(self) -> None:
        pulls = Pulls()
        noticed = pulls.pull(f"{self.REPOSITORY}@{self.DIGEST}")
        assert noticed.demanded == (self.KEY,)
        assert pulls.sent == [str(self.KEY)]
        mirror = pulls.rules.find(self.REPOSITORY, self.KEY.tag)
        assert mirror is not None
        assert (str(mirror.upstream), mirror.pin) == (f"docker.io/library/alpine@{self.DIGEST}", self.DIGEST)
        assert (mirror.immutable, mirror.on_demand) == (True, True)

    def test_manifest_below_an_index_is_asked_for_once_an_hour_and_never_demanded(self) -> None:
        pulls = Pulls()
        pulls.held.add((self.REPOSITORY, self.DIGEST))
        for _ in range(12):
            noticed = pulls.pull(*[f"{self.REPOSITORY}@{self.DIGEST}"] * 3)
            assert (noticed.seen, noticed.demanded) == (1, ())
            pulls.clock.advance(minutes=5)
        assert (pulls.script.count("holds_manifest"), pulls.script.count("save_demand")) == (1, 0)
        pulls.pull(f"{self.REPOSITORY}@{self.DIGEST}")
        assert pulls.script.count("holds_manifest") == 2
        assert pulls.script.count("count_demand") == 0

    def test_known_digest_is_noted_daily_without_asking_ecr(self) -> None:
        pulls = Pulls()
        pulls.pull(f"{self.REPOSITORY}@{self.DIGEST}")
        pulls.held.add((self.REPOSITORY, self.DIGEST))
        pulls.clock.advance(days=1)
        pulls.pull(f"{self.REPOSITORY}@{self.DIGEST}")
        assert pulls.stored(self.KEY).since == pulls.clock()
        assert pulls.script.count("holds_manifest") == 1

    def test_digest_in_a_missing_repository_is_demanded_without_asking(self) -> None:
        pulls = Pulls()
        assert pulls.pull(f"{self.REPOSITORY}@{self.DIGEST}", missing=True).demanded == (self.KEY,)
        assert pulls.script.count("holds_manifest") == 0

    @pytest.mark.parametrize("path", ["grafana/grafana", "evil/miner", "library/docker"])
    def test_digest_that_no_rule_allows_costs_nothing(self, path: str) -> None:
        pulls = Pulls()
        assert pulls.pull(f"mirror/hub/{path}@{self.DIGEST}").seen == 0
        assert pulls.script.calls == []

    def test_pull_is_retried_if_ecr_fails(self) -> None:
        pulls = Pulls()
        pulls.script.fail("holds_manifest", failed(RateLimitedError))
        assert set(pulls.pull(f"{self.REPOSITORY}@{self.DIGEST}").failures) == {"m0"}
        assert pulls.sent == []
        assert pulls.pull(f"{self.REPOSITORY}@{self.DIGEST}").demanded == (self.KEY,)
