"""Hosts of ECR are recognized, and get their login from AWS."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.tests.ecr.harness import RunningEcr, running_ecr
from pullahead.cli.account import ecr_credential
from pullahead.cli.options import RegistryOptions
from pullahead.cli.registries import Registries, is_ecr
from pullahead.errors import ConfigError
from pullahead.oci import Repository
from pullahead.registry.credentials import Credential

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEcr]:
    with running_ecr(tmp_path_factory.mktemp("login-ecr")) as running:
        yield running


@pytest.fixture
def ecr(_server: RunningEcr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunningEcr:
    """The ECR API that the environment's AWS credentials and endpoint lead to."""
    _server.restart()
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", _server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return _server


@pytest.fixture
def no_credentials(ecr: RunningEcr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave AWS no place where it finds credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.parametrize(
    "host",
    [
        HOST,
        "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "123456789012.dkr-ecr.eu-west-1.on.aws",
    ],
)
def test_host_of_ecr_is_recognized(host: str) -> None:
    assert is_ecr(host)


@pytest.mark.parametrize(
    "host",
    [
        "public.ecr.aws",
        "ghcr.io",
        f"{HOST}.evil.example",
        f"evil.example.{HOST}",
        "123456789012.dkr.ecr.evil.example.amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com:443",
        "12345.dkr.ecr.eu-west-1.amazonaws.com",
    ],
)
def test_other_host_is_not_taken_for_ecr(host: str) -> None:
    assert not is_ecr(host)


def test_credential_is_the_token_of_aws(ecr: RunningEcr) -> None:
    found = ecr_credential(HOST)
    token = ecr.client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    assert found is not None
    assert found.username == "AWS"
    assert base64.b64decode(token).decode().startswith("AWS:")
    assert found.secret not in repr(found)


def test_failed_request_for_a_token_is_an_error(ecr: RunningEcr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", "http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="EndpointConnectionError"):
        ecr_credential(HOST, attempts=1)


@pytest.mark.usefixtures("no_credentials")
def test_no_aws_credentials_is_no_credential() -> None:
    assert ecr_credential(HOST) is None


@pytest.mark.usefixtures("no_credentials")
def test_docker_login_is_used_without_aws_credentials(tmp_path: Path) -> None:
    auth = base64.b64encode(b"AWS:x").decode()
    (tmp_path / "config.json").write_text(f'{{"auths": {{"{HOST}": {{"auth": "{auth}"}}}}}}')
    assert Registries(RegistryOptions()).credential(Repository(HOST, "mirror/app")) == Credential("AWS", "x")


def test_aws_credentials_take_precedence_over_a_docker_login(ecr: RunningEcr, tmp_path: Path) -> None:
    auth = base64.b64encode(b"AWS:old").decode()
    (tmp_path / "config.json").write_text(f'{{"auths": {{"{HOST}": {{"auth": "{auth}"}}}}}}')
    found = Registries(RegistryOptions()).credential(Repository(HOST, "mirror/app"))
    assert found is not None
    assert found.secret != "old"
