"""Rules that Pullahead may not pull for: which are skipped, what is said of them, and that nothing is done for them."""

from datetime import UTC, datetime

import pytest

from pullahead.checks.schedule import schedule_checks
from pullahead.checks.select import mirrors_named_by
from pullahead.messages import CheckRequest
from pullahead.rules.load import load_rules
from pullahead.rules.model import CredentialSource
from pullahead.rules.sources.combine import Gathered, gather_rules, newly_cached
from pullahead.rules.sources.findings import CachedRepository, CacheRule, Findings, PullRights, TaggedRepository
from pullahead.rules.sources.upstream_access import access_notes
from tests.fakes.memory import FakeCheckQueue, FakeRecords

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
OWN, OTHER = "123456789012.dkr.ecr.us-east-1.amazonaws.com", "210987654321.dkr.ecr.eu-west-1.amazonaws.com"
ROLE = "arn:aws:iam::210987654321:role/pull"
RIGHTS = PullRights("123456789012", ("*",))
MAY_ASSUME = PullRights("123456789012", ("*",), ("arn:aws:iam::210987654321:role/p*",))
CACHE_ROLE = "arn:aws:iam::210987654321:role/ecr-cache"


def file(upstream: str, credentials: str = "", tags: str = '["1.0"]') -> str:
    host = upstream.partition("/")[0]
    settings = f"upstreams: {{{host}: {{credentials: {credentials}}}}}\n" if credentials else ""
    return (
        f"version: 1\n{settings}mirrors:\n  - {{name: app, upstream: {upstream}, tags: {tags}, repository: {TARGET}}}\n"
    )


TARGET = "mirror/app"


def gathered(text: str, rights: PullRights = RIGHTS, **findings: object) -> Gathered:
    return gather_rules(load_rules(text, source="rules.yaml"), Findings(**findings, rights=rights))  # type: ignore[arg-type]


def by_cache(host: str, rights: PullRights = RIGHTS, *names: str, role: str | None = None) -> Gathered:
    rules = (CacheRule("ecr", host, role=role),)
    repositories = tuple(CachedRepository(name, ("1.0",)) for name in names or ("ecr/team/app",))
    return gathered("version: 1\nmirrors: []\n", rights, cache_rules=rules, cached=repositories, within=("ecr/*",))


@pytest.mark.parametrize(
    ("text", "rights"),
    [
        (file(f"{OWN}/team/app"), RIGHTS),
        (file(f"{OWN}/team/app"), PullRights("123456789012", ("other/*", "team/*"))),
        (file(f"{OTHER}/team/app", f'[{{role: "{ROLE}"}}]'), MAY_ASSUME),
        (file(f"{OTHER}/team/app", "pull-secret"), RIGHTS),
        (file(f"{OTHER}/team/app", f'[{{path: other/*, secret: a}}, {{role: "{ROLE}"}}]'), MAY_ASSUME),
        (file("quay.io/team/app"), RIGHTS),
        (file("public.ecr.aws/docker/library/alpine"), RIGHTS),
        (file(f"{OTHER}/team/app"), PullRights()),  # the rights are not known
    ],
)
def test_rule_that_can_be_followed_is_not_skipped(text: str, rights: PullRights) -> None:
    found = gathered(text, rights)
    assert (found.rules.skipped, found.notices) == ({}, ())


@pytest.mark.parametrize(
    ("text", "rights", "reason"),
    [
        (file(f"{OTHER}/team/app"), RIGHTS, "another account (210987654321), and the rules name no role for it"),
        (file(f"{OTHER}/team/app", "[{path: other/*, secret: a}]"), RIGHTS, "another account (210987654321)"),
        (file(f"{OTHER}/team/app", f'[{{role: "{ROLE}"}}]'), RIGHTS, f"UpstreamRoles does not have {ROLE}"),
        (file("quay.io/team/app", f'[{{secret: a, role: "{ROLE}"}}]'), RIGHTS, f"UpstreamRoles does not have {ROLE}"),
        (file(f"{OWN}/team/app"), PullRights("123456789012"), "UpstreamRepositories does not cover team/app"),
        (file(f"{OWN}/team/app"), PullRights("123456789012", ("app/*",)), "UpstreamRepositories does not cover"),
    ],
)
def test_rule_that_cannot_be_followed_is_skipped_with_what_to_do(text: str, rights: PullRights, reason: str) -> None:
    found = gathered(text, rights)
    assert list(found.rules.skipped) == ["app"]
    (notice,) = found.notices
    assert notice.startswith("skipped: app: ")
    assert reason in notice


def test_nothing_is_queued_or_checked_for_a_skipped_rule_and_its_mirrors_stay_in_the_rules() -> None:
    chosen = file(f"{OTHER}/team/app", tags='["1.0", "2.*"]')
    rules, queue = gathered(chosen).rules, FakeCheckQueue()
    scheduled = schedule_checks(rules, FakeRecords(), queue, NOW)
    assert (scheduled.due, scheduled.listings) == (0, 0)
    pushed = CheckRequest("push", TARGET, ("1.0", "2.5"), NOW)
    assert mirrors_named_by(pushed, rules) == []
    assert rules.find(TARGET, "1.0") is not None  # so that its record is not retired


