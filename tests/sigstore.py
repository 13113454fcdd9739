"""A Sigstore of one's own: Fulcio, a log of certificates, Rekor of both versions and a timestamp authority, in memory.

What it signs is real, and so are its certificates and logs; its trust root is a file as Sigstore writes it. Each part
can be told to lie. Knows no server.

Sources: as `pullahead.admission.signatures`; RFC 3161 (timestamps), RFC 5652 (signed data), RFC 9162 (Merkle trees);
the signed note of golang.org/x/mod/sumdb/note, which a checkpoint is.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

NOW: Final = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
IN_TOTO: Final = "application/vnd.in-toto+json"
SIGN: Final = "https://sigstore.dev/cosign/sign/v1"
SLSA: Final = "https://slsa.dev/provenance/v1"
IDENTITY: Final = "https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1.2.3"
ISSUER: Final = "https://token.actions.githubusercontent.com"

Key = ec.EllipticCurvePrivateKey
_ISSUER_V1, _ISSUER_V2 = ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_TIMESTAMPS = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_SHA256: Final = hashes.SHA256()


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def sign(key: Key, content: bytes) -> bytes:
    return key.sign(content, ec.ECDSA(_SHA256))


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def der_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def pem_of(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def public_der(key: Key | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def public_pem(key: Key) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def pae(payload_type: str, payload: bytes) -> bytes:
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


class CertificateLog:
    """A log of certificates, which promises to keep what it is shown."""

    def __init__(self) -> None:
        self.key = new_key()

    @property
    def id(self) -> bytes:
        return hashlib.sha256(public_der(self.key)).digest()

    def timestamps(self, body: bytes, issuer_key: bytes, at: datetime, count: int = 1) -> x509.UnrecognizedExtension:
        """Sign what a certificate will be, as the extension that it then has."""
        moment = struct.pack("!Q", round(at.timestamp() * 1000))
        issuer = hashlib.sha256(issuer_key).digest()
        signed = b"\0\0" + moment + b"\0\1" + issuer + len(body).to_bytes(3, "big") + body + b"\0\0"
        signature = sign(self.key, signed)
        one = b"\0" + self.id + moment + b"\0\0" + b"\4\3" + struct.pack("!H", len(signature)) + signature
        listed = b"".join(struct.pack("!H", len(one)) + one for _ in range(count))
        return x509.UnrecognizedExtension(_TIMESTAMPS, tlv(0x04, struct.pack("!H", len(listed)), listed))


@dataclass
class Fulcio:
    """A certificate authority: a root, an intermediate, and certificates that live for ten minutes."""

    log: CertificateLog = field(default_factory=CertificateLog)
    start: datetime = NOW - timedelta(days=365)

    def __post_init__(self) -> None:
        self.root_key, self.key = new_key(), new_key()
        self.root = _authority("test-root", self.root_key, None, self.root_key, self.start)
        self.intermediate = _authority("test-intermediate", self.key, self.root, self.root_key, self.start)

    def issue(
        self,
        key: Key,
        *,
        names: Sequence[x509.GeneralName] = (x509.UniformResourceIdentifier(IDENTITY),),
        issuer: str | None = ISSUER,
        old_issuer: str | None = None,
        at: datetime = NOW - timedelta(hours=1),
        timestamps: int = 1,
        log: CertificateLog | None = None,
        usage: ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
        minutes: int = 10,
        self_signed: bool = False,
    ) -> x509.Certificate:
        """Issue a certificate, which has `timestamps` of a log of certificates; a self-signed one lies."""
        signer = key if self_signed else self.key
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.intermediate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at)
            .not_valid_after(at + timedelta(minutes=minutes))
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
        )
        if old_issuer is not None:
            builder = builder.add_extension(x509.UnrecognizedExtension(_ISSUER_V1, old_issuer.encode()), critical=False)
        if issuer is not None:
            value = tlv(0x0C, issuer.encode())
            builder = builder.add_extension(x509.UnrecognizedExtension(_ISSUER_V2, value), critical=False)
        if timestamps:
            body = builder.sign(signer, _SHA256).tbs_certificate_bytes
            extension = (log or self.log).timestamps(body, public_der(self.key), at, timestamps)
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(signer, _SHA256)


def _usage(*, digital_signature: bool = False, is_authority: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(name: str, key: Key, issuer: x509.Certificate | None, signer: Key, start: datetime) -> x509.Certificate:
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "test"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=3650))
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None if issuer is None else 0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    return builder.sign(signer, _SHA256)


class Rekor:
    """A transparency log: a Merkle tree of what it is given, checkpoints, and (version 1) promises with a time."""

    def __init__(self, name: str = "rekor.test") -> None:
        self.name, self.key = name, new_key()
        self.leaves = [b"an entry of somebody else"]

    @property
    def id(self) -> bytes:
        return hashlib.sha256(public_der(self.key)).digest()

    def promise(self, body: bytes, at: datetime, index: int) -> bytes:
        """Sign that an entry will be in the log (a signed entry timestamp)."""
        said = {
            "body": base64_of(body),
            "integratedTime": round(at.timestamp()),
            "logID": self.id.hex(),
            "logIndex": index,
        }
        return sign(self.key, canonical(said))

    def entry(self, body: bytes, kind: str, version: str, at: datetime | None) -> dict[str, Any]:
        """Log a body, as a bundle has the entry: with a promise if there is a time."""
        self.leaves = [*self.leaves[:1], body, b"an entry that came later"]
        tree = [hashlib.sha256(b"\0" + leaf).digest() for leaf in self.leaves]
        below = hashlib.sha256(b"\1" + tree[0] + tree[1]).digest()
        root = hashlib.sha256(b"\1" + below + tree[2]).digest()
        entry: dict[str, Any] = {
            "logIndex": "1",
            "logId": {"keyId": base64_of(self.id)},
            "kindVersion": {"kind": kind, "version": version},
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": base64_of(root),
                "treeSize": str(len(tree)),
                "hashes": [base64_of(tree[0]), base64_of(tree[2])],
                "checkpoint": {"envelope": self.checkpoint(len(tree), root)},
            },
            "canonicalizedBody": base64_of(body),
        }
        if at is not None:
            entry["integratedTime"] = str(round(at.timestamp()))
            entry["inclusionPromise"] = {"signedEntryTimestamp": base64_of(self.promise(body, at, 1))}
        return entry

    def checkpoint(self, size: int, root: bytes) -> str:
        """Sign the tree's head."""
        note = f"{self.name} - 1\n{size}\n{base64_of(root)}\n"
        signature = self.id[:4] + sign(self.key, note.encode())
        return f"{note}\n\u2014 {self.name} {base64_of(signature)}\n"

    def cosign2(self, body: bytes, at: datetime) -> str:
        """Log a body, as cosign 2 keeps the promise in an annotation."""
        return json.dumps(
            {
                "SignedEntryTimestamp": base64_of(self.promise(body, at, 1)),
                "Payload": {
                    "body": base64_of(body),
                    "integratedTime": round(at.timestamp()),
                    "logIndex": 1,
                    "logID": self.id.hex(),
                },
            }
        )


