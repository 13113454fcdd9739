"""Keep bytes on disk: finished blobs by digest, unfinished uploads by id. Refuses to know what refers to them."""

import shutil
import uuid
from pathlib import Path


class BlobStore:
    """Files under one directory. What an earlier process left there belongs to a state that is gone: it is removed."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs" / "sha256"
        self._uploads = root / "uploads"
        self.clear()

    def clear(self) -> None:
        """Remove all blobs and uploads."""
        for folder in (self._blobs, self._uploads):
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)

    def blob_path(self, digest: str) -> Path:
        """Say where a blob is, or would be."""
        return self._blobs / digest.removeprefix("sha256:")

    def begin_upload(self) -> tuple[str, Path]:
        """Open an empty upload and give its id and its file."""
        upload_id = str(uuid.uuid4())
        path = self._uploads / upload_id
        path.touch()
        return upload_id, path

    def adopt(self, upload: Path, digest: str) -> None:
        """Make a finished upload the blob of that digest. Same digest, same bytes: replacing one is harmless."""
        upload.replace(self.blob_path(digest))
