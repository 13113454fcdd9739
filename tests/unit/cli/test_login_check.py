"""`pullahead login-check`: which credentials are tried, what is said of each, and how the command ends."""

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest

from local.images import make_image
from local.registry import FakeRegistry
from local.tests.ecr.harness import RunningEcr
from pullahead.cli.main import main
from tests.unit.cli.conftest import Ran, Run
from tests.unit.layouts.layouts import write_layout

IMAGE = make_image(seed=1)
NO_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN", "DOCKER_AUTH_CONFIG")


def logins(**auths: str) -> str:
    """Write docker's configuration, of names and passwords by host."""
    encoded = {host: {"auth": base64.b64encode(login.encode()).decode()} for host, login in auths.items()}
    return json.dumps({"auths": encoded})


class Site(NamedTuple):
    """A registry that requires a login, the password of its user AWS, and where secrets and rules are."""

    ecr: RunningEcr
    password: str
    config: Path
    rules: Path
    run: Run

    @property
    def host(self) -> str:
        return self.ecr.url.removeprefix("http://")

    def check(self, *options: str, place: str = "/mirror/app:1.0") -> Ran:
        return self.run("login-check", f"{self.host}{place}", *options, insecure=[self.host])

    def entries(self, *options: str, place: str = "/mirror/app:1.0") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.check("--json", *options, place=place).document["credentials"]
        return found

    def store(self, name: str, text: str) -> None:
        """Store a secret, as `aws secretsmanager create-secret` does."""
        boto3.client("secretsmanager", endpoint_url=self.ecr.url).create_secret(Name=name, SecretString=text)

    def write_rules(self, credentials: str) -> None:
        settings = f'{{"{self.host}": {{plain_http: true, credentials: {credentials}}}}}'
        self.rules.write_text(f"version: 1\nmirrors: []\nupstreams: {settings}\n")


@pytest.fixture
def site(_ecr: RunningEcr, docker_config: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Site:
    _ecr.restart()
    _ecr.client.create_repository(repositoryName="mirror/app")
    token = _ecr.client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    password = base64.b64decode(token).decode().partition(":")[2]
    for name in NO_AWS:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "REGISTRY_AUTH_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Site(_ecr, password, docker_config, tmp_path / "rules.yaml", run)
    docker_config.write_text(logins(**{made.host: f"AWS:{password}"}))
    layout = write_layout(tmp_path / "images", {"1.0": IMAGE})
    assert run("copy", f"oci:{layout}", f"{made.host}/mirror/app:1.0", insecure=[made.host]).code == 0
    return made


@pytest.fixture
def aws(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Have AWS credentials, which lead to the local AWS."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", site.ecr.url)
    return site


def test_login_that_may_pull_ends_with_zero(site: Site) -> None:
    ran = site.check()
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        f"{site.host}/mirror/app\n"
        f"  {site.config}, user AWS; commands use it\n"
        "    login  accepted\n"
        "    pull   allowed\n"
        "  anonymous\n"
        "    login  refused: access denied (UNAUTHORIZED Not Authorized) (HTTP 401)\n"
        "    pull   refused: access denied (HTTP 401)\n"
    )


def test_wrong_login_ends_with_one_and_is_not_shown(site: Site) -> None:
    site.config.write_text(logins(**{site.host: "AWS:wr0ng"}))
    ran = site.check()
    assert ran.code == 1
    assert "    login  refused: " in ran.out
    assert "wr0ng" not in ran.out + ran.err
    assert site.check("--quiet") == (1, "", "")


def test_only_anonymous_access_is_tried_without_logins(site: Site, registry: FakeRegistry) -> None:
    site.config.write_text("{}")
    assert [entry["source"] for entry in site.entries()] == ["anonymous"]
    assert site.check().code == 1
    registry.push(IMAGE, "team/app", "latest")
    ran = site.run("login-check", f"{registry.host}/team/app", "--json")
    (entry,) = ran.document["credentials"]
    assert ran.code == 0
    assert (entry["login"], entry["pull"], entry["used_by"]) == ("not asked for", "allowed", "commands")


def test_registry_alone_is_logged_in_to(site: Site) -> None:
    login, nobody = site.entries(place="")
    assert (login["login"], login["pull"]) == ("accepted", None)
    assert nobody["login"] == "refused"


