"""What pruning asks of ECR. Only one function, with a role of its own, is given what removes."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pullahead.errors import RegistryError
from pullahead.oci import Digest


class TagLister(Protocol):
    """Lists every tag of a repository. A method raises the errors that its docstring names and no others."""

    def list_tags(self, repository: str) -> Mapping[str, Digest]:
        """List the tags, and what ECR serves under them; none where there is no such repository.

        Raises: RegistryError; ResponseTooLargeError for more tags than ECR's quota of images.
        """
        ...


class Removal(NamedTuple):
    """A tag to remove and what ECR serves under it; and, where no other tag serves that, what belongs to it.

    Removing the last tag of a manifest deletes the manifest. What belongs to it: the tags that keep its signatures; and
    with `with_manifest` what refers to it, and the children of an index with what refers to them, but what has a tag.
    """

    tag: str
    digest: Digest
    referring_tags: tuple[str, ...] = ()
    with_manifest: bool = False
    tagged: frozenset[Digest] = frozenset()  # what has a tag, and stays


class Removed(NamedTuple):
    """Tags and digests that were removed, and which of them were children of an index.

    `error`: what failed after the tag was gone, so that something that belonged to it is left.
    """

    names: tuple[str, ...] = ()
    children: tuple[Digest, ...] = ()
    error: RegistryError | None = None


class TagRemover(Protocol):
    """Removes tags from ECR."""

    def remove(self, repository: str, removal: Removal) -> Removed:
        """Remove a tag if ECR still serves that digest under it, then what belongs to it.

        Nothing is removed where the tag has moved or is gone, or an index needs its manifest; nor a child that another
        index needs. Raises: RegistryError; then the tag is there.
        """
        ...

    def remove_tags(self, repository: str, tags: Sequence[str]) -> Removed:
        """Remove tags whatever they serve: those of signatures, whose manifests are gone."""
        ...
