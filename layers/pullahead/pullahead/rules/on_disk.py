"""Rules files on a disk: one file, or a folder of them with its subfolders. Bounded in number and size."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pullahead.errors import ConfigError
from pullahead.rules.problems import MAX_DOCUMENT_BYTES, Problem, RulesError, too_large
from pullahead.rules.text import KEY_SUFFIX, NO_FILE_HINT, RulesText, is_key_file, is_rules_file

MAX_FILES: Final = 1000
TOGETHER: Final = "the file and those before it in the folder are together"
MAX_KEY_BYTES: Final = 16_384
MAX_KEYS: Final = 100
_MAX_SEEN: Final = 20_000  # of all files below a folder


def read_rules_files(path: Path, *, name: str | None = None) -> tuple[RulesText, ...]:
    """Read a file, or those of a folder in the order of their names; `name` is what to call the path in messages.

    The public keys beside a file, or in the folder, follow: rules may name them.
    Raises ConfigError; RulesError for what is too large or no UTF-8.
    """
    shown = str(path) if name is None else name
    if not path.is_dir():
        return (RulesText(shown, decode_rules(_read(path, shown), shown)), *_keys_beside(path))
    every = sorted(_names_below(path, shown))
    names = [each for each in every if is_rules_file(each)]
    if not names:
        raise ConfigError(f"{shown} has no rules file. {NO_FILE_HINT}")
    if len(names) > MAX_FILES:
        raise ConfigError(f"{shown} has {len(names):,} rules files, and at most {MAX_FILES:,} are read. Join some.")
    above, files, left = shown.rstrip("/"), [], MAX_DOCUMENT_BYTES
    for each in names:
        content = _read(path / each, f"{above}/{each}", most=left)
        left -= len(content)
        files.append(RulesText(f"{above}/{each}", decode_rules(content, f"{above}/{each}")))
    return (*files, *_keys(path, [each for each in every if is_key_file(each)], above))


def _keys_beside(path: Path) -> tuple[RulesText, ...]:
    try:
        names = sorted(each.name for each in path.parent.glob(f"*{KEY_SUFFIX}") if is_key_file(each.name))
    except OSError as error:
        raise _unreadable(str(path.parent), error) from error
    return _keys(path.parent, names, path.parent.name)


def _keys(folder: Path, names: Sequence[str], shown: str) -> tuple[RulesText, ...]:
    """Read the files of public keys; what is no key's text is left out, and then missing where a rule names it."""
    keys = []
    for name in names[:MAX_KEYS]:
        path = folder / name
        if path.is_file() and path.stat().st_size <= MAX_KEY_BYTES:
            content = _read(path, f"{shown}/{name}", most=MAX_KEY_BYTES)
            keys.append(RulesText(f"{shown}/{name}", content.decode("utf-8", "replace")))
    return tuple(keys)


def decode_rules(content: bytes, source: str) -> str:
    """Decode a file. Raises RulesError."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RulesError(source, [Problem(line, "", "the file is not UTF-8", "Save it as UTF-8.")]) from error


def _names_below(folder: Path, shown: str) -> Iterator[str]:
    try:
        for number, path in enumerate(folder.rglob("*")):
            if number == _MAX_SEEN:
                raise ConfigError(
                    f"{shown} has more than {_MAX_SEEN:,} files and folders. Keep rules in one of their own."
                )
            name = path.relative_to(folder).as_posix()
            if (is_rules_file(name) or is_key_file(name)) and path.is_file():
                yield name
    except OSError as error:
        raise _unreadable(shown, error) from error


def _read(path: Path, shown: str, *, most: int = MAX_DOCUMENT_BYTES) -> bytes:
    try:
        with path.open("rb") as opened:
            content = opened.read(most + 1)
    except OSError as error:
        raise _unreadable(shown, error) from error
    if len(content) > most:
        message, hint = too_large(TOGETHER if most < MAX_DOCUMENT_BYTES else "the file is")
        raise RulesError(shown, [Problem(1, "", message, hint)])
    return content


def _unreadable(shown: str, error: OSError) -> ConfigError:
    return ConfigError(f"{shown} cannot be read: {error.strerror or type(error).__name__}")
