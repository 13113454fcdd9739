"""The webhook secret in Secrets Manager (moto); no error quotes it."""

import json
from collections.abc import Iterator

import pytest

from pullahead.aws.webhook_secret import MIN_CHARACTERS, SecretsManagerWebhookSecrets
from pullahead.errors import ConfigError, StorageError
from pullahead.webhooks.ports import SecretSet
from pullahead.webhooks.senders import SENDERS
from tests.contract.local_services import client, moto_server, new_name

GOOD, OLD = "a-secret-of-some-length", "another-that-was-before"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto_server() as address:
        yield address


def read(url: str, text: str) -> SecretSet:
    name = new_name("webhooks")
    client(url, "secretsmanager").create_secret(Name=name, SecretString=text)
    return SecretsManagerWebhookSecrets(client(url, "secretsmanager"), name, SENDERS).read_webhook_secrets()


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
    assert read(url, text) == SecretSet(tuple(secret.encode() for secret in secrets))


def test_secrets_of_single_senders_are_read(url: str) -> None:
    text = json.dumps({"senders": {"github": GOOD, "harbor": {"current": OLD, "previous": GOOD}}})
    found = read(url, text)
    assert found == SecretSet((), {"github": (GOOD.encode(),), "harbor": (OLD.encode(), GOOD.encode())})
    assert (found.of("harbor"), found.of("quay")) == ((OLD.encode(), GOOD.encode()), ())
    both = read(url, json.dumps({"senders": {"github": GOOD}, "current": OLD}))
    assert (both.of("github"), both.of("quay")) == ((GOOD.encode(),), (OLD.encode(),))


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
        json.dumps({"senders": {"github": "short"}}),
        json.dumps({"senders": {"git": GOOD}}),
        json.dumps({"senders": {GOOD: GOOD}}),
        json.dumps({"senders": [GOOD]}),
        json.dumps({"senders": {"github": GOOD}, "next": GOOD}),
        json.dumps({"senders": {"github": {"current": GOOD, "next": OLD}}}),
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
        SecretsManagerWebhookSecrets(client(url, "secretsmanager"), "nowhere", SENDERS).read_webhook_secrets()
