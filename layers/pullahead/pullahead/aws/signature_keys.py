"""Public keys of AWS KMS, by alias or ARN: those that rules name as signers. A private key never leaves KMS."""

import base64
from datetime import datetime, timedelta
from textwrap import wrap
from typing import Any, Final

from pullahead.aws.errors import error_code, storage_errors
from pullahead.caching import Expiring, TtlCache
from pullahead.clock import Clock
from pullahead.errors import ConfigError, StorageError

_KEPT_FOR: Final = timedelta(hours=1)
_MAX_KEYS: Final = 100
_MAX_DER_BYTES: Final = 8192  # AWS KMS API reference, GetPublicKey
_FOR_GOOD: Final = {
    "AccessDeniedException": "add the ARN of its key to the parameter SignatureKeys, and allow it in the key's policy",
    "NotFoundException": "there is no such key in this account and Region: correct the name in the rules",
    "InvalidArnException": "correct the ARN in the rules",
    "UnsupportedOperationException": "it has no public key: an asymmetric key that signs is needed",
    "InvalidKeyUsageException": "it does not sign: an asymmetric key with the usage SIGN_VERIFY is needed",
    "DisabledException": "enable it, or take it out of the rules",
    "KMSInvalidStateException": "it cannot be used; see its state in KMS, or take it out of the rules",
}


class KmsPublicKeys:
    """Reads public keys, each once an hour, by a client of KMS."""

    def __init__(self, client: Any, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._cache = TtlCache[str, str, datetime](_MAX_KEYS)

    def __call__(self, key_id: str) -> str:
        """Return the PEM text of a key. Raises: ConfigError, which says what to do; StorageError."""
        now = self._clock()
        return self._cache.get_or_load(key_id, now, lambda: Expiring(self._read(key_id), now + _KEPT_FOR))

    def _read(self, key_id: str) -> str:
        try:
            with storage_errors("GetPublicKey", f"the key {key_id} of KMS"):
                answer = self._client.get_public_key(KeyId=key_id)
        except StorageError as error:
            if (advice := _FOR_GOOD.get(error_code(error))) is not None:
                raise ConfigError(f"{str(error).rstrip('.')}. To verify by this key, {advice}.") from error
            raise
        if answer.get("KeyUsage") != "SIGN_VERIFY":
            raise ConfigError(f"the key {key_id} of KMS does not sign; name an asymmetric key with SIGN_VERIFY")
        body = "\n".join(wrap(base64.b64encode(answer["PublicKey"][:_MAX_DER_BYTES]).decode(), 64))
        return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"
