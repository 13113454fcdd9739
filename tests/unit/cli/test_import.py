"""`pullahead import`: a file in, rules out, and what is missing on stderr."""

import io
import sys
from pathlib import Path

import pytest

from pullahead.cli.main import main
from pullahead.rules.load import load_rules
from pullahead.rules.problems import MAX_DOCUMENT_BYTES
from tests.unit.cli.conftest import Ran

REGSYNC = """\
creds: [{registry: ghcr.io, user: robot, pass: hunter2}]
sync:
  - source: ghcr.io/a/b:v1
    target: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror/b:v1
    type: image
    backup: old
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "regsync.yml"
    path.write_text(REGSYNC)
    return path


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    code = main(["import", *arguments])
    written = capsys.readouterr()
    return Ran(code, written.out, written.err)


def test_rules_go_to_stdout_and_unconverted_settings_to_stderr(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = ran(capsys, str(file))
    assert result.code == 0
    assert [str(mirror.key) for mirror in load_rules(result.out, source="out").mirrors] == ["mirror/b:v1"]
    lines = result.err.splitlines()
    assert len(lines) == 3
    kept = "the name 'old': it is kept as TAG--previous-<12 hex digits> (keep_previous)"
    assert lines[1] == f"pullahead: not converted: sync[0].backup: {kept}"
    assert lines[2] == "pullahead: converted 1 mirror from regsync; 2 settings not converted"
    assert "hunter2" not in result.out + result.err


def test_json_has_rules_and_unconverted_settings(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = ran(capsys, str(file), "--json")
    assert result.err == ""
    assert result.document["mirrors"] == 1
    assert [left["where"] for left in result.document["left_out"]] == ["creds[0]", "sync[0].backup"]
    load_rules(result.document["rules"], source="out")


def test_targets_of_one_registry_are_chosen(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = "210987654321.dkr.ecr.us-east-1.amazonaws.com"
    file.write_text(f"{REGSYNC}  - {{source: 'ghcr.io/a/c:v1', target: '{other}/mirror/b:v1', type: image}}\n")
    assert "sync[1]: the target 210987654321" in ran(capsys, str(file)).err
    chosen = ran(capsys, str(file), "--target", other)
    assert [str(mirror.upstream) for mirror in load_rules(chosen.out, source="out").mirrors] == ["ghcr.io/a/c:v1"]
    assert "sync[0]: the target 123456789012" in chosen.err


def test_output_is_written_to_a_new_file_only(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "rules.yaml"
    assert ran(capsys, str(file), "--output", str(target), "--quiet").out == ""
    assert len(load_rules(target.read_text(), source="out").mirrors) == 1
    before = target.read_text()
    assert "already exists" in ran(capsys, str(file), "--output", str(target)).failure
    assert target.read_text() == before


def test_prefix_is_used_where_the_file_names_no_targets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "skopeo.yml"
    path.write_text("quay.io: {images: {a/b: [v1]}}")
    assert 'repository: "cache/a/b"' in ran(capsys, str(path), "--prefix", "cache").out


def test_file_without_mirrors_is_converted_with_exit_code_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "regsync.yml"
    path.write_text("sync: []\n")
    assert ran(capsys, str(path)).code == 0


def test_dash_reads_from_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.__dict__, "stdin", io.TextIOWrapper(io.BytesIO(REGSYNC.encode())))
    assert ran(capsys, "-").out.startswith("# Imported from a file of regsync by `pullahead import -`.\n")


def test_file_that_is_too_large_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "regsync.yml"
    with path.open("wb") as file:
        file.truncate(MAX_DOCUMENT_BYTES + 1)
    assert f"is larger than {MAX_DOCUMENT_BYTES:,} bytes" in ran(capsys, str(path)).failure


def test_file_that_is_not_utf8_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "regsync.yml"
    path.write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in ran(capsys, str(path)).failure


def test_file_that_is_missing_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["import", "absent.yml"])
    assert exited.value.code == 2
    assert "absent.yml" in capsys.readouterr().err
