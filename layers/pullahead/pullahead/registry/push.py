"""Writes to any OCI registry: blobs in one streamed request or in parts, manifests byte for byte.

The request that offers a blob (a mount from the repository itself) shows whether it is there, so nothing is asked
before. Repositories come into being with their first upload.

Sources: OCI distribution specification 1.1, "Push"; docker-registry 2.8.2 as observed, where named.
"""

import random
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property, lru_cache
from ipaddress import ip_address
from itertools import takewhile
from typing import NamedTuple, cast
from urllib.parse import quote, urlencode, urlsplit

from pullahead.errors import (
    AccessDeniedError,
    ConflictError,
    DigestMismatchError,
    ManifestRefusedError,
    NotFoundError,
    RateLimitedError,
    RegistryError,
    RegistryUnavailableError,
    Side,
    TagImmutableError,
    UploadLostError,
)
from pullahead.oci import MAX_MANIFEST_BYTES, Descriptor, Digest, RawManifest, digest_of, media_types
from pullahead.oci.registries import Offered, OpenPieces, RepositorySettings, TaggedManifest, Upload
from pullahead.registry.address_guard import SYSTEM_NETWORK, Guard, Network, kind_of
from pullahead.registry.credentials import Credentials, anonymous
from pullahead.registry.errors import failed_answer, refused_tag
from pullahead.registry.hosts import Schemes, base_url, by_registry
from pullahead.registry.http import HttpClient, Response, Trust
from pullahead.registry.listings import MAX_LISTING_BYTES, NO_REFERRERS_API, Page, is_listing
from pullahead.registry.manifests import header_digest, may_mean_head, received_manifest
from pullahead.registry.request import (
    MAX_REDIRECTS,
    REDIRECTS,
    Body,
    Inquiry,
    ReadResponse,
    Request,
    Timeouts,
    host_of,
    may_be_repeated,
    moved,
    origin_of,
    parse_url,
    port_of,
    said_once,
    single_value,
)
from pullahead.registry.session import MAX_TRIES, Refuse, Retries, Session
from pullahead.registry.tokens import PUSH, Identity, TokenHosts, only_its_own

MIB = 1024 * 1024
PART_BYTES = 10 * MIB
_MAX_PART_BYTES = 64 * MIB  # parts are held in memory

_MAX_UPLOADS = 1000
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_LENGTH = re.compile(r"[0-9]{1,18}")


class Locations:
    """The latest address of each upload that was begun or continued here: registries change it with each part.

    The address holds what authorizes the upload, so it is in no error and no log.
    """

    def __init__(self) -> None:
        self._latest: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, upload_id: str) -> str:
        """Find the latest address of an upload: its first one, which is its id, if another process went on with it."""
        with self._lock:
            return self._latest.get(upload_id, upload_id)

    def move(self, upload_id: str, location: str) -> None:
        """Remember where an upload goes on."""
        with self._lock:
            self._latest[upload_id] = location
            self._latest.move_to_end(upload_id)
            while len(self._latest) > _MAX_UPLOADS:
                self._latest.popitem(last=False)

    def forget(self, upload_id: str) -> None:
        """Forget an upload that has ended."""
        with self._lock:
            self._latest.pop(upload_id, None)


