"""`pullahead copy` from a fake registry to a local ECR that requires a login."""

import base64
import json
from pathlib import Path
from typing import NamedTuple

import pytest

from local.artifacts import cosign2_signature, sbom
from local.images import LocalImage, make_image, make_index
from local.registry import FakeRegistry
from local.tests.ecr.harness import RunningEcr
from pullahead.cli.copy import summary_document, summary_text
from pullahead.oci import digest_of, parse_reference
from pullahead.oci.referrers import fallback_tag
from pullahead.standalone.copy_image import CopySummary
from pullahead.text import size_text
from tests.unit.cli.conftest import Ran, Run
from tests.unit.layouts.layouts import write_layout

AMD64 = make_image([70_000, 1_000], seed=1)
ARM64 = make_image([80_000], seed=2, platform="linux/arm64/v8")
INDEX = make_index([AMD64, ARM64])
BLOBS = len(INDEX.blobs)
SENT = sum(len(blob) for blob in INDEX.blobs.values())
SOURCE, TARGET = parse_reference("docker.io/library/python:3.13"), parse_reference("localhost:5000/python:3.13")
DIGEST = digest_of(b"root")
COPIED = CopySummary(DIGEST, 2_147_483_648, 5, 2, 1, 3.2, already_there=False)


class Copies(NamedTuple):
    """A source, a target, and the command that copies between them."""

    source: FakeRegistry
    ecr: RunningEcr
    run: Run

    @property
    def host(self) -> str:
        return self.ecr.url.removeprefix("http://")

    def copy(self, *options: str, tag: str = "1.0", source: str = "team/app:1.0") -> Ran:
        hosts = (self.source.host, self.host)
        names = (f"{self.source.host}/{source}", f"{self.host}/mirror/app:{tag}")
        return self.run("copy", *names, *options, insecure=hosts)

    def tags(self) -> dict[str, str]:
        """Tell what the target serves."""
        answer = self.ecr.client.list_images(repositoryName="mirror/app")
        return {image["imageTag"]: image["imageDigest"] for image in answer["imageIds"] if "imageTag" in image}


@pytest.fixture
def copies(_ecr: RunningEcr, registry: FakeRegistry, docker_config: Path, run: Run) -> Copies:
    _ecr.restart()
    _ecr.client.create_repository(repositoryName="mirror/app")
    registry.push(INDEX, "team/app", "1.0")
    token = _ecr.client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    made = Copies(registry, _ecr, run)
    docker_config.write_text(json.dumps({"auths": {made.host: {"auth": token}}}))
    return made


def test_target_serves_the_digest_of_the_source(copies: Copies) -> None:
    ran = copies.copy()
    assert (ran.code, ran.err) == (0, "")
    assert copies.tags() == {"1.0": INDEX.digest}
    assert INDEX.digest in ran.out
    assert f"{BLOBS} copied, 0 present, 0 mounted" in ran.out
    assert f"{SENT:,}" in ran.out


def test_json_document_counts_bytes_and_blobs(copies: Copies) -> None:
    document = copies.copy("--json").document
    assert (document["digest"], document["already_there"]) == (INDEX.digest, False)
    assert (document["bytes_copied"], document["blobs_copied"]) == (SENT, BLOBS)
    assert document["seconds"] > 0


def test_tag_that_matches_is_not_copied_again_and_exit_code_is_zero(copies: Copies) -> None:
    copies.copy()
    copies.source.forget_requests()
    ran = copies.copy()
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("nothing to do: ")
    assert copies.source.count("GET", "/blobs/") == 0
    assert copies.copy("--json").document["already_there"] is True
    assert copies.copy("--quiet") == (0, "", "")


def test_quiet_writes_nothing(copies: Copies) -> None:
    assert copies.copy("--quiet") == (0, "", "")
    assert copies.tags() == {"1.0": INDEX.digest}


def test_only_the_chosen_platform_is_copied(copies: Copies) -> None:
    document = copies.copy("--platform", "linux/arm64", "--json").document
    assert document["digest"] == ARM64.digest
    assert copies.tags() == {"1.0": ARM64.digest}
    assert all(copies.source.count("GET", digest) == 0 for digest in AMD64.blobs)


def test_missing_source_fails(copies: Copies) -> None:
    assert "HTTP 404" in copies.copy(source="team/app:2.0").failure
    assert copies.tags() == {}


def test_blob_with_a_wrong_digest_is_not_published(copies: Copies) -> None:
    digest = list(INDEX.blobs)[1]
    copies.source.lie_blob(digest, b"x" * len(INDEX.blobs[digest]))
    assert "digest" in copies.copy().failure
    assert copies.tags() == {}


def test_missing_login_fails(copies: Copies, docker_config: Path) -> None:
    docker_config.write_text("{}")
    assert "access denied" in copies.copy().failure
    assert copies.tags() == {}


def test_wrong_login_to_the_target_is_named_and_not_shown(copies: Copies, docker_config: Path) -> None:
    secret = base64.b64encode(b"AWS:s3cr3t").decode()
    docker_config.write_text(json.dumps({"auths": {copies.host: {"auth": secret}}}))
    failure = copies.copy().failure
    assert "at the target failed: access denied (HTTP 401); sent as user AWS of " in failure
    assert "Check that its password or token is still valid" in failure
    assert "s3cr3t" not in failure
    assert secret not in failure


