"""WWW-Authenticate as registries really send it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.registry.tokens import Challenge, find_bearer, parse_challenges

BEARER = Challenge("bearer", {"realm": "https://auth.example/token", "service": "registry.example"})


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        pytest.param("", [], id="none"),
        pytest.param("Negotiate", [Challenge("negotiate", {})], id="scheme alone"),
        pytest.param("Negotiate abc==", [Challenge("negotiate", {})], id="token68"),
        pytest.param("Bearer", [Challenge("bearer", {})], id="bearer without realm"),
        pytest.param('BEARER Realm="https://auth.example/token",SERVICE="registry.example"', [BEARER], id="case"),
        pytest.param(
            "Bearer realm=https://auth.example/token, service=registry.example", [BEARER], id="values not quoted"
        ),
        pytest.param(
            'Bearer realm = "https://auth.example/token" ,\t service= "registry.example"', [BEARER], id="white space"
        ),
        pytest.param(
            'Bearer realm="https://auth.example/token",,service="registry.example",', [BEARER], id="empty elements"
        ),
        pytest.param(
            'Bearer realm="r",scope="repository:a/b:pull,push"',
            [Challenge("bearer", {"realm": "r", "scope": "repository:a/b:pull,push"})],
            id="comma within quotes",
        ),
        pytest.param(
            r'Basic realm="a \"quoted\" realm, with = and \\"',
            [Challenge("basic", {"realm": 'a "quoted" realm, with = and \\'})],
            id="escapes",
        ),
        pytest.param(
            'Basic realm="x", Bearer realm="https://auth.example/token",service="registry.example"',
            [Challenge("basic", {"realm": "x"}), BEARER],
            id="two schemes in one header",
        ),
        pytest.param(
            'Negotiate abc==, Bearer realm="https://auth.example/token",service="registry.example", Basic',
            [Challenge("negotiate", {}), BEARER, Challenge("basic", {})],
            id="token68 before a list",
        ),
        pytest.param('Bearer realm="r",realm="s"', [Challenge("bearer", {"realm": "r"})], id="first of a name wins"),
        pytest.param('Bearer realm="never closed', [Challenge("bearer", {})], id="quote never closed"),
        pytest.param('realm="r", Basic', [Challenge("basic", {})], id="parameter without scheme"),
    ],
)
def test_challenges_are_parsed(header: str, challenges: list[Challenge]) -> None:
    assert parse_challenges(header) == challenges


def test_bearer_is_found_behind_other_schemes() -> None:
    found = find_bearer('Basic realm="x", Bearer service="no realm", Bearer realm="https://auth.example"')
    assert found == Challenge("bearer", {"realm": "https://auth.example"})


@pytest.mark.parametrize("header", ["", "Basic realm=x", "Bearer", 'Bearer realm=""', 'Bearer service="x"'])
def test_bearer_without_a_realm_is_not_found(header: str) -> None:
    assert find_bearer(header) is None


@given(st.text(alphabet='Bearer realm="\\,= \tx', max_size=200))
def test_odd_text_is_parsed_without_an_error(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower() != ""


@pytest.mark.parametrize(
    "header",
    [
        *(unit * 100_000 for unit in ('"', 'a="', 'a="\\', ",", "a ", "=", 'Bearer a="b",')),
        "Bearer " + ",".join(f"a{number}=b" for number in range(60_000)),
    ],
    ids=lambda header: header[:12],
)
def test_endless_header_is_cut(header: str) -> None:
    started = time.process_time()
    parse_challenges(header)
    assert time.process_time() - started < 1
