"""Names of ECR repositories: which are valid, and how templates such as `{registry}/{path}` make them. Pure."""

import re
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from pullahead.oci import Repository

# Amazon ECR API reference, CreateRepository, repositoryName: as in OCI, and 2 to 256 characters.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_REPOSITORY_CHARACTERS = range(2, 257)
REPOSITORY_ADVICE = (
    "Write 2 to 256 lower-case letters and digits, joined by a dot, one or two underscores, dashes, or slashes."
)

REGISTRY, PATH, NAME = "registry", "path", "name"
PLACEHOLDERS = (REGISTRY, PATH, NAME)
DISTINGUISHING = (PATH, NAME)
"""A template for more than one repository needs one of these."""
NAMESPACE = "/*"
"""Ends an upstream that stands for all repositories below a path."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.]+")


def is_repository_name(text: str) -> bool:
    """Tell whether a text is a valid name of an ECR repository."""
    return len(text) in _REPOSITORY_CHARACTERS and _REPOSITORY.fullmatch(text) is not None


def placeholders(template: str) -> tuple[str, ...]:
    """List the placeholders of a template, known or not."""
    return tuple(_PLACEHOLDER.findall(template))


def fill(template: str, upstream: Repository) -> str:
    """Name the target of an upstream repository.

    Of a namespace, the result is what the names of its targets have in common, with a star for the rest.
    """
    values = {REGISTRY: _registry(upstream), PATH: upstream.path, NAME: upstream.path.rpartition("/")[2]}
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)


class _Character(NamedTuple):
    """A character of a name: a literal one, or any; where it is no literal, with a slash or without, once or more."""

    literal: str = ""
    may_be_slash: bool = False
    repeats: bool = False


class NameSet:
    """The names that a template gives to the repositories of a namespace, or to one repository."""

    def __init__(self, template: str, upstream: Repository) -> None:
        self.characters = tuple(_characters(template, upstream))
        self.prefix = "".join(each.literal for each in takewhile(lambda each: each.literal, self.characters))

    def overlaps(self, other: "NameSet") -> bool:
        """Tell whether both may have the same name."""
        if not (self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix)):
            return False
        first, second = self.characters, other.characters
        entered, waiting = set[tuple[int, int]](), [(0, 0)]
        while waiting:  # the product of two automata, of which each set is one
            at = waiting.pop()
            if at in entered:
                continue
            entered.add(at)
            i, j = at
            if i == len(first) and j == len(second):
                return True
            if i == len(first) or j == len(second) or not _may_be_equal(first[i], second[j]):
                continue
            after_first = (i, i + 1) if first[i].repeats else (i + 1,)
            after_second = (j, j + 1) if second[j].repeats else (j + 1,)
            waiting += [(a, b) for a in after_first for b in after_second]
        return False


def _characters(template: str, upstream: Repository) -> Iterator[_Character]:
    is_namespace = upstream.path.endswith("*")
    for place, part in enumerate(_PLACEHOLDER.split(template)):
        if place % 2 == 0:
            yield from map(_Character, part)
        elif part == NAME and is_namespace:
            yield _Character(repeats=True)
        elif part == PATH and is_namespace:
            yield from map(_Character, upstream.path.removesuffix("*"))
            yield _Character(may_be_slash=True, repeats=True)
        else:
            yield from map(_Character, fill(f"{{{part}}}", upstream))


def _may_be_equal(one: _Character, other: _Character) -> bool:
    if one.literal and other.literal:
        return one.literal == other.literal
    literal = one.literal or other.literal
    return literal != "/" or (one if other.literal else other).may_be_slash


class Template:
    """The template of one namespace, compiled to find the upstream repository of a target."""

    def __init__(self, template: str, namespace: Repository) -> None:
        self._below = namespace.path.removesuffix("*")
        seen: set[str] = set()
        literals = map(re.escape, _PLACEHOLDER.split(template)[::2])
        groups = [self._group(name, namespace, seen) for name in placeholders(template)]
        self._pattern = re.compile("".join(part for pair in zip(literals, [*groups, ""], strict=True) for part in pair))

    def path_of(self, repository: str) -> str | None:
        """Return the upstream path of a target; None where the template did not name it.

        Where the template keeps the last segment only, that is the repository right below the namespace.
        """
        match = self._pattern.fullmatch(repository)
        if match is None:
            return None
        found = match.groupdict()
        return found.get(PATH) or f"{self._below}{found[NAME]}"

    def _group(self, placeholder: str, namespace: Repository, seen: set[str]) -> str:
        if placeholder == REGISTRY:
            return re.escape(_registry(namespace))
        if placeholder in seen:
            return f"(?P={placeholder})"
        seen.add(placeholder)
        return f"(?P<path>{re.escape(self._below)}.+)" if placeholder == PATH else "(?P<name>[^/]+)"


def _registry(upstream: Repository) -> str:
    # ECR allows neither a port's colon nor the brackets of an IPv6 address.
    return _NOT_IN_NAMES.sub("-", upstream.registry).strip("-")
