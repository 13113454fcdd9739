"""The folder of a run is gone after it, also if the run was killed: then the next one removes it."""

import subprocess
import sys
from pathlib import Path

from local.folders import folder_of_a_run
from tests.polling import until

PREFIX = "run-of-a-test-"
KEEP_ONE = f"""
import sys
from local.folders import folder_of_a_run
with folder_of_a_run({PREFIX!r}) as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def another_run(tmp_path: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a run in a process of its own, and return its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", KEEP_ONE],
        env={"TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_folder_is_removed_at_the_end(tmp_path: Path) -> None:
    with folder_of_a_run(PREFIX, tmp_path) as folder:
        assert folder.parent == tmp_path
        (folder / "file").write_text("x")
    until(lambda: not any(tmp_path.iterdir()), "the folder is removed")


def test_folder_of_a_killed_run_is_removed_by_the_next_one(tmp_path: Path) -> None:
    killed, left = another_run(tmp_path)
    with killed:
        killed.kill()
    assert (left / "file").exists()
    with folder_of_a_run(PREFIX, tmp_path) as folder:
        until(lambda: list(tmp_path.iterdir()) == [folder], "the folder that was left is removed")


def test_folders_in_use_and_those_of_others_stay(tmp_path: Path) -> None:
    running, used = another_run(tmp_path)
    unknown = tmp_path / f"{PREFIX}without-a-lock"
    other = tmp_path / "other-run-1"
    for folder in (unknown, other):
        folder.mkdir()
    with running:
        with folder_of_a_run(PREFIX, tmp_path) as own:
            assert set(tmp_path.iterdir()) == {used, unknown, other, own}
        running.kill()
