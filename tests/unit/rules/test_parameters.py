"""Which parameters of the stack a rules file needs: no fewer, or access is denied; no more, or too much is allowed."""

import tomllib
from textwrap import dedent

import pytest

from pullahead.rules.load import load_rules
from pullahead.rules.parameters import Parameter, inward_hosts, needed_parameters, rules_without_credentials

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:team"
ROLE = "arn:aws:iam::210987654321:role/pull"
NAMED = "arn:aws:secretsmanager:*:*:secret:"
CACHE = f"{NAMED}ecr-pullthroughcache/*"


def needed(text: str) -> dict[str, str]:
    """Load a file and map the parameters that it needs to their values."""
    return dict(needed_parameters(load_rules(f"version: 1\n{dedent(text)}", source="rules.yaml")))


def needed_for(*targets: str, **more: str) -> dict[str, str]:
    """Find what rules need that publish into some repositories; `more` keys of each."""
    keys = "".join(f", {key}: {value}" for key, value in more.items())
    rules = [
        f"  - {{upstream: a.io/b{number}, tags: [v1], repository: '{target}'{keys}}}\n"
        for number, target in enumerate(targets)
    ]
    return needed("mirrors:\n" + "".join(rules))


@pytest.mark.parametrize(
    ("targets", "value"),
    [
        (["mirror/a", "mirror/b/c"], None),
        ([], None),
        (["team/a"], "team/*"),
        (["team/a", "team/b/c"], "team/*"),
        (["team/x/a", "team/x/b"], "team/x/*"),
        (["team/xa", "team/xb"], "team/*"),
        (["mirror/a", "mirrors/b"], "*"),
        (["mirror/a", "team/b"], "*"),
        (["alpine"], "alpine"),
        (["alpine", "alpine3"], "*"),
        (["{registry}/{path}"], "a.io/*"),
    ],
)
def test_target_repositories_cover_every_target(targets: list[str], value: str | None) -> None:
    text = needed_for(*targets) if targets else needed("mirrors: []\n")
    assert text == ({} if value is None else {"TargetRepositories": value})


def test_target_repositories_cover_namespaces() -> None:
    rule = "mirrors: [{{upstream: quay.io/prometheus/*, tags: [latest], repository: '{}'}}]\n"
    assert needed(rule.format("mirror/{path}")) == {}
    assert needed(rule.format("team/{registry}/{path}")) == {"TargetRepositories": "team/quay.io/prometheus/*"}
    assert needed(rule.format("{name}")) == {"TargetRepositories": "*"}


@pytest.mark.parametrize(
    ("every", "schedule"),
    [("5m", None), ("15m", None), ("4m59s", "rate(4 minutes)"), ("1m", "rate(1 minute)"), ("1m30s", "rate(1 minute)")],
)
def test_schedule_is_as_frequent_as_the_most_frequent_check(every: str, schedule: str | None) -> None:
    found = needed_for("mirror/a", check_every=every)
    assert found == ({} if schedule is None else {"CheckSchedule": schedule})


@pytest.mark.parametrize(
    ("credentials", "value"),
    [
        ("ecr-pullthroughcache/hub", None),
        ("robot", f"{NAMED}robot-??????,{CACHE}"),
        (f"'{ARN}-AbCdEf'", f"{ARN}-AbCdEf,{CACHE}"),
        (f"'{ARN}'", f"{ARN}-??????,{CACHE}"),
        ("team-AbCdEf", f"{NAMED}team-AbCdEf-??????,{CACHE}"),
        ("[{path: b*, secret: two}, {secret: one}]", f"{NAMED}one-??????,{NAMED}two-??????,{CACHE}"),
    ],
)
def test_secrets_are_those_that_the_default_does_not_cover(credentials: str, value: str | None) -> None:
    found = needed(f"upstreams: {{a.io: {{credentials: {credentials}}}}}\nmirrors: []\n")
    assert found == ({} if value is None else {"UpstreamSecrets": value})


def test_secrets_of_the_cache_are_left_out_where_nothing_needs_them() -> None:
    off = "sources: {pull_through_cache: false}\nmirrors: []\n"
    robot = f"{NAMED}robot-??????"
    assert needed(f"upstreams: {{a.io: {{credentials: robot}}}}\n{off}") == {"UpstreamSecrets": robot}
    both = f"upstreams: {{a.io: {{credentials: robot}}, b.io: {{credentials: ecr-pullthroughcache/b}}}}\n{off}"
    assert needed(both) == {"UpstreamSecrets": f"{robot},{CACHE}"}


def test_roles_are_listed_and_secrets_that_they_read_are_not() -> None:
    text = f"""\
        upstreams:
          210987654321.dkr.ecr.eu-west-1.amazonaws.com: {{credentials: [{{role: "{ROLE}"}}]}}
          a.io: {{credentials: [{{role: "{ROLE}2", secret: theirs}}]}}
        mirrors: []
    """
    assert needed(text) == {"UpstreamRoles": f"{ROLE},{ROLE}2"}


@pytest.mark.parametrize(
    ("targets", "prefix"),
    [(["mirror/hub/{path}"], "mirror/hub/"), (["mirror/hub/{path}", "mirror/quay/{path}"], "mirror/")],
)
def test_prefix_on_demand_is_what_the_targets_have_in_common(targets: list[str], prefix: str) -> None:
    rules = (
        f"  - {{name: r{number}, upstream: r{number}.io/*, repository: '{target}', allow: ['*']}}\n"
        for number, target in enumerate(targets)
    )
    assert needed("mirrors: []\non_demand:\n" + "".join(rules)) == {"OnDemandPrefix": prefix}


@pytest.mark.parametrize(
    ("parameter", "line"),
    [
        (Parameter("TargetRepositories", "team/*"), '"TargetRepositories=team/*"'),
        (Parameter("CheckSchedule", "rate(1 minute)"), """'CheckSchedule="rate(1 minute)"'"""),
    ],
)
def test_parameter_is_written_as_an_item_of_toml(parameter: Parameter, line: str) -> None:
    assert parameter.override == line
    (item,) = tomllib.loads(f"items = [{line}]")["items"]
    assert item.replace('"', "") == f"{parameter.name}={parameter.value}"


def test_hosts_that_may_be_private_are_those_that_a_rule_uses() -> None:
    text = """\
        version: 1
        upstreams:
          a.corp: {private_addresses: true}
          b.corp: {plain_http: true}
          c.corp: {private_addresses: true}
          d.corp: {token_hosts: [sso.corp]}
        mirrors:
          - {upstream: a.corp/x, tags: [v1], repository: mirror/a}
          - {upstream: b.corp/x, tags: [v1], repository: mirror/b}
          - {upstream: d.corp/x, tags: [v1], repository: mirror/d}
    """
    assert inward_hosts(load_rules(dedent(text), source="rules.yaml")) == ("a.corp", "b.corp")


def test_rule_that_no_credential_of_its_host_matches_is_found() -> None:
    text = """\
        version: 1
        upstreams:
          quay.io: {credentials: [{path: team-a/*, secret: robot}]}
        mirrors:
          - {upstream: quay.io/team-a/x, tags: [v1], repository: mirror/a}
          - {upstream: quay.io/team-b/x, tags: [v1], repository: mirror/b}
          - {upstream: quay.io/team-c/*, tags: [v1], repository: "mirror/{path}"}
          - {upstream: ghcr.io/team-b/x, tags: [v1], repository: mirror/d}
    """
    found = rules_without_credentials(load_rules(dedent(text), source="rules.yaml"))
    assert [str(rule.upstream) for rule in found] == ["quay.io/team-b/x"]
