"""What only saves work is not needed: HEAD, mounts, ranges, sizes of pages, one request for a blob, parts of one."""

from collections.abc import Callable

import pytest

from local.images import make_image
from pullahead.errors import AccessDeniedError, NotFoundError, RateLimitedError, RegistryError
from tests.unit.manners.conftest import Command, CopyCommand
from tests.unit.manners.copying import (
    IMAGE,
    TARGET,
    assert_copied,
    assert_not_published,
    copy,
    reader,
    reference,
    writer,
)
from tests.unit.manners.registry import HANG_UP, Answer, Asked, ImperfectRegistry, Reply, error_reply, json_reply

REFUSALS = [400, 401, 403, 404, 405, 406, 410, 415, 422, 500, 501]
LARGE = make_image([5_000_000], seed=4)


class TestHead:
    @pytest.mark.parametrize("status", REFUSALS)
    def test_get_decides_at_the_source(self, source: ImperfectRegistry, status: int) -> None:
        source.on("HEAD", "/manifests/", Reply(status))
        assert reader().head_manifest(reference(source)) == IMAGE.root.descriptor
        found = reader().find_manifest(reference(source))
        assert found == (
            None if status in (404, 410) else IMAGE.root.descriptor
        )  # what may well not exist costs no GET

    @pytest.mark.parametrize("status", REFUSALS)
    def test_get_decides_at_the_target(self, source: ImperfectRegistry, target: ImperfectRegistry, status: int) -> None:
        target.on("HEAD", "/manifests/", Reply(status))
        copy(source, target)
        assert_copied(target)
        assert copy(source, target).already_there == (status != 404)  # which is believed: another copy does no harm

    @pytest.mark.parametrize(
        ("status", "headers"),
        [
            (200, {"Content-Type": "text/html"}),
            (200, {"Content-Type": "application/json", "Content-Length": "0"}),
            (200, {"Content-Length": ""}),
            (200, {"Docker-Content-Digest": "", "Content-Type": "", "Content-Length": "1000"}),
            (200, {"Content-Encoding": "gzip"}),
            (204, {}),
        ],
    )
    def test_get_decides_where_the_answer_says_too_little(
        self, source: ImperfectRegistry, status: int, headers: dict[str, str]
    ) -> None:
        well = {"Content-Type": IMAGE.root.descriptor.media_type, "Docker-Content-Digest": IMAGE.digest}
        source.on("HEAD", "/manifests/", Reply(status, {**well, **headers}))
        assert reader().head_manifest(reference(source)) == IMAGE.root.descriptor

    def test_wrong_password_is_tried_once(self, source: ImperfectRegistry) -> None:
        source.on("", "/manifests/", Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}))
        with pytest.raises(AccessDeniedError):
            reader().head_manifest(reference(source))
        assert source.count("GET") == 0

    def test_rate_limit_is_no_refusal(self, source: ImperfectRegistry) -> None:
        source.on("HEAD", "/manifests/", Reply(429))
        with pytest.raises(RateLimitedError):
            reader().head_manifest(reference(source))
        assert source.count("GET") == 0

    @pytest.mark.parametrize("status", REFUSALS)
    def test_blob_that_cannot_be_asked_for_is_offered(self, target: ImperfectRegistry, status: int) -> None:
        target.on("HEAD", "/blobs/", Reply(status))
        assert writer(target, asks_presence=True).present_blobs(TARGET, list(IMAGE.blobs)) == frozenset()

    def test_whoever_may_only_write_is_let_write(self, source: ImperfectRegistry, target: ImperfectRegistry) -> None:
        target.on("HEAD", "", error_reply(403, "DENIED"))
        target.on("GET", "", error_reply(403, "DENIED"))
        copy(source, target)
        assert_copied(target)

    def test_tag_is_compared_by_get(self, command: Command, source: ImperfectRegistry) -> None:
        source.on("HEAD", "", Reply(405))
        assert command("inspect", f"{source.host}/team/app:1.0").code == 0


