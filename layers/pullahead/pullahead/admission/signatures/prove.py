"""Verify an image that is named by digest: with the trust root, keys and registry that this process knows.

What upstream answers decides between UNKNOWN, which is asked again, and UNTRUSTED. What is missing here, such as a key
or the trust root, is an error: nothing was verified then.
"""

from collections.abc import Callable
from typing import Protocol

from pullahead.admission.signatures.find import SignatureReader, is_hostile
from pullahead.admission.signatures.trust_root import TrustRoot
from pullahead.admission.signatures.verdict import Outcome, SignatureVerdict
from pullahead.admission.signatures.verify import verify_image
from pullahead.clock import Clock
from pullahead.errors import ConfigError, NotFoundError, PullaheadError, RegistryError
from pullahead.oci import RawManifest, Reference
from pullahead.rules.signature_policy import SignaturePolicy, with_keys_of_kms
from pullahead.text import one_line

LoadTrustRoot = Callable[[], TrustRoot]
"""Raises: ConfigError where it is none; StorageError where it cannot be read."""

ReadKey = Callable[[str], str]
"""Reads the public key of a key of KMS, as PEM text. Raises: ConfigError; StorageError."""


class ImageReader(SignatureReader, Protocol):
    """Reads an image, and what upstream keeps beside it."""

    def get_manifest(self, reference: Reference) -> RawManifest:
        """Read a manifest. Raises: as `pullahead.oci.registries.ManifestReader`."""
        ...


def no_kms(key_id: str) -> str:
    """Know of no KMS."""
    raise ConfigError(f"the key {key_id} is in AWS KMS, which only a deployed stack asks")


class ProveSignatures:
    """Verifies images."""

    def __init__(
        self, upstream: ImageReader, trust_root: LoadTrustRoot, clock: Clock, read_key: ReadKey = no_kms
    ) -> None:
        self._upstream, self._trust_root, self._clock, self._read_key = upstream, trust_root, clock, read_key

    def __call__(self, image: Reference, policy: SignaturePolicy) -> SignatureVerdict:
        """Verify an image. Raises NotFoundError where upstream does not have it any more, ConfigError, StorageError."""
        known = with_keys_of_kms(policy, self._read_key)
        trust_root = self._trust_root() if known.needs_trust_root else None
        try:
            root = self._upstream.get_manifest(image)
        except NotFoundError:
            raise
        except RegistryError as error:
            return _verdict_of(error)
        return verify_image(image, root.content, known, self._upstream, trust_root, self._clock())


def _verdict_of(error: PullaheadError) -> SignatureVerdict:
    outcome = Outcome.UNTRUSTED if is_hostile(error) else Outcome.UNKNOWN
    return SignatureVerdict(outcome, f"the image cannot be read: {one_line(str(error))}")
