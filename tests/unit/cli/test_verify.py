"""`pullahead verify`: what it says of an image at a registry, which options fit together, and its exit codes."""

import json
from pathlib import Path

import pytest

from local.images import LocalImage
from local.registry import FakeRegistry
from pullahead.cli.verify import require_packages
from pullahead.errors import ConfigError
from pullahead.oci.referrers import fallback_tag, listing_entry, with_entries
from tests.sigstore import IDENTITY, ISSUER, SLSA, Sigstore, public_pem
from tests.unit.admission.signatures.provenance import BUILDER, SOURCE, slsa
from tests.unit.admission.signatures.signed_images import (
    IMAGE,
    INDEX,
    OTHER,
    company_key,
    cosign2,
    cosign2_keyed,
    cosign2_keyless,
    dsse_bundle,
    keyed_bundle,
    payload,
    referrer,
    sigstore,
    statement,
)
from tests.unit.cli.conftest import Ran, Run

PATTERN = IDENTITY.replace("v1.2.3", "*")


@pytest.fixture
def key(tmp_path: Path) -> str:
    return written(tmp_path / "cosign.pub", public_pem(company_key()))


@pytest.fixture
def trust_root(tmp_path: Path) -> str:
    return written(tmp_path / "trusted_root.json", sigstore().trust_root().decode())


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def pushed(registry: FakeRegistry, *referrers: LocalImage, tagged: LocalImage | None = None) -> str:
    """Push an image with what belongs to it, and return its reference."""
    registry.referrers_page = 10
    registry.push(IMAGE, "org/app", "1")
    for each in referrers:
        registry.push(each, "org/app")
    if tagged is not None:
        registry.push(tagged, "org/app", f"{fallback_tag(IMAGE.digest)}.sig")
    return f"{registry.host}/org/app:1"


def keyless(run: Run, image: str, trust_root: str, *more: str) -> Ran:
    return run("verify", image, "--identity", PATTERN, "--issuer", ISSUER, "--trust-root", trust_root, *more)


def test_bundle_of_cosign_3(registry: FakeRegistry, run: Run, trust_root: str) -> None:
    image = pushed(registry, referrer(dsse_bundle(statement())))
    ran = keyless(run, image, trust_root)
    lines = ran.out.splitlines()
    assert (ran.code, ran.err, lines[0]) == (0, "", f"{registry.host}/org/app@{IMAGE.digest}")
    assert lines[1].startswith(f"ADMITTED: signed by {IDENTITY} (issuer {ISSUER}), by a certificate of ")
    assert lines[2].startswith("  proven: referrer sha256:")


def test_bundle_that_is_found_by_the_fallback_tag(registry: FakeRegistry, run: Run, trust_root: str) -> None:
    signature = referrer(dsse_bundle(statement()))
    image = pushed(registry, signature)
    registry.referrers_page = None
    listing = with_entries(None, {signature.digest: listing_entry(signature.root)})
    assert listing is not None
    digest = listing.descriptor.digest
    registry.push(LocalImage(listing, {digest: listing}, {}), "org/app", fallback_tag(IMAGE.digest))
    assert keyless(run, image, trust_root).code == 0


def test_registry_that_serves_the_image_itself_under_the_fallback_tag(
    registry: FakeRegistry, run: Run, key: str
) -> None:
    """As ghcr.io does: its children are no referrers."""
    registry.push(INDEX, "org/app", "2")
    registry.push(INDEX, "org/app", fallback_tag(INDEX.digest))
    ran = run("verify", f"{registry.host}/org/app:2", "--key", key, "--json")
    assert (ran.code, ran.document["outcome"], ran.document["evidence"]) == (1, "UNSIGNED", [])


def test_signature_of_cosign_2_without_a_key(registry: FakeRegistry, run: Run, trust_root: str) -> None:
    signed = cosign2(cosign2_keyless(payload(repository=f"{registry.host}/org/app")))
    ran = keyless(run, pushed(registry, tagged=signed), trust_root, "--json")
    assert (ran.code, ran.document["outcome"], ran.document["digest"]) == (0, "ADMITTED", IMAGE.digest)
    assert ran.document["evidence"][0]["source"] == f"tag {fallback_tag(IMAGE.digest)}.sig, signature 1"


def test_signature_of_cosign_2_that_names_where_the_image_came_from(registry: FakeRegistry, run: Run, key: str) -> None:
    image = pushed(registry, tagged=cosign2(cosign2_keyed(payload(repository="ghcr.io/org/app"))))
    refused = run("verify", image, "--key", key)
    assert refused.code == 1
    assert f"an image of ghcr.io/org/app, not of {registry.host}/org/app" in refused.out
    assert run("verify", image, "--key", key, "--signed-as", "ghcr.io/org/app").code == 0


