"""The errors that Pullahead raises: what failed, on which side, and whether a retry may help.

Step Functions matches `ErrorEquals` against the exact name of an exception's class, never against its bases: the names
of the retryable errors are part of the state machine.
"""

import re
from enum import StrEnum
from typing import ClassVar, Final


class Side(StrEnum):
    """The end of a copy at which something failed."""

    UPSTREAM = "upstream"
    TARGET = "target"
    SERVICE = "service"  # Pullahead's own storage and queues


class PullaheadError(Exception):
    """The base of everything that Pullahead raises on purpose."""

    retryable: ClassVar[bool] = False


class ConfigError(PullaheadError):
    """The rules or the settings are wrong; a human must fix them."""


class InvalidEventError(PullaheadError):
    """A function received an event or a message that it does not understand."""


class NewerMessageError(InvalidEventError):
    """A message has a field, a reason or a kind that this version does not know; a newer one may have sent it.

    A deployment runs two versions at once, so the message is received again later, by the newer one as a rule.
    """

    retryable: ClassVar[bool] = True


class RegistryError(PullaheadError):
    """An operation against a registry failed.

    The message is one line: operation, side, reference, cause, as whom it was asked for, how often it was tried, and
    where it helps what to do. It never holds a secret or a URL's query.

    `sent` says with which credential it was sent: its user and where it was found; "" if that is not known. `tries` is
    set by whoever repeats an operation. `code` is the registry's own error code, in capital letters; "" if it gave
    none. `by_way_of` names what failed in place of the registry, such as its token service; "" for the registry.
    """

    def __init__(
        self,
        cause: str,
        *,
        operation: str,
        side: Side,
        reference: str,
        status: int | None = None,
        advice: str = "",
        sent: str = "",
        code: str = "",
        by_way_of: str = "",
    ) -> None:
        self.cause, self.operation, self.side, self.reference = cause, operation, side, reference
        self.status, self.advice, self.sent = status, advice, sent
        self.code, self.by_way_of = code, by_way_of
        self.tries = 1
        super().__init__(cause)

    def __str__(self) -> str:
        return self.describe(self.side)

    def describe(self, side: str) -> str:
        """Write the message with another name for the side, such as "source" in a command that copies."""
        answered = f" (HTTP {self.status})" if self.status is not None else ""
        by = f"; {self.sent}" if self.sent else ""
        tried = f"; tried {self.tries} times" if self.tries > 1 else ""
        hint = f" {self.advice}" if self.advice else ""
        return f"{self.operation} of {self.reference} at the {side} failed: {self.cause}{answered}{by}{tried}.{hint}"


_SIDE_OF_MESSAGE: Final = re.compile(r" at the ([a-z]+) failed: ")


def side_of_message(message: str) -> str:
    """Read from the message of a RegistryError at which side it failed: Step Functions passes on nothing else; "" if
    it is no such message."""
    found = _SIDE_OF_MESSAGE.search(message)
    return found[1] if found else ""


class RateLimitedError(RegistryError):
    """The registry limits the rate of requests, or Pullahead does for its sake."""

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
        sent: str = "",
        code: str = "",
        by_way_of: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(
            cause,
            operation=operation,
            side=side,
            reference=reference,
            status=status,
            advice=advice,
            sent=sent,
            code=code,
            by_way_of=by_way_of,
        )
        self.retry_after_seconds = retry_after_seconds


class DeferredError(RateLimitedError):
    """A rate limit that Pullahead keeps delays a request for longer than a refresh retries.

    This is no failure: the refresh ends, and a later check starts another one.
    """

    retryable: ClassVar[bool] = False


class RegistryUnavailableError(RegistryError):
    """The registry, or the network to it, is not available for now."""

    retryable: ClassVar[bool] = True


class RegistryTimeoutError(RegistryError):
    """The registry did not answer in time."""

    retryable: ClassVar[bool] = True


class UploadLostError(RegistryError):
    """The target no longer knows an upload that was begun; the blob is uploaded again from its beginning."""

    retryable: ClassVar[bool] = True


class NotFoundError(RegistryError):
    """The registry does not have it."""


class AccessDeniedError(RegistryError):
    """The registry refuses access: credentials are missing, wrong or not sufficient."""


class SigningDeniedError(AccessDeniedError):
    """ECR's managed signing covers the repository, and the caller may not sign with its profile."""

    ADVICE: ClassVar[str] = (
        "A signing rule of ECR covers the repository, which signs as whoever pushes: allow signer:SignPayload on the "
        "rule's signing profile (for the stack: add its ARN to the parameter SigningProfiles), or take the repository "
        "out of the rule."
    )

    @staticmethod
    def is_reported_by(text: str) -> bool:
        """Tell whether AWS's words say that the permission to sign is missing."""
        return "signer:SignPayload" in text


class DigestMismatchError(RegistryError):
    """The bytes do not match their digest or size."""


class RepositoryMissingError(RegistryError):
    """The target has no such repository. The state machine has it created, and plans again."""


class RangeIgnoredError(RegistryError):
    """The registry ignored the range of a request."""


class TagImmutableError(RegistryError):
    """The target's tag may not be moved."""


class UnsupportedMediaTypeError(RegistryError):
    """A manifest of a kind that cannot be copied."""


class ImageTooLargeError(RegistryError):
    """An image, or one of its layers, is larger than its rule allows."""


class ManifestRefusedError(RegistryError):
    """The target refuses a manifest; a retry does not help."""


class MissingContentError(RegistryError):
    """The target refuses a manifest because something that it names is missing, or no longer there.

    A retry does not help; the next refresh makes a new plan and copies what is missing.
    """


class ListingRefusedError(RegistryError):
    """The registry does not list what it has; rules must name it."""


class ResponseTooLargeError(RegistryError):
    """A registry sent more than any valid response holds."""


class NoLongerWantedError(PullaheadError):
    """No rule names what a refresh copies any more. This is no failure: the refresh ends and publishes nothing."""


class NotVerifiedError(PullaheadError):
    """An image is not signed as is demanded, and is not copied."""


class ListingShrunkError(PullaheadError):
    """Upstream lists suspiciously few of the tags that a rule selects from."""


class ListingTooLongError(PullaheadError):
    """More is selected from a listing than a rule may follow, or too much that is new."""


class TransferStalledError(PullaheadError):
    """A copy was continued several times without any progress."""


class StorageError(PullaheadError):
    """A request to Pullahead's own table, bucket, topic, queue or state machine failed."""

    retryable: ClassVar[bool] = True


class NewerRecordError(StorageError):
    """A newer version of Pullahead stored a record in a form that this one does not know. It is left as it is."""

    retryable: ClassVar[bool] = False


class ConflictError(PullaheadError):
    """Another process changed what was just read; reading it again resolves that."""
