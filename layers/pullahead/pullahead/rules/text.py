"""The texts of rules files: what they are called, and what tells one version of them from another. Pure."""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

KEY_SUFFIX: Final = ".pub"
NO_FILE_HINT: Final = "Name the files of a folder *.yaml or *.yml."


class RulesText(msgspec.Struct, frozen=True):
    """The text of one file. `name` is for messages; of a folder, the files are in the order of their names."""

    name: str
    text: str


def fingerprint_of(files: Sequence[RulesText]) -> str:
    """Identify what files say, wherever they are: a hash of their texts."""
    hashed = hashlib.sha256()
    for file in files:
        text = file.text.encode()
        hashed.update(b"%d:" % len(text))
        hashed.update(text)
    return hashed.hexdigest()


def size_of(files: Sequence[RulesText]) -> int:
    """Count the characters of files."""
    return sum(len(file.text) for file in files)


def folder_of(files: Sequence[RulesText]) -> str:
    """Name files together: the only one, or their folder."""
    return files[0].name if len(files) == 1 else f"{files[0].name.rpartition('/')[0] or '.'}/"


def is_key_file(name: str) -> bool:
    """Tell whether a file beside rules is a public key that they may name; hidden ones are not."""
    return name.endswith(KEY_SUFFIX) and not any(part.startswith(".") for part in name.split("/"))


def is_rules_file(name: str) -> bool:
    """Tell whether a file of a folder is one of rules, by its name; hidden ones are not."""
    return name.endswith((".yaml", ".yml")) and not any(part.startswith(".") for part in name.split("/"))
