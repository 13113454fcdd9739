"""The webhook secret in Secrets Manager: plain text, or JSON with two secrets in a rotation or one for each sender.

No error quotes it, nor the names in it.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pullahead.aws.errors import storage_errors
from pullahead.errors import ConfigError
from pullahead.webhooks.ports import SecretSet

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

MIN_CHARACTERS = 20
"""A shorter one may be guessed; `openssl rand -hex 32` makes 64."""
_FORMATS = (
    'Write {"current": SECRET, "previous": SECRET} or one secret as plain text, of letters and digits; or '
    '{"senders": {"github": SECRET}} for secrets of their own.'
)


class _SecretPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current: str
    previous: str | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(secret for secret in (self.current, self.previous) if secret is not None)


class _SecretsBySender(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    senders: dict[str, str | _SecretPair]
    current: str | None = None
    previous: str | None = None


class SecretsManagerWebhookSecrets:
    """Implements `pullahead.webhooks.ports.WebhookSecrets`."""

    def __init__(self, client: "SecretsManagerClient", secret: str, senders: Collection[str]) -> None:
        self._client, self._secret, self._senders = client, secret, frozenset(senders)

    def read_webhook_secrets(self) -> SecretSet:
        """Read the secret."""
        with storage_errors("read", f"the secret {self._secret}"):
            answer = self._client.get_secret_value(SecretId=self._secret)
        found = _read(answer.get("SecretString", ""))
        if found is None:
            raise ConfigError(f"the secret {self._secret} has an unknown format. {_FORMATS}")
        if found.by_sender.keys() - self._senders:
            known = ", ".join(sorted(self._senders))
            raise ConfigError(f"the secret {self._secret} names an unknown sender. Write one of {known}. {_FORMATS}")
        texts = [*found.shared, *(secret for secrets in found.by_sender.values() for secret in secrets)]
        if any(len(text) < MIN_CHARACTERS or not text.isascii() or not text.isprintable() for text in texts):
            needed = f"at least {MIN_CHARACTERS} characters, all printable ASCII"
            raise ConfigError(f"each secret in {self._secret} must have {needed}. {_FORMATS}")
        by_sender = {sender: _bytes(secrets) for sender, secrets in found.by_sender.items()}
        return SecretSet(_bytes(found.shared), by_sender)


class _Texts(NamedTuple):
    shared: tuple[str, ...]
    by_sender: Mapping[str, tuple[str, ...]]


def _read(text: str) -> _Texts | None:
    text = text.strip()
    if not text.startswith("{"):
        return _Texts((text,), {})
    try:
        form = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        if "senders" not in form:
            return _Texts(msgspec.json.decode(text, type=_SecretPair).secrets, {})
        named = msgspec.json.decode(text, type=_SecretsBySender)
    except (msgspec.DecodeError, RecursionError):  # their messages may quote the secret
        return None
    by_sender = {name: (each,) if isinstance(each, str) else each.secrets for name, each in named.senders.items()}
    return _Texts(tuple(each for each in (named.current, named.previous) if each is not None), by_sender)


def _bytes(secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(secret.encode() for secret in secrets)
