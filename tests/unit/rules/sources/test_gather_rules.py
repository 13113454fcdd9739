"""The schedule combines rules: what it stores and reports, and which version of an external file is in force."""

from datetime import timedelta

import pytest

from pullahead.errors import ConfigError, StorageError
from pullahead.rules.active import RULES_RELOAD_INTERVAL, CompiledForDeployment, CurrentRules, DeployedRules
from pullahead.rules.compiled import compiled_version
from pullahead.rules.model import Rules
from pullahead.rules.sources.combine import Gathered
from pullahead.rules.sources.discover import (
    FIND_EVERY,
    CompiledStores,
    DiscoverSources,
    GatherRules,
    WritableRepositories,
)
from pullahead.rules.sources.state import BrokenRules
from pullahead.rules.text import RulesText
from tests.fakes.memory import FakeClock
from tests.fakes.script import Script
from tests.fakes.sources import (
    QUAY,
    FakeCachedRepositories,
    FakeCompiledRules,
    FakeRulesFile,
    FakeRulesFolder,
    FakeRulesState,
    FakeTaggedRepositories,
)

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
        self.compiled = CompiledStores(FakeCompiledRules(), FakeCompiledRules(self.script))
        self.schedule = self.new_schedule()
        self.reader = self.new_reader()

    def files(self) -> tuple[RulesText, ...]:
        return (RulesText("rules.yaml", self.layer),)

    def new_reader(self) -> CurrentRules:
        """Start another function's process."""
        deployed = DeployedRules(self.files)
        compiled = CompiledForDeployment(self.compiled.combined, deployed)
        return CurrentRules(deployed, self.rules_state, self.clock, compiled)

    def new_schedule(self) -> GatherRules:
        """Start the function's process anew."""
        find = DiscoverSources(self.cached, self.tagged, WritableRepositories())
        return GatherRules(self.files, self.text, find, self.rules_state, self.compiled, self.clock)

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

    def test_notice_about_text_from_outside_is_one_printable_line(self) -> None:
        gathering = Gathering()
        gathering.tagged.repositories = {"team/\x1b[2Japp\u202e": {"pullahead:upstream": "ghcr.io/a\r\nERROR forged"}}
        notices = gathering.gather().notices
        assert notices
        assert all(notice.isprintable() for notice in notices)

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
        assert keys(gathering.new_reader()()) == ["mirror/b:2.0", "quay/team/app:1"]

    def test_reader_keeps_its_rules_while_s3_is_unavailable(self) -> None:
        gathering = Gathering()
        gathering.gather()
        known = gathering.reader()
        gathering.script.fail("load_compiled_rules", StorageError("503"))
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


