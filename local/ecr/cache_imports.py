"""Fetch what a pull does not find from the upstream of a pull through cache rule, and tell EventBridge.

Only upstreams on this machine are fetched from, as there is no other network here; under any other rule nothing
happens. What is there is served as it is: 24 hours, after which ECR asks its upstream again, do not pass here.

Source: Amazon ECR User Guide, "Sync an upstream registry with an Amazon ECR private registry": a pull by tag makes the
repository and fetches the tag with everything below it.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import requests

from local.ecr.api_layers import LayerOperations
from local.ecr.api_pull_through import ROOT, CacheRuleOperations, is_this_machine
from local.ecr.events import cache_event
from local.ecr.images import ImageFailureError, ImageId, find_image, put_image
from local.ecr.manifests import Manifest, parse_manifest
from local.ecr.repositories import Mutability, Registry, Repository
from local.ecr.uploads import Uploads
from pullahead.oci import media_types

_TIMEOUT_SECONDS: Final = 30
_PIECE_BYTES: Final = 1024 * 1024
_MAX_DEPTH: Final = 3  # of indexes


class _Upstream:
    """One repository at the upstream of a rule."""

    def __init__(self, host: str, path: str) -> None:
        self._url = f"http://{host}/v2/{path}"

    def manifest(self, name: str) -> Manifest:
        answer = requests.get(
            f"{self._url}/manifests/{name}", headers={"Accept": media_types.ACCEPT}, timeout=_TIMEOUT_SECONDS
        )
        answer.raise_for_status()
        return parse_manifest(answer.content, answer.headers.get("Content-Type"))

    def blob(self, digest: str) -> Any:
        answer = requests.get(f"{self._url}/blobs/{digest}", stream=True, timeout=_TIMEOUT_SECONDS)
        answer.raise_for_status()
        return answer.iter_content(_PIECE_BYTES)


class CacheImports:
    """What ECR does when a pull comes to a repository under a rule's prefix."""

    def __init__(
        self,
        registry: Registry,
        rules: CacheRuleOperations,
        layers: LayerOperations,
        uploads: Uploads,
        now: Callable[[], datetime],
        emit: Callable[[dict[str, Any]], None],
    ) -> None:
        self._registry, self._rules, self._layers, self._uploads = registry, rules, layers, uploads
        self._now, self._emit = now, emit

    def fetch_missing(self, name: str, wanted: ImageId) -> None:
        """Fetch a tag that a pull names, if it is missing and a rule caches the repository. A digest is not fetched."""
        if wanted.tag is None or wanted.digest is not None or self._is_there(name, wanted):
            return
        rule = self._rules.rule_for(name)
        if rule is None or not is_this_machine(rule["upstreamRegistryUrl"]):
            return
        try:
            digest = self._fetch(name, wanted.tag, _Upstream(rule["upstreamRegistryUrl"], _path(rule, name)))
        except requests.RequestException as error:
            outcome = {"sync-status": "FAILED", **_failure(error)}
        else:
            outcome = {"sync-status": "SUCCESS", "image-digest": digest}
        self._emit(cache_event(rule, name, wanted.tag, outcome, self._now()))

    def _is_there(self, name: str, wanted: ImageId) -> bool:
        with self._registry.lock:
            repository = self._registry.find(name)
            try:
                return repository is not None and bool(find_image(repository, wanted))
            except ImageFailureError:
                return False

    def _fetch(self, name: str, tag: str, upstream: _Upstream) -> str:
        root = upstream.manifest(tag)
        if self._registry.find(name) is None:
            self._registry.add(Repository(name, self._now(), Mutability(), False, {"encryptionType": "AES256"}, {}))
        self._store(name, root, tag, upstream, _MAX_DEPTH)
        return root.digest

    def _store(self, name: str, manifest: Manifest, tag: str | None, upstream: _Upstream, depth: int) -> None:
        """Store a manifest, children and blobs first."""
        if depth == 0:
            raise requests.RequestException("indexes are nested too deep")
        for child in manifest.children:
            self._store(name, upstream.manifest(child.digest), None, upstream, depth - 1)
        for blob in manifest.blobs:
            if blob.digest not in self._registry.get(name).layers:
                upload = self._layers.begin(name)
                self._uploads.append(upload, None, upstream.blob(blob.digest))
                self._layers.finish(upload, [blob.digest])
        with self._registry.lock:
            repository = self._registry.get(name)
            if tag is not None or manifest.digest not in repository.images:
                put_image(repository, manifest, tag, None, self._now())


def _path(rule: Mapping[str, Any], repository: str) -> str:
    prefix, upstream_prefix = rule["ecrRepositoryPrefix"], rule["upstreamRepositoryPrefix"]
    path = repository if prefix == ROOT else repository.removeprefix(f"{prefix}/")
    return path if upstream_prefix == ROOT else f"{upstream_prefix}/{path}"


def _failure(error: requests.RequestException) -> dict[str, str]:
    status = error.response.status_code if error.response is not None else 0
    codes = {401: "UpstreamAccessDenied", 403: "UpstreamAccessDenied", 404: "ImageNotFound"}
    codes[429] = "UpstreamTooManyRequests"
    code = codes.get(status, "UpstreamUnavailable")
    return {"failure-code": code, "failure-reason": f"The upstream registry answered {status or 'nothing'}"}
