"""The webhook secret in Secrets Manager (moto); no error quotes it."""

import json
from collections.abc import Iterator

import pytest

from pullahead.aws.webhook_secret import MIN_CHARACTERS, SecretsManagerWebhookSecrets
from pullahead.errors import ConfigError, StorageError
from tests.contract.local_services import client, moto_server, new_name

GOOD, OLD = "a-secret-of-some-length", "another-that-was-before"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto_server() as address:
        yield address


def read(url: str, text: str) -> tuple[bytes, ...]:
    name = new_name("webhooks")
    client(url, "secretsmanager").create_secret(Name=name, SecretString=text)
    return SecretsManagerWebhookSecrets(client(url, "secretsmanager"), name).read_webhook_secrets()


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        (GOOD, (GOOD,)),
        (f"{GOOD}\n", (GOOD,)),
        (json.dumps({"current": GOOD}), (GOOD,)),
        (json.dumps({"current": GOOD, "previous": OLD}), (GOOD, OLD)),
        (json.dumps({"current": GOOD, "previous": None}), (GOOD,)),
        ("x" * MIN_CHARACTERS, ("x" * MIN_CHARACTERS,)),
    ],
)
def test_secret_is_read(url: str, text: str, secrets: tuple[str, ...]) -> None:
    assert read(url, text) == tuple(secret.encode() for secret in secrets)


@pytest.mark.parametrize(
    "text",
    [
        "x" * (MIN_CHARACTERS - 1),
        json.dumps({"current": ""}),
        json.dumps({"current": GOOD, "previous": "short"}),
        json.dumps({"previous": GOOD}),
        json.dumps({"current": GOOD, "next": OLD}),
        json.dumps({"current": [GOOD]}),
        f'{{"current": "{GOOD}"',
        "{" * 5000,
        f"{GOOD}\u00e4",
    ],
)
def test_weak_secret_is_refused_and_not_quoted(url: str, text: str) -> None:
    with pytest.raises(ConfigError, match="Write") as refused:
        read(url, text)
    assert GOOD not in str(refused.value)
    assert refused.value.__cause__ is None


def test_missing_secret_is_a_storage_error(url: str) -> None:
    with pytest.raises(StorageError, match="read of the secret nowhere failed"):
        SecretsManagerWebhookSecrets(client(url, "secretsmanager"), "nowhere").read_webhook_secrets()
