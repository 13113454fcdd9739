"""The fake registry: its life, its content and its faults, each set in one line. Decides what is answered."""

import itertools
import re
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

from local.images import Blob, LocalImage
from local.registry import routes
from local.registry.answers import Answer, error_answer, json_answer
from local.registry.content import Content
from local.registry.faults import Faults
from local.registry.journal import Journal, RecordedRequest
from local.registry.listener import Listener
from local.registry.tokens import Tokens
from local.serving import ServerThread
from pullahead.oci import Digest, Reference, Repository


class FakeRegistry:
    """A registry on 127.0.0.1 over plain HTTP that can be read, watched and broken.

    The attributes may be set at any time, also while requests are being answered:

    - `down`: connections are closed unanswered.
    - `token_auth`: a bearer token is asked for, to be had by anybody at /token.
    - `token_lifetime_seconds`: what tokens say of themselves; `expire_tokens` is what ends them.
    - `ignore_range`: a ranged read is answered from the beginning.
    - `lie_digest_header`: Docker-Content-Digest of manifests; "" leaves it out.
    - `redirect_blobs_to`: blobs are redirected to another fake registry, with a query that stands for a signature.
    - `redirect_manifests_to`: manifests are redirected to another fake registry, which answers what it has itself.
    - `lists_repositories`: there is a catalog, as of CNCF distribution; the great public registries have none.
    - `referrers_page`: there is an API for referrers, which lists so many on a page; None for none, as in distribution.
    - `filters_referrers`: that API applies filters by artifact type.
    - `limit_bytes_per_second`: how fast one connection may carry bodies.
    """

    def __init__(self, port: int = 0) -> None:
        self.down = False
        self.token_auth = False
        self.token_lifetime_seconds = 300
        self.ignore_range = False
        self.lie_digest_header: str | None = None
        self.redirect_blobs_to: FakeRegistry | None = None
        self.redirect_manifests_to: FakeRegistry | None = None
        self.lists_repositories = True
        self.referrers_page: int | None = None
        self.filters_referrers = False
        self.limit_bytes_per_second: int | None = None
        self.content = Content()
        self._journal, self._faults, self._tokens = Journal(), Faults(), Tokens()
        self._lies: dict[str, bytes] = {}
        self._signed: dict[str, tuple[str, Blob]] = {}
        self._signatures = itertools.count(1)
        self._listener = Listener(self, port)
        self._thread = ServerThread(self._listener)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End every connection and give the port back. Raises whatever went wrong in the fake itself."""
        self._thread.stop()
        self._listener.close()

    @property
    def host(self) -> str:
        """Host and port, as references name a registry."""
        return f"127.0.0.1:{self._listener.server_address[1]}"

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.host}"

    def repository(self, path: str) -> Repository:
        """Name a repository here."""
        return Repository(self.host, path)

    def reference(self, repository: str, tag: str | None = None, digest: Digest | None = None) -> Reference:
        """Name a manifest here."""
        return Reference(self.repository(repository), tag, digest)

    # --- content ------------------------------------------------------------------------------------------------

    def push(self, image: LocalImage, repository: str, tag: str | None = None) -> None:
        """Store everything of an image, and move the tag to its root."""
        self.content.push(image, repository, tag)

    def tag(self, repository: str, tag: str, digest: Digest) -> None:
        """Move a tag to a manifest that the repository has."""
        self.content.tag(repository, tag, digest)

    def delete_tag(self, repository: str, tag: str) -> None:
        """Take a tag away; what it named stays."""
        self.content.delete_tag(repository, tag)

    # --- what was asked -----------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request until now, in the order of their coming."""
        return self._journal.list()

    def count(self, method: str, path_regex: str = "") -> int:
        """Count requests of a method whose path holds a match."""
        return self._journal.count(method, path_regex)

    @property
    def connections(self) -> int:
        """How many connections were taken until now."""
        return self._listener.connections_taken

    def forget_requests(self) -> None:
        """Begin to count anew."""
        self._journal.clear()

    # --- faults -------------------------------------------------------------------------------------------------

    def fail(
        self,
        method: str | None,
        path_regex: str,
        status: int = 503,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        body: Blob = b"",
    ) -> None:
        """Answer the next `times` matching requests (any method, if None) with this instead."""
        self._faults.add(method, path_regex, times, Answer(status, headers or {}, body))

    def cut(self, path_regex: str, after_bytes: int, times: int = 1) -> None:
        """End the connection of the next `times` matching GETs after exactly so many bytes of the body."""
        self._faults.add("GET", path_regex, times, after_bytes)

    def before(self, method: str | None, path_regex: str, act: Callable[[], None], times: int = 1) -> None:
        """Call `act` before the next `times` matching requests are answered: something happens in the middle."""
        self._faults.add(method, path_regex, times, act)

    def clear_faults(self) -> None:
        """Take back every fault and hook that has not happened yet."""
        self._faults.clear()

    def lie_blob(self, digest: str, content: bytes) -> None:
        """Serve other bytes under a blob's digest from now on."""
        self._lies[digest] = content

    def expire_tokens(self) -> None:
        """Recognise no token that was issued until now."""
        self._tokens.expire()

    # --- answers (called by the listener) -----------------------------------------------------------------------

    def begin(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> RecordedRequest:
        """Note a request, and call the hooks that wait for it."""
        request = self._journal.begin(method, path, query, headers)
        for act in self._faults.take_hooks(method, path):
            act()
        return request

    def answer(self, request: RecordedRequest, authorization: str | None) -> Answer:
        """Decide what a request gets."""
        faulty = self._faults.take_answer(request.method, request.path)
        if faulty is not None:
            return faulty
        if request.path == "/token":
            return self._tokens.issue(parse_qs(request.query), self.token_lifetime_seconds)
        if request.path.startswith("/storage/"):
            return self._answer_storage(request)
        if not request.path.startswith("/v2/"):
            return error_answer(404, "UNSUPPORTED", "unsupported")
        if self.token_auth:
            refusal = self._tokens.challenge(authorization, self.url, routes.repository_of(request.path))
            if refusal is not None:
                return refusal
        return self._answer_api(request)

    def take_cut(self, request: RecordedRequest) -> int | None:
        """Take the number of body bytes after which the connection of this request is to end."""
        return self._faults.take_cut(request.method, request.path)

    def _answer_api(self, request: RecordedRequest) -> Answer:
        if match := routes.MANIFEST.fullmatch(request.path):
            return self._answer_manifest(request, match)
        if match := routes.BLOB.fullmatch(request.path):
            return self._answer_blob(request, match)
        if match := routes.TAGS.fullmatch(request.path):
            return routes.tags_answer(self.content, match["repository"], parse_qs(request.query))
        if self.referrers_page is not None and (match := routes.REFERRERS.fullmatch(request.path)):
            return self._answer_referrers(request, match, self.referrers_page)
        if request.path == "/v2/_catalog" and self.lists_repositories:
            return routes.catalog_answer(self.content, parse_qs(request.query))
        if request.path == "/v2/":
            return json_answer(200, {}, {"Docker-Distribution-Api-Version": "registry/2.0"})
        return error_answer(404, "UNSUPPORTED", "unsupported")

    def _answer_manifest(self, request: RecordedRequest, match: re.Match[str]) -> Answer:
        if self.redirect_manifests_to is not None:
            return Answer(307, {"Location": f"{self.redirect_manifests_to.url}{request.path}"})
        manifest = self.content.find_manifest(match["repository"], match["name"])
        return routes.manifest_answer(manifest, request.headers.get("accept", ""), self.lie_digest_header)

    def _answer_referrers(self, request: RecordedRequest, match: re.Match[str], page: int) -> Answer:
        query, filters = parse_qs(request.query), self.filters_referrers
        return routes.referrers_answer(self.content, match["repository"], match["name"], query, page, filters=filters)

    def _answer_blob(self, request: RecordedRequest, match: re.Match[str]) -> Answer:
        digest = match["name"]
        blob = self.content.find_blob(match["repository"], digest)
        if blob is not None:
            blob = self._lies.get(digest, blob)
            if self.redirect_blobs_to is not None:
                return self._redirect_blob(self.redirect_blobs_to, digest, blob)
        return routes.blob_answer(blob, digest, self._range_of(request))

    def _redirect_blob(self, storage: "FakeRegistry", digest: str, blob: Blob) -> Answer:
        signature = f"{next(self._signatures)}-{self.host}"
        storage._signed[signature] = (digest, blob)
        return Answer(307, {"Location": f"{storage.url}/storage/{digest}?X-Amz-Signature={signature}"})

    def _answer_storage(self, request: RecordedRequest) -> Answer:
        if request.authorized:  # as S3 and Azure do, which take a signature or a header, never both
            return Answer(400, {"Content-Type": "application/xml"}, b"<Error><Code>InvalidArgument</Code></Error>")
        signature = parse_qs(request.query).get("X-Amz-Signature", [""])[0]
        digest, blob = self._signed.get(signature, ("", b""))
        if not digest or request.method != "GET":  # a signature is good for one method
            return Answer(403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>")
        return routes.blob_answer(blob, digest, self._range_of(request))

    def _range_of(self, request: RecordedRequest) -> str:
        return "" if self.ignore_range else request.headers.get("range", "")
