"""Trouble that passes, at every request of a copy and of a listing; and how long a registry says that it lasts."""

import email.utils
from datetime import UTC, datetime, timedelta

import pytest

from pullahead.errors import RateLimitedError, RegistryError
from pullahead.registry.credentials import Credential
from pullahead.registry.errors import retry_after_seconds
from tests.unit.manners.copying import IMAGE, assert_copied, assert_not_published, copy, reader, reference
from tests.unit.manners.registry import HANG_UP, Asked, ImperfectRegistry, Reply, json_reply
from tests.unit.registry.harness import FakeTime

PASSING = [*map(Reply, (408, 425, 429, 500, 502, 503, 504, 507, 520, 599)), HANG_UP]

OF_THE_SOURCE = [("GET", "/manifests/1.0"), ("GET", "/blobs/")]
OF_THE_TARGET = [("HEAD", "/manifests/"), ("POST", "mount="), ("PUT", "/blobs/uploads/"), ("PUT", "/manifests/")]
OF_PARTS = [("POST", "uploads/$"), ("PATCH", ""), ("PUT", "digest="), ("GET", "/blobs/uploads/")]
OF_READING = ["^/token", "tags/list", "_catalog", "/referrers/", "/manifests/"]


@pytest.mark.parametrize("trouble", PASSING, ids=lambda reply: str(reply.status))
@pytest.mark.parametrize(("method", "pattern"), [*OF_THE_SOURCE, *OF_THE_TARGET])
def test_copy_outlasts_trouble_at_any_request(
    source: ImperfectRegistry, target: ImperfectRegistry, method: str, pattern: str, trouble: Reply
) -> None:
    registry = source if (method, pattern) in OF_THE_SOURCE else target
    registry.on(method, pattern, trouble, times=1)
    copy(source, target)
    assert_copied(target)
    assert registry.count(method, pattern) >= 2


@pytest.mark.parametrize("trouble", [Reply(429), Reply(503), HANG_UP], ids=lambda reply: str(reply.status))
@pytest.mark.parametrize(("method", "pattern"), OF_PARTS)
def test_upload_in_parts_outlasts_trouble_at_any_request(
    source: ImperfectRegistry, target: ImperfectRegistry, method: str, pattern: str, trouble: Reply
) -> None:
    target.on("PUT", "/uploads/", lambda asked: Reply(413) if asked.body else None)
    target.on(method, pattern, trouble, times=1)
    if method == "GET":
        target.on("PATCH", "", HANG_UP, times=1)  # then its progress is asked for
    copy(source, target)
    assert_copied(target)


@pytest.mark.parametrize("trouble", PASSING, ids=lambda reply: str(reply.status))
def test_reading_outlasts_trouble_at_every_request(source: ImperfectRegistry, trouble: Reply) -> None:
    def challenge(asked: Asked) -> Reply | None:
        if asked.path == "/token" or asked.authorization == "Bearer t":
            return None
        return Reply(401, {"WWW-Authenticate": f'Bearer realm="{source.url}/token"'})

    for pattern in OF_READING:
        source.on("", pattern, trouble, times=1)
    source.on("", "", challenge)
    source.on("GET", "^/token", json_reply({"token": "t"}))
    upstream = reader(lambda _: Credential("me", "s3cr3t"))
    assert upstream.list_tags(reference(source).repository) == ("1.0",)
    assert upstream.list_repositories(source.host, "team") == ("team/app",)
    assert upstream.list_referrers(reference(source), IMAGE.digest) == ()
    assert upstream.head_manifest(reference(source)) == IMAGE.root.descriptor
    assert all(source.count("", pattern) >= 2 for pattern in OF_READING)


@pytest.mark.parametrize("status", [503, 500])
@pytest.mark.parametrize(("method", "pattern"), [*OF_THE_SOURCE, *OF_THE_TARGET[2:]])
def test_trouble_that_does_not_pass_ends_the_copy(
    source: ImperfectRegistry, target: ImperfectRegistry, method: str, pattern: str, status: int
) -> None:
    registry = source if (method, pattern) in OF_THE_SOURCE else target
    registry.on(method, pattern, Reply(status))
    with pytest.raises(RegistryError, match=f"HTTP {status}"):
        copy(source, target)
    assert_not_published(target)


