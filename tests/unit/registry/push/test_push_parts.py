"""Uploads in parts: what a registry's answers are taken for."""

import pytest

from pullahead.errors import AccessDeniedError, ManifestRefusedError, RegistryUnavailableError, UploadLostError
from pullahead.oci.registries import Upload
from pullahead.registry.push import Locations, checked_location
from pullahead.registry.request import Inquiry
from tests.unit.registry.harness import FakeTime
from tests.unit.registry.push.harness import (
    BLOB,
    CONTENT,
    HANG_UP,
    REPOSITORY,
    SECRET,
    TIMEOUTS,
    UPLOADS,
    Reply,
    ScriptedRegistry,
    oci_error,
    target_of,
)

MIB = 1024 * 1024


def at(step: int, **headers: str) -> dict[str, str]:
    return {"Location": f"{UPLOADS}1?_state={SECRET}{step}", **headers}


def upload_of(registry: ScriptedRegistry) -> Upload:
    return Upload(f"http://{registry.host}{UPLOADS}1?_state={SECRET}0", 10 * MIB)


def test_address_that_moves_with_each_part_is_followed(registry: ScriptedRegistry) -> None:
    registry.on("POST", f"{UPLOADS}$", Reply(202, at(0)))
    registry.on("PATCH", f"{SECRET}0$", Reply(202, at(1, Range="0-9")))
    registry.on("PATCH", f"{SECRET}1$", Reply(202, at(2, Range="0-19")))
    registry.on("GET", f"{SECRET}2$", Reply(204, at(3, Range="0-19")))
    registry.on("PUT", f"{SECRET}3&digest={BLOB.digest}$", Reply(201))
    target = target_of(registry)
    upload = target.begin_upload(REPOSITORY)
    assert target.upload_part(REPOSITORY, upload, 0, CONTENT[:10]) == 10
    assert target.upload_part(REPOSITORY, upload, 10, CONTENT[10:]) == 20
    assert target.received_bytes(REPOSITORY, upload, 20) == 20
    target.complete_upload(REPOSITORY, upload, BLOB)
    assert registry.asked[2].headers["Content-Range"] == "10-19"


@pytest.mark.parametrize(
    ("least", "size"), [("", 10 * MIB), ("5242880", 10 * MIB), (str(20 * MIB), 20 * MIB), ("many", 10 * MIB)]
)
def test_parts_are_as_large_as_the_registry_wants(registry: ScriptedRegistry, least: str, size: int) -> None:
    registry.on("POST", UPLOADS, Reply(202, at(0, **{"OCI-Chunk-Min-Length": least})))
    assert target_of(registry).begin_upload(REPOSITORY).part_size == size


def test_parts_larger_than_memory_are_refused(registry: ScriptedRegistry) -> None:
    registry.on("POST", UPLOADS, Reply(202, at(0, **{"OCI-Chunk-Min-Length": str(10**12)})))
    with pytest.raises(ManifestRefusedError, match="too much for memory"):
        target_of(registry).begin_upload(REPOSITORY)


@pytest.mark.parametrize("answered", ["0-14", "0-2", "0-0"])
def test_part_that_was_appended_elsewhere_loses_the_upload(registry: ScriptedRegistry, answered: str) -> None:
    registry.on("PATCH", UPLOADS, Reply(202, at(1, Range=answered)))
    with pytest.raises(UploadLostError, match="another place") as caught:
        target_of(registry).upload_part(REPOSITORY, upload_of(registry), 0, b"0123456789")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("reply", [Reply(201, at(1, Range="0-4")), Reply(202, at(1)), Reply(202, {"Range": "0-9"})])
def test_part_that_was_taken_counts(registry: ScriptedRegistry, reply: Reply) -> None:
    """ECR answers 201 and a Range that stays behind; some answer no Range, or no new address."""
    registry.on("PATCH", UPLOADS, reply)
    assert target_of(registry).upload_part(REPOSITORY, upload_of(registry), 5, b"56789") == 10


def test_part_that_is_too_large_for_a_proxy_is_said_to_be_so(registry: ScriptedRegistry) -> None:
    registry.on("PATCH", UPLOADS, Reply(413, body=b"<html>Request Entity Too Large</html>"))
    with pytest.raises(
        ManifestRefusedError, match=r"too large for the registry, or for a proxy before it \(HTTP 413\)"
    ):
        target_of(registry).upload_part(REPOSITORY, upload_of(registry), 0, CONTENT)


def test_refused_offset_is_read_from_the_status(registry: ScriptedRegistry) -> None:
    registry.on("PATCH", UPLOADS, Reply(416, at(1, Range="0-4")))
    registry.on("GET", f"{SECRET}1$", Reply(204, at(1, Range="0-4")))
    assert target_of(registry).upload_part(REPOSITORY, upload_of(registry), 7, b"x") == 5


