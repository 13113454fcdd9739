"""The commands about a deployed stack, run against it as its operator runs them."""

import json
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import cast

import pytest

from local.ecr.faults import Call
from local.images import make_image
from pullahead.cli.main import main
from tests.polling import until
from tests.scenarios.deployment import rules_text
from tests.scenarios.scene import Scene
from tests.unit.cli.conftest import Ran, Run

FUNCTIONS = ("ScheduleChecks", "CheckFreshness", "PlanCopy", "RecordOutcome")


@pytest.fixture
def alone(scene: Scene) -> Iterator[str]:
    """Deploy rules of this scenario's mirror alone: the schedule would look at those of all scenarios else."""
    text = rules_text(scene.mirror)
    with scene.deployment.rules(text, *FUNCTIONS):
        yield text


@pytest.fixture
def run(
    scene: Scene, alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command as the operator of the stack: credentials from the environment, the rules in a file."""
    for name, value in scene.terminal(tmp_path).items():
        monkeypatch.setenv(name, value)
    rules = tmp_path / "rules.yaml"
    rules.write_text(alone)
    scene.fire_schedule()  # so that the deployed rules are known to be those of the file

    def run_command(command: str, *arguments: str) -> Ran:
        capsys.readouterr()
        by_rules = [] if command == "history" else ["--rules", str(rules)]
        code = main([command, *arguments, *by_rules])
        written = capsys.readouterr()
        return Ran(code, written.out, written.err)

    return run_command


def test_status_shows_fresh_and_stale_mirrors(scene: Scene, run: Run) -> None:
    scene.check()
    only = ("--prefix", scene.repository)
    gone = run("status", *only, "--check")
    assert (gone.code, gone.err) == (3, "")
    assert "GONE" in gone.out
    assert scene.key in gone.out
    scene.serve(make_image([1000], seed=1))
    scene.check()
    ran = run("status", *only, "--check", "--json")
    assert ran.code == 0
    (mirror,) = ran.document["mirrors"]
    assert (mirror["mirror"], mirror["state"], mirror["paused"]) == (scene.key, "FRESH", False)
    assert run("status", *only, "--stale", "--json").document["mirrors"] == []


def test_paused_rule_is_neither_checked_nor_refreshed_until_it_is_resumed(scene: Scene, run: Run) -> None:
    rule = f"{scene.mirror.host}/{scene.mirror.path}"
    scene.serve(make_image([1000], seed=1))
    scene.check()
    paused = run("pause", rule)
    assert (paused.code, paused.err) == (0, "")
    image = make_image([1000], seed=2)
    scene.serve(image)
    heads = len(scene.upstream.requests)
    scene.aws.clock.advance(60)
    scene.check()
    assert len(scene.upstream.requests) == heads
    status = run("status", "--prefix", scene.repository, "--json")
    assert [mirror["paused"] for mirror in status.document["mirrors"]] == [True]
    assert run("refresh", scene.key).code == 1
    assert run("resume", rule).code == 0
    scene.aws.clock.advance(60)
    scene.check()
    scene.serves(image)


def test_manual_refresh_is_followed_to_its_end(scene: Scene, run: Run) -> None:
    def wait_for_report(_: Call) -> None:
        until(lambda: "to copy in" in cast("StringIO", sys.stderr).getvalue(), "the command has reported the plan")

    image = make_image([1000], seed=1)
    scene.serve(image)
    scene.ecr.faults.before("PutImage", wait_for_report, times=1)
    refreshed = run("refresh", scene.key)
    assert refreshed.code == 0
    assert f"refreshed {scene.key} from " in refreshed.out
    assert "to copy in" in refreshed.err
    scene.serves(image)


def test_why_reads_the_record_and_queries_upstream_on_request_only(scene: Scene, run: Run) -> None:
    image = make_image([1000], seed=1)
    scene.serve(image)
    scene.check()
    asked = len(scene.upstream.requests)
    result = run("why", scene.key)
    assert (result.code, result.err) == (0, "")
    assert image.digest in result.out
    assert "FRESH since" in result.out
    assert len(scene.upstream.requests) == asked
    scene.serve(make_image([1000], seed=2))
    now = run("why", scene.key, "--ask", "--json").document
    assert now["asked"] is True
    assert next(step["text"] for step in now["steps"] if step["about"] == "verdict").startswith("STALE since")
    assert [request.method for request in scene.upstream.requests[asked:]] == ["HEAD"]


@pytest.mark.usefixtures("alone")
def test_functions_emit_the_metrics_of_the_dashboard(scene: Scene) -> None:
    scene.serve(make_image([1000], seed=1))
    scene.fire_schedule()
    measured = {
        name
        for run in scene.deployment.aws.invocations
        for line in run.logs.splitlines()
        if '"CloudWatchMetrics"' in line
        for directive in json.loads(line)["_aws"]["CloudWatchMetrics"]
        for name in (metric["Name"] for metric in directive["Metrics"])
    }
    assert measured >= {
        *("Heartbeat", "Mirrors", "ChecksQueued", "StaleTags", "OldestStaleSeconds", "Checks", "UpstreamRequests"),
        *("BytesCopied", "BytesSkipped", "Refreshes", "RefreshSeconds", "RefreshLagSeconds"),
    }
