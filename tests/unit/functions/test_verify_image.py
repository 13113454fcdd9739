"""verify_image: a refresh in, evidence in the record and a result out; once a day, the trust root alone."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.verify_image import app as verify_image
from local.images import make_image
from pullahead.admission.seen_digests import SeenDigest, SeenDigests
from pullahead.admission.signatures.prove import ProveSignatures
from pullahead.admission.signatures.trust_root import TrustRoot
from pullahead.errors import (
    ConfigError,
    InvalidEventError,
    NoLongerWantedError,
    NotFoundError,
    PullaheadError,
    RegistryUnavailableError,
    StorageError,
)
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.oci import parse_reference
from pullahead.rules.admission_policy import AdmissionPolicy
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rule, Rules
from pullahead.rules.signature_policy import KeylessSigner, KmsSigner, SignaturePolicy
from tests.fakes.application import InMemoryService
from tests.fakes.samples import failed, rule
from tests.sigstore import IDENTITY, ISSUER, NOW, public_pem
from tests.unit.admission.signatures.signed_images import (
    company_key,
    keyed_bundle,
    message_bundle,
    referrer,
    sigstore,
    statement,
)

KEY = MirrorKey("mirror/alpine", "3.20")
UPSTREAM = "docker.io/library/alpine"
IMAGE = make_image([1000], seed=51)
BY_KMS = SignaturePolicy((KmsSigner("alias/cosign"),))
KEYLESS = SignaturePolicy((KeylessSigner(ISSUER, IDENTITY),))


class Verifying:
    """A service whose upstream serves one image, of which the record knows that it was seen."""

    def __init__(self, verify: SignaturePolicy | None = BY_KMS) -> None:
        admit = AdmissionPolicy(verify=verify) if verify is not None else None
        self.declared: Rule = rule("3.20", upstream=UPSTREAM, repository=KEY.repository)._replace(admit=admit)
        self.service = InMemoryService(Rules((self.declared.mirror("3.20"),), (), "r", (self.declared,)))
        self.service.clock.now = NOW
        self.service.upstream.serve(IMAGE, f"{UPSTREAM}:3.20")
        self.keys = {"alias/cosign": public_pem(company_key())}
        self.trust_root: Callable[[], TrustRoot] = lambda: TrustRoot(sigstore().trust_root(), "that of the test")
        vars(self.service.app).update(
            _prove_signatures=ProveSignatures(
                self.service.upstream, self.read_trust_root, self.service.clock, lambda name: self.keys[name]
            ),
            _trust_root=self.read_trust_root,
            _credentials=_Credentials(),
        )
        seen = SeenDigests((SeenDigest(IMAGE.root.descriptor, NOW - timedelta(hours=1)),))
        record = MirrorRecord(KEY, f"{UPSTREAM}:3.20", State.COOLING, NOW, admission=seen, version=1)
        self.service.records.stored[KEY] = record

    def read_trust_root(self) -> TrustRoot:
        return self.trust_root()

    def sign(self, bundle: Any) -> None:
        written = referrer(bundle, IMAGE)
        self.service.upstream.serve(written, f"{UPSTREAM}@{written.digest}")

    def event(self) -> dict[str, Any]:
        sample = json.loads((Path(__file__).parents[3] / "events/verify_image.refresh.json").read_text())
        root = {"mediaType": IMAGE.root.descriptor.media_type, "digest": IMAGE.digest, "size": len(IMAGE.root.content)}
        return {"request": {**sample["request"], "root": root}}

    def run(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(json.dumps(verify_image.handle(self.event(), self.service.app)))
        return answer

    @property
    def evidence(self) -> tuple[str, str] | None:
        record = self.service.records.stored[KEY]
        assert isinstance(record, MirrorRecord)
        assert record.admission is not None
        known = record.admission.seen[0].signature
        return (known.outcome.value, known.why) if known is not None else None


class _Credentials:
    def forget_failures(self) -> None:
        """Forget nothing."""


def problems() -> float:
    return float(sum(verify_image.metrics.metric_set["TrustRootProblems"]["Value"]))


def test_signature_by_a_key_of_kms_is_proven_and_remembered() -> None:
    made = Verifying()
    made.sign(keyed_bundle(statement(IMAGE.digest)))
    answer = made.run()
    assert (answer["digest"], answer["outcome"]) == (IMAGE.digest, "ADMITTED")
    assert made.evidence == ("ADMITTED", "signed by the key alias/cosign")
    listed = made.service.script.count("list_referrers")
    assert made.run() == {"digest": IMAGE.digest}  # proven before
    assert made.service.script.count("list_referrers") == listed


def test_keyless_signature_is_proven_by_the_trust_root() -> None:
    made = Verifying(KEYLESS)
    made.sign(message_bundle(IMAGE.root.content))
    assert made.run()["outcome"] == "ADMITTED"


def test_unsigned_digest_is_remembered_as_such() -> None:
    made = Verifying()
    assert made.run()["outcome"] == "UNSIGNED"
    assert made.evidence is not None
    assert made.evidence[0] == "UNSIGNED"


def test_nothing_is_asked_where_no_rule_demands_it() -> None:
    made = Verifying(None)
    assert made.run() == {"digest": IMAGE.digest}
    assert made.service.upstream.gets == 0


def test_digest_that_was_not_seen_is_not_verified() -> None:
    made = Verifying()
    del made.service.records.stored[KEY]
    assert made.run() == {"digest": IMAGE.digest}
    assert made.service.upstream.gets == 0


def test_upstream_that_does_not_answer_is_unknown() -> None:
    made = Verifying()
    made.service.script.fail("get_manifest", failed(RegistryUnavailableError))
    assert made.run()["outcome"] == "UNKNOWN"


@pytest.mark.parametrize("error", [ConfigError("no key"), StorageError("no table")])
def test_what_is_missing_here_fails_the_refresh_and_is_no_evidence(error: PullaheadError) -> None:
    made = Verifying(KEYLESS)

    def fail() -> TrustRoot:
        raise error

    made.trust_root = fail
    with pytest.raises(type(error)):
        made.run()
    assert made.evidence is None


def test_upstream_that_lost_the_digest_fails_the_refresh() -> None:
    made = Verifying()
    made.service.upstream.remove(f"{UPSTREAM}@{IMAGE.digest}")
    with pytest.raises(NotFoundError):
        made.run()


def test_refresh_that_no_rule_names_is_not_verified() -> None:
    made = Verifying()
    event = made.event()
    event["request"]["repository"] = "mirror/other"
    with pytest.raises(NoLongerWantedError):
        verify_image.handle(event, made.service.app)


def test_event_that_says_something_else_is_refused() -> None:
    with pytest.raises(InvalidEventError):
        verify_image.handle({"request": {"name": "x"}}, Verifying().service.app)


class TestTrustRoot:
    def check(self, made: Verifying) -> float:
        assert verify_image.handle({}, made.service.app) == {}
        return problems()

    def test_good_one_has_no_problem(self) -> None:
        assert self.check(Verifying(KEYLESS)) == 0

    def test_old_one_is_counted_before_it_is_too_old(self) -> None:
        made = Verifying(KEYLESS)
        ends = NOW + timedelta(days=40)
        document = json.loads(sigstore().trust_root())
        for log in document["tlogs"]:
            log["publicKey"]["validFor"]["end"] = ends.isoformat().replace("+00:00", "Z")
        made.trust_root = lambda: TrustRoot(json.dumps(document).encode(), "old")
        assert self.check(made) == 1
        made.service.clock.now = datetime(2036, 1, 1, tzinfo=UTC)
        assert self.check(made) >= 1

    def test_one_that_cannot_be_read_is_counted(self) -> None:
        made = Verifying(KEYLESS)

        def fail() -> TrustRoot:
            raise StorageError("read of the trust root s3://b/k failed: AccessDenied")

        made.trust_root = fail
        assert self.check(made) == 1

    def test_it_is_no_problem_where_no_rule_needs_one(self) -> None:
        made = Verifying(BY_KMS)

        def fail() -> TrustRoot:
            raise AssertionError("it is not read")

        made.trust_root = fail
        assert self.check(made) == 0


def test_mirror_of_the_sample_is_that_of_the_rule() -> None:
    made = Verifying()
    mirror = made.declared.mirror("3.20")
    assert isinstance(mirror, Mirror)
    assert mirror.upstream == parse_reference(f"{UPSTREAM}:3.20")
