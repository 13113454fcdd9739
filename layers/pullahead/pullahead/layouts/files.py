"""The files of a layout: in a folder, or in an uncompressed tar archive, which is not unpacked.

Decides nothing about their content. Source: OCI image specification 1.1, image-layout.md.
"""

import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from pullahead.errors import ConfigError

_MAX_MEMBERS = 20_000


class OpenFile(NamedTuple):
    """A file, open at its beginning, which ends after `size` bytes even if more can be read."""

    content: BinaryIO
    size: int


class LayoutFiles(Protocol):
    """The files of one layout. For several threads."""

    def open(self, name: str) -> OpenFile:
        """Open a file for reading; the caller closes it. Raises OSError."""
        ...


class Folder:
    """The files in a folder. Links are followed: some tools link the blobs of their layouts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, name: str) -> OpenFile:
        """Open a file; what is no regular file is not found."""
        path = self._path / name
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its other end
            raise FileNotFoundError(name)
        content = path.open("rb")
        return OpenFile(content, path.stat().st_size)


class _Member(NamedTuple):
    offset: int
    size: int


class Archive:
    """The regular files in a tar archive."""

    def __init__(self, path: Path) -> None:
        """Read the headers of an archive. Raises ConfigError, OSError."""
        self._path = path
        self._members = _read_members(path)

    def open(self, name: str) -> OpenFile:
        """Open a file."""
        if name not in self._members:
            raise FileNotFoundError(name)
        member = self._members[name]
        content = self._path.open("rb")
        content.seek(member.offset)
        return OpenFile(content, member.size)

    def has(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        return name in self._members


def _read_members(path: Path) -> Mapping[str, _Member]:
    members: dict[str, _Member] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for count, member in enumerate(archive):
                if count >= _MAX_MEMBERS:
                    raise ConfigError(f"{path} has more than {_MAX_MEMBERS} files")
                if member.isreg() and not member.issparse():
                    members[member.name.removeprefix("./")] = _Member(member.offset_data, member.size)
    except tarfile.TarError:
        raise ConfigError(f"{path} is not an uncompressed tar archive; decompress it first") from None
    return members
