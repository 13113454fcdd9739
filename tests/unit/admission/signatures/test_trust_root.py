"""The trust root: which files are one, what it knows of a moment, and when it is too old."""

import json
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import pytest

from pullahead.admission.signatures.trust_root import MAX_BYTES, TrustRoot, shipped_trust_root
from pullahead.errors import ConfigError
from tests.sigstore import NOW
from tests.unit.admission.signatures.signed_images import sigstore

START = {"start": "2025-11-30T12:00:00Z"}


def document(**changed: Any) -> bytes:
    return sigstore().trust_root(**changed)


def ended(part: str, end: str) -> bytes:
    """Write a trust root of which one part was in use until a moment."""
    read = json.loads(document())
    for each in read[part]:
        each.get("publicKey", each)["validFor"] = START | {"end": end}
    return json.dumps(read).encode()


def test_shipped_one_is_that_of_the_library() -> None:
    """A newer version of the library may bring a newer one: copy it then."""
    stored = files("sigstore._store") / "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev" / "trusted_root.json"
    shipped = files("pullahead.admission.signatures") / "trusted_root.json"
    assert json.loads(shipped.read_bytes()) == json.loads(stored.read_bytes())


def test_shipped_one_is_not_too_old() -> None:
    trust = shipped_trust_root()
    assert trust.problems(datetime(2026, 11, 30, tzinfo=UTC)) == ()
    assert len(trust.at(datetime(2026, 11, 30, tzinfo=UTC)).logs) == 2
    assert len(trust.at(datetime(2024, 11, 30, tzinfo=UTC)).logs) == 1


@pytest.mark.parametrize("part", ["tlogs", "ctlogs", "certificateAuthorities"])
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("2026-11-30T11:00:00Z", "is in use any more"),
        ("2026-12-30T12:00:00Z", "is in use after 2026-12-30 12:00 UTC"),
        ("2027-11-30T12:00:00Z", ""),
    ],
)
def test_part_that_ends_is_told_before_it_does(part: str, end: str, expected: str) -> None:
    problems = TrustRoot(ended(part, end), "root.json").problems(NOW)
    assert len(problems) == (1 if expected else 0)
    assert all(expected in problem and "the trust root root.json is too old" in problem for problem in problems)


def test_certificate_of_an_authority_that_expires_is_told() -> None:
    assert "no certificate authority" in TrustRoot(document(), "r").problems(NOW + timedelta(days=3650))[0]


@pytest.mark.parametrize("part", ["tlogs", "ctlogs", "certificateAuthorities", "timestampAuthorities"])
def test_nothing_is_believed_before_it_was_in_use(part: str) -> None:
    trust = TrustRoot(document(), "root.json")
    before, then = trust.at(NOW - timedelta(days=400)), trust.at(NOW)
    assert (before.document[part], len(then.document[part]) > 0) == ([], True)
    assert (before.authorities, before.logs, before.certificate_logs) == ((), (), ())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 10_000,
        document(mediaType="application/vnd.dev.sigstore.trustedroot+json;version=9"),
        document(tlogs=[{}]),
        document(tlogs=None),
        document(certificateAuthorities=[{"certChain": {"certificates": []}, "validFor": START}]),
        document(certificateAuthorities=[{"certChain": {"certificates": [{"rawBytes": "AAAA"}]}, "validFor": START}]),
        document(tlogs=[{"publicKey": {"rawBytes": "AAAA"}, "logId": {"keyId": "AAAA"}}]),
    ],
)
def test_file_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigError, match=r"root\.json is no trust root of Sigstore"):
        TrustRoot(content, "root.json")


def test_file_that_is_enormous_is_refused() -> None:
    with pytest.raises(ConfigError, match="the limit is"):
        TrustRoot(b" " * (MAX_BYTES + 1), "root.json")


def test_trust_root_of_very_many_logs_is_refused() -> None:
    read = json.loads(document())
    read["tlogs"] = read["tlogs"] * 100
    with pytest.raises(ConfigError, match="more than 100"):
        TrustRoot(json.dumps(read).encode(), "root.json")