class TestMount:
    @pytest.mark.parametrize("status", [*REFUSALS, 409, 411, 412, 413, 416])
    def test_blob_is_uploaded_instead(self, source: ImperfectRegistry, target: ImperfectRegistry, status: int) -> None:
        target.on("POST", "mount=", Reply(status))
        copy(source, target)
        assert_copied(target)

    @pytest.mark.parametrize("status", REFUSALS)
    def test_blob_of_another_repository_is_uploaded_instead(self, source: ImperfectRegistry, status: int) -> None:
        """Within one registry, where the blobs of the source might be mounted."""
        source.on("POST", "mount=", Reply(status))
        copy(source, source)
        assert source.manifests["mirror/app", "1.0"][1] == IMAGE.root.content
        assert source.count("PUT", "/blobs/uploads/") == len(IMAGE.blobs)

    def test_token_service_that_grants_no_mount_is_asked_without(self, source: ImperfectRegistry) -> None:
        def grant(asked: Asked) -> Reply:
            return error_reply(403, "DENIED") if "team%2Fapp" in asked.target else json_reply({"token": "t"})

        def challenge(asked: Asked) -> Reply | None:
            if asked.method in ("GET", "HEAD") or asked.authorization == "Bearer t":
                return None
            return Reply(401, {"WWW-Authenticate": f'Bearer realm="{source.url}/token"'})

        source.on("GET", "^/token", grant)
        source.on("", "/v2/mirror/", challenge)
        copy(source, source)
        assert source.manifests["mirror/app", "1.0"][1] == IMAGE.root.content

    @pytest.mark.parametrize("status", [201, 202])
    def test_answer_without_a_mount_and_an_address_is_no_mount(
        self, source: ImperfectRegistry, target: ImperfectRegistry, status: int
    ) -> None:
        target.on("POST", "mount=", Reply(202))
        target.on("POST", "uploads/$", lambda asked: target.answer_well(asked)._replace(status=status))
        copy(source, target)
        assert_copied(target)

    def test_mount_that_was_made_is_used(self, source: ImperfectRegistry) -> None:
        assert copy(source, source).blobs_mounted == len(IMAGE.blobs)
        assert source.count("PUT", "/blobs/") == 0


class TestRange:
    @pytest.mark.parametrize("status", [200, 400, 401, 403, 405, 406, 415, 416, 501])
    def test_blob_is_read_from_its_beginning(
        self, source: ImperfectRegistry, target: ImperfectRegistry, status: int
    ) -> None:
        """After the first stream broke, which is resumed by a range."""
        blob = list(LARGE.blobs)[-1]
        source.hold(LARGE)
        broken = Reply(200, {"Content-Length": str(len(LARGE.read_blob(blob)))}, LARGE.read_blob(blob)[:1_000_000])

        def refuse(asked: Asked) -> Reply | None:
            if "range" not in asked.headers:
                return None
            return source.answer_well(Asked("GET", asked.target, {})) if status == 200 else Reply(status)

        source.on("GET", f"/blobs/{blob}", broken, times=1)
        source.on("GET", "/blobs/", refuse)
        copy(source, target)
        assert_copied(target, LARGE)

    @pytest.mark.parametrize(
        "headers",
        [
            {"Content-Range": ""},
            {"Content-Range": "bytes 0-1/5000000"},
            {"Content-Range": "items 1-2/3"},
            {"Content-Encoding": "gzip", "Content-Range": "bytes 5-9/50"},
        ],
    )
    def test_another_range_is_not_taken_for_the_one_that_was_asked_for(
        self, source: ImperfectRegistry, target: ImperfectRegistry, headers: dict[str, str]
    ) -> None:
        blob = list(LARGE.blobs)[-1]
        source.hold(LARGE)
        broken = Reply(200, {"Content-Length": str(len(LARGE.read_blob(blob)))}, LARGE.read_blob(blob)[:1_000_000])
        source.on("GET", f"/blobs/{blob}", broken, times=1)
        source.on("GET", "/blobs/", lambda asked: Reply(206, headers, b"x" * 5) if "range" in asked.headers else None)
        copy(source, target)
        assert_copied(target, LARGE)


