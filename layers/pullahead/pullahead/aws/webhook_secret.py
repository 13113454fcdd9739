"""The secret of senders of webhooks, in Secrets Manager: as plain text, or two of them while one replaces the other.

Nothing of it is ever quoted.
"""

from typing import TYPE_CHECKING

import msgspec

from pullahead.aws.dynamodb import storage_errors
from pullahead.errors import ConfigError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

MIN_CHARACTERS = 20
"""What is shorter may be guessed; `openssl rand -hex 32` makes 64."""
_FORMS = 'Write {"current": SECRET, "previous": SECRET} or one secret as plain text, of letters and digits.'


class _Two(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current: str
    previous: str | None = None


class SecretsManagerWebhookSecrets:
    """Satisfies `pullahead.ports.ReadsWebhookSecrets`."""

    def __init__(self, client: "SecretsManagerClient", secret: str) -> None:
        self._client, self._secret = client, secret

    def read_webhook_secrets(self) -> tuple[bytes, ...]:
        """Read the secret."""
        with storage_errors("read", f"the secret {self._secret}"):
            answer = self._client.get_secret_value(SecretId=self._secret)
        secrets = _secrets(answer.get("SecretString", ""))
        if secrets is None:
            raise ConfigError(f"the secret {self._secret} is of no form that is known. {_FORMS}")
        if any(len(secret) < MIN_CHARACTERS or not secret.isascii() or not secret.isprintable() for secret in secrets):
            raise ConfigError(f"the secret {self._secret} has fewer than {MIN_CHARACTERS} characters. {_FORMS}")
        return tuple(secret.encode() for secret in secrets)


def _secrets(text: str) -> tuple[str, ...] | None:
    text = text.strip()
    if not text.startswith("{"):
        return (text,)
    try:
        two = msgspec.json.decode(text, type=_Two)
    except (msgspec.DecodeError, RecursionError):  # whose message may quote it
        return None
    return tuple(secret for secret in (two.current, two.previous) if secret is not None)
