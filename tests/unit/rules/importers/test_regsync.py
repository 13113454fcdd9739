"""regsync's file → our rules: what is converted, and that everything else is reported with advice."""

import pytest

from pullahead.rules.file_format import format_duration
from pullahead.rules.importers import import_rules, write_valid_rules
from pullahead.rules.importers.result import ImportedMirror, ImportResult, TagEntry, write_rules
from pullahead.rules.load import load_rules
from pullahead.rules.tag_patterns import PatternKind, TagPattern

OURS, THEIRS = "123456789012.dkr.ecr.eu-west-1.amazonaws.com", "210987654321.dkr.ecr.us-east-1.amazonaws.com"
GLOB, REGEX, SEMVER = PatternKind.GLOB, PatternKind.REGEX, PatternKind.SEMVER
ALL = TagEntry("*", GLOB)

# As in regclient's own documentation and as people write it: templates, anchors, and a number without quotes.
REALISTIC = """\
version: 1
x-tags: &stable
  allow: ["latest", "3.*", 3.20]
  deny: [".*-rc"]
creds:
  - registry: localhost:5000
    tls: disabled
    scheme: reg
  - registry: docker.io
    user: "{{env \\"HUB_USER\\"}}"
    pass: "{{file \\"/var/run/secrets/hub_token\\"}}"
    reqPerSec: 5
  - registry: registry.example.com
    tls: insecure
    regcert: |
      -----BEGIN CERTIFICATE-----
      AAAA
      -----END CERTIFICATE-----
defaults:
  ratelimit:
    min: 100
    retry: 15m
  parallel: 2
  interval: 60m
sync:
  - source: busybox:latest
    target: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror/busybox:latest
    type: image
  - source: alpine
    target: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/library/alpine
    type: repository
    tags: *stable
    platforms: [linux/amd64, linux/arm64]
    interval: 30m
    backup: "backup-{{.Ref.Tag}}"
    digestTags: true
  - source: quay.io/team/app
    target: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app
    type: repository
    tagSets:
      - semverRange: [">=1.2, <2"]
      - allow: ["edge"]
    schedule: "15 */6 * * *"
"""


def imported(entry: str, rest: str = "") -> ImportResult:
    """Import a file with one entry, written in one line."""
    return import_rules(f"version: 1\n{rest}\nsync:\n  - {{{entry}}}\n", source="regsync.yml")


def left_out(found: ImportResult) -> str:
    return "\n".join(f"{left.where}: {left.message}" for left in found.left_out)


def test_realistic_file_is_imported() -> None:
    found = import_rules(REALISTIC, source="regsync.yml")
    assert found.mirrors == [
        ImportedMirror("docker.io/library/busybox", "mirror/busybox", (TagEntry("latest"),), check_every="1h"),
        ImportedMirror(
            "docker.io/library/alpine",
            "library/alpine",
            (TagEntry("latest"), TagEntry("3.*", REGEX), TagEntry("3.20")),
            (TagEntry(".*-rc", REGEX),),
            ("linux/amd64", "linux/arm64"),
            "30m",
            referrers=True,
            keep_previous=True,
        ),
        ImportedMirror("quay.io/team/app", "team/app", (TagEntry(">=1.2 <2", SEMVER),)),
        ImportedMirror("quay.io/team/app", "team/app", (TagEntry("edge"),)),
    ]
    assert found.upstreams["localhost:5000"] == {"plain_http": True}
    assert found.upstreams["docker.io"] == {"rate_limit": {"requests_per_second": 5}}
    assert found.upstreams["registry.example.com"]["ca"].startswith("-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize(
    "expected",
    [
        "creds[0].scheme: not supported",
        "creds[1]: credentials for docker.io are never copied; put them into Secrets Manager",
        "name the secret under upstreams.docker.io.credentials",
        "creds[2]: certificates of registry.example.com are always verified",
        "defaults.ratelimit: not supported",
        "defaults.parallel: not supported",
        "sync[1].backup: the name 'backup-{{.Ref.Tag}}': it is kept as TAG--previous-",
        "sync[2]: the schedule '15 */6 * * *' is not supported; upstream is checked every 15 minutes",
    ],
)
def test_unsupported_key_is_reported(expected: str) -> None:
    assert expected in left_out(import_rules(REALISTIC, source="regsync.yml"))


