"""The table of `pullahead status`. A state has a word and a shape beside its colour. Pure but for rich."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pullahead.dashboard.mirror_rows import Row
from pullahead.dashboard.spans import moment_text, span_text
from pullahead.dashboard.states import APPEARANCES
from pullahead.mirrors.record import State

_NEVER: Final = "-"


class Standing(NamedTuple):
    """How a mirror stands, and whether its rule is paused."""

    row: Row
    paused: bool = False


class _Look(NamedTuple):
    symbol: str
    style: str


# Okabe and Ito's colours, as the dashboard has them.
_LOOKS: Final[Mapping[State, _Look]] = MappingProxyType(
    {
        State.BLOCKED: _Look("■", "bold #d55e00"),
        State.GONE: _Look("◆", "bold #cc79a7"),
        State.STALE: _Look("▲", "bold #e69f00"),
        State.MISSING: _Look("○", "#0072b2"),
        State.UNKNOWN: _Look("□", "#56b4e9"),
        State.DELETED: _Look("⊘", "#999999"),
        State.FRESH: _Look("●", "#009e73"),
    }
)


def status_table(standings: Sequence[Standing], checked_at: datetime | None, at: datetime) -> Group:
    """Draw mirrors in the order that they come in, and a line that sums them up."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("State", no_wrap=True)
    table.add_column("Mirror", overflow="fold")
    table.add_column("Not fresh for", no_wrap=True, justify="right")
    table.add_column("Copied", no_wrap=True, justify="right")
    table.add_column("Why", overflow="fold")
    for standing in standings:
        row = standing.row
        table.add_row(
            _state_text(row.state),
            Text(str(row.key)),
            Text(_NEVER if row.unfresh_for is None else span_text(row.unfresh_for)),
            Text(_NEVER if row.copy_age is None else f"{span_text(row.copy_age)} ago"),
            Text(_why(standing)),
        )
    summary = Text(summary_text(standings, checked_at, at), style="dim")
    return Group(table, summary) if standings else Group(summary)


def summary_text(standings: Sequence[Standing], checked_at: datetime | None, at: datetime) -> str:
    """Say how many mirrors are in which state, and when checks were last sent."""
    counts = [(state, sum(standing.row.state is state for standing in standings)) for state in APPEARANCES]
    shown = ", ".join(f"{count} {state.value}" for state, count in counts if count) or "no mirrors"
    paused = sum(standing.paused for standing in standings)
    sent = f"checks sent {span_text(at - checked_at)} ago" if checked_at is not None else "no check was sent yet"
    return f"{shown}{f' ({paused} paused)' if paused else ''}; {sent}, {moment_text(at)}"


def _state_text(state: State) -> Text:
    look = _LOOKS[state]
    return Text(f"{look.symbol} {state.value}", style=look.style)


def _why(standing: Standing) -> str:
    row = standing.row
    parts = ["paused"] if standing.paused else []
    if row.state is not State.FRESH:  # also where it is meant to be deleted
        parts.append(row.cause.rstrip(".") or APPEARANCES[row.state].means)
    if row.next_try is not None:
        parts.append(f"next try in {span_text(row.next_try)}")
    return "; ".join(parts)
