"""What registries say of their limits, each in its own way."""

import pytest
from requests.structures import CaseInsensitiveDict

from pullahead.registry.rate_limits import RateLimitHeaders, read_reported

NOW = 1_800_000_000.0
HUB = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "20;w=21600", "docker-ratelimit-source": "192.0.2.1"}
GITLAB = {"RateLimit-Limit": "500", "RateLimit-Remaining": "499", "RateLimit-Reset": "1800000030"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (HUB, RateLimitHeaders(20, 100, 21600.0)),
        (GITLAB, RateLimitHeaders(499, 500, 30.0)),
        (
            {"RateLimit-Limit": "100, 100;w=60", "RateLimit-Remaining": "5", "RateLimit-Reset": "50"},
            RateLimitHeaders(5, 100, 50.0),
        ),
        ({"RateLimit-Limit": "10, 10;w=1, 100;w=60", "RateLimit-Remaining": "5"}, RateLimitHeaders(5, 10, 1.0)),
        ({"RateLimit": "limit=100, remaining=50, reset=5"}, RateLimitHeaders(50, 100, 5.0)),
        (
            {"RateLimit": '"default";r=50;t=30', "RateLimit-Policy": '"default";q=100;w=60'},
            RateLimitHeaders(50, 100, 30.0),
        ),
        ({"RateLimit": '"default";r=50', "RateLimit-Policy": '"default";q=100;w=60'}, RateLimitHeaders(50, 100, 60.0)),
        ({"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0"}, RateLimitHeaders(0, 60, None)),
        (
            {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "1"},
            RateLimitHeaders(1, 60, 1.0),
        ),
    ],
)
def test_limit_is_read(headers: dict[str, str], expected: RateLimitHeaders) -> None:
    assert read_reported(CaseInsensitiveDict(headers), NOW) == expected


@pytest.mark.parametrize(
    ("remaining", "limit", "reset", "expected"),
    [
        ("500", "100", "9", RateLimitHeaders(100, 100, 9.0)),  # more than all there is
        ("5", "100", "999999999", RateLimitHeaders(5, 100, 7 * 24 * 3600.0)),
        ("5", "100", "1700000000", RateLimitHeaders(5, 100, 0.0)),  # over long ago
        ("5", "100", "soon", RateLimitHeaders(5, 100, None)),
    ],
)
def test_limit_out_of_all_bounds_is_bounded(remaining: str, limit: str, reset: str, expected: RateLimitHeaders) -> None:
    headers = {"RateLimit-Remaining": remaining, "RateLimit-Limit": limit, "RateLimit-Reset": reset}
    assert read_reported(CaseInsensitiveDict(headers), NOW) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"RateLimit-Limit": "100;w=21600"},
        {"RateLimit-Remaining": "100;w=21600"},
        {"RateLimit-Limit": "0", "RateLimit-Remaining": "0"},
        {"RateLimit-Limit": "many", "RateLimit-Remaining": "few"},
        {"RateLimit-Limit": "-5", "RateLimit-Remaining": "5"},
        {"RateLimit-Limit": "9" * 40, "RateLimit-Remaining": "9" * 40},
        {"RateLimit": '"default";r=50'},
        {"RateLimit": '"default";t=50', "RateLimit-Policy": '"default";q=100'},
    ],
)
def test_headers_without_a_limit_have_none(headers: dict[str, str]) -> None:
    assert read_reported(CaseInsensitiveDict(headers), NOW) is None
