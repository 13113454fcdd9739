"""Translate the errors of the ECR API.

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
    SigningDeniedError,
    TagImmutableError,
    UploadLostError,
)

MEANING: Mapping[str, tuple[type[RegistryError], str]] = {
    "RepositoryNotFoundException": (NotFoundError, "The next refresh creates it again."),
    "UploadNotFoundException": (UploadLostError, ""),
    "InvalidLayerException": (DigestMismatchError, "The bytes of the source are not those that its manifest names."),
    "LayersNotFoundException": (MissingContentError, "The next refresh copies them again."),
    "ReferencedImagesNotFoundException": (MissingContentError, "The next refresh copies them again."),
    "ImageTagAlreadyExistsException": (
        TagImmutableError,
        "Make the tag mutable in ECR (tag immutability or its exclusion filters), or remove it from the rules.",
    ),
    "ImageDigestDoesNotMatchException": (DigestMismatchError, ""),
    "InvalidParameterException": (ManifestRefusedError, ""),
    "ValidationException": (ManifestRefusedError, ""),
    "EmptyUploadException": (ManifestRefusedError, "ECR does not store empty layers."),
    "LayerPartTooSmallException": (UploadLostError, "The layer is uploaded again."),
    "LimitExceededException": (RateLimitedError, "Request a higher quota if this persists."),
    "KmsException": (AccessDeniedError, "Allow the caller to use the repository's KMS key."),
    "AccessDeniedException": (AccessDeniedError, "Allow the caller this action on the repository."),
    "UnrecognizedClientException": (AccessDeniedError, ""),
    "ExpiredTokenException": (RegistryUnavailableError, ""),
    "ThrottlingException": (RateLimitedError, ""),
    "TooManyRequestsException": (RateLimitedError, ""),
    "RequestTimeoutException": (RegistryTimeoutError, ""),
    "RequestAbortedException": (RegistryUnavailableError, ""),
    "RequestExpired": (RegistryUnavailableError, ""),
    "ServerException": (RegistryUnavailableError, ""),
}

_NOT_ABOUT_THE_REQUEST = (
    AccessDeniedError,
    NotFoundError,
    RateLimitedError,
    RegistryTimeoutError,
    RegistryUnavailableError,
)


@contextmanager
def translated(operation: str, reference: str, passed: frozenset[str] = frozenset()) -> Iterator[None]:
    """Raise what boto3 raises as errors of this package; ECR's error codes in `passed` are left to the caller."""
    try:
        yield
    except ClientError as error:
        if code_of(error) in passed:
            raise
        raise _translation(error, operation, reference) from error
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        raise RegistryTimeoutError(str(error), operation=operation, side=Side.TARGET, reference=reference) from error
    except BotoCoreError as error:
        raise RegistryUnavailableError(
            str(error), operation=operation, side=Side.TARGET, reference=reference
        ) from error


def code_of(error: ClientError) -> str:
    """Return ECR's code of an error."""
    return error.response.get("Error", {}).get("Code", "")


def is_refused_request(error: ClientError) -> bool:
    """Return whether ECR refused what was asked: a 4xx that is about neither rights, rates, time nor a repository."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind, _ = MEANING.get(code_of(error), (ManifestRefusedError, ""))
    return 400 <= status < 500 and not issubclass(kind, _NOT_ABOUT_THE_REQUEST)


def _translation(error: ClientError, operation: str, reference: str) -> RegistryError:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    message = error.response.get("Error", {}).get("Message", "")
    kind, advice = MEANING.get(code, (RegistryUnavailableError if (status or 500) >= 500 else AccessDeniedError, ""))
    if SigningDeniedError.is_reported_by(message):
        kind, advice = SigningDeniedError, SigningDeniedError.ADVICE
    return kind(
        f"{code}: {message}",
        operation=operation,
        side=Side.TARGET,
        reference=reference,
        status=status,
        advice=advice,
        code=code.upper(),
    )