NO_WAITS = [
    "Fri, 31 Dec 99999999999999999999 23:59:59 GMT",
    "Fri, 31 Dec 9999 23:59:59 -9999",
    "Fri, 99 Dec 2026 23:59:59 GMT",
    "Fri, 31 Dec 2026",
    "31 Dec",
    "0 0 0 0",
    "-1",
    "1e999",
    "1e3",
    "1.5",
    "+5",
    "0x10",
    "9" * 5000,
    "\u0665",
    "soon",
    "NaN",
    "Infinity",
    "",
    " ",
    ",",
    "5, 7",
    "\x00",
    "a" * 60_000,
    "Fri, " * 10_000,
]


@pytest.mark.parametrize("text", NO_WAITS, ids=lambda text: repr(text[:50]))
def test_retry_after_that_is_no_wait_is_as_good_as_absent(text: str) -> None:
    now = email.utils.format_datetime(datetime(2026, 11, 30, tzinfo=UTC), usegmt=True)
    assert retry_after_seconds({"Retry-After": text, "Date": now}) is None
    assert retry_after_seconds({"Retry-After": now, "Date": text}) is None


@pytest.mark.parametrize(
    "text", [text for text in NO_WAITS if text.isascii() and len(text) < 5000 and "\x00" not in text]
)
def test_rate_limit_without_a_wait_is_retried_as_any_trouble(
    source: ImperfectRegistry, target: ImperfectRegistry, text: str
) -> None:
    time = FakeTime()
    source.on("GET", "/manifests/", Reply(429, {"Retry-After": text}), times=1)
    copy(source, target, time=time)
    assert_copied(target)
    assert time.slept == [1.0]


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (["7"], 7.0),
        (["7", "7"], 7.0),
        (['"7"'], 7.0),
        ([" 7 "], 7.0),
        (["007"], 7.0),
        (["0"], 0.0),
    ],
)
def test_retry_after_is_read_in_all_forms(
    source: ImperfectRegistry, target: ImperfectRegistry, values: list[str], seconds: float
) -> None:
    time = FakeTime()
    source.on("GET", "/manifests/", Reply(429, {"Retry-After": values}), times=1)
    copy(source, target, time=time)
    assert time.slept == [seconds]


def test_date_of_retry_after_may_stand_twice() -> None:
    begin = datetime(2026, 11, 30, tzinfo=UTC)
    date, until = (email.utils.format_datetime(begin + timedelta(seconds=wait), usegmt=True) for wait in (0, 9))
    assert retry_after_seconds({"Retry-After": f"{until}, {until}", "Date": f"{date}, {date}"}) == 9.0


@pytest.mark.parametrize("text", ["", "-1", "NaN", "1e999", "x;w=y", "9" * 5000, "5;w=" + "9" * 5000, "\u0665;w=1"])
def test_limit_that_is_not_understood_is_as_good_as_absent(source: ImperfectRegistry, text: str) -> None:
    """Else every manifest would be deferred."""
    headers = {name: text.encode().decode("latin-1") for name in ("ratelimit-limit", "ratelimit-remaining")}
    source.on(
        "HEAD", "", lambda asked: source.answer_well(asked)._replace(headers=with_headers(source, asked, headers))
    )
    upstream = reader()
    upstream.head_manifest(reference(source))
    assert upstream.get_manifest(reference(source)) == IMAGE.root


def with_headers(registry: ImperfectRegistry, asked: Asked, headers: dict[str, str]) -> dict[str, str]:
    return {**{name: str(value) for name, value in registry.answer_well(asked).headers.items()}, **headers}


def test_long_wait_is_an_error_that_says_how_long(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    source.on("GET", "/manifests/", Reply(429, {"Retry-After": "3600"}))
    with pytest.raises(RateLimitedError) as caught:
        copy(source, target)
    assert caught.value.retry_after_seconds == 3600
    assert source.count("GET") == 1
