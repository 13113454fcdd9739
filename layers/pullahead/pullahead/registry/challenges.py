"""WWW-Authenticate: which challenges a registry makes. Pure.

Source: RFC 9110, sections 5.6 (tokens, quoted strings, lists) and 11.6.1 (WWW-Authenticate: a list of challenges, each
with a list of parameters, both divided by commas).
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_MAX_HEADER_CHARACTERS = 8 * 1024

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME = re.compile(rf"{_WORD}(?=[\s,]|$)")
_TOKEN68 = re.compile(r"[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_BETWEEN = re.compile(r"[\s,]*")
_REST = re.compile(r"[^,]*")


class Challenge(NamedTuple):
    """One way to authenticate: the scheme and the parameters' names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Read every challenge of a header's value (several headers joined by commas); what makes no sense is left out."""
    challenges: list[Challenge] = []
    for scheme, name, value in _items(header[:_MAX_HEADER_CHARACTERS]):
        if scheme:
            challenges.append(Challenge(scheme.lower(), {}))
        elif challenges:
            last = challenges[-1]
            challenges[-1] = last._replace(parameters={name.lower(): value, **last.parameters})
    return challenges


def find_bearer(header: str) -> Challenge | None:
    """Find the first challenge that asks for a bearer token and says where to get one."""
    challenges = parse_challenges(header)
    return next((c for c in challenges if c.scheme == "bearer" and c.parameters.get("realm")), None)


def find_basic(header: str) -> Challenge | None:
    """Find the first challenge that asks for a user's name and password."""
    return next((c for c in parse_challenges(header) if c.scheme == "basic"), None)


def _items(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield a scheme, or a parameter's name and value, in the order of the header."""
    position = 0
    while (position := _end(_BETWEEN, text, position)) < len(text):
        if parameter := _PARAMETER.match(text, position):
            quoted, plain = parameter[2], parameter[3]
            yield "", parameter[1], plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            position = parameter.end()
        elif scheme := _SCHEME.match(text, position):
            yield scheme[0], "", ""
            position = _end(_TOKEN68, text, scheme.end())
        else:
            position = max(position + 1, _end(_REST, text, position))


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position
