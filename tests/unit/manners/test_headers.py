"""Headers that proof does not need: twice, empty, in quotes, or of another form than specified. The bytes decide."""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence

import pytest

from pullahead.errors import DigestMismatchError, RegistryUnavailableError
from pullahead.oci import Descriptor, digest_of, media_types
from tests.unit.manners.conftest import CopyCommand
from tests.unit.manners.copying import IMAGE, assert_copied, assert_not_published, copy, reader, reference, writer
from tests.unit.manners.registry import HANG_UP, Asked, ImperfectRegistry, Reply

Form = Callable[[str], str | Sequence[str]]

FORMS: Mapping[str, Form] = {
    "twice": lambda value: [value, value],
    "three times": lambda value: [value] * 3,
    "twice in one": lambda value: f"{value},{value}",
    "quoted": lambda value: f'"{value}"',
    "quoted twice": lambda value: [f'"{value}"', f'"{value}"'],
    "with spaces": lambda value: f"  {value}  ",
    "empty": lambda _: "",
}


def written(registry: ImperfectRegistry, form: Form, names: Collection[str] = (), spared: Collection[str] = ()) -> None:
    """Let a registry write headers of these names, or all but those that are spared, in another form."""

    def answer(asked: Asked) -> Reply:
        reply = registry.answer_well(asked)
        headers = {"Content-Length": str(len(reply.body)), "Content-Encoding": "identity", **reply.headers}
        changed = [name for name in headers if (name in names if names else name not in spared)]
        return reply._replace(headers={**headers, **{name: form(str(headers[name])) for name in changed}})

    registry.on("", "", answer)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "empty"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_headers_in_another_form_do_not_matter(
    source: ImperfectRegistry, target: ImperfectRegistry, form: str, side: str
) -> None:
    written(source if side == "source" else target, FORMS[form])
    copy(source, target)
    assert_copied(target)
    assert copy(source, target).already_there


@pytest.mark.parametrize("side", ["source", "target"])
def test_empty_headers_are_as_good_as_absent(source: ImperfectRegistry, target: ImperfectRegistry, side: str) -> None:
    written(source if side == "source" else target, FORMS["empty"], spared=["Content-Length", "Location"])
    copy(source, target)
    assert_copied(target)


@pytest.mark.parametrize(
    "name",
    [
        "Content-Encoding",
        "Content-Range",
        "Date",
        "Docker-Content-Digest",
        "Link",
        "OCI-Chunk-Min-Length",
        "RateLimit-Limit",
        "Retry-After",
        "WWW-Authenticate",
    ],
)
def test_header_that_is_always_there_and_empty_does_not_matter(
    source: ImperfectRegistry, target: ImperfectRegistry, name: str
) -> None:
    for registry in (source, target):
        registry.on("", "", with_header(registry, name))
    copy(source, target)
    assert_copied(target)


def with_header(registry: ImperfectRegistry, name: str) -> Callable[[Asked], Reply]:
    def answer(asked: Asked) -> Reply:
        reply = registry.answer_well(asked)
        return reply._replace(headers={**reply.headers, name: ""})

    return answer


@pytest.mark.parametrize("form", [form for form in FORMS if form != "empty"])
def test_headers_of_an_upload_in_parts_may_be_in_another_form(
    source: ImperfectRegistry, target: ImperfectRegistry, form: str
) -> None:
    target.on("PUT", "/blobs/uploads/", lambda asked: Reply(413) if asked.body else None)
    target.on("PATCH", "", HANG_UP, times=1)  # then its progress is asked for
    written(target, FORMS[form], ["Range", "Location"])
    copy(source, target)
    assert_copied(target)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "empty"])
def test_range_in_another_form_is_read(source: ImperfectRegistry, target: ImperfectRegistry, form: str) -> None:
    """After the first stream broke, which is resumed by a range."""
    blob = next(digest for digest in IMAGE.blobs if len(IMAGE.blobs[digest]) == 3000)
    source.on("GET", f"/blobs/{blob}", Reply(200, {"Content-Length": "3000"}, IMAGE.read_blob(blob)[:1000]), times=1)
    written(source, FORMS[form], ["Content-Range"])
    copy(source, target)
    assert_copied(target)
    assert [asked.headers.get("range") for asked in source.asked if blob in asked.target] == [None, "bytes=1000-"]


def digests(*values: str) -> Callable[[str], str | Sequence[str]]:
    return lambda _: values


WRONG = digest_of(b"something else")
SHA512 = digest_of(IMAGE.root.content, "sha512")


@pytest.mark.parametrize(
    "values",
    [
        [IMAGE.digest, IMAGE.digest],
        [IMAGE.digest, ""],
        ["", IMAGE.digest],
        [IMAGE.digest, "none"],
        [f'"{IMAGE.digest}"'],
        [IMAGE.digest.upper()],
        ["sha256:beef"],
        [IMAGE.digest.removeprefix("sha256:")],
        [f'W/"{IMAGE.digest}"'],
        ["null"],
        [""],
        [IMAGE.digest, SHA512],
        [SHA512, IMAGE.digest],
    ],
)
@pytest.mark.parametrize("side", ["source", "target"])
def test_what_is_no_digest_is_as_good_as_absent(
    source: ImperfectRegistry, target: ImperfectRegistry, values: list[str], side: str
) -> None:
    written(source if side == "source" else target, digests(*values), ["Docker-Content-Digest"])
    assert reader().head_manifest(reference(source)).digest == IMAGE.digest
    for digest in IMAGE.blobs:
        target.blobs[digest] = IMAGE.read_blob(digest)  # of which the header is another one
    copy(source, target)
    assert_copied(target)


