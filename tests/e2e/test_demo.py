"""`python -m local.demo` as a user runs it: its steps, its exit status and its reasons."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = (
    "1. The first check: the tag is in the rules and not in ECR",
    "2. Pull it back from ECR with a plain OCI client",
    "3. Upstream moves the tag",
    "4. Somebody overwrites the tag in ECR",
    "5. Upstream breaks, for longer than alert_after (60 minutes)",
    "6. Upstream recovers",
)


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end."""
    return subprocess.run(
        [sys.executable, "-m", "local.demo", *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'pullahead'}", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_demo_tells_every_step() -> None:
    done = run_demo()
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    told = [line.strip(" ─") for line in lines if "─" in line]
    assert [step for step in told if step in STEPS] == list(STEPS)
    assert "All as it should be" in lines[-1]
    assert done.stderr == ""


def test_demo_shows_alerts_and_the_large_layer_going_round() -> None:
    """What the demo promises is in its text: a reader who sees only the text can follow."""


def test_demo_fails_with_the_reason() -> None:
    nobody_listens = "127.0.0.1:9/library/nothing:1.0"
    done = run_demo("--upstream", nobody_listens)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "The demo went wrong:" in done.stdout
    assert "mirror/demo:1.0 is UNKNOWN, not FRESH" in done.stdout


@pytest.mark.parametrize(
    ("reference", "reason"),
    [("docker.io/library/alpine", "a tag is needed"), ("UPPER/case:1", "UPPER"), ("", "")],
    ids=["no-tag", "no-reference", "empty"],
)
def test_bad_use_is_refused_before_anything_starts(reference: str, reason: str) -> None:
    done = run_demo("--upstream", reference)
    assert done.returncode == 2
    assert done.stdout == ""
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
