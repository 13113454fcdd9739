"""The rules file, version 1 → rules. Decides what a rules file may say; refuses to know where the file came from.

Strict on purpose: what is not understood is a problem, never ignored, and all problems are reported at once.
"""

import json

from pullahead.oci import InvalidReferenceError, digest_of, parse_host
from pullahead.rules.document import DocumentError, Node, Scalar, compose
from pullahead.rules.fields import Place, Problems, is_empty, read_entries, read_field, read_fields, read_flag
from pullahead.rules.mirrors import read_mirrors
from pullahead.rules.model import Mirror, Rules, UpstreamSettings
from pullahead.rules.problems import Problem, RulesError, quoted

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
    fields = read_fields(Place(document, ""), ("version", "upstreams", "mirrors"), ("version", "mirrors"), problems)
    read_field(fields, "version", _check_version, problems, absent=None)
    upstreams = read_field(fields, "upstreams", _upstreams, problems, absent=())
    mirrors = read_field(fields, "mirrors", read_mirrors, problems, absent=())
    return Rules(mirrors, upstreams, _digest(mirrors, upstreams))


def _check_version(place: Place, problems: Problems) -> None:
    node = place.node
    if not isinstance(node, Scalar) or node.kind != "int" or node.text != VERSION:
        shown = f" {quoted(node.text)}" if isinstance(node, Scalar) else ""
        problems.add(place, f"the version{shown} is not known", f"Write version: {VERSION}, without quotes.")


def _upstreams(place: Place, problems: Problems) -> tuple[UpstreamSettings, ...]:
    entries = None if is_empty(place.node) else read_entries(place, problems)
    settings: dict[str, UpstreamSettings] = {}
    for written, entry in (entries or {}).items():
        path = f"{place.path}[{quoted(written)}]"
        host = _host(Place(entry.key.node, path), written, problems)
        fields = read_fields(Place(entry.value, path), ("plain_http",), (), problems)
        plain_http = read_field(fields, "plain_http", read_flag, problems, absent=False)
        if host in settings:
            problems.add(Place(entry.key.node, path), f"the host {host} has settings already, under another name")
        elif host is not None and plain_http is not None:
            settings[host] = UpstreamSettings(host, plain_http)
    return tuple(settings.values())


def _host(place: Place, written: str, problems: Problems) -> str | None:
    try:
        return parse_host(written)
    except InvalidReferenceError as error:
        problems.add(place, error.cause, error.advice)
        return None


def _digest(mirrors: tuple[Mirror, ...], upstreams: tuple[UpstreamSettings, ...]) -> str:
    # Of what the rules mean and not of how they are written: comments, order and spelled-out defaults do not count.
    meaning = [sorted(map(_mirror_meaning, mirrors)), sorted([u.host, str(u.plain_http)] for u in upstreams)]
    return digest_of(json.dumps(meaning).encode())


def _mirror_meaning(mirror: Mirror) -> list[str]:
    seconds = (str(int(mirror.check_every.total_seconds())), str(int(mirror.alert_after.total_seconds())))
    return [mirror.key, str(mirror.upstream), *seconds]
