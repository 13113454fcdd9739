"""Credentials for upstream registries: from Secrets Manager, or ECR's own tokens for other accounts' registries.

A secret is `{"username", "accessToken"}`, as for ECR's pull through cache rules (ECR user guide, "Storing your upstream
repository credentials in an AWS Secrets Manager secret"); `{"username", "password"}`; docker's `{"auths": {HOST: …}}`;
or `NAME:SECRET` as plain text. A token alone does not do: which name goes with it differs from registry to registry.

Credentials are cached. One that a registry refuses is looked up again at most once a minute, so that a registry which
refuses everything cannot trigger an AWS call per request; a check that a person asks for looks it up at once. No value
of a secret is ever logged or part of an error, except the name of its user.
"""

import os
from collections.abc import Callable, Hashable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import msgspec
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from pullahead.aws.assumed_roles import Clients
from pullahead.aws.errors import error_code
from pullahead.caching import Expiring, TtlCache
from pullahead.errors import AccessDeniedError, RegistryUnavailableError, Side
from pullahead.oci import Repository
from pullahead.oci.ecr_registry import parse_ecr_host
from pullahead.registry import go_json
from pullahead.registry.credentials import BYTE_ORDER_MARK, Credential, from_basic, paths_with_logins, read_logins
from pullahead.rules.model import CredentialSource, UpstreamSettings

_AGAIN_SECONDS = 60.0
_MAX_CREDENTIALS = 1_000


class CachedCredential(NamedTuple):
    """A credential, and until when it may be used."""

    credential: Credential
    use_until: float


class LookupFailedError(Exception):
    """Why there is no credential; `kind`: as which error to raise it. Quotes no secret."""

    def __init__(
        self, kind: type[AccessDeniedError] | type[RegistryUnavailableError], cause: str, advice: str = ""
    ) -> None:
        super().__init__(cause)
        self.kind, self.cause, self.advice = kind, cause, advice


class _LookUp(NamedTuple):
    result: Credential | LookupFailedError
    at: float


class CredentialCache:
    """Caches credentials by key, and failures to find one. For several threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._cache = TtlCache[Hashable, _LookUp, float](_MAX_CREDENTIALS)

    def get(self, key: Hashable, look_up: Callable[[], CachedCredential]) -> Credential:
        """Return the credential of a key, looked up if none is cached. Raises LookupFailedError."""
        now = self._clock()
        result = self._cache.get_or_load(key, now, lambda: self._look_up(look_up, now)).result
        if isinstance(result, LookupFailedError):
            raise LookupFailedError(result.kind, result.cause, result.advice)
        return result

    def forget(self, key: Hashable) -> None:
        """Drop what was found for a key, or that nothing was."""
        self._cache.discard_where(lambda each, _: each == key)

    def forget_failures(self) -> None:
        """Drop all failures."""
        self._cache.discard_where(lambda _, found: isinstance(found.result, LookupFailedError))

    def refuse(self, key: Hashable, credential: Credential) -> None:
        """Drop a credential that a registry refuses, unless it was looked up less than a minute ago."""
        now = self._clock()
        cached = self._cache.get(key, now)
        if cached is not None and cached.result == credential and now - cached.at >= _AGAIN_SECONDS:
            self._cache.discard(key, cached)

    @staticmethod
    def _look_up(look_up: Callable[[], CachedCredential], now: float) -> Expiring[_LookUp, float]:
        try:
            found = look_up()
        except LookupFailedError as failure:
            return Expiring(_LookUp(failure, now), now + _AGAIN_SECONDS)
        return Expiring(_LookUp(found.credential, now), found.use_until)


FORMATS = 'Write {"username": NAME, "accessToken": TOKEN} into it, or {"username": NAME, "password": PASSWORD}.'


class UnknownFormatError(ValueError):
    """The secret has an unknown format; the message does not quote it."""


class _Account(msgspec.Struct):
    """What people write: names in any letters, and other members of any type."""

    username: Any = None
    accesstoken: Any = None
    password: Any = None
    auths: msgspec.Raw = msgspec.Raw()

    @property
    def credential(self) -> Credential:
        """The credential. Raises UnknownFormatError."""
        username, secret = _text_in(self.username), _text_in(self.accesstoken) or _text_in(self.password)
        if not username or not secret:
            raise UnknownFormatError(f"its JSON has no {'accessToken' if username else 'username'}")
        return Credential(username, secret)


def _text_in(value: object) -> str:
    """Read a value without the end of line that an editor or `echo` has added."""
    return value.strip("\r\n") if isinstance(value, str) else ""


def read_secret(text: str, host: str) -> Credential:
    """Read the credential for a registry from a secret's text. Raises UnknownFormatError."""
    text = text.removeprefix(BYTE_ORDER_MARK)
    if text.lstrip().startswith("{"):
        return _from_json(text, host)
    username, colon, secret = text.strip().partition(":")
    if not colon or not username or not secret or len(text.split()) > 1:
        raise UnknownFormatError("it is neither JSON nor NAME:SECRET")
    return Credential(username, secret)


