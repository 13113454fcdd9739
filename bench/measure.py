"""Run a command and take its figures. Knows no tool and no registry."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.results import Run

_LAUNCHER = Path(__file__).with_name("launch.py")
_LONGEST_SECONDS = 3600
_SHOWN_CHARACTERS = 300


class CommandFailedError(Exception):
    """A command did not do what it was asked."""


class Measured(NamedTuple):
    """The figures of one command, and what it printed."""

    run: Run
    output: str


def run_measured(command: Sequence[str], report: Path, environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end. Raises CommandFailedError if it ends badly or not within an hour."""
    launch = [sys.executable, "-I", "-S", str(_LAUNCHER), str(report), *command]
    try:
        done = subprocess.run(
            launch, capture_output=True, text=True, timeout=_LONGEST_SECONDS, check=False, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailedError(f"{command[0]} did not end within {_LONGEST_SECONDS} s") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-_SHOWN_CHARACTERS:].replace("\n", " ")
        raise CommandFailedError(f"{Path(command[0]).name} ended with {done.returncode}: {said}")
    wall, cpu, rss_kib, _ = report.read_text().split()
    run = Run(float(wall), float(cpu), int(rss_kib) / 1024, engine_seconds(done.stdout))
    return Measured(run, done.stdout)


class _Summary(msgspec.Struct):
    seconds: float


def engine_seconds(output: str) -> float | None:
    """Find the seconds that our own tool says it copied for; other tools say none."""
    for line in reversed(output.splitlines()):
        try:
            return msgspec.json.decode(line, type=_Summary).seconds
        except msgspec.DecodeError:
            continue
    try:
        return msgspec.json.decode(output, type=_Summary).seconds
    except msgspec.DecodeError:
        return None
