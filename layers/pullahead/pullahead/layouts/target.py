"""Write images into OCI layouts in folders. Implements `pullahead.oci.registries.CopyTarget`.

A repository is the path of a folder, and holds one layout. Whatever happens, index.json names complete images only: a
file gets its name after its bytes are on disk and proved, and index.json is replaced last.

Files that are being written have names of their own, and a lock for as long as their process lives, so that what a
killed process left is removed by the next one.

Source: OCI image specification 1.1, image-layout.md.
"""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import IO

import msgspec

from pullahead.errors import (
    ConflictError,
    DigestMismatchError,
    ManifestRefusedError,
    MissingContentError,
    NotFoundError,
    Side,
    UploadLostError,
)
from pullahead.layouts.files import Folder
from pullahead.layouts.names import LayoutRepository, Transport
from pullahead.layouts.source import (
    INDEX_FILE,
    MAX_INDEX_BYTES,
    REF_NAME,
    VERSION_FILE,
    OciLayoutSource,
    blob_name,
    check_version,
    os_errors,
    parse_index,
)
from pullahead.oci import (
    Descriptor,
    Digest,
    RawManifest,
    Reference,
    algorithm_of,
    digest_of,
    media_types,
    parse_manifest,
)
from pullahead.oci.registries import Offered, OpenPieces, RepositorySettings, TaggedManifest, Upload
from pullahead.refresh.plan import blobs_of
from pullahead.registry.request import Inquiry

_VERSION = b'{"imageLayoutVersion": "1.0.0"}'
_UNFINISHED = ".pullahead-"
_READ_BYTES = 1024 * 1024
_PART_BYTES = 16 * 1024 * 1024
_MODE = 0o644  # as other tools write layouts; temporary files are private


