"""Blobs that are offered to a registry: what goes wrong on the way, and where they must not go."""

import contextlib
from collections.abc import Iterator

import pytest

from pullahead.errors import (
    AccessDeniedError,
    DigestMismatchError,
    ManifestRefusedError,
    NotFoundError,
    RateLimitedError,
    RegistryError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    UploadLostError,
)
from pullahead.oci import Descriptor, digest_of
from pullahead.oci.registries import Offered
from pullahead.registry.request import Timeouts
from tests.unit.registry.harness import FakeTime
from tests.unit.registry.push.harness import (
    BLOB,
    CONTENT,
    HANG_UP,
    REPOSITORY,
    SECRET,
    TIMEOUTS,
    UPLOADS,
    Pieces,
    Reply,
    ScriptedRegistry,
    oci_error,
    target_of,
)

WANTED = Reply(202, {"Location": f"{UPLOADS}1?_state={SECRET}"})
CREATED = Reply(201)


def offer(registry: ScriptedRegistry, pieces: Pieces | None = None, time: FakeTime | None = None) -> Offered:
    return target_of(registry, time=time).stream_blob(REPOSITORY, BLOB, (pieces or Pieces()).open)


def test_blob_is_sent_by_one_post_and_one_put(registry: ScriptedRegistry) -> None:
    registry.on("POST", UPLOADS, WANTED)
    registry.on("PUT", UPLOADS, CREATED)
    assert offer(registry) is Offered.COPIED
    post, put = registry.asked
    assert post.path == f"{UPLOADS}?mount={BLOB.digest}&from={REPOSITORY}"
    assert put.path == f"{UPLOADS}1?_state={SECRET}&digest={BLOB.digest}"
    assert (put.body, put.headers["Content-Length"]) == (CONTENT, str(len(CONTENT)))
    assert "Transfer-Encoding" not in put.headers
    assert registry.connections == 1


@pytest.mark.parametrize(
    "location",
    ["{uploads}1", "1", "//{host}{uploads}1", "http://{host}{uploads}1", "/elsewhere/uploads/1", "?upload=1"],
)
def test_location_of_any_legal_form_is_followed(registry: ScriptedRegistry, location: str) -> None:
    registry.on("POST", UPLOADS, Reply(202, {"Location": location.format(uploads=UPLOADS, host=registry.host)}))
    registry.on("PUT", "digest=", CREATED)
    assert offer(registry) is Offered.COPIED
    assert registry.asked[1].path.endswith(f"{'&' if '?' in location else '?'}digest={BLOB.digest}")


@pytest.mark.parametrize(
    ("location", "kind", "cause"),
    [
        ("http://elsewhere.example/1", AccessDeniedError, "without TLS"),
        ("http://localhost:1/1", AccessDeniedError, "without TLS"),
        ("https://127.0.0.2:1/1", AccessDeniedError, "internal address"),
        ("https://169.254.169.254/latest", AccessDeniedError, "internal address"),
        ("https://[fd00::1]/1", AccessDeniedError, "internal address"),
        ("https://localhost/1", AccessDeniedError, "internal address"),
        ("ftp://elsewhere.example/1", RegistryUnavailableError, "invalid address"),
        ("https://user:s3cr3t@elsewhere.example/1", RegistryUnavailableError, "invalid address"),
    ],
)
def test_location_where_nothing_may_go_is_refused(
    registry: ScriptedRegistry, location: str, kind: type[RegistryError], cause: str
) -> None:
    registry.on("POST", UPLOADS, Reply(202, {"Location": location}))
    pieces = Pieces()
    with pytest.raises(kind, match=cause) as caught:
        offer(registry, pieces)
    assert SECRET not in str(caught.value)
    assert (pieces.opened, len(registry.asked)) == (0, 1)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (oci_error(413, "SIZE_INVALID"), ManifestRefusedError),
        (Reply(413), ManifestRefusedError),
        (oci_error(404, "BLOB_UPLOAD_UNKNOWN"), UploadLostError),
        (oci_error(404, "BLOB_UPLOAD_INVALID"), UploadLostError),
        (oci_error(400, "BLOB_UPLOAD_INVALID"), UploadLostError),
        (Reply(416), UploadLostError),
        (oci_error(404, "NAME_UNKNOWN"), NotFoundError),
        (oci_error(403, "DENIED"), AccessDeniedError),
        (Reply(401), AccessDeniedError),
        (Reply(429), RateLimitedError),
        (Reply(500), RegistryUnavailableError),
        (Reply(503, {}, b"<html>"), RegistryUnavailableError),
        (Reply(504), RegistryTimeoutError),
        (Reply(303, {"Location": "/elsewhere"}), RegistryUnavailableError),
        (Reply(299), RegistryUnavailableError),
        (HANG_UP, RegistryUnavailableError),
    ],
)
def test_refused_stream_is_not_sent_again(registry: ScriptedRegistry, reply: Reply, kind: type[RegistryError]) -> None:
    registry.on("POST", UPLOADS, WANTED)
    registry.on("PUT", UPLOADS, reply)
    pieces = Pieces()
    with pytest.raises(kind) as caught:
        offer(registry, pieces)
    assert type(caught.value) is kind
    assert SECRET not in f"{caught.value}{caught.value.__cause__}"
    assert (pieces.opened, registry.count("PUT")) == (1, 1)


