"""What comes before and around an answer: informational responses, and bodies that are encoded all the same."""

import gzip
import zlib
from collections.abc import Callable

import pytest

from local.images import make_image
from pullahead.errors import DigestMismatchError, RegistryError, RegistryUnavailableError, UnsupportedMediaTypeError
from pullahead.registry.content_coding import CodingError, decode, decoded_pieces
from pullahead.registry.credentials import Credential
from tests.unit.manners.conftest import CopyCommand
from tests.unit.manners.copying import IMAGE, assert_copied, assert_not_published, copy, reader, reference
from tests.unit.manners.registry import Asked, ImperfectRegistry, Reply, error_reply, json_reply

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nContent-Length: 5\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OTHER = b"HTTP/1.1 199 Whatever\r\nDocker-Content-Digest: sha256:0\r\n\r\n"


@pytest.mark.parametrize(
    "before", [EARLY_HINTS, PROCESSING, CONTINUE, OTHER, EARLY_HINTS + PROCESSING * 3 + CONTINUE + EARLY_HINTS]
)
@pytest.mark.parametrize("side", ["source", "target"])
def test_informational_response_is_not_the_answer(
    source: ImperfectRegistry, target: ImperfectRegistry, side: str, before: bytes
) -> None:
    registry = source if side == "source" else target
    registry.on("", "", lambda asked: registry.answer_well(asked)._replace(before=before))
    copy(source, target)
    assert_copied(target)
    assert copy(source, target).already_there


