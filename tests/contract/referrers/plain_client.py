"""A plain client that pulls an image with all that belongs to it, by requests alone, and verifies every digest.

Source: OCI distribution specification 1.1, "Pulling manifests" and "Listing Referrers".
"""

import hashlib
from typing import Any, NamedTuple

import requests

ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)


class PulledAll(NamedTuple):
    """The digests of every manifest that was found, and the tags of cosign that were there."""

    manifests: frozenset[str]
    tags: frozenset[str]


class PlainReferrersClient:
    """Pulls from one repository."""

    def __init__(self, url: str, repository: str, headers: dict[str, str] | None = None) -> None:
        self._base = f"{url}/v2/{repository}"
        self._session = requests.Session()
        self._session.headers.update(headers or {})
        self._blobs: set[str] = set()

    def pull_all(self, tag: str) -> PulledAll:
        root = self._manifest(tag)
        assert root is not None, f"there is no {tag}"
        found: dict[str, None] = {}
        tags: set[str] = set()
        waiting = [(*root, True)]
        while waiting:
            digest, document, has_tags = waiting.pop()
            if digest in found:
                continue
            found[digest] = None
            waiting += [(*self._must(child["digest"]), has_tags) for child in document.get("manifests", ())]
            waiting += [(*self._must(each), False) for each in self.referrers(digest)]
            for suffix in (".sig", ".att", ".sbom") if has_tags else ():
                name = f"{digest.replace(':', '-')}{suffix}"
                if (under := self._manifest(name)) is not None:
                    tags.add(name)
                    waiting.append((*under, True))
            for blob in (document.get("config"), *document.get("layers", ())):
                if blob is not None:
                    self._check_blob(blob["digest"], blob["size"])
        return PulledAll(frozenset(found), frozenset(tags))

    def referrers(self, digest: str) -> list[str]:
        """List referrers by the API, or else by the fallback tag."""
        url, listed = f"{self._base}/referrers/{digest}", list[str]()
        while url:
            answer = self._session.get(url, timeout=30)
            if answer.status_code == 404:
                index = self._manifest(digest.replace(":", "-"))
                return [] if index is None else [each["digest"] for each in index[1]["manifests"]]
            answer.raise_for_status()
            listed += [each["digest"] for each in answer.json()["manifests"]]
            url = answer.links.get("next", {}).get("url", "")
        return listed

    def _must(self, name: str) -> tuple[str, dict[str, Any]]:
        found = self._manifest(name)
        assert found is not None, f"{name} is missing"
        return found

    def _manifest(self, name: str) -> tuple[str, dict[str, Any]] | None:
        answer = self._session.get(f"{self._base}/manifests/{name}", headers={"Accept": ACCEPT}, timeout=30)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        digest = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
        assert ":" not in name or name == digest, f"{name} has the digest {digest}"
        return digest, answer.json()

    def _check_blob(self, digest: str, size: int) -> None:
        if digest in self._blobs:
            return
        self._blobs.add(digest)
        answer = self._session.get(f"{self._base}/blobs/{digest}", timeout=30)
        answer.raise_for_status()
        assert len(answer.content) == size
        assert f"sha256:{hashlib.sha256(answer.content).hexdigest()}" == digest
