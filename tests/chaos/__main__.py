"""`make chaos`: a long chaos run. Prints what was done and what was held, and exits 1 where something was not."""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import LONG, SHORT, Report, run_chaos

_SHOWN = 10


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="Repeats a run's choices")
    parser.add_argument("--short", action="store_true", help="The run that is among the tests")
    arguments = parser.parse_args()
    size = SHORT if arguments.short else LONG
    print(f"chaos: {size.mirrors} mirrors of 6 upstreams, {size.rounds} rounds, seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = run_chaos(Path(folder), size, arguments.seed)
    print(text_of(report))
    return 0 if report.is_good else 1


def text_of(report: Report) -> str:
    """Write the table of what was done and what was held."""
    lines = ["", "Done"]
    lines += [f"  {count:>7,}  {what}" for what, count in sorted(report.done.items())]
    lines += ["", "Held"]
    for each in report.held:
        lines.append(f"  {'yes' if not each.findings else ' NO'}  {each.what}")
        lines += [f"         {finding}" for finding in each.findings[:_SHOWN]]
        more = len(each.findings) - _SHOWN
        lines += [f"         and {more} more"] if more > 0 else []
    lag = int(report.longest_lag.total_seconds())
    return "\n".join([*lines, "", f"longest lag {lag} s, seed {report.seed}, {report.seconds:.0f} s"])


if __name__ == "__main__":
    sys.exit(main())
