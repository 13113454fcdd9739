"""What can fail, on which side, and whether another try may help. Knows nothing of HTTP libraries or AWS clients.

The names of the retryable leaves are the vocabulary of the state machine: Step Functions matches `ErrorEquals`
against the exact class name of an exception and never against its bases, so a leaf is never renamed lightly.
"""

from enum import StrEnum
from typing import ClassVar


class Side(StrEnum):
    """The end of a copy at which something failed."""

    UPSTREAM = "upstream"
    TARGET = "target"
    SERVICE = "service"  # Pullahead's own storage and queues


class PullaheadError(Exception):
    """The base of everything that Pullahead raises on purpose."""

    retryable: ClassVar[bool] = False


class ConfigError(PullaheadError):
    """The rules or the settings are wrong; a human must mend them."""


class InvalidEventError(PullaheadError):
    """A function was called with something that it does not understand."""


class RegistryError(PullaheadError):
    """An operation against a registry failed.

    The message is one line: operation, side, reference, cause, and where it helps what to do. It never holds a
    credential or a URL's query.
    """

    def __init__(
        self, cause: str, *, operation: str, side: Side, reference: str, status: int | None = None, advice: str = ""
    ) -> None:
        self.cause, self.operation, self.side, self.reference = cause, operation, side, reference
        self.status, self.advice = status, advice
        super().__init__(self.describe(side))

    def describe(self, side: str) -> str:
        """Write the message with another name for the side, such as "source" in a command that copies."""
        answered = f" (HTTP {self.status})" if self.status is not None else ""
        hint = f" {self.advice}" if self.advice else ""
        return f"{self.operation} of {self.reference} at the {side} failed: {self.cause}{answered}.{hint}"


class RateLimitedError(RegistryError):
    """The registry asks us to slow down."""

    retryable: ClassVar[bool] = True

    def __init__(
        self,
        cause: str,
        *,
        operation: str,
        side: Side,
        reference: str,
        status: int | None = None,
        advice: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(cause, operation=operation, side=side, reference=reference, status=status, advice=advice)
        self.retry_after_seconds = retry_after_seconds


class DeferredError(RateLimitedError):
    """A limit that we keep lets a request not go out, for longer than a refresh's own tries last.

    No failure: the refresh ends, and a later check starts another one.
    """

    retryable: ClassVar[bool] = False


class RegistryUnavailableError(RegistryError):
    """The registry, or the way to it, is broken for now."""

    retryable: ClassVar[bool] = True


class RegistryTimeoutError(RegistryError):
    """The registry did not answer in time."""

    retryable: ClassVar[bool] = True


class UploadLostError(RegistryError):
    """The target no longer knows an upload that was begun; the blob starts anew."""

    retryable: ClassVar[bool] = True


class NotFoundError(RegistryError):
    """The registry answers that there is no such thing."""


class AccessDeniedError(RegistryError):
    """The registry refuses us: credentials are missing, wrong or too weak."""


class DigestMismatchError(RegistryError):
    """The bytes are not what their digest or size promised."""


class RangeIgnoredError(RegistryError):
    """A ranged read was answered from the beginning."""


class TagImmutableError(RegistryError):
    """The target's tag may not be moved."""


class UnsupportedMediaTypeError(RegistryError):
    """A manifest of a kind that cannot be copied."""


class ManifestRefusedError(RegistryError):
    """The target refuses a manifest for good."""


class MissingContentError(RegistryError):
    """The target refuses a manifest because something that it names is not there (any more).

    Putting it again does not help; the next refresh plans anew and copies what is missing.
    """


class ListingRefusedError(RegistryError):
    """The registry does not list what it has; it must be named."""


class ResponseTooLargeError(RegistryError):
    """A registry sent more than any honest answer holds."""


class ListingShrunkError(PullaheadError):
    """Upstream lists suspiciously few of the tags that a rule chooses from."""


class TransferStalledError(PullaheadError):
    """A copy went round again and again without getting any further."""


class StorageError(PullaheadError):
    """Pullahead's own table, bucket, topic or queue did not do as asked."""

    retryable: ClassVar[bool] = True


class ConflictError(PullaheadError):
    """Somebody else changed what was just read or written; looking again resolves it."""
