"""Logins of docker, podman and skopeo: where they are found, and which one fits."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pullahead.cli.docker_config import DockerConfig, docker_logins
from pullahead.errors import ConfigError
from pullahead.oci import Repository
from pullahead.registry.credentials import Credential

APP = Repository("quay.io", "team/app")


def auth(username: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:s3cr3t".encode()).decode()}


def logins(**users: str) -> str:
    return json.dumps(
        {"auths": {host.replace("__", "/").replace("_", "."): auth(user) for host, user in users.items()}}
    )


def user_of(environment: Mapping[str, str], home: Path, repository: Repository = APP) -> str | None:
    found = docker_logins(environment, home).find(repository)
    return None if found is None else found.username


def found_in(tmp_path: Path, auths: Mapping[str, Any], repository: Repository = APP) -> Credential | None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": auths}))
    return DockerConfig(path, {}).find(repository)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_variable_comes_before_the_files(tmp_path: Path) -> None:
    write(tmp_path / ".docker" / "config.json", logins(quay_io="docker"))
    assert user_of({"DOCKER_AUTH_CONFIG": logins(quay_io="variable")}, tmp_path) == "variable"
    assert user_of({"DOCKER_AUTH_CONFIG": logins(ghcr_io="variable")}, tmp_path) == "docker"


def test_file_of_podman_comes_after_that_of_docker(tmp_path: Path) -> None:
    write(tmp_path / "run" / "containers" / "auth.json", logins(quay_io="podman"))
    environment = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    assert user_of(environment, tmp_path) == "podman"
    write(tmp_path / ".docker" / "config.json", logins(quay_io="docker"))
    assert user_of(environment, tmp_path) == "docker"


def test_lasting_file_of_podman_is_read(tmp_path: Path) -> None:
    write(tmp_path / ".config" / "containers" / "auth.json", logins(quay_io="podman"))
    assert user_of({}, tmp_path) == "podman"


def test_named_file_of_podman_takes_the_place_of_the_usual_ones(tmp_path: Path) -> None:
    write(tmp_path / ".config" / "containers" / "auth.json", logins(quay_io="usual"))
    write(tmp_path / "named.json", logins(quay_io="named"))
    assert user_of({"REGISTRY_AUTH_FILE": str(tmp_path / "named.json")}, tmp_path) == "named"


def test_broken_variable_is_an_error_that_quotes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DOCKER_AUTH_CONFIG is not") as caught:
        user_of({"DOCKER_AUTH_CONFIG": "s3cr3t"}, tmp_path)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["quay.io", "quay.io/team"], "quay.io/team"),
        (["quay.io/team/app", "quay.io/team"], "quay.io/team/app"),
        (["quay.io/tea"], None),
        (["quay.io/team/app/below"], None),
        (["https://quay.io/v2/"], "https://quay.io/v2/"),
        (["QUAY.IO/team/"], "QUAY.IO/team/"),
    ],
)
def test_login_of_the_longest_path_is_used(tmp_path: Path, keys: list[str], expected: str | None) -> None:
    found = found_in(tmp_path, {key: auth(f"u{number}") for number, key in enumerate(keys)})
    assert (None if found is None else keys[int(found.username[1:])]) == expected


@pytest.mark.parametrize("other", [None, 3, {"auth": "!"}, {"auth": 3}])
def test_malformed_login_of_another_host_is_ignored(tmp_path: Path, other: Any) -> None:
    assert found_in(tmp_path, {"other.io": other, "quay.io": auth("me")}) == Credential("me", "s3cr3t")


def test_login_that_is_null_is_no_login(tmp_path: Path) -> None:
    assert found_in(tmp_path, {"quay.io": None}) is None


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_end_of_a_line_is_no_part_of_a_login(tmp_path: Path, ending: str) -> None:
    encoded = base64.b64encode(f"me:s3cr3t{ending}".encode()).decode()
    assert found_in(tmp_path, {"quay.io": {"auth": encoded + ending}}) == Credential("me", "s3cr3t")


def test_empty_file_has_no_logins(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("\n")
    assert DockerConfig(path, {}).find(APP) is None


def test_answer_of_a_helper_is_read_in_any_letters(tmp_path: Path) -> None:
    program = tmp_path / "docker-credential-small"
    program.write_text("""#!/bin/sh\necho '{"username": "me", "SECRET": "s3cr3t"}'\n""")
    program.chmod(0o755)
    path = tmp_path / "config.json"
    path.write_text('{"credsStore": "small"}')
    assert DockerConfig(path, {"PATH": f"{tmp_path}:/usr/bin:/bin"}).find(APP) == Credential("me", "s3cr3t")
