"""A pulled tag that is missing is copied, and the client's retry succeeds; other pulls cause no request."""

import base64
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from local.images import make_image, make_index
from pullahead.rules.published_tags import digest_tag
from tests.scenarios.deployment import CHECK_EVERY, TAG
from tests.scenarios.pulling import pulling
from tests.scenarios.scene import Scene

IMAGE, MOVED = (make_index([make_image([70_000, 1_000], seed=seed), make_image(seed=seed + 1)]) for seed in (1, 3))


def test_first_pull_fails_and_the_client_s_own_retry_has_the_whole_image(scene: Scene) -> None:
    scene.upstream.push(IMAGE, "library/app", TAG)
    with pulling(scene) as puller:
        puller.fails("library/app")
        puller.has("library/app", IMAGE)
        before = puller.checks(), puller.requests()
        for _ in range(20):
            puller.has("library/app", IMAGE)
        assert (puller.checks(), puller.requests()) == before
    assert scene.alerts() == []


def test_tag_that_is_missing_in_a_repository_that_is_there_is_fetched_as_well(scene: Scene) -> None:
    scene.upstream.push(IMAGE, "library/app", "1.0")
    scene.upstream.push(MOVED, "library/app", "2.0")
    with pulling(scene) as puller:
        puller.fails("library/app", "1.0")
        puller.fails("library/app", "2.0")
        puller.has("library/app", IMAGE, "1.0")
        puller.has("library/app", MOVED, "2.0")


def test_pull_by_digest_is_answered_and_what_an_index_names_is_not_mirrored_by_itself(scene: Scene) -> None:
    index = make_index([make_image([3_000], seed=31), make_image([3_000], seed=32, platform="linux/arm64")])
    scene.upstream.push(index, "library/app", TAG)
    with pulling(scene) as puller:
        puller.fails("library/app", index.digest)
        puller.has("library/app", index, index.digest)
        tags = scene.aws.client("ecr").list_images(repositoryName=puller.repository("library/app"))["imageIds"]
        assert [image["imageTag"] for image in tags if "imageTag" in image] == [digest_tag(index.digest).target]


def test_pull_that_is_denied_or_not_allowed_causes_no_request(scene: Scene) -> None:
    for path in ("library/secret", "evil/miner", "library/app"):
        scene.upstream.push(IMAGE, path, "1.0-rc1" if path == "library/app" else TAG)
    with pulling(scene) as puller:
        puller.fails("library/secret")
        puller.fails("evil/miner")
        puller.fails("library/app", "1.0-rc1")
        assert (puller.requests(), puller.checks()) == (0, 0)
        assert len(scene.runs("NoticePulls")) >= 1


def test_pulls_outside_of_the_prefix_start_no_function(scene: Scene) -> None:
    with pulling(scene) as puller, pytest.raises(requests.HTTPError):
        puller.client().pull(scene.repository, TAG)
    assert scene.runs("NoticePulls") == []


def test_no_more_new_mirrors_than_the_limit_are_made_in_a_day(scene: Scene) -> None:
    for number in range(4):
        scene.upstream.push(IMAGE, f"library/app{number}", TAG)
    with pulling(scene, limit=2) as puller:
        for number in range(4):
            puller.fails(f"library/app{number}")
        puller.has("library/app1", IMAGE)
        puller.fails("library/app2")
        assert {request.path.split("/")[3] for request in scene.upstream.requests} == {"app0", "app1"}
        (alert,) = [alert for alert in scene.deployment.alerts() if puller.prefix in alert.text]
        assert alert.kind == "DEMAND_LIMIT"
        assert "library/app2:1.0 was pulled, and 2 new mirrors were made today" in alert.text
        scene.aws.clock.advance(timedelta(days=1).total_seconds())
        puller.fails("library/app2")
        puller.has("library/app2", IMAGE)


def test_missing_upstream_tag_is_requested_once_without_an_alert(scene: Scene) -> None:
    with pulling(scene) as puller:
        puller.fails("library/tpyo")
        asked = [(request.method, request.path) for request in scene.upstream.requests]
        assert asked == [("HEAD", "/v2/library/tpyo/manifests/1.0"), ("GET", "/v2/library/tpyo/manifests/1.0")]
        for _ in range(5):  # kubelet goes on trying
            scene.fire_schedule(CHECK_EVERY)
            puller.fails("library/tpyo")
        assert puller.requests() == len(asked)
        scene.aws.clock.advance(timedelta(hours=1).total_seconds())
        scene.upstream.push(IMAGE, "library/tpyo", TAG)
        puller.fails("library/tpyo")
        puller.has("library/tpyo", IMAGE)
    assert scene.deployment.alerts() == []


def test_demanded_mirror_is_kept_fresh_until_it_is_no_longer_pulled(scene: Scene) -> None:
    scene.upstream.push(IMAGE, "library/app", TAG)
    with pulling(scene) as puller:
        puller.fails("library/app")
        scene.upstream.push(MOVED, "library/app", TAG)
        scene.fire_schedule()
        puller.has("library/app", MOVED)
        scene.upstream.push(IMAGE, "library/app", TAG)
        scene.fire_schedule(timedelta(days=31))
        before = puller.requests()
        scene.fire_schedule()
        assert puller.requests() == before
        puller.has("library/app", MOVED)  # which demands it anew
        puller.has("library/app", IMAGE)


@pytest.mark.skopeo
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not on PATH")
def test_skopeo_s_second_try_succeeds(scene: Scene, tmp_path: Path) -> None:
    scene.upstream.push(IMAGE, "library/app", TAG)
    with pulling(scene) as puller:
        answer = scene.aws.client("ecr").get_authorization_token()
        login = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode()

        def skopeo(folder: str) -> int:
            source = f"docker://{scene.aws.url.removeprefix('http://')}/{puller.repository('library/app')}:{TAG}"
            options = ["--all", "--src-tls-verify=false", "--src-creds", login]
            command = ["skopeo", "copy", *options, source, f"dir:{tmp_path}/{folder}"]
            return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode

        assert skopeo("first") != 0
        scene.settle()
        assert skopeo("second") == 0
