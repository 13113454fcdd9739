"""Who we are to upstream registries: accounts from Secrets Manager, and ECR's own tokens for other accounts' ECR.

Decides which secret or role a repository's rule means. No value of a secret is ever logged or part of an error.

Credentials kept for a while: how long one is believed, and how often it is looked up again. Knows not where.

Nothing is looked up more than once a minute on the word of a registry: one that refuses everything would otherwise make
us ask AWS at each request.

The forms in which a secret holds the account for a registry. Pure; never lets a part of a secret through.

Forms: `{"username", "accessToken"}`, which ECR's pull through cache rules want (ECR user guide, "Storing your upstream
repository credentials in an AWS Secrets Manager secret"); `{"username", "password"}`; docker's `{"auths": {HOST: …}}`;
and `NAME:SECRET` as plain text. A token alone is none: which name goes with it differs from registry to registry.
"""

import threading
from collections.abc import Callable, Hashable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import msgspec
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from pullahead.aws.assumed_roles import Clients
from pullahead.aws.dynamodb import code_of
from pullahead.errors import AccessDeniedError, RegistryUnavailableError, Side
from pullahead.oci import Repository
from pullahead.registry.credentials import Credential, Login, find_login, from_basic
from pullahead.registry.hosts import ecr_region
from pullahead.rules.model import CredentialSource, UpstreamSettings

_AGAIN_SECONDS = 60.0


class CachedCredential(NamedTuple):
    """A credential, and the moment until which it may be used."""

    credential: Credential
    use_until: float


class LookupFailedError(Exception):
    """Why there is no credential: which of our errors that is, in words that hold no secret."""

    def __init__(
        self, kind: type[AccessDeniedError] | type[RegistryUnavailableError], cause: str, advice: str = ""
    ) -> None:
        super().__init__(cause)
        self.kind, self.cause, self.advice = kind, cause, advice


class _Entry:
    """The lock lets one thread look up while the others wait for what it finds."""

    def __init__(self) -> None:
        self.found: CachedCredential | None = None
        self.failure: LookupFailedError | None = None
        self.looked_at = float("-inf")
        self.lock = threading.Lock()


class CredentialCache:
    """Keeps credentials by key. May be used by several threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[Hashable, _Entry] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, look_up: Callable[[], CachedCredential]) -> Credential:
        """Return the credential of a key, looked up where none is known. Raises LookupFailedError, kept as well."""
        entry = self._entry(key)
        with entry.lock:
            now = self._clock()
            if entry.found is not None and now < entry.found.use_until:
                return entry.found.credential
            if entry.failure is not None and now - entry.looked_at < _AGAIN_SECONDS:
                raise LookupFailedError(entry.failure.kind, entry.failure.cause, entry.failure.advice)
            entry.found = entry.failure = None
            entry.looked_at = now
            try:
                entry.found = look_up()
            except LookupFailedError as failure:
                entry.failure = failure
                raise
            return entry.found.credential

    def refuse(self, key: Hashable, credential: Credential) -> None:
        """Forget a credential that a registry refuses, unless it was looked up only just now, or is another already."""
        entry = self._entry(key)
        with entry.lock:
            is_it = entry.found is not None and entry.found.credential == credential
            if is_it and self._clock() - entry.looked_at >= _AGAIN_SECONDS:
                entry.found = None

    def _entry(self, key: Hashable) -> _Entry:
        with self._lock:
            return self._entries.setdefault(key, _Entry())


FORMS = 'Write {"username": NAME, "accessToken": TOKEN} into it, or {"username": NAME, "password": PASSWORD}.'


class UnknownFormError(ValueError):
    """The text is no secret of a known form; the message quotes nothing of it."""


class _Account(msgspec.Struct, rename="camel"):
    username: str | None = None
    access_token: str | None = None
    password: str | None = None
    auths: dict[str, Login] | None = None


def read_secret(text: str, host: str) -> Credential:
    """Read the account for a registry out of a secret's text. Raises UnknownFormError."""
    if text.lstrip().startswith("{"):
        return _from_json(text, host)
    username, colon, secret = text.strip().partition(":")
    if not colon or not username or not secret or len(text.split()) > 1:
        raise UnknownFormError("it is neither JSON nor NAME:SECRET")
    return Credential(username, secret)


