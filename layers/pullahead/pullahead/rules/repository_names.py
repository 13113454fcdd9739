"""Names of target repositories by template, `{registry}/{path}`: what fits in, and what came from where. Pure."""

import re

from pullahead.oci import Repository

REGISTRY, PATH, NAME = "registry", "path", "name"
PLACEHOLDERS = (REGISTRY, PATH, NAME)
TELLING_APART = (PATH, NAME)
"""One of these a template must hold that stands for more than one repository."""
NAMESPACE = "/*"
"""What the path of a whole namespace ends in."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.]+")


def placeholders(template: str) -> tuple[str, ...]:
    """List what stands in braces, known or not."""
    return tuple(_PLACEHOLDER.findall(template))


def fill(template: str, upstream: Repository) -> str:
    """Write the name of the target repository of an upstream one.

    For a namespace it is what the names of its repositories have in common, with a star for what differs.
    """
    values = {REGISTRY: _registry(upstream), PATH: upstream.path, NAME: upstream.path.rpartition("/")[2]}
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)


class Template:
    """The template of one namespace, compiled to tell which of its repositories a target stands for."""

    def __init__(self, template: str, namespace: Repository) -> None:
        self._below = namespace.path.removesuffix("*")
        seen: set[str] = set()
        literals = map(re.escape, _PLACEHOLDER.split(template)[::2])
        groups = [self._group(name, namespace, seen) for name in placeholders(template)]
        self._pattern = re.compile("".join(part for pair in zip(literals, [*groups, ""], strict=True) for part in pair))

    def path_of(self, repository: str) -> str | None:
        """Tell which upstream path a target stands for; None for a target that is not of this template.

        Where the template keeps only the last segment, the repository right below the namespace is meant.
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
    # A port's colon and the brackets of an IPv6 address are in no name that ECR allows, nor are two dashes in a row.
    return _NOT_IN_NAMES.sub("-", upstream.registry).strip("-")


# ECR API reference, CreateRepository, repositoryName: pattern, and 2 to 256 characters.
_REPOSITORY = re.compile(r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*")
_REPOSITORY_CHARACTERS = range(2, 257)
REPOSITORY_ADVICE = (
    "Write 2 to 256 lower-case letters and digits, joined by single dots, dashes, underscores or slashes."
)


def is_repository_name(text: str) -> bool:
    """Tell whether ECR allows a text as the name of a repository."""
    return len(text) in _REPOSITORY_CHARACTERS and _REPOSITORY.fullmatch(text) is not None
