"""One odd item among many does not spoil the others: tags, repositories, referrers, logins."""

import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pullahead.oci import digest_of
from tests.unit.manners.conftest import Command, CopyCommand
from tests.unit.manners.copying import IMAGE, assert_copied, reader, reference
from tests.unit.manners.registry import Asked, ImperfectRegistry, Reply, json_reply

ODD_NAMES: list[Any] = [None, 3, {}, [], "", "-ot-beta-jmx", f"sha256:{'a' * 64}", "x" * 129, "a b", "\x1b[31m"]
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.mark.parametrize("odd", ODD_NAMES)
def test_odd_tag_is_left_out_and_logged_once(
    source: ImperfectRegistry, caplog: pytest.LogCaptureFixture, odd: Any
) -> None:
    source.on("GET", "tags/list", json_reply({"tags": ["1.0", odd, "2.0", odd]}))
    with caplog.at_level(logging.WARNING):
        assert reader().list_tags(reference(source).repository) == ("1.0", "2.0")
    assert [record.message for record in caplog.records] == [
        f"listing tags of {source.host}/team/app: 2 entries left out, which are no tags"
    ]


@pytest.mark.parametrize("odd", ['"\\ud800"', "9" * 5000, "1e999", '{"a": "\\udfff"}', '"\\u0000"', "-" + "1" * 400])
def test_tag_that_cannot_even_be_read_is_left_out(source: ImperfectRegistry, odd: str) -> None:
    """Half a surrogate pair, a number beyond all numbers."""
    source.on("GET", "tags/list", Reply(200, {}, f'{{"tags": ["1.0", {odd}, "2.0"]}}'.encode()))
    source.on("GET", "_catalog", Reply(200, {}, f'{{"repositories": [{odd}, "team/app"]}}'.encode()))
    assert reader().list_tags(reference(source).repository) == ("1.0", "2.0")
    assert reader().list_repositories(source.host, "team") == ("team/app",)


@pytest.mark.parametrize("odd", [None, 3, {}, "team/-bad", "team/Upper", "team/a//b", "team/a:1"])
def test_odd_repository_is_left_out(source: ImperfectRegistry, odd: Any) -> None:
    source.on("GET", "_catalog", json_reply({"repositories": [odd, "team/app", "other/app"]}))
    assert reader().list_repositories(source.host, "team") == ("team/app",)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        {},
        {"mediaType": "m", "digest": "sha256:beef", "size": 1},
        {"mediaType": "m", "digest": IMAGE.digest, "size": "1"},
    ],
)
def test_odd_referrer_is_left_out(source: ImperfectRegistry, odd: Any) -> None:
    good = {"mediaType": "m", "digest": digest_of(b"signature"), "size": 9, "artifactType": None, "annotations": None}
    source.on("GET", "/referrers/", json_reply({"manifests": [odd, good]}, {"Content-Type": INDEX}))
    listed = reader().list_referrers(reference(source), IMAGE.digest)
    assert [(referrer.descriptor.digest, referrer.artifact_type) for referrer in listed] == [(good["digest"], "")]


def test_rest_of_a_listing_is_mirrored(
    command: Command,
    source: ImperfectRegistry,
    target: ImperfectRegistry,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source.on("GET", "tags/list", json_reply({"tags": [*ODD_NAMES, "1.0"]}))
    rules = {
        "version": 1,
        "upstreams": {source.host: {"plain_http": True}},
        "mirrors": [{"upstream": f"{source.host}/team/app", "tags": ["*"], "repository": "mirror/app"}],
    }
    (tmp_path / "rules.yaml").write_text(json.dumps(rules))
    assert command("sync", str(tmp_path / "rules.yaml"), "--registry", target.host).code == 0
    assert caplog.text.count("left out") == 1
    assert_copied(target)


def auth(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


GOOD = auth("me:s3cr3t")


def require_login(registry: ImperfectRegistry) -> None:
    """Let a registry answer whoever has the login, and nobody else."""

    def answer(asked: Asked) -> Reply | None:
        if asked.authorization == f"Basic {GOOD}":
            return None
        return Reply(401, {"WWW-Authenticate": 'Basic realm="r"'})

    registry.on("", "", answer)


@pytest.mark.parametrize(
    "others",
    [
        {"auths": {"other.io": None}},
        {"auths": {"other.io": 3, "third.io": {"auth": "!"}, "fourth.io": []}},
        {"credHelpers": {"other.io": None, "third.io": 3}},
        {"credHelpers": None, "credsStore": None, "HttpHeaders": None},
        {"Auths": {"other.io": {"auth": GOOD}}},
        {"proxies": {"default": None}, "plugins": 3, "psFormat": []},
    ],
)
def test_odd_login_of_another_host_does_not_matter(
    copy_command: CopyCommand, home: Path, target: ImperfectRegistry, others: dict[str, Any]
) -> None:
    require_login(target)
    auths = {**(others.get("auths") or {}), target.host: {"auth": GOOD}}
    write_config(home, json.dumps({**others, "auths": auths}))
    assert copy_command().code == 0
    assert_copied(target)


@pytest.mark.parametrize(
    "login",
    [
        {"auth": f"{GOOD}\n"},
        {"auth": f"{GOOD[:6]}\r\n{GOOD[6:]}\n"},
        {"auth": GOOD.rstrip("=")},
        {"auth": auth("me:s3cr3t\n")},
        {"auth": auth("me:s3cr3t\0\0")},
        {"auth": None, "username": "me", "password": "s3cr3t", "email": None, "serveraddress": None},
        {"Auth": GOOD},
        {"auth": GOOD, "identitytoken": None, "registrytoken": ""},
    ],
)
def test_login_is_read_in_all_forms(
    copy_command: CopyCommand, home: Path, target: ImperfectRegistry, login: dict[str, Any]
) -> None:
    require_login(target)
    write_config(home, json.dumps({"auths": {target.host: login}}))
    assert copy_command().code == 0
    assert_copied(target)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: f"\ufeff{text}",
        lambda text: f"\ufeff\r\n{text}\r\n",
        lambda text: f"\n\n{text}\n",
    ],
)
def test_file_of_windows_is_read(
    copy_command: CopyCommand, home: Path, target: ImperfectRegistry, change: Callable[[str], str]
) -> None:
    require_login(target)
    write_config(home, change(json.dumps({"auths": {target.host: {"auth": GOOD}}}, indent=2)))
    assert copy_command().code == 0
    assert_copied(target)


@pytest.mark.parametrize("text", ["", " \n", "\ufeff", "null", "{}", '{"auths": null}', '{"auths": {}}'])
def test_configuration_without_logins_is_no_error(
    copy_command: CopyCommand, home: Path, target: ImperfectRegistry, text: str
) -> None:
    write_config(home, text)
    assert copy_command().code == 0
    assert_copied(target)


def write_config(home: Path, text: str) -> None:
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(text)
