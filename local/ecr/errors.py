"""The errors of the ECR API, by the names of the ECR API reference. Refuses to know how they are sent."""

from collections.abc import Iterable

from local.ecr.identity import ACCOUNT_ID

SERVER_FAULTS = frozenset({"ServerException", "InternalFailure", "ServiceUnavailableException"})


class EcrError(Exception):
    """An ECR exception: its code, its message and the members that its shape carries besides."""

    def __init__(self, code: str, message: str, **members: str | int) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.members = members

    @property
    def status(self) -> int:
        """Give the HTTP status of the JSON API: 500 for the service's faults, 400 for the caller's."""
        return 500 if self.code in SERVER_FAULTS else 400


class UnsupportedManifestError(EcrError):
    """A manifest that is well formed and still refused: over /v2 that is 405 UNSUPPORTED."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidParameterException", message)


def invalid_parameter(message: str) -> EcrError:
    """Refuse a request whose parameters break a rule."""
    return EcrError("InvalidParameterException", message)


def invalid_constraint(where: str, constraint: str) -> EcrError:
    """Refuse one parameter in the words ECR uses."""
    return invalid_parameter(f"Invalid parameter at '{where}' failed to satisfy constraint: '{constraint}'")


def repository_not_found(name: str, registry_id: str = ACCOUNT_ID) -> EcrError:
    """Say that a repository is not there."""
    message = f"The repository with name '{name}' does not exist in the registry with id '{registry_id}'"
    return EcrError("RepositoryNotFoundException", message)


def upload_not_found(name: str, upload_id: str) -> EcrError:
    """Say that an upload is over, was never begun, or belongs to another repository."""
    message = (
        f"The upload with id '{upload_id}' could not be found in the repository with name '{name}' "
        f"in the registry with id '{ACCOUNT_ID}'"
    )
    return EcrError("UploadNotFoundException", message)


def invalid_layer_part(name: str, upload_id: str, last_byte: int, message: str) -> EcrError:
    """Refuse a part and say from where to go on (ECR API reference, InvalidLayerPartException)."""
    return EcrError(
        "InvalidLayerPartException",
        message,
        registryId=ACCOUNT_ID,
        repositoryName=name,
        uploadId=upload_id,
        lastValidByteReceived=last_byte,
    )


def layers_not_found(name: str, digests: Iterable[str]) -> EcrError:
    """Name the layers that a repository lacks."""
    listed = ", ".join(digests)
    message = f"Layers with digests '[{listed}]' not found in the repository with name '{name}'"
    return EcrError("LayersNotFoundException", f"{message} in registry with id '{ACCOUNT_ID}'")