def _from_json(text: str, host: str) -> Credential:
    try:
        account = go_json.decode(os.fsencode(text), _Account)
    except go_json.INVALID:  # their messages may quote the secret
        raise UnknownFormatError("its JSON has an unknown format") from None
    has_no_auths = bytes(account.auths) in (b"", b"null")
    if has_no_auths or (_text_in(account.username) and b":" not in bytes(account.auths)):
        return account.credential
    return _from_docker(account.auths, host)


def _from_docker(auths: msgspec.Raw, host: str) -> Credential:
    try:
        credential = read_logins(auths, Repository(host, ""))
        paths = paths_with_logins(auths, host) if credential is None else []
        if len(paths) == 1:  # of a robot account: whoever names the secret in the rules means it
            credential = read_logins(auths, Repository(host, paths[0]))
    except ValueError as error:
        raise UnknownFormatError(f"its entry for {host} is invalid: {error}") from None
    if len(paths) > 1:
        raise UnknownFormatError(f"its `auths` have entries for several paths of {host}, and none for all")
    if credential is None:
        raise UnknownFormatError(f"its `auths` have no entry for {host}")
    if not credential.secret:
        raise UnknownFormatError(f"its entry for {host} has no password")
    return credential


_SECRET_SECONDS = 300.0
_EARLY_SECONDS = 300.0

_MAY_READ = (
    "Add its ARN to the parameter UpstreamSecrets; if it is in another account, its policy must allow access, too."
)
_SECRET_REFUSALS = {
    "ResourceNotFoundException": ("the secret does not exist", "Create it, or correct its name in the rules."),
    "AccessDeniedException": ("Pullahead is not allowed to read it", _MAY_READ),
    "DecryptionFailure": ("it cannot be decrypted", "Add its KMS key to the parameter UpstreamSecretsKeyArn."),
    "InvalidRequestException": ("it has no value, or is scheduled for deletion", "Restore it, or use another secret."),
    "InvalidParameterException": ("its name is invalid", "Correct its name in the rules."),
    "ValidationException": ("its name is invalid", "Correct its name in the rules."),
}
"""Secrets Manager API reference, GetSecretValue, "Errors"."""

_MAY_ASSUME = (
    "In the rules, set a role that may pull from this host in its `credentials`, add the role to the parameter "
    "UpstreamRoles, and let it trust Pullahead's roles."
)
_TRANSIENT = frozenset({"ThrottlingException", "TooManyRequestsException", "InternalServiceError", "ServerException"})


