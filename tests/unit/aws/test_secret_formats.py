"""The formats of secrets; errors quote nothing of them."""

import base64
import json

import pytest

from pullahead.aws.upstream_credentials import UnknownFormatError, read_secret
from pullahead.registry.credentials import Credential, SecretKind

SECRET = "s3cr3t-value"
HOST = "quay.io"


def auth(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def docker(**auths: object) -> str:
    return json.dumps({"auths": auths})


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"username": "org+robot", "accessToken": SECRET}),
        json.dumps({"username": "org+robot", "password": SECRET}),
        json.dumps({"username": "org+robot", "accessToken": SECRET, "note": 1}),
        f"\n {json.dumps({'username': 'org+robot', 'accessToken': SECRET})}\n",
        docker(**{HOST: {"auth": auth(f"org+robot:{SECRET}")}}),
        docker(**{f"https://{HOST}/v2/": {"auth": auth(f"org+robot:{SECRET}")}, "ghcr.io": {"auth": auth("a:b")}}),
        docker(**{HOST: {"username": "org+robot", "password": SECRET}}),
        f"org+robot:{SECRET}",
        f"org+robot:{SECRET}\n",
        f"org+robot:{SECRET}\r\n",
        f"\ufefforg+robot:{SECRET}",
        "\ufeff" + json.dumps({"username": "org+robot", "accessToken": SECRET}),
        json.dumps({"Username": "org+robot", "AccessToken": SECRET}),
        json.dumps({"USERNAME": "org+robot", "Password": SECRET}),
        json.dumps({"username": "org+robot", "accessToken": f"{SECRET}\n"}),
        json.dumps({"username": "org+robot", "accessToken": None, "password": SECRET}),
        json.dumps({"username": "org+robot", "accessToken": SECRET, "password": 5}),
        json.dumps({"username": "org+robot", "password": SECRET, "auths": {}}),
        json.dumps({"username": "org+robot", "password": SECRET, "auths": None}),
        json.dumps({"Auths": {HOST: {"Auth": auth(f"org+robot:{SECRET}")}}}),
    ],
)
def test_known_format_is_read(text: str) -> None:
    assert read_secret(text, HOST) == Credential("org+robot", SECRET)


@pytest.mark.parametrize("odd", [None, 3, {"auth": "!"}, []])
def test_entries_of_other_hosts_do_not_matter(odd: object) -> None:
    text = docker(**{"other.io": odd, HOST: {"auth": auth(f"org+robot:{SECRET}")}})
    assert read_secret(text, HOST) == Credential("org+robot", SECRET)


def test_only_entry_for_a_path_is_used() -> None:
    text = docker(**{f"{HOST}/org": {"auth": auth(f"org+robot:{SECRET}")}, "other.io/team": None})
    assert read_secret(text, HOST) == Credential("org+robot", SECRET)


def test_identity_token_is_read() -> None:
    text = docker(**{HOST: {"identitytoken": SECRET}, "other.io": None})
    assert read_secret(text, HOST) == Credential("", SECRET, SecretKind.IDENTITY_TOKEN)


def test_dollar_sign_in_the_name_and_colon_in_the_secret_are_kept() -> None:
    assert read_secret("$oauthtoken:a:b", "nvcr.io") == Credential("$oauthtoken", "a:b")


def test_login_to_docker_hub_is_found_by_its_url() -> None:
    text = docker(**{"https://index.docker.io/v1/": {"auth": auth(f"me:{SECRET}")}})
    assert read_secret(text, "docker.io") == Credential("me", SECRET)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "neither JSON nor NAME:SECRET"),
        (SECRET, "neither JSON nor NAME:SECRET"),
        (f":{SECRET}", "neither"),
        (f"{SECRET}:", "neither"),
        (f"name: {SECRET}", "neither"),
        (f'["{SECRET}"]', "neither"),
        (f'{{"username": "{SECRET}', "its JSON has an unknown format"),
        (json.dumps({"username": {"a": SECRET}}), "has no username"),
        ('{"auths":' * 5000, "its JSON has an unknown format"),
        (json.dumps({"token": SECRET}), "has no username"),
        (json.dumps({"username": "", "accessToken": SECRET}), "has no username"),
        (json.dumps({"username": SECRET}), "has no accessToken"),
        (docker(), "no entry for quay.io"),
        (docker(**{"ghcr.io": {"auth": auth(f"a:{SECRET}")}}), "no entry for quay.io"),
        (docker(**{HOST: {"auth": SECRET}}), "is invalid"),
        (docker(**{f"{HOST}/a": {"auth": SECRET}, f"{HOST}/b": {"auth": SECRET}}), "several paths of quay.io"),
        (docker(**{HOST: {"auth": auth(SECRET)}}), "is invalid"),
        (docker(**{HOST: {"username": SECRET}}), "has no password"),
    ],
)
def test_unknown_format_is_refused_and_not_quoted(text: str, cause: str) -> None:
    with pytest.raises(UnknownFormatError, match=cause) as caught:
        read_secret(text, HOST)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
