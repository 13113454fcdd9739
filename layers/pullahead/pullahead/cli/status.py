"""`pullahead status`: the state of every mirror, by its record. Queries neither upstream nor ECR.

Each state has a word and a symbol beside its color.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from threading import Event
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pullahead.cli.options import UsageError, add_output_options, describe
from pullahead.cli.output import DONE, STALE, write_document, write_text
from pullahead.cli.stack import DeployedStack, add_rules_option, add_stack_options, deployed_stack, now
from pullahead.dashboard.mirror_rows import Row, row_of, worst_first
from pullahead.dashboard.states import STATE_MEANINGS
from pullahead.mirrors.record import ON_TIME, Record, State
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.model import Rules
from pullahead.text import count_text, moment_text, span_text

WATCH_SECONDS = 5.0
_WIDE = 130  # below, what is wrong has lines of its own
_MAX_DRAWN = 1000  # rows of a terminal; laying out more takes a minute
_MIN_NAME = 12
_INDENT = 2
_NEVER: Final = "-"
_HEADINGS: Final = ("State", "Mirror", "Not fresh for", "Copied", "Referrers", "Why")


class MirrorRow(NamedTuple):
    """A row of the table: a mirror, and whether its rule is paused."""

    row: Row
    paused: bool = False


class Status(NamedTuple):
    """Mirrors, worst first, and when checks were last sent."""

    mirrors: Sequence[MirrorRow]
    checked_at: datetime | None
    at: datetime

    @property
    def is_fresh(self) -> bool:
        """Whether every mirror is fresh, deleted as its rule says, or serves what it may."""
        return all(mirror.row.state in ON_TIME for mirror in self.mirrors)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Show the state of every mirror of the deployed stack, worst first, by what Pullahead recorded.",
        "status --stale",
        "status --prefix mirror/python --check --quiet",
        stale="With --check: at least one mirror is not fresh",
    )
    parser.add_argument("--stale", action="store_true", help="Show only mirrors that are not fresh")
    parser.add_argument(
        "--prefix", default="", metavar="TEXT", help="Show only mirrors whose REPOSITORY:TAG begins with TEXT"
    )
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--check", action="store_true", help="Exit with 3 if a mirror that is shown is not fresh")
    end.add_argument("--watch", action="store_true", help="Redraw every 5 seconds until Ctrl-C")
    add_stack_options(parser)
    add_rules_option(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command against the deployed stack."""
    with deployed_stack(arguments) as stack:
        return show_status(arguments, stack)


def show_status(arguments: argparse.Namespace, stack: DeployedStack) -> int:
    """Show the table once, or until Ctrl-C."""
    if arguments.watch:
        if not sys.stdout.isatty() or arguments.json or arguments.quiet:
            raise UsageError("--watch needs a terminal, and neither --json nor --quiet")
        watch(lambda: read_status(arguments, stack), Event().wait)
        return DONE
    status = read_status(arguments, stack)
    if arguments.json:
        write_document(status_document(status))
    elif arguments.quiet:
        pass
    elif sys.stdout.isatty():
        _console().print(status_table(status.mirrors, status.checked_at, status.at))
    else:
        write_text("\n".join(status_lines(status.mirrors, status.checked_at, status.at)))
    return STALE if arguments.check and not status.is_fresh else DONE


def read_status(arguments: argparse.Namespace, stack: DeployedStack) -> Status:
    """Read the records, and keep those that the options select."""
    found = _records(stack, only_unfresh=arguments.stale or (arguments.check and arguments.quiet))
    # A record that expires belongs to no rule any more.
    active = (record for record in found if record.expires_at is None)
    records = [record for record in active if str(record.key).startswith(arguments.prefix)]
    heartbeat, paused, at = stack.records.load_heartbeat(), stack.pauses.paused_rules(), now()
    rules = stack.rules(arguments.rules) if paused else None  # to find out which mirrors are paused
    rows = [row_of(record, at, max_cause=None) for record in worst_first(records)]
    shown = [row for row in rows if not (arguments.stale and row.state in ON_TIME and not row.referrers_failed)]
    mirrors = [MirrorRow(row, _is_paused(row, rules, paused)) for row in shown]
    return Status(mirrors, heartbeat.at if heartbeat is not None else None, at)


