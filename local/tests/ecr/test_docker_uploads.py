"""Pushing blobs by /v2: sessions, parts, chunked bodies, and ECR's own ways."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from local.tests.ecr.harness import (
    MIB,
    RunningEcr,
    digest_of,
    image_manifest,
    oci_error,
    put,
    refused,
    send_cut_request,
    upload,
)

REPOSITORY = "team/app"
TIMEOUT = 10


@pytest.fixture
def session(registry: RunningEcr) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers.update(registry.authorization())
        yield session


def start(registry: RunningEcr, session: requests.Session, query: str = "", repository: str = REPOSITORY) -> str:
    """Open an upload and give its Location."""
    response = session.post(f"{registry.url}/v2/{repository}/blobs/uploads/{query}", timeout=TIMEOUT)
    assert response.status_code == 202
    assert response.headers["Location"].endswith(response.headers["Docker-Upload-UUID"])
    return response.headers["Location"]


def finish(session: requests.Session, location: str, digest: str, data: object = b"") -> requests.Response:
    return session.put(location, params={"digest": digest}, data=data, timeout=TIMEOUT)  # type: ignore[arg-type]


def has_blob(registry: RunningEcr, session: requests.Session, digest: str) -> bool:
    response = session.head(f"{registry.url}/v2/{REPOSITORY}/blobs/{digest}", timeout=TIMEOUT)
    assert response.status_code in (200, 404)
    return response.status_code == 200


def test_post_and_one_put_make_a_blob(registry: RunningEcr, session: requests.Session) -> None:
    response = finish(session, start(registry, session), digest_of(b"blob"), b"blob")
    assert response.status_code == 201
    assert response.headers["Docker-Content-Digest"] == digest_of(b"blob")
    assert response.headers["Location"] == f"{registry.url}/v2/{REPOSITORY}/blobs/{digest_of(b'blob')}"
    answer = registry.client.batch_check_layer_availability(
        repositoryName=REPOSITORY, layerDigests=[digest_of(b"blob")]
    )
    assert answer["layers"][0]["layerAvailability"] == "AVAILABLE"


def test_chunked_body_without_length_is_taken_whole(registry: RunningEcr, session: requests.Session) -> None:
    pieces = [bytes([n]) * (n * 1000 + 1) for n in range(50)]
    data = b"".join(pieces)
    assert finish(session, start(registry, session), digest_of(data), iter(pieces)).status_code == 201
    head = session.head(f"{registry.url}/v2/{REPOSITORY}/blobs/{digest_of(data)}", timeout=TIMEOUT)
    assert head.headers["Content-Length"] == str(len(data))


def test_patch_answers_201_and_a_range_that_gets_stale(registry: RunningEcr, session: requests.Session) -> None:
    """ECR's ways: the specification says 202, and a Range up to the last byte."""
    location = start(registry, session)
    ranges = []
    for _ in range(2):
        response = session.patch(location, data=bytes(5 * MIB), timeout=TIMEOUT)
        assert response.status_code == 201
        ranges.append(response.headers["Range"])
        location = response.headers["Location"]
    assert ranges == [f"0-{5 * MIB - 1}"] * 2
    status = session.get(location, timeout=TIMEOUT)
    assert (status.status_code, status.headers["Range"]) == (204, f"0-{10 * MIB - 1}")
    data = bytes(10 * MIB) + b"end"
    assert finish(session, location, digest_of(data), b"end").status_code == 201


def test_empty_put_after_a_patch_closes_the_upload(registry: RunningEcr, session: requests.Session) -> None:
    location = start(registry, session)
    session.patch(location, data=b"all of it", timeout=TIMEOUT)
    assert finish(session, location, digest_of(b"all of it")).status_code == 201


