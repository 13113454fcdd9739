"""References are read as docker reads them, and what is wrong says how to write it."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pullahead.oci import InvalidReferenceError, Reference, Repository, parse_digest, parse_host, parse_reference

DIGEST = parse_digest("sha256:" + "0123456789abcdef" * 4)
LONG_DIGEST = parse_digest("sha512:" + "0123456789abcdef" * 8)

components = st.from_regex(r"[a-z0-9]{1,4}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
paths = st.lists(components, min_size=1, max_size=4).map("/".join)
names = st.from_regex(r"[a-z0-9]{1,5}(?:-[a-z0-9]{1,5})?(?:\.[a-z0-9]{1,5}){1,3}", fullmatch=True)
addresses = st.ip_addresses(v=6).map(lambda address: f"[{address}]")
ports = st.integers(1, 65535).map(lambda port: f":{port}")
hosts = st.one_of(
    names, st.just("localhost"), addresses, st.tuples(st.one_of(names, st.just("host")), ports).map("".join)
)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("library/alpine", "docker.io/library/alpine:latest"),
        ("user/app", "docker.io/user/app:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        (f"docker.io/library/alpine:3.20@{DIGEST}", f"docker.io/library/alpine:3.20@{DIGEST}"),
        (f"alpine@{DIGEST}", f"docker.io/library/alpine@{DIGEST}"),
        (f"ghcr.io/a/b@{LONG_DIGEST}", f"ghcr.io/a/b@{LONG_DIGEST}"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
        ("registry-1.docker.io/user/app:v1", "docker.io/user/app:v1"),
        ("registry.hub.docker.com/library/alpine", "docker.io/library/alpine:latest"),
        ("localhost/a", "localhost/a:latest"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("host:5000/a/b:c", "host:5000/a/b:c"),
        ("[::1]:5000/a:b", "[::1]:5000/a:b"),
        ("[2001:DB8::1]/a", "[2001:db8::1]/a:latest"),
        ("GHCR.io/a/b:V1", "ghcr.io/a/b:V1"),
        ("LOCALHOST/a", "localhost/a:latest"),
        ("127.0.0.1:5000/a__b/c--d:_x", "127.0.0.1:5000/a__b/c--d:_x"),
    ],
)
def test_reference_is_parsed_as_docker_does(text: str, canonical: str) -> None:
    assert str(parse_reference(text)) == canonical


def test_longest_reference_is_valid() -> None:
    longest_path = "b" * (255 - len("a.io/"))
    assert parse_reference(f"a.io/{longest_path}").repository.path == longest_path
    assert parse_reference("a.io:65535/b:" + "x" * 128).repository.registry == "a.io:65535"
    assert parse_reference("a.io:1/b").repository.registry == "a.io:1"


def test_message_names_the_text_the_cause_and_the_correction() -> None:
    with pytest.raises(InvalidReferenceError) as refused:
        parse_reference("user/App")
    assert str(refused.value) == (
        "invalid reference 'user/App': the path must be lower case. Write the path as user/app."
    )


def test_default_tag_applies_without_tag_and_digest_only() -> None:
    assert parse_reference("a.io/b", default_tag=None).tag is None
    assert parse_reference("a.io/b", default_tag="edge").tag == "edge"
    assert parse_reference("a.io/b:c", default_tag="edge").tag == "c"
    assert parse_reference(f"a.io/b@{DIGEST}", default_tag="edge").tag is None


@pytest.mark.parametrize(
    ("text", "cause", "advice"),
    [
        ("", "it is empty", "docker.io/library/alpine"),
        ("https://ghcr.io/a/b", "not a URL", "Remove https://"),
        ("docker://alpine", "not a URL", "Remove docker://"),
        ("user/App", "lower case", "user/app"),
        ("Alpine", "lower case", "alpine"),
        ("ghcr.io/A:b", "lower case", "Write the path as a."),
        ("al pine", "spaces", "Remove"),
        ("alpine\n", "control characters", "Remove"),
        ("alpine\x00", "control characters", "Remove"),
        ("alpiné", "beyond ASCII", "Remove"),
        ("alpine:", "tag", "1 to 128"),
        ("alpine:.x", "tag", "does not begin with"),
        ("alpine:-x", "tag", "does not begin with"),
        ("alpine:" + "x" * 129, "tag", "1 to 128"),
        ("alpine:a:b", "tag", "1 to 128"),
        ("alpine@", "the digest after @ is invalid", "sha256:<64 hex digits>"),
        ("alpine@sha256:" + "A" * 64, "the digest after @ is invalid", "lower case"),
        ("alpine@sha256:" + "a" * 63, "the digest after @ is invalid", "64"),
        ("alpine@md5:" + "a" * 32, "the digest after @ is invalid", "sha256"),
        (f"alpine@{DIGEST}@{DIGEST}", "the digest after @ is invalid", "sha256"),
        ("a" * 64, "the repository is missing", "REPOSITORY@sha256:"),
        ("a.io/" + "b" * 251, "256 characters; the limit is 255", ""),
        ("a" * 1025, "the limit is 1024", ""),
        ("a.io/", "path of the repository is missing", "HOST/PATH"),
        ("[::1]:5000", "the repository is missing", "HOST/PATH"),
        ("[::g]/a", "host", "[::1]:5000"),
        ("[::1%eth0]/a", "host", "[::1]:5000"),
        ("[]/a", "path", "joined by a dot"),
        ("a.io:0/b", "host", "1 to 65535"),
        ("a.io:65536/b", "host", "1 to 65535"),
        ("a.io:/b", "host", "a port is"),
        ("a.io./b", "host", "ghcr.io"),
        ("-a.io/b", "host", "ghcr.io"),
        ("a..io/b", "host", "ghcr.io"),
        ("a//b", "path", "joined by a dot"),
        ("/a", "path", "joined by a dot"),
        ("a/", "path", "joined by a dot"),
        ("a___b", "path", "underscores"),
        ("a..b", "path", "joined by a dot"),
        ("../a", "host", "ghcr.io"),
    ],
)
def test_invalid_reference_is_refused_with_advice(text: str, cause: str, advice: str) -> None:
    with pytest.raises(InvalidReferenceError) as refused:
        parse_reference(text)
    assert cause in refused.value.cause
    assert advice in refused.value.advice
    assert refused.value.cause in str(refused.value)
    assert refused.value.advice in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hunter2@ghcr.io/a",
        "user:hunter2@ghcr.io/a",
        f"user:hunter2@ghcr.io/a@{DIGEST}",
        "ghcr.io/a:b?token=hunter2",
        "ghcr.io/A?token=hunter2",
        "https://ghcr.io/v2/a/blobs/x?X-Amz-Signature=hunter2",
        "ghcr.io?hunter2/a",
    ],
)
def test_credential_in_a_reference_is_not_in_the_message(text: str) -> None:
    with pytest.raises(InvalidReferenceError) as refused:
        parse_reference(text)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["a" * 1025, "a.io/" + "b" * 300, "alpine:" + "x" * 900, "A" * 900 + ".io/a/" + "!" * 90]
)
def test_long_reference_makes_a_short_message(text: str) -> None:
    with pytest.raises(InvalidReferenceError) as refused:
        parse_reference(text)
    assert len(str(refused.value)) < 700


@given(registry=hosts, path=paths, tag=st.none() | tags, digest=st.sampled_from([None, DIGEST, LONG_DIGEST]))
@example(registry="docker.io", path="library/alpine", tag="3.20", digest=DIGEST)
def test_written_reference_is_parsed_back(registry: str, path: str, tag: str | None, digest: str | None) -> None:
    reference = Reference(Repository(registry, path), tag, parse_digest(digest) if digest else None)
    assert parse_reference(str(reference), default_tag=None) == reference


@given(
    st.one_of(
        st.text(max_size=1200),
        st.text(alphabet="aA0.:/@[]_- \nsh256?é", max_size=200),
        st.tuples(hosts, paths, tags).map("/".join),
    )
)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidReferenceError):
        reference = parse_reference(text)
        assert parse_reference(str(reference), default_tag=None) == reference


@given(st.text(alphabet="aA:/@?\n\r\x1b\x85\u2028", max_size=40))
def test_message_stays_on_one_line(text: str) -> None:
    try:
        parse_reference(text)
    except InvalidReferenceError as error:
        message = str(error)
    else:
        message = ""
    assert message.isprintable()


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "text",
    [
        "a" * 1023 + "!",
        "a-" * 500 + "!",
        "a_" * 500 + "/",
        "a." * 500 + ":x/a",
        "-" * 1000,
        "a" + "-" * 1000 + "/b",
        "[" + ":" * 1000 + "]/a",
        "a/" * 500,
        "a:" * 500,
        "@" * 1000,
        "a" * 2_000_000 + "!",
    ],
)
def test_hostile_text_is_refused_in_linear_time(text: str) -> None:
    for _ in range(200):
        with pytest.raises(InvalidReferenceError):
            parse_reference(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("GHCR.io", "ghcr.io"),
        ("localhost", "localhost"),
        ("registry:5000", "registry:5000"),
        ("[::1]:5500", "[::1]:5500"),
        ("index.docker.io", "docker.io"),
    ],
)
def test_host_is_parsed_as_in_a_reference(text: str, host: str) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize("text", ["", "registry", "ghcr.io/a", "https://ghcr.io", "ghcr.io:x", "docker.io/library"])
def test_invalid_host_is_refused(text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        parse_host(text)


def test_digest_takes_precedence_over_the_tag() -> None:
    assert parse_reference(f"alpine:3.20@{DIGEST}").locator == DIGEST
    assert parse_reference("alpine:3.20").locator == "3.20"
    assert parse_reference("alpine").at(DIGEST) == parse_reference(f"alpine@{DIGEST}")