def checked_location(
    inquiry: Inquiry, location: str, base: str, insecure: Collection[str], is_plain: Callable[[str], bool]
) -> str:
    """Check an address, from a registry or another process, where an upload goes on: there, or anywhere by https.

    A registry behind a proxy often does not know whether it is asked by TLS: at its own host and port it is asked as
    before, and an insecure host as it can be asked. Raises RegistryUnavailableError, and AccessDeniedError for an
    address where nothing may go.
    """
    url = parse_url(location, base=base) if location else None
    if url is None:
        cause = "the response does not say where the upload goes on"
        if location:
            cause = "the response names an invalid address where the upload would go on"
        raise inquiry.error(RegistryUnavailableError, cause)
    registry = urlsplit(base)
    if url.netloc.lower() == registry.netloc.lower() and (url.port or registry.scheme == "https"):
        url = url._replace(scheme=registry.scheme, netloc=registry.netloc)
    elif registry.scheme == "https" and host_of(url) == host_of(registry):  # it names the usual port of its own scheme
        url = url._replace(scheme="https", netloc=registry.netloc)
    host = url.netloc.lower()
    if origin_of(url.geturl()) != origin_of(base) and host in insecure:
        url = url._replace(scheme="http" if is_plain(host) else "https")
    elif origin_of(url.geturl()) != origin_of(base):
        advice = f"If that is meant, allow it with --insecure {host}."
        if url.scheme != "https":
            cause = f"the upload goes on at {host} without TLS, which is refused"
            raise inquiry.error(AccessDeniedError, cause, advice=advice)
        if url.hostname != registry.hostname and _is_internal(url.hostname or ""):
            cause = f"the upload goes on at the internal address {host}, which is refused"
            raise inquiry.error(AccessDeniedError, cause, advice=advice)
    return url._replace(fragment="").geturl()


