"""Read foreign layers from the registry if it has them, else from the first of their URLs that works.

Decides only where a layer is read; whoever reads it verifies the bytes.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

from pullahead.errors import NotFoundError, RangeIgnoredError, RegistryError
from pullahead.oci import Descriptor, Digest, Repository
from pullahead.oci.registries import Upstream

_Open = Callable[[int, int | None], AbstractContextManager[Iterator[bytes]]]


class ForeignLayers:
    """Implements `pullahead.oci.registries.BlobReader` for layers whose URLs are known."""

    def __init__(self, upstream: Upstream, urls: Mapping[Digest, tuple[str, ...]]) -> None:
        self._upstream, self._urls = upstream, urls
        self._last: dict[Digest, int] = {}  # the location that worked: a stream that broke is resumed there

    @contextmanager
    def open_blob(
        self, repository: Repository, blob: Descriptor, first_byte: int = 0, end: int | None = None
    ) -> Iterator[Iterator[bytes]]:
        """Open a layer at the registry, or else at one URL after the other.

        Raises: as `BlobReader.open_blob`, for the last location that was tried.
        """
        with ExitStack() as stack:
            yield self._enter_first(stack, self._locations(repository, blob), blob, first_byte, end)

    def _enter_first(
        self, stack: ExitStack, locations: list[_Open], blob: Descriptor, first_byte: int, end: int | None
    ) -> Iterator[bytes]:
        number = self._last.get(blob.digest, 0)
        while True:
            try:
                pieces = stack.enter_context(locations[number](first_byte, end))
            except RegistryError as error:
                if number + 1 == len(locations) or not _may_be_elsewhere(error, number):
                    raise
                number += 1
            else:
                self._last[blob.digest] = number
                return pieces

    def _locations(self, repository: Repository, blob: Descriptor) -> list[_Open]:
        def at_url(url: str) -> _Open:
            return lambda first_byte, end: self._upstream.open_url(repository, url, blob, first_byte, end)

        def at_registry(first_byte: int, end: int | None) -> AbstractContextManager[Iterator[bytes]]:
            return self._upstream.open_blob(repository, blob, first_byte, end)

        return [at_registry, *map(at_url, self._urls.get(blob.digest, ()))]


def _may_be_elsewhere(error: RegistryError, number: int) -> bool:
    if number == 0:
        return isinstance(error, NotFoundError)  # a registry that fails in another way may still have the layer
    return not isinstance(error, RangeIgnoredError)  # the layer is read there from its beginning
