"""What rules demand of a digest before its tag may serve it, and mistakes in saying so."""

from datetime import timedelta
from pathlib import Path

import pytest

from pullahead.rules.admission_policy import AdmissionMode, AdmissionPolicy, FirstCopy, ScanPolicy, Serve, Severity
from pullahead.rules.compiled import CompiledRules, decode_compiled, encode_compiled
from pullahead.rules.load import load_rules, load_rules_files
from pullahead.rules.on_disk import read_rules_files
from pullahead.rules.problems import RulesError
from pullahead.rules.signature_policy import KeylessSigner, KeySigner, KmsSigner, SignaturePolicy, fingerprint_of
from pullahead.rules.text import RulesText
from tests.unit.rules.test_mistakes import mirror, only_problem_of

RULE = "  - {{upstream: ghcr.io/a/b, repository: mirror/b, tags: ['1']{more}}}\n"
SCANNED = AdmissionPolicy(scan=ScanPolicy())
THREE_DAYS = AdmissionPolicy(min_age=timedelta(days=3))


def policy(defaults: str, more: str = "") -> AdmissionPolicy | None:
    """Load one rule, and return what its mirror demands."""
    text = f"version: 1\ndefaults: {defaults}\nmirrors:\n{RULE.format(more=more)}"
    (found,) = load_rules(text, source="rules.yaml").mirrors
    return found.admit


@pytest.mark.parametrize(
    ("defaults", "more", "expected"),
    [
        ("{}", "", None),
        ("{}", ", admit: {min_age: 3d}", THREE_DAYS),
        ("{}", ", admit: {min_age: 0s}", None),
        ("{}", ", admit: {approve: true}", AdmissionPolicy(approve=True)),
        ("{}", ", admit: {approve: false}", None),
        ("{admit: {min_age: 3d, approve: true}}", ", admit: {approve: false}", THREE_DAYS),
        ("{admit: {min_age: 3d}}", "", THREE_DAYS),
        ("{admit: {min_age: 3d}}", ", admit: {min_age: 0s}", None),
        ("{admit: {min_age: 0s}}", ", admit: {mode: report}", None),
        ("{admit: {min_age: 3d}}", ", admit: {mode: report}", THREE_DAYS._replace(mode=AdmissionMode.REPORT)),
        (
            "{admit: {mode: report, min_age: 3d, serve: current}}",
            ", admit: {mode: enforce, first_copy: admit}",
            THREE_DAYS._replace(serve=Serve.CURRENT, first_copy=FirstCopy.ADMIT),
        ),
    ],
)
def test_rule_overrides_defaults_key_by_key(defaults: str, more: str, expected: AdmissionPolicy | None) -> None:
    assert policy(defaults, more) == expected


@pytest.mark.parametrize(
    ("defaults", "more", "expected"),
    [
        ("{}", ", admit: {scan: {}}", SCANNED),
        ("{admit: {scan: {}}}", "", SCANNED),
        ("{admit: {scan: {}}}", ", admit: {scan: {block: []}}", None),
        ("{admit: {scan: {}}}", ", admit: {min_age: 3d}", THREE_DAYS._replace(scan=ScanPolicy())),
        ("{}", ", admit: {scan: {block: []}}", None),
        (
            "{}",
            ", admit: {scan: {block: [HIGH, CRITICAL, HIGH], fixable_only: true, wait: 30m}, exempt: [CVE-2026-1234]}",
            AdmissionPolicy(
                scan=ScanPolicy((Severity.CRITICAL, Severity.HIGH), True, timedelta(minutes=30), ("CVE-2026-1234",))
            ),
        ),
        (
            "{admit: {scan: {block: [HIGH], fixable_only: true}, exempt: [CVE-2026-1234]}}",
            ", admit: {scan: {wait: 4h}}",
            AdmissionPolicy(scan=ScanPolicy((Severity.HIGH,), True, timedelta(hours=4), ("CVE-2026-1234",))),
        ),
        (
            "{admit: {scan: {}, exempt: [CVE-2026-1234]}}",
            ", admit: {exempt: [GHSA-jfh8-c2jp-5v3q, ALAS2-2026-1]}",
            AdmissionPolicy(scan=ScanPolicy(exempt=("ALAS2-2026-1", "GHSA-jfh8-c2jp-5v3q"))),
        ),
    ],
)
def test_rule_overrides_the_scan_of_defaults_key_by_key(
    defaults: str, more: str, expected: AdmissionPolicy | None
) -> None:
    assert policy(defaults, more) == expected


def test_rule_on_demand_may_set_it() -> None:
    text = (
        "version: 1\nmirrors: []\non_demand:\n"
        "  - {name: hub, upstream: docker.io/*, repository: 'hub/{path}', allow: ['*'], admit: {min_age: 3d}}\n"
    )
    (rule,) = load_rules(text, source="rules.yaml").rules
    assert rule.admit == THREE_DAYS
    assert rule.expand("library/alpine").mirror("3").admit == THREE_DAYS


