"""docs/private-upstreams.md: commands store secrets that can be read, rules load, and messages are the code's."""

import base64
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from pullahead.aws import upstream_credentials
from pullahead.aws.upstream_credentials import UnknownFormatError, read_secret
from pullahead.cli.main import main
from pullahead.registry.credentials import Credential, SecretKind
from pullahead.rules.load import load_rules
from pullahead.rules.model import Rules

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/private-upstreams.md").read_text()
AWS = """#!/bin/sh
for each; do printf '%s\\0' "$each" >> "$RECORDED"; done
printf '\\n' >> "$RECORDED"
"""
KEY = b'{"type": "service_account",\n "private_key": "s3cr3t"}\n'


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def documented_rules() -> Rules:
    return load_rules(blocks("yaml")[0], source="private-upstreams.md")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run the page's commands in a shell whose `aws` only records, and map names of secrets to their texts."""
    folder = tmp_path_factory.mktemp("shell")
    (folder / "key.json").write_bytes(KEY)
    (folder / "aws").write_text(AWS)
    (folder / "aws").chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "RECORDED": str(folder / "recorded")}
    subprocess.run(["bash", "-euc", blocks("console")[0]], env=environment, cwd=folder, check=True, timeout=30)
    calls = [line.split("\0")[:-1] for line in (folder / "recorded").read_text().splitlines()]
    assert all(call[:2] == ["secretsmanager", "create-secret"] for call in calls)
    return {call[call.index("--name") + 1]: call[call.index("--secret-string") + 1] for call in calls}


def test_every_secret_that_the_rules_name_is_stored_and_read(stored: dict[str, str]) -> None:
    named = {source.secret: each.host for each in documented_rules().upstreams for source in each.credentials}
    assert set(named) == set(stored)
    for name, host in named.items():
        credential = read_secret(stored[name], host)
        assert credential.username
        assert credential.secret


def test_names_of_users_are_stored_as_they_are_written(stored: dict[str, str]) -> None:
    users = {json.loads(text)["username"] for text in stored.values()}
    cells = {
        row.split(" | ")[2].strip("`") for row in PAGE.splitlines() if row.startswith("| ") and row.count(" | ") == 3
    }
    assert users - {"YOUR-NAME"} <= cells


def test_key_of_google_is_stored_whole(stored: dict[str, str]) -> None:
    assert base64.b64decode(read_secret(stored["pullahead/google"], "pkg.dev").secret) == KEY


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_rules_load(number: int) -> None:
    assert load_rules(blocks("yaml")[number], source="private-upstreams.md").rules


def test_parameters_are_those_that_validate_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules.yaml").write_text(blocks("yaml")[0])
    monkeypatch.chdir(tmp_path)
    assert main(["validate", "rules.yaml"]) == 0
    assert capsys.readouterr().out == blocks("console")[1].partition("\n")[2]


FORMS = re.findall(r"^\| [^|]+ \| `([^`|]*(?:NAME|TOKEN|auth)[^`|]*)` \|$", PAGE, re.MULTILINE)


def test_every_form_of_a_secret_is_shown() -> None:
    assert len(FORMS) == 7


@pytest.mark.parametrize("text", FORMS)
def test_form_of_a_secret_is_read(text: str) -> None:
    credential = read_secret(text, "quay.io")
    secret = "TOKEN" if "TOKEN" in text else "PASSWORD"
    kinds = {"identitytoken": SecretKind.IDENTITY_TOKEN, "registrytoken": SecretKind.REGISTRY_TOKEN}
    kind = next((kind for key, kind in kinds.items() if key in text), SecretKind.PASSWORD)
    name = "NAME" if kind is SecretKind.PASSWORD else ""
    assert credential == Credential(name, secret, kind)


def test_messages_are_those_of_the_code() -> None:
    shown = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", PAGE.partition("## If it fails")[2], re.MULTILINE)[2:]
    refusals = {cause for cause, _ in upstream_credentials._SECRET_REFUSALS.values()}
    formats = set()
    for text in ('{"username": "NAME"}', "TOKEN", '{"auths": {}}'):
        with pytest.raises(UnknownFormatError) as refused:
            read_secret(text, "HOST")
        formats.add(str(refused.value))
    known = refusals | formats | {"so no credential is sent there", "which is refused"}
    assert set(shown) <= known
    assert formats <= set(shown)