def test_broken_docker_configuration_fails(copies: Copies, docker_config: Path) -> None:
    docker_config.write_text("{")
    assert "config.json" in copies.copy().failure


def test_login_to_the_target_is_not_sent_to_the_source(copies: Copies) -> None:
    copies.copy()
    assert not any(request.authorized for request in copies.source.requests)


def test_source_by_digest_is_copied(copies: Copies) -> None:
    assert copies.copy(source=f"team/app@{ARM64.digest}").code == 0
    assert copies.tags() == {"1.0": ARM64.digest}
    assert "HTTP 404" in copies.copy(source=f"team/app@{digest_of(b'other')}").failure


def test_image_of_a_layout_is_served_by_the_target(copies: Copies, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "images", {"1.0": INDEX})
    ran = copies.run("copy", f"oci:{layout}:1.0", f"{copies.host}/mirror/app:3.0", insecure=[copies.host])
    assert (ran.code, ran.err) == (0, "")
    assert copies.tags() == {"3.0": INDEX.digest}


def test_all_tags_are_served_by_the_target(copies: Copies) -> None:
    copies.source.push(AMD64, "team/app", "2.0")
    hosts = (copies.source.host, copies.host)
    names = (f"{copies.source.host}/team/app", f"{copies.host}/mirror/app")
    ran = copies.run("copy", "--all-tags", *names, insecure=hosts)
    assert ran.code == 0
    assert copies.tags() == {"1.0": INDEX.digest, "2.0": AMD64.digest}
    assert sorted(line.split(" (")[0] for line in ran.err.splitlines()) == [
        "pullahead: 1.0 copied",
        "pullahead: 2.0 copied",
    ]
    assert ran.out.startswith(f"2 tags of {names[0]} to {names[1]}: 2 copied, 0 already there, 0 failed; ")


def test_summary_has_digest_blobs_and_bytes() -> None:
    assert summary_text(SOURCE, TARGET, COPIED).splitlines() == [
        "copied docker.io/library/python:3.13 to localhost:5000/python:3.13",
        f"  digest  {DIGEST}",
        "  blobs   5 copied, 2 present, 1 mounted",
        "  bytes   2,147,483,648 (2.0 GiB) in 3.20 s, 671.1 MB/s",
    ]


def test_summary_of_a_match_says_that_there_was_nothing_to_do() -> None:
    summary = CopySummary(DIGEST, 0, 0, 0, 0, 0.1, already_there=True)
    assert summary_text(SOURCE, TARGET, summary).startswith(
        "nothing to do: localhost:5000/python:3.13 already matches "
    )
    assert summary_document(SOURCE, TARGET, summary)["already_there"] is True


def test_summary_document_has_every_figure() -> None:
    assert summary_document(SOURCE, TARGET, COPIED) == {
        "source": str(SOURCE),
        "target": str(TARGET),
        "digest": DIGEST,
        "already_there": False,
        "bytes_copied": 2_147_483_648,
        "blobs_copied": 5,
        "blobs_present": 2,
        "blobs_mounted": 1,
        "blobs_foreign": 0,
        "referrers": None,
        "seconds": 3.2,
        "megabytes_per_second": 671.1,
    }


class TestReferrers:
    BILL, SIGNATURE = sbom(INDEX.root.descriptor), cosign2_signature(AMD64.root.descriptor)
    SIG_TAG = f"{fallback_tag(AMD64.digest)}.sig"

    @pytest.fixture(autouse=True)
    def pushed(self, copies: Copies) -> None:
        copies.source.referrers_page = 10
        copies.source.push(self.BILL, "team/app")
        copies.source.push(self.SIGNATURE, "team/app", self.SIG_TAG)

    def test_they_are_not_looked_for_unless_asked_for(self, copies: Copies) -> None:
        assert copies.copy("--json").document["referrers"] is None
        assert copies.source.count("GET", "/referrers/") == copies.source.count("HEAD", "sha256-") == 0

    def test_they_are_copied_and_counted(self, copies: Copies) -> None:
        ran = copies.copy("--referrers")
        assert ran.code == 0
        size = sum(len(each.root.content) + sum(map(len, map(each.read_blob, each.blobs))) for each in self.every)
        assert ran.out.splitlines()[-1] == f"  referrers  2 at the target ({size_text(size)})"
        assert copies.tags()[self.SIG_TAG] == self.SIGNATURE.digest

    def test_they_are_copied_of_an_image_that_is_there(self, copies: Copies) -> None:
        copies.copy()
        ran = copies.copy("--referrers")
        assert ran.code == 0
        assert "already matches" in ran.out
        assert "nothing to do" not in ran.out
        assert copies.copy("--referrers", "--json").document["referrers"]["copied"] == 2

    def test_one_that_fails_is_reported_and_the_image_is_copied(self, copies: Copies) -> None:
        copies.source.content.delete_blob("team/app", list(self.BILL.blobs)[-1])
        ran = copies.copy("--referrers")
        assert ran.code == 1
        assert self.BILL.digest in ran.err
        assert "1 at the target" in ran.out.splitlines()[-1]
        assert "1 failed" in ran.out.splitlines()[-1]
        assert copies.tags()["1.0"] == INDEX.digest

    @property
    def every(self) -> tuple[LocalImage, LocalImage]:
        return self.BILL, self.SIGNATURE