def test_attestation(registry: FakeRegistry, run: Run, trust_root: str) -> None:
    image = pushed(registry, referrer(dsse_bundle(statement(predicate_type=SLSA, predicate=slsa()))))
    demand = ("--attestation", SLSA, "--builder", BUILDER)
    ran = keyless(run, image, trust_root, *demand, "--source", SOURCE)
    assert ran.code == 0
    assert f"built by {BUILDER} from {SOURCE}" in ran.out
    other = keyless(run, image, trust_root, *demand, "--source", "https://github.com/org/other")
    assert (other.code, f"its source is {SOURCE}, not" in other.out) == (1, True)


def test_policy_of_several_signers(registry: FakeRegistry, run: Run, trust_root: str, tmp_path: Path, key: str) -> None:
    policy = written(
        tmp_path / "signers.yaml",
        f"any:\n  - keyless: {{issuer: '{ISSUER}', identity: '{PATTERN}'}}\n  - key: {Path(key).name}\n"
        f"attestations:\n  - {{type: '{SLSA}', source: '{SOURCE}'}}\n",
    )
    unsigned = pushed(registry)
    assert (
        run("verify", unsigned, "--policy", policy).out.splitlines()[1].startswith("UNSIGNED: there is no attestation")
    )
    said = statement(predicate_type=SLSA, predicate=slsa())
    image = pushed(registry, referrer(keyed_bundle(said)))
    ran = run("verify", image, "--policy", policy)
    assert (ran.code, f"{SLSA} by the key cosign.pub: from {SOURCE}" in ran.out) == (0, True)
    registry.push(OTHER, "org/app", "2")
    registry.push(referrer(dsse_bundle({**said, "subject": statement(OTHER.digest)["subject"]}), OTHER), "org/app")
    ran = run("verify", f"{registry.host}/org/app:2", "--policy", policy, "--trust-root", trust_root)
    assert (ran.code, f"{SLSA} by {IDENTITY}" in ran.out) == (0, True)


def by_key(tmp_path: Path, key: str) -> str:
    return written(tmp_path / "signers.yaml", f"any: [{{key: {Path(key).name}}}]\n")


def test_copy_of_what_is_signed(registry: FakeRegistry, run: Run, tmp_path: Path, key: str) -> None:
    image = pushed(registry, referrer(keyed_bundle(statement())))
    registry.forget_requests()
    ran = run("copy", image, f"oci:{tmp_path}/copy:1", "--verify", by_key(tmp_path, key), "--quiet")
    assert ran == Ran(0, "", "")
    assert (tmp_path / "copy/blobs" / IMAGE.digest.replace(":", "/")).is_file()
    # The tag is asked for once: what is copied is what was verified.
    assert (registry.count("GET", "org/app/manifests/1$"), registry.count("HEAD", "org/app/manifests/1$")) == (1, 0)


def test_copy_of_what_is_not_signed_writes_nothing(registry: FakeRegistry, run: Run, tmp_path: Path, key: str) -> None:
    image = pushed(registry, referrer(keyed_bundle(statement(OTHER.digest))))
    failure = run("copy", image, f"oci:{tmp_path}/copy:1", "--verify", by_key(tmp_path, key)).failure
    assert f"{registry.host}/org/app@{IMAGE.digest} is not copied: UNTRUSTED: nothing proves a signature by" in failure
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("options", [("--all-tags", "--verify", "KEY"), ("--trust-root", "KEY")])
def test_options_of_a_copy_that_do_not_fit_together(run: Run, key: str, options: tuple[str, ...]) -> None:
    ran = run("copy", "ghcr.io/org/app", "ghcr.io/o/a", *(key if each == "KEY" else each for each in options))
    assert (ran.code, "--verify" in ran.err) == (2, True)


def test_policy_with_mistakes(registry: FakeRegistry, run: Run, tmp_path: Path) -> None:
    policy = written(tmp_path / "signers.yaml", "any:\n  - key: nowhere.pub\n  - {}\n")
    ran = run("verify", pushed(registry), "--policy", policy)
    assert (ran.code, ran.out) == (1, "")
    assert f"{policy}:3: any[1]: expected exactly one key" in ran.err
    policy = written(tmp_path / "signers.yaml", "any:\n  - key: nowhere.pub\n")
    assert (
        "signers.yaml:2: any[0].key: there is no file nowhere.pub beside signers.yaml"
        in run("verify", pushed(registry), "--policy", policy).failure
    )


def test_unsigned_image(registry: FakeRegistry, run: Run, key: str) -> None:
    ran = run("verify", pushed(registry), "--key", key)
    assert (ran.code, ran.err) == (1, "")
    assert ran.out.splitlines()[1] == "UNSIGNED: there is no signature by the key cosign.pub"