class TestCompiling:
    """Files and findings are compiled once, whoever reads them and however often a process begins anew."""

    def test_unchanged_files_are_not_compiled_again(self) -> None:
        gathering = Gathering()
        gathering.layer = rules_text("1.0")
        gathering.gather()
        before = [store.load() for store in gathering.compiled]
        for _ in range(3):
            gathering.schedule = gathering.new_schedule()
            assert keys(gathering.gather(minutes=5).rules) == ["mirror/b:1.0", "quay/team/app:1"]
        assert all(store.load() is known for store, known in zip(gathering.compiled, before, strict=True))

    def test_new_findings_do_not_compile_the_files_again(self) -> None:
        gathering = Gathering()
        gathering.layer = rules_text("1.0")
        gathering.gather()
        before = gathering.compiled.declared.load()
        gathering.cached.repositories["quay/team/app"] = ("1", "2")
        assert "quay/team/app:2" in keys(gathering.gather(minutes=5).rules)
        assert gathering.compiled.declared.load() is before

    def test_reader_compiles_nothing_where_the_schedule_has(self) -> None:
        gathering = Gathering()
        gathering.layer = rules_text("1.0")
        gathering.gather()
        compiled = gathering.compiled.combined.load()
        assert compiled is not None
        assert gathering.reader() is compiled.rules
        assert gathering.script.count("load_rules_state") == 1  # the schedule's

    @pytest.mark.parametrize("external", [False, True])
    @pytest.mark.parametrize("is_of_another_version", [False, True])
    def test_form_that_cannot_be_believed_is_compiled_again(self, external: bool, is_of_another_version: bool) -> None:
        gathering = Gathering(rules_text("1.0") if external else None)
        gathering.layer = rules_text("1.0")
        gathering.gather()
        for store in gathering.compiled:
            assert isinstance(store, FakeCompiledRules)
            assert store.content is not None
            version = compiled_version().encode()
            store.content = store.content.replace(version, b"9" * len(version)) if is_of_another_version else b"damaged"
        assert keys(gathering.new_reader()()) == ["mirror/b:1.0", "quay/team/app:1"]
        gathering.schedule = gathering.new_schedule()
        assert keys(gathering.gather(minutes=5).rules) == ["mirror/b:1.0", "quay/team/app:1"]
        assert all(store.load() is not None for store in gathering.compiled)

    def test_last_valid_version_outlasts_a_form_that_cannot_be_believed(self) -> None:
        gathering = Gathering(rules_text("1.0"))
        gathering.gather()
        gathering.put(BROKEN)
        gathering.gather(minutes=5)
        for store in gathering.compiled:
            assert isinstance(store, FakeCompiledRules)
            store.content = b"damaged"
        gathering.schedule = gathering.new_schedule()
        assert "mirror/b:1.0" in keys(gathering.gather(minutes=5).rules)

    def test_large_deployed_files_are_left_to_the_schedule(self) -> None:
        gathering = Gathering()
        gathering.layer = rules_text("1.0")
        gathering.gather()
        gathering.layer = rules_text("2.0") + "#" * 1024 * 1024
        assert "mirror/b:1.0" in keys(gathering.new_reader()())
        gathering.schedule = gathering.new_schedule()
        gathering.gather(minutes=5)
        assert "mirror/b:2.0" in keys(gathering.new_reader()())

    def test_very_large_files_that_nobody_compiled_are_an_error_that_is_retried(self) -> None:
        gathering = Gathering()
        gathering.layer = rules_text("1.0") + "#" * 4 * 1024 * 1024
        with pytest.raises(StorageError, match=r"not compiled yet.*the next run of schedule_checks does"):
            gathering.reader()
        gathering.gather()
        assert "mirror/b:1.0" in keys(gathering.new_reader()())

    def test_what_another_process_of_the_schedule_compiled_is_replaced(self) -> None:
        gathering = Gathering()
        gathering.layer = first = rules_text("1.0")
        gathering.gather()
        process = gathering.schedule
        gathering.layer, gathering.schedule = rules_text("2.0"), gathering.new_schedule()
        gathering.gather(minutes=5)
        gathering.layer, gathering.schedule = first, process
        gathering.gather(minutes=5)
        compiled = gathering.compiled.combined.load()
        assert compiled is not None
        assert "mirror/b:1.0" in keys(compiled.rules)


class TestFolder:
    def gathering(self) -> tuple[Gathering, FakeRulesFolder]:
        """Follow a folder of two files."""
        gathering = Gathering()
        folder = FakeRulesFolder({"a.yaml": rules_text("1.0"), "b.yaml": rules_text("2.0")}, gathering.script)
        gathering.text = folder
        gathering.schedule = gathering.new_schedule()
        return gathering, folder

    def test_files_of_a_folder_are_followed_together(self) -> None:
        gathering, folder = self.gathering()
        assert keys(gathering.gather().rules) == ["mirror/b:1.0", "mirror/b:2.0", "quay/team/app:1"]
        folder.put_file("c.yaml", rules_text("3.0"))
        gathering.gather(minutes=5)
        assert "mirror/b:3.0" in keys(gathering.reader())

    def test_one_invalid_file_leaves_the_last_valid_version_of_all(self) -> None:
        gathering, folder = self.gathering()
        gathering.gather()
        folder.put_file("a.yaml", rules_text("3.0"))
        folder.put_file("b.yaml", BROKEN)
        for _ in range(2):
            gathering.schedule = gathering.new_schedule()
            assert keys(gathering.gather(minutes=5).rules) == ["mirror/b:1.0", "mirror/b:2.0", "quay/team/app:1"]
        assert gathering.broken is not None
        assert "s3://team-rules/rules/b.yaml:2: unknown key 'mirors'" in gathering.broken.detail
        for store in gathering.compiled:
            assert isinstance(store, FakeCompiledRules)
            store.content = None
        assert keys(gathering.new_reader()()) == ["mirror/b:1.0", "mirror/b:2.0", "quay/team/app:1"]


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