def test_resource_tags_that_name_another_account_are_skipped() -> None:
    tagged = (TaggedRepository(TARGET, {"pullahead:upstream": f"{OTHER}/team/app", "pullahead:tags": "1.0"}),)
    found = gathered("version: 1\nmirrors: []\n", tagged=tagged)
    assert list(found.rules.skipped) == [f"resource tags of {TARGET}"]


class TestPullThroughCache:
    def test_rule_for_another_region_of_the_account_is_followed_without_its_role(self) -> None:
        found = by_cache(OWN, role=CACHE_ROLE)
        assert found.rules.skipped == {}
        assert found.rules.settings_of(OWN) is None  # as itself

    def test_rule_for_another_account_is_one_notice_however_many_repositories_it_has(self) -> None:
        found = by_cache(OTHER, RIGHTS, "ecr/team/app", "ecr/team/tool", "ecr/web", role=CACHE_ROLE)
        assert len(found.rules.skipped) == 3
        (notice,) = found.notices
        assert notice.startswith(f"skipped: the pull through cache of {OTHER}: ")
        assert "only ECR can assume the role of a pull through cache rule" in notice
        assert "`ignore`" in notice
        more = by_cache(OTHER, RIGHTS, "ecr/a", "ecr/team/app", "ecr/team/tool", "ecr/web", role=CACHE_ROLE)
        assert more.notices == found.notices

    def test_role_is_used_where_the_parameter_has_it(self) -> None:
        found = by_cache(OTHER, PullRights("123456789012", (), (CACHE_ROLE,)), role=CACHE_ROLE)
        assert found.rules.skipped == {}
        settings = found.rules.settings_of(OTHER)
        assert settings is not None
        assert settings.credentials == (CredentialSource("", "*", CACHE_ROLE),)

    def test_role_in_the_rules_file_serves_what_is_cached(self) -> None:
        text = f'version: 1\nupstreams: {{{OTHER}: {{credentials: [{{role: "{ROLE}"}}]}}}}\nmirrors: []\n'
        cached = (CachedRepository("ecr/team/app", ("1.0",)),)
        found = gathered(text, MAY_ASSUME, cache_rules=(CacheRule("ecr", OTHER, role=CACHE_ROLE),), cached=cached)
        assert found.rules.skipped == {}

    @pytest.mark.parametrize(("host", "is_followed"), [(OWN, True), (OTHER, False)])
    def test_tag_that_was_cached_just_now_is_skipped_like_the_others(self, host: str, is_followed: bool) -> None:
        findings = Findings(cache_rules=(CacheRule("ecr", host),), within=("ecr/*",), rights=RIGHTS)
        rules = gather_rules(load_rules("version: 1\nmirrors: []\n", source="rules.yaml"), findings).rules
        assert (newly_cached("ecr/new", "1", rules, findings) is not None) is is_followed


class TestNamespaces:
    def test_namespace_without_any_credential_is_skipped(self) -> None:
        text = file(f"{OTHER}/team/*").replace(TARGET, '"mirror/{name}"')
        assert list(gathered(text).rules.skipped) == ["app"]

    def test_namespace_whose_repositories_have_roles_of_their_own_is_followed(self) -> None:
        roles = f'[{{path: team/a, role: "{ROLE}"}}, {{path: team/b, role: "{ROLE}"}}]'
        text = file(f"{OTHER}/team/*", roles).replace(TARGET, '"mirror/{name}"')
        assert gathered(text, MAY_ASSUME).rules.skipped == {}


def test_rights_that_let_a_rule_be_followed_make_it_due_at_once() -> None:
    text = file(f"{OTHER}/team/app", f'[{{role: "{ROLE}"}}]')
    assert gathered(text, RIGHTS).rules.digest != gathered(text, MAY_ASSUME).rules.digest
    assert gathered(text, MAY_ASSUME).rules.digest == load_rules(text, source="rules.yaml").digest


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        (file("quay.io/team/app"), ()),
        (file(f"{OTHER}/team/app", "pull-secret"), ()),
        (file(f"{OTHER}/team/app", f'[{{role: "{ROLE}"}}]'), ()),
        (
            file(f"{OTHER}/team/app"),
            (
                (
                    f"app: without a role for {OTHER} in `upstreams`, this works only if Pullahead is deployed in the "
                    "account 210987654321; elsewhere it is skipped."
                ),
            ),
        ),
    ],
)
def test_note_says_in_which_account_a_rule_can_be_followed(text: str, notes: tuple[str, ...]) -> None:
    assert access_notes(load_rules(text, source="rules.yaml")) == notes
