"""The forms in which a secret holds the account for a registry. Pure; never lets a part of a secret through.

Forms: `{"username", "accessToken"}`, which ECR's pull through cache rules want (ECR user guide, "Storing your upstream
repository credentials in an AWS Secrets Manager secret"); `{"username", "password"}`; docker's `{"auths": {HOST: …}}`;
and `NAME:SECRET` as plain text. A token alone is none: which name goes with it differs from registry to registry.
"""

import msgspec

from pullahead.registry.credentials import Credential
from pullahead.registry.docker_logins import Login, of_host

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
    login = of_host(auths, host)
    if login is None:
        raise UnknownFormError(f"its `auths` hold no login to {host}")
    try:
        credential = login.credential()
    except ValueError as error:
        raise UnknownFormError(f"its login to {host} is of no use: {error}") from None
    if credential is None or not credential.secret:
        raise UnknownFormError(f"its login to {host} holds no password")
    return credential
