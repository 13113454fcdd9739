"""Gives each copy a home that nothing was kept in before. Knows where tools keep what they learnt, not what that is."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.authority import environment_of_tools

_FOLDERS = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG")
_NOT_ROOT = {"_CONTAINERS_ROOTLESS_UID": "1000"}
"""As root skopeo remembers blobs of earlier copies below /var/lib whatever HOME says; as anybody else, below HOME."""


@contextlib.contextmanager
def fresh_home(folder: Path) -> Iterator[Mapping[str, str]]:
    """Make a home in `folder`, yield the environment of a process that lives there, and remove it with all in it."""
    with tempfile.TemporaryDirectory(prefix="home-", dir=folder) as home:
        own = {"HOME": home} | {name: str(Path(home) / name.lower()) for name in _FOLDERS}
        for name in _FOLDERS:
            Path(own[name]).mkdir(mode=0o700)
        yield {**environment_of_tools(os.environ), **own, **_NOT_ROOT}
