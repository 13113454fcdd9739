"""Pages of a listing: what a Link says is followed, or the listing fails; it is never taken for the end."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pullahead.errors import RegistryUnavailableError
from pullahead.oci import media_types
from tests.unit.manners.conftest import Command
from tests.unit.manners.copying import IMAGE, reader, reference
from tests.unit.manners.registry import Asked, Headers, ImperfectRegistry, Reply, json_reply

NEXT = "/v2/team/app/tags/list?last=a"

FOLLOWED = [
    f'<{NEXT}>; rel="next"',
    f"<{NEXT}>; rel=next",
    f"<{NEXT}>; rel='next'",
    f'<{NEXT}>; REL="NEXT"',
    f'<{NEXT}>; rel = "next"',
    f'<{NEXT}>;rel="next";',
    f'<{NEXT}>; rel="last next"; title="a, b; c"',
    f"<{NEXT}>",
    f"<{NEXT}>; foo=bar",
    f'{NEXT}; rel="next"',
    f"{NEXT};rel=next",
    NEXT,
    '<?last=a>; rel="next"',
    "list?last=a",
    f'<https://127.0.0.1{NEXT}>; rel="next"',
    f'<{NEXT}&n=2>; rel="next"',
    '</v2/team/app/tags/list?n=2;last=a>; rel="next"',
    f'</v2/x?last=z>; rel="prev", <{NEXT}>; rel="next"',
    f', <{NEXT}>; rel="next", ',
]

REFUSED = [
    f"<{NEXT}",
    f"{NEXT}>; rel=next",
    f"<{NEXT}> rel=next",
    f"<{NEXT}>; rel=",
    f'<{NEXT}>; rel=""',
    f'<{NEXT}>; rel="next',
    f"{NEXT},b; rel=next",
    "<>; rel=next",
    "garbage",
    f'"{NEXT}"; rel="next"',
    "</v2/team/app/tags/list/2>; rel=next",
    f'<https://elsewhere.example{NEXT}>; rel="next"',
    "<//elsewhere.example/?last=a>; rel=next",
    f"<ftp://127.0.0.1{NEXT}>; rel=next",
    f'<{NEXT}>; rel="next", <{NEXT}b>; rel="next"',
    f'<{NEXT}>; rel="next"; ' + "x" * 9000,
]


def paged(first: object, second: object, headers: Headers) -> Callable[[Asked], Reply]:
    """Answer two pages, of which the first has these headers."""
    return lambda asked: json_reply(second) if "last=" in asked.target else json_reply(first, headers)


@pytest.mark.parametrize("link", FOLLOWED)
def test_link_is_followed(source: ImperfectRegistry, link: str) -> None:
    source.on("GET", "tags/list", paged({"tags": ["a"]}, {"tags": ["b"]}, {"Link": link}))
    assert reader().list_tags(reference(source).repository) == ("a", "b")


@pytest.mark.parametrize(
    "links",
    [
        [f'<{NEXT}>; rel="next"'] * 2,
        ["", f'<{NEXT}>; rel="next"'],
        ['</v2/x?last=z>; rel="first"', f"<{NEXT}>; rel=next"],
    ],
)
def test_several_headers_are_read(source: ImperfectRegistry, links: list[str]) -> None:
    source.on("GET", "tags/list", paged({"tags": ["a"]}, {"tags": ["b"]}, {"Link": links}))
    assert reader().list_tags(reference(source).repository) == ("a", "b")


@pytest.mark.parametrize("link", REFUSED)
def test_link_that_is_not_understood_is_an_error(source: ImperfectRegistry, link: str) -> None:
    source.on("GET", "tags/list", paged({"tags": ["a"]}, {"tags": ["b"]}, {"Link": link}))
    with pytest.raises(RegistryUnavailableError):
        reader().list_tags(reference(source).repository)


@pytest.mark.parametrize("headers", [{}, {"Link": ""}, {"Link": " "}, {"Link": '</v2/x>; rel="first"'}])
def test_listing_ends_where_nothing_leads_on(source: ImperfectRegistry, headers: Headers) -> None:
    source.on("GET", "tags/list", paged({"tags": ["a"]}, {"tags": ["b"]}, headers))
    assert reader().list_tags(reference(source).repository) == ("a",)


@pytest.mark.parametrize("link", FOLLOWED[:4])
def test_link_of_the_catalog_is_followed(source: ImperfectRegistry, link: str) -> None:
    pages = paged({"repositories": ["team/a"]}, {"repositories": ["team/b"]}, {"Link": link})
    source.on("GET", "_catalog", pages)
    assert reader().list_repositories(source.host, "team") == ("team/a", "team/b")


@pytest.mark.parametrize("link", REFUSED[:4])
@pytest.mark.parametrize("path", ["_catalog", "/referrers/"])
def test_other_listings_fail_alike(source: ImperfectRegistry, path: str, link: str) -> None:
    headers = {"Link": link, "Content-Type": media_types.OCI_INDEX}
    source.on("GET", path, json_reply({"repositories": ["team/a"], "manifests": []}, headers))
    listings: dict[str, Callable[[], object]] = {
        "_catalog": lambda: reader().list_repositories(source.host, "team"),
        "/referrers/": lambda: reader().list_referrers(reference(source), IMAGE.digest),
    }
    with pytest.raises(RegistryUnavailableError, match="Link"):
        listings[path]()


def test_command_lists_all_or_fails(
    command: Command, source: ImperfectRegistry, target: ImperfectRegistry, tmp_path: Path
) -> None:
    source.on("GET", "tags/list", paged({"tags": ["a"]}, {"tags": ["b"]}, {"Link": FOLLOWED[9]}), times=2)
    assert command("tags", f"{source.host}/team/app").out.split() == ["a", "b"]
    source.on("GET", "tags/list", paged({"tags": ["1.0"]}, {"tags": ["b"]}, {"Link": REFUSED[0]}))
    ran = command("tags", f"{source.host}/team/app")
    assert (ran.code, ran.out) == (1, "")
    assert "the Link header to the next page cannot be read" in ran.err
    rules = {
        "version": 1,
        "upstreams": {source.host: {"plain_http": True}},
        "mirrors": [{"upstream": f"{source.host}/team/app", "tags": ["*"], "repository": "mirror/app"}],
    }
    (tmp_path / "rules.yaml").write_text(json.dumps(rules))
    assert command("sync", str(tmp_path / "rules.yaml"), "--registry", target.host).code == 1
    assert target.manifests == {}
