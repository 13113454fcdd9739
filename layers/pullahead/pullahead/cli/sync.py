"""`pullahead sync`: copy every tag that the rules select and the target does not serve, from one process."""

import argparse
import time
from collections.abc import Iterable, Mapping
from typing import Any

from pullahead.cli.compare import (
    Comparison,
    add_comparison_arguments,
    compare,
    comparison_document,
    counts_text,
    nothing_to_copy,
)
from pullahead.cli.options import describe
from pullahead.cli.output import DONE, FAILED, say, write_result
from pullahead.cli.registries import ACCOUNT
from pullahead.cli.verify import prover
from pullahead.clock import wait_after_breaks
from pullahead.mirrors.record import State
from pullahead.rules.mirror_key import MirrorKey
from pullahead.standalone.compare import TagStatus
from pullahead.standalone.sync import SyncMirrors, SyncResult
from pullahead.text import rate_text, size_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Copy every tag that the rules select and that is stale or missing at the target. A failure of one tag stops "
        "no other; run the command again to continue.",
        "sync",
        "sync rules.yaml --registry registry.example.com",
        failed="Failure, also of a single tag",
    )
    add_comparison_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare, and copy what is not fresh."""
    comparison = compare(arguments)
    not_found = [tag for tag in comparison.result.tags if _is_nowhere(tag)]
    for tag in not_found:
        say(f"{tag.mirror.key} failed: {tag.reason} ({tag.mirror.upstream})")
    begun = time.monotonic()
    copied = _copy(arguments, comparison)
    seconds = time.monotonic() - begun
    summary = _summary(copied.values(), seconds) if copied else nothing_to_copy(comparison)
    text = f"{counts_text(comparison.result.tags)}; {summary}"
    write_result(arguments, text, _document(comparison, copied, seconds))
    has_failed = not_found or not comparison.is_complete or any(each.error for each in copied.values())
    return FAILED if has_failed else DONE


def _copy(arguments: argparse.Namespace, comparison: Comparison) -> dict[MirrorKey, SyncResult]:
    sync = SyncMirrors(
        comparison.rules,
        comparison.upstream,
        comparison.target,
        arguments.registry or ACCOUNT,
        wait_after_break=wait_after_breaks,
        clock=time.monotonic,
        cpu_clock=time.process_time,
        prove=prover(comparison.upstream),
    )
    requests = [tag.refresh for tag in comparison.result.tags if tag.refresh is not None]
    copied: dict[MirrorKey, SyncResult] = {}
    for each in sync(requests):
        key = MirrorKey(each.request.repository, each.request.tag)
        copied[key] = each
        if each.error:
            say(f"{key} failed: {each.error}")
        elif each.note:
            say(f"{key} is copied, and {each.note}")
        elif not arguments.quiet:
            say(_line(key, each, f"{len(copied)} of {len(requests)}"))
    return copied


def _is_nowhere(tag: TagStatus) -> bool:
    """Whether no side has the tag. One that only upstream has deleted is kept at the target, and is no failure."""
    return tag.state is State.GONE and tag.published_digest is None


def _line(key: MirrorKey, copied: SyncResult, progress: str) -> str:
    summary = copied.summary
    if summary is None or summary.already_there:
        return f"{key} is already up to date ({progress})"
    sent = f"{size_text(summary.bytes_copied)} in {summary.seconds:.1f} s"
    return f"copied {copied.request.upstream} to {key}, {sent} ({progress})"


def _summary(copied: Iterable[SyncResult], seconds: float) -> str:
    results = list(copied)
    failed = sum(bool(each.error) for each in results)
    sent = _bytes_copied(results)
    moved = f"{size_text(sent)} in {seconds:.2f} s, {rate_text(sent, seconds)}"
    return f"{len(results) - failed} copied, {failed} failed; {moved}"


def _bytes_copied(copied: Iterable[SyncResult]) -> int:
    return sum(each.summary.bytes_copied for each in copied if each.summary is not None)


def _document(comparison: Comparison, copied: Mapping[MirrorKey, SyncResult], seconds: float) -> dict[str, Any]:
    def of_tag(tag: TagStatus) -> Mapping[str, Any]:
        each = copied.get(tag.mirror.key)
        return {"refresh": None if each is None else _copy_document(each)}

    failed = sum(bool(each.error) for each in copied.values())
    return comparison_document(
        comparison,
        of_tag,
        refreshed=len(copied) - failed,
        failed=failed,
        bytes_copied=_bytes_copied(copied.values()),
        seconds=round(seconds, 6),
    )


def _copy_document(copied: SyncResult) -> dict[str, Any]:
    summary = copied.summary
    return {
        "digest": None if summary is None else summary.digest,
        "bytes_copied": 0 if summary is None else summary.bytes_copied,
        "seconds": None if summary is None else round(summary.seconds, 6),
        "error": copied.error or None,
    }
