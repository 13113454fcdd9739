"""How the program ends when it does not end well: one line on stderr, and an exit code."""

import os
import signal
import sys
from types import FrameType, TracebackType

from pullahead.cli.texts import one_line

_SHOW_CURSOR = b"\x1b[?25h"  # progress bars hide it


def say(message: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"pullahead: {one_line(message)}\n")
    sys.stderr.flush()


def end_at_once_on_signals() -> None:
    """On Ctrl-C or SIGTERM say one line and end, without waiting for connections that may be stuck.

    That is safe at any moment: a tag is moved by one request, after everything below it is at the target.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell wants it of a job in its background
            signal.signal(number, _end_at_once)


def report_defects() -> None:
    """Say one line for an exception that nobody foresaw; its text is left out, since it may hold a URL or worse."""
    sys.excepthook = _report_defect


def _end_at_once(number: int, _frame: FrameType | None) -> None:
    # Not through sys.stderr, which the interrupted code may be writing to.
    cursor = _SHOW_CURSOR + b"\r\n" if os.isatty(2) else b""
    what = b"interrupted" if number == signal.SIGINT else b"terminated"
    os.write(2, cursor + b"pullahead: " + what + b"\n")
    os._exit(128 + number)


def _report_defect(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    if os.environ.get("PULLAHEAD_TRACEBACK") == "1":
        sys.__excepthook__(kind, error, at)
        return
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = f" at {os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno}" if at is not None else ""  # noqa: PTH119
    say(f"unexpected {kind.__name__}{where}; this is a defect, PULLAHEAD_TRACEBACK=1 shows more")