def test_small_part_in_the_middle_is_refused(registry: RunningEcr, session: requests.Session) -> None:
    location = start(registry, session)
    session.patch(location, data=b"small", timeout=TIMEOUT)
    assert oci_error(finish(session, location, digest_of(b"smallend"), b"end")) == (400, "BLOB_UPLOAD_INVALID")
    assert not has_blob(registry, session, digest_of(b"smallend"))


@pytest.mark.parametrize(
    ("content_range", "expected"),
    [
        ("5-9", (416, "BLOB_UPLOAD_INVALID")),
        ("nonsense", (416, "BLOB_UPLOAD_INVALID")),
        ("0-99", (400, "SIZE_INVALID")),
        ("0-1", (400, "SIZE_INVALID")),
    ],
)
def test_content_range_that_does_not_fit_leaves_the_upload_as_it_was(
    registry: RunningEcr, session: requests.Session, content_range: str, expected: tuple[int, str]
) -> None:
    location = start(registry, session)
    wrong = session.patch(location, data=b"wrong", headers={"Content-Range": content_range}, timeout=TIMEOUT)
    assert oci_error(wrong) == expected
    right = session.patch(location, data=b"right", headers={"Content-Range": "0-4"}, timeout=TIMEOUT)
    assert right.status_code == 201
    assert finish(session, location, digest_of(b"right")).status_code == 201


@pytest.mark.parametrize("chunked", [False, True], ids=["by its length", "chunked"])
def test_client_killed_inside_a_body_leaves_the_upload_as_it_was(
    registry: RunningEcr, session: requests.Session, chunked: bool
) -> None:
    location = start(registry, session)
    body = b"5\r\nfirst\r\n5\r\nsec" if chunked else b"first sec"
    length = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": "100"}
    path = urlsplit(location).path
    answer = send_cut_request(registry.url, "PATCH", path, {**registry.authorization(), **length}, body)
    assert answer.startswith(b"HTTP/1.1 400")
    assert session.get(location, timeout=TIMEOUT).headers["Range"] == "0-0"
    assert finish(session, location, digest_of(b"again"), b"again").status_code == 201


def test_tail_of_a_part_that_was_cut_off_is_not_in_the_blob(registry: RunningEcr, session: requests.Session) -> None:
    """The beginning of a long part is on disk before its end fails to come."""
    location = start(registry, session)
    headers = {**registry.authorization(), "Content-Length": str(2 * MIB)}
    send_cut_request(registry.url, "PATCH", urlsplit(location).path, headers, b"x" * MIB)
    assert finish(session, location, digest_of(b"layer"), b"layer").status_code == 201
    upload(registry.client, REPOSITORY, b"config")
    put(registry.client, REPOSITORY, image_manifest(b"config", [b"layer"]), "latest")
    blob = session.get(f"{registry.url}/v2/{REPOSITORY}/blobs/{digest_of(b'layer')}", timeout=TIMEOUT)
    assert blob.content == b"layer"


def test_put_cut_short_makes_no_blob(registry: RunningEcr, session: requests.Session) -> None:
    path = f"{urlsplit(start(registry, session)).path}?digest={digest_of(b'cut')}"
    headers = {**registry.authorization(), "Content-Length": "100"}
    assert send_cut_request(registry.url, "PUT", path, headers, b"cut").startswith(b"HTTP/1.1 400")
    assert not has_blob(registry, session, digest_of(b"cut"))


def test_wrong_digest_makes_no_blob(registry: RunningEcr, session: requests.Session) -> None:
    response = finish(session, start(registry, session), digest_of(b"lie"), b"truth")
    assert oci_error(response) == (400, "DIGEST_INVALID")
    assert not has_blob(registry, session, digest_of(b"lie"))
    assert not has_blob(registry, session, digest_of(b"truth"))


def test_put_without_a_digest_is_refused(registry: RunningEcr, session: requests.Session) -> None:
    response = session.put(start(registry, session), data=b"x", timeout=TIMEOUT)
    assert oci_error(response) == (400, "DIGEST_INVALID")