def test_what_waits_may_not_expire_before_it_may_be_served() -> None:
    problem = only_problem_of(mirror(admit="{min_age: 40d}", create="{expire_untagged_days: 40}"))
    assert "ECR would expire what waits for min_age (40d) after 40 days" in problem.message
    assert problem.hint == "Write expire_untagged_days: 41 or more, or 0 for never."
    for days in (0, 41):
        assert policy("{}", f", admit: {{min_age: 40d}}, create: {{expire_untagged_days: {days}}}") is not None


def test_it_is_part_of_the_digest_of_the_rules() -> None:
    one, other, same = (
        load_rules(f"version: 1\nmirrors:\n{RULE.format(more=more)}", source="rules.yaml").digest
        for more in ("", ", admit: {min_age: 1d}", ", admit: {min_age: 24h, mode: enforce}")
    )
    assert one != other == same


@pytest.mark.parametrize(
    ("written", "at", "message", "hint"),
    [
        ("{}", "", "it has no effect, since it demands nothing", "Write min_age: 3d"),
        ("{mode: report}", "", "it has no effect, since it demands nothing", "Write min_age: 3d"),
        ("{min_age: 366d}", ".min_age", "366d is out of range", "Write 0s to 365d."),
        ("{min_age: 3}", ".min_age", "'3' is not a duration", "Write it like"),
        ("{min_age: 3d, mode: warn}", ".mode", "unknown value 'warn'", "Known values: enforce, report."),
        ("{min_age: 3d, serve: newest}", ".serve", "unknown value 'newest'", "newest-eligible"),
        ("{min_age: 3d, first_copy: true}", ".first_copy", "unknown value 'true'", "Known values: hold, admit."),
        ("{cooldown: 3d, min_age: 3d}", ".cooldown", "unknown key 'cooldown'", "Did you mean min_age?"),
        ("{scan: {block: [critical]}}", ".scan.block[0]", "unknown value 'critical'", "Known values: CRITICAL, HIGH"),
        ("{scan: {severity: [HIGH]}}", ".scan", "unknown key 'severity'", "Did you mean block?"),
        ("{scan: {wait: 1m}}", ".scan.wait", "1m is out of range", "Write 5m to 7d."),
        ("{scan: {fixable_only: maybe}}", ".scan.fixable_only", "expected true or false", ""),
        ("{scan: true}", ".scan", "expected keys with values", "Write KEY: VALUE"),
        ("{exempt: [CVE-2026-1234]}", ".exempt", "it has no effect, since no scan is asked", "Write scan: {block"),
        ("{scan: {block: []}, exempt: [CVE-2026-1234]}", ".exempt", "it has no effect", "or remove exempt"),
        ("{scan: {}, exempt: [cve-2026-1234]}", ".exempt[0]", "is not the name of a vulnerability", "Write all of it"),
        ("{scan: {}, exempt: [CVE-2026-*]}", ".exempt[0]", "is not the name of a vulnerability", "Write all of it"),
        ("{scan: {}, exempt: [CVE-2026]}", ".exempt[0]", "is not the name of a vulnerability", "Write all of it"),
        ("{scan: {}, exempt: ['']}", ".exempt[0]", "is not the name of a vulnerability", "Write all of it"),
        ("{scan: {}, allow: [CVE-2026-1234]}", ".allow", "unknown key 'allow'", "Did you mean exempt?"),
        ("3d", "", "expected keys with values", "Write KEY: VALUE"),
        ("{signatures: {any: []}, min_age: 3d}", ".signatures", "unknown key 'signatures'", "Did you mean verify?"),
        (
            "{verify: cosign.pub}",
            ".verify",
            "'cosign.pub' is not a policy of signatures",
            "Write {any: [...]}, or none.",
        ),
        ("{verify: {}}", ".verify", "any is missing", ""),
        ("{verify: {any: []}}", ".verify.any", "it is empty", "Write 1 to 10"),
        ("{verify: {key: cosign.pub, any: [{key: alias/a}]}}", ".verify", "unknown key 'key'", "Did you mean any?"),
        ("{verify: {any: [{key: cosign.pub}]}}", ".verify.any[0].key", "there is no file cosign.pub", "PEM text"),
        ("{verify: {any: [{key: cosign.pem}]}}", ".verify.any[0].key", "ends in .pub", "PEM text"),
        ("{verify: {any: [{key: 'arn:aws:s3:::b'}]}}", ".verify.any[0].key", "it is no key of AWS KMS", "alias/NAME"),
        ("{verify: {any: [{key: 'awskms:///alias/a'}]}}", ".verify.any[0].key", "no key of AWS KMS", "alias/NAME"),
        (
            "{verify: {any: [{key: alias/a, keyless: {issuer: 'https://i', identity: a@b}}]}}",
            *(".verify.any[0]", "expected exactly one key", "Write one of keyless, key."),
        ),
        ("{verify: {any: [{key: alias/a}], grace: 31d}}", ".verify.grace", "31d is out of range", "0s to 30d"),
        ("{verify: {any: [{key: alias/a}], signed_as: ['A b']}}", ".verify.signed_as[0]", "", ""),
    ],
)
def test_mistake_is_reported_with_a_hint(written: str, at: str, message: str, hint: str) -> None:
    problem = only_problem_of(mirror(admit=written))
    assert problem.path in (f"mirrors[0].admit{at}", "mirrors[0].admit")
    assert message in problem.message
    assert hint in problem.hint


