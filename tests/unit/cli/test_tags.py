"""`pullahead tags`: what is listed, and how it fails."""

from pathlib import Path

import pytest

from local.images import make_image
from local.registry import FakeRegistry
from tests.unit.cli.conftest import Run
from tests.unit.layouts.layouts import write_layout

IMAGE = make_image(seed=1)


@pytest.fixture(autouse=True)
def pushed(registry: FakeRegistry) -> None:
    for tag in ("1.0", "2.0", "latest"):
        registry.push(IMAGE, "team/app", tag)


def test_tags_are_one_per_line_by_one_request(registry: FakeRegistry, run: Run) -> None:
    assert run("tags", f"{registry.host}/team/app") == (0, "1.0\n2.0\nlatest\n", "")
    assert len(registry.requests) == 1


def test_tags_are_sorted_by_version_the_newest_last(registry: FakeRegistry, run: Run) -> None:
    registry.fail(
        "GET", "/tags/list", 200, body=b'{"tags": ["1.10", "v2.0", "latest", "1.9", "2.0-rc1", "main-10", "main-9"]}'
    )
    out = run("tags", f"{registry.host}/team/app", "--sort", "version").out
    assert out.split() == ["latest", "main-9", "main-10", "1.9", "1.10", "2.0-rc1", "v2.0"]


def test_json_document_has_repository_and_tags(registry: FakeRegistry, run: Run) -> None:
    ran = run("tags", f"{registry.host}/team/app", "--json")
    assert ran.document == {"repository": f"{registry.host}/team/app", "tags": ["1.0", "2.0", "latest"]}


def test_quiet_writes_nothing(registry: FakeRegistry, run: Run) -> None:
    assert run("tags", f"{registry.host}/team/app", "--quiet") == (0, "", "")


def test_empty_repository_writes_nothing(registry: FakeRegistry, run: Run) -> None:
    registry.fail("GET", "/tags/list", 200, body=b'{"tags": []}')
    assert run("tags", f"{registry.host}/team/app") == (0, "", "")


def test_tags_of_a_layout_are_its_names(run: Run, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "images", {"2.0": IMAGE, "1.0": IMAGE})
    assert run("tags", f"oci:{layout}", insecure=()) == (0, "2.0\n1.0\n", "")


def test_missing_repository_fails(registry: FakeRegistry, run: Run) -> None:
    assert "HTTP 404" in run("tags", f"{registry.host}/team/other").failure
    assert "HTTP 404" in run("tags", f"{registry.host}/team/other", "--quiet").failure


def test_plain_http_is_refused_without_insecure(registry: FakeRegistry, run: Run) -> None:
    line = run("tags", f"{registry.host}/team/app", insecure=()).failure
    assert "does not speak TLS" in line
    assert f"--insecure {registry.host}" in line
    assert registry.connections == 1
    assert registry.requests == []


def test_control_characters_from_a_registry_are_removed(registry: FakeRegistry, run: Run) -> None:
    words = b'{"errors": [{"code": "DENIED", "message": "\\u001b[2J\\npullahead: all is well"}]}'
    registry.fail("GET", "/tags/list", 403, body=words)
    assert "\x1b" not in run("tags", f"{registry.host}/team/app").failure
