"""Which refreshes the rules still name: by upstream, platforms and target."""

import pytest

from pullahead.errors import NoLongerWantedError
from pullahead.refresh.wanted import require_wanted
from pullahead.rules.model import Rule
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.refreshes import refresh_request
from tests.fakes.samples import root, rule, rules

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
