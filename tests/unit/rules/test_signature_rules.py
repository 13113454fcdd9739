"""Policies of signatures as they are written, and mistakes in them."""

import re
from pathlib import Path

import pytest

from pullahead.errors import ConfigError
from pullahead.oci import parse_reference
from pullahead.rules.problems import Problem, RulesError
from pullahead.rules.signature_policy import AttestationDemand, KeylessSigner, KeySigner, SignaturePolicy
from pullahead.rules.signature_rules import load_signature_policy

PEM = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
GITHUB = KeylessSigner("https://i.example", "https://github.com/org/app@refs/tags/*")
KEYLESS = "{keyless: {issuer: 'https://i.example', identity: 'https://github.com/org/app@refs/tags/*'}}"


def read_key(name: str) -> str:
    if name != "cosign.pub":
        raise ConfigError(f"there is no file {name}")
    return PEM


def load(text: str) -> SignaturePolicy:
    return load_signature_policy(text, source="signers.yaml", read_key=read_key)


def problem_of(text: str) -> Problem:
    with pytest.raises(RulesError) as caught:
        load(text)
    (problem,) = caught.value.problems
    return problem


def test_signers() -> None:
    pem = PEM.replace("\n", "\n      ")
    policy = load(f"any:\n  - {KEYLESS}\n  - key: cosign.pub\n  - key: |\n      {pem}\n")
    assert policy.signers == (GITHUB, KeySigner(PEM, "cosign.pub"), KeySigner(PEM, "of line 4"))
    assert policy.needs_trust_root


def test_attestations_and_repositories() -> None:
    policy = load(
        "any: [{key: cosign.pub}]\n"
        "attestations:\n"
        "  - {type: 'https://slsa.dev/provenance/v1', builder: b, source: github.com/org/*}\n"
        f"  - {{type: t, any: [{KEYLESS}]}}\n"
        "signed_as: [ghcr.io/org/app]\n"
    )
    assert policy.attestations == (
        AttestationDemand("https://slsa.dev/provenance/v1", "b", "github.com/org/*"),
        AttestationDemand("t", signers=(GITHUB,)),
    )
    assert policy.signed_as == (parse_reference("ghcr.io/org/app").repository,)
    assert policy.every_signer == (KeySigner(PEM, "cosign.pub"), GITHUB)
    assert policy.needs_trust_root
    assert not load("any: [{key: cosign.pub}]").needs_trust_root


@pytest.mark.parametrize(
    ("text", "path", "message", "hint"),
    [
        ("", "", "the file is empty", "any:"),
        ("{", "", "invalid YAML", ""),
        ("[]", "", "expected keys with values", ""),
        ("{}", "", "any is missing", ""),
        ("any: []", "any", "it is empty", "Write 1 to 10"),
        ("any: [{}]", "any[0]", "expected exactly one key", "keyless, key"),
        (f"any: [{KEYLESS[:-1]}, key: cosign.pub}}]", "any[0]", "expected exactly one key", ""),
        ("any: [{keyless: {issuer: 'https://i'}}]", "any[0].keyless", "identity is missing", ""),
        ("any: [{keyless: {issuer: i, identity: a@b}}]", "any[0].keyless.issuer", "an issuer is a URL", ""),
        (
            "any: [{keyless: {issuer: 'https://i', identity: '*'}}]",
            "any[0].keyless.identity",
            "a wildcard",
            "** any text",
        ),
        (
            "any: [{keyless: {issuer: 'https://i', identity: a@b, subject: c}}]",
            "any[0].keyless",
            "unknown key 'subject'",
            "Did you mean identity?",
        ),
        ("any: [{key: nowhere.pub}]", "any[0].key", "there is no file nowhere.pub", "PEM text"),
        ("any: [{key: ../cosign.pub}]", "any[0].key", "neither a key nor the name of a file", "PEM text"),
        ("any: [{key: alias/cosign}]", "any[0].key", "keys of a KMS are not asked for", "cosign public-key"),
        ("any: [{key: cosign.pub}]\nattestations: [{builder: b}]", "attestations[0]", "type is missing", ""),
        ("any: [{key: cosign.pub}]\nattestations: [{type: t, any: []}]", "attestations[0].any", "it is empty", ""),
        (
            "any: [{key: cosign.pub}]\nattestations: [{type: t, source: a/b@c}]",
            "attestations[0].source",
            "a source is",
            "",
        ),
        ("any: [{key: cosign.pub}]\nsigned_as: ['A B']", "signed_as[0]", "it has spaces", ""),
        ("any: [{key: cosign.pub}]\ngrace: 1h", "", "unknown key 'grace'", ""),
    ],
)
def test_mistake_is_reported_where_it_is(text: str, path: str, message: str, hint: str) -> None:
    problem = problem_of(text)
    assert problem.path in (path, f"{path}.subject", "grace")
    assert message in problem.message
    assert hint in problem.hint


def test_key_is_not_repeated_in_a_message() -> None:
    with pytest.raises(RulesError) as caught:
        load("any: [{key: 'PRIVATE s3cret'}]")
    assert "s3cret" not in str(caught.value)


def test_example_of_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs/verify.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    policy = load(example)
    assert [type(signer).__name__ for signer in policy.signers] == ["KeylessSigner", "KeySigner"]
    assert (policy.attestations[0].predicate_type, len(policy.attestations[0].signers)) == (
        "https://slsa.dev/provenance/v1",
        1,
    )
    assert len(policy.signed_as) == 1