def test_no_credential_is_copied_or_shown() -> None:
    found = imported(
        "source: a, target: b/c, type: repository",
        "creds: [{registry: ghcr.io, user: robot, pass: hunter2, token: abcdef}]",
    )
    shown = write_rules(found, source="regsync.yml") + left_out(found)
    assert not [secret for secret in ("robot", "hunter2", "abcdef") if secret in shown]


def test_imported_rules_load() -> None:
    found = import_rules(REALISTIC, source="regsync.yml")
    rules = load_rules(write_valid_rules(found, source="regsync.yml"), source="rules.yaml")
    assert "upstreams['registry.example.com'].ca: it is not a PEM certificate" in left_out(found)
    assert [(rule.repository, rule.tags.names, rule.tags.patterns) for rule in rules.rules] == [
        ("mirror/busybox", ("latest",), ()),
        ("library/alpine", ("latest", "3.20"), (TagPattern(REGEX, "3.*"),)),
        ("team/app", (), (TagPattern(SEMVER, ">=1.2 <2"),)),
        ("team/app", ("edge",), ()),
    ]
    assert rules.rules[1].platforms == ("linux/amd64", "linux/arm64")
    assert rules.rules[1].tags.exclude == (TagPattern(REGEX, ".*-rc"),)


def test_written_file_loads() -> None:
    found = import_rules(
        'sync:\n  - {source: "alpine:3.20", target: "localhost:5000/mirror/alpine:3.20", type: image, interval: 1h}\n'
        "  - {source: quay.io/a/b, target: localhost:5000/a/b, type: repository, tags: {allow: [v1, v2]}}\n"
        "creds: [{registry: quay.io, tls: disabled}]\n",
        source="regsync.yml",
    )
    rules = load_rules(write_rules(found, source="regsync.yml"), source="rules.yaml")
    assert [(str(mirror.key), str(mirror.upstream)) for mirror in rules.mirrors] == [
        ("mirror/alpine:3.20", "docker.io/library/alpine:3.20"),
        ("a/b:v1", "quay.io/a/b:v1"),
        ("a/b:v2", "quay.io/a/b:v2"),
    ]
    assert [(upstream.host, upstream.plain_http) for upstream in rules.upstreams] == [("quay.io", True)]


@pytest.mark.parametrize(
    ("entry", "tags"),
    [
        ("", (ALL,)),
        ("tags: {allow: ['.*']}", (ALL,)),
        ("tags: {allow: ['^v1$']}", (TagEntry("v1"),)),
        ("tags: {allow: ['v\\d+']}", (TagEntry("v\\d+", REGEX),)),
        ("tags: {semverRange: ['>= 1.2']}", (TagEntry(">=1.2", SEMVER),)),
    ],
)
def test_tags_of_a_repository(entry: str, tags: tuple[TagEntry, ...]) -> None:
    (mirror,) = imported(f"source: ghcr.io/a/b, target: x.io/a/b, type: repository, {entry}".rstrip(", ")).mirrors
    assert mirror.tags == tags


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (f"source: 'aa:1', target: 'x.io/aa@sha256:{'0' * 64}', type: image", "this one is a digest"),
        (f"source: 'aa@sha512:{'0' * 128}', target: 'x.io/aa', type: image", "digests of sha256 only"),
        (
            "source: aa, target: x.io/aa, type: repository, referrers: true, referrerFilters: [{annotations: {a: b}}]",
            "referrerFilters[0].annotations: not supported",
        ),
        ("source: 'https://a/b', target: 'x.io/aa', type: image", "a reference is not a URL"),
        ("source: a, target: 'x.io/a', type: repository", "'a' is not a valid ECR repository name"),
        ("source: a, target: 'x.io/aa', type: mystery", "unknown type 'mystery'"),
        (
            "source: ghcr.io, target: x.io/m, type: registry",
            "registries and expressions of repositories are not supported",
        ),
        (
            "source: aa, target: x.io/aa, type: repository, tags: {allow: ['(?P<n>']}",
            "invalid regex '(?P<n>'",
        ),
        ("source: aa, target: x.io/aa, type: repository, tags: {allow: ['" + "a|" * 101 + "b']}", "it has more than"),
        ("source: aa, target: x.io/aa, type: repository, platform: local", "invalid platform 'local'"),
        (
            "source: aa, target: x.io/aa, type: repository, interval: 10s",
            "10s is out of range and became 1m",
        ),
        (
            "source: aa, target: x.io/aa, type: repository, interval: 72h",
            "72h is out of range and became 1d",
        ),
        ("source: aa, target: x.io/aa, type: repository, interval: soon", "is not a duration"),
    ],
)
def test_unsupported_entry_is_reported(entry: str, expected: str) -> None:
    assert expected in left_out(imported(entry))