@pytest.mark.parametrize("reply", [Reply(503), HANG_UP])
def test_part_without_an_answer_is_not_sent_twice(registry: ScriptedRegistry, reply: Reply) -> None:
    time = FakeTime()
    registry.on("PATCH", UPLOADS, reply)
    with pytest.raises(RegistryUnavailableError):
        target_of(registry, time=time).upload_part(REPOSITORY, upload_of(registry), 0, b"x")
    assert (registry.count("PATCH"), time.slept) == (1, [])


@pytest.mark.parametrize(
    ("answered", "count"), [("0-0", 0), ("bytes=0-9", 10), ("0-9", 10), ("0-99999", 20), ("0-19", 20)]
)
def test_status_is_read(registry: ScriptedRegistry, answered: str, count: int) -> None:
    registry.on("GET", UPLOADS, Reply(204, {"Range": answered}))
    assert target_of(registry).received_bytes(REPOSITORY, upload_of(registry), 20) == count


@pytest.mark.parametrize("answered", ["", "5-9", "all", "0-" + "9" * 40])
def test_status_without_a_valid_range_loses_the_upload(registry: ScriptedRegistry, answered: str) -> None:
    registry.on("GET", UPLOADS, Reply(204, {"Range": answered} if answered else {}))
    with pytest.raises(UploadLostError):
        target_of(registry).received_bytes(REPOSITORY, upload_of(registry), 20)


def test_close_whose_answer_was_lost_is_a_success(registry: ScriptedRegistry) -> None:
    registry.on("PUT", UPLOADS, HANG_UP, oci_error(404, "BLOB_UPLOAD_UNKNOWN"))
    registry.on("HEAD", f"/blobs/{BLOB.digest}$", Reply(200))
    target_of(registry).complete_upload(REPOSITORY, upload_of(registry), BLOB)


def test_close_that_takes_longer_than_all_else_is_a_success(registry: ScriptedRegistry) -> None:
    """The registry reads the whole blob again."""
    time = FakeTime()
    registry.on("POST", UPLOADS, Reply(202, {"Location": f"{UPLOADS}1"}))
    registry.on("PUT", UPLOADS, Reply(201, meanwhile=lambda: time.sleep(2 * TIMEOUTS.total)))
    target = target_of(registry, time=time)
    target.complete_upload(REPOSITORY, target.begin_upload(REPOSITORY), BLOB)
    assert registry.count("PUT") == 1


def test_upload_that_is_gone_without_its_blob_is_lost(registry: ScriptedRegistry) -> None:
    registry.on("PUT", UPLOADS, oci_error(404, "BLOB_UPLOAD_UNKNOWN"))
    registry.on("HEAD", f"/blobs/{BLOB.digest}$", Reply(404))
    with pytest.raises(UploadLostError):
        target_of(registry).complete_upload(REPOSITORY, upload_of(registry), BLOB)


@pytest.mark.parametrize("forged", ["http://elsewhere.example/1", "file:///etc/passwd", "", "https://10.0.0.1/1"])
def test_upload_id_of_another_process_is_checked(registry: ScriptedRegistry, forged: str) -> None:
    with pytest.raises((AccessDeniedError, RegistryUnavailableError)):
        target_of(registry).upload_part(REPOSITORY, Upload(forged, 10), 0, b"x")
    assert registry.asked == []


def test_own_internal_host_is_allowed() -> None:
    base = "https://10.0.0.5:5000/v2/team/app/blobs/uploads/"
    location = "https://10.0.0.5:5001/1"
    assert checked_location(Inquiry("test", REPOSITORY), location, base, (), lambda _: False) == location


@pytest.mark.parametrize(
    ("location", "goes_on"),
    [
        ("http://registry.example/1?a=b", "https://registry.example/1?a=b"),
        ("http://registry.example:80/1", "https://registry.example/1"),
        ("https://registry.example:443/1", "https://registry.example/1"),
        ("HTTPS://Registry.Example/1", "https://registry.example/1"),
        ("//registry.example:443/1", "https://registry.example/1"),
        ("1", f"https://registry.example/v2/{REPOSITORY}/blobs/uploads/1"),
        ("../1", f"https://registry.example/v2/{REPOSITORY}/blobs/1"),
        ("?state=1", f"https://registry.example/v2/{REPOSITORY}/blobs/uploads/?state=1"),
        ("https://registry.example:5000/1", "https://registry.example:5000/1"),
        ("https://storage.example/1?signature=x", "https://storage.example/1?signature=x"),
    ],
)
def test_registry_that_is_asked_by_tls_is_so_wherever_its_upload_goes_on(location: str, goes_on: str) -> None:
    base = f"https://registry.example/v2/{REPOSITORY}/blobs/uploads/"
    found = checked_location(Inquiry("test", REPOSITORY), location, base, (), lambda _: False)
    assert found == goes_on


def test_number_of_known_uploads_is_bounded() -> None:
    locations = Locations()
    for number in range(1001):
        locations.move(f"upload {number}", "elsewhere")
    assert (locations.of("upload 0"), locations.of("upload 1000")) == ("upload 0", "elsewhere")
