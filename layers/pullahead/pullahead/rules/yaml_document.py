"""YAML text → nodes that know their lines, and problems that name them. Bounded in size, depth and aliases. Pure.

PyYAML's events are composed here rather than by its loader: that bounds the cost of a hostile file, keeps both keys of
a duplicate, and lets libyaml do the parsing (a ninth of the time for a thousand mirrors), whose loader has no hooks.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import yaml

from pullahead.errors import ConfigError
from pullahead.rules.problems import MAX_DOCUMENT_BYTES, TOO_LARGE_HINT, too_large

MAX_NODES = 4_000_000
"""Each use of an alias counts in full, so that a few lines cannot expand to more."""
_MAX_DEPTH = 32
_STANDARD_TAGS = "tag:yaml.org,2002:"
_KINDS: dict[str, str] = {}  # of some ten tags
_MAX_KEPT = 10_000

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


class NodeCount:
    """Counts the values of documents that are bounded together."""

    def __init__(self) -> None:
        self.nodes = 0


def compose(text: str, parser: Any = DEFAULT_PARSER, count: NodeCount | None = None) -> Node | None:
    """Parse the only document of a text; None where there is none. Raises DocumentError."""
    _check_text(text)
    try:
        return _Composer(yaml.parse(text, Loader=parser), count or NodeCount()).document()
    except yaml.YAMLError as error:
        raise invalid_yaml(error, text) from error


def invalid_yaml(error: yaml.YAMLError, text: str) -> DocumentError:
    """Say what a parser refuses in a text, on which line, and what to write instead."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return DocumentError(1, "invalid YAML")
    mark = error.problem_mark or error.context_mark
    # The parsers put the end of the text on different lines, libyaml behind the last one.
    line = min(mark.line + 1, max(1, len(text.splitlines()))) if mark else 1
    return DocumentError(line, f"invalid YAML: {error.problem}", _hint_for(error, text))


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
        raise DocumentError(1, *too_large())


class _Composer:
    def __init__(self, events: Iterator[Any], count: NodeCount) -> None:
        self._events, self._count_of_all = events, count
        self._resolver: Any = yaml.resolver.Resolver()
        self._anchored: dict[str, tuple[Node, int]] = {}
        self._kinds: dict[tuple[str, tuple[bool, bool]], tuple[str, str]] = {}

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
        before = self._count_of_all.nodes
        self._count(event, 1)
        node = self._content(event, depth)
        if event.anchor is not None:
            self._anchored[event.anchor] = (node, self._count_of_all.nodes - before)
        return node

    def _content(self, event: Any, depth: int) -> Node:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.SequenceStartEvent):
            return Sequence(line, tuple(self._until(yaml.SequenceEndEvent, depth)))
        if isinstance(event, yaml.MappingStartEvent):
            nodes = self._until(yaml.MappingEndEvent, depth)
            return Mapping(line, tuple(zip(nodes, nodes, strict=True)))
        return Scalar(line, *self._text_and_kind(event.value, event.implicit))

    def _text_and_kind(self, text: str, implicit: tuple[bool, bool]) -> tuple[str, str]:
        """Resolve a scalar's type; keys and short values come again and again, and are then kept once."""
        known = self._kinds.get((text, implicit))
        if known is None:
            resolved = self._resolver.resolve(yaml.ScalarNode, text, implicit)
            known = text, _KINDS.setdefault(resolved, resolved.removeprefix(_STANDARD_TAGS))
            if len(self._kinds) < _MAX_KEPT:
                self._kinds[text, implicit] = known
        return known

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
        self._count_of_all.nodes += nodes
        if self._count_of_all.nodes > MAX_NODES:
            message = f"the rules have more than {MAX_NODES:,} values, each use of an alias counted in full"
            _refuse(event, message, TOO_LARGE_HINT)


def _refuse(event: Any, message: str, hint: str = "") -> NoReturn:
    raise DocumentError(event.start_mark.line + 1, message, hint)
