"""What rules demand of a digest before its tag may serve it, and mistakes in saying so."""

from datetime import timedelta

import pytest

from pullahead.rules.admission_policy import AdmissionMode, AdmissionPolicy, FirstCopy, Serve
from pullahead.rules.load import load_rules
from tests.unit.rules.test_mistakes import mirror, only_problem_of

RULE = "  - {{upstream: ghcr.io/a/b, repository: mirror/b, tags: ['1']{more}}}\n"
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
        ("3d", "", "expected keys with values", "Write KEY: VALUE"),
    ],
)
def test_mistake_is_reported_with_a_hint(written: str, at: str, message: str, hint: str) -> None:
    problem = only_problem_of(mirror(admit=written))
    assert problem.path in (f"mirrors[0].admit{at}", "mirrors[0].admit")
    assert message in problem.message
    assert hint in problem.hint