# --- Signatures -------------------------------------------------------------------------------------------------------

PEM = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
HOUR = timedelta(hours=1)
BY_KMS = SignaturePolicy((KmsSigner("alias/cosign"),))


def test_signers_attestations_and_grace() -> None:
    found = policy(
        "{}",
        ", admit: {verify: {grace: 2h, any: [{key: alias/cosign},"
        " {keyless: {issuer: 'https://i.example', identity: 'a@b.c'}}],"
        " attestations: [{type: t, builder: b}], signed_as: [ghcr.io/x/y]}}",
    )
    assert found is not None
    assert found.verify is not None
    assert found.demands_anything
    assert found.grace == 2 * HOUR
    assert found.verify.signers == (KmsSigner("alias/cosign"), KeylessSigner("https://i.example", "a@b.c"))
    assert [(each.predicate_type, each.builder) for each in found.verify.attestations] == [("t", "b")]
    assert list(map(str, found.verify.signed_as)) == ["ghcr.io/x/y"]


@pytest.mark.parametrize(
    ("defaults", "more", "expected"),
    [
        ("{}", ", admit: {verify: {any: [{key: alias/cosign}]}}", AdmissionPolicy(verify=BY_KMS, grace=HOUR)),
        ("{admit: {verify: {any: [{key: alias/cosign}], grace: 0s}}}", "", AdmissionPolicy(verify=BY_KMS)),
        (
            "{admit: {verify: {any: [{key: alias/cosign}], grace: 0s}}}",
            ", admit: {min_age: 3d}",
            THREE_DAYS._replace(verify=BY_KMS),
        ),
        ("{admit: {min_age: 3d, verify: {any: [{key: alias/cosign}]}}}", ", admit: {verify: none}", THREE_DAYS),
        ("{admit: {verify: {any: [{key: alias/cosign}]}}}", ", admit: {verify: none}", None),
        (
            "{admit: {verify: {any: [{key: alias/other}], grace: 2h}}}",
            ", admit: {verify: {any: [{key: alias/cosign}]}}",
            AdmissionPolicy(verify=BY_KMS, grace=HOUR),
        ),
    ],
)
def test_verify_of_a_rule_replaces_that_of_the_defaults(
    defaults: str, more: str, expected: AdmissionPolicy | None
) -> None:
    assert policy(defaults, more) == expected


def rules_files(tmp_path: Path, key: str) -> tuple[RulesText, ...]:
    (tmp_path / "rules.yaml").write_text(
        "version: 1\nmirrors:\n" + RULE.format(more=", admit: {verify: {any: [{key: cosign.pub}]}}")
    )
    (tmp_path / "cosign.pub").write_text(key)
    (tmp_path / ".hidden.pub").write_text("hidden")
    (tmp_path / "cosign.key").write_text("a private key, which is never read")
    (tmp_path / "large.pub").write_text("x" * 20_000)
    return read_rules_files(tmp_path / "rules.yaml", name="rules.yaml")


def test_key_is_read_from_the_file_beside_the_rules(tmp_path: Path) -> None:
    files = rules_files(tmp_path, PEM)
    assert [file.name.rpartition("/")[2] for file in files] == ["rules.yaml", "cosign.pub"]
    for read in (files, read_rules_files(tmp_path, name="my-rules")):
        (found,) = load_rules_files(read).mirrors
        assert found.admit is not None
        assert found.admit.verify == SignaturePolicy((KeySigner(PEM, "cosign.pub"),))


def test_another_key_in_the_file_is_another_policy(tmp_path: Path) -> None:
    prints = set()
    for key in (PEM, PEM.replace("AAAA", "BBBB")):
        (found,) = load_rules_files(rules_files(tmp_path, key)).mirrors
        assert found.admit is not None
        assert found.admit.verify is not None
        prints.add(fingerprint_of(found.admit.verify))
    assert len(prints) == 2


def test_two_keys_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "cosign.pub").write_text(PEM.replace("AAAA", "BBBB"))
    rules_files(tmp_path, PEM)
    with pytest.raises(RulesError, match="there is more than one file cosign"):
        load_rules_files(read_rules_files(tmp_path, name="my-rules"))


def test_compiled_rules_have_the_keys(tmp_path: Path) -> None:
    rules = load_rules_files(rules_files(tmp_path, PEM))
    decoded = decode_compiled(encode_compiled(CompiledRules("source", False, rules)))
    assert decoded is not None
    assert decoded.rules.rules == rules.rules
