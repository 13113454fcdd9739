"""What the target alone takes: the same bytes pushed by curl, which reads no upstream, hashes nothing and asks nothing.

No tool can be quicker than that on this machine, so it tells how much of a figure is the tool's and how much is not.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import requests

from bench.servers import Registry
from local.images import LocalImage, pieces_of

_AT_ONCE = 4
_FROM_BYTES = 1024 * 1024  # smaller blobs are all asking and answering, of which curl's processes do more than any tool
_LONGEST_SECONDS = 3600


class FloorFailedError(Exception):
    """curl did not push what it was given."""


class _File(NamedTuple):
    digest: str
    path: Path


BlobFiles = tuple[_File, ...]
"""The large blobs of an image, as files."""


@contextmanager
def blob_files(image: LocalImage, folder: Path) -> Iterator[BlobFiles]:
    """Write the large blobs of an image to files, for as long as they are needed; none where there is no curl."""
    if shutil.which("curl") is None:
        yield ()
        return
    with TemporaryDirectory(dir=folder) as made:
        files = []
        for number, (digest, blob) in enumerate(image.blobs.items()):
            if len(blob) >= _FROM_BYTES:
                file = _File(digest, Path(made) / str(number))
                with file.path.open("wb") as content:
                    content.writelines(pieces_of(blob))
                files.append(file)
        yield tuple(files)


def push_alone(files: BlobFiles, target: Registry) -> float:
    """Push the files, several at once, and return the seconds. Raises FloorFailedError."""
    places = [_begin(target) for _ in files]
    began = time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(_push, files, places))
    return time.monotonic() - began


def _begin(target: Registry) -> str:
    answer = requests.post(f"{target.url}/v2/floor/blobs/uploads/", timeout=30)
    answer.raise_for_status()
    return answer.headers["Location"]


def _push(file: _File, place: str) -> None:
    url = f"{place}{'&' if '?' in place else '?'}digest={file.digest}"
    command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--header", "Expect:"]
    command += ["--header", "Content-Type: application/octet-stream", "--upload-file", str(file.path), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_SECONDS, check=False)
    if done.stdout != "201":
        raise FloorFailedError(f"curl pushed {file.digest} and was answered {done.stdout or 'nothing'}")