def _records(stack: DeployedStack, *, only_unfresh: bool) -> Iterator[Record]:
    """Read every record, or those that are not fresh by the index of reviews, which is complete after a full scan."""
    by_index = only_unfresh and stack.records.load_scan_state().last is not None
    found = stack.records.to_review() if by_index else stack.records.scan()
    return (record for record in found if isinstance(record, Record))


def watch(read: Callable[[], Status], wait: Callable[[float], bool]) -> None:
    """Redraw the table until `wait` returns true."""
    with Live(console=_console(), auto_refresh=False) as live:
        while True:
            status = read()
            live.update(status_table(status.mirrors, status.checked_at, status.at), refresh=True)
            if wait(WATCH_SECONDS):
                return


def status_document(status: Status) -> dict[str, Any]:
    """Describe a status as a JSON document."""
    counts = {state.value: 0 for state in State}
    for mirror in status.mirrors:
        counts[mirror.row.state.value] += 1
    return {
        "at": status.at,
        "checked_at": status.checked_at,
        "counts": counts,
        "mirrors": [_mirror_document(mirror) for mirror in status.mirrors],
    }


def _mirror_document(mirror: MirrorRow) -> dict[str, Any]:
    row = mirror.row
    return {
        "mirror": str(row.key),
        "state": row.state.value,
        "paused": mirror.paused,
        "upstream": row.upstream,
        "unfresh_since": row.unfresh_since,
        "unfresh_seconds": None if row.unfresh_for is None else row.unfresh_for.total_seconds(),
        "copied_at": row.copied_at,
        "cause": row.cause or None,
        "next_try_seconds": None if row.next_try is None else max(0.0, row.next_try.total_seconds()),
        "execution": row.execution,
        "referrers": row.referrers,
        "referrers_failed": row.referrers_failed,
    }


def _is_paused(row: Row, rules: Rules | None, paused: frozenset[str]) -> bool:
    if isinstance(row.key, RuleKey):
        return row.key.rule in paused
    if rules is None or not isinstance(row.key, MirrorKey):
        return False
    mirror = rules.find(row.key.repository, row.key.tag)
    return mirror is not None and mirror.rule in paused


def _console() -> Console:
    return Console(file=sys.stdout, highlight=False)


class _Style(NamedTuple):
    symbol: str
    color: str


# The palette of Okabe and Ito, as on the dashboard.
_STYLES: Final[Mapping[State, _Style]] = MappingProxyType(
    {
        State.BLOCKED: _Style("■", "bold #d55e00"),
        State.GONE: _Style("◆", "bold #cc79a7"),
        State.STALE: _Style("▲", "bold #e69f00"),
        State.MISSING: _Style("○", "#0072b2"),
        State.UNKNOWN: _Style("□", "#56b4e9"),
        State.HELD: _Style("◧", "#d55e00"),
        State.COOLING: _Style("◔", "#56b4e9"),
        State.DELETED: _Style("⊘", "#999999"),
        State.FRESH: _Style("●", "#009e73"),
    }
)


