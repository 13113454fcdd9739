"""The webhook secret in Secrets Manager: plain text, or JSON with two secrets during a rotation.

No error quotes it.
"""

from typing import TYPE_CHECKING

import msgspec

from pullahead.aws.errors import storage_errors
from pullahead.errors import ConfigError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

MIN_CHARACTERS = 20
"""A shorter one may be guessed; `openssl rand -hex 32` makes 64."""
_FORMATS = 'Write {"current": SECRET, "previous": SECRET} or one secret as plain text, of letters and digits.'


class _SecretPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current: str
    previous: str | None = None


class SecretsManagerWebhookSecrets:
    """Implements `pullahead.webhooks.ports.WebhookSecrets`."""

    def __init__(self, client: "SecretsManagerClient", secret: str) -> None:
        self._client, self._secret = client, secret

    def read_webhook_secrets(self) -> tuple[bytes, ...]:
        """Read the secret."""
        with storage_errors("read", f"the secret {self._secret}"):
            answer = self._client.get_secret_value(SecretId=self._secret)
        secrets = _secrets(answer.get("SecretString", ""))
        if secrets is None:
            raise ConfigError(f"the secret {self._secret} has an unknown format. {_FORMATS}")
        if any(len(secret) < MIN_CHARACTERS or not secret.isascii() or not secret.isprintable() for secret in secrets):
            needed = f"at least {MIN_CHARACTERS} characters, all printable ASCII"
            raise ConfigError(f"the secret {self._secret} must have {needed}. {_FORMATS}")
        return tuple(secret.encode() for secret in secrets)


def _secrets(text: str) -> tuple[str, ...] | None:
    text = text.strip()
    if not text.startswith("{"):
        return (text,)
    try:
        pair = msgspec.json.decode(text, type=_SecretPair)
    except (msgspec.DecodeError, RecursionError):  # their messages may quote the secret
        return None
    return tuple(secret for secret in (pair.current, pair.previous) if secret is not None)
