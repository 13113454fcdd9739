"""`pullahead status`: how every mirror stands, by what is remembered of it. Asks neither upstream nor ECR."""

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Event
from typing import Any, NamedTuple

from pullahead.cli.exits import DONE, NOT_FRESH
from pullahead.cli.output import write_document
from pullahead.cli.stack import DeployedStack, now
from pullahead.cli.stack_arguments import StatusArguments
from pullahead.cli.status_table import Standing, status_table
from pullahead.dashboard.mirror_rows import Row, row_of, worst_first
from pullahead.errors import ConfigError
from pullahead.mirrors.record import SETTLED, State
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.model import Rules

WATCH_SECONDS = 5.0
_NOT_A_TERMINAL_WIDTH = 220


class Status(NamedTuple):
    """Mirrors in the order of their urgency, and what is known beside them."""

    standings: Sequence[Standing]
    checked_at: datetime | None
    at: datetime

    @property
    def is_fresh(self) -> bool:
        """Whether everything that is shown is fresh."""
        return all(standing.row.state in SETTLED for standing in self.standings)


def run_status(arguments: StatusArguments, stack: DeployedStack) -> int:
    """Show the table once, or until Ctrl-C; NOT_FRESH where something is not."""
    if arguments.watch:
        if not sys.stdout.isatty() or arguments.json or arguments.quiet:
            raise ConfigError("--watch draws on a terminal; leave it out to write once, as text or --json")
        return watch(lambda: read_status(arguments, stack), Event().wait)
    status = read_status(arguments, stack)
    if arguments.json:
        write_document(status_document(status))
    elif not arguments.quiet:
        _console().print(status_table(status.standings, status.checked_at, status.at))
    return DONE if status.is_fresh else NOT_FRESH


def read_status(arguments: StatusArguments, stack: DeployedStack) -> Status:
    """Read every record, and keep what was asked for."""
    # Those that are to be forgotten are nobody's any more.
    followed = (record for record in stack.records.scan() if record.expires_at is None)
    records = [record for record in followed if str(record.key).startswith(arguments.prefix)]
    heartbeat, paused, at = stack.records.load_heartbeat(), stack.pauses.paused_rules(), now()
    rules = stack.rules(arguments.rules) if paused else None  # only rules know whose a mirror is
    rows = [row_of(record, at) for record in worst_first(records)]
    shown = [row for row in rows if not (arguments.stale and row.state in SETTLED)]
    standings = [Standing(row, _is_paused(row, rules, paused)) for row in shown]
    return Status(standings, heartbeat.at if heartbeat is not None else None, at)


def watch(read: Callable[[], Status], wait: Callable[[float], bool]) -> int:
    """Draw again and again, until `wait` says that it is enough."""
    from rich.live import Live  # noqa: PLC0415 - not needed to write once

    with Live(console=_console(), auto_refresh=False) as live:
        while True:
            status = read()
            live.update(status_table(status.standings, status.checked_at, status.at), refresh=True)
            if wait(WATCH_SECONDS):
                return DONE if status.is_fresh else NOT_FRESH


def status_document(status: Status) -> dict[str, Any]:
    """Make what `--json` writes."""
    counts = {state.value: 0 for state in State}
    for standing in status.standings:
        counts[standing.row.state.value] += 1
    return {
        "at": status.at,
        "checked_at": status.checked_at,
        "counts": counts,
        "mirrors": [_mirror_document(standing) for standing in status.standings],
    }


def _mirror_document(standing: Standing) -> dict[str, Any]:
    row = standing.row
    return {
        "mirror": str(row.key),
        "state": row.state.value,
        "paused": standing.paused,
        "upstream": row.upstream,
        "unfresh_since": row.unfresh_since,
        "unfresh_seconds": None if row.unfresh_for is None else row.unfresh_for.total_seconds(),
        "copied_at": row.copied_at,
        "cause": row.cause or None,
        "next_try_seconds": None if row.next_try is None else max(0.0, row.next_try.total_seconds()),
        "execution": row.execution,
    }


def _is_paused(row: Row, rules: Rules | None, paused: frozenset[str]) -> bool:
    if isinstance(row.key, RuleKey):
        return row.key.rule in paused
    mirror = (
        rules.find(row.key.repository, row.key.tag) if rules is not None and isinstance(row.key, MirrorKey) else None
    )
    return mirror is not None and mirror.rule in paused


def _console() -> Any:
    from rich.console import Console  # noqa: PLC0415 - not needed for --json

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _NOT_A_TERMINAL_WIDTH, highlight=False)