class StatusTable(NamedTuple):
    """Mirrors in the given order, and a summary below, as wide as what it is drawn on.

    With little room, what is wrong with a mirror has lines of its own below it. Of many mirrors, the first are drawn.
    """

    mirrors: Sequence[MirrorRow]
    checked_at: datetime | None
    at: datetime

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the table."""
        if self.mirrors:
            rows = [_cells(mirror) for mirror in self.mirrors[:_MAX_DRAWN]]
            yield _wide(rows) if options.max_width >= _WIDE else _narrow(rows, options.max_width)
        if (more := len(self.mirrors) - _MAX_DRAWN) > 0:
            yield Text(f"{more:,} more are not shown; use --stale or --prefix, or write to a file or pipe", style="dim")
        yield Text(summary_text(self.mirrors, self.checked_at, self.at), style="dim")


class _Cells(NamedTuple):
    state: Text
    mirror: str
    unfresh_for: str
    copied: str
    referrers: str
    why: str


def _cells(mirror: MirrorRow) -> _Cells:
    row = mirror.row
    unfresh_for = _NEVER if row.unfresh_for is None else span_text(row.unfresh_for)
    copied = _NEVER if row.copy_age is None else f"{span_text(row.copy_age)} ago"
    referrers = _NEVER if row.referrers is None else str(row.referrers)
    return _Cells(_state_text(row.state), str(row.key), unfresh_for, copied, referrers, _why(mirror))


def _wide(rows: Sequence[_Cells]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(_HEADINGS[0], no_wrap=True)
    table.add_column(_HEADINGS[1], overflow="fold")
    table.add_column(_HEADINGS[2], no_wrap=True, justify="right")
    table.add_column(_HEADINGS[3], no_wrap=True, justify="right")
    table.add_column(_HEADINGS[4], no_wrap=True, justify="right")
    table.add_column(_HEADINGS[5], overflow="fold")
    for state, *texts in rows:
        table.add_row(state, *map(Text, texts))
    return table


def _narrow(rows: Sequence[_Cells], width: int) -> Group:
    heads = _Cells(Text(_HEADINGS[0]), *_HEADINGS[1:5], "")
    widths = [max(cell_len(str(each[place])) for each in (heads, *rows)) for place in range(4)]
    widths[1] = min(widths[1], max(_MIN_NAME, width - sum(widths) + widths[1] - 6))  # two spaces between columns
    lines: list[RenderableType] = [_grid(heads, widths, style="bold")]
    for row in rows:
        lines.append(_grid(row, widths))
        if row.why:
            lines.append(Padding(Text(row.why, overflow="fold"), (0, 0, 0, _INDENT)))
    return Group(*lines)


def _grid(cells: _Cells, widths: Sequence[int], style: str = "") -> Table:
    line = Table.grid(padding=(0, 2, 0, 0))
    for place, width in enumerate(widths):
        line.add_column(
            width=width, justify="left" if place < 2 else "right", no_wrap=place != 1, overflow="fold", style=style
        )
    line.add_row(cells.state, *map(Text, cells[1:4]))
    return line


def status_table(mirrors: Sequence[MirrorRow], checked_at: datetime | None, at: datetime) -> StatusTable:
    """Draw mirrors in the given order, and a summary below."""
    return StatusTable(mirrors, checked_at, at)


def status_lines(mirrors: Sequence[MirrorRow], checked_at: datetime | None, at: datetime) -> list[str]:
    """Write a line for each mirror, and a summary: nothing is cut, wrapped or colored, for pipes and files.

    Columns are divided by two spaces or more, which no value has.
    """
    rows = [_cells(mirror) for mirror in mirrors]
    texts = [[str(cell) for cell in cells] for cells in rows]
    table = [list(_HEADINGS), *texts] if rows else []
    widths = [max((cell_len(line[place]) for line in table), default=0) for place in range(5)]
    lines = [
        "  ".join(
            [*(text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=False)), line[5]]
        )
        for line in table
    ]
    return [*(line.rstrip() for line in lines), summary_text(mirrors, checked_at, at)]


def summary_text(mirrors: Sequence[MirrorRow], checked_at: datetime | None, at: datetime) -> str:
    """Count mirrors by state, and say when checks were last sent."""
    counts = [(state, sum(mirror.row.state is state for mirror in mirrors)) for state in STATE_MEANINGS]
    shown = ", ".join(f"{count} {state.value}" for state, count in counts if count) or "no mirrors"
    paused = sum(mirror.paused for mirror in mirrors)
    sent = f"checks sent {span_text(at - checked_at)} ago" if checked_at is not None else "no checks sent yet"
    return f"{shown}{f' ({paused} paused)' if paused else ''}; {_referrers_text(mirrors)}{sent}, {moment_text(at)}"


def _referrers_text(mirrors: Sequence[MirrorRow]) -> str:
    """Count the referrers of all mirrors, if any were looked for."""
    counts = [mirror.row.referrers for mirror in mirrors if mirror.row.referrers is not None]
    failed = sum(mirror.row.referrers_failed for mirror in mirrors)
    return f"{count_text(sum(counts), 'referrer')}{f', {failed} failed' if failed else ''}; " if counts else ""


def _state_text(state: State) -> Text:
    style = _STYLES[state]
    return Text(f"{style.symbol} {state.value}", style=style.color)


def _why(mirror: MirrorRow) -> str:
    row = mirror.row
    parts = ["paused"] if mirror.paused else []
    if row.state is not State.FRESH:  # also if it was deleted as its rule says
        parts.append(row.cause.rstrip(".") or row.means)
    if row.referrers_failed:
        parts.append(f"{count_text(row.referrers_failed, 'referrer')} failed")
    if row.next_try is not None:
        parts.append(f"next retry in {span_text(row.next_try)}")
    return "; ".join(parts)
