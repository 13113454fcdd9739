"""The rules that `make local` deploys, and again when they change; with a mistake in them, they are not deployed."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from local.deploy import DeploymentError
from pullahead.errors import ConfigError
from pullahead.rules.load import load_rules_files
from pullahead.rules.model import Rules
from pullahead.rules.on_disk import read_rules_files
from pullahead.rules.text import KEY_SUFFIX, RulesText
from pullahead.settings import OWN_RULES_FOLDER, own_rules_or
from pullahead.text import count_text

LAYER: Final = "RulesLayer"
RULES: Final = "rules.yaml"
_MAX_LINES: Final = 20


class LiveRules:
    """The rules, and the folder that is deployed as the layer in their place.

    `given` is a file, a folder with rules.yaml in it as layers/rules has, or any other folder of rules files. Of the
    second kind a user's own file or folder is preferred, as the functions prefer it.
    """

    def __init__(self, given: Path, layer: Path) -> None:
        self._given, self._layer = given, layer
        self._seen: _Found = None
        self._tried: _Found = None
        self._in_use: _Found = None

    @property
    def path(self) -> Path:
        """The file or folder that is in use, or would be."""
        example = self._given / RULES
        return own_rules_or(example) if example.is_file() else self._given

    def begin(self) -> Rules:
        """Read the rules and write them into the layer's folder.

        Raises:
            DeploymentError: they cannot be read.
            ConfigError: they have mistakes; it names each with its line and a hint.
        """
        found = self._read()
        if not isinstance(found, tuple):
            raise DeploymentError(f"{LAYER}: {found}. RULES names a file, or a folder of rules files")
        rules = load_rules_files(found)
        self._seen = self._tried = self._in_use = found
        self._write(found)
        return rules

    def reload(self, deploy: Callable[[], None]) -> Sequence[str]:
        """Look at the file, deploy it if it has changed, and say in lines what became of it.

        A text is tried at the second look that finds it: the first may come while it is being written.
        """
        found = self._read()
        is_new, self._seen = found != self._seen, found
        if is_new or found == self._tried:
            return ()
        self._tried = found
        return self._lines_after(found, deploy)

    def _lines_after(self, found: "_Found", deploy: Callable[[], None]) -> Sequence[str]:
        if not isinstance(found, tuple):
            return (f"{found}. The old rules stay in use",)
        if found == self._in_use:
            return (f"{shown_path(self.path)} is as it was deployed",)
        try:
            rules = load_rules_files(found)
            self._write(found)
            deploy()
        except (ConfigError, DeploymentError) as error:
            lines = str(error).splitlines()
            more = [f"and {len(lines) - _MAX_LINES} more"] if len(lines) > _MAX_LINES else []
            return (*lines[:_MAX_LINES], *more, "The old rules stay in use")
        self._in_use = found
        return (f"{shown_path(self.path)} is deployed: {rules_text(rules)}; what is due is checked now",)

    def _read(self) -> "_Found":
        try:
            return read_rules_files(self.path, name=shown_path(self.path))
        except ConfigError as error:
            return str(error)

    def _write(self, files: tuple[RulesText, ...]) -> None:
        shutil.rmtree(self._layer / OWN_RULES_FOLDER, ignore_errors=True)
        self._layer.mkdir(exist_ok=True)
        if not self.path.is_dir():
            (self._layer / RULES).write_text(files[0].text, encoding="utf-8")
            for old in self._layer.glob(f"*{KEY_SUFFIX}"):
                old.unlink()
            for key in files[1:]:  # public keys beside it
                (self._layer / Path(key.name).name).write_text(key.text, encoding="utf-8")
            return
        for file in files:
            path = self._layer / OWN_RULES_FOLDER / Path(file.name).relative_to(shown_path(self.path))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text, encoding="utf-8")


_Found = tuple[RulesText, ...] | str | None
"""Files, or why they cannot be read; None before they were looked at."""


def shown_path(path: Path) -> str:
    """Write a path as it is shortest, from the current folder."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def rules_text(rules: Rules) -> str:
    """Count what rules select."""
    tags = count_text(sum(len(rule.tags.names) for rule in rules.rules), "exact tag")
    patterns = count_text(sum(len(rule.tags.patterns) for rule in rules.rules), "pattern")
    return f"{count_text(len(rules.rules), 'rule')}, {tags}, {patterns}"
