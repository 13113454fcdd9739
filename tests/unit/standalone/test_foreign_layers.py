"""Where a foreign layer is read, in which order, and when the next location is tried."""

import json

import pytest

from local.images import make_image
from pullahead.errors import AccessDeniedError, DigestMismatchError, NotFoundError, RegistryUnavailableError
from pullahead.oci import RawManifest, describe, media_types, parse_reference
from pullahead.oci.manifest import MAX_URLS, find_urls
from pullahead.standalone.foreign_layers import ForeignLayers
from tests.fakes.copies import describe_blob
from tests.fakes.samples import failed
from tests.fakes.upstream import FakeUpstream

CONTENT = bytes(range(100))
BLOB = describe_blob(CONTENT)
REPOSITORY = parse_reference("ghcr.io/team/windows:1").repository
FIRST, SECOND, THIRD = (f"https://cdn{number}.example/layer" for number in (1, 2, 3))


class Layers:
    """An upstream without the layer, three URLs of which two work, and a reader."""

    def __init__(self) -> None:
        self.upstream = FakeUpstream(piece_bytes=10)
        self.upstream.urls = {SECOND: CONTENT, THIRD: CONTENT}
        self.layers = ForeignLayers(self.upstream, {BLOB.digest: (FIRST, SECOND, THIRD)})

    def read(self, first_byte: int = 0) -> bytes:
        with self.layers.open_blob(REPOSITORY, BLOB, first_byte) as pieces:
            return b"".join(pieces)


def test_first_location_that_works_is_used_and_used_again() -> None:
    layers = Layers()
    assert layers.read() == CONTENT
    assert layers.upstream.urls_asked == [FIRST, SECOND]
    assert layers.read(40) == CONTENT[40:]
    assert layers.upstream.urls_asked == [FIRST, SECOND, SECOND]
    assert layers.upstream.script.count("open_blob") == 1


def test_next_location_is_tried_where_the_one_that_worked_is_gone() -> None:
    layers = Layers()
    layers.read()
    del layers.upstream.urls[SECOND]
    assert layers.read(40) == CONTENT[40:]
    assert layers.upstream.urls_asked[2:] == [SECOND, THIRD]


@pytest.mark.parametrize("kind", [AccessDeniedError, RegistryUnavailableError])
def test_no_url_is_tried_where_the_registry_fails(kind: type[AccessDeniedError | RegistryUnavailableError]) -> None:
    layers = Layers()
    layers.upstream.script.fail("open_blob", failed(kind))
    with pytest.raises(kind):
        layers.read()
    assert layers.upstream.urls_asked == []


@pytest.mark.parametrize("kind", [AccessDeniedError, RegistryUnavailableError, DigestMismatchError])
def test_next_url_is_tried_where_one_fails(
    kind: type[AccessDeniedError | RegistryUnavailableError | DigestMismatchError],
) -> None:
    layers = Layers()
    layers.upstream.script.fail("open_url", failed(kind))
    assert layers.read() == CONTENT


def test_error_is_that_of_the_last_location() -> None:
    layers = Layers()
    layers.upstream.urls = {}
    with pytest.raises(NotFoundError, match="cdn3"):
        layers.read()


def test_stream_that_breaks_does_not_move_to_the_next_location() -> None:
    layers = Layers()
    layers.upstream.cut(30)
    with pytest.raises(RegistryUnavailableError, match="broken off"):
        layers.read()
    assert layers.upstream.urls_asked == [FIRST, SECOND]


def manifest(**urls: object) -> RawManifest:
    """Make a manifest of layers by their digests."""
    layers = [{"mediaType": "m", "digest": digest, "size": 1, "urls": of_layer} for digest, of_layer in urls.items()]
    content = json.dumps({"layers": layers}).encode()
    return RawManifest(describe(content, media_types.DOCKER_MANIFEST), content)


def test_urls_are_found_by_layer_and_their_number_is_bounded() -> None:
    many = [f"https://u{number}" for number in range(99)]
    first, second = manifest(a=many, b=[]), manifest(a=["https://no"], c=["https://yes"])
    assert find_urls([first, second]) == {"a": tuple(many[:MAX_URLS]), "c": ("https://yes",)}


@pytest.mark.parametrize("urls", ["https://u", ["ftp://u", "", "u", 3, None], None, {}, 3])
def test_malformed_urls_are_ignored(urls: object) -> None:
    assert find_urls([manifest(a=urls), make_image([10]).root]) == {}