def test_signature_of_another_image(registry: FakeRegistry, run: Run, key: str) -> None:
    ran = run("verify", pushed(registry, referrer(keyed_bundle(statement(OTHER.digest)))), "--key", key, "--json")
    assert (ran.code, ran.document["outcome"]) == (1, "UNTRUSTED")
    assert ran.document["evidence"][0]["finding"] == "refused"


def test_quiet_says_it_by_the_exit_code_alone(registry: FakeRegistry, run: Run, key: str) -> None:
    signed = pushed(registry, referrer(keyed_bundle(statement())))
    assert run("verify", signed, "--key", key, "--quiet") == Ran(0, "", "")


def test_public_trust_root_is_the_default(registry: FakeRegistry, run: Run) -> None:
    image = pushed(registry, referrer(dsse_bundle(statement())))
    ran = run("verify", image, "--identity", PATTERN, "--issuer", ISSUER)
    assert ran.code == 1
    assert "a transparency log that the trust root does not know" in ran.out


def test_trust_root_that_is_too_old_is_told(registry: FakeRegistry, run: Run, tmp_path: Path) -> None:
    old = json.loads(Sigstore().trust_root())
    old["tlogs"] = []
    ran = keyless(run, pushed(registry), written(tmp_path / "old.json", json.dumps(old)))
    assert "is too old: no log of signatures of it is in use any more" in ran.err
    assert ran.code == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "either --identity and --issuer, or --key"),
        (("--identity", "a@example.com"), "--identity and --issuer belong together"),
        (("--issuer", ISSUER), "--identity and --issuer belong together"),
        (
            ("--identity", "a@example.com", "--issuer", ISSUER, "--key", "KEY"),
            "either --identity and --issuer, or --key",
        ),
        (("--key", "KEY", "--builder", "b"), "--builder and --source are of an --attestation"),
        (("--key", "KEY", "--trust-root", "KEY"), "--trust-root is for signatures without a key"),
        (("--key", "KEY", "--policy", "KEY"), "or --key, or --policy"),
        (("--policy", "KEY", "--attestation", "a"), "belong into the file of --policy"),
        (("--policy", "KEY", "--signed-as", "a/b"), "belong into the file of --policy"),
    ],
)
def test_options_that_do_not_fit_together(run: Run, key: str, options: tuple[str, ...], expected: str) -> None:
    ran = run("verify", "ghcr.io/org/app:1", *(key if each == "KEY" else each for each in options))
    assert (ran.code, ran.out) == (2, "")
    assert expected in ran.err


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--identity", "*", "a wildcard may not stand for the host"),
        ("--identity", "https://*/org/app", "a wildcard may not stand for the host"),
        ("--identity", "*@*.com", "a wildcard may not stand for the host"),
        ("--identity", "a***@example.com", "write * for any text"),
        ("--identity", "a b", "it has spaces"),
        ("--issuer", "https://*.example", "without wildcards"),
        ("--issuer", "token.actions.githubusercontent.com", "an issuer is a URL"),
        ("--source", "https://github.com/org/app@refs/tags/*", "without what was checked out"),
        ("--key", "nowhere.pub", "no such file"),
    ],
)
def test_option_that_is_refused(
    run: Run, capsys: pytest.CaptureFixture[str], option: str, value: str, expected: str
) -> None:
    with pytest.raises(SystemExit) as exited:
        run("verify", "ghcr.io/org/app:1", option, value)
    assert exited.value.code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is a private key"),
        ("not a key", "is not one public key in PEM form"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is no public key in PEM form"),
    ],
)
def test_key_that_is_none(registry: FakeRegistry, run: Run, tmp_path: Path, text: str, expected: str) -> None:
    failure = run("verify", pushed(registry), "--key", written(tmp_path / "k.pub", text)).failure
    assert expected in failure
    assert "AAAA" not in failure
    assert registry.requests == []


@pytest.mark.parametrize("text", ["", "{}", '{"mediaType": "x"}', "[1]"])
def test_trust_root_that_is_none(registry: FakeRegistry, run: Run, tmp_path: Path, text: str) -> None:
    ran = keyless(run, pushed(registry), written(tmp_path / "root.json", text))
    assert "is no trust root of Sigstore" in ran.failure


def test_missing_image(registry: FakeRegistry, run: Run, key: str) -> None:
    assert "at the registry failed" in run("verify", f"{registry.host}/org/app:2", "--key", key).failure


def test_missing_package_says_how_to_install_it() -> None:
    require_packages(lambda _: object())
    with pytest.raises(ConfigError, match=r"needs the package sigstore: .* '\.\[verify\]'"):
        require_packages(lambda name: None if name == "sigstore" else object())
