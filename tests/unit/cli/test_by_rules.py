"""`pullahead plan`, `check` and `sync` between a fake registry and a local ECR: ends, words, counted requests."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from local.images import LocalImage, make_image, make_index
from local.registry import FakeRegistry
from local.tests.ecr.harness import RunningEcr
from pullahead.cli.compare import ProgressReport
from pullahead.cli.main import main, parse_arguments
from pullahead.ecr.target import EcrTarget
from tests.unit.cli.conftest import Ran, Run

AMD64 = make_image([70_000, 1_000], seed=1)
ARM64 = make_image([80_000], seed=2, platform="linux/arm64/v8")
INDEX = make_index([AMD64, ARM64])
LOOKS = {"DescribeImages", "ListImages", "BatchCheckLayerAvailability"}


class Mirrors(NamedTuple):
    """A registry that serves `team/app`, an empty ECR, and the rules file between them."""

    source: FakeRegistry
    ecr: RunningEcr
    file: Path
    ran: Run

    def rules(self, *mirrors: str) -> None:
        """Write rules; the settings of the source's host, whose paces would slow a test down, are written before."""
        settings = "plain_http: true, private_addresses: true, rate_limit: {requests_per_second: 1000}"
        entries = "".join(f"  - {{{each}}}\n".replace("HOST", self.source.host) for each in mirrors)
        hosts = f"upstreams: {{'{self.source.host}': {{{settings}}}}}\n"
        self.file.write_text(f"version: 1\n{hosts}mirrors:\n{entries}")

    def one_rule(self, settings: str) -> None:
        """Write the one rule with settings of the source's host and no others."""
        host = self.source.host
        mirror = f"{{upstream: {host}/team/app, tags: ['1.0'], repository: mirror/app}}"
        self.file.write_text(f"version: 1\nupstreams: {{'{host}': {{{settings}}}}}\nmirrors: [{mirror}]\n")

    def push(self, image: LocalImage, *tags: str, path: str = "team/app") -> None:
        for tag in tags:
            self.source.push(image, path, tag)

    def run(self, command: str, *options: str) -> Ran:
        self.source.forget_requests()
        self.ecr.ecr.calls.clear()
        return self.ran(command, str(self.file), *options, insecure=())

    def document(self, command: str, *options: str) -> Any:
        return self.run(command, "--json", *options).document

    def calls(self) -> set[str]:
        """Name the operations that ECR was asked for by the last command."""
        return set(self.ecr.ecr.calls.operations())

    def tags(self, repository: str = "mirror/app") -> dict[str, str]:
        answer = self.ecr.client.list_images(repositoryName=repository)
        return {image["imageTag"]: image["imageDigest"] for image in answer["imageIds"] if "imageTag" in image}


