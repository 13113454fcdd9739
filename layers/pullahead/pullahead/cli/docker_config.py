"""Logins of docker, podman and skopeo: their files, DOCKER_AUTH_CONFIG, and credential helpers.

Decides which login fits a repository: of each file the one that docker or podman would use, and of several files the
first that has one. What these files hold for other hosts is not looked at, so nothing there can go wrong.

Sources: Docker CLI reference, "docker login", "Credential stores" and "Credential helper protocol"; GitLab
documentation, DOCKER_AUTH_CONFIG; containers-auth.json(5).
"""

import contextlib
import os
import re
import selectors
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import msgspec

from pullahead.errors import ConfigError
from pullahead.oci import Repository
from pullahead.oci.reference import DOCKER_HUB
from pullahead.registry import go_json
from pullahead.registry.credentials import BYTE_ORDER_MARK, HUB_KEY, Credential, SecretKind, find_logins, read_logins

if TYPE_CHECKING:
    import subprocess

_HELPER_SECONDS = 30.0
_MAX_CONFIG_BYTES = 4 * 1024 * 1024
_MAX_ANSWER_BYTES = 256 * 1024  # of a helper; a token has some thousands
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NONE_STORED = "credentials not found"
_TOKEN_USER = "<token>"  # noqa: S105 - what a helper returns as the name if the secret is an identity token
_TEXT_VARIABLE = "DOCKER_AUTH_CONFIG"


class _Config(msgspec.Struct):
    auths: msgspec.Raw = msgspec.Raw(b"{}")  # of which only the entries that fit are read
    credhelpers: dict[str, Any] = {}
    credsstore: str = ""


class _HelperAnswer(msgspec.Struct):
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
        is_old: bool = False,
        helper_seconds: float = _HELPER_SECONDS,
    ) -> None:
        """Read `text` in place of the file if given; `is_old` for one that holds logins alone, as .dockercfg does."""
        self._path, self._text, self._is_old = path, text, is_old
        self._environment, self._helper_seconds = environment, helper_seconds
        self._config: _Config | None = None

    @property
    def name(self) -> str:
        """The file, or the variable that has the text."""
        return str(self._path)

    def find(self, repository: Repository) -> Credential | None:
        """Find the credential for a repository. Raises ConfigError if a file or helper cannot be read."""
        config = self._config = self._config or self._load()
        # A helper that is named "" keeps the common one away from a host.
        helper = next((each for each in find_logins(config.credhelpers, repository) if isinstance(each, str)), None)
        program = config.credsstore if helper is None else helper
        stored = self._ask_helper(program, repository.registry)
        if stored is not None:
            return stored.found_in(f"docker-credential-{program}")
        found = self._read(config.auths, repository)
        return None if found is None else found.found_in(str(self._path))

    def _load(self) -> _Config:
        try:
            content = Path(self._path).read_bytes() if self._text is None else os.fsencode(self._text)
        except (FileNotFoundError, NotADirectoryError):
            return _Config()
        except OSError as error:
            raise ConfigError(f"{self._path} cannot be read: {error.strerror}") from error
        content = content.removeprefix(BYTE_ORDER_MARK.encode())
        if not content.strip():
            return _Config()
        try:
            if len(content) > _MAX_CONFIG_BYTES:
                raise ConfigError(f"{self._path} has more than {_MAX_CONFIG_BYTES} bytes")
            return _Config(auths=msgspec.Raw(content)) if self._is_old else go_json.decode(content, _Config)
        except go_json.INVALID:
            # The error's text may quote a secret.
            raise ConfigError(
                f"{self._path} is not a valid docker configuration: it is to be a JSON object; repair or remove it"
            ) from None

    def _read(self, auths: msgspec.Raw, repository: Repository) -> Credential | None:
        try:
            return read_logins(auths, repository)
        except ValueError as error:
            host = repository.registry
            raise ConfigError(
                f"{self._path}: the login to {host} is invalid: {error}; run `docker login {host}` again"
            ) from None

    def _ask_helper(self, name: str, host: str) -> Credential | None:
        if not name:
            return None
        if _HELPER_NAME.fullmatch(name) is None:
            raise ConfigError(f"{self._path} names an invalid credential helper: {name[:80]!r}")
        program = f"docker-credential-{name}"
        # Docker keeps its login to Docker Hub under an address, podman under the name.
        for asked in (HUB_KEY, host) if host == DOCKER_HUB else (host,):
            stored = self._ask(program, host, asked)
            if stored is not None:
                return stored
        return None

    def _ask(self, program: str, host: str, asked: str) -> Credential | None:
        import subprocess  # noqa: PLC0415 - only credential helpers need it

        try:
            answer = _run(program, asked, self._environment, self._helper_seconds)
        except FileNotFoundError:
            raise ConfigError(
                f"{self._path} names {program}, which is not on PATH; install it, or remove it from the file"
            ) from None
        except OSError as error:
            raise ConfigError(f"{program} cannot be started: {error.strerror}") from error
        except subprocess.TimeoutExpired:
            raise ConfigError(f"{program} did not answer for {host} within {self._helper_seconds:g} seconds") from None
        return _read_answer(program, host, answer)


