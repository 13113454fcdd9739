"""What `docker login` left behind: which login fits which registry, and helpers that fail."""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pullahead.cli.docker_config import DockerConfig, config_path
from pullahead.errors import ConfigError
from pullahead.oci import Repository
from pullahead.registry.credentials import Credential, SecretKind

SECRET = "s3cr3t"
HUB = Repository("docker.io", "library/alpine")
ACR_USER = "00000000-0000-0000-0000-000000000000"

Write = Callable[[Any], DockerConfig]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a config.json and find helpers beside it."""

    def write_config(document: Any) -> DockerConfig:
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        (tmp_path / "config.json").write_bytes(content)
        return DockerConfig(tmp_path / "config.json", {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})

    return write_config


def helper(folder: Path, name: str, script: str) -> None:
    """Put a credential helper on the path."""
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def auth(username: str = "me", password: str = SECRET) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def repository(host: str) -> Repository:
    return Repository(host, "team/app")


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("http://localhost:5000/v1/", "localhost:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
    ],
)
def test_login_is_found_under_every_form_of_its_host(write: Write, key: str, host: str) -> None:
    config = write({"auths": {"other.io": auth("other"), key: auth()}})
    assert config.find(repository(host)) == Credential("me", SECRET)


@pytest.mark.parametrize(
    "key", ["ghcr.io.evil.example", "evil.example/ghcr.io", "ghcr.io:8443", "ghcr.io/other/repository"]
)
def test_login_to_another_registry_is_not_used(write: Write, key: str) -> None:
    assert write({"auths": {key: auth()}}).find(repository("ghcr.io")) is None


def test_login_to_the_registry_itself_takes_precedence_over_an_alias(write: Write) -> None:
    config = write({"auths": {"docker.io": auth("alias"), "https://index.docker.io/v1/": auth("hub")}})
    assert config.find(HUB) == Credential("hub", SECRET)


def test_login_in_plain_fields_is_used(write: Write) -> None:
    config = write({"auths": {"ghcr.io": {"username": "me", "password": SECRET}}})
    assert config.find(repository("ghcr.io")) == Credential("me", SECRET)


def test_password_may_contain_a_colon(write: Write) -> None:
    assert write({"auths": {"ghcr.io": auth("me", "a:b")}}).find(repository("ghcr.io")) == Credential("me", "a:b")


@pytest.mark.parametrize("document", [{}, {"auths": None}, {"auths": {"ghcr.io": {}}}, {"psFormat": 3, "auths": {}}])
def test_no_login_is_no_error(write: Write, document: Any) -> None:
    assert write(document).find(repository("ghcr.io")) is None


def test_missing_file_is_no_login(tmp_path: Path) -> None:
    assert DockerConfig(tmp_path / "nowhere" / "config.json", {}).find(HUB) is None


@pytest.mark.parametrize(
    "document", [b"{", b"[]", b"\xff", {"auths": []}, {"auths": {"ghcr.io": {"auth": f"!{SECRET}"}}}, b"[" * 100_000]
)
def test_broken_file_is_refused_without_its_content(write: Write, document: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        write(document).find(repository("ghcr.io"))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("member", "kind"),
    [("identitytoken", SecretKind.IDENTITY_TOKEN), ("registrytoken", SecretKind.REGISTRY_TOKEN)],
)
def test_token_takes_precedence_over_a_password(write: Write, member: str, kind: SecretKind) -> None:
    config = write({"auths": {"ghcr.io": {**auth("me"), member: SECRET}}})
    assert config.find(repository("ghcr.io")) == Credential("me", SECRET, kind)


def test_identity_token_of_a_helper_is_known_by_its_name(write: Write, tmp_path: Path) -> None:
    helper(tmp_path, "token", f"""echo '{{"Username": "<token>", "Secret": "{SECRET}"}}'""")
    found = write({"credsStore": "token"}).find(repository("ghcr.io"))
    assert found == Credential("", SECRET, SecretKind.IDENTITY_TOKEN)


def test_identity_token_of_azure_is_used(write: Write) -> None:
    config = write({"auths": {"me.azurecr.io": {**auth(ACR_USER, ""), "identitytoken": SECRET}}})
    assert config.find(repository("me.azurecr.io")) == Credential(ACR_USER, SECRET)


def test_helper_is_queried_by_the_registry_s_key(write: Write, tmp_path: Path) -> None:
    helper(tmp_path, "echo", 'read -r host; printf \'{"Username": "%s", "Secret": "x", "ServerURL": ""}\' "$host"')
    config = write({"credsStore": "echo"})
    assert config.find(repository("ghcr.io")) == Credential("ghcr.io", "x")
    assert config.find(HUB) == Credential("https://index.docker.io/v1/", "x")


def test_helper_of_a_registry_takes_precedence_over_the_store(write: Write, tmp_path: Path) -> None:
    helper(tmp_path, "own", """echo '{"Username": "own", "Secret": "x"}'""")
    helper(tmp_path, "store", """echo '{"Username": "store", "Secret": "x"}'""")
    config = write({"credsStore": "store", "credHelpers": {"ghcr.io": "own"}})
    assert config.find(repository("ghcr.io")) == Credential("own", "x")
    assert config.find(repository("quay.io")) == Credential("store", "x")


@pytest.mark.parametrize("words", ["echo credentials not found in native keychain", "echo Credentials not found >&2"])
def test_helper_without_a_login_is_no_error(write: Write, tmp_path: Path, words: str) -> None:
    helper(tmp_path, "empty", f"{words}; exit 1")
    assert write({"credsStore": "empty"}).find(repository("ghcr.io")) is None
    config = write({"credsStore": "empty", "auths": {"ghcr.io": auth()}})
    assert config.find(repository("ghcr.io")) == Credential("me", SECRET)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"echo {SECRET}; exit 3", "exit code 3"),
        (f"echo {SECRET}", "invalid answer"),
    ],
)
def test_failing_helper_is_an_error(write: Write, tmp_path: Path, script: str, words: str) -> None:
    helper(tmp_path, "bad", script)
    with pytest.raises(ConfigError, match=words) as refused:
        write({"credsStore": "bad"}).find(repository("ghcr.io"))
    assert SECRET not in str(refused.value)


def test_hanging_helper_is_an_error(tmp_path: Path) -> None:
    helper(tmp_path, "hangs", "exec sleep 60")
    (tmp_path / "config.json").write_text('{"credsStore": "hangs"}')
    config = DockerConfig(tmp_path / "config.json", {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, helper_seconds=0.2)
    with pytest.raises(ConfigError, match="did not answer"):
        config.find(HUB)


def test_missing_helper_is_an_error(write: Write) -> None:
    with pytest.raises(ConfigError, match="docker-credential-nowhere, which is not on PATH"):
        write({"credsStore": "nowhere"}).find(HUB)


@pytest.mark.parametrize("name", ["../evil", "a/b", "-x", "a b"])
def test_invalid_helper_name_is_refused(write: Write, name: str) -> None:
    with pytest.raises(ConfigError, match="invalid credential helper"):
        write({"credsStore": name}).find(HUB)


def test_docker_config_of_the_environment_takes_precedence() -> None:
    assert config_path({"DOCKER_CONFIG": "/x"}, Path("/home/me")) == Path("/x/config.json")
    assert config_path({}, Path("/home/me")) == Path("/home/me/.docker/config.json")
