"""`python -m bench.compiled_rules`: what rules cost to compile, to decode, and at each schedule, in CPU time.

What every run of the schedule, and every cold start of any function, would do without the compiled form is the first
line: read the files and combine all sources.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from pullahead.checks.schedule import batches
from pullahead.checks.timetable import is_due
from pullahead.messages import MAX_TAGS_PER_CHECK, CheckRequest
from pullahead.rules.compiled import CompiledRules, decode_compiled, encode_compiled
from pullahead.rules.load import load_rules_files
from pullahead.rules.model import Rules
from pullahead.rules.sources.combine import gather_rules
from pullahead.rules.sources.findings import Findings
from pullahead.rules.text import RulesText, fingerprint_of

_CASES = ((1_000, 1), (10_000, 10), (100_000, 1), (200_000, 1))
_SMALL_FUNCTION = 256 / 1769  # of a CPU; Lambda gives one at 1,769 MB
_T = TypeVar("_T")


def rules_text(rules: int, tags: int) -> str:
    """Write so many rules, each with so many tags of a repository of its own."""
    lines = ["version: 1", "mirrors:"]
    for number in range(rules):
        named = ", ".join(f'"1.{tag}.{number}"' for tag in range(tags))
        lines += [
            f"  - upstream: registry-{number % 6}.example.com/team-{number % 97}/app-{number}",
            f"    tags: [{named}]",
            f"    repository: mirror/team-{number % 97}/app-{number}",
            "    check_every: 15m",
        ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one table a case."""
    parser = argparse.ArgumentParser(prog="python -m bench.compiled_rules", description=__doc__)
    parser.add_argument("--case", nargs=2, type=int, metavar=("RULES", "TAGS"), help="How many rules, and tags of each")
    options = parser.parse_args(arguments)
    for rules, tags in (tuple(options.case),) if options.case else _CASES:
        _measure(rules, tags)
    return 0


def _measure(rules: int, tags: int) -> None:
    files = [RulesText("rules.yaml", rules_text(rules, tags))]
    print(f"{rules * tags:,} tags in {rules:,} rules, {len(files[0].text):,} bytes; CPU seconds, and with 256 MB:")
    compiled = _timed(
        "read the files and combine all sources (each run and cold start, before)", lambda: _compile(files)
    )
    content = _timed("encode", lambda: encode_compiled(compiled))
    _timed("see that the files are the same", lambda: fingerprint_of(files))
    decoded = _timed(f"decode {len(content):,} bytes (a cold start)", lambda: decode_compiled(content))
    if decoded is None:
        raise SystemExit("bench.compiled_rules: the form is not decoded")
    _timed("find one mirror, the first time", lambda: decoded.rules.find("mirror/team-1/app-1", "1.0.1"))
    _timed("find what is due, and write its messages (each run)", lambda: _due(decoded.rules))
    print(f"  peak memory so far: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


def _compile(files: Sequence[RulesText]) -> CompiledRules:
    return CompiledRules(fingerprint_of(files), False, gather_rules(load_rules_files(files), Findings()).rules)


def _due(rules: Rules) -> int:
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    due = [group for group in rules.named_mirrors.groups if is_due(group, now - timedelta(minutes=5), now)]
    made = [CheckRequest("schedule", *batch, now).to_json() for batch in batches(due, MAX_TAGS_PER_CHECK)]
    return len(made)


def _timed(what: str, do: Callable[[], _T]) -> _T:
    begun = time.process_time()
    done = do()
    seconds = time.process_time() - begun
    print(f"  {seconds:8.3f} {seconds / _SMALL_FUNCTION:8.2f}  {what}")
    return done


if __name__ == "__main__":
    sys.exit(main())