def _run(
    program: str, asked: str, environment: Mapping[str, str], seconds: float
) -> "subprocess.CompletedProcess[bytes]":
    """Run a helper, and read what it writes, up to a limit. Raises OSError, TimeoutExpired, ConfigError."""
    import subprocess  # noqa: PLC0415 - only credential helpers need it

    pipe, until = subprocess.PIPE, time.monotonic() + seconds
    with subprocess.Popen([program, "get"], stdin=pipe, stdout=pipe, stderr=pipe, env=dict(environment)) as process:
        try:
            with contextlib.suppress(BrokenPipeError), cast("IO[bytes]", process.stdin) as answers_to:
                answers_to.write(asked.encode())
            written = _read_both(program, process, until)
            code = process.wait(max(0.001, until - time.monotonic()))
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(program, code, *written)


def _read_both(program: str, process: "subprocess.Popen[bytes]", until: float) -> list[bytes]:
    """Read what a helper writes to stdout and stderr. Raises TimeoutExpired, ConfigError."""
    import subprocess  # noqa: PLC0415 - only credential helpers need it

    pipes = [cast("IO[bytes]", each) for each in (process.stdout, process.stderr)]
    written = {pipe.fileno(): bytearray() for pipe in pipes}
    with selectors.DefaultSelector() as selector:
        for number in written:
            selector.register(number, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, until - time.monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired(program, 0)
            for key, _ in ready:
                piece = os.read(key.fd, _MAX_ANSWER_BYTES)
                written[key.fd].extend(piece)
                if len(written[key.fd]) > _MAX_ANSWER_BYTES:
                    raise ConfigError(f"{program} answered with more than {_MAX_ANSWER_BYTES} bytes")
                if not piece:
                    selector.unregister(key.fd)
    return [bytes(each) for each in written.values()]


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
    """Take what the environment names first, then docker's file, then the usual ones of podman and skopeo."""
    text, named = environment.get(_TEXT_VARIABLE), environment.get("REGISTRY_AUTH_FILE")
    configurations = [] if text is None else [DockerConfig(_TEXT_VARIABLE, environment, text=text)]
    usual = () if named else auth_paths(environment, home)
    paths = (*([Path(named)] if named else []), config_path(environment, home), *usual)
    configurations += [DockerConfig(path, environment) for path in paths]
    return DockerLogins([*configurations, DockerConfig(home / ".dockercfg", environment, is_old=True)])


def config_path(environment: Mapping[str, str], home: Path) -> Path:
    """Name the file where docker keeps its configuration."""
    folder = environment.get("DOCKER_CONFIG")
    return (Path(folder) if folder else home / ".docker") / "config.json"


def auth_paths(environment: Mapping[str, str], home: Path) -> Sequence[Path]:
    """Name the files where podman and skopeo keep their logins unless told otherwise: until logout, and lasting."""
    runtime, config = environment.get("XDG_RUNTIME_DIR"), environment.get("XDG_CONFIG_HOME")
    until_logout = Path(runtime) / "containers" if runtime else Path(f"/run/containers/{os.getuid()}")
    return until_logout / "auth.json", Path(config or home / ".config") / "containers" / "auth.json"


def _read_answer(program: str, host: str, answer: "subprocess.CompletedProcess[bytes]") -> Credential | None:
    if answer.returncode != 0:
        # By the protocol this goes to stdout; some helpers write it to stderr.
        if _NONE_STORED in (answer.stdout + answer.stderr).decode(errors="replace").lower():
            return None
        raise ConfigError(
            f"{program} failed for {host} with exit code {answer.returncode}; run `{program} get` to see why"
        )
    try:
        stored = go_json.decode(answer.stdout.removeprefix(BYTE_ORDER_MARK.encode()), _HelperAnswer)
    except go_json.INVALID:
        raise ConfigError(f"{program} gave an invalid answer for {host}") from None
    if stored.username == _TOKEN_USER and stored.secret:
        return Credential("", stored.secret, SecretKind.IDENTITY_TOKEN)
    is_stored = stored.secret or stored.username not in ("", _TOKEN_USER)
    return Credential(stored.username, stored.secret) if is_stored else None
