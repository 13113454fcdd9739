"""Logins of docker, podman and skopeo: their files, DOCKER_AUTH_CONFIG, and credential helpers.

Decides which login fits a repository.

Sources: Docker CLI reference, "docker login", "Credential stores" and "Credential helper protocol"; GitLab
documentation, DOCKER_AUTH_CONFIG; containers-auth.json(5).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pullahead.errors import ConfigError
from pullahead.oci import Repository
from pullahead.oci.reference import DOCKER_HUB
from pullahead.registry.credentials import HUB_KEY, Credential, Login, find_login

if TYPE_CHECKING:
    import subprocess

_HELPER_SECONDS = 30.0
_MAX_CONFIG_BYTES = 4 * 1024 * 1024
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NONE_STORED = "credentials not found"
_TOKEN_USER = "<token>"  # noqa: S105 - what a helper returns as the name if the secret is an identity token
_ACR_USER = "00000000-0000-0000-0000-000000000000"  # Azure accepts an identity token as the password of this user
_TEXT_VARIABLE = "DOCKER_AUTH_CONFIG"


class _Config(msgspec.Struct, rename="camel"):
    auths: dict[str, msgspec.Raw] | None = None  # of which only the entry that fits is read
    cred_helpers: dict[str, str] | None = None
    creds_store: str | None = None


class _HelperAnswer(msgspec.Struct, rename="lower"):
    username: str = ""
    secret: str = ""


class DockerConfig:
    """Finds credentials in one configuration, which is read when first needed: a file's, or a text's."""

    def __init__(
        self,
        path: Path | str,
        environment: Mapping[str, str],
        *,
        text: str | None = None,
        helper_seconds: float = _HELPER_SECONDS,
    ) -> None:
        self._path, self._text = path, text
        self._environment, self._helper_seconds = environment, helper_seconds
        self._config: _Config | None = None

    @property
    def name(self) -> str:
        """The file, or the variable that has the text."""
        return str(self._path)

    def find(self, repository: Repository) -> Credential | None:
        """Find the credential for a repository. Raises ConfigError if a file or helper cannot be read."""
        host = repository.registry
        config = self._config = self._config or self._load()
        helper = find_login(config.cred_helpers or {}, repository) or config.creds_store
        stored = self._ask_helper(helper, host) if helper else None
        if stored is not None:
            is_identity = stored.username == _TOKEN_USER
            checked = self._checked(host, stored.username, stored.secret, is_identity=is_identity)
            return checked.found_in(f"docker-credential-{helper}")
        entries = {key: entry for key, entry in (config.auths or {}).items() if bytes(entry) != b"null"}
        entry = find_login(entries, repository)
        found = None if entry is None else self._read(host, entry)
        return None if found is None else found.found_in(str(self._path))

    def _load(self) -> _Config:
        try:
            content = Path(self._path).read_bytes() if self._text is None else self._text.encode()
        except (FileNotFoundError, NotADirectoryError):
            return _Config()
        except OSError as error:
            raise ConfigError(f"{self._path} cannot be read: {error.strerror}") from error
        if not content.strip():
            return _Config()
        try:
            if len(content) > _MAX_CONFIG_BYTES:
                raise ConfigError(f"{self._path} has more than {_MAX_CONFIG_BYTES} bytes")
            return msgspec.json.decode(content, type=_Config)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # The error's text may quote a secret.
            raise ConfigError(f"{self._path} is not a valid docker configuration") from None

    def _read(self, host: str, entry: msgspec.Raw) -> Credential | None:
        try:
            login = msgspec.json.decode(entry, type=Login)
            credential = login.credential()
        except (msgspec.DecodeError, ValueError) as error:
            cause = "it is not what docker writes" if isinstance(error, msgspec.DecodeError) else str(error)
            raise ConfigError(
                f"{self._path}: the login to {host} is invalid: {cause}; run `docker login {host}` again"
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


class DockerLogins:
    """Finds credentials in several configurations; the first that has one counts."""

    def __init__(self, configurations: Sequence[DockerConfig]) -> None:
        self.configurations = configurations

    def find(self, repository: Repository) -> Credential | None:
        """Find the credential for a repository. Raises ConfigError if a file or helper cannot be read."""
        for configuration in self.configurations:
            found = configuration.find(repository)
            if found is not None:
                return found
        return None


def docker_logins(environment: Mapping[str, str], home: Path) -> DockerLogins:
    """Take what the environment says first, then docker's file, then those of podman and skopeo."""
    text = environment.get(_TEXT_VARIABLE)
    configurations = [] if text is None else [DockerConfig(_TEXT_VARIABLE, environment, text=text)]
    paths = (config_path(environment, home), *auth_paths(environment, home))
    return DockerLogins([*configurations, *(DockerConfig(path, environment) for path in paths)])


def config_path(environment: Mapping[str, str], home: Path) -> Path:
    """Name the file where docker keeps its configuration."""
    folder = environment.get("DOCKER_CONFIG")
    return (Path(folder) if folder else home / ".docker") / "config.json"


def auth_paths(environment: Mapping[str, str], home: Path) -> Sequence[Path]:
    """Name the files where podman and skopeo keep their logins: the one that is set, else the usual ones."""
    named = environment.get("REGISTRY_AUTH_FILE")
    if named:
        return (Path(named),)
    runtime, config = environment.get("XDG_RUNTIME_DIR"), environment.get("XDG_CONFIG_HOME")
    folders = [Path(runtime)] if runtime else []
    return tuple(folder / "containers" / "auth.json" for folder in (*folders, Path(config or home / ".config")))


def _read_answer(program: str, host: str, answer: "subprocess.CompletedProcess[bytes]") -> _HelperAnswer | None:
    if answer.returncode != 0:
        # By the protocol this goes to stdout; some helpers write it to stderr.
        if _NONE_STORED in (answer.stdout + answer.stderr).decode(errors="replace").lower():
            return None
        raise ConfigError(
            f"{program} failed for {host} with exit code {answer.returncode}; run `{program} get` to see why"
        )
    try:
        # Programs in Go, which read all helpers, ignore the case of names.
        fields = msgspec.json.decode(answer.stdout, type=dict[str, object])
        stored = msgspec.convert({name.lower(): value for name, value in fields.items()}, _HelperAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigError(f"{program} gave an invalid answer for {host}") from None
    return stored if stored.username or stored.secret else None
