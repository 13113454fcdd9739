"""Where an upload goes on, and how far it is: Location, Range and OCI-Chunk-Min-Length. Asks nobody anything.

Source: OCI distribution specification 1.1, "Pushing blobs".
"""

import re
import threading
from collections import OrderedDict
from ipaddress import ip_address
from urllib.parse import urlsplit

from pullahead.errors import ManifestRefusedError, RegistryUnavailableError
from pullahead.oci import Digest
from pullahead.registry.connections import Answer
from pullahead.registry.failures import Inquiry
from pullahead.registry.transport import origin_of, parse_url

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
