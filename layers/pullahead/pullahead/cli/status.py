"""`pullahead status`: the state of every mirror, by its record. Queries neither upstream nor ECR.

Each state has a word and a symbol beside its color.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from threading import Event
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pullahead.cli.options import UsageError, add_output_options, describe
from pullahead.cli.output import DONE, STALE, write_document
from pullahead.cli.stack import DeployedStack, add_rules_option, add_stack_options, deployed_stack, now
from pullahead.dashboard.mirror_rows import Row, row_of, worst_first
from pullahead.dashboard.states import STATE_MEANINGS
from pullahead.mirrors.record import SETTLED, State
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.model import Rules
from pullahead.text import count_text, moment_text, span_text

WATCH_SECONDS = 5.0
_NOT_A_TERMINAL_WIDTH = 220
_NEVER: Final = "-"


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
        """Whether every mirror is fresh, or deleted as its rule says."""
        return all(mirror.row.state in SETTLED for mirror in self.mirrors)


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
    elif not arguments.quiet:
        _console().print(status_table(status.mirrors, status.checked_at, status.at))
    return STALE if arguments.check and not status.is_fresh else DONE


def read_status(arguments: argparse.Namespace, stack: DeployedStack) -> Status:
    """Read all records, and keep those that the options select."""
    # A record that expires belongs to no rule any more.
    active = (record for record in stack.records.scan() if record.expires_at is None)
    records = [record for record in active if str(record.key).startswith(arguments.prefix)]
    heartbeat, paused, at = stack.records.load_heartbeat(), stack.pauses.paused_rules(), now()
    rules = stack.rules(arguments.rules) if paused else None  # to find out which mirrors are paused
    rows = [row_of(record, at) for record in worst_first(records)]
    shown = [row for row in rows if not (arguments.stale and row.state in SETTLED and not row.referrers_failed)]
    mirrors = [MirrorRow(row, _is_paused(row, rules, paused)) for row in shown]
    return Status(mirrors, heartbeat.at if heartbeat is not None else None, at)


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
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _NOT_A_TERMINAL_WIDTH, highlight=False)


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
        State.DELETED: _Style("⊘", "#999999"),
        State.FRESH: _Style("●", "#009e73"),
    }
)


def status_table(mirrors: Sequence[MirrorRow], checked_at: datetime | None, at: datetime) -> Group:
    """Draw mirrors in the given order, and a summary below."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("State", no_wrap=True)
    table.add_column("Mirror", overflow="fold")
    table.add_column("Not fresh for", no_wrap=True, justify="right")
    table.add_column("Copied", no_wrap=True, justify="right")
    table.add_column("Referrers", no_wrap=True, justify="right")
    table.add_column("Why", overflow="fold")
    for mirror in mirrors:
        row = mirror.row
        table.add_row(
            _state_text(row.state),
            Text(str(row.key)),
            Text(_NEVER if row.unfresh_for is None else span_text(row.unfresh_for)),
            Text(_NEVER if row.copy_age is None else f"{span_text(row.copy_age)} ago"),
            Text(_NEVER if row.referrers is None else str(row.referrers)),
            Text(_why(mirror)),
        )
    summary = Text(summary_text(mirrors, checked_at, at), style="dim")
    return Group(table, summary) if mirrors else Group(summary)


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
        parts.append(row.cause.rstrip(".") or STATE_MEANINGS[row.state])
    if row.referrers_failed:
        parts.append(f"{count_text(row.referrers_failed, 'referrer')} failed")
    if row.next_try is not None:
        parts.append(f"next retry in {span_text(row.next_try)}")
    return "; ".join(parts)