def test_upload_without_an_address_is_an_error(registry: ScriptedRegistry) -> None:
    registry.on("POST", UPLOADS, Reply(202), Reply(202))
    with pytest.raises(RegistryUnavailableError, match="does not say where the upload goes on"):
        offer(registry)
    assert [asked.path for asked in registry.asked][1:] == [UPLOADS]


def test_early_refusal_is_read_though_the_connection_breaks(registry: ScriptedRegistry) -> None:
    """A registry that has enough answers and hangs up while the body is still being sent."""
    content = b"x" * (64 * 1024 * 1024)
    pieces = Pieces(content, piece_bytes=1024 * 1024)
    registry.on("POST", UPLOADS, WANTED)
    registry.on("PUT", UPLOADS, Reply(413, {"Connection": "close"}, reads=False, hangs_up=True))
    blob = Descriptor("application/octet-stream", digest_of(content), len(content))
    with pytest.raises(ManifestRefusedError):
        target_of(registry).stream_blob(REPOSITORY, blob, pieces.open)


@pytest.mark.parametrize("reply", [Reply(429), Reply(502), Reply(503), Reply(504), HANG_UP])
def test_offer_that_meets_passing_trouble_is_retried(registry: ScriptedRegistry, reply: Reply) -> None:
    time = FakeTime()
    registry.on("POST", UPLOADS, reply, reply, WANTED)
    registry.on("PUT", UPLOADS, CREATED)
    assert offer(registry, time=time) is Offered.COPIED
    assert time.slept == [1.0, 2.0]


@pytest.mark.parametrize("seconds", ["3600", "11"])
def test_long_retry_after_is_an_error(registry: ScriptedRegistry, seconds: str) -> None:
    time = FakeTime()
    registry.on("POST", UPLOADS, Reply(429, {"Retry-After": seconds}))
    with pytest.raises(RateLimitedError) as caught:
        offer(registry, time=time)
    assert (caught.value.retry_after_seconds, time.slept) == (float(seconds), [])


def test_short_retry_after_is_kept(registry: ScriptedRegistry) -> None:
    time = FakeTime()
    registry.on("POST", UPLOADS, Reply(429, {"Retry-After": "7"}), Reply(201))
    assert offer(registry, time=time) is Offered.PRESENT
    assert time.slept == [7.0]


@pytest.mark.parametrize(
    ("content", "cause"), [(CONTENT + b"!", "goes on after its end"), (CONTENT[:-1], "ends 1 bytes too early")]
)
def test_pieces_of_another_length_than_promised_are_an_error(
    registry: ScriptedRegistry, content: bytes, cause: str
) -> None:
    registry.on("POST", UPLOADS, WANTED)
    registry.on("PUT", UPLOADS, CREATED)
    with pytest.raises(ValueError, match=cause):
        offer(registry, Pieces(content))


@pytest.mark.parametrize("error", [OSError("disk"), ConnectionResetError("upstream"), TimeoutError("upstream")])
def test_error_of_the_pieces_goes_through(registry: ScriptedRegistry, error: OSError) -> None:
    @contextlib.contextmanager
    def open_pieces() -> Iterator[Iterator[bytes]]:
        yield pieces()

    def pieces() -> Iterator[bytes]:
        yield CONTENT[:5]
        raise error

    registry.on("POST", UPLOADS, WANTED)
    registry.on("PUT", UPLOADS, CREATED)
    with pytest.raises(type(error)) as caught:
        target_of(registry).stream_blob(REPOSITORY, BLOB, open_pieces)
    assert caught.value is error


def test_connection_that_the_registry_closed_is_not_used(registry: ScriptedRegistry) -> None:
    registry.on("POST", UPLOADS, *[Reply(201, hangs_up=True)] * 3)
    target = target_of(registry)
    for _ in range(3):
        assert target.stream_blob(REPOSITORY, BLOB, Pieces().open) is Offered.PRESENT
    assert len(registry.asked) == 3