class UpstreamCredentials:
    """Finds the credential for a repository. Implements `pullahead.registry.credentials.Credentials`. For threads."""

    def __init__(
        self,
        settings: Callable[[str], UpstreamSettings],
        clients: Clients,
        clock: Callable[[], float],
        may_use: Callable[[Repository], bool] = lambda _repository: True,
    ) -> None:
        self._settings, self._clients, self._clock, self._may_use = settings, clients, clock, may_use
        self._cache = CredentialCache(clock)

    def __call__(self, repository: Repository) -> Credential | None:
        """Find the credential of the first matching entry. Raises AccessDeniedError, RegistryUnavailableError."""
        source = self._source_of(repository)
        if source is None:
            return None
        host = repository.registry
        try:
            return self._cache.get((host, source.secret, source.role), lambda: self._look_up(host, source))
        except LookupFailedError as failure:
            raise failure.kind(
                failure.cause,
                operation="looking up the credential",
                side=Side.UPSTREAM,
                reference=str(repository),
                advice=failure.advice,
            ) from None

    def forget(self, repository: Repository) -> None:
        """Forget the credential of a repository, or that there is none: the next use looks it up again."""
        source = self._source_of(repository)
        if source is not None:
            self._cache.forget((repository.registry, source.secret, source.role))

    def forget_failures(self) -> None:
        """Forget which credentials could not be found."""
        self._cache.forget_failures()

    def refused(self, repository: Repository, credential: Credential) -> None:
        """Drop a credential that the registry refuses, so that it is read again; at most once a minute."""
        source = self._source_of(repository)
        if source is not None:
            self._cache.refuse((repository.registry, source.secret, source.role), credential)

    def _source_of(self, repository: Repository) -> CredentialSource | None:
        if not self._may_use(repository):
            return None
        named = self._settings(repository.registry).credentials
        matching = (source for source in named if fnmatchcase(repository.path, source.path))
        # Without an entry, Pullahead uses its own identity for ECR, where there is no anonymous access.
        own = CredentialSource("") if parse_ecr_host(repository.registry) is not None else None
        return next(matching, own)

    def _look_up(self, host: str, source: CredentialSource) -> CachedCredential:
        ecr = parse_ecr_host(host)
        if source.secret:
            return self._read_secret(host, source.secret, source.role)
        if ecr is None:
            raise LookupFailedError(
                AccessDeniedError, f"the rules name no secret for {host}; a role alone works for ECR only"
            )
        return self._request_token(host, ecr.region, source.role)

    def _read_secret(self, host: str, secret: str, role: str | None) -> CachedCredential:
        now = self._clock()
        try:
            answer = self._clients.of("secretsmanager", _region_of(secret), role).get_secret_value(SecretId=secret)
            credential = read_secret(_text_of(answer), host).found_in(f"the secret {secret}")
        except UnknownFormatError as error:
            raise LookupFailedError(AccessDeniedError, f"the secret {secret} for {host}: {error}", FORMATS) from None
        except (ClientError, BotoCoreError) as error:
            raise _secret_failure(error, f"the secret {secret} for {host}", role) from None
        return CachedCredential(credential, now + _SECRET_SECONDS)

    def _request_token(self, host: str, region: str, role: str | None) -> CachedCredential:
        try:
            answer = self._clients.of("ecr", region, role).get_authorization_token()["authorizationData"][0]
        except (ClientError, BotoCoreError) as error:
            raise _token_failure(error, host, role) from None
        return CachedCredential(
            from_basic(answer["authorizationToken"]).found_in(f"ECR's token for {role or 'Pullahead itself'}"),
            answer["expiresAt"].timestamp() - _EARLY_SECONDS,
        )


def _region_of(secret: str) -> str | None:
    """Read the Region of an ARN; None for a name, which is in the stack's own Region."""
    parts = secret.split(":")
    return parts[3] if len(parts) > 6 and parts[0] == "arn" and parts[3] else None


def _text_of(answer: Any) -> str:
    text: str | None = answer.get("SecretString")
    try:
        return text if text is not None else bytes(answer.get("SecretBinary", b"")).decode()
    except UnicodeDecodeError:
        raise UnknownFormatError("it is not text") from None


def _secret_failure(error: ClientError | BotoCoreError, what: str, role: str | None) -> LookupFailedError:
    if common := _common_failure(error, what, role):
        return common
    code = _code_of(error)
    cause, advice = _SECRET_REFUSALS.get(code, (f"AWS answers {code}", _MAY_READ))
    return LookupFailedError(AccessDeniedError, f"{what}: {cause}", advice)


def _token_failure(error: ClientError | BotoCoreError, host: str, role: str | None) -> LookupFailedError:
    if common := _common_failure(error, f"ECR's token for {host}", role):
        return common
    cause = f"AWS refuses a token for {host} to {role or 'Pullahead itself'} ({_code_of(error)})"
    return LookupFailedError(AccessDeniedError, cause, _MAY_ASSUME)


def _common_failure(error: ClientError | BotoCoreError, what: str, role: str | None) -> LookupFailedError | None:
    if _is_transient(error):
        return LookupFailedError(RegistryUnavailableError, f"{what} is unavailable for now ({_code_of(error)})")
    if isinstance(error, ClientError) and error.operation_name == "AssumeRole":
        cause = f"{what}: Pullahead is not allowed to assume {role} ({_code_of(error)})"
        return LookupFailedError(AccessDeniedError, cause, _MAY_ASSUME)
    return None


def _is_transient(error: ClientError | BotoCoreError) -> bool:
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        return status >= 500 or error_code(error) in _TRANSIENT
    return not isinstance(error, NoCredentialsError)


def _code_of(error: ClientError | BotoCoreError) -> str:
    return error_code(error) if isinstance(error, ClientError) else type(error).__name__
