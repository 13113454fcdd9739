"""Pulling blobs: a redirect to a presigned URL that behaves as S3's does."""

from urllib.parse import urlsplit

import pytest
import requests

from local.tests.ecr.harness import RunningEcr, digest_of, oci_error, push, refused, upload

REPOSITORY = "team/app"
CONTENT = b"layer of pulled"
TIMEOUT = 10


@pytest.fixture
def blob_url(registry: RunningEcr) -> str:
    """A presigned URL of CONTENT, from the redirect."""
    push(registry.client, REPOSITORY, "pulled", "latest")
    response = get_blob(registry, digest_of(CONTENT))
    assert response.status_code == 307
    assert response.content == b""
    return response.headers["Location"]


def get_blob(registry: RunningEcr, digest: str) -> requests.Response:
    url = f"{registry.url}/v2/{REPOSITORY}/blobs/{digest}"
    return requests.get(url, headers=registry.authorization(), allow_redirects=False, timeout=TIMEOUT)


def test_presigned_url_serves_the_bytes_without_a_login(blob_url: str) -> None:
    response = requests.get(blob_url, timeout=TIMEOUT)
    assert (response.status_code, response.content) == (200, CONTENT)


def test_authorization_that_follows_the_redirect_is_refused(registry: RunningEcr, blob_url: str) -> None:
    response = requests.get(blob_url, headers=registry.authorization(), timeout=TIMEOUT)
    assert response.status_code == 400
    assert "Only one auth mechanism allowed" in response.text


def test_redirect_leads_to_another_host_so_that_clients_drop_their_login(registry: RunningEcr, blob_url: str) -> None:
    assert urlsplit(blob_url).hostname != urlsplit(registry.url).hostname


def test_single_range_is_partial(blob_url: str) -> None:
    for header, start, end in (("bytes=2-4", 2, 5), ("bytes=10-", 10, 15), ("bytes=-3", 12, 15), ("bytes=9-99", 9, 15)):
        response = requests.get(blob_url, headers={"Range": header}, timeout=TIMEOUT)
        assert (response.status_code, response.content) == (206, CONTENT[start:end])
        assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("header", ["bytes=0-1,4-5", "bytes=5-2", "lines=0-1", "bytes=-"])
def test_several_ranges_or_none_that_means_anything_give_the_whole_blob(blob_url: str, header: str) -> None:
    response = requests.get(blob_url, headers={"Range": header}, timeout=TIMEOUT)
    assert (response.status_code, response.content) == (200, CONTENT)


def test_range_past_the_end_is_416(blob_url: str) -> None:
    response = requests.get(blob_url, headers={"Range": "bytes=15-"}, timeout=TIMEOUT)
    assert response.status_code == 416
    assert "InvalidRange" in response.text


def test_url_expires(registry: RunningEcr, blob_url: str) -> None:
    registry.clock.advance(hours=1)
    response = requests.get(blob_url, timeout=TIMEOUT)
    assert response.status_code == 403
    assert "expired" in response.text


@pytest.mark.parametrize("forged", ["digest", "repository", "expires", "nothing signed", "method"])
def test_url_opens_only_what_it_was_signed_for(registry: RunningEcr, blob_url: str, forged: str) -> None:
    other = digest_of(b"config of pulled")
    urls = {
        "digest": blob_url.replace(digest_of(CONTENT), other),
        "repository": blob_url.replace(REPOSITORY, "team/other"),
        "expires": blob_url.replace("expires=", "expires=9"),
        "nothing signed": blob_url.partition("?")[0],
        "method": blob_url,
    }
    assert urls[forged] != blob_url or forged == "method"
    response = requests.request("PUT" if forged == "method" else "GET", urls[forged], timeout=TIMEOUT)
    assert response.status_code == 403
    assert "SignatureDoesNotMatch" in response.text


def test_blob_of_another_repository_is_unknown(registry: RunningEcr) -> None:
    registry.client.create_repository(repositoryName="team/other")
    push(registry.client, "team/other", "elsewhere", "latest")
    assert oci_error(get_blob(registry, digest_of(b"layer of elsewhere"))) == (404, "BLOB_UNKNOWN")


def test_unreferenced_blob_has_a_head_but_cannot_be_pulled(registry: RunningEcr) -> None:
    digest = upload(registry.client, REPOSITORY, b"orphan")
    assert oci_error(get_blob(registry, digest)) == (404, "BLOB_UNKNOWN")
    url = f"{registry.url}/v2/{REPOSITORY}/blobs/{digest}"
    response = requests.head(url, headers=registry.authorization(), timeout=TIMEOUT)
    assert (response.status_code, response.headers["Content-Length"]) == (200, "6")


def test_throttled_download_is_slowed_down_as_by_s3(registry: RunningEcr, blob_url: str) -> None:
    registry.ecr.faults.add("DownloadBlob", "ThrottlingException")
    response = requests.get(blob_url, timeout=TIMEOUT)
    assert response.status_code == 503
    assert "SlowDown" in response.text
    assert requests.get(blob_url, timeout=TIMEOUT).content == CONTENT


def test_url_of_a_blob_that_a_reset_took_is_404(registry: RunningEcr, blob_url: str) -> None:
    registry.ecr.reset()
    assert requests.get(blob_url, timeout=TIMEOUT).status_code == 404
    with refused("RepositoryNotFoundException"):
        registry.client.list_images(repositoryName=REPOSITORY)