def hashedrekord(signed: bytes, signature: bytes, certificate: x509.Certificate) -> bytes:
    """Write an entry of Rekor 1 for a signature."""
    return canonical(
        {
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(signed).hexdigest()}},
                "signature": {
                    "content": base64_of(signature),
                    "publicKey": {"content": base64_of(pem_of(certificate).encode())},
                },
            },
        }
    )


def dsse_entry(payload: bytes, signature: bytes, certificate: x509.Certificate) -> bytes:
    """Write an entry of Rekor 1 for an envelope."""
    return canonical(
        {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(b"the envelope").hexdigest()},
                "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
                "signatures": [
                    {"signature": base64_of(signature), "verifier": base64_of(pem_of(certificate).encode())}
                ],
            },
        }
    )


def intoto_entry(payload: bytes, signature: bytes, certificate: x509.Certificate) -> bytes:
    """Write an entry of Rekor 1 for an envelope, as cosign 2 has it logged."""
    one = {
        "publicKey": base64_of(pem_of(certificate).encode()),
        "sig": base64_of(base64_of(signature).encode()),
    }
    content = {
        "envelope": {"payloadType": IN_TOTO, "signatures": [one]},
        "hash": {"algorithm": "sha256", "value": hashlib.sha256(b"the envelope").hexdigest()},
        "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
    }
    return canonical({"apiVersion": "0.0.2", "kind": "intoto", "spec": {"content": content}})