@pytest.mark.parametrize(
    "values", [[WRONG], [WRONG, WRONG], [f'"{WRONG}"'], [IMAGE.digest, WRONG], [WRONG, IMAGE.digest]]
)
@pytest.mark.parametrize("side", ["source", "target"])
def test_wrong_digest_is_an_error(
    copy_command: CopyCommand, source: ImperfectRegistry, target: ImperfectRegistry, values: list[str], side: str
) -> None:
    registry, method = (source, "GET") if side == "source" else (target, "PUT")
    registry.on(
        method,
        "/manifests/",
        lambda asked: registry.answer_well(asked)._replace(
            headers={"Content-Type": media_types.OCI_MANIFEST, "Docker-Content-Digest": values}
        ),
    )
    failure = copy_command().failure
    assert "digest" in failure
    if side == "source":
        assert_not_published(target)


@pytest.mark.parametrize(
    "value", ["application/json", "text/plain; charset=utf-8", "application/octet-stream", "", "x"]
)
def test_generic_media_type_is_that_of_the_content(
    source: ImperfectRegistry, target: ImperfectRegistry, value: str
) -> None:
    written(source, lambda _: value, ["Content-Type"])
    copy(source, target)
    assert_copied(target)
    assert target.manifests["mirror/app", "1.0"][0] == media_types.OCI_MANIFEST


def test_wrong_bytes_under_the_right_header_are_an_error(source: ImperfectRegistry, target: ImperfectRegistry) -> None:
    source.on(
        "GET",
        f"/manifests/{IMAGE.digest}",
        Reply(200, {"Docker-Content-Digest": IMAGE.digest, "Content-Type": media_types.OCI_MANIFEST}, b"{}"),
    )
    with pytest.raises(DigestMismatchError):
        reader().get_manifest(reference(source).at(IMAGE.digest))


# --- where an upload goes on ------------------------------------------------------------------------------------------


def uploads_at(registry: ImperfectRegistry, address: Callable[[str], str]) -> None:
    """Let a registry say otherwise where uploads go on; `address` is given the path."""

    def answer(asked: Asked) -> Reply:
        reply = registry.answer_well(asked)
        path = reply.headers.get("Location")
        return reply if path is None else reply._replace(headers={**reply.headers, "Location": address(str(path))})

    registry.on("", "/uploads/", answer)


@pytest.mark.parametrize(
    "form",
    [
        "{path}",
        "http://{host}{path}",
        "HTTP://{host}{path}",
        "//{host}{path}",
        "https://{host}{path}",
        "{path}#fragment",
        "{path}?_state=a/b+c%3D%3D",
        "{path}?a=b c",
        " {path} ",
    ],
)
def test_upload_goes_on_at_the_registry(copy_command: CopyCommand, target: ImperfectRegistry, form: str) -> None:
    uploads_at(target, lambda path: form.format(path=path, host=target.host))
    assert copy_command().code == 0
    assert_copied(target)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_upload_goes_on_by_another_name_of_the_registry(
    copy_command: CopyCommand, target: ImperfectRegistry, scheme: str
) -> None:
    """By the scheme that this name speaks, whatever the registry says: both are allowed by --insecure."""
    uploads_at(target, lambda path: f"{scheme}://{target.other_name}{path}")
    assert copy_command(insecure=[target.other_name]).code == 0
    assert_copied(target)


def test_upload_at_another_name_that_is_not_allowed_is_refused(
    copy_command: CopyCommand, target: ImperfectRegistry
) -> None:
    uploads_at(target, lambda path: f"http://{target.other_name}{path}")
    failure = copy_command().failure
    assert f"the upload goes on at {target.other_name} without TLS, which is refused" in failure
    assert f"allow it with --insecure {target.other_name}" in failure
    assert_not_published(target)


def test_upload_where_nothing_listens_names_that_place(target: ImperfectRegistry) -> None:
    uploads_at(target, lambda path: f"https://localhost:1{path}")
    blob = Descriptor("application/octet-stream", digest_of(b"x"), 1)
    with pytest.raises(RegistryUnavailableError, match="localhost:1: connection refused"):
        writer(target, insecure=["localhost:1"]).stream_blob(
            "mirror/app", blob, lambda: contextlib.nullcontext(iter([b"x"]))
        )


def test_other_host_that_wants_a_login_is_named(copy_command: CopyCommand, target: ImperfectRegistry) -> None:
    target.on("PUT", "/uploads/", Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}))
    uploads_at(target, lambda path: f"http://{target.other_name}{path}")
    failure = copy_command(insecure=[target.other_name]).failure
    assert f"access denied by {target.other_name}, where the registry wants the upload" in failure
    assert "No credential is sent there" in failure
