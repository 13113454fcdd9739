"""Tags with other names in ECR: what is followed under which name, the way back, and two sources of one tag."""

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.messages import RefreshRequest
from pullahead.mirrors.record import RuleRecord, State
from pullahead.mirrors.retirement import Need, NeedFinder
from pullahead.oci import parse_reference
from pullahead.refresh.wanted import require_wanted
from pullahead.rules.load import load_rules
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.model import Rules
from pullahead.rules.published_tags import NamedTag, may_give_one_name, publish_as, published_from
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection, select, selection_text
from pullahead.rules.upstream_index import UpstreamIndex
from tests.fakes.memory import FakeClock
from tests.fakes.records import fresh
from tests.fakes.samples import digest, root, rule
from tests.fakes.samples import rules as rules_of
from tests.unit.rules.test_mistakes import mirror, only_problem_of, problems_of

RULES = """\
    version: 1
    mirrors:
      - name: nginx
        upstream: docker.io/library/nginx
        repository: mirror/nginx
        as: "{tag}-mirror"
        tags: [{name: "1.27", as: stable}, {name: "1.26", as: "old-{tag}"}, {name: "1.25"}, "1.27", "1.2?", "v*"]
        exclude: ["1.29"]
        immutable_tags: ["1.26"]
      - name: team
        upstream: quay.io/team/*
        repository: "quay/{name}"
        as: "q-{tag}"
        tags: [{name: main, as: latest}, edge, "v*"]
"""
NOW = FakeClock()()


@pytest.fixture(scope="module")
def rules() -> Rules:
    return load_rules(dedent(RULES), source="rules.yaml")


@pytest.mark.parametrize(
    ("key", "upstream"),
    [
        ("mirror/nginx:stable", "docker.io/library/nginx:1.27"),
        ("mirror/nginx:old-1.26", "docker.io/library/nginx:1.26"),
        ("mirror/nginx:1.25-mirror", "docker.io/library/nginx:1.25"),
        ("mirror/nginx:1.27-mirror", "docker.io/library/nginx:1.27"),
        ("mirror/nginx:1.24-mirror", "docker.io/library/nginx:1.24"),
        ("mirror/nginx:v1-mirror", "docker.io/library/nginx:v1"),
        ("mirror/nginx:1.27", None),  # upstream's name is not the one in ECR
        ("mirror/nginx:1.29-mirror", None),
        ("mirror/nginx:-mirror", None),
        ("quay/app:latest", "quay.io/team/app:main"),
        ("quay/app:q-edge", "quay.io/team/app:edge"),
        ("quay/app:q-v2", "quay.io/team/app:v2"),
        ("quay/app:edge", None),
        ("quay/app:main", None),
    ],
)
def test_tag_in_ecr_leads_to_the_upstream_tag_that_it_follows(rules: Rules, key: str, upstream: str | None) -> None:
    repository, _, tag = key.rpartition(":")
    found = rules.find(repository, tag)
    assert (str(found.upstream) if found is not None else None) == upstream
    assert found is None or str(found.key) == key


@pytest.mark.parametrize(
    ("upstream", "keys"),
    [
        ("docker.io/library/nginx:1.27", ["mirror/nginx:1.27-mirror", "mirror/nginx:stable"]),
        ("docker.io/library/nginx:1.26", ["mirror/nginx:1.26-mirror", "mirror/nginx:old-1.26"]),
        ("docker.io/library/nginx:stable", []),
        ("docker.io/library/nginx:1.24", ["mirror/nginx:1.24-mirror"]),
        ("quay.io/team/app:main", ["quay/app:latest"]),
        ("quay.io/team/app:edge", ["quay/app:q-edge"]),
        ("quay.io/team/app:latest", []),
    ],
)
def test_event_of_upstream_leads_to_every_tag_in_ecr_that_follows_it(
    rules: Rules, upstream: str, keys: list[str]
) -> None:
    assert sorted(str(each.key) for each in UpstreamIndex(rules).of(parse_reference(upstream))) == keys


