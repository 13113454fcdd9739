"""The progress of a unit, as it is stored between invocations."""

import msgspec

from pullahead.errors import PullaheadError
from pullahead.oci import Descriptor, Digest

_MAX_FAILURE_CHARACTERS = 500


class BegunUpload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An upload that another invocation can resume.

    `offset` says how far it came where it was paused as planned; None after a kill: then the target is asked.
    """

    digest: Digest
    id: str
    part_size: int
    offset: int | None = None


class UnitProgress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The blobs of a unit, and what was begun. Which blobs are done, the target says."""

    blobs: tuple[Descriptor, ...]
    uploads: tuple[BegunUpload, ...] = ()
    streamed: tuple[Digest, ...] = ()  # a stream of these was begun before
    mounts: dict[Digest, str] = msgspec.field(default_factory=dict)  # a repository of the target that has the blob
    failed: dict[Digest, str] = msgspec.field(
        default_factory=dict
    )  # of an optional unit: class and message of an error

    def upload_of(self, digest: Digest) -> BegunUpload | None:
        """Return the upload that was begun for a blob."""
        return next((upload for upload in self.uploads if upload.digest == digest), None)

    def with_upload(self, begun: BegunUpload) -> "UnitProgress":
        """Add an upload, replacing an earlier one of the same blob."""
        others = tuple(upload for upload in self.uploads if upload.digest != begun.digest)
        return msgspec.structs.replace(self, uploads=(*others, begun))

    def with_failed(self, digest: Digest, error: PullaheadError) -> "UnitProgress":
        """Add a blob that cannot be copied."""
        text = f"{type(error).__name__}: {error}"[:_MAX_FAILURE_CHARACTERS]
        return msgspec.structs.replace(self, failed={**self.failed, digest: text})

    def with_streamed(self, digest: Digest) -> "UnitProgress":
        """Add a blob whose stream was begun."""
        return msgspec.structs.replace(self, streamed=(*self.streamed, digest))

    def must_use_parts(self, digest: Digest) -> bool:
        """Return whether a blob that is still missing was begun before: it then goes by parts, which can be resumed."""
        return digest in self.streamed or self.upload_of(digest) is not None