@pytest.mark.parametrize("tag", ["3.20", "1_000", "0x1f", "on", "2024-01-02"])
def test_tag_without_quotes_stays_as_it_is_written(tag: str) -> None:
    (mirror,) = imported(f"source: ghcr.io/a/b, target: x.io/a/b, type: repository, tags: {{allow: [{tag}]}}").mirrors
    assert mirror.tags == (TagEntry(tag),)


@pytest.mark.parametrize(("written", "pace"), [("5", 5), ("0.5", 0.5), ("0", None), ("many", None), (".inf", None)])
def test_pace_is_a_number_above_zero(written: str, pace: float | None) -> None:
    found = imported(
        "source: aa/b, target: x.io/aa, type: repository", f"creds: [{{registry: q.io, reqPerSec: {written}}}]"
    )
    assert found.upstreams.get("q.io") == (None if pace is None else {"rate_limit": {"requests_per_second": pace}})
    assert (pace is None) == ("is not a number above zero" in left_out(found))


def test_named_repositories_of_a_registry_are_imported_and_expressions_reported() -> None:
    found = imported("source: ghcr.io, target: x.io/m, type: registry, repos: {allow: [a/b, 'c/.*']}")
    assert [(mirror.upstream, mirror.repository) for mirror in found.mirrors] == [("ghcr.io/a/b", "m/a/b")]
    assert "expressions of repositories" in left_out(found)


def test_invalid_range_is_reported() -> None:
    found = imported("source: ghcr.io/a/b, target: x.io/a/b, type: repository, tags: {semverRange: ['>=latest']}")
    assert found.mirrors == []
    assert "sync[0].tags.semverRange: invalid semver '>=latest'" in left_out(found)


@pytest.mark.parametrize(
    ("allow", "tags", "exclude"),
    [
        ("[v1, v2-rc]", (TagEntry("v1"),), ()),
        ("[v1, v2-rc, 'v3.*']", (TagEntry("v1"), TagEntry("v3.*", REGEX)), (TagEntry(".*-rc", REGEX),)),
    ],
)
def test_denied_names_are_dropped(allow: str, tags: tuple[TagEntry, ...], exclude: tuple[TagEntry, ...]) -> None:
    entry = f"source: ghcr.io/a/b, target: x.io/a/b, type: repository, tags: {{allow: {allow}, deny: ['.*-rc']}}"
    found = imported(entry)
    assert [(mirror.tags, mirror.exclude) for mirror in found.mirrors] == [(tags, exclude)]
    load_rules(write_rules(found, source="regsync.yml"), source="rules.yaml")


def test_tag_that_two_entries_publish_follows_the_first() -> None:
    found = import_rules(
        f"sync:\n  - {{source: 'quay.io/a/b:1', target: '{OURS}/a/b:1', type: image}}\n"
        f"  - {{source: 'ghcr.io/a/b:1', target: '{OURS}/a/b:1', type: image}}\n"
        f"  - {{source: 'quay.io/a/b:1', target: '{OURS}/a/b:1', type: image}}\n",
        source="regsync.yml",
    )
    assert [mirror.upstream for mirror in found.mirrors] == ["quay.io/a/b"]
    assert left_out(found) == "sync[1]: a/b:1 already follows quay.io/a/b; choose one of them"