class OciLayoutTarget:
    """Writes layouts, below `root`. May be used by several threads, and processes, at once."""

    def __init__(self, root: Path = Path()) -> None:
        self._root = root
        self._proved: set[Path] = set()  # tags share blobs, which are not to be read for each of them

    def published_digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        """Map the names that index.json has to digests, if their manifests are there."""
        path, inquiry = self._root / repository, _inquiry("reading tags", repository)
        with os_errors(inquiry):
            named = _named(path, inquiry)
        found = {tag: named[tag] for tag in tags if tag in named}
        return {tag: digest for tag, digest in found.items() if self._is_proved(path, digest, inquiry)}

    def present_manifests(self, repository: str, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Return the manifests before the first one that is not there, their bytes proved."""
        path, inquiry = self._root / repository, _inquiry("checking manifests", repository)
        return list(takewhile(lambda digest: self._is_proved(path, digest, inquiry), digests))

    def read_manifest(self, repository: str, tag: str) -> TaggedManifest | None:
        """Read what a name stands for."""
        named = Reference(LayoutRepository(Transport.FOLDER, str(self._root / repository)), tag)
        try:
            source = OciLayoutSource(Folder(self._root / repository), named.repository, Side.TARGET)
            manifest = source.get_manifest(named)
        except NotFoundError:
            return None
        return TaggedManifest(manifest, manifest.descriptor.digest)

    def lists_referrers(self, repository: str, digest: Digest) -> bool:  # noqa: ARG002 - the port has them
        """A layout lists none: their fallback tag is kept."""
        return False

    def ensure_repository(self, repository: str, settings: RepositorySettings | None = None) -> None:  # noqa: ARG002
        """Create a layout unless there is one, and remove what killed processes left. Settings are of registries."""
        path, inquiry = self._root / repository, _inquiry("creating the layout", repository)
        with os_errors(inquiry):
            version = path / VERSION_FILE
            if version.is_file():
                check_version(inquiry, version.read_bytes()[:_READ_BYTES])
                _remove_unfinished(path)
                return
            if path.exists() and not path.is_dir():
                advice = "Name a folder, or one that does not exist."
                raise inquiry.error(ManifestRefusedError, "it is a file, and a layout is a folder", advice=advice)
            has_others = path.is_dir() and any(not each.name.startswith(_UNFINISHED) for each in path.iterdir())
            if has_others and not version.is_file():  # which another process may have written by now
                advice = "Name another folder, or one that does not exist."
                raise inquiry.error(ManifestRefusedError, "the folder is not empty, and no OCI layout", advice=advice)
            path.mkdir(parents=True, exist_ok=True)
            _write_file(path, version, _VERSION)

    def present_blobs(self, repository: str, digests: Collection[Digest]) -> frozenset[Digest]:
        """Return the blobs that are there, their bytes proved."""
        inquiry = _inquiry("checking blobs", repository)
        self._check_layout(repository, inquiry)
        return frozenset(digest for digest in digests if self._is_proved(self._root / repository, digest, inquiry))

    def stream_blob(
        self,
        repository: str,
        blob: Descriptor,
        open_pieces: OpenPieces,
        mount_from: str | None = None,  # noqa: ARG002
    ) -> Offered:
        """Write a blob, unless it is there."""
        inquiry = _inquiry("writing the blob", f"{repository}@{blob.digest}")
        self._check_layout(repository, inquiry)
        path = self._root / repository
        if self._is_proved(path, blob.digest, inquiry):
            return Offered.PRESENT
        with _unfinished(path, inquiry) as file:
            computed = hashlib.new(algorithm_of(blob.digest))
            with open_pieces() as pieces:
                for piece in pieces:
                    computed.update(piece)
                    with os_errors(inquiry):
                        file.write(piece)
            _check_digest(blob.digest, f"{computed.name}:{computed.hexdigest()}", inquiry)
            _name(file, path / blob_name(inquiry, blob.digest), inquiry)
        return Offered.COPIED

    def begin_upload(self, repository: str) -> Upload:
        """Begin a file; it is left behind for another process to continue."""
        inquiry = _inquiry("beginning an upload", repository)
        self._check_layout(repository, inquiry)
        with (
            os_errors(inquiry),
            tempfile.NamedTemporaryFile(prefix=_UNFINISHED, dir=self._root / repository, delete=False) as file,
        ):
            return Upload(Path(file.name).name, _PART_BYTES)

    def received_bytes(self, repository: str, upload: Upload, size: int) -> int:  # noqa: ARG002 - the port has it
        """Tell the size of a file that was begun."""
        return self._find_upload(repository, upload).stat().st_size

    def upload_part(self, repository: str, upload: Upload, first_byte: int, part: bytes | memoryview) -> int:
        """Append a part if it is the next one."""
        path, inquiry = self._find_upload(repository, upload), _inquiry("writing a part", repository)
        with os_errors(inquiry), path.open("ab") as file:
            if file.tell() == first_byte:
                file.write(part)
            return file.tell()

    def complete_upload(self, repository: str, upload: Upload, blob: Descriptor) -> None:
        """Prove the digest of a file, and give it its name."""
        inquiry = _inquiry("completing an upload", f"{repository}@{blob.digest}")
        folder = self._root / repository
        try:
            path = self._find_upload(repository, upload)
        except UploadLostError:
            if self._is_proved(folder, blob.digest, inquiry):
                return
            raise
        with os_errors(inquiry), path.open("rb+") as file:
            if path.stat().st_size == 0:
                raise inquiry.error(ManifestRefusedError, "the upload is empty")
            _check_digest(blob.digest, _digest_of_file(file, algorithm_of(blob.digest)), inquiry)
            _name(file, folder / blob_name(inquiry, blob.digest), inquiry)

    def put_manifest(self, repository: str, manifest: RawManifest, tag: str | None, *, if_version: str = "") -> None:
        """Write a manifest's exact bytes, and name it in index.json if it has a tag, in place of what had that name.

        The version of a name is the digest that it stands for.
        """
        inquiry = _inquiry("writing the manifest", f"{repository}@{manifest.descriptor.digest}")
        self._check_layout(repository, inquiry)
        path, digest = self._root / repository, manifest.descriptor.digest
        _check_digest(digest, digest_of(manifest.content, algorithm_of(digest)), inquiry)
        self._check_content(path, manifest, inquiry)
        with os_errors(inquiry):
            if not self._is_proved(path, digest, inquiry):
                _write_file(path, path / blob_name(inquiry, digest), manifest.content)
            if tag is not None:
                with _locked(path):
                    if if_version and _named(path, inquiry).get(tag) != if_version:
                        raise ConflictError(f"{inquiry.reference} was not tagged {tag}: another process moved the tag")
                    _write_file(path, path / INDEX_FILE, _index_with(path, manifest.descriptor, tag, inquiry))

    @staticmethod
    def _check_content(path: Path, manifest: RawManifest, inquiry: Inquiry) -> None:
        named = parse_manifest(manifest.content, manifest.descriptor.media_type)
        wanted = (*named.children, *blobs_of({manifest.descriptor.digest: named}))
        missing = [each.digest for each in wanted if not (path / blob_name(inquiry, each.digest)).is_file()]
        if missing:
            raise inquiry.error(MissingContentError, f"the layout lacks {', '.join(missing[:3])}")

    def _is_proved(self, path: Path, digest: Digest, inquiry: Inquiry) -> bool:
        """Tell whether the blob of a digest is there, by all of its bytes."""
        name = blob_name(inquiry, digest)
        if path / name in self._proved and (path / name).is_file():
            return True
        with os_errors(inquiry):
            try:
                opened = Folder(path).open(name)
            except (FileNotFoundError, NotADirectoryError):
                return False
            with opened.content:
                is_proved = _digest_of_file(opened.content, algorithm_of(digest)) == digest
        if is_proved:
            self._proved.add(path / name)
        return is_proved

    def _check_layout(self, repository: str, inquiry: Inquiry) -> None:
        if not (self._root / repository / VERSION_FILE).is_file():
            raise inquiry.error(NotFoundError, "there is no such layout")

    def _find_upload(self, repository: str, upload: Upload) -> Path:
        inquiry = _inquiry("continuing an upload", repository)
        self._check_layout(repository, inquiry)
        path = self._root / repository / upload.id
        if not upload.id.startswith(_UNFINISHED) or Path(upload.id).name != upload.id or not path.is_file():
            raise inquiry.error(UploadLostError, "there is no such upload")
        return path


def _inquiry(operation: str, reference: str) -> Inquiry:
    return Inquiry(operation, f"oci:{reference}", side=Side.TARGET)


def _named(path: Path, inquiry: Inquiry) -> Mapping[str | None, Digest]:
    """Map the names in index.json to digests."""
    content = _read_index(path, inquiry)
    entries = [] if content is None else parse_index(inquiry, content)
    return {entry.name: entry.digest for entry in entries}


def _read_index(path: Path, inquiry: Inquiry) -> bytes | None:
    try:
        opened = Folder(path).open(INDEX_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with opened.content:
        if opened.size > MAX_INDEX_BYTES:
            raise inquiry.error(ManifestRefusedError, f"{INDEX_FILE} has more than {MAX_INDEX_BYTES} bytes")
        return opened.content.read()


def _index_with(path: Path, root: Descriptor, name: str, inquiry: Inquiry) -> bytes:
    """Write index.json with an image in place of what had its name; all other entries stay as they are."""
    content = _read_index(path, inquiry) or b'{"schemaVersion": 2, "manifests": []}'
    entries = parse_index(inquiry, content)
    fields = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    raw = msgspec.json.decode(fields.get("manifests", b"null"), type=list[msgspec.Raw] | None) or []
    kept = [each for each, entry in zip(raw, entries, strict=True) if entry.name != name]
    entry = {**msgspec.to_builtins(root), "annotations": {REF_NAME: name}}
    document = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, **fields, "manifests": [*kept, entry]}
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def _digest_of_file(file: IO[bytes], algorithm: str) -> str:
    computed = hashlib.new(algorithm)
    while piece := file.read(_READ_BYTES):
        computed.update(piece)
    return f"{computed.name}:{computed.hexdigest()}"


def _check_digest(promised: Digest, computed: str, inquiry: Inquiry) -> None:
    if computed != promised:
        raise inquiry.error(DigestMismatchError, f"the bytes have the digest {computed}")


# --- Files ------------------------------------------------------------------------------------------------------------


@contextmanager
def _unfinished(path: Path, inquiry: Inquiry) -> Iterator[IO[bytes]]:
    """Open a file without a name of its own, which is removed unless it gets one. Locked while it is open."""
    with os_errors(inquiry):
        file = tempfile.NamedTemporaryFile(prefix=_UNFINISHED, dir=path, delete=False)  # noqa: SIM115 - closed below
    try:
        with os_errors(inquiry), file:  # closing it may write what is buffered
            with contextlib.suppress(OSError):  # not every file system has locks
                fcntl.flock(file, fcntl.LOCK_SH)
            yield file
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(file.name).unlink()


def _name(file: IO[bytes], path: Path, inquiry: Inquiry) -> None:
    """Give a file that is complete its name, once its bytes are on disk."""
    with os_errors(inquiry):
        file.flush()
        os.fchmod(file.fileno(), _MODE)
        os.fsync(file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        Path(file.name).replace(path)


def _write_file(folder: Path, path: Path, content: bytes) -> None:
    """Write a whole file, or leave what is there."""
    inquiry = _inquiry("writing", str(path))
    with _unfinished(folder, inquiry) as file:
        file.write(content)
        _name(file, path, inquiry)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one thread or process at a time change a folder's index."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_unfinished(path: Path) -> None:
    """Remove the files that nobody writes any more; not empty ones, which may have been created just now."""
    for each in path.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError), each.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while somebody writes it
            if each.stat().st_size:
                each.unlink()
