"""Any OCI registry as the target: blobs in one streamed request or in parts, manifests byte for byte.

Whether a blob is there is told by the request that offers it (a mount from the repository itself), so nothing is asked
before. Repositories come into being with their first upload.

Source: OCI distribution specification 1.1, "Push"; docker-registry 2.8.2 as observed, where named.

Where an upload goes on, and how far it is: Location, Range and OCI-Chunk-Min-Length. Asks nobody anything.

Source: OCI distribution specification 1.1, "Pushing blobs".
"""

import random
import re
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from functools import partial
from ipaddress import ip_address
from urllib.parse import urlencode, urlsplit

from pullahead.errors import (
    DigestMismatchError,
    ManifestRefusedError,
    NotFoundError,
    RegistryUnavailableError,
    Side,
    TagImmutableError,
    UploadLostError,
)
from pullahead.oci import Descriptor, Digest, InvalidDigestError, RawManifest, digest_of, media_types, parse_digest
from pullahead.oci.registries import Offered, OpenPieces, RepositorySettings, Upload
from pullahead.registry.connections import Answer, Body, Connections
from pullahead.registry.credentials import Credentials, anonymous
from pullahead.registry.failures import Inquiry
from pullahead.registry.push_errors import refused, refused_tag
from pullahead.registry.push_session import PushScope, PushSession, RetryBudget
from pullahead.registry.transport import Request, Timeouts, origin_of, parse_url

MIB = 1024 * 1024
PART_BYTES = 10 * MIB
_MAX_PART_BYTES = 64 * MIB  # parts are held in memory

_MAX_KNOWN = 1000
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_LENGTH = re.compile(r"[0-9]{1,18}")


class Locations:
    """Where each upload that was begun or continued here goes on: registries change the address with each part.

    The address holds what authorizes the upload, so it is in no error and no log.
    """

    def __init__(self) -> None:
        self._latest: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, upload_id: str) -> str:
        """Tell the last address of an upload; its first one, which is its id, where another process went on with it."""
        with self._lock:
            return self._latest.get(upload_id, upload_id)

    def move(self, upload_id: str, location: str) -> None:
        """Remember where an upload goes on."""
        with self._lock:
            self._latest[upload_id] = location
            self._latest.move_to_end(upload_id)
            while len(self._latest) > _MAX_KNOWN:
                self._latest.popitem(last=False)

    def forget(self, upload_id: str) -> None:
        """Forget an upload that has ended."""
        with self._lock:
            self._latest.pop(upload_id, None)


def location_of(inquiry: Inquiry, answer: Answer, base: str) -> str:
    """Read where an upload goes on: at the registry itself, or anywhere by https. Raises RegistryUnavailableError."""
    return checked_location(inquiry, answer.headers.get("Location", ""), base)


def checked_location(inquiry: Inquiry, location: str, base: str) -> str:
    """Prove an address that came from a registry or out of another process. Raises RegistryUnavailableError."""
    url = parse_url(location, base=base) if location else None
    if url is None:
        raise inquiry.error(RegistryUnavailableError, "it does not say where the upload goes on")
    if origin_of(url.geturl()) != origin_of(base):
        if url.scheme != "https":
            cause = f"it wants the upload at {url.netloc} without TLS, which is refused"
            raise inquiry.error(RegistryUnavailableError, cause)
        if url.hostname != urlsplit(base).hostname and _is_internal(url.hostname or ""):
            cause = f"it wants the upload at the internal address {url.netloc}, which is refused"
            raise inquiry.error(RegistryUnavailableError, cause)
    return url._replace(fragment="").geturl()


