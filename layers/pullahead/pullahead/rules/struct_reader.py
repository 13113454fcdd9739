"""YAML nodes → msgspec Structs. Reports every problem with its line and a hint, and reads on. Knows no rules.

`msgspec.convert` stops at the first mistake and knows no lines, so a reader is made of what `msgspec.inspect` tells of
a Struct, once. A Struct may have `hints` for keys that people write in place of its own. What is invalid is reported
and left out: such a field keeps its default, or is UNSET if it has none.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from functools import cache, partial
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec
from msgspec import UNSET, inspect

from pullahead.rules import yaml_document
from pullahead.rules.problems import MAX_DOCUMENT_BYTES, Problem, quoted, suggestion
from pullahead.rules.yaml_document import Node, Scalar, Sequence

_FOUND: Final = {"int": "a number", "float": "a number", "bool": "a boolean", "null": "nothing", "timestamp": "a date"}
_LIST_HINT: Final = "Write [A, B], or `- A` on a line of its own for each."
_MAPPING_HINT: Final = "Write KEY: VALUE, indented."
_NUMBER: Final = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?")
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_TRUE: Final = frozenset({"yes", "true", "on"})

_S = TypeVar("_S", bound=msgspec.Struct)


class InvalidValueError(ValueError):
    """A value of the right type that is refused."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Wording(NamedTuple):
    """What `Meta(extra=...)` says of a type beyond its JSON Schema: how to name a mistake, and what else to check."""

    wrong: str = ""  # follows the value in a message: "is not a platform"
    hint: str = ""
    check: Callable[[Any], None] | None = None  # raises InvalidValueError
    is_secret: bool = False  # the value is never repeated in a message
    one_key: bool = False  # of a Struct: it has exactly one of its keys

    @property
    def extra(self) -> dict[str, Any]:
        """Write it as `Meta` takes it."""
        return {"wording": self}


class YamlLocation(NamedTuple):
    """A node, and the way to it from the top of the file. The path is written only where a problem needs it."""

    node: Node
    above: "YamlLocation | None" = None
    step: str = ""  # `key`, `[index]` or `['key']`

    @property
    def path(self) -> str:
        """Write the path, like `mirrors[2].tags[0]`."""
        above = self.above.path if self.above is not None else ""
        return f"{above}.{self.step}" if above and not self.step.startswith("[") else f"{above}{self.step}"

    def find(self, key: str) -> "YamlLocation | None":
        """Find the value of a key of a mapping."""
        for name, value in self.node.entries if isinstance(self.node, yaml_document.Mapping) else ():
            if isinstance(name, Scalar) and name.text == key:
                return YamlLocation(value, self, key)
        return None

    def below(self, key: str) -> "YamlLocation":
        """Find the value of a key of a mapping; the mapping itself where it does not have the key."""
        return self.find(key) or self

    @property
    def items(self) -> "Iterator[YamlLocation]":
        """List the items of a list."""
        nodes = self.node.items if isinstance(self.node, Sequence) else ()
        return (YamlLocation(node, self, f"[{index}]") for index, node in enumerate(nodes))

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing follows the key, as when its content is commented out."""
        return isinstance(self.node, Scalar) and self.node.kind == "null"


class Problems:
    """Collects problems. `file` is the file that is being read, where there are several."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.file = ""

    def add(self, at: YamlLocation, message: str, hint: str = "") -> None:
        """Record one problem."""
        self.found.append(Problem(at.node.line, at.path, message, hint, self.file))


class KeyValue(NamedTuple):
    """A key and its value, each where it is reported."""

    key: YamlLocation
    value: YamlLocation


def read_struct(at: YamlLocation, cls: type[_S], problems: Problems, *, skip: Collection[str] = ()) -> _S | None:
    """Read a mapping, without the keys that the caller reads; None where it is no mapping.

    A key that is required and missing or invalid is reported and UNSET.
    """
    read = _reader_of(cls)(at, problems, skip)
    return read if isinstance(read, cls) else None


