"""Which login is sent to which registry: by the files, variables and helpers of docker, podman and skopeo."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from pullahead.cli.docker_config import docker_logins
from pullahead.errors import ConfigError
from pullahead.oci import Repository
from pullahead.registry.credentials import Credential
from tests.unit.manners.conftest import Command, CopyCommand
from tests.unit.manners.copying import IMAGE, assert_copied, reader, reference
from tests.unit.manners.registry import Asked, ImperfectRegistry, Reply, error_reply, json_reply

SECRET = "s3cr3t"
CREDENTIAL = Credential("me", SECRET)
QUAY = Repository("quay.io", "team/app")


def login(username: str = "me") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{SECRET}".encode()).decode()}


def logins(username: str, *keys: str) -> str:
    return json.dumps({"auths": dict.fromkeys(keys or ("quay.io",), login(username))})


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def helper(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


# --- where logins are found -----------------------------------------------------------------------------------------

PLACES = [
    "variable",
    "named.json",
    ".docker/config.json",
    "run/containers/auth.json",
    ".config/containers/auth.json",
    ".dockercfg",
]
"""In the order in which they count."""


def write_place(home: Path, place: str, environment: dict[str, str]) -> None:
    if place == "variable":
        environment["DOCKER_AUTH_CONFIG"] = logins(place)
    elif place == ".dockercfg":
        write(home / place, json.dumps({"quay.io": login(place)}))
    else:
        write(home / place, logins(place))
    if place == "named.json":
        environment["REGISTRY_AUTH_FILE"] = str(home / place)


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_place_counts_before_those_that_follow(tmp_path: Path, first: int) -> None:
    environment = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    for place in PLACES[first:]:
        write_place(tmp_path, place, environment)
    assert docker_logins(environment, tmp_path).find(QUAY) == Credential(PLACES[first], SECRET)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", ["", "{}", '{"auths": {"quay.io": null}}', '{"auths": {"ghcr.io": {"auth": "!"}}}'])
def test_place_without_a_login_for_the_registry_is_passed_over(tmp_path: Path, place: str, text: str) -> None:
    environment = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    write_place(tmp_path, place, environment)
    if place == "variable":
        environment["DOCKER_AUTH_CONFIG"] = text
    else:
        write(tmp_path / place, text)
    after = ".dockercfg" if place != ".dockercfg" else ".docker/config.json"
    write_place(tmp_path, after, environment)
    assert docker_logins(environment, tmp_path).find(QUAY) == Credential(after, SECRET)


def test_folders_of_the_environment_count(tmp_path: Path) -> None:
    write(tmp_path / "docker" / "config.json", logins("docker"))
    write(tmp_path / "xdg" / "containers" / "auth.json", logins("podman"))
    docker = {"DOCKER_CONFIG": str(tmp_path / "docker")}
    podman = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert docker_logins({**docker, **podman}, tmp_path).find(QUAY) == Credential("docker", SECRET)
    assert docker_logins(podman, tmp_path).find(QUAY) == Credential("podman", SECRET)


@pytest.mark.parametrize("member", ["credsStore", "credHelpers"])
@pytest.mark.parametrize(
    ("answer", "secret"),
    [
        ('{"ServerURL": "x", "Username": "me", "Secret": "s3cr3t"}', SECRET),
        ('{"serverurl": null, "username": "me", "secret": "s3cr3t"}', SECRET),
        ('{"USERNAME": "me", "SECRET": "s3cr3t", "more": [1]}', SECRET),
    ],
)
def test_answer_of_a_helper_is_read(tmp_path: Path, member: str, answer: str, secret: str) -> None:
    helper(tmp_path / "bin", "own", f"echo '{answer}'")
    named = "own" if member == "credsStore" else {"quay.io": "own"}
    write(tmp_path / ".docker" / "config.json", json.dumps({member: named, "auths": {"quay.io": {}}}))
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    assert docker_logins(environment, tmp_path).find(QUAY) == Credential("me", secret)


@pytest.mark.parametrize(
    "script",
    [
        "echo '{}'",
        "echo null",
        """echo '{"Username": "<token>", "Secret": ""}'""",
        """echo '{"Username": "", "Secret": null}'""",
        "echo credentials not found in native keychain; exit 1",
        "printf 'credentials not found in native keychain\\r\\n'; exit 1",
        "echo error: credentials not found >&2; exit 1",
    ],
)
def test_helper_without_a_login_leaves_that_of_the_file(tmp_path: Path, script: str) -> None:
    helper(tmp_path / "bin", "own", script)
    write(tmp_path / ".docker" / "config.json", json.dumps({"credsStore": "own", "auths": {"quay.io": login()}}))
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    assert docker_logins(environment, tmp_path).find(QUAY) == CREDENTIAL


@pytest.mark.parametrize("start", ["", "\\357\\273\\277"])
def test_answer_of_a_helper_of_windows_is_read(tmp_path: Path, start: str) -> None:
    helper(tmp_path / "bin", "own", f"""printf '{start}{{"Username":"me","Secret":"{SECRET}"}}\\r\\n'""")
    write(tmp_path / ".docker" / "config.json", '{"credsStore": "own"}')
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    assert docker_logins(environment, tmp_path).find(QUAY) == CREDENTIAL


@pytest.mark.parametrize("place", ["", ">&2"])
def test_helper_that_answers_without_end_is_an_error(tmp_path: Path, place: str) -> None:
    helper(tmp_path / "bin", "own", f"exec yes {place}")
    write(tmp_path / ".docker" / "config.json", '{"credsStore": "own"}')
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    with pytest.raises(ConfigError, match="docker-credential-own answered with more than 262144 bytes"):
        docker_logins(environment, tmp_path).find(QUAY)


def test_helper_that_asks_nothing_is_read(tmp_path: Path) -> None:
    helper(tmp_path / "bin", "own", f"""exec 0<&-; echo '{{"Username": "me", "Secret": "{SECRET}"}}'""")
    write(tmp_path / ".docker" / "config.json", '{"credsStore": "own"}')
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    assert docker_logins(environment, tmp_path).find(QUAY) == CREDENTIAL


def test_helper_named_by_an_empty_text_keeps_the_common_one_away(tmp_path: Path) -> None:
    config = {"credsStore": "missing", "credHelpers": {"quay.io": ""}, "auths": {"quay.io": login()}}
    write(tmp_path / ".docker" / "config.json", json.dumps(config))
    assert docker_logins({"PATH": "/nowhere"}, tmp_path).find(QUAY) == CREDENTIAL


@pytest.mark.parametrize("stored", ["https://index.docker.io/v1/", "docker.io"])
def test_helper_is_asked_for_docker_hub_as_docker_and_podman_do(tmp_path: Path, stored: str) -> None:
    script = f"""read host; if [ "$host" = "{stored}" ]; then echo '{{"Username": "me", "Secret": "{SECRET}"}}';"""
    helper(tmp_path / "bin", "hub", f"{script} else echo credentials not found in native keychain; exit 1; fi")
    write(tmp_path / ".docker" / "config.json", '{"credsStore": "hub"}')
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    assert docker_logins(environment, tmp_path).find(Repository("docker.io", "library/alpine")) == CREDENTIAL


@pytest.mark.parametrize(
    ("keys", "used"),
    [
        (["quay.io", "quay.io/team"], "quay.io/team"),
        (["quay.io/team/app", "quay.io/team", "quay.io"], "quay.io/team/app"),
        (["quay.io/tea", "quay.io"], "quay.io"),
        (["quay.io/team/app/below"], None),
        (["https://quay.io/v1/"], "https://quay.io/v1/"),
        (["https://quay.io/team/"], "https://quay.io/team/"),
        (["Quay.IO"], "Quay.IO"),
    ],
)
def test_longest_path_wins(tmp_path: Path, keys: list[str], used: str | None) -> None:
    auths = {key: login(f"user{number}") for number, key in enumerate(keys)}
    write(tmp_path / ".docker" / "config.json", json.dumps({"auths": auths}))
    found = docker_logins({}, tmp_path).find(QUAY)
    assert (None if found is None else keys[int(found.username[4:])]) == used


@pytest.mark.parametrize("odd", [None, {}, {"auth": ""}, {"auth": None, "email": "x"}])
def test_empty_login_for_a_path_is_passed_over(tmp_path: Path, odd: Any) -> None:
    auths = {"quay.io/team": odd, "quay.io": login()}
    write(tmp_path / ".docker" / "config.json", json.dumps({"auths": auths}))
    assert docker_logins({}, tmp_path).find(QUAY) == CREDENTIAL


# --- how they are sent ------------------------------------------------------------------------------------------------


def challenge(registry: ImperfectRegistry, realm: str, accepted: str) -> None:
    """Let a registry answer whoever has an accepted Authorization, and challenge all others."""

    def answer(asked: Asked) -> Reply | None:
        if asked.authorization == accepted or asked.path == "/token":
            return None
        return Reply(401, {"WWW-Authenticate": realm})

    registry.on("", "", answer)


def grants(authorization: str) -> Any:
    """Grant a token to whoever has an Authorization."""
    return lambda asked: json_reply({"token": "t"}) if asked.authorization == authorization else Reply(401)


def test_login_for_a_path_is_sent(
    copy_command: CopyCommand, home: Path, source: ImperfectRegistry, target: ImperfectRegistry
) -> None:
    challenge(source, 'Basic realm="r"', Credential("robot", SECRET).basic)
    auths = {source.host: login("other"), f"{source.host}/team": login("robot")}
    write(home / ".docker" / "config.json", json.dumps({"auths": auths}))
    assert copy_command().code == 0
    assert_copied(target)


def test_login_of_the_variable_is_sent(
    copy_command: CopyCommand, home: Path, target: ImperfectRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge(target, 'Basic realm="r"', CREDENTIAL.basic)
    write(home / ".docker" / "config.json", logins("other", target.host))
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", logins("me", target.host))
    assert copy_command().code == 0
    assert_copied(target)


def test_identity_token_buys_a_token(copy_command: CopyCommand, home: Path, target: ImperfectRegistry) -> None:
    def grant(asked: Asked) -> Reply:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        assert form.pop("scope").startswith("repository:mirror/app:pull")
        assert (asked.method, asked.authorization, asked.query) == ("POST", None, {})
        wanted = {"grant_type": "refresh_token", "refresh_token": SECRET, "client_id": "pullahead", "service": "s"}
        return json_reply({"access_token": "t", "refresh_token": "new"}) if form == wanted else Reply(401)

    challenge(target, f'Bearer realm="{target.url}/token",service="s"', "Bearer t")
    target.on("", "^/token", grant)
    entry = {"auth": base64.b64encode(b"me:").decode(), "identitytoken": SECRET}
    write(home / ".docker" / "config.json", json.dumps({"auths": {target.host: entry}}))
    assert copy_command().code == 0
    assert_copied(target)


def test_identity_token_does_not_follow_a_redirect(
    copy_command: CopyCommand, home: Path, source: ImperfectRegistry, target: ImperfectRegistry
) -> None:
    challenge(target, f'Bearer realm="{target.url}/token"', "Bearer t")
    target.on("POST", "^/token", Reply(307, {"Location": f"{source.url}/token"}))
    write(home / ".docker" / "config.json", json.dumps({"auths": {target.host: {"identitytoken": SECRET}}}))
    failure = copy_command().failure
    assert f"redirects to {source.host}, which is not followed with a credential" in failure
    assert (SECRET in failure, source.count("", "/token")) == (False, 0)


def test_identity_token_is_no_password(copy_command: CopyCommand, home: Path, target: ImperfectRegistry) -> None:
    challenge(target, 'Basic realm="r"', CREDENTIAL.basic)
    write(home / ".docker" / "config.json", json.dumps({"auths": {target.host: {"identitytoken": SECRET}}}))
    failure = copy_command().failure
    assert "the login that is stored is an identity token" in failure
    assert SECRET not in failure


def test_registry_token_is_sent_as_it_is(copy_command: CopyCommand, home: Path, target: ImperfectRegistry) -> None:
    challenge(target, f'Bearer realm="{target.url}/token"', f"Bearer {SECRET}")
    write(home / ".docker" / "config.json", json.dumps({"auths": {target.host: {"registrytoken": SECRET}}}))
    assert copy_command().code == 0
    assert_copied(target)
    assert target.count("", "/token") == 0


# --- registries that challenge at their root only ---------------------------------------------------------------------


def hide(registry: ImperfectRegistry, refusal: Reply, root: Reply, accepted: str) -> None:
    """Let a registry refuse strangers without a challenge, which only its root has."""

    def answer(asked: Asked) -> Reply | None:
        if asked.authorization == accepted or asked.path == "/token":
            return None
        return root if asked.path == "/v2/" else refusal

    registry.on("", "", answer)


HIDDEN = [
    Reply(404),
    Reply(403),
    Reply(401),
    error_reply(404, "MANIFEST_UNKNOWN"),
    error_reply(403, "DENIED"),
    Reply(401, {"WWW-Authenticate": ""}),
]


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
@pytest.mark.parametrize("refusal", HIDDEN)
@pytest.mark.parametrize("side", ["source", "target"])
def test_challenge_of_the_root_is_answered(
    copy_command: CopyCommand,
    home: Path,
    source: ImperfectRegistry,
    target: ImperfectRegistry,
    side: str,
    refusal: Reply,
    scheme: str,
) -> None:
    registry = source if side == "source" else target
    realm = f'{scheme} realm="{registry.url}/token",service="s",scope="registry:catalog:*"'
    accepted = CREDENTIAL.basic if scheme == "Basic" else "Bearer t"
    hide(registry, refusal, Reply(401, {"WWW-Authenticate": realm}), accepted)
    registry.on("GET", "^/token", grants(CREDENTIAL.basic))
    write(home / ".docker" / "config.json", logins("me", registry.host))
    assert copy_command().code == 0
    assert_copied(target)
    scopes = {asked.query["scope"] for asked in registry.asked if asked.path == "/token"}
    assert all(scope.startswith("repository:") for scope in scopes)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_root_that_fails_for_a_while_is_asked_again(source: ImperfectRegistry, status: int) -> None:
    root = Reply(401, {"WWW-Authenticate": 'Basic realm="r"'})
    source.on("GET", "^/v2/$", Reply(status), times=1)
    hide(source, Reply(404), root, CREDENTIAL.basic)
    assert reader(lambda _: CREDENTIAL).head_manifest(reference(source)) == IMAGE.root.descriptor


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_root_may_be_elsewhere_on_the_registry(source: ImperfectRegistry, status: int) -> None:
    source.on("GET", "^/v2/$", Reply(status, {"Location": "/v2"}))
    source.on("GET", "^/v2$", Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}))
    hide(source, Reply(404), Reply(200), CREDENTIAL.basic)
    assert reader(lambda _: CREDENTIAL).head_manifest(reference(source)) == IMAGE.root.descriptor


def test_root_at_another_host_gets_no_login(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    hide(source, Reply(404), Reply(307, {"Location": f"{target.url}/v2/"}), CREDENTIAL.basic)
    target.on("GET", "^/v2/$", Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}))
    with pytest.raises(Exception, match="not found"):
        reader(lambda _: CREDENTIAL).head_manifest(reference(source))
    assert [asked.authorization for asked in (*source.asked, *target.asked) if asked.authorization] == []


def test_login_is_sent_for_the_catalog(source: ImperfectRegistry) -> None:
    asked_for: list[Repository] = []

    def find(repository: Repository) -> Credential:
        asked_for.append(repository)
        return CREDENTIAL

    challenge(source, f'Bearer realm="{source.url}/token"', "Bearer t")
    source.on("GET", "^/token", grants(CREDENTIAL.basic))
    assert reader(find).list_repositories(source.host, "team") == ("team/app",)
    assert [asked.query["scope"] for asked in source.asked if asked.path == "/token"] == ["registry:catalog:*"]
    assert set(asked_for) == {Repository(source.host, "team/*")}


# --- token services of other hosts ------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(source: ImperfectRegistry, target: ImperfectRegistry, home: Path) -> str:
    """A target that wants a token of another host, and a login for it; returns that host."""
    challenge(target, f'Bearer realm="http://{source.other_name}/token"', "Bearer t")
    source.on("GET", "^/token", grants(CREDENTIAL.basic))
    write(home / ".docker" / "config.json", logins("me", target.host))
    return source.other_name


def test_token_service_of_another_host_gets_no_login(
    copy_command: CopyCommand, source: ImperfectRegistry, target: ImperfectRegistry, elsewhere: str
) -> None:
    failure = copy_command(insecure=[elsewhere]).failure
    assert f"--token-host {elsewhere}" in failure
    assert f"`token_hosts: [{elsewhere}]` for {target.host} under `upstreams`" in failure
    assert source.count("", "/token") == 0


def test_token_host_of_the_command_line_gets_it(
    copy_command: CopyCommand, target: ImperfectRegistry, elsewhere: str
) -> None:
    """By the very option that the error names."""
    assert copy_command("--token-host", elsewhere, insecure=[elsewhere]).code == 0
    assert_copied(target)


def test_token_host_of_the_rules_gets_it(
    command: Command,
    source: ImperfectRegistry,
    target: ImperfectRegistry,
    elsewhere: str,
    tmp_path: Path,
) -> None:
    """By the very key that the error names."""
    rules = {
        "version": 1,
        "upstreams": {source.host: {"plain_http": True}, target.host: {"token_hosts": [elsewhere]}},
        "mirrors": [{"upstream": f"{source.host}/team/app", "tags": ["1.0"], "repository": "mirror/app"}],
    }
    (tmp_path / "rules.yaml").write_text(json.dumps(rules))
    ran = command("sync", str(tmp_path / "rules.yaml"), "--registry", target.host, insecure=[elsewhere])
    assert ran.code == 0
    assert_copied(target)
