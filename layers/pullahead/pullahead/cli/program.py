"""The `pullahead` program: signals, unexpected exceptions and the exit code of its process.

Imports the commands only when signals are handled: Ctrl-C at the very start ends the program in one line, too.
"""

import gc
import io
import os
import signal
import sys
from types import FrameType, TracebackType

_COLLECT_AFTER = 50_000  # objects more than were freed: looking for cycles more often takes longer than it is worth
_SHOW_CURSOR = b"\x1b[?25h"  # progress bars hide it


def run() -> int:
    """Run the command line of this process and end it; return its exit code only if not all output could be written."""
    gc.disable()  # until all is imported: nothing of it is garbage, and to find that out once takes 15 ms
    end_at_once_on_signals()
    report_defects()
    accept_any_text()
    from pullahead.cli.main import parse_arguments, run_command  # noqa: PLC0415 - takes most of the start

    parsed = parse_arguments(sys.argv[1:])
    gc.freeze()  # what is imported stays
    gc.set_threshold(_COLLECT_AFTER)
    gc.enable()
    return end_at_once(run_command(parsed))


def end_at_once(code: int) -> int:
    """End the process with its output written, without taking its modules and connections apart.

    That would take as long as checking a hundred tags, or until a connection that hangs is given up. Where output
    cannot be written the code is returned, and Python says so at its own end.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return code
    os._exit(code)


def end_at_once_on_signals() -> None:
    """On Ctrl-C or SIGTERM write one line and exit, without waiting for connections that may hang.

    That is safe at any moment: a tag is moved by one request, after everything below it is at the target.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell sets it for a job in its background
            signal.signal(number, _end_at_once)


def report_defects() -> None:
    """Write one line for an unexpected exception; its text is left out, since it may hold a URL or a secret."""
    sys.excepthook = _report_defect


def accept_any_text() -> None:
    """Write characters that stdout's encoding lacks as escapes, as stderr does, instead of failing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _end_at_once(number: int, _frame: FrameType | None) -> None:
    # Not through sys.stderr, which the interrupted code may be writing to.
    cursor = _SHOW_CURSOR + b"\r\n" if os.isatty(2) else b""
    output = sys.modules.get("pullahead.cli.output")
    note = getattr(output, "interruption_note", str)()  # it may be half imported
    what = f"{'interrupted' if number == signal.SIGINT else 'terminated'}{note}"
    os.write(2, cursor + f"pullahead: {what}\n".encode(errors="replace"))
    os._exit(128 + number)


def _report_defect(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    if os.environ.get("PULLAHEAD_TRACEBACK") == "1":
        sys.__excepthook__(kind, error, at)
        return
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = f" at {os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno}" if at is not None else ""  # noqa: PTH119
    line = f"unexpected {kind.__name__}{where}; please report this bug with the output of PULLAHEAD_TRACEBACK=1"
    from pullahead.cli.output import say, write_failure  # noqa: PLC0415 - as above

    say(line)
    if "--json" in sys.argv:
        write_failure(kind.__name__, line)
