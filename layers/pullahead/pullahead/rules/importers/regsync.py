"""regsync's configuration → our rules (regclient, docs/regsync.md, version 1). Decides what of it is supported."""

from collections.abc import Iterator, Mapping
from typing import Any

from pullahead.oci import InvalidReferenceError, Reference, Repository, parse_host, parse_reference
from pullahead.oci.ecr_registry import parse_ecr_host
from pullahead.oci.platforms import parse_platform
from pullahead.rules.importers.go_yaml import (
    is_sha256,
    items_of,
    mapping_of,
    read_interval,
    read_number,
    read_ranges,
    read_reference,
    read_regexes,
    read_repository,
    texts_of,
)
from pullahead.rules.importers.result import ALL_TAGS, ImportedMirror, ImportResult, TagEntry
from pullahead.rules.repository_names import is_repository_name
from pullahead.rules.tag_patterns import PatternKind

_SECRETS = ("user", "pass", "token", "credHelper", "clientCert", "clientKey")
_BY_DEFAULT = frozenset({"interval", "schedule", "referrers", "referrerFilters", "digestTags", "backup"})
_CARRIED = _BY_DEFAULT | {"source", "target", "type", "tags", "tagSets", "platform", "platforms", "repos"}
_YES = frozenset({"true", "True", "TRUE"})
_SELECTING = frozenset({"allow", "deny", "semverRange"})


def read_regsync(document: Mapping[Any, Any], target: str | None = None) -> ImportResult:
    """Convert a file. Rules publish into one registry, `target`: what other targets the file has is left out."""
    imported = ImportResult("regsync", target or _find_target(document))
    if imported.target is not None and parse_ecr_host(imported.target) is None:
        imported.leave_out(
            "target", f"rules publish into Amazon ECR, not into {imported.target}; its repositories keep their names"
        )
    for index, credentials in enumerate(items_of(document.get("creds"))):
        _host(mapping_of(credentials), f"creds[{index}]", imported)
    defaults = mapping_of(document.get("defaults"))
    for key in defaults:
        if key not in _BY_DEFAULT:
            imported.leave_out(f"defaults.{key}", "not supported")
    for index, entry in enumerate(items_of(document.get("sync"))):
        _entry(mapping_of(entry), defaults, f"sync[{index}]", imported)
    return imported


def _find_target(document: Mapping[Any, Any]) -> str | None:
    hosts: list[str] = []
    for entry in items_of(document.get("sync")):
        written = str(mapping_of(entry).get("target", ""))
        try:  # of a whole registry, the target may be a host alone
            is_registry = mapping_of(entry).get("type") == "registry"
            reference = parse_reference(f"{written}/x" if is_registry else written)
        except InvalidReferenceError:
            continue  # reported where the entry is read
        hosts.append(reference.repository.registry)
    return next((host for host in hosts if parse_ecr_host(host) is not None), hosts[0] if hosts else None)


def _host(credentials: Mapping[Any, Any], where: str, imported: ImportResult) -> None:
    written = str(credentials.get("registry", ""))
    try:
        host = parse_host(written)
    except InvalidReferenceError as error:
        imported.leave_out(where, str(error))
        return
    if credentials.get("tls") == "disabled":
        imported.set_upstream(host, plain_http=True)
    elif credentials.get("tls") == "insecure":
        imported.leave_out(where, f"certificates of {host} are always verified; give its own under upstreams.{host}.ca")
    if credentials.get("regcert"):
        imported.set_upstream(host, ca=str(credentials["regcert"]))
    if credentials.get("reqPerSec"):
        pace = read_number(str(credentials["reqPerSec"]), f"{where}.reqPerSec", imported)
        if pace is not None:
            imported.set_upstream(host, rate_limit={"requests_per_second": pace})
    if any(key in credentials for key in _SECRETS):
        imported.leave_out(
            where,
            f"credentials for {host} are never copied; put them into Secrets Manager as "
            f'{{"username": …, "accessToken": …}} and name the secret under upstreams.{host}.credentials',
        )
    for key in credentials:
        if key not in {"registry", "tls", "regcert", "reqPerSec", *_SECRETS}:
            imported.leave_out(f"{where}.{key}", "not supported")


def _entry(entry: Mapping[Any, Any], defaults: Mapping[Any, Any], where: str, imported: ImportResult) -> None:
    for key in entry:
        if key not in _CARRIED:
            imported.leave_out(f"{where}.{key}", "not supported")
    kind = entry.get("type")
    if kind == "registry":
        _registry(entry, defaults, where, imported)
        return
    if kind not in {"image", "repository"}:
        imported.leave_out(where, f"unknown type {kind!r}")
        return
    source = read_reference(str(entry.get("source", "")), where, imported)
    target = read_reference(str(entry.get("target", "")), where, imported)
    if source is None or target is None or not _is_target(target.repository, where, imported):
        return
    if kind == "image":
        _add_image(entry, defaults, source, target, where, imported)
    else:
        _add_repository(entry, defaults, source, target.repository.path, where, imported)


def _is_target(repository: Repository, where: str, imported: ImportResult) -> bool:
    if repository.registry == imported.target:
        return True
    imported.leave_out(
        where,
        f"the target {repository} is not in {imported.target}: rules publish into one account and Region; to convert "
        f"it instead, import with --target {repository.registry}",
    )
    return False


