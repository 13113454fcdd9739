"""`make demo` as a user runs it: its steps, its exit status and its reasons."""

import re

import pytest

from local.demo.page import PAGE
from pullahead.mirrors.record import State
from tests.e2e.processes import run_module

STEPS = (
    "1. The first check: the tag is in the rules and not in ECR",
    "2. Pull it back from ECR with a plain OCI client",
    "3. Upstream moves the tag",
    "4. Somebody overwrites the tag in ECR",
    "5. Upstream breaks, for longer than alert_after (60 minutes)",
    "6. Upstream recovers",
    "7. A pull through cache rule, and two repositories that it cached",
    "8. How long a change takes, by each trigger",
    "9. A poisoned release is held back, and a good one admitted",
    "10. One mirror for every state that there is",
)
DIGEST = "sha256:" + "0" * 64


def test_demo_prints_every_step_succeeds_and_makes_no_call_that_its_roles_deny() -> None:
    done = run_module("tests.e2e.demo_with_calls")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.strip(" ─") for line in done.stdout.splitlines()]
    assert [line for line in lines if line in STEPS] == list(STEPS)
    assert "out of time, another round follows" in done.stdout  # the large layer goes round
    assert "SNS: Pullahead: mirror/demo:1.0 cannot be checked: requests to upstream fail " in done.stdout
    assert "SNS: Pullahead: mirror/demo:1.0 is fresh again" in done.stdout
    assert "SNS: Pullahead: mirror/demo:1.0 was overwritten in ECR and restored" in done.stdout
    assert (
        len([line for line in lines if re.fullmatch(r"│ (polling|webhook|push event of ECR) +│ [0-9.]+ s +│", line)])
        == 3
    )
    assert "✓ quay/legacy:1.0 was left alone" in done.stdout
    assert "After 8 refreshes" in done.stdout
    assert "The dashboard's page of mirrors, as a file:" in done.stdout
    page = PAGE.read_text(encoding="utf-8")
    assert 'data-key="mirror/demo:1.0" data-state="FRESH"' in page
    assert set(re.findall(r'data-key="mirror/[^"]+" data-state="(\w+)"', page)) == set(State)
    assert lines[-1].startswith("All as it should be")
    assert re.fullmatch(r"\d+ roles called AWS\n", done.stderr), done.stderr


def test_deviation_is_exit_code_one_with_the_reason() -> None:
    done = run_module("local.demo", "--upstream", "127.0.0.1:9/nobody/listens:1.0")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "The demo went wrong:" in done.stdout
    assert "mirror/demo:1.0 is UNKNOWN, not FRESH" in done.stdout


@pytest.mark.parametrize(
    ("upstream", "reason"),
    [(f"docker.io/library/alpine@{DIGEST}", "a tag is needed"), ("docker.io/Upper/case:1", "argument --upstream")],
    ids=["no-tag-to-follow", "no-reference"],
)
def test_wrong_usage_is_exit_code_two_before_anything_starts(upstream: str, reason: str) -> None:
    done = run_module("local.demo", "--upstream", upstream)
    assert done.returncode == 2
    assert done.stdout == ""
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
