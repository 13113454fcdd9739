"""`pullahead plan`: which tags the rules choose, how each stands, and what a refresh would take. Writes nothing."""

from collections.abc import Mapping
from typing import Any

from pullahead.cli.arguments import RulesArguments
from pullahead.cli.exits import DONE, FAILED, NOTHING_TO_DO
from pullahead.cli.failing import say
from pullahead.cli.looking import Looking, look
from pullahead.cli.output import write_document, write_text
from pullahead.cli.rules_texts import Totals, counts_text, looked_document, section_text, sections, totals_of
from pullahead.cli.texts import count_text, size_text
from pullahead.rules.mirror_key import MirrorKey
from pullahead.standalone.compare import TagStatus
from pullahead.standalone.forecast import CopyForecast, forecast


def run_plan(arguments: RulesArguments) -> int:
    """Look at both sides, and plan what a refresh would copy."""
    looking = look(arguments, asks_presence=True)
    if looking is None:
        return FAILED
    requests = [compared.refresh for compared in looking.looked.tags if compared.refresh is not None]
    foretold = forecast(requests, looking.upstream, looking.target)
    for key, each in foretold.items():
        if each.error:
            say(f"what a refresh of {key} takes is not known: {each.error}")
    totals = totals_of(looking.looked, foretold)
    if arguments.common.json:
        write_document(_document(looking, foretold, totals))
    elif not arguments.common.quiet:
        write_text(_text(looking, foretold, totals))
    if not looking.is_all_told or totals.unsized:
        return FAILED
    return DONE if requests else NOTHING_TO_DO


def _text(looking: Looking, foretold: Mapping[MirrorKey, CopyForecast], totals: Totals) -> str:
    shown = [section_text(section, foretold) for section in sections(looking.looked, looking.rules)]
    return "\n".join((*shown, f"{counts_text(looking.looked.tags)}; {_totals_text(totals, len(foretold))}"))


def _totals_text(totals: Totals, refreshes: int) -> str:
    if not refreshes:
        return "nothing to refresh"
    least = "at least " if totals.unsized else ""
    size, requests = size_text(totals.bytes_missing), count_text(totals.requests, "upstream request")
    return f"{refreshes} to refresh, {least}{size} and {requests}"


def _document(looking: Looking, foretold: Mapping[MirrorKey, CopyForecast], totals: Totals) -> dict[str, Any]:
    def of_tag(compared: TagStatus) -> Mapping[str, Any]:
        each = foretold.get(compared.mirror.key)
        return {"refresh": None if each is None else _refresh_document(each)}

    return looked_document(
        looking.looked,
        looking.rules,
        of_tag,
        refreshes=len(foretold),
        bytes_missing=totals.bytes_missing,
        requests=totals.requests,
        unsized=totals.unsized,
    )


def _refresh_document(foretold: CopyForecast) -> dict[str, Any]:
    is_known = not foretold.error
    return {
        "bytes_missing": foretold.bytes_missing if is_known else None,
        "bytes_present": foretold.bytes_present if is_known else None,
        "requests": foretold.requests if is_known else None,
        "error": foretold.error or None,
    }
