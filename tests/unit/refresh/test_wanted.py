"""Which refreshes the rules still name: by upstream, platforms and target."""

from datetime import timedelta

import pytest

from pullahead.errors import NoLongerWantedError
from pullahead.oci import parse_reference
from pullahead.refresh.wanted import require_wanted
from pullahead.rules.admission_policy import AdmissionPolicy
from pullahead.rules.model import Mirror, Rule
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.refreshes import refresh_request
from tests.fakes.samples import mirror, root, rule, rules

REQUEST = refresh_request(root("new"))
ONES = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "1.*"),))


@pytest.mark.parametrize(
    "named",
    [
        rule("2.0", tags=ONES),
        rule(upstream="ghcr.io/team/*", repository="mirror/{name}", tags=ONES),
    ],
)
def test_tag_that_a_pattern_names_is_wanted(named: Rule) -> None:
    require_wanted(REQUEST, rules([], "rules-1", named))


def test_tag_that_two_rules_name_is_wanted_from_both_upstreams() -> None:
    other = rule("1.0", upstream="ghcr.io/other/app", name="other", tags=ONES)
    require_wanted(REQUEST, rules([], "rules-1", other, rule(tags=ONES)))
    require_wanted(REQUEST, rules([], "rules-1", rule(tags=ONES), other))


COOLED = AdmissionPolicy(min_age=timedelta(days=3))


@pytest.mark.parametrize(
    "named",
    [
        mirror()._replace(upstream=parse_reference("ghcr.io/other/app:1.0"), admit=COOLED),
        mirror()._replace(upstream=parse_reference(f"ghcr.io/team/app:1.0@{root('pinned').digest}")),
    ],
)
def test_rule_that_does_not_publish_the_tag_is_no_way_around_the_one_that_does(named: Mirror) -> None:
    with pytest.raises(NoLongerWantedError, match="another rule decides what the tag may serve"):
        require_wanted(refresh_request(root("new")), rules([named], "rules-1", rule(tags=ONES)))


def test_rule_that_demands_the_same_is_wanted_beside_the_one_that_publishes_the_tag() -> None:
    named = mirror()._replace(rule="other", upstream=parse_reference("ghcr.io/other/app:1.0"), admit=COOLED)
    demanding = rule(tags=ONES)._replace(admit=COOLED)
    assert require_wanted(REQUEST, rules([named], "rules-1", demanding)).admit == COOLED


@pytest.mark.parametrize(
    "other",
    [
        rule(tags=ONES._replace(exclude=(TagPattern(PatternKind.GLOB, "1.0"),))),
        rule(tags=ONES, platforms=("linux/arm64",)),
        rule(upstream="quay.io/team/app", tags=ONES),
        rule(upstream="ghcr.io/other/*", repository="mirror/{name}", tags=ONES),
        rule(upstream="quay.io/team/*", repository="mirror/{name}", tags=ONES),
        rule(upstream="ghcr.io/team/*", repository="other/{name}", tags=ONES),
    ],
)
def test_tag_that_no_rule_names_in_this_way_is_not_wanted(other: Rule) -> None:
    with pytest.raises(NoLongerWantedError, match=r"ghcr\.io/team/app:1\.0 to mirror/app:1\.0"):
        require_wanted(REQUEST, rules([], "rules-1", other))