@pytest.fixture
def mirrors(
    _ecr: RunningEcr,
    registry: FakeRegistry,
    docker_config: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> Mirrors:
    _ecr.restart()
    for name, value in {
        "AWS_ENDPOINT_URL": _ecr.url,
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    made = Mirrors(registry, _ecr, docker_config.with_name("rules.yaml"), run)
    made.rules("upstream: HOST/team/app, tags: ['1.0', latest], repository: mirror/app")
    made.push(AMD64, "1.0")
    made.push(INDEX, "latest")
    return made


def test_sync_creates_the_repository_and_every_tag_then_has_nothing_to_do(mirrors: Mirrors) -> None:
    first = mirrors.run("sync")
    assert first.code == 0
    assert first.out.startswith("2 tags: 2 missing; 2 copied, 0 failed; ")
    assert min(first.err.splitlines()).startswith("pullahead: copied ")
    assert mirrors.tags() == {"1.0": AMD64.digest, "latest": INDEX.digest}
    assert mirrors.source.count("GET", "/blobs/") == len(INDEX.blobs)
    again = mirrors.run("sync")
    assert (again.code, again.out, again.err) == (0, "2 tags: 2 fresh; nothing to copy\n", "")
    assert mirrors.source.count("GET", "/manifests/|/blobs/") == 0
    assert mirrors.calls() <= LOOKS


def test_sync_creates_a_repository_with_the_settings_of_its_rule(mirrors: Mirrors) -> None:
    settings = "create: {tags: {team: platform}, scan_on_push: true}"
    mirrors.rules(f"upstream: HOST/team/app, tags: ['1.0'], repository: mirror/app, {settings}")
    assert mirrors.run("sync").code == 0
    (made,) = mirrors.ecr.client.describe_repositories()["repositories"]
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    tags = mirrors.ecr.client.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"]
    assert tags == [{"Key": "team", "Value": "platform"}]


def test_sync_copies_only_tags_that_moved(mirrors: Mirrors) -> None:
    mirrors.run("sync")
    mirrors.push(ARM64, "1.0")
    document = mirrors.document("sync")
    assert (document["totals"]["refreshed"], document["totals"]["bytes_copied"]) == (1, 0)
    assert mirrors.tags()["1.0"] == ARM64.digest


def test_sync_reports_a_failed_tag_in_one_line_and_copies_the_others(mirrors: Mirrors) -> None:
    mirrors.source.lie_blob(next(iter(ARM64.blobs)), b"false")
    ran = mirrors.run("sync", "--quiet")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("pullahead: mirror/app:latest failed: ")
    assert mirrors.tags() == {"1.0": AMD64.digest}


def test_sync_fails_for_a_tag_upstream_never_had_and_keeps_one_it_deleted(mirrors: Mirrors) -> None:
    mirrors.run("sync")
    mirrors.source.delete_tag("team/app", "1.0")
    assert mirrors.run("sync").code == 0
    mirrors.rules("upstream: HOST/team/app, tags: ['1.0', absent], repository: mirror/app")
    ran = mirrors.run("sync")
    assert ran.code == 1
    assert "mirror/app:absent failed: upstream has no" in ran.err
    assert mirrors.tags()["1.0"] == AMD64.digest


def test_check_reports_stale_tags_by_lines_and_exit_code_three(mirrors: Mirrors) -> None:
    mirrors.run("sync")
    fresh = mirrors.run("check")
    assert (fresh.code, fresh.out, fresh.err) == (0, "2 tags: 2 fresh\n", "")
    mirrors.push(ARM64, "1.0")
    stale = mirrors.run("check")
    assert stale.code == 3
    assert stale.out.splitlines() == [
        f"stale   mirror/app:1.0 ({mirrors.source.host}/team/app:1.0) upstream moved",
        "2 tags: 1 fresh, 1 stale",
    ]
    assert mirrors.calls() == {"DescribeImages"}
    assert mirrors.source.count("HEAD") == len(mirrors.source.requests)


def test_check_fails_if_tags_cannot_be_listed(mirrors: Mirrors) -> None:
    mirrors.rules(
        "upstream: HOST/team/app, tags: ['1.0', {glob: 'x*'}], min_tags: 1, repository: mirror/app",
        "upstream: HOST/team/none, tags: ['*'], repository: mirror/none, name: none",
    )
    ran = mirrors.run("check", "--quiet")
    assert (ran.code, ran.out) == (1, "")
    lines = sorted(ran.err.splitlines())
    assert len(lines) == 2
    assert lines[0].startswith(f"pullahead: rule {mirrors.source.host}/team/app: selecting tags of ")
    assert lines[1].startswith(f"pullahead: rule none: selecting tags of {mirrors.source.host}/team/none failed: ")


def test_plan_shows_each_tag_and_the_size_of_its_copy_and_writes_nothing(mirrors: Mirrors) -> None:
    mirrors.run("sync", "--quiet")
    mirrors.push(make_image([50_000, 3], seed=9), "1.0")
    ran = mirrors.run("plan")
    assert (ran.code, ran.err) == (0, "")
    assert mirrors.run("plan", "--detailed-exitcode").code == 3
    head, stale, fresh, total = ran.out.splitlines()
    assert head == f"{mirrors.source.host}/team/app to mirror/app, 2 tags: 1 fresh, 1 stale"
    assert stale.startswith("  stale   1.0  upstream moved; 49.")
    assert stale.endswith(", 4 requests")
    assert fresh == "  fresh   latest"
    assert total.startswith("2 tags: 1 fresh, 1 stale; 1 to copy, 49.")
    assert mirrors.calls() <= LOOKS
    assert mirrors.source.count("GET", "/blobs/") == 0
    assert mirrors.source.count("GET", "/manifests/") == 1


def test_plan_counts_a_blob_of_two_tags_once_in_its_totals(mirrors: Mirrors) -> None:
    document = mirrors.document("plan")
    (rule,) = document["rules"]
    sizes = {tag["tag"]: tag["refresh"]["bytes_missing"] for tag in rule["tags"]}
    assert sizes["latest"] == document["totals"]["bytes_missing"] == sum(len(blob) for blob in INDEX.blobs.values())
    assert sizes["1.0"] == sum(len(blob) for blob in AMD64.blobs.values())
    assert mirrors.calls() <= LOOKS


def test_plan_of_fresh_tags_has_nothing_to_copy(mirrors: Mirrors) -> None:
    mirrors.run("sync")
    ran = mirrors.run("plan")
    assert ran.code == mirrors.run("plan", "--detailed-exitcode").code == 0
    assert ran.out.splitlines()[-1] == "2 tags: 2 fresh; nothing to copy"


def test_plan_of_a_target_that_is_unreachable_does_not_say_that_nothing_is_left_to_copy(mirrors: Mirrors) -> None:
    mirrors.push(AMD64, "1.0")
    mirrors.rules("upstream: HOST/team/app, tags: ['1.0'], repository: mirror/app")
    for command in ("plan", "sync"):
        ran = mirrors.run(command, "--registry", "localhost:1")
        assert (ran.code, ran.out.splitlines()[-1]) == (
            1,
            "1 tag: 1 unknown; nothing to copy of what could be compared",
        )


def test_rules_file_that_is_missing_is_named_where_none_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan"]) == 1
    assert capsys.readouterr().err.startswith(
        "pullahead: there is no rules file here (layers/rules/my-rules.yaml, or else layers/rules/rules.yaml): name a"
    )


def test_plan_over_ten_thousand_tags_lists_once_and_queries_the_selected_ones(mirrors: Mirrors) -> None:
    mirrors.push(AMD64, "1.0")
    for number in range(10_000):
        mirrors.source.tag("team/app", f"2.{number}", AMD64.digest)
    mirrors.rules("upstream: HOST/team/app, tags: [{semver: '>=2'}], newest: 250, repository: mirror/app")
    document = mirrors.document("plan")
    assert document["totals"]["missing"] == 250
    pages = [request for request in mirrors.source.requests if request.path.endswith("/tags/list")]
    assert len(pages) == len({request.query for request in pages})
    assert mirrors.source.count("HEAD", "/manifests/2\\.") == 250
    assert mirrors.source.count("GET", "/manifests/") == 1
    assert mirrors.ecr.ecr.calls.count("DescribeImages") <= 100


def test_only_compares_the_named_rules(mirrors: Mirrors) -> None:
    mirrors.rules(
        "name: one, upstream: HOST/team/app, tags: ['1.0'], repository: mirror/one",
        "name: two, upstream: HOST/team/app, tags: ['1.0'], repository: mirror/two",
    )
    document = mirrors.document("check", "--only", "two")
    assert [rule["rule"] for rule in document["rules"]] == ["two"]
    assert mirrors.source.count("HEAD") == 1
    assert "no rule is named 'tow'. Did you mean two?" in mirrors.run("plan", "--only", "tow").failure


def test_invalid_rules_are_a_line_for_each_problem_and_no_request(mirrors: Mirrors) -> None:
    mirrors.file.write_text("version: 1\nmirrors:\n  - {upstream: alpine, tags: [3.20]}\n  - {upstream: 7}\n")
    ran = mirrors.run("sync")
    assert (ran.code, ran.out) == (1, "")
    assert all(line.startswith(f"pullahead: {mirrors.file}:") for line in ran.err.splitlines())
    assert ran.err.count("\n") >= 2
    assert mirrors.source.requests == []
    assert mirrors.calls() == set()


def test_missing_aws_credentials_name_the_registry_option(
    mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert "--registry" in mirrors.run("check").failure


def test_secret_of_the_rules_is_read(mirrors: Mirrors) -> None:
    mirrors.one_rule("plain_http: true, private_addresses: true, credentials: no-such-secret")
    mirrors.source.token_auth = True
    ran = mirrors.run("check")
    assert ran.code == 1
    assert "the secret no-such-secret" in ran.err


def test_docker_login_is_used_if_the_secret_is_denied(mirrors: Mirrors, docker_config: Path) -> None:
    docker_config.write_text(f'{{"auths": {{"{mirrors.source.host}": {{"auth": "bmFtZTpzZWNyZXQ="}}}}}}')
    mirrors.one_rule("plain_http: true, private_addresses: true, credentials: no-such-secret")
    mirrors.source.token_auth = True
    assert mirrors.run("sync").code == 0


def test_plain_http_is_refused_unless_rules_or_command_line_allow_it(mirrors: Mirrors) -> None:
    mirrors.one_rule("")
    refused = mirrors.run("check")
    assert refused.code == 1
    assert mirrors.source.requests == []
    assert mirrors.run("check", "--insecure", mirrors.source.host).code == 3


def test_private_address_is_refused_unless_the_rules_allow_it(mirrors: Mirrors) -> None:
    mirrors.rules("upstream: '127.0.0.1:1/team/app', tags: ['1.0'], repository: mirror/app")
    assert "`private_addresses: true` for 127.0.0.1:1" in mirrors.run("check").err


def test_arguments_are_parsed() -> None:
    parsed = parse_arguments(["sync", "a.yaml", "--registry", "localhost:5500", "--only", "one", "--only", "two"])
    assert (parsed.file, parsed.registry, parsed.only) == ("a.yaml", "localhost:5500", ["one", "two"])
    assert parse_arguments(["plan"]).file == "layers/rules/rules.yaml"


def test_invalid_registry_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", "--registry", "not a host"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("pullahead: ")


def test_long_comparison_reports_progress_every_five_seconds() -> None:
    said, now = list[str](), [0.0]
    report = ProgressReport(said.append, lambda: now[0])
    for now[0] in (1.0, 4.9, 5.0, 6.0, 9.9, 10.0):
        report.compared(int(now[0]), 20)
    assert said == ["5 of 20 tags compared", "10 of 20 tags compared"]


def test_on_demand_rule_is_shown_without_a_request(mirrors: Mirrors) -> None:
    mirrors.rules()
    rule = f'{{name: hub, upstream: {mirrors.source.host}/*, repository: "mirror/hub/{{path}}", allow: ["*"]}}'
    mirrors.file.write_text(f"{mirrors.file.read_text()}on_demand: [{rule}]\n")
    ran = mirrors.run("plan")
    assert f"hub: {mirrors.source.host}/* to mirror/hub/{{path}}, on demand, up to 50 new tags a day" in ran.out
    assert mirrors.source.requests == []
    (section,) = mirrors.document("plan")["rules"]
    assert (section["rule"], section["daily_limit"], section["tags"]) == ("hub", 50, [])


def test_lock_pins_every_tag_and_is_a_source_of_rules(mirrors: Mirrors) -> None:
    mirrors.rules("upstream: HOST/team/app, tags: ['1.*'], repository: mirror/app")
    mirrors.push(AMD64, "1.0", "1.1")
    lock = mirrors.file.with_name("rules.lock.yaml")
    ran = mirrors.run("plan", "--lock", str(lock))
    assert ran.code == 0
    assert f"wrote {lock}: 2 tags with their digests" in ran.err
    mirrors.push(ARM64, "1.0")
    mirrors.file.write_text(lock.read_text())
    assert mirrors.run("validate").code == 0
    assert mirrors.run("sync").code == 0
    assert mirrors.tags() == {"1.0": AMD64.digest, "1.1": AMD64.digest}
    (rule,) = mirrors.document("plan")["rules"]
    assert [(tag["tag"], tag["state"], tag["pinned"]) for tag in rule["tags"]] == [
        ("1.0", "fresh", AMD64.digest),
        ("1.1", "fresh", AMD64.digest),
    ]


def test_lock_without_a_digest_of_every_tag_is_not_written(mirrors: Mirrors) -> None:
    mirrors.rules("upstream: HOST/team/app, tags: ['1.0', gone], repository: mirror/app")
    mirrors.push(AMD64, "1.0")
    lock = mirrors.file.with_name("rules.lock.yaml")
    lock.write_text("as it was")
    ran = mirrors.run("plan", "--lock", str(lock))
    assert ran.code == 1
    assert "mirror/app:gone has no digest" in ran.err
    assert lock.read_text() == "as it was"


def _expire(mirrors: Mirrors, repository: str = "mirror/app") -> None:
    """Do what ECR does for the lifecycle policy of new repositories, by the injected clock."""
    policy = json.loads(mirrors.ecr.client.get_lifecycle_policy(repositoryName=repository)["lifecyclePolicyText"])
    (selection,) = (rule["selection"] for rule in policy["rules"])
    assert (selection["tagStatus"], selection["countType"], selection["countUnit"]) == (
        "untagged",
        "sinceImagePulled",
        "days",
    )
    before = mirrors.ecr.clock.now() - timedelta(days=selection["countNumber"])
    for image in mirrors.ecr.client.describe_images(repositoryName=repository)["imageDetails"]:
        used = image.get("lastRecordedPullTime", image["imagePushedAt"])
        if not image.get("imageTags") and used <= before:
            named = [{"imageDigest": image["imageDigest"]}]
            mirrors.ecr.client.batch_delete_image(repositoryName=repository, imageIds=named)  # type: ignore[arg-type]


@pytest.mark.parametrize("keeps", [True, False])
def test_pinned_digest_is_pullable_after_five_moves_and_ninety_days(mirrors: Mirrors, keeps: bool) -> None:
    images = [make_image([1_000], seed=seed) for seed in range(20, 26)]
    pin = f"{{name: '1.0@{images[0].digest}', as: golden}}"
    kept = "keep_previous: {count: 5, for: 120d}, " if keeps else ""
    mirrors.rules(f"upstream: HOST/team/app, {kept}tags: ['1.0', {pin}], repository: mirror/app")
    EcrTarget(mirrors.ecr.client, expire_untagged_days=30).ensure_repository("mirror/app")
    for image in images:
        mirrors.push(image, "1.0")
        assert mirrors.run("sync").code == 0
        for _ in range(3):
            mirrors.ecr.clock.advance(days=5)
            _expire(mirrors)
    found = mirrors.ecr.client.batch_get_image(
        repositoryName="mirror/app", imageIds=[{"imageDigest": image.digest} for image in images]
    )
    pullable = {image["imageId"]["imageDigest"] for image in found["images"]}
    assert images[0].digest in pullable  # the rules pin it
    assert images[5].digest in pullable
    assert ({image.digest for image in images} <= pullable) is keeps  # a deployment pins the others
    assert (images[1].digest in pullable) is keeps