def hashedrekord_v2(signed: bytes, signature: bytes, certificate: x509.Certificate) -> bytes:
    """Write an entry of Rekor 2, which logs envelopes so, too."""
    verifier = {
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "x509Certificate": {"rawBytes": base64_of(der_of(certificate))},
    }
    data = {"algorithm": "SHA2_256", "digest": base64_of(hashlib.sha256(signed).digest())}
    spec = {"data": data, "signature": {"content": base64_of(signature), "verifier": verifier}}
    return canonical({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": spec}})


# --- Timestamps (RFC 3161), in DER ------------------------------------------------------------------------------------


def tlv(tag: int, *contents: bytes) -> bytes:
    """Write one value in DER."""
    content = b"".join(contents)
    size = len(content)
    length = (
        bytes([size]) if size < 128 else bytes([0x80 + (n := (size.bit_length() + 7) // 8)]) + size.to_bytes(n, "big")
    )
    return bytes([tag]) + length + content


def _oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray([40 * first + second])
    for number in rest:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.insert(0, 0x80 | (number & 0x7F))
        content += bytes(digits)
    return tlv(0x06, bytes(content))


_ALGORITHM: Final = tlv(0x30, _oid("2.16.840.1.101.3.4.2.1"))  # SHA-256
_ECDSA: Final = tlv(0x30, _oid("1.2.840.10045.4.3.2"))
_INFO: Final = "1.2.840.113549.1.9.16.1.4"


class TimestampAuthority:
    """Says when it was shown a signature."""

    def __init__(self, start: datetime = NOW - timedelta(days=365)) -> None:
        root_key, self.key = new_key(), new_key()
        self.root = _authority("test-tsa-root", root_key, None, root_key, start)
        self.start = start
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-tsa")]))
            .issuer_name(self.root.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=3650))
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
            .sign(root_key, _SHA256)
        )

    def stamp(self, signature: bytes, at: datetime) -> bytes:
        """Write a timestamp response for a signature."""
        imprint = tlv(0x30, _ALGORITHM, tlv(0x04, hashlib.sha256(signature).digest()))
        moment = tlv(0x18, at.strftime("%Y%m%d%H%M%SZ").encode())
        info = tlv(0x30, tlv(0x02, b"\1"), _oid("1.3.6.1.4.1.57264.2"), imprint, tlv(0x02, b"\x2a"), moment)
        attributes = b"".join(
            sorted(
                (
                    _attribute("1.2.840.113549.1.9.3", _oid(_INFO)),
                    _attribute("1.2.840.113549.1.9.4", tlv(0x04, hashlib.sha256(info).digest())),
                    _attribute("1.2.840.113549.1.9.16.2.47", self._certificate_id()),
                )
            )
        )
        issuer = self.certificate.issuer.public_bytes()
        serial = _integer(self.certificate.serial_number)
        signer = tlv(
            0x30,
            tlv(0x02, b"\1"),
            tlv(0x30, issuer, serial),
            _ALGORITHM,
            tlv(0xA0, attributes),
            _ECDSA,
            tlv(0x04, sign(self.key, tlv(0x31, attributes))),
        )
        content = tlv(0x30, _oid(_INFO), tlv(0xA0, tlv(0x04, info)))
        certificates = tlv(0xA0, der_of(self.certificate))
        signed = tlv(0x30, tlv(0x02, b"\3"), tlv(0x31, _ALGORITHM), content, certificates, tlv(0x31, signer))
        token = tlv(0x30, _oid("1.2.840.113549.1.7.2"), tlv(0xA0, signed))
        return tlv(0x30, tlv(0x30, tlv(0x02, b"\0")), token)

    def _certificate_id(self) -> bytes:
        digest = hashlib.sha256(der_of(self.certificate)).digest()
        return tlv(0x30, tlv(0x30, tlv(0x30, tlv(0x04, digest))))


def _attribute(kind: str, value: bytes) -> bytes:
    return tlv(0x30, _oid(kind), tlv(0x31, value))


def _integer(number: int) -> bytes:
    return tlv(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


# --- All of it --------------------------------------------------------------------------------------------------------


class Sigstore:
    """One deployment of all parts, with what cosign would write by it."""

    def __init__(self) -> None:
        self.fulcio, self.rekor, self.rekor2, self.tsa = Fulcio(), Rekor(), Rekor("rekor2.test"), TimestampAuthority()

    def trust_root(self, **changed: Any) -> bytes:
        """Write the trust root's file."""
        start = {"start": _moment(self.fulcio.start)}
        document = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [_log(log.name, log.key, log.id, start) for log in (self.rekor, self.rekor2)],
            "certificateAuthorities": [_chain(start, self.fulcio.intermediate, self.fulcio.root)],
            "ctlogs": [_log("ct.test", self.fulcio.log.key, self.fulcio.log.id, start)],
            "timestampAuthorities": [_chain(start, self.tsa.certificate, self.tsa.root)],
        }
        return json.dumps(document | changed).encode()


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _log(name: str, key: Key, log_id: bytes, valid_for: Mapping[str, str]) -> dict[str, Any]:
    public = {"rawBytes": base64_of(public_der(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": valid_for}
    return {
        "baseUrl": f"https://{name}",
        "hashAlgorithm": "SHA2_256",
        "publicKey": public,
        "logId": {"keyId": base64_of(log_id)},
    }


def _chain(valid_for: Mapping[str, str], *certificates: x509.Certificate) -> dict[str, Any]:
    return {
        "subject": {"organization": "test", "commonName": "test"},
        "uri": "https://authority.test",
        "certChain": {"certificates": [{"rawBytes": base64_of(der_of(each))} for each in certificates]},
        "validFor": valid_for,
    }
