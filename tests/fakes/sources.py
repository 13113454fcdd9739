"""Sources of rules in memory: cached repositories, tagged repositories, an external rules file, the shared state."""

from collections.abc import Mapping, Sequence

from pullahead.rules.compiled import CompiledRules, decode_compiled, encode_compiled
from pullahead.rules.ports import RulesRevision
from pullahead.rules.sources.findings import CacheRule, TaggedRepository
from pullahead.rules.sources.state import RulesState, decode_rules_state, encode_rules_state
from pullahead.rules.text import RulesText
from tests.fakes.script import Script

HUB = CacheRule("docker-hub", "registry-1.docker.io", credential="arn:aws:secretsmanager:eu-west-1:1:secret:hub")
QUAY = CacheRule("quay", "quay.io")


class FakeCachedRepositories:
    """Implements `pullahead.rules.ports.CachedRepositories`."""

    def __init__(self, *rules: CacheRule, script: Script | None = None) -> None:
        self.rules = list(rules)
        self.repositories: dict[str, tuple[str, ...]] = {}
        self.script = script or Script()

    def cache_rules(self) -> Sequence[CacheRule]:
        with self.script.call("cache_rules"):
            return tuple(self.rules)

    def repository_names(self) -> Sequence[str]:
        with self.script.call("repository_names"):
            return tuple(self.repositories)

    def tags_of(self, repository: str) -> Sequence[str]:
        with self.script.call("tags_of"):
            return self.repositories[repository]


class FakeTaggedRepositories:
    """Implements `pullahead.rules.ports.TaggedRepositories`."""

    def __init__(self, script: Script | None = None, **repositories: Mapping[str, str]) -> None:
        self.repositories: dict[str, Mapping[str, str]] = dict(repositories)
        self.script = script or Script()

    def repositories_with(self, keys: Sequence[str]) -> Sequence[TaggedRepository]:
        with self.script.call("repositories_with"):
            return [
                TaggedRepository(name, dict(tags))
                for name, tags in self.repositories.items()
                if any(key in tags for key in keys)
            ]


class FakeRulesFile:
    """Implements `pullahead.rules.ports.RulesFile`; every text that is put there is a revision of its own."""

    address = "s3://team-rules/rules.yaml"

    def __init__(self, text: str, script: Script | None = None) -> None:
        self.text, self.revision = text, 1
        self.script = script or Script()

    def put(self, text: str) -> None:
        """Put another text there."""
        self.text, self.revision = text, self.revision + 1

    def read(self, known_revision: str | None) -> RulesRevision | None:
        with self.script.call("read_text"):
            revision = str(self.revision)
            return None if revision == known_revision else RulesRevision(self._files(), revision)

    def _files(self) -> tuple[RulesText, ...]:
        return (RulesText(self.address, self.text),)


class FakeRulesFolder(FakeRulesFile):
    """A folder of rules files, by their names; every change is a revision of its own."""

    address = "s3://team-rules/rules/"

    def __init__(self, files: Mapping[str, str], script: Script | None = None) -> None:
        super().__init__("", script)
        self.files = dict(files)

    def put_file(self, name: str, text: str) -> None:
        """Put a file there."""
        self.files[name] = text
        self.revision += 1

    def _files(self) -> tuple[RulesText, ...]:
        return tuple(RulesText(f"{self.address}{name}", self.files[name]) for name in sorted(self.files))


class FakeCompiledRules:
    """Implements `pullahead.rules.ports.CompiledRulesStore`; the rules are stored in bytes, as in S3."""

    def __init__(self, script: Script | None = None) -> None:
        self.content: bytes | None = None
        self.script = script or Script()
        self._decoded: tuple[bytes, CompiledRules | None] | None = None

    def load(self) -> CompiledRules | None:
        with self.script.call("load_compiled_rules"):
            if self.content is None:
                return None
            if self._decoded is None or self._decoded[0] is not self.content:
                self._decoded = (self.content, decode_compiled(self.content))
            return self._decoded[1]

    def save(self, compiled: CompiledRules) -> None:
        with self.script.call("save_compiled_rules"):
            self.content = encode_compiled(compiled)


class FakeRulesState:
    """Implements `pullahead.rules.ports.RulesStateStore`; the state is stored as JSON, as in S3."""

    def __init__(self, script: Script | None = None) -> None:
        self.content: bytes | None = None
        self.script = script or Script()

    def load(self) -> RulesState | None:
        with self.script.call("load_rules_state"):
            return decode_rules_state(self.content) if self.content is not None else None

    def save(self, state: RulesState) -> None:
        with self.script.call("save_rules_state"):
            self.content = encode_rules_state(state)
