"""Writes what a copy in Lambda's sizes reaches and costs, as Markdown for the results and for docs/operating.md."""

import statistics
from pathlib import Path

from bench.costs import PRICES, between
from bench.goals import lambda_rate
from bench.results import OURS, LambdaResult, Machine, SizeResult

PAGE = Path(__file__).parents[1] / "docs" / "operating.md"
BEGIN, END = "<!-- sizes: written by `make bench` -->", "<!-- sizes: end -->"
_TERABYTE = 1e12
_MIB_PER_GIB = 1024


def usd_per_terabyte(memory_mb: int, megabytes_per_second: float) -> float:
    """Price the time that a function of this memory takes for a terabyte; its requests cost nothing beside that."""
    seconds = _TERABYTE / 1e6 / megabytes_per_second
    return seconds * memory_mb / _MIB_PER_GIB * PRICES.lambda_gb_second


def lambda_table(result: LambdaResult) -> str:
    """Write the table."""
    lines = ["| memory, MB | of a CPU | road | MB/s | USD per TB | CPU s per GiB | peak RSS MiB |"]
    lines.append("| ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    lines += [_row(size, result.size_bytes) for size in result.sizes]
    return "\n".join(lines)


def with_table(page: str, result: LambdaResult, machine: Machine) -> str:
    """Put the table between its marks of the page."""
    measured = (
        f"Measured on {machine.date}, {machine.cpus}, load before {machine.load_before:.1f}, pullahead "
        f"{machine.versions.get(OURS, 'unknown')}: a layer of {result.size_bytes / 1e6:,.0f} MB, medians of "
        f"{max(len(size.sent) for size in result.sizes)}, held to its share of a CPU by {result.limited_by}."
    )
    return between(page, BEGIN, END, f"{lambda_table(result)}\n\n{measured}")


def _row(size: SizeResult, size_bytes: int) -> str:
    cells = [f"{size.memory_mb:,}", f"{size.share:.2f}", size.road]
    if size.problem is not None or not size.sent:
        return f"| {' | '.join([*cells, f'not measured: {size.problem}', '', '', ''])} |"
    rate = lambda_rate(size, size_bytes)
    cpu = statistics.median(sent.cpu_seconds for sent in size.sent) * 2**30 / size_bytes
    rss = statistics.median(sent.peak_rss_mib for sent in size.sent)
    cells += [f"{rate:.0f}", f"{usd_per_terabyte(size.memory_mb, rate):.3f}", f"{cpu:.2f}", f"{rss:.0f}"]
    return f"| {' | '.join(cells)} |"
