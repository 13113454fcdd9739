"""What the demo shows: numbered steps, lines in plain words, a bar while bytes move, a table at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text


class Screen:
    """A console that counts steps. Off a terminal the same lines come without colour and without a moving bar."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._step = 0

    def step(self, title: str) -> None:
        """Begin a step."""
        self._step += 1
        self.console.print(Rule(f"[bold]{self._step}. {title}", align="left"))

    def say(self, text: str) -> None:
        """Say what happens."""
        self.console.print(f"   {text}", soft_wrap=True)

    def proved(self, text: str) -> None:
        """Say what was compared and found right."""
        self.console.print(f"   [green]✓[/green] {text}", soft_wrap=True)

    def show(self, title: str, text: str) -> None:
        """Show a text from the service as it came."""
        body = Text.assemble((title, "bold"), "\n\n", text)  # a title in the border is cut at the width of a terminal
        self.console.print(Panel(body, expand=False, border_style="yellow"))

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator["Bar"]:
        """Show a bar while bytes move."""
        columns = (TextColumn("   {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield Bar(progress, title, total)

    def table(self, title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """Show a table."""
        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)


class Bar:
    """One bar; it may be moved from any thread."""

    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total)

    def advance(self, count: int) -> None:
        """Move on by so many bytes."""
        self._progress.update(self._task, advance=count)

    def rename(self, title: str) -> None:
        """Change the text before the bar."""
        self._progress.update(self._task, description=title)