def test_switched_protocol_is_an_error(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    source.on("GET", "", Reply(101, {"Upgrade": "h2c"}))
    with pytest.raises(RegistryError, match="HTTP 101"):
        copy(source, target)


Encode = Callable[[bytes], bytes]


def bare(content: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


def same(content: bytes) -> bytes:
    return content


def in_two_members(content: bytes) -> bytes:
    return gzip.compress(content[: len(content) // 2]) + gzip.compress(content[len(content) // 2 :])


CODINGS: list[tuple[str, Encode]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("identity, gzip", gzip.compress),
    ("gzip", in_two_members),
    ("deflate", zlib.compress),
    ("deflate", bare),
    ("gzip", same),
    ("deflate", same),
    ("br", same),
    ("aws-chunked", same),
    ("identity", same),
]


def encoded(registry: ImperfectRegistry, pattern: str, coding: str, encode: Encode) -> None:
    """Let a registry encode what it answers, whatever was asked for."""

    def answer(asked: Asked) -> Reply:
        reply = registry.answer_well(asked)
        body = encode(reply.body) if asked.method == "GET" else reply.body
        return reply._replace(headers={**reply.headers, "Content-Encoding": coding}, body=body)

    registry.on("", pattern, answer)


@pytest.mark.parametrize(("coding", "encode"), CODINGS)
@pytest.mark.parametrize("pattern", ["/manifests/", "/blobs/"])
def test_encoded_content_is_proved_by_what_it_is(
    source: ImperfectRegistry, target: ImperfectRegistry, pattern: str, coding: str, encode: Encode
) -> None:
    image = COMPRESSED if encode is gzip.compress else IMAGE  # of which one layer is compressed as it is
    source.hold(image)
    encoded(source, pattern, coding, encode)
    copy(source, target)
    assert_copied(target, image)


COMPRESSED = make_image([gzip.compress(b"a layer " * 1000, mtime=0)], seed=5)


@pytest.mark.parametrize(("coding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_encoded_listings_tokens_and_errors_are_read(source: ImperfectRegistry, coding: str, encode: Encode) -> None:
    def challenge(asked: Asked) -> Reply | None:
        headers = {"WWW-Authenticate": f'Bearer realm="{source.url}/token"', "Content-Encoding": coding}
        if asked.path == "/token":
            return json_reply({"token": "t"})._replace(headers=headers, body=encode(b'{"token": "t"}'))
        if asked.authorization != "Bearer t":
            return Reply(401, headers, encode(b"{}"))
        return None

    refusal = error_reply(403, "DENIED", "not for you")
    source.on("", "", challenge)
    source.on("", "team/private", refusal._replace(headers={"Content-Encoding": coding}, body=encode(refusal.body)))
    encoded(source, "", coding, encode)
    upstream = reader(lambda _: Credential("me", "s3cr3t"))
    assert upstream.list_tags(reference(source).repository) == ("1.0",)
    assert upstream.list_repositories(source.host, "team") == ("team/app",)
    assert upstream.head_manifest(reference(source)) == IMAGE.root.descriptor
    with pytest.raises(RegistryError, match="DENIED not for you"):
        upstream.get_manifest(reference(source, repository="team/private"))


@pytest.mark.parametrize("length", [True, False])
def test_stream_without_a_length_is_decoded(source: ImperfectRegistry, target: ImperfectRegistry, length: bool) -> None:
    def answer(asked: Asked) -> Reply:
        reply = source.answer_well(asked)
        body = gzip.compress(reply.body, mtime=0)
        headers = {
            "Content-Encoding": "gzip",
            "Connection": "close",
            "Content-Length": str(len(body)) if length else "",
        }
        return reply._replace(headers={**reply.headers, **headers}, body=body)

    source.on("GET", "/blobs/", answer)
    copy(source, target)
    assert_copied(target)


def test_encoded_part_is_not_taken_for_a_part_of_the_blob(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    """After the first stream broke, which is resumed by a range."""
    blob = next(digest for digest in IMAGE.blobs if len(IMAGE.blobs[digest]) == 3000)
    source.on("GET", f"/blobs/{blob}", Reply(200, {"Content-Length": "3000"}, IMAGE.read_blob(blob)[:1000]), times=1)
    encoded(source, "/blobs/", "gzip", gzip.compress)
    copy(source, target)
    assert_copied(target)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br", "compress"])
def test_unknown_coding_is_named(
    copy_command: CopyCommand, source: ImperfectRegistry, target: ImperfectRegistry, coding: str
) -> None:
    encoded(source, "/blobs/", coding, lambda content: b"?" + content)
    failure = copy_command().failure
    assert f"the body is encoded by '{coding}', though identity was asked for" in failure
    assert_not_published(target)


def test_manifest_of_an_unknown_coding_is_named(source: ImperfectRegistry) -> None:
    encoded(source, "/manifests/", "br", lambda content: b"?" + content)
    with pytest.raises(RegistryUnavailableError, match="encoded by 'br', though identity was asked for"):
        reader().get_manifest(reference(source))


@pytest.mark.parametrize(
    ("encode", "cause"),
    [
        (lambda content: gzip.compress(content + b"!", mtime=0), "goes on after the promised size"),
        (lambda content: gzip.compress(content, mtime=0)[:-9], "in the middle of its gzip"),
        (lambda content: gzip.compress(content, mtime=0)[:10] + b"\xff" * 20, "is not gzip"),
        (lambda content: gzip.compress(b"x" * len(content)), "the bytes have the digest"),
        (lambda content: gzip.compress(bytes(len(content) * 1000), 9), "goes on after the promised size"),
    ],
)
def test_blob_that_decodes_to_something_else_is_an_error(
    source: ImperfectRegistry, target: ImperfectRegistry, encode: Encode, cause: str
) -> None:
    encoded(source, "/blobs/", "gzip", encode)
    with pytest.raises((DigestMismatchError, UnsupportedMediaTypeError), match=cause):
        copy(source, target)
    assert_not_published(target)


def test_manifest_that_decodes_without_end_is_refused(source: ImperfectRegistry) -> None:
    encoded(source, "/manifests/", "gzip", lambda _: gzip.compress(bytes(5_000_000), 9))
    with pytest.raises(RegistryError, match="has more than 4194304 bytes"):
        reader().get_manifest(reference(source))


class TestDecoding:
    @pytest.mark.parametrize("size", [0, 1, 255, 300_000, 1_000_000])
    @pytest.mark.parametrize(("coding", "encode"), CODINGS[:7])
    @pytest.mark.parametrize("piece", [1000, 1_000_000])
    def test_pieces_of_any_size_are_decoded(self, coding: str, encode: Encode, size: int, piece: int) -> None:
        content = bytes(range(256)) * (size // 256) + bytes(size % 256)
        body = encode(content)
        pieces = (body[start : start + piece] for start in range(0, len(body), piece))
        decoded = list(decoded_pieces(pieces, coding.rpartition(" ")[2].lower()))
        assert b"".join(decoded) == content
        assert max(map(len, decoded), default=0) <= 256 * 1024

    def test_no_bytes_are_no_bytes(self) -> None:
        assert list(decoded_pieces(iter(()), "gzip")) == []

    def test_bomb_is_decoded_as_far_as_it_may_be(self) -> None:
        assert len(decode(gzip.compress(bytes(5_000_000), 9), "gzip", 1000)) == 1001

    @pytest.mark.parametrize(
        "content", [gzip.compress(b"x", mtime=0)[:-1], gzip.compress(b"x", mtime=0) + b"rest", b"\x1f\x8b"]
    )
    def test_malformed_body_is_an_error(self, content: bytes) -> None:
        with pytest.raises(CodingError):
            decode(content, "gzip", 1000)
