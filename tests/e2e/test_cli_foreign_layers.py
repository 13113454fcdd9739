"""`bin/pullahead copy` of layers that a manifest names by URL: left alone, or read from where they may be had."""

import json

import pytest

from local.images import LocalImage
from local.registry import FakeRegistry
from pullahead.oci import RawManifest, describe, digest_of, media_types
from tests.e2e.cli_copies import Command, Home, failure

FOREIGN_TYPE = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
CONFIG, WINDOWS = b'{"os": "windows"}', bytes(range(256)) * 300
SIGNED = "?sig=s3cr3t"

pytestmark = pytest.mark.real_registry


def described(content: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def windows_image(*urls: str) -> LocalImage:
    """Make an image with a foreign layer that its registry does not have."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.DOCKER_MANIFEST,
        "config": described(CONFIG, "application/vnd.docker.container.image.v1+json"),
        "layers": [{**described(WINDOWS, FOREIGN_TYPE), "urls": urls}],
    }
    content = json.dumps(document).encode()
    root = RawManifest(describe(content, media_types.DOCKER_MANIFEST), content)
    return LocalImage(root, {root.descriptor.digest: root}, {digest_of(CONFIG): CONFIG})


def served_whole(home: Home, image: LocalImage) -> bool:
    """Tell whether the foreign layer is there, too."""
    whole = LocalImage(image.root, image.manifests, {**image.blobs, digest_of(WINDOWS): WINDOWS})
    return home.lacks(whole) == []


class Scene:
    """A source whose image names URLs at another server, and a login for both that no other host may receive."""

    def __init__(self, source: FakeRegistry, elsewhere: FakeRegistry, command: Command, home: Home) -> None:
        self.source, self.elsewhere, self.command, self.home = source, elsewhere, command, home
        auths = {host: {"auth": "YWxpY2U6c2VjcmV0"} for host in (source.host, elsewhere.host)}
        (command.folder / "config.json").write_text(json.dumps({"auths": auths}))

    def push(self, *paths: str) -> LocalImage:
        image = windows_image(*(f"{self.elsewhere.url}/{path}{SIGNED}" for path in paths))
        self.source.push(image, "team/windows", "1.0")
        return image

    def offer(self, path: str, content: bytes = WINDOWS, times: int = 9) -> None:
        self.elsewhere.fail("GET", f"^/{path}$", 200, times=times, body=content)

    def asked(self) -> list[str]:
        assert not any(request.authorized for request in self.elsewhere.requests)
        return [request.path for request in self.elsewhere.requests]

    def copy(self, *options: str, trusts: bool = True) -> "tuple[int, str]":
        hosts = [self.elsewhere.host] if trusts else []
        ran = self.command.copy(f"{self.source.host}/team/windows:1.0", self.home, *options, insecure=hosts)
        assert "s3cr3t" not in ran.stderr + ran.stdout
        return ran.returncode, failure(ran) if ran.returncode == 1 else ran.stdout


@pytest.fixture
def scene(source: FakeRegistry, elsewhere: FakeRegistry, command: Command, home: Home) -> Scene:
    return Scene(source, elsewhere, command, home)


def test_foreign_layer_is_left_and_counted(scene: Scene) -> None:
    image = scene.push("one")
    scene.offer("one")
    code, said = scene.copy()
    assert (code, scene.asked()) == (0, [])
    assert "1 copied, 0 present, 0 mounted, 1 foreign left at its URL" in said
    assert scene.source.count("GET", digest_of(WINDOWS)) == 0
    assert scene.home.lacks(image) == []
    assert not served_whole(scene.home, image)


def test_foreign_layer_that_was_left_is_copied_on_request(scene: Scene) -> None:
    image = scene.push("one")
    scene.offer("one")
    assert json.loads(scene.copy("--json")[1])["blobs_foreign"] == 1
    code, said = scene.copy("--foreign-layers", "--json")
    document = json.loads(said)
    assert (code, document["blobs_copied"], document["blobs_foreign"]) == (0, 1, 0)
    assert document["bytes_copied"] == len(WINDOWS)
    assert served_whole(scene.home, image)
    assert scene.copy("--foreign-layers")[0] == 0
    assert scene.asked() == ["/one"]


def test_foreign_layer_is_read_from_the_registry_first(scene: Scene) -> None:
    image = scene.push("one")
    scene.source.push(LocalImage(image.root, {}, {digest_of(WINDOWS): WINDOWS}), "team/windows")
    assert scene.copy("--foreign-layers")[0] == 0
    assert (served_whole(scene.home, image), scene.asked()) == (True, [])


def test_next_url_is_tried_after_one_that_fails(scene: Scene) -> None:
    image = scene.push("gone", "short", "good")
    scene.offer("short", WINDOWS[:-1])
    scene.offer("good")
    assert scene.copy("--foreign-layers")[0] == 0
    assert (served_whole(scene.home, image), scene.asked()) == (True, ["/gone", "/short", "/good"])


def test_broken_stream_from_a_url_is_continued(scene: Scene) -> None:
    image = scene.push("gone", "storage/good")
    scene.elsewhere.fail("GET", "/good", 200, times=1, body=WINDOWS)
    scene.elsewhere.fail("GET", "/good", 206, times=1, body=WINDOWS[50_000:], headers=content_range(50_000))
    scene.elsewhere.cut("/good", 50_000)
    assert scene.copy("--foreign-layers")[0] == 0
    assert served_whole(scene.home, image)
    assert scene.asked() == ["/gone", "/storage/good", "/storage/good"]
    assert sum(request.bytes_sent for request in scene.elsewhere.requests if "good" in request.path) == len(WINDOWS)


def content_range(first: int) -> dict[str, str]:
    return {"Content-Range": f"bytes {first}-{len(WINDOWS) - 1}/{len(WINDOWS)}"}


def test_url_with_wrong_bytes_fails_and_leaves_the_tag(scene: Scene) -> None:
    scene.push("lie")
    scene.offer("lie", WINDOWS[:-1] + b"?")
    code, said = scene.copy("--foreign-layers")
    assert (code, scene.home.served()) == (1, None)
    assert "the bytes have the digest" in said


def test_at_most_five_urls_are_tried(scene: Scene) -> None:
    scene.push(*(f"gone{number}" for number in range(50)))
    code, said = scene.copy("--foreign-layers")
    assert (code, scene.asked()) == (1, [f"/gone{number}" for number in range(5)])
    assert f"{digest_of(WINDOWS)} from {scene.elsewhere.host} at the source failed: not found" in said


def test_plain_http_url_is_refused_without_insecure(scene: Scene) -> None:
    scene.push("one")
    code, said = scene.copy("--foreign-layers", trusts=False)
    assert (code, scene.asked(), scene.elsewhere.connections) == (1, [], 0)
    assert "is asked by plain HTTP, which is refused" in said


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("https://user:s3cr3t@files.example/layer", "the manifest names an invalid URL"),
        ("ftp://files.example/layer", "not found"),
        ("//", "not found"),
        ("", "not found"),
    ],
)
def test_layer_without_a_usable_url_is_read_from_the_registry_alone(scene: Scene, url: str, cause: str) -> None:
    scene.source.push(windows_image(url), "team/windows", "1.0")
    code, said = scene.copy("--foreign-layers")
    assert (code, scene.home.served()) == (1, None)
    assert cause in said