def test_names_of_upstream_decide_what_is_immutable_and_what_is_selected(rules: Rules) -> None:
    renamed = rules.find("mirror/nginx", "old-1.26")
    assert renamed is not None
    assert renamed.immutable
    tags = rules.rules[0].tags
    assert select(tags, ["1.24", "1.25", "1.26", "1.27", "1.29"]) == ("1.26", "1.24")  # the others are named
    assert selection_text(tags).startswith("1.27, 1.27 as stable, 1.26 as old-1.26, 1.25 as 1.25-mirror")
    assert selection_text(tags).endswith("as {tag}-mirror")


def test_plan_is_wanted_only_from_the_upstream_tag_under_its_name_in_ecr(rules: Rules) -> None:
    def request(upstream: str, tag: str) -> RefreshRequest:
        at = root("a")
        return RefreshRequest("r", "mirror/nginx", tag, f"docker.io/library/nginx:{upstream}", at, 1, NOW)

    require_wanted(request("1.27", "stable"), rules)
    require_wanted(request("1.24", "1.24-mirror"), rules)
    for upstream, tag in (("stable", "stable"), ("1.26", "stable"), ("1.24", "1.24"), ("1.24-mirror", "1.24-mirror")):
        with pytest.raises(Exception, match="no longer wanted"):
            require_wanted(request(upstream, tag), rules)


def test_chosen_tag_is_retired_when_the_listing_no_longer_has_its_name_upstream(rules: Rules) -> None:
    listing = RuleRecord(
        RuleKey("mirror/nginx", "nginx"), "docker.io/library/nginx", State.FRESH, NOW, followed=("1.24",)
    )
    kept, gone = (
        fresh(MirrorKey("mirror/nginx", f"{tag}-mirror"), NOW, upstream_digest=digest("a")) for tag in ("1.24", "1.23")
    )
    need = NeedFinder(rules, lambda keys: {key: listing for key in keys if key == listing.key})
    assert need([listing, kept, gone]) == [Need.FOLLOWED, Need.FOLLOWED, Need.UNUSED]


@pytest.mark.parametrize("template", ["{tag}", "{tag}-mirror", "q-{tag}", "a.{tag}_b"])
def test_name_in_ecr_is_read_back(template: str) -> None:
    for tag in ("1", "1.27", "mirror", "q-1-mirror"):
        assert published_from(template, publish_as(template, tag)) == tag


@pytest.mark.parametrize(
    ("first", "second", "meet"),
    [
        ("{tag}", "{tag}", False),
        ("{tag}", "{tag}-a", True),
        ("a-{tag}", "b-{tag}", False),
        ("a-{tag}", "a-b-{tag}", True),
        ("{tag}-a", "{tag}-b", False),
        ("a-{tag}", "{tag}-b", True),
    ],
)
def test_templates_that_may_give_one_name_are_told(first: str, second: str, meet: bool) -> None:
    assert may_give_one_name(first, second) is may_give_one_name(second, first) is meet


def test_two_sources_of_one_tag_are_told_with_both_lines() -> None:
    text = """\
        version: 1
        mirrors:
          - upstream: docker.io/library/nginx
            repository: mirror/nginx
            tags:
              - {name: "1.27", as: stable}
              - stable
          - upstream: docker.io/library/httpd
            repository: mirror/nginx
            tags: [{name: "2.4", as: stable}]
    """
    told = [(each.line, each.path, each.message) for each in problems_of(dedent(text))]
    assert told == [
        (7, "mirrors[0].tags[1]", "mirror/nginx:stable is already on line 6"),
        (10, "mirrors[1].tags[0]", "mirror/nginx:stable is already on line 6"),
    ]


def test_name_that_a_pattern_gives_too_is_told_with_both_lines() -> None:
    text = """\
        version: 1
        mirrors:
          - upstream: docker.io/library/nginx
            repository: mirror/nginx
            tags: ["s*"]
          - upstream: docker.io/library/nginx
            repository: mirror/nginx
            tags:
              - {name: "1.27", as: stable}
    """
    problem = only_problem_of(dedent(text))
    assert (problem.line, problem.path) == (9, "mirrors[1].tags[0]")
    assert problem.message == "mirror/nginx:stable follows '1.27' here, and 'stable' by the patterns on line 5"
    assert 'exclude: ["stable"]' in problem.hint
    excluded = dedent(text).replace('["s*"]', '["s*"]\n    exclude: [stable]')
    assert len(load_rules(excluded, source="rules.yaml").rules) == 2


