"""`pullahead check`: which tags at the target differ from upstream. Writes nothing to registries."""

import argparse

from pullahead.cli.compare import (
    UNDETERMINED,
    add_comparison_arguments,
    compare,
    comparison_document,
    counts_text,
    stale_line,
)
from pullahead.cli.options import describe
from pullahead.cli.output import DONE, FAILED, STALE, write_result
from pullahead.mirrors.record import WAITING, State


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Compare every tag that the rules select with the target, and report those that are stale, missing or gone. "
        "Copies nothing.",
        "check",
        "check rules.yaml --registry registry.example.com --quiet",
        stale="At least one tag is stale, missing or gone",
        failed="Failure, or something is unknown",
    )
    add_comparison_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare, and write a line for each tag that is not fresh."""
    comparison = compare(arguments)
    tags = comparison.result.tags
    stale = [tag for tag in tags if tag.state not in {State.FRESH, *WAITING, *UNDETERMINED}]
    text = "\n".join((*map(stale_line, stale), counts_text(tags)))
    write_result(arguments, text, comparison_document(comparison, lambda _: {}))
    if not comparison.is_complete:
        return FAILED
    return STALE if stale else DONE