def read_entries(at: YamlLocation, problems: Problems, *, quote: bool = True) -> dict[str, KeyValue]:
    """Read a mapping of any keys, empty where it is no mapping; of a key that is there twice, the first.

    `quote` writes keys as `path['key']`, else as `path.key`.
    """
    entries: dict[str, KeyValue] = {}
    if not isinstance(at.node, yaml_document.Mapping):
        problems.add(at, f"expected keys with values, found {_kind(at.node)}", _MAPPING_HINT)
        return entries
    for key, value in at.node.entries:
        if not isinstance(key, Scalar):
            problems.add(at._replace(node=key), f"a key must be a word, not {_kind(key)}")
        elif key.text in entries:
            first = entries[key.text].key.node.line
            problems.add(at._replace(node=key), f"{quoted(key.text)} is already on line {first}")
        else:
            step = f"[{quoted(key.text)}]" if quote else key.text
            entries[key.text] = KeyValue(YamlLocation(key, at, step), YamlLocation(value, at, step))
    return entries


def read_items(at: YamlLocation, problems: Problems) -> tuple[YamlLocation, ...]:
    """Read a list, empty where it is none."""
    if not isinstance(at.node, Sequence):
        problems.add(at, f"expected a list, found {_kind(at.node)}", _LIST_HINT)
    return tuple(at.items)


# --- Readers of types -------------------------------------------------------------------------------------------------
# A reader returns the value at a location, or _INVALID where it reported a problem.


class _Invalid(Enum):
    INVALID = "reported"


_INVALID: Final = _Invalid.INVALID
_Read = Callable[[YamlLocation, Problems], Any]


class _ReadStruct(Protocol):
    def __call__(self, at: YamlLocation, problems: Problems, skip: Collection[str] = (), /) -> Any: ...


@cache
def _reader_of(cls: type[msgspec.Struct]) -> _ReadStruct:
    described = inspect.type_info(cls)
    assert isinstance(described, inspect.StructType)  # noqa: S101 - a Struct is described as one
    return _struct_reader(described, Wording())


def _reader(type_: inspect.Type, wording: Wording) -> _Read:
    if isinstance(type_, inspect.Metadata):
        return _reader(type_.type, (type_.extra or {}).get("wording", wording))
    return _READERS[type(type_)](type_, wording)


def _struct_reader(type_: inspect.StructType, wording: Wording) -> _ReadStruct:
    fields = {field.encode_name: (field.name, _reader(field.type, Wording())) for field in type_.fields}
    required = {field.encode_name: field.name for field in type_.fields if field.required}
    hints: Mapping[str, str] = getattr(type_.cls, "hints", {})

    def read(at: YamlLocation, problems: Problems, skip: Collection[str] = ()) -> Any:
        before = len(problems.found)
        entries = read_entries(at, problems, quote=False)
        if not isinstance(at.node, yaml_document.Mapping):
            return _INVALID
        _check_keys(at, entries, fields, required, hints, wording, problems)
        values: dict[str, Any] = dict.fromkeys(required.values(), UNSET)
        for key, entry in entries.items():
            if key in fields and key not in skip:
                name, read_value = fields[key]
                value = read_value(entry.value, problems)
                if value is not _INVALID:
                    values[name] = value
        return _checked(at, type_.cls(**values), wording, problems, before)

    return read


def _check_keys(
    at: YamlLocation,
    entries: Mapping[str, KeyValue],
    known: Collection[str],
    required: Collection[str],
    hints: Mapping[str, str],
    wording: Wording,
    problems: Problems,
) -> None:
    for key in required:
        if key not in entries:
            problems.add(at, f"{key} is missing")
    unknown = [key for key in entries if key not in known]
    for key in unknown:
        here = at._replace(node=entries[key].key.node)
        hint = hints.get(key.lower().replace("_", "").replace("-", "")) or suggestion(key, known, of="keys")
        problems.add(here, f"unknown key {quoted(key)}", hint)
    if wording.one_key and not unknown and len(entries) != 1:
        problems.add(at, "expected exactly one key", f"Write one of {', '.join(known)}.")


def _union_reader(type_: inspect.UnionType, wording: Wording) -> _Read:
    readers = {_shape(each): _reader(each, wording) for each in type_.types}
    first = next(read for shape, read in readers.items() if shape != "null")  # reports that none has the node's shape
    return lambda at, problems: readers.get(_shape_of(at.node), first)(at, problems)


