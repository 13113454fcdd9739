"""The rules file, version 1 → rules. Decides what a rules file may say; refuses to know where the file came from.

Strict on purpose: what is not understood is a problem, never ignored, and all problems are reported at once.
"""

import re
from dataclasses import replace

import msgspec

from pullahead.oci import digest_of
from pullahead.rules.demanding import read_on_demand
from pullahead.rules.fields import (
    Place,
    Problems,
    is_empty,
    read_field,
    read_fields,
    read_fitting,
    read_flag,
    read_list,
    read_optional,
)
from pullahead.rules.keys import DEFAULTS, DOCUMENT, SOURCES
from pullahead.rules.mirrors import Claims, read_rules
from pullahead.rules.model import Rule, Rules, Source
from pullahead.rules.options import Options, read_defaults
from pullahead.rules.upstreams import read_upstreams
from pullahead.rules.yaml_document import DocumentError, Node, Problem, RulesError, Scalar, compose, quoted

_SOURCES = {"pull_through_cache": Source.PULL_THROUGH_CACHE, "resource_tags": Source.RESOURCE_TAGS}
_REPOSITORY_GLOB = re.compile(r"[a-z0-9._/*?\[\]!-]{1,256}")
VERSION = "1"


def load_rules(text: str, *, source: str) -> Rules:
    """Read a rules file; `source` names it in messages. Raises RulesError with every problem."""
    problems = Problems()
    try:
        document = compose(text)
    except DocumentError as error:
        raise RulesError(source, [Problem(error.line, "", error.message, error.hint)]) from error
    if document is None:
        raise RulesError(source, [Problem(1, "", "it is empty", "Write version: 1 and mirrors: [] for no rules.")])
    rules = _rules(document, problems)
    if problems.found:
        raise RulesError(source, problems.found)
    return rules


def _rules(document: Node, problems: Problems) -> Rules:
    fields = read_fields(Place(document, ""), DOCUMENT, problems)
    read_optional(fields, "version", _check_version, problems)
    defaults = read_field(fields, "defaults", _defaults, problems, absent=Options())
    upstreams = read_optional(fields, "upstreams", read_upstreams, problems) or ()
    claims = Claims()
    demanding = read_on_demand(fields["on_demand"], defaults, claims, problems) if "on_demand" in fields else ()
    declared = read_rules(fields["mirrors"], defaults, claims, problems) if "mirrors" in fields else ()
    rules = (*declared, *demanding)
    mirrors = tuple(rule.mirror(tag) for rule in rules if not rule.is_namespace for tag in rule.tags.names)
    read = Rules(
        mirrors,
        upstreams,
        "",
        rules,
        read_field(fields, "ignore", _ignored, problems, absent=frozenset()),
        read_field(fields, "sources", _sources, problems, absent=frozenset(Source)),
    )
    return replace(read, digest=_digest(read))


def _check_version(place: Place, problems: Problems) -> None:
    node = place.node
    if not isinstance(node, Scalar) or node.kind != "int" or node.text != VERSION:
        shown = f" {quoted(node.text)}" if isinstance(node, Scalar) else ""
        problems.add(place, f"the version{shown} is not known", f"Write version: {VERSION}, without quotes.")


def _defaults(place: Place, problems: Problems) -> Options:
    return read_defaults({} if is_empty(place.node) else read_fields(place, DEFAULTS, problems), problems)


def _ignored(place: Place, problems: Problems) -> frozenset[str]:
    return frozenset() if is_empty(place.node) else frozenset(read_list(place, _repository_glob, problems))


def _repository_glob(place: Place, problems: Problems) -> str | None:
    hint = "Write it like team-a/* (a star spans slashes)."
    return read_fitting(place, _REPOSITORY_GLOB.fullmatch, problems, wrong="fits no repository of ECR", hint=hint)


def _sources(place: Place, problems: Problems) -> frozenset[Source]:
    fields = {} if is_empty(place.node) else read_fields(place, SOURCES, problems)
    off = {source for key, source in _SOURCES.items() if not read_field(fields, key, read_flag, problems, absent=True)}
    return frozenset(Source) - off


def _digest(rules: Rules) -> str:
    # Of what the rules mean and not of how they are written: comments, order, names and spelled-out defaults do not
    # count.
    meaning = [
        sorted(map(_rule_meaning, rules.rules)),
        sorted(map(_json, rules.upstreams)),
        sorted(rules.opted_out),
        sorted(rules.sources),
    ]
    return digest_of(_json(meaning).encode())


def _rule_meaning(rule: Rule) -> str:
    tags = rule.tags
    selection = tags._replace(
        names=tuple(sorted(tags.names)), patterns=tuple(sorted(tags.patterns)), exclude=tuple(sorted(tags.exclude))
    )
    # What was demanded is kept under the name of its rule.
    return _json(rule._replace(name="" if rule.on_demand is None else rule.name, tags=selection))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