def _from_json(text: str, host: str) -> Credential:
    try:
        account = msgspec.json.decode(text, type=_Account)
    except (msgspec.DecodeError, RecursionError):  # whose message may quote it
        raise UnknownFormError("it is no JSON of a known form") from None
    if account.auths is not None:
        return _from_docker(account.auths, host)
    secret = account.access_token or account.password
    if not account.username or not secret:
        missing = "accessToken" if account.username else "username"
        raise UnknownFormError(f"its JSON holds no {missing}")
    return Credential(account.username, secret)


def _from_docker(auths: dict[str, Login], host: str) -> Credential:
    login = find_login(auths, Repository(host, ""))
    if login is None:
        raise UnknownFormError(f"its `auths` hold no login to {host}")
    try:
        credential = login.credential()
    except ValueError as error:
        raise UnknownFormError(f"its login to {host} is of no use: {error}") from None
    if credential is None or not credential.secret:
        raise UnknownFormError(f"its login to {host} holds no password")
    return credential


_SECRET_SECONDS = 300.0
_EARLY_SECONDS = 300.0

_MAY_READ = (
    "Name its ARN in the parameter UpstreamSecrets; where it is of another account, its policy must allow it, too."
)
_SECRET_REFUSALS = {
    "ResourceNotFoundException": ("there is no such secret", "Make it, or mend its name in the rules."),
    "AccessDeniedException": ("AWS does not let Pullahead read it", _MAY_READ),
    "DecryptionFailure": ("it cannot be decrypted", "Name its KMS key in the parameter UpstreamSecretsKeyArn."),
    "InvalidRequestException": ("it has no value now, or is about to be deleted", "Restore it, or name another."),
    "InvalidParameterException": ("its name is none that Secrets Manager takes", "Mend its name in the rules."),
    "ValidationException": ("its name is none that Secrets Manager takes", "Mend its name in the rules."),
}
"""Secrets Manager API reference, GetSecretValue, "Errors"."""

_MAY_ASSUME = (
    "Name a role that may pull from there in `credentials` of this host in the rules, and in the parameter "
    "UpstreamRoles, and let it trust Pullahead's roles."
)
_TRANSIENT = frozenset({"ThrottlingException", "TooManyRequestsException", "InternalServiceError", "ServerException"})