def _is_internal(host: str) -> bool:
    """Tell whether a host is an address that only our own network can reach: no registry's storage is there."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost"


def closing(location: str, digest: Digest) -> str:
    """Name the address that closes an upload. What a registry put into the query stays as it is."""
    url = urlsplit(location)
    return url._replace(query="&".join(filter(None, (url.query, f"digest={digest}")))).geturl()


def received(answer: Answer) -> int | None:
    """Read how many bytes an upload has; None where the answer does not say. `0-0` is nothing yet, as sent for it."""
    match = _RANGE.fullmatch(answer.headers.get("Range", ""))
    if match is None:
        return None
    last = int(match[1])
    return last + 1 if last > 0 else 0


def part_size(inquiry: Inquiry, answer: Answer) -> int:
    """Choose how large parts are. Raises ManifestRefusedError where the registry wants larger ones than we hold."""
    text = answer.headers.get("OCI-Chunk-Min-Length", "")
    least = int(text) if _LENGTH.fullmatch(text) else 0
    if least > _MAX_PART_BYTES:
        raise inquiry.error(ManifestRefusedError, f"it takes no parts of less than {least} bytes, too much to hold")
    return max(PART_BYTES, least)


_ACCEPT = {"Accept": media_types.ACCEPT}
_CONTENT = {"Content-Type": "application/octet-stream"}
_STORED = (200, 201, 204)  # 201 by the specification; some answer a repetition otherwise
_TIMEOUTS = Timeouts(read=60.0)
_JITTER = random.SystemRandom().random
_DIGEST_HEADER = "Docker-Content-Digest"


class OciTarget:
    """Satisfies `pullahead.ports.Target` and `StreamsBlobs` for one registry. May be used by several threads.

    `ca` names a file of certificates to trust instead of the system's.
    `asks_presence` asks with a HEAD for each blob before it is offered: for registries that do not answer a mount from
    the repository itself by 201. Without it nothing is asked, because the offer tells.
    """

    def __init__(
        self,
        registry: str,
        *,
        plain_http: bool = False,
        credentials: Credentials = anonymous,
        ca: str | None = None,
        asks_presence: bool = False,
        timeouts: Timeouts = _TIMEOUTS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = _JITTER,
    ) -> None:
        self._registry, self._asks_presence = registry, asks_presence
        connections = Connections(timeouts, tls=partial(ssl.create_default_context, cafile=ca), clock=clock)
        chances = RetryBudget(clock, sleep, jitter)
        self._exchange = PushSession(registry, connections, credentials, chances, timeouts, plain_http=plain_http)
        self._locations = Locations()

    # --- repositories and manifests -----------------------------------------------------------------------------

    def ensure_repository(self, repository: str, settings: RepositorySettings | None = None) -> None:
        """Do nothing: the first upload makes the repository, where the registry makes any."""

    def published_digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        """Ask with one HEAD for each tag."""
        found = {tag: self._published_digest(repository, tag) for tag in tags}
        return {tag: digest for tag, digest in found.items() if digest is not None}

    def put_manifest(self, repository: str, manifest: RawManifest, tag: str | None) -> None:
        """Put the exact bytes with their media type."""
        wanted = manifest.descriptor.digest
        inquiry = self._inquiry("put manifest", repository, f":{tag}" if tag is not None else f"@{wanted}")
        url = self._exchange.url(repository, "manifests", tag if tag is not None else wanted)
        request = Request("PUT", url, {"Content-Type": manifest.descriptor.media_type}, inquiry)
        refuse = refused if tag is None else refused_tag
        try:
            answer = self._exchange.ask(request, PushScope(repository), _STORED, manifest.content, refuse=refuse)
        except TagImmutableError:
            # ECR refuses an immutable tag even where it names this manifest already.
            if tag is None or self._published_digest(repository, tag) != wanted:
                raise
            return
        stored = answer.headers.get(_DIGEST_HEADER, wanted)
        if stored != wanted and stored.partition(":")[0] == wanted.partition(":")[0]:
            raise inquiry.error(DigestMismatchError, "it stored the manifest under another digest")

    def _published_digest(self, repository: str, tag: str) -> Digest | None:
        inquiry = self._inquiry("head manifest", repository, f":{tag}")
        request = Request("HEAD", self._exchange.url(repository, "manifests", tag), _ACCEPT, inquiry)
        answer = self._exchange.ask(request, PushScope(repository), (200, 404))
        if answer.status == 404:
            return None
        if _DIGEST_HEADER not in answer.headers:
            answer = self._exchange.ask(request._replace(method="GET"), PushScope(repository), (200, 404))
            return digest_of(answer.body) if answer.status == 200 else None
        try:
            return parse_digest(answer.headers[_DIGEST_HEADER])
        except InvalidDigestError:
            raise inquiry.error(RegistryUnavailableError, f"its {_DIGEST_HEADER} is no digest") from None

    # --- blobs --------------------------------------------------------------------------------------------------

    def present_blobs(self, repository: str, digests: Collection[Digest]) -> frozenset[Digest]:
        """Ask nothing and name none, unless told to ask: the offer of a blob tells."""
        if not self._asks_presence:
            return frozenset()
        return frozenset(digest for digest in digests if self._has_blob(repository, digest))

    def stream_blob(
        self, repository: str, blob: Descriptor, open_pieces: OpenPieces, mount_from: str | None = None
    ) -> Offered:
        """POST, and where the answer is that the blob is not there, one PUT with its bytes."""
        if self._asks_presence and self._has_blob(repository, blob.digest):
            return Offered.PRESENT
        inquiry = self._inquiry("put blob", repository, f"@{blob.digest}")
        mounted_from = mount_from if mount_from is not None else repository
        query = urlencode({"mount": blob.digest, "from": mounted_from}, safe=":/")
        place = PushScope(repository, mount_from)
        url = self._exchange.url(repository, "blobs", "uploads", "")
        answer = self._exchange.ask(Request("POST", f"{url}?{query}", {}, inquiry), place, (201, 202))
        if answer.status == 201:
            return Offered.PRESENT if mounted_from == repository else Offered.MOUNTED
        put = Request("PUT", closing(location_of(inquiry, answer, url), blob.digest), _CONTENT, inquiry)
        with open_pieces() as pieces:
            self._exchange.stream(put, place, Body(pieces, blob.size), _STORED)
        return Offered.COPIED

    def begin_upload(self, repository: str) -> Upload:
        """Begin an upload; its id is where it goes on."""
        inquiry = self._inquiry("begin upload", repository)
        url = self._exchange.url(repository, "blobs", "uploads", "")
        answer = self._exchange.ask(Request("POST", url, {}, inquiry), PushScope(repository), (202,))
        location = location_of(inquiry, answer, url)
        self._locations.move(location, location)
        return Upload(location, part_size(inquiry, answer))

    def received_bytes(self, repository: str, upload: Upload, size: int) -> int:
        """Ask for the upload's status."""
        return min(self._received(self._inquiry("resume upload", repository), repository, upload), size)

    def upload_part(self, repository: str, upload: Upload, first_byte: int, part: bytes | memoryview) -> int:
        """PATCH one part, and believe that it was appended only where the answer says so."""
        inquiry = self._inquiry("upload part", repository)
        end = first_byte + len(part)
        headers = {**_CONTENT, "Content-Range": f"{first_byte}-{end - 1}"}
        request = self._request(inquiry, "PATCH", repository, upload, headers)
        # Once: it may have been appended though the answer was lost. Whoever goes on asks for the status first.
        answer = self._exchange.ask(request, PushScope(repository), (201, 202, 204, 416), part, tries=1)
        self._keep(inquiry, request, upload, answer)
        if answer.status == 416:
            return self._received(inquiry, repository, upload)
        # docker-registry ignores Content-Range and appends whatever comes: then the upload is spoilt. ECR, which
        # answers 201 where the specification says 202, does check it, but its Range stays at the first part's end.
        if answer.status != 201 and received(answer) not in (None, end):
            raise inquiry.error(UploadLostError, "it appended the part at another place than it was for")
        return end

    def complete_upload(self, repository: str, upload: Upload, blob: Descriptor) -> None:
        """Close an upload with its digest, which the registry proves."""
        inquiry = self._inquiry("complete upload", repository, f"@{blob.digest}")
        request = self._request(inquiry, "PUT", repository, upload, {})
        request = request._replace(url=closing(request.url, blob.digest))
        try:
            self._exchange.ask(request, PushScope(repository), _STORED)
        except (UploadLostError, NotFoundError):
            # Also what a second try is told after the answer to the first was lost.
            if not self._has_blob(repository, blob.digest):
                raise
        self._locations.forget(upload.id)

    def _has_blob(self, repository: str, digest: Digest) -> bool:
        inquiry = self._inquiry("head blob", repository, f"@{digest}")
        request = Request("HEAD", self._exchange.url(repository, "blobs", digest), {}, inquiry)
        return self._exchange.ask(request, PushScope(repository), (200, 404)).status == 200

    def _received(self, inquiry: Inquiry, repository: str, upload: Upload) -> int:
        request = self._request(inquiry, "GET", repository, upload, {})
        answer = self._exchange.ask(request, PushScope(repository), (200, 204))
        self._keep(inquiry, request, upload, answer)
        count = received(answer)
        if count is None:
            raise inquiry.error(UploadLostError, "it does not say how far the upload is")
        return count

    def _request(
        self, inquiry: Inquiry, method: str, repository: str, upload: Upload, headers: Mapping[str, str]
    ) -> Request:
        base = self._exchange.url(repository, "blobs", "uploads", "")
        return Request(method, checked_location(inquiry, self._locations.of(upload.id), base), headers, inquiry)

    def _keep(self, inquiry: Inquiry, request: Request, upload: Upload, answer: Answer) -> None:
        if "Location" in answer.headers:
            self._locations.move(upload.id, location_of(inquiry, answer, request.url))

    def _inquiry(self, operation: str, repository: str, rest: str = "") -> Inquiry:
        return Inquiry(operation, f"{self._registry}/{repository}{rest}", side=Side.TARGET)
