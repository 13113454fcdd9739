"""Pulls beyond the limit, of absent tags, or that fail: the limit holds, and none is lost."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from pullahead.errors import StorageError
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.pulls import ALPINE, Pulls
from tests.fakes.samples import digest


class TestLimit:
    def test_new_mirrors_of_a_day_stop_at_the_limit(self) -> None:
        pulls = Pulls()
        names = [f"mirror/hub/library/app:{number}" for number in range(10)]
        noticed = pulls.pull(*names)
        assert (pulls.sent, texts(noticed.demanded), texts(noticed.refused)) == (names[:3], names[:3], names[3:])
        assert set(texts(pulls.demands.stored)) == set(names[:3])
        pulls.clock.advance(days=1)
        assert texts(pulls.pull(*names[3:]).demanded) == names[3:6]

    def test_limit_is_alerted_once_a_day_and_counted_once_by_a_process(self) -> None:
        pulls = Pulls()
        for number in range(30):
            if number == 20:
                pulls.start()
            pulls.pull(f"mirror/hub/library/app:{number}")
        assert [alert.kind.value for alert in pulls.records.decided] == ["DEMAND_LIMIT"]
        assert "mirror/hub/library/app:3 was pulled, and 3 new mirrors" in pulls.records.decided[0].detail
        assert pulls.script.count("count_demand") == 3 + 2
        assert pulls.script.count("save") == 1

    def test_known_mirrors_are_noted_when_the_limit_is_reached(self) -> None:
        pulls = Pulls()
        pulls.pull(ALPINE, *(f"mirror/hub/library/app:{number}" for number in range(5)))
        pulls.start()
        noticed = pulls.pull(ALPINE)
        assert (noticed.demanded, noticed.refused) == ((), ())

    def test_message_is_retried_if_the_alert_fails(self) -> None:
        pulls = Pulls()
        pulls.script.fail("save", StorageError("no"))
        noticed = pulls.pull(*(f"mirror/hub/library/app:{number}" for number in range(4)))
        assert list(noticed.failures) == ["m3"]
        assert pulls.pull("mirror/hub/library/app:3").refused == (MirrorKey("mirror/hub/library/app", "3"),)
        assert len(pulls.records.decided) == 1

    def test_paused_rule_adds_no_mirrors_and_counts_nothing(self) -> None:
        pulls = Pulls()
        pulls.rules = replace(pulls.rules, paused=frozenset({"hub"}))
        assert pulls.pull(ALPINE).refused == (ALPINE,)
        assert (pulls.sent, pulls.demands.writes) == ([], 0)


class TestAbsent:
    @pytest.fixture
    def pulls(self) -> Pulls:
        """A service with a demand for a tag that upstream does not have."""
        pulls = Pulls()
        pulls.pull(ALPINE)
        pulls.queue.sent.clear()
        pulls.remember(MirrorRecord(ALPINE, "docker.io/library/alpine:3.20", State.GONE, pulls.clock(), on_demand=True))
        return pulls

    def test_absent_tag_is_checked_again_by_pulls_with_growing_intervals(self, pulls: Pulls) -> None:
        pulls.raise_limit(50)
        asked = []
        began = pulls.clock()
        for _ in range(12 * 48):  # as kubelet retries, for two days
            pulls.clock.advance(minutes=5)
            pulls.pull(ALPINE)
            if pulls.sent:
                asked.append((pulls.clock() - began) / timedelta(hours=1))
                pulls.queue.sent.clear()
        assert asked == [1, 3, 7, 15, 31]

    def test_every_retry_counts_against_the_limit(self, pulls: Pulls) -> None:
        pulls.pull("mirror/hub/library/a:1", "mirror/hub/library/a:2")
        pulls.clock.advance(hours=2)
        assert pulls.pull(ALPINE).refused == (ALPINE,)

    @pytest.mark.parametrize("state", [State.MISSING, State.STALE, State.UNKNOWN, State.BLOCKED])
    def test_existing_tag_that_is_not_copied_yet_is_left_to_the_schedule(self, pulls: Pulls, state: State) -> None:
        pulls.remember(MirrorRecord(ALPINE, "u", state, pulls.clock(), error_kind="RegistryUnavailableError"))
        pulls.clock.advance(hours=5)
        assert pulls.pull(ALPINE).demanded == ()

    def test_denied_repository_counts_as_absent(self, pulls: Pulls) -> None:
        pulls.remember(MirrorRecord(ALPINE, "u", State.UNKNOWN, pulls.clock(), error_kind="AccessDeniedError"))
        pulls.clock.advance(hours=1)
        assert pulls.pull(ALPINE).demanded == (ALPINE,)
        assert pulls.stored().tries == 2

    def test_published_tag_that_is_gone_is_not_checked_by_pulls(self, pulls: Pulls) -> None:
        pulls.remember(MirrorRecord(ALPINE, "u", State.GONE, pulls.clock(), published_digest=digest("a")))
        pulls.clock.advance(hours=5)
        assert pulls.pull(ALPINE).demanded == ()


class TestMissingRepository:
    def test_kept_mirror_whose_repository_was_deleted_is_checked_at_once(self) -> None:
        pulls = Pulls()
        pulls.pull(ALPINE)
        pulls.demands.stored[ALPINE] = pulls.stored()._replace(kept=True)
        pulls.queue.sent.clear()
        pulls.start()
        for _ in range(100):
            pulls.pull(ALPINE, missing=True)
        assert pulls.sent == [str(ALPINE)]

    def test_running_first_copy_is_not_checked_again(self) -> None:
        pulls = Pulls()
        pulls.pull(ALPINE, missing=True)
        pulls.start()
        pulls.pull(ALPINE, missing=True)
        assert pulls.sent == [str(ALPINE)]


class TestFailures:
    def test_failed_read_retries_all_messages(self) -> None:
        pulls = Pulls()
        pulls.script.fail("load_demands", StorageError("no"))
        with pytest.raises(StorageError):
            pulls.pull(ALPINE)
        assert pulls.pull(ALPINE).demanded == (ALPINE,)

    @pytest.mark.parametrize("error", [StorageError("no"), KeyError("defect")])
    @pytest.mark.parametrize("operation", ["count_demand", "send", "save_demand"])
    def test_failed_pull_alone_is_retried(self, operation: str, error: Exception) -> None:
        pulls = Pulls()
        pulls.script.fail(operation, error)
        noticed = pulls.pull(ALPINE, "mirror/hub/library/app:1")
        assert (list(noticed.failures), noticed.demanded) == (["m0"], (MirrorKey("mirror/hub/library/app", "1"),))
        assert noticed.failed[ALPINE] is noticed.failures["m0"] is error
        pulls.pull(ALPINE)
        assert str(ALPINE) in pulls.sent
        assert ALPINE in pulls.demands.stored


def texts(keys: Iterable[MirrorKey]) -> list[str]:
    return list(map(str, keys))
