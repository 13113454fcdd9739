"""Failed messages go to the dead-letter queue with their reason, invalid ones at once, and can be redriven."""

from pathlib import Path

import pytest

from local.images import make_image
from pullahead.cli.main import main
from tests.scenarios.deployment import TAG
from tests.scenarios.pulling import pulling
from tests.scenarios.scene import Scene
from tests.scenarios.test_messages import check_of, checked
from tests.unit.cli.conftest import Ran, Run

IMAGE = make_image(seed=1)
RECEIVED_AT_MOST = 5


@pytest.fixture
def run(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `pullahead dead-letters` as the operator of the stack."""
    for name, value in scene.terminal(tmp_path).items():
        monkeypatch.setenv(name, value)

    def run_command(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(["dead-letters", *arguments])
        written = capsys.readouterr()
        return Ran(code, written.out, written.err)

    return run_command


@pytest.mark.parametrize(
    "invalid",
    ["{", "null", '{"reason": "push"}', '{"reason": "schedule", "repository": "r", "tags": [], "asked_at": "now"}'],
)
def test_invalid_message_goes_to_the_dead_letter_queue_and_its_neighbour_is_checked(
    scene: Scene, run: Run, invalid: str
) -> None:
    scene.serve(IMAGE)
    good = check_of(scene, scene.repository)
    with scene.checks_held_back():
        scene.send(invalid, good, invalid)
    scene.settle()
    received = checked(scene)
    assert (received.count(good), received.count(invalid)) == (1, 2)  # none of them came back
    scene.serves(IMAGE)
    aside = run("list", "--json").document["dead_letters"]
    assert [(letter["body"], letter["reason"], letter["tries"], letter["asks"]) for letter in aside] == [
        (invalid, "InvalidEventError", 1, None)
    ] * 2
    assert all(letter["text"] for letter in aside)
    assert run("redrive", "--all", "--yes").code == 1  # it would only come back
    assert run("drop", "--all", "--yes", "--json").document["more"] == 0
    assert run("list", "--json").document["dead_letters"] == []


def test_redriven_check_succeeds_when_the_cause_is_fixed(scene: Scene, run: Run) -> None:
    scene.serve(IMAGE)
    with scene.deployment.rules("version: 2\n", "CheckFreshness"):
        scene.check()
    assert len(checked(scene)) == RECEIVED_AT_MOST
    assert scene.published() is None
    (letter,) = run("list", "--json").document["dead_letters"]
    assert (letter["reason"], letter["tries"]) == ("RulesError", RECEIVED_AT_MOST)
    assert letter["asks"] == scene.key
    assert "version" in letter["text"]
    shown = run("list")
    assert f"request  {scene.key}" in shown.out
    redriven = run("redrive", letter["id"][:8], "--yes")
    assert (redriven.code, redriven.out) == (0, "1 message redriven\n")
    scene.settle()
    scene.serves(IMAGE)
    assert run("redrive", "--all", "--yes").code == 0


def test_redriven_pull_is_fetched_when_the_cause_is_fixed(scene: Scene, run: Run) -> None:
    scene.upstream.push(IMAGE, "library/app", TAG)
    with pulling(scene) as puller:
        with scene.deployment.rules("version: 2\n", "NoticePulls"):
            puller.fails("library/app")
        (letter,) = run("list", "--json").document["dead_letters"]
        assert (letter["queue"], letter["reason"], letter["tries"]) == ("pulls", "RulesError", RECEIVED_AT_MOST)
        assert letter["asks"] == f"{puller.repository('library/app')}:{TAG}"
        assert "version" in letter["text"]
        assert run("redrive", "--all", "--yes").out == "1 message redriven\n"
        scene.settle()
        puller.has("library/app", IMAGE)
    assert run("list", "--json").document["dead_letters"] == []
