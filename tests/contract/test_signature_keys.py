"""Public keys of KMS and a trust root in S3 (moto): read once for a while, and errors that say what to do."""

from collections.abc import Iterator
from datetime import timedelta
from importlib.resources import files
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pullahead.admission.signatures.public_keys import load_public_key
from pullahead.aws.signature_keys import KmsPublicKeys
from pullahead.aws.trust_root_file import S3TrustRoot
from pullahead.errors import ConfigError, StorageError
from tests.contract.local_services import client, moto_server, new_name
from tests.fakes.memory import FakeClock

SHIPPED = files("pullahead.admission.signatures").joinpath("trusted_root.json").read_bytes()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto_server() as address:
        yield address


class Counting:
    """A client that counts its calls."""

    def __init__(self, of: Any) -> None:
        self._of, self.calls = of, 0

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.calls += 1
            return getattr(self._of, name)(**arguments)

        return call


def new_key(url: str, spec: str, usage: str = "SIGN_VERIFY") -> str:
    key: str = client(url, "kms").create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]
    return key


@pytest.mark.parametrize(
    ("spec", "kind"), [("ECC_NIST_P256", ec.EllipticCurvePublicKey), ("RSA_2048", rsa.RSAPublicKey)]
)
def test_public_key_of_an_alias_is_read_once_an_hour(url: str, spec: str, kind: type) -> None:
    alias = f"alias/{new_name('cosign')}"
    client(url, "kms").create_alias(AliasName=alias, TargetKeyId=new_key(url, spec))
    counting, clock = Counting(client(url, "kms")), FakeClock()
    keys = KmsPublicKeys(counting, clock)
    assert isinstance(load_public_key(keys(alias), alias), kind)
    assert (keys(alias), counting.calls) == (keys(alias), 1)
    clock.advance(hours=1)
    keys(alias)
    assert counting.calls == 2


def test_missing_key_says_which_and_what_to_do(url: str) -> None:
    with pytest.raises(
        ConfigError, match=r"alias/none of KMS failed.*[^.]\. To verify by this key, .*correct the name"
    ):
        KmsPublicKeys(client(url, "kms"), FakeClock())("alias/none")


def test_denied_key_names_the_parameter() -> None:
    class Denying:
        def get_public_key(self, KeyId: str) -> Any:  # noqa: ARG002, N803 - the name of the API
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, "GetPublicKey")

    with pytest.raises(ConfigError, match=r"alias/cosign of KMS failed.*the parameter SignatureKeys"):
        KmsPublicKeys(Denying(), FakeClock())("alias/cosign")


def test_key_that_does_not_sign_is_refused() -> None:
    class Encrypting:
        def get_public_key(self, KeyId: str) -> Any:  # noqa: ARG002, N803
            return {"KeyUsage": "ENCRYPT_DECRYPT", "PublicKey": b""}

    with pytest.raises(ConfigError, match="does not sign"):
        KmsPublicKeys(Encrypting(), FakeClock())("alias/cosign")


def stored(url: str, content: bytes = SHIPPED) -> str:
    bucket = new_name("trust")
    where = {"LocationConstraint": "eu-west-1"}
    client(url, "s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    client(url, "s3").put_object(Bucket=bucket, Key="a/trusted_root.json", Body=content)
    return f"s3://{bucket}/a/trusted_root.json"


def test_trust_root_is_read_again_only_when_it_has_changed(url: str) -> None:
    address, clock = stored(url), FakeClock()
    counting: Any = Counting(client(url, "s3"))
    read = S3TrustRoot(counting, address, clock)
    first = read()
    assert (read() is first, counting.calls) == (True, 1)
    clock.advance(minutes=6)
    assert (read() is first, counting.calls) == (True, 2)
    bucket, _, key = address.removeprefix("s3://").partition("/")
    client(url, "s3").put_object(Bucket=bucket, Key=key, Body=SHIPPED + b" ")
    clock.advance(minutes=6)
    assert read() is not first
    assert first.problems(clock() + timedelta(days=36500))


def test_trust_root_that_is_none_is_not_used(url: str) -> None:
    with pytest.raises(ConfigError, match="is no trust root of Sigstore"):
        S3TrustRoot(client(url, "s3"), stored(url, b"{}"), FakeClock())()


def test_trust_root_that_is_missing_is_a_storage_error(url: str) -> None:
    address = stored(url)
    with pytest.raises(StorageError, match="read of the trust root s3://"):
        S3TrustRoot(client(url, "s3"), f"{address}.missing", FakeClock())()


@pytest.mark.parametrize("address", ["https://example.com/x", "s3://b", "ssm:/x"])
def test_other_addresses_are_refused(url: str, address: str) -> None:
    with pytest.raises(ConfigError, match="write s3://BUCKET/KEY"):
        S3TrustRoot(client(url, "s3"), address, FakeClock())
