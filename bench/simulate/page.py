"""The table and the plot of a simulation, for docs/operating.md."""

import math
from collections.abc import Sequence
from html import escape

from bench.simulate.scenarios import HostResult, Result

_WIDTH, _BAR, _LEFT = 760, 14, 250
_COLOURS = ("#3366aa", "#e08214", "#4d9221", "#8073ac", "#666666")


def table(results: Sequence[Result]) -> str:
    """Write one line a scenario, and one for each of its hosts."""
    head = (
        "scenario", "tags", "of", "tags of it", "checked every, s", "its limit allows, s",
        "between checks p99, s", "longest, s",
        "lag by poll p50 / p99 / longest, s", "by event p50 / p99 / longest, s",
        "until copied p99, s",
    )  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"| --- | ---: | --- |{' ---: |' * (len(head) - 3)}"]
    for result in results:
        for number, host in enumerate(result.hosts):
            name = result.scenario.name if number == 0 else ""
            tags = f"{result.scenario.tags:,}" if number == 0 else ""
            lines.append(f"| {' | '.join((name, tags, *_cells(host)))} |")
    return "\n".join(lines)


def totals(results: Sequence[Result]) -> str:
    """Write one line a scenario, with what it takes."""
    head = (
        "scenario", "tags", "functions busy", "queue p99 / longest, messages", "invocations an hour", "HEADs an hour",
        "`DescribeImages` an hour", "refreshes", "USD a month", "for 1,000 tags",
        "with a second trail", "finished after, min",
    )  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for result in results:
        used, hours = result.used, result.used.seconds / 3600
        cells = (
            result.scenario.name,
            f"{result.scenario.tags:,}",
            f"{result.utilisation:.0%}",
            f"{used.queue_p99:,} / {used.queue_max:,}",
            f"{used.invocations / hours:,.0f}",
            f"{sum(host.heads for host in result.hosts) / hours:,.0f}",
            f"{used.describe_images / hours:,.0f}",
            f"{used.refreshes:,}",
            f"{result.usd:.2f}",
            f"{result.usd_per_thousand:.2f}",
            f"{result.usd_with_trail:.2f}",
            _finished(result),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(results: Sequence[Result]) -> str:
    """Draw the time between checks (p99) of each host in each scenario, as SVG."""
    hosts = [host.host for host in results[0].hosts]
    longest = max(_drawn(host) for result in results for host in result.hosts)
    rows = len(hosts) * (len(results) * _BAR + _BAR)
    height = rows + 24 + 18 * len(results)
    size = f'width="{_WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    for row, name in enumerate(hosts):
        top = 12 + row * (len(results) * _BAR + _BAR)
        parts.append(f'<text x="8" y="{top + _BAR}">{escape(name)}</text>')
        for number, result in enumerate(results):
            value = _drawn(result.hosts[row])
            width = (_WIDTH - _LEFT - 80) * value / longest if longest else 0.0
            y, colour = top + number * _BAR, _COLOURS[number % len(_COLOURS)]
            parts.append(f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 3}" fill="{colour}"/>')
            parts.append(f'<text x="{_LEFT + width + 4:.1f}" y="{y + _BAR - 4}">{value:,.0f} s</text>')
    for number, result in enumerate(results):
        y = rows + 30 + 18 * number
        parts.append(f'<rect x="8" y="{y - 10}" width="10" height="10" fill="{_COLOURS[number % len(_COLOURS)]}"/>')
        parts.append(f'<text x="24" y="{y}">{escape(result.scenario.name)}, {result.scenario.tags:,} tags</text>')
    return "\n".join((*parts, "</svg>", ""))


def _cells(host: HostResult) -> tuple[str, ...]:
    lag = " / ".join(map(_seconds, (host.lag_p50, host.lag_p99, host.lag_max)))
    by_event = " / ".join(map(_seconds, (host.event_p50, host.event_p99, host.event_max)))
    return (
        f"`{host.host}`",
        f"{host.tags:,}",
        _seconds(host.check_every),
        _seconds(host.limit_allows),
        _seconds(host.age_p99),
        _seconds(host.age_max),
        lag,
        by_event,
        _seconds(host.refresh_p99),
    )


def _drawn(host: HostResult) -> float:
    return 0.0 if math.isnan(host.age_p99) else host.age_p99


def _finished(result: Result) -> str:
    if result.left:
        return f"{result.left:,} left"
    return "" if result.finished is None else f"{result.finished / 60:.0f}"


def _seconds(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.0f}"
