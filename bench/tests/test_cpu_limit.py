"""How a command is held to its share of a CPU: reckoned here, with no clock."""

import subprocess
import sys

import pytest

from bench import duty_cycle
from bench.cpu_limit import cpu_limit
from bench.duty_cycle import Allowance


def test_whoever_stays_below_the_share_is_never_stopped() -> None:
    allowance = Allowance(0.5, now=0.0)

    assert [allowance.pause(used=0.4 * second, now=float(second)) for second in range(1, 6)] == [0.0] * 5


def test_whoever_took_too_much_is_stopped_until_it_is_earned() -> None:
    allowance = Allowance(0.5, now=0.0)

    assert allowance.pause(used=0.01, now=0.01) == pytest.approx(0.01)
    assert allowance.pause(used=0.01, now=0.02) == pytest.approx(0.0)
    assert allowance.pause(used=0.02, now=0.03) == pytest.approx(0.01)


def test_waiting_earns_no_more_than_a_burst() -> None:
    allowance = Allowance(0.5, now=0.0)
    allowance.pause(used=0.0, now=100.0)

    assert allowance.pause(used=0.52, now=101.0) == pytest.approx(0.0)
    assert allowance.pause(used=1.54, now=102.0) == pytest.approx(1.04)


def test_a_limited_command_runs_and_its_exit_code_comes_through() -> None:
    with cpu_limit(0.5) as limit:
        command = [*limit.prefix, sys.executable, "-I", "-S", "-c", "import sys; print('ran'); sys.exit(3)"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout, done.returncode) == ("ran\n", 3)


def test_a_duty_cycle_hands_the_exit_code_on() -> None:
    command = [sys.executable, duty_cycle.__file__, "0.5", sys.executable, "-I", "-S", "-c", "import sys; sys.exit(3)"]

    assert subprocess.run(command, timeout=60, check=False).returncode == 3
