"""A clone whose user has edited what the documents say to edit: a later `git pull` meets no conflict, and keeps it."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from pullahead.cli.main import parse_arguments
from pullahead.settings import OWN_RULES, Settings
from tests.architecture.source import ROOT
from tests.e2e.sam_project import OWN_SAMCONFIG

TRACKED = (".gitignore", "samconfig.toml", "layers/rules/rules.yaml", "README.md")
IDENTITY = ("-c", "user.name=a maintainer", "-c", "user.email=maintainer@example.com", "-c", "commit.gpgsign=false")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *IDENTITY, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The project's repository, with one version of what users see."""
    folder = tmp_path / "published"
    for name in TRACKED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", *TRACKED)
    git(folder, "commit", "--quiet", "-m", "The first version")
    return folder


@pytest.fixture
def clone(published: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "--quiet", str(published), "clone")
    return tmp_path / "clone"


def edit_what_users_edit(clone: Path) -> dict[Path, str]:
    """Copy and edit the rules and the settings of sam, as their first lines say."""
    rules, config = clone / "layers/rules" / OWN_RULES, clone / OWN_SAMCONFIG
    shutil.copy(clone / "layers/rules/rules.yaml", rules)
    rules.write_text(rules.read_text(encoding="utf-8").replace("alpine", "nginx"), encoding="utf-8")
    shutil.copy(clone / "samconfig.toml", config)
    text = config.read_text(encoding="utf-8").replace('# "AlertEmail=', '"AlertEmail=')
    config.write_text(text, encoding="utf-8")
    assert tomllib.loads(text)["default"]["deploy"]["parameters"]["parameter_overrides"]
    return {path: path.read_text(encoding="utf-8") for path in (rules, config)}


def release(published: Path) -> None:
    """Change every line that a user might have edited in the tracked files."""
    for name in ("samconfig.toml", "layers/rules/rules.yaml"):
        path = published / name
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("".join(f"{line} # of the next version\n" for line in lines), encoding="utf-8")
    git(published, "commit", "--quiet", "--all", "-m", "The next version")


def test_pull_after_edits_has_no_conflict_and_keeps_them(published: Path, clone: Path) -> None:
    edited = edit_what_users_edit(clone)
    assert git(clone, "status", "--porcelain") == ""
    release(published)
    git(clone, "pull", "--quiet", "--ff-only")
    assert git(clone, "status", "--porcelain") == ""
    assert "next version" in (clone / "samconfig.toml").read_text(encoding="utf-8")
    assert {path: path.read_text(encoding="utf-8") for path in edited} == edited


def test_no_release_tracks_a_file_that_users_edit() -> None:
    tracked = git(ROOT, "ls-files").splitlines() if (ROOT / ".git").exists() else []
    assert not {OWN_SAMCONFIG, f"layers/rules/{OWN_RULES}"} & set(tracked)


def test_own_rules_are_used_instead_of_the_example_as_soon_as_they_exist(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clone)
    settings = Settings({"RULES_PATH": str(clone / "layers/rules/rules.yaml")})  # as the layer is mounted
    assert settings.rules_path.name == "rules.yaml"
    assert parse_arguments(["validate"]).file == "layers/rules/rules.yaml"
    edit_what_users_edit(clone)
    assert settings.rules_path.name == OWN_RULES
    for command in (["validate"], ["plan"]):
        assert parse_arguments(command).file == f"layers/rules/{OWN_RULES}"
    assert parse_arguments(["status"]).rules == f"layers/rules/{OWN_RULES}"
