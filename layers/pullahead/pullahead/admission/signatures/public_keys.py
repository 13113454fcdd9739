"""Public keys: which are accepted, and whether a signature is by one of them."""

import contextlib
from collections.abc import Iterator
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from pullahead.admission.signatures.verdict import RefusedError
from pullahead.errors import ConfigError

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

_MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
_MAX_PEM_CHARACTERS: Final = 16 * 1024


def load_public_key(pem: str, name: str) -> PublicKey:
    """Load the one public key of a PEM text. Raises ConfigError, which names the key and shows nothing of it."""
    if "PRIVATE KEY" in pem:
        raise ConfigError(
            f"{name} is a private key, which verifies nothing here; give its public key, and keep it safe"
        )
    if len(pem) > _MAX_PEM_CHARACTERS or pem.count("-----BEGIN ") != 1:
        raise ConfigError(f"{name} is not one public key in PEM form: cosign public-key --key KEY writes it")
    try:
        return accepted_key(load_pem_public_key(pem.encode()))
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{name} is no public key in PEM form: cosign public-key --key KEY writes it") from None
    except RefusedError as error:
        raise ConfigError(f"{name} cannot be used: {error}") from None


def accepted_key(key: object) -> PublicKey:
    """Take a key of a kind that is known and strong enough. Raises RefusedError."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _HASHES:
        return key
    if isinstance(key, rsa.RSAPublicKey) and _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
        return key
    raise RefusedError(
        f"a key of this kind is not accepted: ECDSA on P-256, P-384 or P-521, Ed25519, and RSA of {_MIN_RSA_BITS} to "
        f"{_MAX_RSA_BITS} bits are"
    )


def is_signed_by(key: PublicKey, signature: bytes, signed: bytes) -> bool:
    """Tell whether a signature over some bytes is by a key."""
    return any(_verifies(key, signature, signed, digest) for digest in _digests_for(key))


def _digests_for(key: PublicKey) -> Iterator[hashes.HashAlgorithm]:
    """Yield how the bytes may have been hashed: cosign takes SHA-256 for every curve, other tools the curve's own."""
    yield hashes.SHA256()
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name != "secp256r1":
        yield _HASHES[key.curve.name]


def _verifies(key: PublicKey, signature: bytes, signed: bytes, digest: hashes.HashAlgorithm) -> bool:
    with contextlib.suppress(InvalidSignature):
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(digest))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), digest)
        else:
            key.verify(signature, signed)
        return True
    return False
