"""Figures of a command: its own, not the bench's; and a command that fails."""

import sys
from pathlib import Path

import pytest

from bench.measure import CommandFailedError, engine_seconds, run_measured

_MIB = 1024 * 1024


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_memory_of_the_bench_is_not_counted(tmp_path: Path) -> None:
    held = bytearray(200 * _MIB)
    held[::4096] = b"x" * len(held[::4096])  # every page is really there

    small = run_measured(python("pass"), tmp_path / "cost").run

    assert len(held) == 200 * _MIB
    assert small.peak_rss_mib < 60


def test_memory_and_cpu_of_the_command_are_counted(tmp_path: Path) -> None:
    code = "held = bytearray(150 << 20)\nfor i in range(0, len(held), 4096): held[i] = 1\nsum(range(2_000_000))"

    run = run_measured(python(code), tmp_path / "cost").run

    assert run.peak_rss_mib > 150
    assert 0.01 < run.cpu_seconds <= run.wall_seconds * 4


def test_cpu_of_a_child_of_the_command_is_counted(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-I', '-S', '-c', 'sum(range(6_000_000))'])"
    alone = run_measured(python("import subprocess, sys"), tmp_path / "cost").run

    assert run_measured(python(code), tmp_path / "cost").run.cpu_seconds > alone.cpu_seconds + 0.03


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match="ended with 3: no such image"):
        run_measured(python("import sys; sys.stderr.write('no such image\\n'); sys.exit(3)"), tmp_path / "cost")


@pytest.mark.parametrize(
    ("output", "seconds"),
    [
        ('{"digest": "sha256:0", "seconds": 1.25}\n', 1.25),
        ('{\n  "digest": "sha256:0",\n  "seconds": 2\n}\n', 2.0),
        ('copying\n{"seconds": 3.5}\n', 3.5),
        ("Copying blob sha256:0\n", None),
        ('{"digest": "sha256:0"}', None),
        ("", None),
    ],
)
def test_the_engines_seconds_are_found_in_what_it_printed(output: str, seconds: float | None) -> None:
    assert engine_seconds(output) == seconds
