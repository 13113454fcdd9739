"""Mistakes in what hosts and new repositories are said to be; what may be a secret is never repeated."""

import json

import pytest

from pullahead.rules.load import load_rules
from pullahead.rules.yaml_document import Problem, RulesError

KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
BROKEN = "-----BEGIN CERTIFICATE-----\nMIIB\n"
CUT = f"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n{BROKEN}"
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
        ("{credential: a}", "", "'credential' is not known", "Did you mean credentials?"),
        ("{credentials: 'user:hunter2'}", ".credentials", "neither the name nor the ARN", "Secrets Manager"),
        ("{credentials: 'hunter2!'}", ".credentials", "neither the name nor the ARN", "never what is in it"),
        ("{credentials: [hunter2]}", ".credentials[0]", "it is a text; expected keys", "KEY: VALUE"),
        ("{credentials: [{password: hunter2}]}", ".credentials[0]", "'password' is not known", ""),
        ("{credentials: [{path: 'a/*'}]}", ".credentials[0]", "it names no account", "secret: NAME"),
        (
            "{credentials: [{secret: a, path: 'A'}]}",
            ".credentials[0].path",
            "'A' fits no repository's path",
            "team-a/*",
        ),
        (f"{{credentials: [{{role: '{ROLE}'}}]}}", ".credentials[0].role", "no ARN of a role", "arn:aws:iam::"),
        (f"{{ca: {json.dumps(KEY)}}}", ".ca", "it holds a private key", "Take it out"),
        (f"{{ca: {json.dumps(BROKEN)}}}", ".ca", "no certificate in PEM form", "-----BEGIN CERTIFICATE-----"),
        (f"{{ca: {json.dumps(CUT)}}}", ".ca", "no certificate in PEM form", ""),
        (f"{{ca: {json.dumps(NO_DER)}}}", ".ca", "no certificate in PEM form", ""),
        (f"{{ca: {json.dumps(NO_BASE64)}}}", ".ca", "no certificate in PEM form", ""),
        ("{ca: /etc/ssl/ca.pem}", ".ca", "no certificate in PEM form", ""),
        (f"{{ca: {'a' * 65_537}}}", ".ca", "more than 65536 characters", ""),
        ("{token_hosts: [https://a.io]}", ".token_hosts[0]", "no URL", "https://"),
        ("{token_hosts: a.io}", ".token_hosts", "it is a text; expected a list", ""),
        ("{rate_limit: 5}", ".rate_limit", "it is a number; expected keys", ""),
        ("{rate_limit: {requests_per_second: 0}}", ".rate_limit.requests_per_second", "0 is out of range", "1000"),
        ("{rate_limit: {requests_per_second: 1001}}", ".rate_limit.requests_per_second", "out of range", "1000"),
        ("{rate_limit: {requests_per_second: five}}", ".rate_limit.requests_per_second", "'five' is no number", ""),
        ("{rate_limit: {reserve: 0.1}}", ".rate_limit.reserve", "'0.1' is no such share", "10%"),
        ("{rate_limit: {reserve: 91%}}", ".rate_limit.reserve", "'91%' is no such share", "90%"),
    ],
)
def test_mistake_in_a_host(settings: str, path: str, message: str, hint: str) -> None:
    problem = problem_of(f"version: 1\nmirrors: []\nupstreams:\n  quay.io: {settings}\n")
    assert (problem.line, problem.path) == (4, f"upstreams['quay.io']{path}")
    assert message in problem.message
    assert hint in problem.hint
    assert "hunter2" not in f"{problem.message} {problem.hint}".replace("'password'", "")
    assert "c2VjcmV0" not in str(problem)


@pytest.mark.parametrize(
    ("create", "path", "message", "hint"),
    [
        ("[]", "", "it is a list; expected keys", ""),
        ("{scan: true}", "", "'scan' is not known", "scan_on_push"),
        ("{scan_on_push: often}", ".scan_on_push", "expected true or false", ""),
        ("{tags: [a]}", ".tags", "it is a list; expected keys", ""),
        ("{tags: {a: 1}}", ".tags['a']", "reads '1' as a number", 'Quote it: "1"'),
        ("{tags: {AWS:x: b}}", ".tags", "'AWS:x' is no key of a tag", "aws:"),
        ("{tags: {'': b}}", ".tags", "'' is no key of a tag", "128"),
        ("{tags: {a: 'b!'}}", ".tags['a']", "'b!' is no value of a tag", "letters"),
        (f"{{tags: {{a: {'b' * 257}}}}}", ".tags['a']", "is no value of a tag", "256"),
        (f"{{tags: {{{', '.join(f'k{n}: v' for n in range(51))}}}}}", ".tags", "it has 51 tags", "50"),
        ("{kms_key: 'my key'}", ".kms_key", "'my key' is no KMS key", "alias/aws/ecr"),
        ("{tag_mutability: NEVER}", ".tag_mutability", "'NEVER' is not known", "MUTABLE or IMMUTABLE"),
        ("{tag_mutability: [a]}", ".tag_mutability", "it is a list; expected a text", ""),
        ("{tag_mutability: {IMMUTABLE: [a]}}", ".tag_mutability", "not one of the known", "IMMUTABLE_WITH_EXCLUSION"),
        (
            "{tag_mutability: {IMMUTABLE_WITH_EXCLUSION: []}}",
            ".tag_mutability.IMMUTABLE_WITH_EXCLUSION",
            "it has 0 filters",
            "1 to 5",
        ),
        (
            "{tag_mutability: {IMMUTABLE_WITH_EXCLUSION: [a, b, c, d, e, f]}}",
            ".tag_mutability.IMMUTABLE_WITH_EXCLUSION",
            "it has 6 filters",
            "1 to 5",
        ),
        ("{lifecycle_policy: '{'}", ".lifecycle_policy", "it is no JSON: ", "Write it as YAML"),
        ("{lifecycle_policy: '[]'}", ".lifecycle_policy", "there is no rules in it", ""),
        ("{lifecycle_policy: {Rules: []}}", ".lifecycle_policy", "there is no rules in it", ""),
        ("{lifecycle_policy: {rules: [{a: 1, a: 2}]}}", ".lifecycle_policy.rules[0]", "'a' is there already", ""),
        ("{repository_policy: {rules: []}}", ".repository_policy", "there is no Statement in it", ""),
        (f"{{repository_policy: {{Statement: {'a' * 10_240}}}}}", ".repository_policy", "characters as JSON", "10240"),
        (f"{{repository_policy: '{'[' * 100_000}'}}", ".repository_policy", "it is", ""),
    ],
)
def test_mistake_in_creation(create: str, path: str, message: str, hint: str) -> None:
    problem = problem_of(f"version: 1\nmirrors:\n  - upstream: a.io/b\n    tags: [x]\n    create: {create}\n")
    assert (problem.line, problem.path) == (5, f"mirrors[0].create{path}")
    assert message in problem.message
    assert hint in problem.hint
