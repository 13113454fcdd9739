"""`pullahead plan`: the tags that the rules select, their state, and what a sync would copy. Writes to no registry."""

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple

from pullahead.cli.compare import (
    Comparison,
    add_comparison_arguments,
    compare,
    comparison_document,
    counts_text,
    nothing_to_copy,
    section_text,
    sections,
)
from pullahead.cli.options import describe
from pullahead.cli.output import DONE, FAILED, STALE, say, write_result
from pullahead.cli.rules_file import write_whole
from pullahead.mirrors.record import State
from pullahead.rules.lock_file import LockedTag, write_lock
from pullahead.rules.mirror_key import MirrorKey
from pullahead.standalone.compare import ComparisonResult, TagStatus
from pullahead.standalone.forecast import CopyForecast, forecast
from pullahead.text import count_text, size_text


class Totals(NamedTuple):
    """The cost of all copies; a blob that several tags of a repository lack is counted once."""

    bytes_missing: int
    requests: int
    unsized: int  # copies whose size is unknown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Show which tags the rules select, the state of each, and what a sync would copy: bytes and upstream requests. "
        "Copies nothing.",
        "plan",
        "plan rules.yaml --only alpine --detailed-exitcode",
        stale="With --detailed-exitcode: a sync would copy something",
        failed="Failure, or something is unknown",
    )
    parser.add_argument(
        "--detailed-exitcode", action="store_true", help="Exit with 3 if a sync would copy something, not with 0"
    )
    parser.add_argument(
        "--lock",
        metavar="FILE",
        help="Write a rules file in which every tag is pinned to the digest that upstream serves now",
    )
    add_comparison_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare, and forecast what a sync would copy."""
    comparison = compare(arguments, asks_presence=True, asks_immutable=arguments.lock is not None)
    requests = [tag.refresh for tag in comparison.result.tags if tag.refresh is not None]
    forecasts = forecast(requests, comparison.upstream, comparison.target, rules=comparison.rules)
    for key, each in forecasts.items():
        if each.error:
            say(f"cannot tell what copying {key} would take: {each.error}")
    totals = totals_of(comparison.result, forecasts)
    write_result(arguments, _text(comparison, forecasts, totals), _document(comparison, forecasts, totals))
    is_locked = arguments.lock is None or _lock(arguments.lock, comparison)
    if not comparison.is_complete or totals.unsized or not is_locked:
        return FAILED
    return STALE if requests and arguments.detailed_exitcode else DONE


def _lock(file: str, comparison: Comparison) -> bool:
    """Write a lock file; return False, and leave the file as it is, where a digest is not known."""
    tags = comparison.result.tags
    gone = [tag for tag in tags if tag.state is State.GONE]
    for tag in gone:
        say(f"{tag.mirror.key} has no digest: {tag.reason}")
    unknown = [tag for tag in tags if tag.upstream_digest is None and tag not in gone]
    if not comparison.is_complete or gone or unknown:
        say(f"{file} is not written: a lock has the digest of every tag that the rules select")
        return False
    locked = [LockedTag(tag.mirror, tag.upstream_digest) for tag in tags if tag.upstream_digest is not None]
    text = write_lock(comparison.rules, locked)
    write_whole(file, text)
    say(f"wrote {file}: {count_text(len(locked), 'tag')} with their digests")
    return True


def totals_of(result: ComparisonResult, forecasts: Mapping[MirrorKey, CopyForecast]) -> Totals:
    """Add up what copies would take."""
    known = [(tag.mirror.repository, forecasts[tag.mirror.key]) for tag in result.tags if tag.mirror.key in forecasts]
    blobs = {(repository, blob.digest): blob.size for repository, each in known for blob in each.blobs}
    manifests = sum(each.requests - len(each.blobs) for _, each in known)
    return Totals(sum(blobs.values()), manifests + len(blobs), sum(bool(each.error) for _, each in known))


def _text(comparison: Comparison, forecasts: Mapping[MirrorKey, CopyForecast], totals: Totals) -> str:
    def notes(tag: TagStatus) -> list[str]:
        each = forecasts.get(tag.mirror.key)
        if each is None or each.error:
            return []
        return [f"{size_text(each.bytes_missing)}, {count_text(each.requests, 'request')}"]

    copies = _totals_text(totals, len(forecasts)) if forecasts else nothing_to_copy(comparison)
    shown = [section_text(section, notes) for section in sections(comparison.result, comparison.rules)]
    return "\n".join((*shown, f"{counts_text(comparison.result.tags)}; {copies}"))


def _totals_text(totals: Totals, copies: int) -> str:
    least = "at least " if totals.unsized else ""
    size, requests = size_text(totals.bytes_missing), count_text(totals.requests, "upstream request")
    return f"{copies} to copy, {least}{size} and {requests}"


def _document(comparison: Comparison, forecasts: Mapping[MirrorKey, CopyForecast], totals: Totals) -> dict[str, Any]:
    def of_tag(tag: TagStatus) -> Mapping[str, Any]:
        each = forecasts.get(tag.mirror.key)
        return {"refresh": None if each is None else _forecast_document(each)}

    return comparison_document(
        comparison,
        of_tag,
        refreshes=len(forecasts),
        bytes_missing=totals.bytes_missing,
        requests=totals.requests,
        unsized=totals.unsized,
    )


def _forecast_document(each: CopyForecast) -> dict[str, Any]:
    is_known = not each.error
    return {
        "bytes_missing": each.bytes_missing if is_known else None,
        "bytes_present": each.bytes_present if is_known else None,
        "requests": each.requests if is_known else None,
        "error": each.error or None,
    }