def _is_internal(host: str) -> bool:
    """Tell whether a host is written as an address that only our own network can reach."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost"


def closing(location: str, digest: Digest) -> str:
    """Name the address that closes an upload. What a registry put into the query stays as it is."""
    url = urlsplit(location)
    return url._replace(query="&".join(filter(None, (url.query, f"digest={digest}")))).geturl()


def received(answer: ReadResponse) -> int | None:
    """Read how many bytes an upload has; None if the answer does not say. `0-0` means none, as registries send it."""
    match = _RANGE.fullmatch(single_value(answer.headers, "Range"))
    if match is None:
        return None
    last = int(match[1])
    return last + 1 if last > 0 else 0


def part_size(inquiry: Inquiry, answer: ReadResponse) -> int:
    """Choose how large parts are. Raises ManifestRefusedError if the registry wants larger ones than fit in memory."""
    text = single_value(answer.headers, "OCI-Chunk-Min-Length")
    least = int(text) if _LENGTH.fullmatch(text) else 0
    if least > _MAX_PART_BYTES:
        raise inquiry.error(
            ManifestRefusedError, f"the registry wants parts of at least {least} bytes, too much for memory"
        )
    return max(PART_BYTES, least)


_ACCEPT = {"Accept": media_types.ACCEPT}
_CONTENT = {"Content-Type": "application/octet-stream"}
_STORED = (200, 201, 204)  # 201 by the specification; some answer a repetition otherwise
_MANIFEST_STORED = (*_STORED, 202)  # Quay's answer, and that of distribution before 2.1
_CONDITION_REFUSED = (400, 405, 412, 417, 428, 501)
_MOVED = tuple(status for status in REDIRECTS if may_be_repeated("PUT", status))
_TIMEOUTS = Timeouts(read=60.0)
_JITTER = random.SystemRandom().random


_DENIED = (401, 403)
_MOUNTS_UNKNOWN = frozenset({400, 405, 501})  # to a registry that mounts nothing, and not only this blob


class _Reach(NamedTuple):
    """Where a target may lead us, as the guard reads it."""

    plain_http: bool
    private_addresses: bool


class OciTarget:
    """Implements `pullahead.oci.registries.Target` and `StreamsBlobs` for one registry. May be used by several threads.

    `ca` names a file of certificates to trust instead of the system's. Certificates of `insecure` hosts are not
    verified, and they are asked by plain HTTP if they do not speak TLS. `token_hosts` lists token services that may
    have the credential. `asks_presence` asks with a HEAD for each blob before it is offered: for registries that do not
    answer a mount from the repository itself by 201. Without it nothing is asked, because the offer tells.

    The registry may be at a private address. Its token service and where it wants uploads may be so only if it is.
    """

    def __init__(
        self,
        registry: str,
        *,
        plain_http: bool = False,
        insecure: Collection[str] = (),
        credentials: Credentials = anonymous,
        token_hosts: TokenHosts = only_its_own,
        ca: str | None = None,
        asks_presence: bool = False,
        network: Network = SYSTEM_NETWORK,
        timeouts: Timeouts = _TIMEOUTS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = _JITTER,
    ) -> None:
        self._registry, self._asks_presence = registry, asks_presence
        self._plain_http, self._insecure, self._network = plain_http, insecure, network
        http = HttpClient(
            timeouts, trust=Trust(ca, insecure=insecure), guard=Guard(self._reach, network=network), clock=clock
        )
        identity = Identity(by_registry(credentials), PUSH, token_hosts)
        self._session = Session(http, timeouts, Retries(clock, sleep, jitter), identity, target=lambda: self._base_url)
        self._schemes = Schemes(lambda _: plain_http, insecure, http.speaks_tls)
        self._locations = Locations()
        self._mounts = True  # until the registry refuses a mount as such

    def _reach(self, host: str) -> _Reach:
        if host == self._registry or host in self._insecure:
            return _Reach(self._plain_http or host in self._insecure, private_addresses=True)
        return _Reach(self._plain_http, self._is_private)

    @cached_property
    def _is_private(self) -> bool:
        """Whether the registry itself is within our own network."""
        url = urlsplit(f"https://{self._registry}")
        try:
            addresses = self._network.resolve(url.hostname or "", port_of(url))
        except (OSError, UnicodeError):
            return False  # it is not reached then
        return bool(addresses) and all(kind_of(ip_address(address)) is not None for address in addresses)

    @property
    def _base_url(self) -> str:
        return base_url(self._registry, plain_http=self._schemes.is_plain(self._registry))

    # --- repositories and manifests -----------------------------------------------------------------------------

    def ensure_repository(self, repository: str, settings: RepositorySettings | None = None) -> None:
        """Do nothing: the first upload makes the repository, where the registry makes any."""

    def published_digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        """Ask with one HEAD for each tag."""
        found = {tag: self._published_digest(repository, tag) for tag in tags}
        return {tag: digest for tag, digest in found.items() if digest is not None}

    def put_manifest(self, repository: str, manifest: RawManifest, tag: str | None, *, if_version: str = "") -> None:
        """Put the exact bytes with their media type."""
        wanted = manifest.descriptor.digest
        inquiry = self._inquiry("writing the manifest", repository, f":{tag}" if tag is not None else f"@{wanted}")
        url = self._url(repository, "manifests", tag if tag is not None else wanted)
        request = Request("PUT", url, {"Content-Type": manifest.descriptor.media_type}, inquiry)
        try:
            if tag is None:
                answer = self._answer(request, repository, _MANIFEST_STORED, manifest.content)
            else:
                answer = self._put_tag(request, repository, tag, manifest, if_version)
        except TagImmutableError:
            # ECR refuses an immutable tag even if it names this manifest already.
            if tag is None or self._published_digest(repository, tag) != wanted:
                raise
            return
        stored = header_digest(inquiry, answer.headers) or wanted
        if stored != wanted and stored.partition(":")[0] == wanted.partition(":")[0]:
            raise inquiry.error(DigestMismatchError, "the registry stored the manifest under another digest")

    def present_manifests(self, repository: str, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Ask with one HEAD for each, until one is missing."""
        return list(takewhile(lambda digest: self._published_digest(repository, digest) is not None, digests))

    def read_manifest(self, repository: str, tag: str) -> TaggedManifest | None:
        """GET what a tag names, with its entity tag."""
        inquiry = self._inquiry("reading the manifest", repository, f":{tag}")
        request = Request("GET", self._url(repository, "manifests", tag), _ACCEPT, inquiry)

        def receive(response: Response, deadline: float) -> ReadResponse:
            body = self._session.receive_body(response, request, MAX_MANIFEST_BYTES, deadline)
            return ReadResponse(response.status_code, response.headers, body)

        answer = self._session.ask(request._replace(resource=self._resource(repository, None)), receive, (200, 404))
        if answer.status == 404:
            return None
        return TaggedManifest(received_manifest(inquiry, answer), said_once(answer.headers.get("ETag", "").strip()))

    def _put_tag(
        self, request: Request, repository: str, tag: str, manifest: RawManifest, if_version: str
    ) -> ReadResponse:
        """Put under a condition, if there is one that can hold; without it where a registry refuses conditions as such.

        A weak entity tag never matches (RFC 9110, section 13.1.1); proxies that compress make such. Raises:
        ConflictError, and what the registry answers.
        """
        if if_version and not if_version.startswith("W/"):
            conditional = request._replace(headers={**request.headers, "If-Match": if_version})
            statuses = (*_MANIFEST_STORED, *_CONDITION_REFUSED)
            answer = self._answer(conditional, repository, statuses, manifest.content, refuse=refused_tag)
            if answer.status in _MANIFEST_STORED:
                return answer
            held = self.read_manifest(repository, tag)
            if held is None or held.version != if_version:
                cause = f"writing {self._registry}/{repository}:{tag}: somebody else has moved the tag meanwhile"
                raise ConflictError(cause)
        # Without a condition, 412 is how Harbor refuses to move an immutable tag.
        return self._answer(request, repository, _MANIFEST_STORED, manifest.content, refuse=refused_tag)

    def lists_referrers(self, repository: str, digest: Digest) -> bool:
        """GET the referrers, whatever they are."""
        inquiry = self._inquiry("listing referrers", repository, f"@{digest}")
        request = Request("GET", self._url(repository, "referrers", digest), {"Accept": media_types.OCI_INDEX}, inquiry)

        def receive(response: Response, deadline: float) -> Page:
            body = self._session.receive_body(response, request, MAX_LISTING_BYTES, deadline)
            return Page(response.status_code, response.headers.get("Content-Type", ""), body)

        about = request._replace(resource=self._resource(repository, None))
        return is_listing(self._session.ask(about, receive, (200, *NO_REFERRERS_API)))

    def _published_digest(self, repository: str, tag: str) -> Digest | None:
        inquiry = self._inquiry("HEAD manifest", repository, f":{tag}")
        request = Request("HEAD", self._url(repository, "manifests", tag), _ACCEPT, inquiry)
        tries = MAX_TRIES
        try:
            answer = self._answer(request, repository, (200, 404, *_DENIED))
        except RegistryError as error:
            if not may_mean_head(error):
                raise
            tries = 1 if error.retryable else MAX_TRIES
        else:
            if answer.status in _DENIED and answer.headers.get("WWW-Authenticate"):
                raise self._denied(request, repository, answer)
            digest = header_digest(inquiry, answer.headers) if answer.status == 200 else None
            if answer.status == 404 or digest is not None:
                return digest
        answer = self._answer(request._replace(method="GET"), repository, (200, 404), tries=tries)
        return digest_of(answer.body) if answer.status == 200 else None

    # --- blobs --------------------------------------------------------------------------------------------------

    def present_blobs(self, repository: str, digests: Collection[Digest]) -> frozenset[Digest]:
        """Return none without asking, unless `asks_presence`: offering a blob shows whether it is there."""
        if not self._asks_presence:
            return frozenset()
        return frozenset(digest for digest in digests if self._has_blob(repository, digest))

    def stream_blob(
        self, repository: str, blob: Descriptor, open_pieces: OpenPieces, mount_from: str | None = None
    ) -> Offered:
        """POST, and if the answer is not that the blob is there, one PUT with its bytes."""
        if self._asks_presence and self._has_blob(repository, blob.digest):
            return Offered.PRESENT
        inquiry = self._inquiry("uploading the blob", repository, f"@{blob.digest}")
        answer = self._mount(inquiry, repository, blob.digest, mount_from) if self._mounts else None
        if answer is None:
            mount_from = None
            post = Request("POST", self._uploads(repository), {}, inquiry)
            answer = self._answer(post, repository, (201, 202))
        elif answer.status == 201:
            return Offered.PRESENT if mount_from in (None, repository) else Offered.MOUNTED
        url = closing(self._location_of(inquiry, answer, self._uploads(repository)), blob.digest)
        put = self._upload_request("PUT", url, _CONTENT, inquiry, repository, mount_from)
        for _ in range(MAX_REDIRECTS + 1):
            with open_pieces() as pieces:
                answer = self._session.stream(put, Body(pieces, blob.size), (*_STORED, *_MOVED))
            if answer.status in _STORED:
                return Offered.COPIED
            put = moved(put, answer.headers)
        raise inquiry.error(RegistryUnavailableError, f"redirected more than {MAX_REDIRECTS} times")

    def _mount(self, inquiry: Inquiry, repository: str, digest: Digest, mount_from: str | None) -> ReadResponse | None:
        """Ask whether the blob is there or can be mounted, or begin its upload; None if the registry refuses that.

        A mount saves work, and is not needed: however it is refused, the same without it decides.
        """
        query = urlencode({"mount": digest, "from": mount_from or repository}, safe=":/")
        request = Request("POST", f"{self._uploads(repository)}?{query}", {}, inquiry)
        is_own = mount_from in (None, repository)
        try:
            answer = self._answer(request, repository, (201, 202, *_DENIED), mount_from=mount_from)
        except RegistryError as error:
            is_not_about_it = (
                is_own and error.by_way_of
            )  # by the token service, which would be asked for the same again
            if error.status is None or is_not_about_it or isinstance(error, RateLimitedError):
                raise
            self._mounts = error.status not in _MOUNTS_UNKNOWN
            return None
        if answer.status in _DENIED:
            if is_own and answer.headers.get("WWW-Authenticate"):
                # The registry means us, and not the mount: a wrong password is not to be tried twice.
                raise self._denied(request, repository, answer, mount_from)
            return None
        return answer if answer.status == 201 or answer.headers.get("Location") else None

    def begin_upload(self, repository: str) -> Upload:
        """Begin an upload; its id is where it goes on."""
        inquiry = self._inquiry("starting an upload", repository)
        uploads = self._uploads(repository)
        answer = self._answer(Request("POST", uploads, {}, inquiry), repository, (202,))
        location = self._location_of(inquiry, answer, uploads)
        self._locations.move(location, location)
        return Upload(location, part_size(inquiry, answer))

    def received_bytes(self, repository: str, upload: Upload, size: int) -> int:
        """Ask for the upload's status."""
        return min(self._received(self._inquiry("resuming the upload", repository), repository, upload), size)

    def upload_part(self, repository: str, upload: Upload, first_byte: int, part: bytes | memoryview) -> int:
        """PATCH one part, and believe that it was appended only if the answer says so."""
        inquiry = self._inquiry("uploading a part", repository)
        end = first_byte + len(part)
        headers = {**_CONTENT, "Content-Range": f"{first_byte}-{end - 1}"}
        request = self._continuation("PATCH", headers, inquiry, repository, upload)
        # Once: it may have been appended though the answer was lost. Whoever goes on asks for the status first.
        answer = self._answer(request, repository, (201, 202, 204, 416), part, tries=1)
        self._keep_location(inquiry, request, upload, answer)
        if answer.status == 416:
            return self._received(inquiry, repository, upload)
        # docker-registry ignores Content-Range and appends whatever comes: then the upload is spoilt. ECR, which
        # answers 201 where the specification says 202, does check it, but its Range stays at the first part's end.
        if answer.status != 201 and received(answer) not in (None, end):
            raise inquiry.error(UploadLostError, "the registry appended the part at another place")
        return end

    def complete_upload(self, repository: str, upload: Upload, blob: Descriptor) -> None:
        """Close an upload with its digest, which the registry verifies."""
        inquiry = self._inquiry("completing the upload", repository, f"@{blob.digest}")
        request = self._continuation("PUT", {}, inquiry, repository, upload)
        request = request._replace(url=closing(request.url, blob.digest))
        try:
            self._answer(request, repository, _STORED)
        except (UploadLostError, NotFoundError):
            # Also the answer to a second try, after the answer to the first was lost.
            if not self._has_blob(repository, blob.digest):
                raise
        self._locations.forget(upload.id)

    def _has_blob(self, repository: str, digest: Digest) -> bool:
        """Ask by HEAD. A registry that refuses that may not have the blob, which is then offered."""
        inquiry = self._inquiry("HEAD blob", repository, f"@{digest}")
        request = Request("HEAD", self._url(repository, "blobs", digest), {}, inquiry)
        try:
            return self._answer(request, repository, (200, 404)).status == 200
        except RegistryError as error:
            if error.status is None or isinstance(error, RateLimitedError):
                raise
            return False

    def _received(self, inquiry: Inquiry, repository: str, upload: Upload) -> int:
        request = self._continuation("GET", {}, inquiry, repository, upload)
        try:
            answer = self._answer(request, repository, (200, 204))
        except (ManifestRefusedError, NotFoundError) as error:
            raise inquiry.error(UploadLostError, f"the registry does not say how far it is: {error.cause}") from None
        self._keep_location(inquiry, request, upload, answer)
        count = received(answer)
        if count is None:
            raise inquiry.error(UploadLostError, "the registry does not say how many bytes it has")
        return count

    # --- requests -----------------------------------------------------------------------------------------------

    def _denied(
        self, request: Request, repository: str, answer: ReadResponse, mount_from: str | None = None
    ) -> RegistryError:
        about = request._replace(resource=self._resource(repository, mount_from))
        return cast("RegistryError", failed_answer(self._session.identified(about), answer))

    def _answer(
        self,
        request: Request,
        repository: str,
        statuses: Collection[int],
        content: bytes | memoryview | None = None,
        *,
        mount_from: str | None = None,
        tries: int = MAX_TRIES,
        refuse: Refuse = failed_answer,
    ) -> ReadResponse:
        request = request._replace(resource=self._resource(repository, mount_from))
        return self._session.answer(request, statuses, content, tries=tries, refuse=refuse)

    def _continuation(
        self, method: str, headers: Mapping[str, str], inquiry: Inquiry, repository: str, upload: Upload
    ) -> Request:
        base = self._uploads(repository)
        url = self._checked(inquiry, self._locations.of(upload.id), base)
        return self._upload_request(method, url, headers, inquiry, repository)

    def _upload_request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        inquiry: Inquiry,
        repository: str,
        mount_from: str | None = None,
    ) -> Request:
        """Make a request to an address that the registry chose, and that the guard has to judge as such."""
        base = self._uploads(repository)
        sent_by = "" if origin_of(url) == origin_of(base) else base
        resource = self._resource(repository, mount_from)
        return Request(method, url, headers, inquiry, sent_by=sent_by, resource=resource, asked_first=base)

    def _keep_location(self, inquiry: Inquiry, request: Request, upload: Upload, answer: ReadResponse) -> None:
        if "Location" in answer.headers:
            self._locations.move(upload.id, self._location_of(inquiry, answer, request.url))

    def _location_of(self, inquiry: Inquiry, answer: ReadResponse, base: str) -> str:
        return self._checked(inquiry, single_value(answer.headers, "Location"), base)

    def _checked(self, inquiry: Inquiry, location: str, base: str) -> str:
        return checked_location(inquiry, location, base, self._insecure, self._schemes.is_plain)

    def _resource(self, repository: str, mount_from: str | None) -> str:
        """Name what a token is for: a repository, and one to read from if a blob is mounted."""
        mounted = f"?{urlencode({'from': mount_from})}" if mount_from else ""
        return f"{self._uploads(repository)}{mounted}"

    def _uploads(self, repository: str) -> str:
        return f"{self._base_url}/{_quoted(repository)}/blobs/uploads/"

    def _url(self, repository: str, *path: str) -> str:
        return f"{self._base_url}/{_quoted(repository)}/{'/'.join(quote(step, safe=':') for step in path)}"

    def _inquiry(self, operation: str, repository: str, rest: str = "") -> Inquiry:
        return Inquiry(operation, f"{self._registry}/{repository}{rest}", side=Side.TARGET)


@lru_cache(maxsize=_MAX_UPLOADS)
def _quoted(repository: str) -> str:
    return quote(repository)
