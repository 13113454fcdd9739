"""The schedule combines rules: what it stores and reports, and which version of an external file is in force."""

from datetime import timedelta

import pytest

from pullahead.errors import ConfigError, StorageError
from pullahead.rules.active import RULES_RELOAD_INTERVAL, CurrentRules
from pullahead.rules.load import load_rules
from pullahead.rules.model import Rules
from pullahead.rules.sources.combine import Gathered
from pullahead.rules.sources.discover import FIND_EVERY, DiscoverSources, GatherRules, WritableRepositories
from pullahead.rules.sources.state import BrokenRules
from tests.fakes.memory import FakeClock
from tests.fakes.script import Script
from tests.fakes.sources import QUAY, FakeCachedRepositories, FakeRulesFile, FakeRulesState, FakeTaggedRepositories

EMPTY = "version: 1\nmirrors: []\n"
BROKEN = "version: 1\nmirors: []\n"


def rules_text(tag: str) -> str:
    """Write a file that mirrors one tag."""
    return f'version: 1\nmirrors:\n  - {{upstream: ghcr.io/a/b, tags: ["{tag}"], repository: mirror/b}}\n'


class Gathering:
    """A schedule and another function, by default with the file of the layer."""

    def __init__(self, text: str | None = None) -> None:
        self.script, self.clock = Script(), FakeClock()
        self.cached, self.tagged = FakeCachedRepositories(QUAY, script=self.script), FakeTaggedRepositories(self.script)
        self.cached.repositories = {"quay/team/app": ("1",)}
        self.rules_state = FakeRulesState(self.script)
        self.text = FakeRulesFile(text, self.script) if text is not None else None
        self.layer = EMPTY
        self.schedule = self.new_schedule()
        self.reader = CurrentRules(self.file, self.rules_state, self.clock)

    def file(self) -> Rules:
        return load_rules(self.layer, source="rules.yaml")

    def new_schedule(self) -> GatherRules:
        """Start the function's process anew."""
        find = DiscoverSources(self.cached, self.tagged, WritableRepositories())
        return GatherRules(self.file, self.text, find, self.rules_state, self.clock)

    def gather(self, **later: float) -> Gathered:
        self.clock.advance(**later)
        return self.schedule()

    @property
    def broken(self) -> BrokenRules | None:
        """What the schedule wrote down of the newest version."""
        state = self.rules_state.load()
        assert state is not None
        return state.text.broken

    def put(self, text: str) -> None:
        """Put another file where people keep it."""
        assert self.text is not None
        self.text.put(text)


def keys(rules: Rules) -> list[str]:
    return sorted(str(mirror.key) for mirror in rules.mirrors)


class TestSharing:
    def test_other_functions_use_the_findings_of_the_schedule(self) -> None:
        gathering = Gathering()
        gathering.layer = rules_text("1.0")
        found = gathering.gather().rules
        assert keys(found) == ["mirror/b:1.0", "quay/team/app:1"]
        read = gathering.reader()
        assert (read.mirrors, read.digest) == (found.mirrors, found.digest)

    def test_file_is_used_before_the_first_schedule(self) -> None:
        gathering = Gathering()
        gathering.layer = rules_text("1.0")
        assert keys(gathering.reader()) == ["mirror/b:1.0"]

    def test_unchanged_state_is_not_written(self) -> None:
        gathering = Gathering()
        gathering.gather()
        gathering.gather(minutes=5)
        assert gathering.script.count("save_rules_state") == 1

    def test_aws_is_called_once_in_five_minutes_however_often_the_schedule_fires(self) -> None:
        gathering = Gathering()
        for _ in range(10):
            gathering.gather(minutes=1)
        assert gathering.script.count("cache_rules") == 3
        assert timedelta(minutes=5) > FIND_EVERY

    def test_reader_reads_the_state_once_a_minute(self) -> None:
        gathering = Gathering()
        for _ in range(30):
            gathering.reader()
            gathering.clock.advance(seconds=RULES_RELOAD_INTERVAL.total_seconds() / 10)
        assert gathering.script.count("load_rules_state") == 3

    def test_reader_learns_of_a_new_tag_within_a_minute(self) -> None:
        gathering = Gathering()
        gathering.gather()
        gathering.reader()
        gathering.cached.repositories["quay/team/app"] = ("1", "2")
        gathering.gather(minutes=5)
        assert keys(gathering.reader()) == ["quay/team/app:1", "quay/team/app:2"]

    def test_reader_uses_later_findings_of_the_schedule_at_once(self) -> None:
        gathering = Gathering()
        gathering.gather()
        gathering.clock.advance(minutes=5)
        gathering.reader()
        gathering.cached.repositories["quay/team/app"] = ("1", "2")
        gathering.gather(seconds=1)
        assert keys(gathering.reader()) == ["quay/team/app:1"]
        gathering.reader.as_of(gathering.clock())
        assert keys(gathering.reader()) == ["quay/team/app:1", "quay/team/app:2"]

    def test_reader_that_is_newer_than_the_schedule_does_not_read_again(self) -> None:
        gathering = Gathering()
        gathering.reader()
        for _ in range(10):
            gathering.reader.as_of(gathering.clock())
            gathering.reader()
        assert gathering.script.count("load_rules_state") == 1

    def test_deployed_rules_are_used_before_the_next_schedule(self) -> None:
        gathering = Gathering()
        gathering.gather()
        gathering.layer = rules_text("2.0")
        fresh = CurrentRules(gathering.file, gathering.rules_state, gathering.clock)
        assert keys(fresh()) == ["mirror/b:2.0", "quay/team/app:1"]

    def test_reader_keeps_its_rules_while_s3_is_unavailable(self) -> None:
        gathering = Gathering()
        gathering.gather()
        known = gathering.reader()
        gathering.script.fail("load_rules_state", StorageError("503"))
        gathering.clock.advance(minutes=1)
        assert gathering.reader() is known

    def test_reader_without_rules_fails_while_s3_is_unavailable(self) -> None:
        gathering = Gathering()
        gathering.script.fail("load_rules_state", StorageError("503"))
        with pytest.raises(StorageError):
            gathering.reader()
        assert keys(gathering.reader()) == []

    def test_state_of_another_version_is_overwritten(self) -> None:
        gathering = Gathering()
        gathering.rules_state.content = b'{"version": 2, "text": {"good": 7}}'
        assert keys(gathering.reader()) == []
        gathering.gather()
        gathering.clock.advance(minutes=1)
        assert keys(gathering.reader()) == ["quay/team/app:1"]


