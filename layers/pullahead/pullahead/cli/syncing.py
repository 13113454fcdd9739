"""`pullahead sync`: make the target serve what upstream serves, by the rules, from one process."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from pullahead.cli.arguments import RulesArguments
from pullahead.cli.exits import DONE, FAILED, NOTHING_TO_DO
from pullahead.cli.failing import say
from pullahead.cli.looking import Looking, look
from pullahead.cli.output import write_document, write_text
from pullahead.cli.rules_connections import ACCOUNT
from pullahead.cli.rules_texts import counts_text, looked_document
from pullahead.cli.texts import rate_text, size_text
from pullahead.clock import wait_after_breaks
from pullahead.mirrors.record import State
from pullahead.rules.mirror_key import MirrorKey
from pullahead.standalone.compare import TagStatus
from pullahead.standalone.sync import SyncMirrors, SyncResult


def run_sync(arguments: RulesArguments) -> int:
    """Look at both sides, and copy what is not fresh."""
    looking = look(arguments)
    if looking is None:
        return FAILED
    lost = [compared for compared in looking.looked.tags if _is_lost(compared)]
    for compared in lost:
        say(f"{compared.mirror.key} cannot be made: upstream has no {compared.mirror.upstream}")
    begun = time.monotonic()
    synced = _sync(arguments, looking)
    seconds = time.monotonic() - begun
    if arguments.common.json:
        write_document(_document(looking, synced, seconds))
    elif not arguments.common.quiet:
        write_text(f"{counts_text(looking.looked.tags)}; {_summary(synced.values(), seconds)}")
    if lost or not looking.is_all_told or any(each.error for each in synced.values()):
        return FAILED
    return DONE if synced else NOTHING_TO_DO


def _sync(arguments: RulesArguments, looking: Looking) -> dict[MirrorKey, SyncResult]:
    sync = SyncMirrors(
        looking.rules,
        looking.upstream,
        looking.target,
        arguments.registry or ACCOUNT,
        wait_after_break=wait_after_breaks,
        clock=time.monotonic,
    )
    requests = [compared.refresh for compared in looking.looked.tags if compared.refresh is not None]
    done: dict[MirrorKey, SyncResult] = {}
    for each in sync(requests):
        key = MirrorKey(each.request.repository, each.request.tag)
        done[key] = each
        if each.error:
            say(f"{key} failed: {each.error}")
        elif not arguments.common.quiet:
            say(_line(key, each, f"{len(done)} of {len(requests)}"))
    return done


def _is_lost(compared: TagStatus) -> bool:
    """Whether there is nothing to be served: a tag that upstream has taken away is kept where it was copied."""
    return compared.state is State.GONE and compared.published_digest is None


def _line(key: MirrorKey, synced: SyncResult, progress: str) -> str:
    summary = synced.summary
    if summary is None or summary.already_there:
        return f"{key} was there already ({progress})"
    sent = f"{size_text(summary.bytes_copied)} in {summary.seconds:.1f} s"
    return f"{key} is {synced.request.upstream} now, {sent} ({progress})"


def _summary(synced: Iterable[SyncResult], seconds: float) -> str:
    ended = list(synced)
    if not ended:
        return "nothing to refresh"
    failed = sum(bool(each.error) for each in ended)
    sent = _bytes_copied(ended)
    moved = f"{size_text(sent)} in {seconds:.2f} s, {rate_text(sent, seconds)}"
    return f"{len(ended) - failed} refreshed, {failed} failed; {moved}"


def _bytes_copied(synced: Iterable[SyncResult]) -> int:
    return sum(each.summary.bytes_copied for each in synced if each.summary is not None)


def _document(looking: Looking, synced: Mapping[MirrorKey, SyncResult], seconds: float) -> dict[str, Any]:
    def of_tag(compared: TagStatus) -> Mapping[str, Any]:
        each = synced.get(compared.mirror.key)
        return {"refresh": None if each is None else _refresh_document(each)}

    failed = sum(bool(each.error) for each in synced.values())
    return looked_document(
        looking.looked,
        looking.rules,
        of_tag,
        refreshed=len(synced) - failed,
        failed=failed,
        bytes_copied=_bytes_copied(synced.values()),
        seconds=round(seconds, 6),
    )


def _refresh_document(synced: SyncResult) -> dict[str, Any]:
    summary = synced.summary
    return {
        "digest": None if summary is None else summary.digest,
        "bytes_copied": 0 if summary is None else summary.bytes_copied,
        "seconds": None if summary is None else round(summary.seconds, 6),
        "error": synced.error or None,
    }
