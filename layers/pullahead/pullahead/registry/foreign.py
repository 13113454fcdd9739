"""Blobs that a manifest names by URL: read where the URL leads, by the rules for what a registry redirects to.

Nobody there is told who we are, and the guard judges the address as one that the registry has sent us to: so a public
registry's manifest leads nowhere within, and plain HTTP is spoken only to hosts for which that is allowed.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from pullahead.errors import NotFoundError
from pullahead.oci import Descriptor
from pullahead.registry.blobs import Place, Redirects, open_blob
from pullahead.registry.exchange import Exchange
from pullahead.registry.failures import Inquiry
from pullahead.registry.transport import parse_url


def open_foreign(
    exchange: Exchange,
    redirects: Redirects,
    named_by: str,
    url: str,
    blob: Descriptor,
    first_byte: int,
    end: int | None,
) -> AbstractContextManager[Iterator[bytes]]:
    """Open a blob by a URL; `named_by` is the address of the registry whose manifest names it.

    Raises: as `OpensBlobs.open_blob`.
    """
    address = parse_url(url)
    if address is None:
        cause = "its manifest names a URL that is no address"
        raise Inquiry("open_url", str(blob.digest)).error(NotFoundError, cause)
    reference = f"{blob.digest} from {address.netloc}"  # a path or a query may hold what is nobody's business
    place = Place(address._replace(fragment="").geturl(), reference, named_by)
    return open_blob(exchange, redirects, place, blob, first_byte, end)
