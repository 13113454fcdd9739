"""Mistakes in the settings of hosts and new repositories; possible secrets are not quoted."""

import json

import pytest

from pullahead.rules.load import load_rules
from pullahead.rules.problems import Problem, RulesError

KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
BROKEN = "-----BEGIN CERTIFICATE-----\nMIIB\n"
CUT = f"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n{BROKEN}"
FOUR_LETTERS = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
CUT_OFF = "-----BEGIN CERTIFICATE-----\nMIIBezCCASGgAwIBAgIU\n-----END CERTIFICATE-----\n"
SEQUENCE = "-----BEGIN CERTIFICATE-----\nMAQwADAA\n-----END CERTIFICATE-----\n"
NO_DER = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"
NO_BASE64 = "-----BEGIN CERTIFICATE-----\nMIIBb\n-----END CERTIFICATE-----\n"
ROLE = "arn:aws:iam::1234:role/pull"


def problem_of(text: str) -> Problem:
    with pytest.raises(RulesError) as refused:
        load_rules(text, source="rules.yaml")
    assert len(refused.value.problems) == 1, refused.value
    return refused.value.problems[0]


@pytest.mark.parametrize(
    ("settings", "path", "message", "hint"),
    [
        ("{credential: a}", "", "unknown key 'credential'", "Did you mean credentials?"),
        ("{credentials: 'user:hunter2'}", ".credentials", "neither the name nor the ARN", "Secrets Manager"),
        ("{credentials: 'hunter2!'}", ".credentials", "neither the name nor the ARN", "never its content"),
        ("{credentials: [hunter2]}", ".credentials[0]", "expected keys with values, found a string", "KEY: VALUE"),
        ("{credentials: [{password: hunter2}]}", ".credentials[0]", "unknown key 'password'", "Secrets Manager"),
        ("{password: hunter2}", "", "unknown key 'password'", "Keep credentials in AWS Secrets Manager"),
        ("{username: hunter2}", "", "unknown key 'username'", "docs/private-upstreams.md"),
        ("{insecure: true}", "", "unknown key 'insecure'", "Did you mean plain_http?"),
        ("{credentials: [{path: 'a/*'}]}", ".credentials[0]", "secret and role are missing", "secret: NAME"),
        (
            "{credentials: [{secret: a, path: 'A'}]}",
            ".credentials[0].path",
            "'A' matches no repository path",
            "team-a/*",
        ),
        (
            f"{{credentials: [{{role: '{ROLE}'}}]}}",
            ".credentials[0].role",
            "not the ARN of an IAM role",
            "arn:aws:iam::",
        ),
        (f"{{ca: {json.dumps(KEY)}}}", ".ca", "it contains a private key", "Remove it"),
        (f"{{ca: {json.dumps(BROKEN)}}}", ".ca", "not a PEM certificate", "-----BEGIN CERTIFICATE-----"),
        (f"{{ca: {json.dumps(CUT)}}}", ".ca", "not a PEM certificate", ""),
        (f"{{ca: {json.dumps(NO_DER)}}}", ".ca", "not a PEM certificate", ""),
        (f"{{ca: {json.dumps(FOUR_LETTERS)}}}", ".ca", "not a PEM certificate", ""),
        (f"{{ca: {json.dumps(CUT_OFF)}}}", ".ca", "not a PEM certificate", ""),
        (f"{{ca: {json.dumps(SEQUENCE)}}}", ".ca", "not a PEM certificate", ""),
        (f"{{ca: {json.dumps(NO_BASE64)}}}", ".ca", "not a PEM certificate", ""),
        ("{ca: /etc/ssl/ca.pem}", ".ca", "not a PEM certificate", ""),
        (f"{{ca: {'a' * 65_537}}}", ".ca", "more than 65536 characters", ""),
        ("{token_hosts: [https://a.io]}", ".token_hosts[0]", "not a URL", "https://"),
        ("{token_hosts: a.io}", ".token_hosts", "expected a list, found a string", ""),
        ("{rate_limit: 5}", ".rate_limit", "expected keys with values, found a number", ""),
        ("{rate_limit: {requests_per_second: 0}}", ".rate_limit.requests_per_second", "0 is out of range", "1000"),
        ("{rate_limit: {requests_per_second: 1001}}", ".rate_limit.requests_per_second", "out of range", "1000"),
        ("{rate_limit: {requests_per_second: five}}", ".rate_limit.requests_per_second", "'five' is not a number", ""),
        ("{rate_limit: {reserve: 0.1}}", ".rate_limit.reserve", "'0.1' is not a percentage", "10%"),
        ("{rate_limit: {reserve: 91%}}", ".rate_limit.reserve", "91% is out of range", "90%"),
    ],
)
def test_mistake_in_a_host_is_reported_without_secrets(settings: str, path: str, message: str, hint: str) -> None:
    problem = problem_of(f"version: 1\nmirrors: []\nupstreams:\n  quay.io: {settings}\n")
    assert (problem.line, problem.path) == (4, f"upstreams['quay.io']{path}")
    assert message in problem.message
    assert hint in problem.hint
    assert "hunter2" not in f"{problem.message} {problem.hint}".replace("'password'", "")
    assert "c2VjcmV0" not in str(problem)


