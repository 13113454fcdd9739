"""What pruning asks of ECR. Only one function, with a role of its own, is given what removes."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pullahead.oci import Digest


class TagLister(Protocol):
    """Lists every tag of a repository. A method raises the errors that its docstring names and no others."""

    def list_tags(self, repository: str) -> Mapping[str, Digest]:
        """List the tags, and what ECR serves under them; none where there is no such repository.

        Raises: RegistryError; ResponseTooLargeError for more tags than ECR's quota of images.
        """
        ...


class Removal(NamedTuple):
    """A tag to remove and what ECR serves under it; and, where no other tag serves that, what refers to it.

    Removing the last tag of a manifest deletes the manifest.
    """

    tag: str
    digest: Digest
    referring_tags: tuple[str, ...] = ()
    with_referrers: bool = False  # those too that have no tag
    tagged: frozenset[Digest] = frozenset()  # what has one, and stays though it refers to it


class TagRemover(Protocol):
    """Removes tags from ECR."""

    def remove(self, repository: str, removal: Removal) -> Sequence[str]:
        """Remove a tag if ECR still serves that digest under it, then what refers to it.

        Returns what was removed, tags and digests; nothing where the tag has moved or is gone. Raises: RegistryError;
        then the tag may be gone and what refers to it left.
        """
        ...
