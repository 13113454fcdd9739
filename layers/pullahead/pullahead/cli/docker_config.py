"""Credentials of `docker login`: config.json and credential helpers, and which of them belongs to a registry.

Source: Docker CLI reference, "docker login", "Credential stores" and "Credential helper protocol".
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pullahead.errors import ConfigError
from pullahead.oci import Repository
from pullahead.oci.reference import DOCKER_HUB
from pullahead.registry.credentials import HUB_KEY, Credential, Login, of_host

if TYPE_CHECKING:
    import subprocess

_HELPER_SECONDS = 30.0
_MAX_CONFIG_BYTES = 4 * 1024 * 1024
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NONE_STORED = "credentials not found"
_TOKEN_USER = "<token>"  # noqa: S105 - what a helper returns as the name if the secret is an identity token
_ACR_USER = "00000000-0000-0000-0000-000000000000"  # Azure accepts an identity token as the password of this user


class _Config(msgspec.Struct, rename="camel"):
    auths: dict[str, Login] | None = None
    cred_helpers: dict[str, str] | None = None
    creds_store: str | None = None


class _HelperAnswer(msgspec.Struct, rename="pascal"):
    username: str = ""
    secret: str = ""


class DockerConfig:
    """Finds credentials in a config.json, which is read when first needed."""

    def __init__(self, path: Path, environment: Mapping[str, str], *, helper_seconds: float = _HELPER_SECONDS) -> None:
        self._path, self._environment, self._helper_seconds = path, environment, helper_seconds
        self._config: _Config | None = None

    def find(self, repository: Repository) -> Credential | None:
        """Find the credential for a repository's registry. Raises ConfigError if file or helper cannot be read."""
        host = repository.registry
        config = self._config = self._config or self._load()
        helper = of_host(config.cred_helpers or {}, host) or config.creds_store
        stored = self._ask_helper(helper, host) if helper else None
        if stored is not None:
            return self._checked(host, stored.username, stored.secret, is_identity=stored.username == _TOKEN_USER)
        login = of_host(config.auths or {}, host)
        return None if login is None else self._read(host, login)

    def _load(self) -> _Config:
        try:
            content = self._path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return _Config()
        except OSError as error:
            raise ConfigError(f"{self._path} cannot be read: {error.strerror}") from error
        try:
            if len(content) > _MAX_CONFIG_BYTES:
                raise ConfigError(f"{self._path} has more than {_MAX_CONFIG_BYTES} bytes")
            return msgspec.json.decode(content, type=_Config)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # The error's text may quote a secret.
            raise ConfigError(f"{self._path} is not a valid docker configuration") from None

    def _read(self, host: str, login: Login) -> Credential | None:
        try:
            credential = login.credential()
        except ValueError as error:
            raise ConfigError(
                f"{self._path}: the login to {host} is invalid: {error}; run `docker login {host}` again"
            ) from None
        if login.identitytoken:
            username = credential.username if credential is not None else ""
            return self._checked(host, username, login.identitytoken, is_identity=True)
        return credential

    def _checked(self, host: str, username: str, secret: str, *, is_identity: bool) -> Credential:
        if is_identity and username != _ACR_USER:
            raise ConfigError(
                f"the login to {host} is an identity token, which is not supported; log in with a name and a password"
            )
        return Credential(username, secret)

    def _ask_helper(self, name: str, host: str) -> _HelperAnswer | None:
        import subprocess  # noqa: PLC0415 - only credential helpers need it

        if _HELPER_NAME.fullmatch(name) is None:
            raise ConfigError(f"{self._path} names an invalid credential helper: {name[:80]!r}")
        program = f"docker-credential-{name}"
        asked = HUB_KEY if host == DOCKER_HUB else host
        try:
            answer = subprocess.run(
                [program, "get"],
                input=asked.encode(),
                capture_output=True,
                timeout=self._helper_seconds,
                check=False,
                env=dict(self._environment),
            )
        except FileNotFoundError:
            raise ConfigError(
                f"{self._path} names {program}, which is not on PATH; install it, or remove it from the file"
            ) from None
        except OSError as error:
            raise ConfigError(f"{program} cannot be started: {error.strerror}") from error
        except subprocess.TimeoutExpired:
            raise ConfigError(f"{program} did not answer for {host} within {self._helper_seconds:g} seconds") from None
        return _read_answer(program, host, answer)


def config_path(environment: Mapping[str, str], home: Path) -> Path:
    """Where docker keeps its configuration."""
    folder = environment.get("DOCKER_CONFIG")
    return (Path(folder) if folder else home / ".docker") / "config.json"


def _read_answer(program: str, host: str, answer: "subprocess.CompletedProcess[bytes]") -> _HelperAnswer | None:
    if answer.returncode != 0:
        # By the protocol this goes to stdout; some helpers write it to stderr.
        if _NONE_STORED in (answer.stdout + answer.stderr).decode(errors="replace").lower():
            return None
        raise ConfigError(
            f"{program} failed for {host} with exit code {answer.returncode}; run `{program} get` to see why"
        )
    try:
        stored = msgspec.json.decode(answer.stdout, type=_HelperAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigError(f"{program} gave an invalid answer for {host}") from None
    return stored if stored.username or stored.secret else None
