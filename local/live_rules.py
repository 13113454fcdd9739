"""The rules file that `make local` deploys, and again whenever it changes; with a mistake in it, it is not deployed."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from local.deploy import DeploymentError
from pullahead.errors import ConfigError
from pullahead.rules.load import load_rules
from pullahead.rules.model import Rules
from pullahead.rules.yaml_document import MAX_DOCUMENT_BYTES
from pullahead.settings import own_rules_or
from pullahead.text import count_text

LAYER: Final = "RulesLayer"
RULES: Final = "rules.yaml"
_MAX_LINES: Final = 20


class ValidRules(NamedTuple):
    """Rules without a mistake, and their text."""

    text: str
    rules: Rules


class LiveRules:
    """The rules file, and the folder that is deployed as the layer in its place.

    `given` is the file, or a folder with rules.yaml in it as layers/rules has. There a user's own file is preferred,
    as the functions prefer it.
    """

    def __init__(self, given: Path, layer: Path) -> None:
        self._given, self._layer = given, layer
        self._seen: bytes | None = None
        self._tried: bytes | None = None
        self._in_use: bytes | None = None

    @property
    def path(self) -> Path:
        """The file that is in use, or would be."""
        return own_rules_or(self._given / RULES) if self._given.is_dir() else self._given

    def begin(self) -> Rules:
        """Read the rules and write them into the layer's folder.

        Raises:
            DeploymentError: the file is not there.
            ConfigError: it has mistakes; it names each with its line and a hint.
        """
        content = self._read()
        if content is None:
            raise DeploymentError(f"{LAYER}: {self.path} cannot be read. RULES names a file, or a folder with {RULES}")
        valid = self._validated(content)
        self._seen = self._tried = self._in_use = content
        self._write(valid)
        return valid.rules

    def reload(self, deploy: Callable[[], None]) -> Sequence[str]:
        """Look at the file, deploy it if it has changed, and say in lines what became of it.

        A text is tried at the second look that finds it: the first may come while it is being written.
        """
        content = self._read()
        is_new, self._seen = content != self._seen, content
        if is_new or content == self._tried:
            return ()
        self._tried = content
        return self._lines_after(content, deploy)

    def _lines_after(self, content: bytes | None, deploy: Callable[[], None]) -> Sequence[str]:
        if content is None:
            return (f"{shown_path(self.path)} cannot be read. The old rules stay in use",)
        if content == self._in_use:
            return (f"{shown_path(self.path)} is as it was deployed",)
        try:
            valid = self._validated(content)
            self._write(valid)
            deploy()
        except (ConfigError, DeploymentError) as error:
            lines = str(error).splitlines()
            more = [f"and {len(lines) - _MAX_LINES} more"] if len(lines) > _MAX_LINES else []
            return (*lines[:_MAX_LINES], *more, "The old rules stay in use")
        self._in_use = content
        return (f"{shown_path(self.path)} is deployed: {rules_text(valid.rules)}; what is due is checked now",)

    def _read(self) -> bytes | None:
        try:
            with self.path.open("rb") as file:
                return file.read(MAX_DOCUMENT_BYTES + 1)
        except OSError:
            return None

    def _validated(self, content: bytes) -> ValidRules:
        source = shown_path(self.path)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{source}: the file is not UTF-8: {error}. Save it as UTF-8.") from error
        return ValidRules(text, load_rules(text, source=source))

    def _write(self, valid: ValidRules) -> None:
        self._layer.mkdir(exist_ok=True)
        (self._layer / RULES).write_text(valid.text, encoding="utf-8")


def shown_path(path: Path) -> str:
    """Write a path as it is shortest, from the current folder."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def rules_text(rules: Rules) -> str:
    """Count what rules select."""
    tags = count_text(sum(len(rule.tags.names) for rule in rules.rules), "exact tag")
    patterns = count_text(sum(len(rule.tags.patterns) for rule in rules.rules), "pattern")
    return f"{count_text(len(rules.rules), 'rule')}, {tags}, {patterns}"