def _tuple_reader(type_: inspect.VarTupleType, wording: Wording) -> _Read:
    return partial(_read_tuple, type_, wording, _reader(type_.item_type, Wording()))


def _dict_reader(type_: inspect.DictType, wording: Wording) -> _Read:
    if isinstance(type_.value_type, inspect.AnyType):
        return _read_plain
    readers = (_reader(type_.key_type, Wording()), _reader(type_.value_type, Wording()))
    return partial(_read_dict, type_, wording, *readers)


def _read_tuple(
    type_: inspect.VarTupleType, wording: Wording, read: _Read, at: YamlLocation, problems: Problems
) -> Any:
    if not isinstance(at.node, Sequence):
        problems.add(at, f"expected a list, found {_kind(at.node)}", _LIST_HINT)
        return _INVALID
    values = [read(item, problems) for item in at.items]
    if not _fits_size(len(values), type_, wording, at, problems):
        return _INVALID
    return tuple(value for value in values if value is not _INVALID)


def _read_dict(
    type_: inspect.DictType, wording: Wording, read_key: _Read, read: _Read, at: YamlLocation, problems: Problems
) -> Any:
    entries = read_entries(at, problems)
    values: dict[str, Any] = {}
    for name, entry in entries.items():
        key = read_key(entry.key._replace(node=Scalar(entry.key.node.line, name, "str")), problems)
        value = read(entry.value, problems)
        if key is not _INVALID and value is not _INVALID:
            values[name] = value
    is_mapping = isinstance(at.node, yaml_document.Mapping)
    return values if is_mapping and _fits_size(len(entries), type_, wording, at, problems) else _INVALID


def _read_plain(at: YamlLocation, problems: Problems) -> Any:
    """Read anything as JSON has it.

    Dates stay texts, as policies want their `Version: 2012-10-17`; so do numbers such as the account 012345678901.
    """
    node = at.node
    if isinstance(node, Sequence):
        return [_read_plain(item, problems) for item in at.items]
    if isinstance(node, yaml_document.Mapping):
        entries = read_entries(at, problems, quote=False)
        return {name: _read_plain(entry.value, problems) for name, entry in entries.items()}
    if node.kind == "int" and _INTEGER.fullmatch(node.text):
        return int(node.text)
    return {"null": None, "bool": node.text.lower() in _TRUE}.get(node.kind, node.text)


def _read_flag(at: YamlLocation, problems: Problems) -> Any:
    if isinstance(at.node, Scalar) and at.node.kind == "bool":
        return at.node.text.lower() in _TRUE
    problems.add(at, f"expected true or false, found {_kind(at.node)}", "Write true or false, without quotes.")
    return _INVALID


def _read_number(type_: inspect.IntType | inspect.FloatType, at: YamlLocation, problems: Problems) -> Any:
    """Read a number as people write one: YAML's hexadecimals, octals and infinities are refused."""
    node = _scalar(at, "a number", "", problems)
    if node is None:
        return _INVALID
    if node.kind == "str" or not _NUMBER.fullmatch(node.text):
        problems.add(at, f"{quoted(node.text)} is not a number", "Write it with digits, without quotes.")
        return _INVALID
    number, is_whole = float(node.text), isinstance(type_, inspect.IntType)
    least, above, most = type_.ge, type_.gt, type_.le
    is_in_range = (
        (least is None or number >= least) and (above is None or number > above) and (most is None or number <= most)
    )
    if is_in_range and (number.is_integer() or not is_whole):
        return int(number) if is_whole else number
    limits = f"{f'from {least}' if above is None else f'above {above}'} to {most}"
    problems.add(at, f"{number:g} is out of range", f"Write a {'whole ' if is_whole else ''}number {limits}.")
    return _INVALID


def _read_choice(choices: Mapping[str, Any], wording: Wording, at: YamlLocation, problems: Problems) -> Any:
    expected = "a string" if all(isinstance(choice, str) for choice in choices.values()) else "a number"
    node = _scalar(at, expected, wording.hint, problems)
    if node is None:
        return _INVALID
    choice = choices.get(node.text)
    if choice is not None and isinstance(choice, str) == (node.kind == "str"):
        return choice
    message = f"{quoted(node.text)} {wording.wrong}" if wording.wrong else f"unknown value {quoted(node.text)}"
    problems.add(at, message, wording.hint or suggestion(node.text, choices, of="values"))
    return _INVALID


