"""Defects and signals, each in a process of its own."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

import pullahead

PATHS = {"PYTHONPATH": str(Path(pullahead.__file__).parents[1])}
DEFECT = "from pullahead.cli.program import report_defects; report_defects(); raise ValueError('https://x/?sig=s3cr3t')"
WAITING = """
import signal, threading
{before}
from pullahead.cli.program import end_at_once_on_signals
end_at_once_on_signals()
{stuck}
print("ready", flush=True)
threading.Event().wait(60)
"""
END = "from pullahead.cli.program import end_at_once"
STUCK = "threading.Thread(target=threading.Event().wait, args=(60,)).start()"  # a thread that Python would wait for


def python(
    program: str, stdout: int | IO[str] = subprocess.PIPE, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**PATHS, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )


def interrupted(number: int, before: str = "") -> tuple[int, str]:
    """Send a signal to a waiting program, and return its exit code and output."""
    program = WAITING.format(before=before, stuck=STUCK)
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=PATHS, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        try:
            return process.wait(timeout=10), process.stderr.read()
        finally:
            process.kill()


def test_defect_is_one_line_without_its_text() -> None:
    ran = python(DEFECT)
    assert ran.returncode == 1
    assert ran.stderr == (
        "pullahead: unexpected ValueError at <string>:1; "
        "please report this bug with the output of PULLAHEAD_TRACEBACK=1\n"
    )


def test_defect_is_a_document_with_json() -> None:
    ran = python(f"import sys; sys.argv.append('--json'); {DEFECT}")
    error = json.loads(ran.stdout)["error"]
    assert (error["kind"], f"pullahead: {error['message']}\n") == ("ValueError", ran.stderr)
    assert "s3cr3t" not in ran.stdout


def test_traceback_of_a_defect_is_shown_on_request() -> None:
    assert "Traceback" in python(DEFECT, PULLAHEAD_TRACEBACK="1").stderr


@pytest.mark.parametrize(
    ("number", "code", "line"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_signal_ends_the_program_at_once(number: int, code: int, line: str) -> None:
    assert interrupted(number) == (code, f"pullahead: {line}\n")


def test_signal_while_the_commands_are_imported_ends_the_program_in_one_line() -> None:
    ran = python(
        """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "pullahead.cli.output":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from pullahead.cli.program import run
run()
"""
    )
    assert (ran.returncode, ran.stderr) == (130, "pullahead: interrupted\n")


def test_ignored_signal_stays_ignored() -> None:
    code, _ = interrupted(signal.SIGINT, before="signal.signal(signal.SIGINT, signal.SIG_IGN); signal.alarm(1)")
    assert code == -signal.SIGALRM


def test_character_that_stdout_cannot_encode_is_escaped() -> None:
    program = "from pullahead.cli.program import accept_any_text; accept_any_text(); print('\\u25a0 STALE')"
    ran = python(program, PYTHONIOENCODING="ascii")
    assert (ran.returncode, ran.stdout) == (0, "\\u25a0 STALE\n")


def test_command_ends_with_its_output_and_code_though_a_thread_is_stuck() -> None:
    ran = python(f"import threading; {STUCK}; {END}; print('a line'); end_at_once(3)")
    assert (ran.returncode, ran.stdout) == (3, "a line\n")


def test_output_that_cannot_be_written_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        ran = python(f"import sys; {END}; print('a line'); sys.exit(end_at_once(0))", full)
    assert ran.returncode != 0
    assert "No space left on device" in ran.stderr
