"""YAML text → nodes that know their lines, and problems that name them. Bounded in size, depth and aliases. Pure.

PyYAML's events are composed here rather than by its loader: that bounds the cost of a hostile file, keeps both keys of
a duplicate, and lets libyaml do the parsing (a ninth of the time for a thousand mirrors), whose loader has no hooks.
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, NamedTuple, NoReturn

import yaml

from pullahead.errors import ConfigError

MAX_DOCUMENT_BYTES = 1024 * 1024
_MAX_NODES = 100_000
"""Each use of an alias counts in full, so that a few lines cannot expand to millions."""
_MAX_DEPTH = 32
_MAX_SHOWN_PROBLEMS = 100
_MAX_SHOWN_CHARACTERS = 80
_STANDARD_TAGS = "tag:yaml.org,2002:"

_QUOTE_HINT = "Look for a missing quote, and quote what begins with { or [ or has a colon."

DEFAULT_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where PyYAML was built with it."""


class Scalar(NamedTuple):
    """A single value as written. `kind` is the type that YAML gives it: str, int, float, bool, null, timestamp."""

    line: int
    text: str
    kind: str


class Sequence(NamedTuple):
    """A list."""

    line: int
    items: tuple["Node", ...]


class Mapping(NamedTuple):
    """Keys and values in their order, with duplicates."""

    line: int
    entries: tuple[tuple["Node", "Node"], ...]


Node = Scalar | Sequence | Mapping


class DocumentError(ConfigError):
    """A text that is not a single, bounded YAML document."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        self.line, self.message, self.hint = line, message, hint
        super().__init__(f"line {line}: {message}. {hint}".rstrip())


class Problem(NamedTuple):
    """One mistake. `path` is like `mirrors[2].tags[0]`, counted from zero, empty for the whole file."""

    line: int
    path: str
    message: str
    hint: str = ""


class RulesError(ConfigError):
    """A rules file that is refused. Names every problem, not only the first."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        lines = [describe(source, problem) for problem in self.problems[:_MAX_SHOWN_PROBLEMS]]
        if left_out := len(self.problems) - len(lines):
            lines.append(f"{source}: and {left_out} more.")
        super().__init__("\n".join(lines))


def quoted(text: str) -> str:
    """Quote what somebody wrote, shortened, on one line."""
    return repr(text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}…")


def suggestion(word: str, known: Iterable[str], *, of: str) -> str:
    """Suggest the known word that comes closest, or list all of them."""
    words = tuple(known)
    close = get_close_matches(word[:_MAX_SHOWN_CHARACTERS], words, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known {of}: {', '.join(words)}."


def describe(source: str, problem: Problem) -> str:
    """Write a problem as one line, `FILE:LINE: path: message. hint`."""
    path = f"{problem.path}: " if problem.path else ""
    hint = f" {problem.hint}" if problem.hint else ""
    return f"{source}:{problem.line}: {path}{problem.message}.{hint}"


def compose(text: str, parser: Any = DEFAULT_PARSER) -> Node | None:
    """Parse the only document of a text; None where there is none. Raises DocumentError."""
    _check_text(text)
    try:
        return _Composer(yaml.parse(text, Loader=parser)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # The parsers put the end of the text on different lines, libyaml behind the last one.
        line = min(mark.line + 1, max(1, len(text.splitlines()))) if mark else 1
        raise DocumentError(line, f"invalid YAML: {error.problem}", _hint_for(error, text)) from error
    except yaml.YAMLError as error:
        raise DocumentError(1, "invalid YAML") from error


def _hint_for(error: yaml.MarkedYAMLError, text: str) -> str:
    """Name the mistake that a parser's message does not name."""
    mark, problem = error.problem_mark, error.problem or ""
    lines = text.split("\n")
    character = lines[mark.line][mark.column : mark.column + 1] if mark and mark.line < len(lines) else ""
    if character == "\t" or "tab character" in problem:
        return "Indent with spaces; YAML does not allow tabs there."
    if "unknown escape character" in problem:
        return r"Use single quotes, where YAML leaves backslashes alone: '3\.2'."
    if error.context == "while scanning an alias":
        return 'Quote what begins with a star: "*".'
    if "cannot start any token" in problem:
        return "Quote what begins with @, % or a backtick."
    return _QUOTE_HINT


def _check_text(text: str) -> None:
    if unprintable := yaml.reader.Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, unprintable.start()) + 1
        raise DocumentError(line, f"YAML does not allow the character {unprintable[0]!r}", "Remove it.")
    if len(text.encode()) > MAX_DOCUMENT_BYTES:
        raise DocumentError(1, f"the file is larger than {MAX_DOCUMENT_BYTES} bytes")


class _Composer:
    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._resolver: Any = yaml.resolver.Resolver()
        self._anchored: dict[str, tuple[Node, int]] = {}
        self._nodes = 0

    def document(self) -> Node | None:
        node = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    _refuse(event, "the file has several documents", "Leave out the line ---.")
                node = self._node(next(self._events), 0)
        return node

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if depth > _MAX_DEPTH:
            _refuse(event, f"the file is nested deeper than {_MAX_DEPTH} levels")
        if event.tag is not None:
            _refuse(event, "YAML tags are not supported", "Leave out what begins with an exclamation mark.")
        before = self._nodes
        self._count(event, 1)
        node = self._content(event, depth)
        if event.anchor is not None:
            self._anchored[event.anchor] = (node, self._nodes - before)
        return node

    def _content(self, event: Any, depth: int) -> Node:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.SequenceStartEvent):
            return Sequence(line, tuple(self._until(yaml.SequenceEndEvent, depth)))
        if isinstance(event, yaml.MappingStartEvent):
            nodes = self._until(yaml.MappingEndEvent, depth)
            return Mapping(line, tuple(zip(nodes, nodes, strict=True)))
        kind = self._resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
        return Scalar(line, event.value, kind.removeprefix(_STANDARD_TAGS))

    def _until(self, end: type[Any], depth: int) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield self._node(event, depth + 1)

    def _alias(self, event: Any) -> Node:
        # A collection is anchored when it is complete, so that one that contains itself is refused here as well.
        if event.anchor not in self._anchored:
            hint = f'If a glob is meant, quote it: "*{event.anchor}".'
            _refuse(event, f"the alias *{event.anchor} has no anchor before it, or is inside of it", hint)
        node, weight = self._anchored[event.anchor]
        self._count(event, weight)
        return node

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > _MAX_NODES:
            _refuse(event, f"the file has more than {_MAX_NODES} values, each use of an alias counted in full")


def _refuse(event: Any, message: str, hint: str = "") -> NoReturn:
    raise DocumentError(event.start_mark.line + 1, message, hint)
