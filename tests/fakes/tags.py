"""The tags of repositories in memory, as ECR removes them."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from pullahead.oci import Digest
from pullahead.retention.ports import Removal, Removed
from tests.fakes.script import Script


class FakeTags:
    """Implements `pullahead.retention.ports.TagLister` and `TagRemover`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.served: dict[str, dict[str, Digest]] = {}
        self.referrers: dict[Digest, list[Digest]] = {}  # without a tag, by their subject
        self.children: dict[Digest, list[Digest]] = {}  # of indexes

    def list_tags(self, repository: str) -> Mapping[str, Digest]:
        with self.script.call("list_tags"):
            return dict(self.served.get(repository, {}))

    def remove(self, repository: str, removal: Removal) -> Removed:
        with self.script.call("remove"):
            tags = self.served.get(repository, {})
            is_only = list(tags.values()).count(removal.digest) == 1
            if tags.get(removal.tag) != removal.digest or (is_only and self._is_needed(removal.digest)):
                return Removed()
            names = [tag for tag in (removal.tag, *removal.referring_tags) if tags.pop(tag, None) is not None]
            if not removal.with_manifest:
                return Removed(tuple(names))
            children = [each for each in self.children.pop(removal.digest, []) if each not in removal.tagged]
            gone = [each for each in children if not self._is_needed(each)]
            referrers = [each for one in (removal.digest, *gone) for each in self._without_tag(one, removal.tagged)]
            return Removed((*names, *gone, *referrers), tuple(gone))

    def remove_tags(self, repository: str, tags: Sequence[str]) -> Removed:
        with self.script.call("remove_tags"):
            served = self.served.get(repository, {})
            return Removed(tuple(tag for tag in tags if served.pop(tag, None) is not None))

    def _is_needed(self, digest: Digest) -> bool:
        return any(digest in each for each in self.children.values())

    def _without_tag(self, subject: Digest, tagged: Collection[Digest]) -> Iterator[Digest]:
        """Take away what refers to a manifest, and what refers to that; but what has a tag."""
        found = self.referrers.pop(subject, [])
        if stays := [each for each in found if each in tagged]:
            self.referrers[subject] = stays
        for each in found:
            if each not in tagged:
                yield each
                yield from self._without_tag(each, tagged)