class TestTelling:
    def test_notice_is_reported_once_and_again_after_it_disappeared(self) -> None:
        gathering = Gathering()
        gathering.tagged.repositories["mirror/x"] = {"pullahead:upstream": "A B", "pullahead:tags": "1"}
        assert len(gathering.gather().notices) == 1
        assert gathering.gather(minutes=5).notices == ()
        gathering.tagged.repositories.clear()
        assert gathering.gather(minutes=5).notices == ()
        gathering.tagged.repositories["mirror/x"] = {"pullahead:upstream": "A B", "pullahead:tags": "1"}
        assert len(gathering.gather(minutes=5).notices) == 1

    def test_new_process_does_not_repeat_a_notice(self) -> None:
        gathering = Gathering()
        gathering.tagged.repositories["mirror/x"] = {"pullahead:upstream": "A B", "pullahead:tags": "1"}
        gathering.gather()
        gathering.schedule = gathering.new_schedule()
        assert gathering.gather().notices == ()


class TestRulesElsewhere:
    def test_external_file_replaces_the_layer(self) -> None:
        gathering = Gathering(rules_text("1.0"))
        gathering.layer = rules_text("layer")
        assert "mirror/b:1.0" in keys(gathering.gather().rules)
        assert keys(gathering.reader()) == ["mirror/b:1.0", "quay/team/app:1"]

    def test_change_is_followed(self) -> None:
        gathering = Gathering(rules_text("1.0"))
        gathering.gather()
        gathering.put(rules_text("2.0"))
        gathering.gather(minutes=5)
        assert "mirror/b:2.0" in keys(gathering.reader())
        assert gathering.broken is None

    def test_invalid_version_is_refused_and_recorded(self) -> None:
        gathering = Gathering(rules_text("1.0"))
        gathering.gather()
        gathering.put(BROKEN)
        broken_at = gathering.gather(minutes=5) and gathering.clock()
        for _ in range(3):
            assert "mirror/b:1.0" in keys(gathering.gather(minutes=5).rules)
        gathering.schedule = gathering.new_schedule()
        gathering.gather(minutes=5)
        assert "mirror/b:1.0" in keys(gathering.reader())
        broken = gathering.broken
        assert broken is not None
        assert (broken.since, broken.unreadable) == (broken_at, False)
        assert "unknown key 'mirors'. Did you mean mirrors?" in broken.detail

    def test_corrected_file_clears_the_recorded_problem(self) -> None:
        gathering = Gathering(rules_text("1.0"))
        gathering.gather()
        gathering.put(BROKEN)
        gathering.gather(minutes=5)
        gathering.put(rules_text("2.0"))
        gathering.gather(minutes=5)
        assert gathering.broken is None
        assert "mirror/b:2.0" in keys(gathering.reader())

    def test_next_invalid_version_has_its_own_problems_since_the_first(self) -> None:
        gathering = Gathering(rules_text("1.0"))
        gathering.gather()
        gathering.put(BROKEN)
        broken_at = gathering.gather(minutes=5) and gathering.clock()
        gathering.put("version: 7\nmirrors: []\n")
        gathering.gather(minutes=5)
        assert gathering.broken is not None
        assert "'7' is not a supported version" in gathering.broken.detail
        assert gathering.broken.since == broken_at

    def test_unreadable_file_is_recorded_until_it_is_readable(self) -> None:
        gathering = Gathering(rules_text("1.0"))
        gathering.gather()
        gathering.script.fail("read_text", StorageError("AccessDenied"), times=2)
        for _ in range(2):
            assert "mirror/b:1.0" in keys(gathering.gather(minutes=5).rules)
            assert gathering.broken is not None
            assert (gathering.broken.detail, gathering.broken.unreadable) == ("AccessDenied", True)
        gathering.gather(minutes=5)
        assert gathering.broken is None

    def test_schedule_fails_without_any_valid_version(self) -> None:
        gathering = Gathering(BROKEN)
        with pytest.raises(ConfigError, match="mirors"):
            gathering.gather()
        assert gathering.rules_state.content is None
        gathering.put(rules_text("1.0"))
        assert "mirror/b:1.0" in keys(gathering.gather().rules)

    def test_layer_is_used_again_without_the_parameter(self) -> None:
        gathering = Gathering(rules_text("1.0"))
        gathering.gather()
        gathering.layer = rules_text("layer")
        gathering.text = None
        gathering.schedule = gathering.new_schedule()
        gathering.gather(minutes=5)
        assert "mirror/b:layer" in keys(gathering.reader())
