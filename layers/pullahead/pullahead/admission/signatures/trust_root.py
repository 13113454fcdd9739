"""The trust root: whose certificates, logs and timestamps are believed, and when. A file of Sigstore's, as it is.

Each certificate authority and each log is believed for what was signed while it was in use, and not later. The file
says nothing of its own age: what knows no authority or no log that is in use any more is too old.

Source: sigstore/protobuf-specs, sigstore_trustroot.proto (TrustedRoot).
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any, Final, NamedTuple

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key

from pullahead.admission.signatures.public_keys import PublicKey, accepted_key
from pullahead.admission.signatures.verdict import RefusedError
from pullahead.errors import ConfigError
from pullahead.text import moment_text

MAX_BYTES: Final = 1024 * 1024
_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
_MAX_ENTRIES: Final = 100
_SOON: Final = timedelta(days=60)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class _Period(msgspec.Struct, frozen=True):
    start: datetime | None = None
    end: datetime | None = None

    def has(self, moment: datetime) -> bool:
        return (self.start is None or self.start <= moment) and (self.end is None or moment <= self.end)


class _WireKey(msgspec.Struct, rename="camel"):
    raw_bytes: bytes
    valid_for: _Period = _Period()


class _WireLogId(msgspec.Struct, rename="camel"):
    key_id: bytes


class _WireLog(msgspec.Struct, rename="camel"):
    public_key: _WireKey
    log_id: _WireLogId
    base_url: str = ""

    @property
    def period(self) -> _Period:
        return self.public_key.valid_for


class _WireCertificate(msgspec.Struct, rename="camel"):
    raw_bytes: bytes


class _WireChain(msgspec.Struct):
    certificates: list[_WireCertificate]


class _WireAuthority(msgspec.Struct, rename="camel"):
    cert_chain: _WireChain
    valid_for: _Period
    uri: str = ""

    @property
    def period(self) -> _Period:
        return self.valid_for


class _Wire(msgspec.Struct, rename="camel"):
    media_type: str
    tlogs: list[_WireLog]
    certificate_authorities: list[_WireAuthority]
    ctlogs: list[_WireLog]
    timestamp_authorities: list[_WireAuthority] = []


class Log(NamedTuple):
    """A log of entries or of certificates: its identity, and the key that it signs with."""

    id: bytes
    key: PublicKey


class TrustAt(NamedTuple):
    """What is believed of one moment: certificates of authorities, logs of signatures and of certificates.

    `document` is the same as a file of Sigstore's.
    """

    authorities: tuple[x509.Certificate, ...]
    logs: tuple[Log, ...]
    certificate_logs: tuple[Log, ...]
    document: dict[str, Any]


class TrustRoot:
    """A trust root. Raises ConfigError for what is none; the message names `source`."""

    def __init__(self, content: bytes, source: str) -> None:
        self.source = source
        if len(content) > MAX_BYTES:
            raise ConfigError(f"the trust root {source} has {len(content)} bytes; the limit is {MAX_BYTES}")
        try:
            self._wire = msgspec.json.decode(content, type=_Wire)
            self._document: dict[str, Any] = msgspec.json.decode(content)
            self._logs = [_log(each) for each in self._wire.tlogs]
            self._certificate_logs = [_log(each) for each in self._wire.ctlogs]
            self._authorities = [_certificates(each) for each in self._wire.certificate_authorities]
        except (msgspec.DecodeError, ValueError, RecursionError, RefusedError) as error:
            raise ConfigError(f"{source} is no trust root of Sigstore: {error}; {_ADVICE}") from None
        if self._wire.media_type != _MEDIA_TYPE:
            raise ConfigError(f"{source} is no trust root of Sigstore, but {self._wire.media_type!r}; {_ADVICE}")
        if any(len(each) > _MAX_ENTRIES for each in (self._logs, self._certificate_logs, self._authorities)):
            raise ConfigError(f"the trust root {source} has more than {_MAX_ENTRIES} logs or authorities")

    def at(self, moment: datetime) -> TrustAt:
        """Return what was in use at a moment."""
        wire = self._wire
        document = {
            **self._document,
            "tlogs": _of(self._document["tlogs"], wire.tlogs, moment),
            "ctlogs": _of(self._document["ctlogs"], wire.ctlogs, moment),
            "certificateAuthorities": _of(
                self._document["certificateAuthorities"], wire.certificate_authorities, moment
            ),
            "timestampAuthorities": _of(
                self._document.get("timestampAuthorities", []), wire.timestamp_authorities, moment
            ),
        }
        return TrustAt(
            tuple(one for chain in _of(self._authorities, wire.certificate_authorities, moment) for one in chain),
            tuple(_of(self._logs, wire.tlogs, moment)),
            tuple(_of(self._certificate_logs, wire.ctlogs, moment)),
            document,
        )

    def problems(self, now: datetime) -> tuple[str, ...]:
        """Say what makes this file too old, now or soon; nothing while it is well."""
        authorities = zip(self._wire.certificate_authorities, self._authorities, strict=True)
        ends: dict[str, list[datetime | None]] = {
            "certificate authority": [_end(wire.period, chain) for wire, chain in authorities],
            "log of signatures": [wire.period.end for wire in self._wire.tlogs],
            "log of certificates": [wire.period.end for wire in self._wire.ctlogs],
        }
        found = []
        for name, each in ends.items():
            last = max((end or _NEVER for end in each), default=now)
            if last <= now + _SOON:
                when = "any more" if last <= now else f"after {moment_text(last)}"
                found.append(f"the trust root {self.source} is too old: no {name} of it is in use {when}; {_ADVICE}")
        return tuple(found)


def _end(period: _Period, chain: Iterable[x509.Certificate]) -> datetime:
    return min(period.end or _NEVER, *(certificate.not_valid_after_utc for certificate in chain))


def shipped_trust_root() -> TrustRoot:
    """Return that of Sigstore's public service, as it was when this version was made."""
    content = files("pullahead.admission.signatures").joinpath("trusted_root.json").read_bytes()
    return TrustRoot(content, "that Pullahead ships")


_ADVICE: Final = (
    "the current one is trusted_root.json of Sigstore's TUF repository (cosign trusted-root create writes one, "
    "cosign initialize fetches it), or that of your own Fulcio and Rekor"
)


def _log(wire: _WireLog) -> Log:
    return Log(wire.log_id.key_id, accepted_key(load_der_public_key(wire.public_key.raw_bytes)))


def _certificates(wire: _WireAuthority) -> tuple[x509.Certificate, ...]:
    chain = tuple(x509.load_der_x509_certificate(each.raw_bytes) for each in wire.cert_chain.certificates)
    if not chain or len(chain) > _MAX_ENTRIES:
        raise ValueError("a certificate authority has no certificate, or very many")
    return chain


def _of(entries: list[Any], wires: "Sequence[_WireLog | _WireAuthority]", moment: datetime) -> list[Any]:
    return [entry for entry, wire in zip(entries, wires, strict=True) if wire.period.has(moment)]
