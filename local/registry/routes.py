"""Which answer a read request gets from what the fake registry holds. Pure but for the content; knows no socket.

Source: OCI distribution specification 1.1, "Pulling" and "Content Discovery"; manners as of CNCF distribution 2.8.
"""

import json
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from local.images import Blob
from local.registry.answers import Answer, error_answer, json_answer
from local.registry.content import Content
from pullahead.oci import RawManifest, media_types
from pullahead.oci.referrers import listing_entry

MANIFEST = re.compile(r"/v2/(?P<repository>.+)/manifests/(?P<name>[^/]+)")
BLOB = re.compile(r"/v2/(?P<repository>.+)/blobs/(?P<name>[^/]+)")
REFERRERS = re.compile(r"/v2/(?P<repository>.+)/referrers/(?P<name>[^/]+)")
TAGS = re.compile(r"/v2/(?P<repository>.+)/tags/list")

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_MAX_PAGE = 1000


def repository_of(path: str) -> str | None:
    """Name the repository that a path reads from, or None where it reads from none."""
    match = MANIFEST.fullmatch(path) or BLOB.fullmatch(path) or TAGS.fullmatch(path) or REFERRERS.fullmatch(path)
    return match["repository"] if match else None


def manifest_answer(manifest: RawManifest | None, accept: str, digest_header: str | None) -> Answer:
    """Answer a manifest. As in distribution, a kind that the client does not accept is not there."""
    if manifest is None:
        return error_answer(404, "MANIFEST_UNKNOWN", "manifest unknown")
    if manifest.descriptor.media_type not in accept:
        return error_answer(404, "MANIFEST_UNKNOWN", "manifest found, but the accept header does not support its kind")
    digest = manifest.descriptor.digest if digest_header is None else digest_header
    named = {"Docker-Content-Digest": digest} if digest else {}
    return Answer(200, {"Content-Type": manifest.descriptor.media_type, **named}, manifest.content)


def blob_answer(blob: Blob | None, digest: str, range_header: str) -> Answer:
    """Answer a blob, or the one range of it that was asked for."""
    if blob is None:
        return error_answer(404, "BLOB_UNKNOWN", "blob unknown to registry")
    headers = {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": digest,
        "Accept-Ranges": "bytes",
    }
    asked = _RANGE.fullmatch(range_header)
    if asked is None:
        return Answer(200, headers, blob)
    size = len(blob)
    first, end = int(asked[1]), min(int(asked[2]) + 1, size) if asked[2] else size
    if first >= size or end <= first:
        return Answer(416, {"Content-Range": f"bytes */{size}"})
    return Answer(206, {**headers, "Content-Range": f"bytes {first}-{end - 1}/{size}"}, blob, first, end)


def tags_answer(content: Content, repository: str, query: Mapping[str, Sequence[str]]) -> Answer:
    """Answer one page of a repository's tags, with a Link to the next."""
    tags = content.list_tags(repository)
    if tags is None:
        return error_answer(404, "NAME_UNKNOWN", "repository name not known to registry")
    page, link = _page(tags, f"/v2/{repository}/tags/list", query)
    return json_answer(200, {"name": repository, "tags": page}, link)


def referrers_answer(
    content: Content, repository: str, digest: str, query: Mapping[str, Sequence[str]], page_size: int, *, filters: bool
) -> Answer:
    """Answer one page of the referrers of a manifest; `filters` are applied on demand, as the specification allows."""
    wanted = query.get("artifactType", []) if filters else []
    found = [
        each
        for each in map(listing_entry, content.list_referrers(repository, digest))
        if not wanted or json.loads(each).get("artifactType") in wanted
    ]
    first = int(query.get("from", ["0"])[0])
    page = b", ".join(found[first : first + page_size])
    headers = {"Content-Type": media_types.OCI_INDEX} | ({"OCI-Filters-Applied": "artifactType"} if wanted else {})
    if first + page_size < len(found):
        headers["Link"] = f'</v2/{repository}/referrers/{digest}?from={first + page_size}>; rel="next"'
    body = b'{"schemaVersion": 2, "mediaType": "%s", "manifests": [%s]}' % (media_types.OCI_INDEX.encode(), page)
    return Answer(200, headers, body)


def catalog_answer(content: Content, query: Mapping[str, Sequence[str]]) -> Answer:
    """Answer one page of the repositories, as CNCF distribution does."""
    page, link = _page(content.list_repositories(), "/v2/_catalog", query)
    return json_answer(200, {"repositories": page}, link)


def _page(names: Sequence[str], path: str, query: Mapping[str, Sequence[str]]) -> tuple[Sequence[str], dict[str, str]]:
    size = min(int(query.get("n", [str(_MAX_PAGE)])[0]), _MAX_PAGE)
    last = query.get("last", [""])[0]
    following = [name for name in names if name > last]
    page = following[:size]
    more = page and len(following) > size
    return page, {"Link": f'<{path}?last={quote(page[-1])}&n={size}>; rel="next"'} if more else {}
