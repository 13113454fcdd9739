"""Makes the directory with the packages of the Lambda runtime: awslambdaric and boto3.

It is kept in the repository's build directory, one per Python version, and made again when its requirements change.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
BUILD_DIRECTORY: Final = REPOSITORY / ".build"
REQUIREMENTS: Final = REPOSITORY / "requirements" / "lambda-runtime.txt"
_STAMP: Final = ".requirements-sha256"


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Keep other processes from making the same thing in the build directory."""
    BUILD_DIRECTORY.mkdir(exist_ok=True)
    with (BUILD_DIRECTORY / f"{name}.lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def runtime_directory() -> Path:
    """Return the directory, installed if need be.

    Raises:
        OSError: pip could not install it, with what it said.
    """
    name = f"lambda-runtime-{sys.version_info.major}.{sys.version_info.minor}"
    directory = BUILD_DIRECTORY / name
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    with exclusive(name):
        stamp = directory / _STAMP
        if not stamp.is_file() or stamp.read_text(encoding="ascii") != wanted:
            shutil.rmtree(directory, ignore_errors=True)
            _install(directory)
            stamp.write_text(wanted, encoding="ascii")
    return directory


def _install(directory: Path) -> None:
    options = ["--quiet", "--require-hashes", "--no-compile", "--target", str(directory)]
    command = [sys.executable, "-m", "pip", "install", *options, "-r", str(REQUIREMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:  # else its warnings are about the machine's pip, and concern nobody
        raise OSError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
