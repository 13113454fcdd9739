"""Every way in which a registry redirects, at the source and at the target: followed by the same method, or refused."""

from collections.abc import Callable

import pytest

from pullahead.errors import AccessDeniedError, RegistryError, RegistryUnavailableError
from pullahead.registry.credentials import Credential
from tests.unit.manners.conftest import CopyCommand
from tests.unit.manners.copying import IMAGE, assert_copied, assert_not_published, copy, reader, reference, writer
from tests.unit.manners.registry import Asked, ImperfectRegistry, Reply, error_reply

STATUSES = [301, 302, 303, 307, 308]
FORMS = ["{path}", "{url}{path}", "//{host}{path}", "{path}#x", "?{query}"]
CREDENTIAL = Credential("me", "s3cr3t")

OF_THE_SOURCE = [
    ("GET", "/manifests/"),
    ("GET", "/blobs/"),
    ("HEAD", "/manifests/"),
    ("GET", "tags/list"),
    ("GET", "_catalog"),
]
READ_AT_THE_TARGET = [("HEAD", "/manifests/"), ("GET", "/manifests/"), ("HEAD", "/blobs/"), ("GET", "/uploads/")]
WRITTEN = [
    ("POST", "mount="),
    ("POST", "uploads/$"),
    ("PUT", "/uploads/"),
    ("PATCH", "/uploads/"),
    ("PUT", "/manifests/"),
]


def redirect(registry: ImperfectRegistry, method: str, pattern: str, status: int, form: str = "{path}") -> None:
    """Let a registry redirect requests to where it answers them."""

    def answer(asked: Asked) -> Reply | None:
        if "moved=1" in asked.target:
            return None
        query = asked.target.partition("?")[2]
        query = f"{query}&moved=1" if query else "moved=1"
        path = f"{asked.path}?{query}"
        location = form.format(path=path, url=registry.url, host=registry.host, query=query)
        return Reply(status, {"Location": location}, b"<html>moved</html>")

    registry.on(method, pattern, answer)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("method", "pattern"), OF_THE_SOURCE)
def test_source_that_redirects_is_followed(
    source: ImperfectRegistry, target: ImperfectRegistry, method: str, pattern: str, status: int
) -> None:
    redirect(source, method, pattern, status)
    upstream = reader()
    assert upstream.head_manifest(reference(source)) == IMAGE.root.descriptor
    assert upstream.list_tags(reference(source).repository) == ("1.0",)
    assert upstream.list_repositories(source.host, "team") == ("team/app",)
    copy(source, target)
    assert_copied(target)
    assert source.count(method, "moved=1") > 0


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("method", "pattern"), READ_AT_THE_TARGET)
def test_target_that_redirects_what_is_read_is_followed(
    source: ImperfectRegistry, target: ImperfectRegistry, method: str, pattern: str, status: int
) -> None:
    redirect(target, method, pattern, status)
    in_parts(target)
    copy(source, target)
    assert_copied(target)
    assert copy(source, target).already_there
    assert writer(target, asks_presence=True).present_blobs("mirror/app", list(IMAGE.blobs)) == set(IMAGE.blobs)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(("method", "pattern"), WRITTEN)
def test_target_that_redirects_what_is_written_gets_it_at_the_other_place(
    source: ImperfectRegistry, target: ImperfectRegistry, method: str, pattern: str, status: int
) -> None:
    redirect(target, method, pattern, status)
    if method == "PATCH" or pattern == "uploads/$":
        in_parts(target)
    copy(source, target)
    assert_copied(target)
    assert target.count(method, "moved=1") > 0


def in_parts(target: ImperfectRegistry) -> None:
    """Let a target accept parts only."""
    target.on("PUT", "/uploads/", lambda asked: Reply(413) if asked.body else None)


@pytest.mark.parametrize(("method", "pattern"), WRITTEN)
def test_see_other_is_no_place_to_write_to(
    source: ImperfectRegistry, target: ImperfectRegistry, method: str, pattern: str
) -> None:
    """RFC 9110, section 15.4.4: it names the result of a request that is done."""
    redirect(target, method, pattern, 303)
    if method == "PATCH":
        in_parts(target)
    if pattern == "uploads/$":
        target.on("POST", "mount=", Reply(404))
    if (method, pattern) == ("POST", "mount="):
        copy(source, target)  # without the mount
        return
    with pytest.raises(RegistryError, match="HTTP 303"):
        copy(source, target)
    assert_not_published(target)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("side", ["source", "target"])
def test_address_of_any_form_is_followed(
    source: ImperfectRegistry, target: ImperfectRegistry, side: str, form: str
) -> None:
    for method in ("GET", "HEAD", "POST", "PUT"):
        redirect(source if side == "source" else target, method, "", 307, form)
    copy(source, target)
    assert_copied(target)