def test_tag_that_is_missing_says_what_to_name(site: Site) -> None:
    assert "not refused, but there is no tag latest: name one that exists" in site.check(place="/mirror/app").out


def test_every_file_with_a_login_is_tried_and_the_first_is_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", logins(**{site.host: "me:wr0ng"}))
    variable, file, _ = site.entries()
    assert (variable["source"], variable["user"], variable["login"]) == ("DOCKER_AUTH_CONFIG", "me", "refused")
    assert (file["source"], file["login"]) == (str(site.config), "accepted")
    assert (variable["used_by"], file["used_by"]) == ("commands", None)
    assert site.check().code == 1


def test_login_that_cannot_be_read_is_a_problem(site: Site) -> None:
    site.config.write_text("{")
    first, _ = site.entries()
    assert "is not a valid docker configuration" in first["problem"]
    assert site.check().code == 1


@pytest.mark.parametrize("name", ["ghp_s3cr3t", "github_pat_s3cr3t", "glpat-s3cr3t", "dckr_pat_s3cr3t", "x" * 100])
def test_name_that_may_be_a_token_is_not_shown(site: Site, name: str) -> None:
    site.config.write_text(logins(**{site.host: f"{name}:x-oauth-basic"}))
    ran = site.check()
    assert f"  {site.config}, a user whose name looks like a token; commands use it" in ran.out
    assert name not in ran.out + ran.err


def test_secret_of_the_rules_is_tried_before_the_logins(aws: Site) -> None:
    aws.store("right", json.dumps({"username": "AWS", "accessToken": aws.password}))
    aws.store("wrong", json.dumps({"username": "AWS", "accessToken": "wr0ng"}))
    aws.write_rules("[{path: mirror/*, secret: right}, {secret: wrong}]")
    right, wrong, file, _ = aws.entries("--rules", str(aws.rules))
    assert (right["source"], right["login"], right["pull"]) == ("secret right for mirror/*", "accepted", "allowed")
    assert (right["used_by"], wrong["used_by"], file["used_by"]) == ("rules", None, "commands")
    assert wrong["login"] == "refused"
    ran = aws.check("--rules", str(aws.rules))
    assert ran.code == 1
    assert "secret right for mirror/*, user AWS; the rules use it" in ran.out
    assert aws.password not in ran.out
    assert "wr0ng" not in ran.out


def test_secrets_for_other_paths_are_tried_only_for_the_whole_registry(aws: Site) -> None:
    aws.store("team", json.dumps({"username": "AWS", "accessToken": aws.password}))
    aws.write_rules("[{path: team/*, secret: team}]")
    sources = [entry["source"] for entry in aws.entries("--rules", str(aws.rules))]
    assert sources == [str(aws.config), "anonymous"]
    first, *_ = aws.entries("--rules", str(aws.rules), place="")
    assert (first["source"], first["used_by"], first["login"]) == ("secret team for team/*", "rules", "accepted")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("missing", None, "the secret does not exist"),
        ("empty", "{}", 'Write {"username": NAME, "accessToken": TOKEN} into it'),
        ("token", "s3cr3t", "neither JSON nor NAME:SECRET"),
    ],
)
def test_secret_that_cannot_be_used_is_a_problem(aws: Site, name: str, text: str | None, problem: str) -> None:
    if text is not None:
        aws.store(name, text)
    aws.write_rules(name)
    ran = aws.check("--rules", str(aws.rules))
    assert ran.code == 1
    assert problem in ran.out
    assert "s3cr3t" not in ran.out + ran.err


def test_secret_is_not_read_without_aws_credentials(site: Site) -> None:
    site.write_rules("robot")
    first, *_ = site.entries("--rules", str(site.rules))
    assert first["problem"] == "no AWS credentials found to read it with"
    assert site.check("--rules", str(site.rules)).code == 0


def test_invalid_rules_are_an_error(site: Site) -> None:
    site.rules.write_text("version: 2\n")
    ran = site.check("--rules", str(site.rules))
    assert (ran.code, ran.out) == (1, "")
    assert "version" in ran.err


@pytest.mark.parametrize(("place", "words"), [("quay", "not a host"), ("quay.io/A", "lower case")])
def test_what_is_no_registry_is_wrong_usage(place: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["login-check", place])
    assert exited.value.code == 2
    assert words in capsys.readouterr().err
