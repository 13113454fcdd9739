"""What the errors of the ECR API mean to a copy.

Source: ECR API reference, "Errors" of each action, and "Common errors"; names as in the service model.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError

from pullahead.errors import (
    AccessDeniedError,
    DigestMismatchError,
    ManifestRefusedError,
    MissingContentError,
    NotFoundError,
    RateLimitedError,
    RegistryError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    Side,
    TagImmutableError,
    UploadLostError,
)

MEANING: Mapping[str, tuple[type[RegistryError], str]] = {
    "RepositoryNotFoundException": (NotFoundError, "The next refresh creates it anew."),
    "UploadNotFoundException": (UploadLostError, ""),
    "InvalidLayerException": (DigestMismatchError, "Upstream's bytes are not what its manifest promises."),
    "LayersNotFoundException": (MissingContentError, "The next refresh copies them anew."),
    "ReferencedImagesNotFoundException": (MissingContentError, "The next refresh copies them anew."),
    "ImageTagAlreadyExistsException": (
        TagImmutableError,
        "Make the tag mutable in ECR (tag immutability or its exclusion filters), or take it out of the rules.",
    ),
    "ImageDigestDoesNotMatchException": (DigestMismatchError, ""),
    "InvalidParameterException": (ManifestRefusedError, ""),
    "ValidationException": (ManifestRefusedError, ""),
    "EmptyUploadException": (ManifestRefusedError, "ECR keeps no empty layers."),
    "LayerPartTooSmallException": (UploadLostError, "The layer starts anew."),
    "LimitExceededException": (RateLimitedError, "Ask for a higher quota if this goes on."),
    "KmsException": (AccessDeniedError, "Let the function's role use the repository's KMS key."),
    "AccessDeniedException": (AccessDeniedError, "Let the function's role do this on the repository."),
    "UnrecognizedClientException": (AccessDeniedError, ""),
    "ExpiredTokenException": (RegistryUnavailableError, ""),
    "ThrottlingException": (RateLimitedError, ""),
    "TooManyRequestsException": (RateLimitedError, ""),
    "RequestTimeoutException": (RegistryTimeoutError, ""),
    "RequestAbortedException": (RegistryUnavailableError, ""),
    "RequestExpired": (RegistryUnavailableError, ""),
    "ServerException": (RegistryUnavailableError, ""),
}


@contextmanager
def translated(operation: str, reference: str, kept: frozenset[str] = frozenset()) -> Iterator[None]:
    """Turn what boto3 raises into our errors; ECR's error codes in `kept` are let through for the caller."""
    try:
        yield
    except ClientError as error:
        if code_of(error) in kept:
            raise
        raise _translate(error, operation, reference) from error
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        raise RegistryTimeoutError(str(error), operation=operation, side=Side.TARGET, reference=reference) from error
    except BotoCoreError as error:
        raise RegistryUnavailableError(
            str(error), operation=operation, side=Side.TARGET, reference=reference
        ) from error


def code_of(error: ClientError) -> str:
    """Name the error as ECR does."""
    return error.response.get("Error", {}).get("Code", "")


def _translate(error: ClientError, operation: str, reference: str) -> RegistryError:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    message = error.response.get("Error", {}).get("Message", "")
    kind, advice = MEANING.get(code, (RegistryUnavailableError if (status or 500) >= 500 else AccessDeniedError, ""))
    return kind(
        f"{code}: {message}", operation=operation, side=Side.TARGET, reference=reference, status=status, advice=advice
    )
