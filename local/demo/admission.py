"""The step of the demo about what may enter: a poisoned release is held and withdrawn, a good one is admitted."""

from datetime import timedelta
from textwrap import indent
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from local.artifacts import signed_by_key
from local.demo.deviation import DeviationError, expect
from local.demo.screen import Screen
from local.demo.stage import CHECK_EVERY, Stage
from local.images import LocalImage, make_image
from local.registry import FakeRegistry
from pullahead.admission.seen_digests import SeenDigest
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.oci import short
from pullahead.oci.referrers import fallback_tag

_PATH, _REPOSITORY = "shop/payments", "mirror/payments"
_MIN_AGE: Final = timedelta(hours=1)
_SOON: Final = timedelta(seconds=2)  # a check follows what verify_image has found


def tell_admission(stage: Stage, screen: Screen, upstream: FakeRegistry) -> None:
    """Tell the step. Raises DeviationError."""
    screen.step("A poisoned release is held back, and a good one admitted")
    screen.say(
        "the rule has min_age: 1h, so that new digests wait for an hour (three days are usual), and verify: the shop"
    )
    screen.say("signs what it releases with a key (cosign sign), and the rule names the public one")
    key = ed25519.Ed25519PrivateKey.generate()
    first, poisoned, good = (make_image([300_000], seed=seed) for seed in (960, 961, 962))
    _release(upstream, first, stage.tag, key)
    stage.deploy_rules(_rules(stage, upstream, key))
    stage.tick(CHECK_EVERY)
    stage.tick(_SOON)
    _expect(stage, first, State.FRESH)
    screen.say(f"{_REPOSITORY}:{stage.tag} → {short(first.digest)}, signed by the shop")
    upstream.push(poisoned, _PATH, stage.tag)
    stage.tick(CHECK_EVERY)
    _expect(stage, first, State.COOLING)
    screen.say(f"an attacker pushes {short(poisoned.digest)} upstream; the schedule fires: its bytes are copied to ECR")
    screen.proved(f"state COOLING: the tag goes on serving {short(first.digest)}")
    screen.say(f"verify_image: {_found(stage, poisoned)}")
    upstream.push(first, _PATH, stage.tag)
    stage.tick(CHECK_EVERY)
    _expect(stage, first, State.FRESH)
    (alert,) = stage.alerts()
    screen.say("the project notices, and moves its tag back")
    screen.proved(f"nobody here ever pulled it, and people are told: {alert.subject}")
    _release(upstream, good, stage.tag, key)
    stage.tick(CHECK_EVERY)
    record = _expect(stage, first, State.COOLING)
    screen.say(f"the project releases {short(good.digest)}: {record.cause}")
    screen.say(f"verify_image: {_found(stage, good)}")
    stage.tick(_MIN_AGE)
    _expect(stage, good, State.FRESH)
    screen.proved(
        f"an hour later nobody has taken it back, and the shop has signed it: {_REPOSITORY}:{stage.tag} → "
        f"{short(good.digest)}"
    )


def _release(upstream: FakeRegistry, image: LocalImage, tag: str, key: ed25519.Ed25519PrivateKey) -> None:
    """Push an image and its signature, as a release does."""
    signature = signed_by_key(image.root.descriptor, f"{upstream.host}/{_PATH}", key.sign)
    upstream.push(signature, _PATH, f"{fallback_tag(image.digest)}.sig")
    upstream.push(image, _PATH, tag)


def _found(stage: Stage, image: LocalImage) -> str:
    """Say what was found of an image's signatures."""
    record = stage.record(_REPOSITORY)
    seen = record.admission.find(image.digest) if record is not None and record.admission is not None else None
    if not isinstance(seen, SeenDigest) or seen.signature is None:
        raise DeviationError(f"the signatures of {image.digest} were not looked at: {record}")
    return f"{seen.signature.outcome}: {seen.signature.why}"


def _expect(stage: Stage, served: LocalImage, state: State) -> MirrorRecord:
    record, published = stage.record(_REPOSITORY), stage.published(_REPOSITORY)
    if record is None or record.state is not state:
        raise DeviationError(f"{_REPOSITORY} is not {state.value}: {record}")
    expect(published == served.digest, f"{_REPOSITORY} serves {published}")
    return record


def _rules(stage: Stage, upstream: FakeRegistry, key: ed25519.Ed25519PrivateKey) -> str:
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return (
        f"  - upstream: {upstream.host}/{_PATH}\n"
        f'    tags: ["{stage.tag}"]\n'
        f"    repository: {_REPOSITORY}\n"
        f"    check_every: {int(CHECK_EVERY.total_seconds())}s\n"
        f"    admit:\n"
        f"      min_age: {int(_MIN_AGE.total_seconds())}s\n"
        f"      first_copy: admit\n"
        f"      verify:\n"
        f"        any:\n"
        f"          - key: |\n{indent(pem, '              ')}"
    )
