"""Folders for the files of one run. What a run that was killed left behind, the next one removes.

A run holds a lock on a file in its folder for as long as its process lives.
"""

import contextlib
import fcntl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

_LOCK = "in-use"


@contextlib.contextmanager
def folder_of_a_run(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """Make a folder for the time of a block, and remove folders of this prefix whose processes have ended.

    They are in the folder for temporary files, or in `parent`.
    """
    parent = parent or Path(tempfile.gettempdir())
    for found in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # another user's, or one that just goes
            _remove_abandoned(found)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        _remove(folder)


def _remove_abandoned(folder: Path) -> None:
    with (folder / _LOCK).open("r+") as lock:  # where there is none, nobody knows whether it is in use
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder without waiting: it has thousands of files, for which a busy disk takes seconds."""
    removed = folder.rename(folder.with_name(f"{folder.name}-removed"))
    silent = subprocess.DEVNULL
    subprocess.Popen(["rm", "-rf", str(removed)], stdin=silent, stdout=silent, stderr=silent, start_new_session=True)
