"""The YAML file of `skopeo sync` → our rules (skopeo-sync(1), "YAML file content"). Decides what is supported."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pullahead.oci import InvalidReferenceError, parse_host
from pullahead.rules.importers.go_yaml import (
    mapping_of,
    read_names,
    read_ranges,
    read_reference,
    read_regexes,
    read_repository,
    texts_of,
)
from pullahead.rules.importers.result import ALL_TAGS, ImportedMirror, ImportResult, TagEntry
from pullahead.rules.tag_patterns import PatternKind

_IMAGES, _REGEX, _SEMVER = "images", "images-by-tag-regex", "images-by-semver"
_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
"""An escaped character, a class, or any other single character of a regular expression."""
_OFF = frozenset({"false", "False", "FALSE"})
_CARRIED = frozenset({_IMAGES, _REGEX, _SEMVER, "credentials", "tls-verify"})


def read_skopeo(document: Mapping[Any, Any], prefix: str) -> ImportResult:
    """Convert a file. It names no targets, so repositories are named by `prefix` and the upstream path."""
    imported = ImportResult("skopeo sync")
    for written, settings in document.items():
        try:
            host = parse_host(str(written))
        except InvalidReferenceError as error:
            imported.leave_out(str(written), str(error))
            continue
        _host(host, mapping_of(settings), prefix, imported)
    return imported


def _host(host: str, settings: Mapping[Any, Any], prefix: str, imported: ImportResult) -> None:
    if settings.get("credentials"):
        imported.leave_out(
            f"{host}.credentials",
            "credentials are never copied; put them into Secrets Manager as "
            f'{{"username": …, "accessToken": …}} and name the secret under upstreams.{host}.credentials',
        )
    if settings.get("tls-verify") in _OFF:
        imported.leave_out(
            f"{host}.tls-verify",
            f"certificates are always verified; give its own under upstreams.{host}.ca, or where it has no TLS at all "
            f"write upstreams.{host}.plain_http: true",
        )
    for key in settings:
        if key not in _CARRIED:
            imported.leave_out(f"{host}.{key}", "not supported")
    for path, tags in mapping_of(settings.get(_IMAGES)).items():
        where = f"{host}.{_IMAGES}.{path}"
        every = (TagEntry(ALL_TAGS, PatternKind.GLOB),)
        _add(host, str(path), read_names(texts_of(tags), where, imported) if tags else every, prefix, where, imported)
    for path, regex in mapping_of(settings.get(_REGEX)).items():
        where = f"{host}.{_REGEX}.{path}"
        _add(host, str(path), read_regexes([_whole(str(regex))], where, imported), prefix, where, imported)
    for path, versions in mapping_of(settings.get(_SEMVER)).items():
        where = f"{host}.{_SEMVER}.{path}"
        _add(host, str(path), read_ranges([str(versions)], where, imported), prefix, where, imported)


def _add(host: str, path: str, tags: Iterable[TagEntry], prefix: str, where: str, imported: ImportResult) -> None:
    reference = read_reference(f"{host}/{path}", where, imported)
    if reference is None:
        return
    repository = read_repository(f"{prefix}/{reference.repository.path}" if prefix else path, where, imported)
    if repository is None:
        return
    upstream = str(reference.repository)
    other = next((mirror.upstream for mirror in imported.mirrors if mirror.repository == repository), upstream)
    if other == upstream:
        imported.add(where, ImportedMirror(upstream, repository, tuple(tags)))
    else:  # skopeo would have put both into one
        imported.leave_out(where, f"{repository} already follows {other}; write a rule with another repository for it")


def _whole(regex: str) -> str:
    """Make an expression that skopeo finds anywhere in a tag match the whole tag."""
    return "|".join(map(_whole_alternative, _alternatives(regex)))


def _whole_alternative(regex: str) -> str:
    ends = regex.endswith("$") and not regex.endswith(r"\$")
    inner = regex.removeprefix("^").removesuffix("$" if ends else "")
    return f"{'' if regex.startswith('^') else '.*'}{inner}{'' if ends else '.*'}"


def _alternatives(regex: str) -> list[str]:
    """Split an expression at the bars outside of groups and classes: an anchor belongs to one part only."""
    parts, depth = [""], 0
    for piece in _PIECE.findall(regex):
        depth += (piece == "(") - (piece == ")")
        if piece == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return parts