def of_targets(*targets: str) -> str:
    """Write a file that copies one image to several targets."""
    entries = (f"  - {{source: 'quay.io/a/b:1', target: '{target}', type: image}}\n" for target in targets)
    return "".join(("sync:\n", *entries))


OTHER_TARGETS = of_targets("harbor.corp/mirror/b:1", f"{OURS}/mirror/b:1", f"{THEIRS}/mirror/b:1", f"{OURS}/mirror/c:1")


def test_targets_in_other_registries_are_reported_and_not_merged() -> None:
    found = import_rules(OTHER_TARGETS, source="regsync.yml")
    assert (found.target, [mirror.repository for mirror in found.mirrors]) == (OURS, ["mirror/b", "mirror/c"])
    assert [left.where for left in found.left_out] == ["sync[0]", "sync[2]"]
    assert f"the target harbor.corp/mirror/b is not in {OURS}" in left_out(found)
    assert f"the target {THEIRS}/mirror/b is not in {OURS}" in left_out(found)
    assert f"import with --target {THEIRS}" in left_out(found)
    assert f"# Its targets are in {OURS}" in write_valid_rules(found, source="regsync.yml")


@pytest.mark.parametrize("target", [THEIRS, "harbor.corp"])
def test_targets_in_the_registry_that_is_named_are_imported(target: str) -> None:
    found = import_rules(OTHER_TARGETS, source="regsync.yml", target=target)
    assert [mirror.repository for mirror in found.mirrors] == ["mirror/b"]
    assert not {"sync[0]", "sync[1]", "sync[2]", "sync[3]"} <= {left.where for left in found.left_out}


def test_registry_that_is_not_ecr_is_reported() -> None:
    found = import_rules(of_targets("harbor.corp/mirror/b:1"), source="regsync.yml")
    assert [mirror.repository for mirror in found.mirrors] == ["mirror/b"]
    assert "target: rules publish into Amazon ECR, not into harbor.corp" in left_out(found)


def test_target_of_a_whole_registry_counts() -> None:
    found = imported(f"source: ghcr.io, target: {OURS}, type: registry, repos: {{allow: [a/b]}}")
    assert (found.target, [mirror.repository for mirror in found.mirrors], found.left_out) == (OURS, ["a/b"], [])


@pytest.mark.parametrize(
    ("interval", "check_every", "alert_after"),
    [("12h", "12h", "1d"), ("24h", "1d", "2d"), ("6h1m", "6h1m", "12h2m"), ("6h", "6h", "6h"), ("15m", "15m", "6h")],
)
def test_alert_comes_after_the_second_check_that_fails(interval: str, check_every: str, alert_after: str) -> None:
    text = f"defaults: {{interval: {interval}}}\n{of_targets(f'{OURS}/mirror/b:1')}"
    written = write_valid_rules(import_rules(text, source="regsync.yml"), source="regsync.yml")
    (rule,) = load_rules(written, source="rules.yaml").rules
    assert (format_duration(rule.check_every), format_duration(rule.alert_after)) == (check_every, alert_after)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("creds: [{registry: q.io, reqPerSec: 2000}]", "upstreams['q.io'].rate_limit.requests_per_second: 2000"),
        ("creds: [{registry: q.io, regcert: abcd}]", "upstreams['q.io'].ca: it is not a PEM certificate"),
    ],
)
def test_setting_that_rules_refuse_is_left_out_and_reported(rest: str, expected: str) -> None:
    found = imported(f"source: aa/b, target: {OURS}/aa, type: repository", rest)
    rules = load_rules(write_valid_rules(found, source="regsync.yml"), source="rules.yaml")
    assert (len(rules.rules), rules.upstreams) == (1, ())
    assert expected in left_out(found)