def _read_text(fits: Callable[[str], bool], wording: Wording, at: YamlLocation, problems: Problems) -> Any:
    """Read a string. YAML takes an unquoted 3.20 for the number 3.2, so it is refused, not guessed at."""
    node = _scalar(at, "a string", wording.hint, problems)
    if node is None:
        return _INVALID
    if not fits(node.text):
        problems.add(at, f"{'it' if wording.is_secret else quoted(node.text)} {wording.wrong}", wording.hint)
        return _INVALID
    if _checked(at, node.text, wording, problems, len(problems.found)) is _INVALID:
        return _INVALID
    if node.kind == "str":
        return node.text
    shown, hint = ("it", "Quote it.") if wording.is_secret else (quoted(node.text), f'Quote it: "{node.text}".')
    problems.add(at, f"YAML reads {shown} as {_kind(at.node)}, not as a string", hint)
    return _INVALID


_READERS: Final[Mapping[type[inspect.Type], Callable[[Any, Wording], _Read]]] = {
    inspect.UnionType: _union_reader,
    inspect.StructType: _struct_reader,
    inspect.VarTupleType: _tuple_reader,
    inspect.DictType: _dict_reader,
    inspect.NoneType: lambda _type, _wording: lambda _at, _problems: None,
    inspect.BoolType: lambda _type, _wording: _read_flag,
    inspect.IntType: lambda type_, _wording: partial(_read_number, type_),
    inspect.FloatType: lambda type_, _wording: partial(_read_number, type_),
    inspect.LiteralType: lambda type_, wording: partial(
        _read_choice, {str(each): each for each in type_.values}, wording
    ),
    inspect.EnumType: lambda type_, wording: partial(
        _read_choice, {str(each.value): each for each in type_.cls}, wording
    ),
    inspect.StrType: lambda type_, wording: partial(_read_text, _fits(type_), wording),
}


def _scalar(at: YamlLocation, expected: str, hint: str, problems: Problems) -> Scalar | None:
    """Return a single value as it is written, whatever YAML takes it for."""
    if isinstance(at.node, Scalar) and at.node.kind != "null":
        return at.node
    problems.add(at, f"expected {expected}, found {_kind(at.node)}", hint)
    return None


def _checked(at: YamlLocation, value: Any, wording: Wording, problems: Problems, before: int) -> Any:
    """Check a value, unless a problem was found in it."""
    if wording.check is None and not wording.one_key:
        return value
    if len(problems.found) > before:
        return _INVALID
    try:
        if wording.check is not None:
            wording.check(value)
    except InvalidValueError as error:
        problems.add(at, error.message, error.hint)
        return _INVALID
    return value


def _fits(type_: inspect.StrType) -> Callable[[str], bool]:
    pattern = re.compile(type_.pattern or ".*", re.DOTALL)
    shortest, longest = type_.min_length or 0, type_.max_length or MAX_DOCUMENT_BYTES
    return lambda text: shortest <= len(text) <= longest and pattern.fullmatch(text) is not None


def _fits_size(
    size: int,
    type_: inspect.VarTupleType | inspect.DictType,
    wording: Wording,
    at: YamlLocation,
    problems: Problems,
) -> bool:
    if (type_.min_length or 0) <= size and (type_.max_length is None or size <= type_.max_length):
        return True
    problems.add(at, f"it has {size} entries" if size else "it is empty", wording.hint)
    return False


def _shape(type_: inspect.Type) -> str:
    """Name the nodes that a type is read from."""
    match type_:
        case inspect.Metadata(type=inner):
            return _shape(inner)
        case inspect.StructType() | inspect.DictType():
            return "mapping"
        case inspect.VarTupleType():
            return "list"
        case inspect.NoneType():
            return "null"
    return "scalar"


def _shape_of(node: Node) -> str:
    if isinstance(node, Scalar):
        return "null" if node.kind == "null" else "scalar"
    return "list" if isinstance(node, Sequence) else "mapping"


def _kind(node: Node) -> str:
    """Name what was found where something else was expected."""
    if isinstance(node, Scalar):
        return _FOUND.get(node.kind, "a string")
    return "a list" if isinstance(node, Sequence) else "a mapping"