def test_empty_blob_is_refused(registry: RunningEcr, session: requests.Session) -> None:
    assert oci_error(finish(session, start(registry, session), digest_of(b""))) == (400, "BLOB_UPLOAD_INVALID")


def test_blob_that_is_there_already_is_no_error(registry: RunningEcr, session: requests.Session) -> None:
    upload(registry.client, REPOSITORY, b"twice")
    assert finish(session, start(registry, session), digest_of(b"twice"), b"twice").status_code == 201


def test_mount_opens_an_upload_instead(registry: RunningEcr, session: requests.Session) -> None:
    """BLOB_MOUNTING is off, as it is in an account that never set it."""
    registry.client.create_repository(repositoryName="team/other")
    digest = upload(registry.client, "team/other", b"mine")
    location = start(registry, session, f"?mount={digest}&from=team/other")
    assert not has_blob(registry, session, digest)
    assert finish(session, location, digest, b"mine").status_code == 201


def test_upload_in_one_post_opens_an_upload_instead(registry: RunningEcr, session: requests.Session) -> None:
    location = start(registry, session, f"?digest={digest_of(b'x')}")
    assert finish(session, location, digest_of(b"x"), b"x").status_code == 201


def test_push_does_not_make_a_repository(registry: RunningEcr, session: requests.Session) -> None:
    response = session.post(f"{registry.url}/v2/team/new/blobs/uploads/", timeout=TIMEOUT)
    assert oci_error(response) == (404, "NAME_UNKNOWN")
    assert len(registry.client.describe_repositories()["repositories"]) == 1


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT"])
def test_upload_that_is_gone_is_unknown(registry: RunningEcr, session: requests.Session, method: str) -> None:
    location = start(registry, session)
    registry.ecr.forget_uploads(REPOSITORY)
    response = session.request(method, location, params={"digest": digest_of(b"x")}, data=b"x", timeout=TIMEOUT)
    assert oci_error(response) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_upload_belongs_to_its_repository(registry: RunningEcr, session: requests.Session) -> None:
    registry.client.create_repository(repositoryName="team/other")
    location = start(registry, session).replace(REPOSITORY, "team/other")
    assert oci_error(session.patch(location, data=b"x", timeout=TIMEOUT)) == (404, "BLOB_UPLOAD_UNKNOWN")


class TestMountsThatTheAccountAllows:
    @pytest.fixture(autouse=True)
    def allowed(self, registry: RunningEcr) -> None:
        registry.client.create_repository(repositoryName="team/other")
        registry.client.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")

    def test_layer_of_an_image_is_mounted(self, registry: RunningEcr, session: requests.Session) -> None:
        config, layer = (upload(registry.client, "team/other", data) for data in (b"{}", b"mine"))
        registry.client.put_image(repositoryName="team/other", imageManifest=image_manifest(b"{}", [b"mine"]))
        for digest in (config, layer):
            answer = session.post(
                f"{registry.url}/v2/{REPOSITORY}/blobs/uploads/?mount={digest}&from=team/other", timeout=TIMEOUT
            )
            assert answer.status_code == 201
            assert has_blob(registry, session, digest)

    def test_layer_of_no_image_is_not(self, registry: RunningEcr, session: requests.Session) -> None:
        digest = upload(registry.client, "team/other", b"mine")
        start(registry, session, f"?mount={digest}&from=team/other")
        assert not has_blob(registry, session, digest)

    def test_missing_repository_opens_an_upload(self, registry: RunningEcr, session: requests.Session) -> None:
        start(registry, session, f"?mount={digest_of(b'mine')}&from=team/missing")

    def test_unknown_setting_is_refused(self, registry: RunningEcr) -> None:
        with refused("InvalidParameterException", "no account setting"):
            registry.client.get_account_setting(name="NONSENSE")
        with refused("InvalidParameterException", "no value"):
            registry.client.put_account_setting(name="BLOB_MOUNTING", value="PERHAPS")