class UpstreamCredentials:
    """Finds the credential of a repository. Satisfies `registry.credentials.Credentials`; for several threads."""

    def __init__(
        self, settings: Callable[[str], UpstreamSettings], clients: Clients, clock: Callable[[], float]
    ) -> None:
        self._settings, self._clients, self._clock = settings, clients, clock
        self._kept = CredentialCache(clock)

    def __call__(self, repository: Repository) -> Credential | None:
        """Find a credential: of the first entry whose path fits. Raises AccessDeniedError, RegistryUnavailableError."""
        source = self._source_of(repository)
        if source is None:
            return None
        host = repository.registry
        try:
            return self._kept.get((host, source.secret, source.role), lambda: self._look_up(host, source))
        except LookupFailedError as failure:
            raise failure.kind(
                failure.cause,
                operation="find credential",
                side=Side.UPSTREAM,
                reference=str(repository),
                advice=failure.advice,
            ) from None

    def refused(self, repository: Repository, credential: Credential) -> None:
        """Forget a credential that the registry refuses, so that it is read again; at most once a minute."""
        source = self._source_of(repository)
        if source is not None:
            self._kept.refuse((repository.registry, source.secret, source.role), credential)

    def _source_of(self, repository: Repository) -> CredentialSource | None:
        named = self._settings(repository.registry).credentials
        fitting = (source for source in named if fnmatchcase(repository.path, source.path))
        # Without an entry ECR is asked as Pullahead itself: its registries let nobody in without a name.
        own = CredentialSource("") if ecr_region(repository.registry) is not None else None
        return next(fitting, own)

    def _look_up(self, host: str, source: CredentialSource) -> CachedCredential:
        region = ecr_region(host)
        if source.secret:
            return self._read_secret(host, source.secret, source.role)
        if region is None:
            raise LookupFailedError(
                AccessDeniedError, f"the rules name no secret for {host}, and a role alone is of use for ECR only"
            )
        return self._ask_ecr(host, region, source.role)

    def _read_secret(self, host: str, secret: str, role: str | None) -> CachedCredential:
        now = self._clock()
        try:
            answer = self._clients.of("secretsmanager", _region_of(secret), role).get_secret_value(SecretId=secret)
            credential = read_secret(_text_of(answer), host)
        except UnknownFormError as error:
            raise LookupFailedError(AccessDeniedError, f"the secret {secret} for {host}: {error}", FORMS) from None
        except (ClientError, BotoCoreError) as error:
            raise _secret_failure(error, f"the secret {secret} for {host}", role) from None
        return CachedCredential(credential, now + _SECRET_SECONDS)

    def _ask_ecr(self, host: str, region: str, role: str | None) -> CachedCredential:
        try:
            answer = self._clients.of("ecr", region, role).get_authorization_token()["authorizationData"][0]
        except (ClientError, BotoCoreError) as error:
            raise _token_failure(error, host, role) from None
        return CachedCredential(
            from_basic(answer["authorizationToken"]), answer["expiresAt"].timestamp() - _EARLY_SECONDS
        )


def _region_of(secret: str) -> str | None:
    """Read the Region out of an ARN; None where it is a name, which is one of our own Region."""
    parts = secret.split(":")
    return parts[3] if len(parts) > 6 and parts[0] == "arn" and parts[3] else None


def _text_of(answer: Any) -> str:
    text: str | None = answer.get("SecretString")
    try:
        return text if text is not None else bytes(answer.get("SecretBinary", b"")).decode()
    except UnicodeDecodeError:
        raise UnknownFormError("it is no text") from None


def _secret_failure(error: ClientError | BotoCoreError, what: str, role: str | None) -> LookupFailedError:
    if common := _common_failure(error, what, role):
        return common
    code = _code_of(error)
    cause, advice = _SECRET_REFUSALS.get(code, (f"AWS refuses it ({code})", _MAY_READ))
    return LookupFailedError(AccessDeniedError, f"{what}: {cause}", advice)


def _token_failure(error: ClientError | BotoCoreError, host: str, role: str | None) -> LookupFailedError:
    if common := _common_failure(error, f"ECR's token for {host}", role):
        return common
    cause = f"AWS gives no token for {host} to {role or 'Pullahead itself'} ({_code_of(error)})"
    return LookupFailedError(AccessDeniedError, cause, _MAY_ASSUME)


def _common_failure(error: ClientError | BotoCoreError, what: str, role: str | None) -> LookupFailedError | None:
    if _is_transient(error):
        return LookupFailedError(RegistryUnavailableError, f"{what} cannot be had for now ({_code_of(error)})")
    if isinstance(error, ClientError) and error.operation_name == "AssumeRole":
        cause = f"{what}: AWS does not let Pullahead assume {role} ({_code_of(error)})"
        return LookupFailedError(AccessDeniedError, cause, _MAY_ASSUME)
    return None


def _is_transient(error: ClientError | BotoCoreError) -> bool:
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        return status >= 500 or code_of(error) in _TRANSIENT
    return not isinstance(error, NoCredentialsError)


def _code_of(error: ClientError | BotoCoreError) -> str:
    return code_of(error) if isinstance(error, ClientError) else type(error).__name__