def test_templates_that_meet_in_one_repository_are_told_with_both_lines() -> None:
    text = """\
        version: 1
        mirrors:
          - {upstream: docker.io/library/nginx, repository: mirror/nginx, tags: ["1.*"], as: "{tag}-a"}
          - {upstream: docker.io/library/nginx, repository: mirror/nginx, tags: ["2.*"], as: "{tag}-a"}
          - {upstream: docker.io/library/nginx, repository: mirror/nginx, tags: ["3.*"], as: "x-{tag}"}
    """
    problem = only_problem_of(dedent(text))
    assert (problem.line, problem.path) == (5, "mirrors[2].as")
    assert "by {tag}-a of the rule on line 3" in problem.message


@pytest.mark.parametrize(
    ("text", "path", "message", "hint"),
    [
        (mirror(**{"as": "x"}), "mirrors[0].as", "every tag of the rule would be published as one", "{name:"),
        (mirror(**{"as": '"{name}-x"'}), "mirrors[0].as", "unknown placeholder '{name}'", "{tag}"),
        (mirror(**{"as": '"-{tag}"'}), "mirrors[0].as", "gives no valid tags", "does not begin"),
        (mirror(**{"as": '"{tag}{tag}"'}), "mirrors[0].as", "gives no valid tags", "once"),
        (mirror(tags="[{name: a, as: ''}]"), "mirrors[0].tags[0].as", "'' is not a valid tag", "1 to 128"),
        (mirror(tags="[{name: a, as: -b}]"), "mirrors[0].tags[0].as", "'-b' is not a valid tag", "1 to 128"),
        (mirror(tags="[{name: a, as: '{path}'}]"), "mirrors[0].tags[0].as", "is not a valid tag", ""),
        (mirror(tags="[{name: 'a*', as: b}]"), "mirrors[0].tags[0].name", "'a*' is not a valid tag", ""),
        (mirror(tags="[{name: 1.27, as: b}]"), "mirrors[0].tags[0].name", "YAML reads '1.27' as a number", "Quote it"),
        (mirror(tags="[{glob: 'a*', as: b}]"), "mirrors[0].tags[0]", "a pattern cannot have a name in ECR", "template"),
        (mirror(tags="[{name: a, glob: b}]"), "mirrors[0].tags[0]", "expected exactly one key", "name with as"),
        (mirror(tags="[{name: a, to: b}]"), "mirrors[0].tags[0]", "unknown key 'to'", "Did you mean as?"),
    ],
)
def test_mistake_in_a_name_is_told_at_its_line(text: str, path: str, message: str, hint: str) -> None:
    problem = only_problem_of(text)
    assert problem.path == path
    assert message in problem.message
    assert hint in problem.hint


_NAMES = st.sampled_from(["1", "1-a", "a-1", "a-1-a", "b", "stable"])
_TEMPLATES = st.sampled_from(["{tag}", "{tag}-a", "a-{tag}", "a-{tag}-a"])


@given(
    st.lists(_NAMES, unique=True), st.lists(st.tuples(_NAMES, _NAMES), max_size=4), _TEMPLATES, st.lists(_NAMES), _NAMES
)
def test_every_tag_in_ecr_has_one_source_and_every_source_leads_to_it(
    names: list[str], renamed: list[tuple[str, str]], template: str, listed: list[str], asked: str
) -> None:
    by_target = {target: NamedTag(name, target) for name, target in renamed}
    plain = TagSelection(tuple(names), (TagPattern(PatternKind.GLOB, "*1*"),), template=template)
    # What else would be a second source of a name is refused where rules are read.
    others = tuple(each for each in by_target.values() if plain.published_as(each.target) is None)
    selection = plain._replace(renamed=others)
    declared = rule(tags=selection)
    known = rules_of(declared.named_mirrors, "r", declared)
    chosen = [publish_as(template, tag) for tag in select(selection, listed)]
    targets = [*{each.target for each in selection.named}, *chosen]
    assert len(targets) == len(set(targets))
    for target in (*targets, asked):
        found = known.find(declared.repository, target)
        if found is None:
            assert target == asked
            continue
        assert found.tag == target
        followed = [each.tag for each in UpstreamIndex(known).of(found.upstream)]
        assert followed.count(target) == 1
        assert all(
            (each := known.find(declared.repository, tag)) is not None and each.upstream == found.upstream
            for tag in followed
        )