def _add_image(
    entry: Mapping[Any, Any],
    defaults: Mapping[Any, Any],
    source: Reference,
    target: Reference,
    where: str,
    imported: ImportResult,
) -> None:
    if target.digest is not None:
        imported.leave_out(where, "a target is a tag, and this one is a digest")
        return
    if source.digest is not None and source.tag is None:
        if not is_sha256(source.digest):
            imported.leave_out(where, f"{source.digest}: rules name digests of sha256 only")
            return
        tag = TagEntry(source.digest, published_as=target.tag or "")
    else:
        name, published_as = source.tag or "latest", target.tag or "latest"
        pin = f"@{source.digest}" if source.digest is not None else ""
        tag = TagEntry(f"{name}{pin}", published_as="" if published_as == name else published_as)
    _add(entry, defaults, source, target.repository.path, [((tag,), ())], where, imported)


def _add_repository(
    entry: Mapping[Any, Any],
    defaults: Mapping[Any, Any],
    source: Reference,
    path: str,
    where: str,
    imported: ImportResult,
) -> None:
    # Each of tagSets selects for itself; together they are joined.
    sets = [entry["tags"]] if entry.get("tags") else items_of(entry.get("tagSets")) or [{}]
    selections = [_selection(mapping_of(each), where, imported) for each in sets]
    _add(entry, defaults, source, path, [each for each in selections if each[0]], where, imported)


def _registry(entry: Mapping[Any, Any], defaults: Mapping[Any, Any], where: str, imported: ImportResult) -> None:
    repositories = texts_of(mapping_of(entry.get("repos")).get("allow"))
    named = list(filter(is_repository_name, repositories))
    if not named or len(named) < len(repositories):
        imported.leave_out(
            where,
            "registries and expressions of repositories are not supported; name repositories, or HOST/TEAM/*",
        )
    for name in named:
        source = read_reference(f"{entry.get('source')}/{name}", where, imported)
        target = read_reference(f"{entry.get('target')}/{name}", where, imported)
        if source is not None and target is not None and _is_target(target.repository, where, imported):
            _add_repository(entry, defaults, source, target.repository.path, where, imported)


def _selection(
    tags: Mapping[Any, Any], where: str, imported: ImportResult
) -> tuple[tuple[TagEntry, ...], tuple[TagEntry, ...]]:
    for key in tags:
        if key not in _SELECTING:
            imported.leave_out(f"{where}.tags.{key}", "not supported")
    chosen = [
        *read_regexes(texts_of(tags.get("allow")), f"{where}.tags.allow", imported),
        *read_ranges(texts_of(tags.get("semverRange")), f"{where}.tags.semverRange", imported),
    ]
    if not tags.get("allow") and not tags.get("semverRange"):
        chosen = [TagEntry(ALL_TAGS, PatternKind.GLOB)]
    return tuple(chosen), tuple(read_regexes(texts_of(tags.get("deny")), f"{where}.tags.deny", imported))


def _add(
    entry: Mapping[Any, Any],
    defaults: Mapping[Any, Any],
    source: Reference,
    path: str,
    selections: list[tuple[tuple[TagEntry, ...], tuple[TagEntry, ...]]],
    where: str,
    imported: ImportResult,
) -> None:
    repository = read_repository(path, where, imported)
    if repository is None:
        return
    times = entry if "interval" in entry or "schedule" in entry else defaults
    if times.get("schedule"):
        imported.leave_out(
            where, f"the schedule {times['schedule']!r} is not supported; upstream is checked every 15 minutes"
        )
    every = read_interval(str(times["interval"]), where, imported) if times.get("interval") else None
    platforms = tuple(_platforms(entry, where, imported))
    referrers, backup = _referrers({**defaults, **entry}, where, imported), {**defaults, **entry}.get("backup")
    if backup:
        imported.leave_out(
            f"{where}.backup",
            f"the name {str(backup)!r}: it is kept as TAG--previous-<12 hex digits> (keep_previous)",
        )
    for tags, exclude in selections:
        mirror = ImportedMirror(str(source.repository), repository, tags, exclude, platforms, every)
        imported.add(where, mirror._replace(referrers=referrers, keep_previous=bool(backup)))


def _referrers(settings: Mapping[Any, Any], where: str, imported: ImportResult) -> bool | tuple[str, ...] | None:
    """Read whether to copy what refers to images: regsync's referrers, and cosign's tags, its digestTags."""
    written = [str(settings[key]) in _YES for key in ("referrers", "digestTags") if key in settings]
    filters = [mapping_of(each) for each in items_of(settings.get("referrerFilters"))]
    kinds = tuple(each["artifactType"] for each in filters if isinstance(each.get("artifactType"), str))
    for number, each in enumerate(filters):
        for key in each.keys() - {"artifactType"}:
            imported.leave_out(f"{where}.referrerFilters[{number}].{key}", "not supported; filter by artifactType")
    if not any(written):
        return False if written else None
    return kinds if kinds and len(kinds) == len(filters) else True


def _platforms(entry: Mapping[Any, Any], where: str, imported: ImportResult) -> Iterator[str]:
    for platform in [*texts_of(entry.get("platform")), *texts_of(entry.get("platforms"))]:
        try:
            yield str(parse_platform(platform))
        except ValueError as error:
            imported.leave_out(where, str(error))