def test_stream_is_not_sent_into_a_connection_that_has_ended(registry: ScriptedRegistry) -> None:
    """A stream is never sent twice, so it must not begin on a closed connection."""

    @contextlib.contextmanager
    def open_pieces() -> Iterator[Iterator[bytes]]:
        assert registry.hung_up.wait(5)
        yield iter([CONTENT])

    registry.on("POST", UPLOADS, WANTED._replace(hangs_up=True))
    registry.on("PUT", UPLOADS, CREATED)
    assert target_of(registry).stream_blob(REPOSITORY, BLOB, open_pieces) is Offered.COPIED


def test_registry_that_verifies_a_blob_for_long_is_waited_for(registry: ScriptedRegistry) -> None:
    registry.on("POST", UPLOADS, WANTED)
    registry.on("PUT", UPLOADS, CREATED._replace(after_seconds=0.5))
    target = target_of(registry, timeouts=Timeouts(connect=2, read=0.2))
    assert target.stream_blob(REPOSITORY, BLOB, Pieces().open) is Offered.COPIED


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(CREATED, None, id="stored"),
        pytest.param(oci_error(400, "DIGEST_INVALID"), DigestMismatchError, id="refused"),
        pytest.param(Reply(401, {"WWW-Authenticate": 'Bearer realm="{base}/token"'}), UploadLostError, id="denied"),
    ],
)
def test_stream_may_take_longer_than_all_else(
    registry: ScriptedRegistry, answer: Reply, error: type[RegistryError] | None
) -> None:
    """A layer of some gigabytes takes minutes, and its answer counts all the same."""
    time, began = FakeTime(), FakeTime().now
    headers = {name: value.format(base=f"http://{registry.host}") for name, value in answer.headers.items()}
    registry.on("POST", UPLOADS, WANTED)
    registry.on("PUT", UPLOADS, answer._replace(headers=headers))
    registry.on("GET", "/token", Reply(200, body=b'{"token": "another"}'))

    def slow_pieces() -> Iterator[bytes]:
        yield CONTENT[:5]
        time.sleep(10 * TIMEOUTS.total)
        yield CONTENT[5:]

    outcome = pytest.raises(error) if error else contextlib.nullcontext()
    with outcome:
        opened = contextlib.nullcontext(slow_pieces())
        assert target_of(registry, time=time).stream_blob(REPOSITORY, BLOB, lambda: opened) is Offered.COPIED
    assert time.now - began == 10 * TIMEOUTS.total


def test_connections_are_used_again(registry: ScriptedRegistry) -> None:
    registry.on("POST", UPLOADS, *[WANTED] * 5)
    registry.on("PUT", UPLOADS, *[CREATED] * 5)
    target = target_of(registry)
    for _ in range(5):
        target.stream_blob(REPOSITORY, BLOB, Pieces().open)
    assert registry.connections == 1


def test_mount_from_another_repository_costs_one_request(registry: ScriptedRegistry) -> None:
    registry.on("POST", f"mount={BLOB.digest}&from=team/base$", Reply(201))
    pieces = Pieces()
    offered = target_of(registry).stream_blob(REPOSITORY, BLOB, pieces.open, "team/base")
    assert (offered, pieces.opened, len(registry.asked)) == (Offered.MOUNTED, 0, 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_refused_mount_is_replaced_by_an_upload(registry: ScriptedRegistry, status: int) -> None:
    registry.on("POST", "mount=", Reply(status))
    registry.on("POST", f"{UPLOADS}$", WANTED)
    registry.on("PUT", UPLOADS, CREATED)
    offered = target_of(registry).stream_blob(REPOSITORY, BLOB, Pieces().open, "team/base")
    assert (offered, len(registry.asked)) == (Offered.COPIED, 3)


def test_registry_without_mounts_is_asked_for_one_once(registry: ScriptedRegistry) -> None:
    registry.on("POST", "mount=", Reply(405))
    registry.on("POST", f"{UPLOADS}$", WANTED, WANTED)
    registry.on("PUT", UPLOADS, CREATED, CREATED)
    target = target_of(registry)
    for _ in range(2):
        assert target.stream_blob(REPOSITORY, BLOB, Pieces().open) is Offered.COPIED
    assert registry.count("POST", "mount=") == 1


def test_presence_is_not_asked_for(registry: ScriptedRegistry) -> None:
    assert target_of(registry).present_blobs(REPOSITORY, [BLOB.digest]) == frozenset()
    assert registry.asked == []


def test_endless_answer_is_not_read(registry: ScriptedRegistry) -> None:
    registry.on("POST", UPLOADS, Reply(202, {"Location": UPLOADS}, b"x" * (5 * 1024 * 1024)))
    with pytest.raises(RegistryError, match="has more than"):
        offer(registry)