@pytest.mark.parametrize("location", [None, "", "ftp://x/", "http://a:b@x/", "http://[", "\x7f"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_redirect_that_leads_nowhere_is_an_error(
    source: ImperfectRegistry, target: ImperfectRegistry, side: str, location: str | None
) -> None:
    headers = {} if location is None else {"Location": location}
    registry, method = (source, "GET") if side == "source" else (target, "HEAD")
    registry.on(method, "", Reply(307, headers))
    with pytest.raises(RegistryUnavailableError, match="redirected to an invalid address"):
        copy(source, target)
    assert_not_published(target)


@pytest.mark.parametrize(("side", "method"), [("source", "GET"), ("target", "HEAD"), ("target", "PUT")])
def test_circle_is_an_error(source: ImperfectRegistry, target: ImperfectRegistry, side: str, method: str) -> None:
    registry = source if side == "source" else target
    registry.on(method, "", lambda asked: Reply(307, {"Location": asked.target}))
    with pytest.raises(RegistryUnavailableError, match="redirected more than 5 times"):
        copy(source, target)
    assert_not_published(target)


@pytest.mark.parametrize("values", [2, 3])
def test_address_may_stand_twice(source: ImperfectRegistry, target: ImperfectRegistry, values: int) -> None:
    def answer(asked: Asked) -> Reply | None:
        moved = f"{asked.path}?a=1,2&moved=1"
        return None if "moved=1" in asked.target else Reply(307, {"Location": [moved] * values})

    source.on("GET", "", answer)
    copy(source, target)
    assert_copied(target)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_login_does_not_follow_to_another_host(
    source: ImperfectRegistry, target: ImperfectRegistry, status: int
) -> None:
    """Neither when something is read nor when something is written."""

    def leads_to(other: ImperfectRegistry) -> Callable[[Asked], Reply]:
        def answer(asked: Asked) -> Reply:
            if asked.authorization:
                return Reply(status, {"Location": f"{other.url}/elsewhere"})
            return Reply(401, {"WWW-Authenticate": 'Basic realm="r"'})

        return answer

    for registry, other in ((source, target), (target, source)):
        registry.on("", "login", leads_to(other))
        registry.on("", "elsewhere", Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}))
    with pytest.raises(AccessDeniedError):
        reader(lambda _: CREDENTIAL).head_manifest(reference(source, repository="team/login"))
    with pytest.raises(AccessDeniedError):
        writer(target, lambda _: CREDENTIAL).put_manifest("mirror/login", IMAGE.root, "1.0")
    elsewhere = [asked for asked in (*source.asked, *target.asked) if "elsewhere" in asked.target]
    assert {asked.authorization for asked in elsewhere} == {None}
    assert {asked.method for asked in elsewhere} >= {"HEAD", "PUT"}


def test_login_follows_within_the_registry(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    def answer(asked: Asked) -> Reply | None:
        return None if asked.authorization else Reply(401, {"WWW-Authenticate": 'Basic realm="r"'})

    target.on("", "moved=1", answer)
    redirect(target, "", "", 307)
    destination = writer(target, lambda _: CREDENTIAL)
    destination.put_manifest("mirror/app", IMAGE.root, "1.0")
    assert destination.published_digests("mirror/app", ["1.0"]) == {"1.0": IMAGE.digest}


def test_blob_may_be_written_elsewhere(
    copy_command: CopyCommand, source: ImperfectRegistry, target: ImperfectRegistry
) -> None:
    """At a host that is allowed, as an upload's own address may be."""
    target.on(
        "PUT",
        "/uploads/",
        lambda asked: (
            Reply(307, {"Location": f"http://{target.other_name}{asked.target}&at=2"})
            if "at=2" not in asked.target
            else None
        ),
    )
    assert copy_command(insecure=[target.other_name]).code == 0
    assert_copied(target)
    target.manifests.clear()
    target.blobs.clear()
    assert f"{target.other_name} is asked by plain HTTP, which is refused" in copy_command().failure
    assert_not_published(target)


def test_storage_that_fails_is_named(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    source.on("GET", "/blobs/", Reply(307, {"Location": "http://localhost:1/storage?signature=s3cr3t"}))
    with pytest.raises(RegistryUnavailableError, match="localhost:1: connection refused") as caught:
        copy(source, target)
    assert "s3cr3t" not in str(caught.value)


def test_storage_that_denies_is_named(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    source.on("GET", "/blobs/", Reply(307, {"Location": f"{target.url}/storage?signature=s3cr3t"}))
    target.on("GET", "/storage", error_reply(403, "EXPIRED", "signature s3cr3t"))
    with pytest.raises(AccessDeniedError, match=f"access denied by {target.host}, to which the registry redirects"):
        copy(source, target)