def test_rules_that_may_publish_the_same_tag_are_left_out_and_reported() -> None:
    found = import_rules(
        f"sync:\n  - {{source: quay.io/a/b, target: {OURS}/a/b, type: repository, tags: {{allow: ['1.*']}}}}\n"
        f"  - {{source: ghcr.io/a/b, target: {OURS}/a/b, type: repository, tags: {{allow: ['1[.].*']}}}}\n",
        source="regsync.yml",
    )
    (rule,) = load_rules(write_valid_rules(found, source="regsync.yml"), source="rules.yaml").rules
    assert str(rule.upstream) == "quay.io/a/b"
    assert "sync[1]: a/b may get the same tag from quay.io/a/b" in left_out(found)


D = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("entry", "keys"),
    [
        ("source: 'aa:1', target: 'OURS/aa:2', type: image", {"aa:2": "docker.io/library/aa:1"}),
        ("source: aa, target: 'OURS/aa:stable', type: image", {"aa:stable": "docker.io/library/aa:latest"}),
        (f"source: 'aa:1@{D}', target: 'OURS/aa:1', type: image", {"aa:1": f"docker.io/library/aa:1@{D}"}),
        (f"source: 'aa:1@{D}', target: 'OURS/aa:2', type: image", {"aa:2": f"docker.io/library/aa:1@{D}"}),
        (f"source: 'aa@{D}', target: 'OURS/aa:2', type: image", {"aa:2": f"docker.io/library/aa@{D}"}),
        (
            f"source: 'aa@{D}', target: 'OURS/aa', type: image",
            {f"aa:digest-{'0' * 64}": f"docker.io/library/aa@{D}"},
        ),
    ],
)
def test_renamed_tag_and_digest_are_carried_over(entry: str, keys: dict[str, str]) -> None:
    found = imported(entry.replace("OURS", OURS))
    assert left_out(found) == ""
    rules = load_rules(write_valid_rules(found, source="regsync.yml"), source="rules.yaml")
    assert {str(mirror.key): str(mirror.upstream) for mirror in rules.mirrors} == keys


def test_two_sources_of_one_renamed_tag_are_reported_and_not_merged() -> None:
    entries = [f"{{source: 'aa:{tag}', target: '{OURS}/aa:stable', type: image}}" for tag in ("1", "2", "1")]
    found = import_rules(f"version: 1\nsync: [{', '.join(entries)}]", source="regsync.yml")
    assert [mirror.tags for mirror in found.mirrors] == [(TagEntry("1", published_as="stable"),)]
    assert left_out(found) == ("sync[1]: aa:stable already follows docker.io/library/aa:1; choose one of them")


@pytest.mark.parametrize(
    ("settings", "defaults", "copied"),
    [
        ("", "", True),  # as the rules' own default
        ("referrers: true", "", True),
        ("referrers: false", "", False),
        ("digestTags: true", "", True),
        ("referrers: false, digestTags: true", "", True),
        ("", "referrers: false", False),
        ("referrers: true", "referrers: false", True),
        ("referrers: true, referrerFilters: [{artifactType: a/b}, {artifactType: c/d}]", "", ("a/b", "c/d")),
        ("referrers: true, referrerFilters: [{artifactType: a/b}, {annotations: {a: b}}]", "", True),
    ],
)
def test_referrers_are_carried_over(settings: str, defaults: str, copied: object) -> None:
    rest = f"defaults: {{{defaults}}}" if defaults else ""
    entry = f"source: aa, target: {OURS}/aa, type: repository, {settings}".rstrip(", ")
    rules = load_rules(write_valid_rules(imported(entry, rest), source="regsync.yml"), source="rules.yaml")
    assert rules.rules[0].referrers.copy == copied


def test_backup_keeps_what_a_moved_tag_served() -> None:
    entry = f"source: aa, target: {OURS}/aa, type: repository, backup: old"
    rules = load_rules(write_valid_rules(imported(entry), source="regsync.yml"), source="rules.yaml")
    kept = rules.rules[0].keep_previous
    assert kept is not None
    assert (kept.most, kept.keep_for.days) == (1, 3650)