@pytest.mark.parametrize(
    ("create", "path", "message", "hint"),
    [
        ("[]", "", "expected keys with values, found a list", ""),
        ("{scan: true}", "", "unknown key 'scan'", "scan_on_push"),
        ("{scan_on_push: often}", ".scan_on_push", "expected true or false", ""),
        ("{tags: [a]}", ".tags", "expected keys with values, found a list", ""),
        ("{tags: {a: 1}}", ".tags['a']", "reads '1' as a number", 'Quote it: "1"'),
        ("{tags: {AWS:x: b}}", ".tags['AWS:x']", "'AWS:x' is not a valid key of a resource tag", "aws:"),
        ("{tags: {'': b}}", ".tags['']", "'' is not a valid key of a resource tag", "128"),
        ("{tags: {a: 'b!'}}", ".tags['a']", "'b!' is not a valid value of a resource tag", "letters"),
        (f"{{tags: {{a: {'b' * 257}}}}}", ".tags['a']", "is not a valid value of a resource tag", "256"),
        (f"{{tags: {{{', '.join(f'k{n}: v' for n in range(51))}}}}}", ".tags", "it has 51 entries", "50"),
        ("{kms_key: 'my key'}", ".kms_key", "'my key' is not a KMS key", "alias/aws/ecr"),
        ("{tag_mutability: NEVER}", ".tag_mutability", "'NEVER' is not a tag mutability", "MUTABLE or IMMUTABLE"),
        ("{tag_mutability: [a]}", ".tag_mutability", "expected a string, found a list", ""),
        (
            "{tag_mutability: {IMMUTABLE: [a]}}",
            ".tag_mutability",
            "unknown key 'IMMUTABLE'",
            "IMMUTABLE_WITH_EXCLUSION",
        ),
        (
            "{tag_mutability: {IMMUTABLE_WITH_EXCLUSION: []}}",
            ".tag_mutability.IMMUTABLE_WITH_EXCLUSION",
            "it is empty",
            "1 to 5",
        ),
        (
            "{tag_mutability: {IMMUTABLE_WITH_EXCLUSION: [a, b, c, d, e, f]}}",
            ".tag_mutability.IMMUTABLE_WITH_EXCLUSION",
            "it has 6 entries",
            "1 to 5",
        ),
        ("{lifecycle_policy: '{'}", ".lifecycle_policy", "invalid JSON: ", "write it as YAML"),
        (
            "{lifecycle_policy: {rules: []}, expire_untagged_days: 7}",
            ".expire_untagged_days",
            "it has no effect",
            "Remove one",
        ),
        ("{expire_untagged_days: -1}", ".expire_untagged_days", "-1", ""),
        ("{lifecycle_policy: '[]'}", ".lifecycle_policy", "the policy has no rules", ""),
        ("{lifecycle_policy: {Rules: []}}", ".lifecycle_policy", "the policy has no rules", ""),
        ("{lifecycle_policy: {rules: [{a: 1, a: 2}]}}", ".lifecycle_policy.rules[0]", "'a' is already on line", ""),
        ("{repository_policy: {rules: []}}", ".repository_policy", "the policy has no Statement", ""),
        (f"{{repository_policy: {{Statement: {'a' * 10_240}}}}}", ".repository_policy", "characters as JSON", "10240"),
        (f"{{repository_policy: '{'[' * 100_000}'}}", ".repository_policy", "nested too deeply", ""),
    ],
)
def test_mistake_in_create_is_reported(create: str, path: str, message: str, hint: str) -> None:
    problem = problem_of(f"version: 1\nmirrors:\n  - upstream: a.io/b\n    tags: [x]\n    create: {create}\n")
    assert (problem.line, problem.path) == (5, f"mirrors[0].create{path}")
    assert message in problem.message
    assert hint in problem.hint