class TestPageSize:
    @pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 416, 422, 500, 501])
    def test_tags_are_asked_for_without_a_size(self, source: ImperfectRegistry, status: int) -> None:
        source.on("GET", "[?&]n=", Reply(status))
        assert reader().list_tags(reference(source).repository) == ("1.0",)

    @pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 416, 422, 500, 501])
    def test_repositories_are_asked_for_without_a_size(self, source: ImperfectRegistry, status: int) -> None:
        source.on("GET", "[?&]n=", Reply(status))
        assert reader().list_repositories(source.host, "team") == ("team/app",)

    @pytest.mark.parametrize("path", ["tags/list", "_catalog"])
    def test_smaller_pages_are_asked_for_first(self, source: ImperfectRegistry, path: str) -> None:
        source.on("GET", "n=1000", error_reply(400, "PAGINATION_NUMBER_INVALID", "invalid number of results"))
        reader().list_tags(reference(source).repository)
        reader().list_repositories(source.host, "team")
        assert [asked.query["n"] for asked in source.asked if asked.path.endswith(path)] == ["1000", "100"]

    def test_missing_repository_is_asked_for_once(self, source: ImperfectRegistry) -> None:
        with pytest.raises(NotFoundError):
            reader().list_tags(reference(source, repository="team/missing").repository)
        assert source.count("GET") == 1

    def test_registry_that_does_not_answer_is_not_asked_for_less(self, source: ImperfectRegistry) -> None:
        source.on("GET", "tags/list", Reply(503))
        with pytest.raises(RegistryError, match="HTTP 503"):
            reader().list_tags(reference(source).repository)
        assert source.count("GET", "n=1000") == source.count("GET") == 3


def whole(reply: Reply) -> Answer:
    """Answer so to a blob that comes in one request."""
    return lambda asked: reply if asked.body else None


class TestUpload:
    @pytest.mark.parametrize("status", [400, 403, 404, 405, 411, 413, 415, 501])
    def test_blob_goes_in_parts_where_one_request_is_refused(
        self, source: ImperfectRegistry, target: ImperfectRegistry, status: int
    ) -> None:
        target.on("PUT", "/blobs/uploads/", whole(Reply(status)))
        copy(source, target)
        assert_copied(target)
        assert target.count("PATCH") == len(IMAGE.blobs)

    @pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 415, 501])
    def test_blob_goes_in_one_request_where_parts_are_refused(
        self, source: ImperfectRegistry, target: ImperfectRegistry, status: int
    ) -> None:
        """After one stream broke."""
        source.hold(LARGE)
        target.on("PUT", "/blobs/uploads/", lambda asked: HANG_UP if len(asked.body) > 1_000_000 else None, times=1)
        target.on("PATCH", "", Reply(status))
        copy(source, target)
        assert_copied(target, LARGE)

    @pytest.mark.parametrize(
        "refusal",
        [
            error_reply(403, "DENIED", "over quota"),
            error_reply(400, "DIGEST_INVALID", "not these bytes"),
            error_reply(404, "NAME_UNKNOWN", "no such repository"),
        ],
    )
    def test_blob_that_is_refused_for_a_reason_is_not_sent_again(
        self, source: ImperfectRegistry, target: ImperfectRegistry, refusal: Reply
    ) -> None:
        target.on("PUT", "/blobs/uploads/", refusal)
        with pytest.raises(RegistryError):
            copy(source, target)
        assert_not_published(target)
        assert target.count("PATCH") == 0
        assert {target.count("PUT", digest) for digest in IMAGE.blobs} <= {0, 1}

    @pytest.mark.parametrize("status", [404, 405, 501])
    def test_upload_whose_progress_cannot_be_asked_for_begins_anew(
        self, source: ImperfectRegistry, target: ImperfectRegistry, status: int
    ) -> None:
        """After one stream and one part broke."""
        source.hold(LARGE)
        target.on("PUT", "/blobs/uploads/", lambda asked: HANG_UP if len(asked.body) > 1_000_000 else None)
        target.on("PATCH", "", HANG_UP, times=1)
        target.on("GET", "/blobs/uploads/", Reply(status))
        copy(source, target)
        assert_copied(target, LARGE)


@pytest.mark.parametrize(
    ("method", "pattern"),
    [("HEAD", "/manifests/"), ("POST", "mount="), ("PUT", "/blobs/uploads/.*digest=")],
)
def test_refusal_is_not_seen_by_the_user(
    copy_command: CopyCommand, target: ImperfectRegistry, method: str, pattern: str
) -> None:
    answer: Callable[[Asked], Reply | None] = whole(Reply(405)) if method == "PUT" else lambda _: Reply(405)
    target.on(method, pattern, answer)
    ran = copy_command()
    assert (ran.code, ran.err.count("failed")) == (0, 0)
    assert_copied(target)
